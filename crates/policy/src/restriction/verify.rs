//! `reject_unverified_sender` and `reject_unverified_recipient` (ADDRESS_VERIFICATION_README): whether the server that
//! is responsible for an address takes mail for it.

use super::mail_address::address_of;
use super::{Argument, Input, Restriction, entry};
use crate::context::Context;
use crate::ledger::Suspend;
use crate::question::{Answer, Question};
use crate::settings::Settings;
use crate::step::Step;
use crate::subject::Subject;
use crate::verification::{AddressStatus, Patience, Verification};
use config::Diagnostic;
use std::time::Duration;

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "reject_unverified_sender",
        Argument::None,
        &[Input::Sender],
        "Refuse senders that their own mail server refuses mail for",
        |context, _| check(context, Subject::Sender),
    ),
    entry(
        "reject_unverified_recipient",
        Argument::None,
        &[Input::Recipient],
        "Refuse recipients that the next mail server refuses",
        |context, _| check(context, Subject::Recipient),
    ),
];

/// The longest reason in a reply.
const REASON: usize = 250;

/// What one of them takes from the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unverified {
    /// `unverified_*_reject_code`.
    reject_code: u16,
    /// `unverified_*_defer_code`.
    defer_code: u16,
    /// `unverified_*_reject_reason`.
    reason: String,
    /// `unverified_*_tempfail_action = defer`.
    at_once: bool,
}

/// What both take from the configuration.
#[derive(Clone, Debug)]
pub(crate) struct VerifySettings {
    patience: Patience,
    sender: Unverified,
    recipient: Unverified,
}

impl VerifySettings {
    /// With codes that can be sent, and at least one look; what can't be is a problem.
    pub(crate) fn compile(settings: &dyn Settings, problems: &mut Vec<Diagnostic>) -> Self {
        let mut refuse = |name: &str, text: String, help: &str| {
            problems.push(Diagnostic::error("bad-value", text).at(settings.origin(name)).help(help));
        };
        let mut one = |class: &str| {
            let mut code = |kind: &str, high: i64| {
                let name = format!("unverified_{class}_{kind}_code");
                match settings.int(&name) {
                    Some(code) if (200..=high).contains(&code) => u16::try_from(code).unwrap_or(450),
                    _ => {
                        let text = format!("bad configuration: {name} = {}", settings.get(&name).trim());
                        refuse(&name, text, &format!("write a reply code from 200 to {high}"));
                        450
                    }
                }
            };
            Unverified {
                reject_code: code("reject", 599),
                defer_code: code("defer", 499),
                reason: settings.get(&format!("unverified_{class}_reject_reason")).trim().to_owned(),
                at_once: settings
                    .get(&format!("unverified_{class}_tempfail_action"))
                    .trim()
                    .eq_ignore_ascii_case("defer"),
            }
        };
        let (sender, recipient) = (one("sender"), one("recipient"));
        let name = "address_verify_poll_count";
        let polls = settings.int(name).unwrap_or(0);
        if polls < 1 {
            let text = format!("invalid {name} parameter value {} < 1", settings.get(name).trim());
            refuse(name, text, "write how often the client's session looks for a result: 3, or 1 not to wait at all");
        }
        let delay = config::value::parse_time(settings.get("address_verify_poll_delay").trim(), 's');
        let patience = Patience {
            polls: u32::try_from(polls.clamp(1, 1_000)).unwrap_or(1),
            delay: delay.unwrap_or(Duration::from_secs(3)),
        };
        Self { patience, sender, recipient }
    }
}

fn check(context: &mut Context<'_, '_>, subject: Subject) -> Result<Step, Suspend> {
    let Some(address) = address_of(context, subject) else { return Ok(Step::Dunno) };
    if context.eager {
        // A probe is a visit to somebody else's server: only for what really comes to that.
        return Ok(Step::Dunno);
    }
    let settings = &context.plan.verify;
    let (own, detail) = match subject {
        Subject::Sender => (&settings.sender, 7),
        _ => (&settings.recipient, 1),
    };
    let patience = settings.patience;
    let question = Question::Verify { address: address.into(), patience, ordinal: context.policy_requests };
    let found = match context.ask.get(question)? {
        Answer::Verify(found) => found,
        _ => Verification::unavailable(),
    };
    let code = match found.status {
        AddressStatus::Deliverable => return Ok(Step::Dunno),
        AddressStatus::Unavailable => {
            context.warning("verify service failure");
            let refusal = context.refusal(subject, 450, (1, detail), "address verification problem")?;
            return Ok(context.tempfail(own.at_once, refusal));
        }
        AddressStatus::Undeliverable => own.reject_code,
        AddressStatus::Deferred | AddressStatus::InProgress => own.defer_code,
    };
    let reason = shortened(if own.reason.is_empty() { &found.text } else { &own.reason });
    match code / 100 {
        2 => Ok(Step::Dunno),
        4 => {
            let refusal = context.refusal(subject, code, (1, detail), &format!("unverified address: {reason}"))?;
            Ok(context.tempfail(own.at_once, refusal))
        }
        _ => context.reject(subject, code, (1, detail), &format!("undeliverable address: {reason}")),
    }
}

fn shortened(text: &str) -> &str {
    let end = (0..=text.len().min(REASON)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
