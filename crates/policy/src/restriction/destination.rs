//! Relay control: is the recipient one this system takes mail for?

use super::client::permit_as;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::context::Context;
use crate::ledger::Suspend;
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
            unauthorized(context, code.saturating_sub(100))
        },
    ),
];

/// Is this an authorized destination? The inner error is what to answer when that cannot be told.
pub(crate) fn is_authorized(context: &mut Context<'_, '_>, recipient: &str) -> Result<Result<bool, Step>, Suspend> {
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

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script, log};
    use smtp::server::Moment;

    const RELAY: (&str, &str) = ("relay_domains", "relay.example");

    fn reply(list: &str, recipient: &str, more: &[(&str, &str)]) -> String {
        let mut values = vec![("smtpd_relay_restrictions", list), RELAY];
        values.extend_from_slice(more);
        Bench::new(&values, Script::default()).recipient(recipient).reply()
    }

    #[test]
    fn strangers_reach_our_domains_only() {
        for (recipient, ours) in [
            ("user@example.com", true),
            ("user@EXAMPLE.COM", true),
            ("user@example.com.", true),
            ("user", true),
            ("user@localhost", true),
            ("user@relay.example", true),
            ("user@sub.relay.example", true),
            ("user@[127.0.0.1]", true),
            ("user@[192.0.2.200]", false),
            ("user@elsewhere.example", false),
            ("user%elsewhere.example@example.com", false),
            ("user%elsewhere.example@relay.example", false),
            ("elsewhere.example!user@example.com", false),
            ("elsewhere.example!user@relay.example", false),
            ("user@elsewhere.example@example.com", false),
            ("user@elsewhere.example@relay.example", false),
            ("user%elsewhere.example", false),
            ("elsewhere.example!user", false),
        ] {
            let denied = format!("5.7.1 <{recipient}>: Relay access denied");
            let permanent = if ours { "250".into() } else { format!("554 {denied}") };
            assert_eq!(reply("reject_unauth_destination", recipient, &[]), permanent);
            assert_eq!(reply("permit_auth_destination, reject_unauth_destination", recipient, &[]), permanent);
            let temporary = if ours { "250".into() } else { format!("454 {}", denied.replacen('5', "4", 1)) };
            assert_eq!(reply("defer_unauth_destination", recipient, &[]), temporary);
        }
    }

    #[test]
    fn untrusted_routing_can_be_allowed() {
        let more = [("allow_untrusted_routing", "yes"), ("swap_bangpath", "no"), ("allow_percent_hack", "no")];
        for recipient in [
            "user%elsewhere.example@example.com",
            "user%elsewhere.example@relay.example",
            "elsewhere.example!user@example.com",
            "user@elsewhere.example@relay.example",
            "elsewhere.example!user",
        ] {
            assert_eq!(reply("reject_unauth_destination", recipient, &more), "250", "{recipient}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_are_refused_before_any_list() {
        for recipient in ["user@example.com%elsewhere.example", "user@[example.com]", "user@.example.com", "user@"] {
            let mut bench = Bench::new(&[], Script::default()).recipient(recipient);
            let decision = bench.rcpt();
            assert_eq!(decision.rejection.as_ref().unwrap().reply, "501 5.1.3 Bad recipient address syntax");
            let line = format!(
                "warning: Illegal address syntax from client.example.net[192.0.2.10] in RCPT command: <{recipient}>"
            );
            assert_eq!(log(&decision), [line]);
            let decision = bench.decide(Moment::Vrfy, "VRFY");
            let line = format!(
                "warning: Illegal address syntax from client.example.net[192.0.2.10] in VRFY command: {recipient}"
            );
            assert_eq!(log(&decision), [line]);
        }
    }

    #[test]
    fn an_unreadable_domain_list_defers() {
        let values = [("relay_domains", "hash:/domains"), ("smtpd_relay_restrictions", "reject_unauth_destination")];
        let script = Script::default().failure("hash:/domains", "other.example", "hash:/domains: no such table");
        let decision = Bench::new(&values, script).recipient("u@other.example").rcpt();
        assert_eq!(log(&decision).last().unwrap(), "reject: 451 4.3.0 <u@other.example>: Temporary lookup failure");
    }
}
