//! Relay control: is the recipient one this system takes mail for?

use super::client::permit_as;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::context::Context;
use crate::question::Suspend;
use crate::refusal::Refusal;
use crate::step::Step;
use crate::subject::Subject;

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "permit_auth_destination",
        Argument::None,
        &[Input::Recipient],
        "Permit recipients this system delivers or relays to",
        permit_auth_destination,
    ),
    entry(
        "reject_unauth_destination",
        Argument::None,
        &[Input::Recipient],
        "Refuse recipients this system neither delivers nor relays to",
        |context, _: &Arg| unauthorized(context, context.plan.codes.relay_domains),
    ),
    entry(
        "defer_unauth_destination",
        Argument::None,
        &[Input::Recipient],
        "Refuse for now recipients this system neither delivers nor relays to",
        |context, _| {
            let code = context.plan.codes.relay_domains;
            unauthorized(context, if code >= 500 { code - 100 } else { code })
        },
    ),
];

/// Is this an authorized destination? The inner error is what to answer when that cannot be told.
pub(super) fn is_authorized(context: &mut Context<'_, '_>, recipient: &str) -> Result<Result<bool, Step>, Suspend> {
    let facts = context.facts;
    let sender = facts.sender.as_deref().unwrap_or_default();
    let resolved = match context.resolve(sender, recipient)? {
        Ok(resolved) => resolved,
        Err(step) => return Ok(Err(step)),
    };
    let trusted = context.plan.untrusted_routing || !resolved.flags.routed;
    Ok(Ok(trusted && resolved.class.is_authorized()))
}

fn permit_auth_destination(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let facts = context.facts;
    let Some(recipient) = facts.recipient.as_deref() else { return Ok(Step::Dunno) };
    Ok(match is_authorized(context, recipient)? {
        Ok(true) => permit_as("permit_auth_destination", Subject::Recipient),
        Ok(false) => Step::Dunno,
        Err(step) => step,
    })
}

fn unauthorized(context: &mut Context<'_, '_>, code: u16) -> Result<Step, Suspend> {
    let facts = context.facts;
    let Some(recipient) = facts.recipient.as_deref() else { return Ok(Step::Dunno) };
    Ok(match is_authorized(context, recipient)? {
        Ok(true) => Step::Dunno,
        Ok(false) => Step::Reject(Refusal::new(code, (7, 1), format!("<{recipient}>: Relay access denied"))),
        Err(step) => step,
    })
}
