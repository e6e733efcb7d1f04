//! Sender addresses and the logins that own them (`smtpd_sender_login_maps`).

use super::mail_address::address_of;
use super::{Argument, Input, Restriction, entry};
use crate::address::Lookup;
use crate::context::Context;
use crate::question::Suspend;
use crate::refusal::Refusal;
use crate::settings::words;
use crate::step::Step;
use crate::subject::Subject;
use std::sync::Arc;

const NEEDS: &[Input] = &[Input::Sender, Input::Sasl];

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "reject_authenticated_sender_login_mismatch",
        Argument::None,
        NEEDS,
        "Refuse logged-in clients that do not own the sender address",
        |context, _| check(context, "reject_authenticated_sender_login_mismatch", authenticated),
    ),
    entry(
        "reject_known_sender_login_mismatch",
        Argument::None,
        NEEDS,
        "Refuse clients that do not own a sender address that has owners",
        |context, _| check(context, "reject_known_sender_login_mismatch", known),
    ),
    entry(
        "reject_unauthenticated_sender_login_mismatch",
        Argument::None,
        NEEDS,
        "Refuse clients that have not logged in for a sender address that has owners",
        |context, _| check(context, "reject_unauthenticated_sender_login_mismatch", unauthenticated),
    ),
    entry(
        "reject_sender_login_mismatch",
        Argument::None,
        NEEDS,
        "Refuse clients that do not own the sender address, logged in or not",
        |context, _| check(context, "reject_sender_login_mismatch", either),
    ),
];

type Rule = fn(login: Option<&str>, owners: Option<&str>) -> Option<String>;

fn not_owned(login: &str, owners: Option<&str>) -> Option<String> {
    let owned = owners.is_some_and(|owners| words(owners).any(|owner| owner.eq_ignore_ascii_case(login)));
    if owned { None } else { Some(format!("not owned by user {login}")) }
}

fn authenticated(login: Option<&str>, owners: Option<&str>) -> Option<String> {
    not_owned(login?, owners)
}

fn unauthenticated(login: Option<&str>, owners: Option<&str>) -> Option<String> {
    (login.is_none() && owners.is_some()).then(|| "not logged in".into())
}

fn known(login: Option<&str>, owners: Option<&str>) -> Option<String> {
    match login {
        Some(login) => not_owned(login, Some(owners?)),
        None => unauthenticated(login, owners),
    }
}

fn either(login: Option<&str>, owners: Option<&str>) -> Option<String> {
    authenticated(login, owners).or_else(|| unauthenticated(login, owners))
}

fn check(context: &mut Context<'_, '_>, name: &str, rule: Rule) -> Result<Step, Suspend> {
    if !context.plan.sasl_enabled {
        context.warning(format!("restriction `{name}' ignored: no SASL support"));
        return Ok(Step::Dunno);
    }
    let Some(sender) = address_of(context, Subject::Sender) else { return Ok(Step::Dunno) };
    let owners = match owners(context, sender)? {
        Ok(owners) => owners,
        Err(step) => return Ok(step),
    };
    let facts = context.facts;
    let login = facts.sasl.as_ref().map(|login| login.username.as_str());
    match rule(login, owners.as_deref()) {
        Some(text) => context.reject(Subject::Sender, 553, (7, 1), &text),
        None => Ok(Step::Dunno),
    }
}

fn owners(context: &mut Context<'_, '_>, sender: &str) -> Result<Result<Option<Arc<str>>, Step>, Suspend> {
    let resolved = match context.resolve("", sender)? {
        Ok(resolved) => resolved,
        Err(step) => return Ok(Err(step)),
    };
    match context.plan.routing.find_address(&context.plan.login_maps, &resolved.recipient, context.ask)? {
        Lookup::Found { value, .. } => Ok(Ok(Some(value))),
        Lookup::NotFound => Ok(Ok(None)),
        Lookup::Failed(why) => {
            context.warning(why.as_ref());
            Ok(Err(Step::Abort(Refusal::lookup_failure(sender))))
        }
    }
}
