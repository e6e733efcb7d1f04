//! Restrictions that look at no particular information: they may stand in any list.

use super::{Arg, Argument, Input, Restriction, entry};
use crate::context::Context;
use crate::decision::ErrorClass;
use crate::question::{Question, Suspend};
use crate::refusal::Refusal;
use crate::step::{Permit, Step};
use smtp::server::Moment;

pub(super) const ENTRIES: &[Restriction] = &[
    entry("permit", Argument::None, &[], "Permit; what follows in this list is ignored", permit),
    entry("reject", Argument::None, &[], "Refuse with $reject_code", reject),
    entry("defer", Argument::None, &[], "Refuse for now with $defer_code", defer),
    entry("defer_if_permit", Argument::None, &[], "Refuse for now what would be permitted in the end", defer_if_permit),
    entry("defer_if_reject", Argument::None, &[], "Refuse for now what would be refused for good", defer_if_reject),
    entry("sleep", Argument::Seconds, &[], "Wait so many seconds, then go on", sleep),
    entry(
        "reject_plaintext_session",
        Argument::None,
        &[Input::Tls],
        "Refuse when the session is not encrypted",
        reject_plaintext_session,
    ),
    entry(
        "reject_unauth_pipelining",
        Argument::None,
        &[],
        "Refuse clients that send commands ahead of time without leave",
        reject_unauth_pipelining,
    ),
    entry(
        "reject_multi_recipient_bounce",
        Argument::None,
        &[Input::Sender],
        "Refuse the null sender with more than one recipient",
        reject_multi_recipient_bounce,
    ),
];

fn permit(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    Ok(Step::Permit(Permit { action: "permit".into(), subject: context.subject, table: None }))
}

fn reject(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    context.reject(context.subject, context.plan.codes.reject, (7, 1), "Access denied")
}

fn defer(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    context.reject(context.subject, context.plan.codes.defer, (3, 2), "Try again later")
}

fn defer_if_permit(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let refusal = context.refusal(context.subject, 450, (7, 0), "defer_if_permit requested")?;
    Ok(Step::DeferIfPermit(refusal))
}

fn defer_if_reject(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let refusal = context.refusal(context.subject, 450, (7, 0), "defer_if_reject requested")?;
    Ok(Step::DeferIfReject(refusal))
}

fn sleep(context: &mut Context<'_, '_>, arg: &Arg) -> Result<Step, Suspend> {
    let Arg::Seconds(seconds) = *arg else { return Ok(Step::Dunno) };
    if seconds == 0 || context.eager {
        return Ok(Step::Dunno);
    }
    let question = Question::Sleep { seconds, ordinal: context.sleeps };
    context.ask.get(question.clone())?;
    // The next evaluation of this session waits again.
    context.ask.ledger.forget(&question);
    Ok(Step::Dunno)
}

fn reject_plaintext_session(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    if context.facts.tls.is_some() {
        return Ok(Step::Dunno);
    }
    Ok(Step::Reject(Refusal::new(context.plan.codes.plaintext, (7, 1), "Session encryption is required")))
}

fn reject_unauth_pipelining(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    if !context.facts.improper_pipelining {
        return Ok(Step::Dunno);
    }
    let refusal = context.refusal(context.subject, 503, (5, 0), "Improper use of SMTP command pipelining")?;
    Ok(Step::Reject(refusal.class(ErrorClass::Protocol)))
}

fn reject_multi_recipient_bounce(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let allowed = if context.moment == Moment::Rcpt { 0 } else { 1 };
    if context.facts.sender.as_deref() != Some("") || context.facts.recipient_count <= allowed {
        return Ok(Step::Dunno);
    }
    let code = context.plan.codes.multi_recipient_bounce;
    context.reject(context.subject, code, (5, 3), "Multi-recipient bounce")
}
