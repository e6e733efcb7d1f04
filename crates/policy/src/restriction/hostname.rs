//! The HELO argument: is it a name, a full one, and known?

use super::{Arg, Argument, Input, Restriction, entry};
use crate::address::syntax::{is_hostname, is_utf8_hostname, mail_literal};
use crate::context::Context;
use crate::question::{DnsStatus, RecordType, Suspend};
use crate::step::Step;
use crate::subject::Subject;
use smtp::address::valid_hostaddr;

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "reject_invalid_helo_hostname",
        Argument::None,
        &[Input::Helo],
        "Refuse HELO arguments that are neither a host name nor an address",
        reject_invalid,
    )
    .alias(&["reject_invalid_hostname"]),
    entry(
        "reject_non_fqdn_helo_hostname",
        Argument::None,
        &[Input::Helo],
        "Refuse HELO names without a domain",
        reject_non_fqdn,
    )
    .alias(&["reject_non_fqdn_hostname"]),
    entry(
        "reject_unknown_helo_hostname",
        Argument::None,
        &[Input::Helo],
        "Refuse HELO names with neither address nor mail exchanger",
        reject_unknown,
    )
    .alias(&["reject_unknown_hostname"])
    .dns(),
];

/// One final dot is no part of the name, two are.
pub(super) fn without_final_dot(name: &str) -> &str {
    match name.strip_suffix('.') {
        Some(rest) if !rest.ends_with('.') => rest,
        _ => name,
    }
}

/// The HELO argument, unless it is a literal: then the step for it.
fn helo_name<'a>(context: &mut Context<'a, '_>) -> Result<Result<&'a str, Step>, Suspend> {
    let facts = context.facts;
    let Some(helo) = facts.helo.as_deref() else { return Ok(Err(Step::Dunno)) };
    if !helo.starts_with('[') {
        return Ok(Ok(helo));
    }
    if mail_literal(helo).is_some() {
        return Ok(Err(Step::Dunno));
    }
    context.reject(Subject::Helo, context.plan.codes.invalid_hostname, (5, 2), "invalid ip address").map(Err)
}

fn reject_invalid(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let helo = match helo_name(context)? {
        Ok(helo) => helo,
        Err(step) => return Ok(step),
    };
    let name = without_final_dot(helo);
    if is_hostname(name) || valid_hostaddr(name) {
        return Ok(Step::Dunno);
    }
    context.reject(Subject::Helo, context.plan.codes.invalid_hostname, (5, 2), "Invalid name")
}

fn reject_non_fqdn(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let helo = match helo_name(context)? {
        Ok(helo) => helo,
        Err(step) => return Ok(step),
    };
    let name = without_final_dot(helo);
    let valid = if context.facts.smtputf8 { is_utf8_hostname(name) } else { is_hostname(name) };
    if valid && name.contains('.') {
        return Ok(Step::Dunno);
    }
    context.reject(Subject::Helo, context.plan.codes.non_fqdn, (5, 2), "need fully-qualified hostname")
}

fn reject_unknown(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let helo = match helo_name(context)? {
        Ok(helo) => helo,
        Err(step) => return Ok(step),
    };
    let types = [RecordType::A, RecordType::Aaaa, RecordType::Mx];
    context.ahead(&types, helo);
    let mut best = context.dns(types[0], helo)?;
    for rtype in &types[1..] {
        if best.status == DnsStatus::Ok {
            break;
        }
        let answer = context.dns(*rtype, helo)?;
        if answer.status.rank() > best.status.rank() {
            best = answer;
        }
    }
    let codes = &context.plan.codes;
    match best.status {
        DnsStatus::Ok | DnsStatus::NullMx => Ok(Step::Dunno),
        DnsStatus::Policy => {
            context.warning(format!("{helo}: address or MX lookup error: {}", best.reason));
            Ok(Step::Dunno)
        }
        DnsStatus::Retry => {
            let refusal = context.refusal(Subject::Helo, 450, (7, 1), "Host not found")?;
            Ok(context.tempfail(context.plan.defer_unknown_helo, refusal))
        }
        DnsStatus::Invalid => {
            context.reject(Subject::Helo, codes.unknown_hostname, (7, 1), "Malformed DNS server reply")
        }
        DnsStatus::Fail | DnsStatus::NotFound => {
            context.reject(Subject::Helo, codes.unknown_hostname, (7, 1), "Host not found")
        }
    }
}
