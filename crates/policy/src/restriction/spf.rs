//! SPF of the sender's domain, or of the HELO name where there is no sender (RFC 7208).
//!
//! What a domain says of a client counts against mail, or for it; a DNS that doesn't answer never counts for it.

use super::access::access_value;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::action::{Entry, interpret};
use crate::address::syntax::ascii_name;
use crate::context::Context;
use crate::ledger::Suspend;
use crate::match_list::parent;
use crate::refusal::Refusal;
use crate::spf::{SpfQuery, SpfResult, SpfVerdict, check_host};
use crate::step::{Guard, Step};
use crate::subject::Subject;
use crate::tables::Table;

const ACCESS: &str = "check_spf_access";

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "reject_spf_fail",
        Argument::None,
        &[Input::Client, Input::Sender],
        "Refuse clients that the sender's domain (of `<>`: the HELO name) doesn't let send for it, by SPF; postern's own",
        reject,
    )
    .dns(),
    entry(
        ACCESS,
        Argument::Table,
        &[Input::Client, Input::Sender],
        "Look up the SPF result of the sender's domain: `result:domain` with its parent domains, `result`; postern's own",
        access,
    )
    .dns(),
];

/// What becomes of mail that SPF has no verdict for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpfActions {
    /// `postern_spf_tempfail_action`: refuse at once, or only what would be permitted in the end.
    pub defer_at_once: bool,
    /// `postern_spf_permerror_action`.
    pub permerror: PermErrorAction,
}

/// What a policy that makes no sense comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PermErrorAction {
    Dunno,
    Defer,
    Reject,
}

/// The verdict, and what it is about; `None`: there is nobody to judge.
pub(crate) fn verdict(context: &mut Context<'_, '_>) -> Result<Option<(SpfVerdict, Subject)>, Suspend> {
    let facts = context.facts;
    let (Some(client), Some(sender)) = (facts.client.address, facts.sender.as_deref()) else { return Ok(None) };
    let helo = facts.helo.as_deref().unwrap_or_default();
    let (sender, subject) = match sender.rsplit_once('@') {
        Some((local, domain)) => match ascii_name(domain) {
            Some(domain) => (format!("{local}@{domain}"), Subject::Sender),
            None => return Ok(None),
        },
        None if sender.is_empty() && !helo.is_empty() => (format!("postmaster@{helo}"), Subject::Helo),
        None => return Ok(None),
    };
    let receiver = context.plan.server_name.as_str();
    let query = SpfQuery { client, sender: &sender, helo, receiver, now: facts.now };
    let verdict = check_host(&query, &mut |rtype, name| context.dns_of_name(rtype, name))?;
    Ok(Some((verdict, subject)))
}

fn reject(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let Some((verdict, subject)) = verdict(context)? else { return Ok(Step::Dunno) };
    match verdict.result {
        SpfResult::Fail => {
            let domain = &verdict.domain;
            let mut text = format!("SPF fail: {} may not send for {domain}", context.client_address());
            if let Some(explanation) = &verdict.explanation {
                text.push_str(&format!("; {domain} explains: {explanation}"));
            }
            context.reject(subject, 550, (7, 23), &text)
        }
        SpfResult::TempError => temporary(context, &verdict, subject),
        SpfResult::PermError => permanent(context, &verdict, subject),
        _ => Ok(Step::Dunno),
    }
}

fn temporary(context: &mut Context<'_, '_>, verdict: &SpfVerdict, subject: Subject) -> Result<Step, Suspend> {
    let refusal = error(context, verdict, subject, 451)?;
    Ok(context.tempfail(context.plan.spf.defer_at_once, refusal))
}

fn permanent(context: &mut Context<'_, '_>, verdict: &SpfVerdict, subject: Subject) -> Result<Step, Suspend> {
    Ok(match context.plan.spf.permerror {
        PermErrorAction::Dunno => Step::Dunno,
        PermErrorAction::Defer => Step::Reject(error(context, verdict, subject, 451)?),
        PermErrorAction::Reject => Step::Reject(error(context, verdict, subject, 550)?),
    })
}

fn error(context: &mut Context<'_, '_>, verdict: &SpfVerdict, subject: Subject, code: u16) -> Result<Refusal, Suspend> {
    let text = format!("SPF {}: {}", verdict.result.word(), verdict.reason);
    context.refusal(subject, code, (7, 24), &text)
}

fn access(context: &mut Context<'_, '_>, arg: &Arg) -> Result<Step, Suspend> {
    let Arg::Table(table) = arg else { return Ok(Step::Dunno) };
    let Some((verdict, subject)) = verdict(context)? else { return Ok(Step::Dunno) };
    let Some(found) = result_value(context, table, verdict.result.word(), &verdict.domain)? else {
        return match verdict.result {
            SpfResult::TempError => temporary(context, &verdict, subject),
            _ => Ok(Step::Dunno),
        };
    };
    // Every other result is to be had by anybody.
    let guard = match verdict.result {
        SpfResult::Pass => Guard::None,
        _ => Guard::OkForbidden(ACCESS, verdict.domain.as_str().into()),
    };
    interpret(context, &found, subject, guard)
}

/// `result:domain`, in tables without patterns `result:parent` of all parent domains, `result`.
pub(super) fn result_value(
    context: &mut Context<'_, '_>,
    table: &Table,
    result: &str,
    domain: &str,
) -> Result<Option<Entry>, Suspend> {
    let mut key = Some(domain);
    while let Some(wanted) = key {
        let found = access_value(context, table, &format!("{result}:{wanted}"))?;
        if found.is_some() {
            return Ok(found);
        }
        key = if table.pattern { None } else { parent(wanted, context.plan.access_parents) };
    }
    access_value(context, table, result)
}

#[cfg(test)]
#[path = "spf_tests.rs"]
mod tests;
