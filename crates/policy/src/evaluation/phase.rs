//! What is due at a command, and in which order.

use crate::context::Context;
use crate::decision::{ErrorClass, Rejection};
use crate::facts::Facts;
use crate::ledger::Suspend;
use crate::plan::Plan;
use smtp::server::Moment;

/// A stretch of the evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The address must be one mail can be sent to (501 otherwise).
    SenderSyntax,
    RecipientSyntax,
    Client,
    Helo,
    Sender,
    UnlistedSender,
    Relay,
    Recipient,
    /// Without a relay list by default, say so where the newer default would have refused.
    RelayNotice,
    /// A pending deferral is due now.
    Settle,
    UnlistedRecipient,
    Etrn,
    Data,
    EndOfData,
}

/// What is due at this moment.
pub(super) fn phases(plan: &Plan, facts: &Facts, moment: Moment) -> Vec<Phase> {
    let mut due = Vec::with_capacity(9);
    let sender_syntax = facts.sender.as_ref().is_some_and(|sender| !sender.is_empty());
    match moment {
        Moment::Connect if !plan.delay_reject => due.push(Phase::Client),
        Moment::Helo if !plan.delay_reject => due.push(Phase::Helo),
        Moment::Mail => {
            if sender_syntax {
                due.push(Phase::SenderSyntax);
            }
            if !plan.delay_reject && !facts.syntax_only {
                push_sender(plan, &mut due);
            }
        }
        Moment::Connect | Moment::Helo => {}
        Moment::Rcpt | Moment::Vrfy => {
            due.push(Phase::RecipientSyntax);
            let syntax_only = moment == Moment::Rcpt && facts.syntax_only;
            if !syntax_only && !is_always_taken(plan, facts, moment) {
                push_recipient(plan, facts, &mut due);
            }
        }
        Moment::Etrn => {
            if plan.delay_reject {
                due.push(Phase::Client);
                due.extend(facts.helo.is_some().then_some(Phase::Helo));
            }
            due.extend([Phase::Etrn, Phase::Settle]);
        }
        Moment::Data => due.extend([Phase::Data, Phase::Settle]),
        Moment::EndOfData => due.extend([Phase::EndOfData, Phase::Settle]),
    }
    due
}

/// Mail to the postmaster, and what comes back to our own address probes, passes all lists.
fn is_always_taken(plan: &Plan, facts: &Facts, moment: Moment) -> bool {
    let probe = &plan.routing.probe_sender;
    facts.recipient.as_deref().is_some_and(|recipient| {
        recipient.eq_ignore_ascii_case("postmaster")
            || (moment == Moment::Rcpt && probe.recognise(recipient, facts.now).is_some())
    })
}

fn push_sender(plan: &Plan, due: &mut Vec<Phase>) {
    due.push(Phase::Sender);
    if plan.reject_unlisted_sender && plan.check_unlisted {
        due.push(Phase::UnlistedSender);
    }
}

pub(super) fn push_recipient(plan: &Plan, facts: &Facts, due: &mut Vec<Phase>) {
    if plan.delay_reject {
        due.push(Phase::Client);
        due.extend(facts.helo.is_some().then_some(Phase::Helo));
        if facts.sender.is_some() {
            push_sender(plan, due);
        }
    }
    let [first, second] =
        if plan.relay_first { [Phase::Relay, Phase::Recipient] } else { [Phase::Recipient, Phase::Relay] };
    due.extend([first, second]);
    due.extend((plan.legacy_relay && facts.recipient.is_some()).then_some(Phase::RelayNotice));
    due.push(Phase::Settle);
    if plan.reject_unlisted_recipient && plan.check_unlisted {
        due.push(Phase::UnlistedRecipient);
    }
}

/// Refuse addresses that mail cannot be sent to.
pub(super) fn bad_address(context: &mut Context<'_, '_>, is_sender: bool) -> Result<Option<Rejection>, Suspend> {
    let facts = context.facts;
    let (address, command) = match is_sender {
        true => (facts.sender.as_deref(), "MAIL"),
        false if context.moment == Moment::Vrfy => (facts.recipient.as_deref(), "VRFY"),
        false => (facts.recipient.as_deref(), "RCPT"),
    };
    let Some(address) = address.filter(|address| !address.is_empty()) else { return Ok(None) };
    let sender = facts.sender.as_deref().filter(|_| !is_sender).unwrap_or_default();
    let resolved = match context.resolve(sender, address)? {
        Ok(resolved) => resolved,
        // The lists will say so, if they look at it at all.
        Err(_) => return Ok(None),
    };
    if !resolved.flags.error {
        return Ok(None);
    }
    let client = context.client_text()?;
    let bare = || if command == "VRFY" { address.to_owned() } else { format!("<{address}>") };
    let shown = facts.argument.clone().unwrap_or_else(bare);
    context.warning(format!("Illegal address syntax from {client} in {command} command: {shown}"));
    let reply = match is_sender {
        true => "501 5.1.7 Bad sender address syntax",
        false => "501 5.1.3 Bad recipient address syntax",
    };
    Ok(Some(Rejection { reply: reply.into(), class: ErrorClass::Protocol, no_error_count: false }))
}
