//! Unlisted senders and recipients: addresses in our own domains that no table knows.

use super::mail_address::{address_of, sender_for};
use super::{Argument, Input, Restriction, entry};
use crate::action::fit;
use crate::address::{AddressClass, AddressMaps, Lookup, Resolved};
use crate::context::Context;
use crate::decision::ErrorClass;
use crate::ledger::Suspend;
use crate::refusal::{Refusal, Status};
use crate::step::Step;
use crate::subject::Subject;

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "reject_unlisted_sender",
        Argument::None,
        &[Input::Sender],
        "Refuse senders in our domains that do not exist",
        |context, _| check_unlisted(context, Subject::Sender),
    ),
    entry(
        "reject_unlisted_recipient",
        Argument::None,
        &[Input::Recipient],
        "Refuse recipients in our domains that do not exist",
        |context, _| check_unlisted(context, Subject::Recipient),
    )
    .alias(&["check_recipient_maps"]),
];

/// The check itself; it also runs by default at the end of the recipient list.
pub(crate) fn check_unlisted(context: &mut Context<'_, '_>, subject: Subject) -> Result<Step, Suspend> {
    let Some(address) = address_of(context, subject) else { return Ok(Step::Dunno) };
    let resolved = match context.resolve(sender_for(context, subject), address)? {
        Ok(resolved) => resolved,
        Err(step) => return Ok(step),
    };
    let known = &context.plan.known;
    let sender_canonical = Some(&known.sender_canonical).filter(|_| subject == Subject::Sender);
    let maps = [Some(&known.recipient_canonical), sender_canonical, Some(&known.canonical), Some(&known.virtual_alias)];
    for maps in maps.into_iter().flatten() {
        match find(context, maps, &resolved, address)? {
            Ok(false) => {}
            Ok(true) => return Ok(Step::Dunno),
            Err(step) => return Ok(step),
        }
    }
    if let Some(step) = by_transport(context, &resolved, subject)? {
        return Ok(step);
    }
    by_class(context, &resolved, address, subject)
}

fn find(
    context: &mut Context<'_, '_>,
    maps: &AddressMaps,
    resolved: &Resolved,
    address: &str,
) -> Result<Result<bool, Step>, Suspend> {
    match context.plan.routing.find_address(maps, &resolved.recipient, context.ask)? {
        Lookup::Found { .. } => Ok(Ok(true)),
        Lookup::NotFound => Ok(Ok(false)),
        Lookup::Failed(why) => {
            context.warning(why.as_ref());
            Ok(Err(Step::Abort(Refusal::lookup_failure(address))))
        }
        Lookup::Broken(why) => {
            context.warning(why.as_ref());
            Ok(Err(Step::Abort(Refusal::server_error())))
        }
    }
}

/// Error and retry transports say themselves what is wrong with the address.
fn by_transport(context: &mut Context<'_, '_>, resolved: &Resolved, subject: Subject) -> Result<Option<Step>, Suspend> {
    let code = match resolved.transport.as_str() {
        "error" if resolved.class == AddressClass::VirtualAlias => context.plan.codes.unknown_alias,
        "error" => 550,
        "retry" => 450,
        _ => return Ok(None),
    };
    let (status, text) = Status::split(&resolved.nexthop);
    let status = match status {
        Some(given) => fit(context, given, code, subject),
        None => unknown_status(Status::new(1, 1), subject),
    };
    let text = text.to_owned();
    let refusal = context.refusal(subject, code, (status.subject, status.detail), &text)?;
    Ok(Some(Step::Reject(refusal.class(ErrorClass::Bounce))))
}

/// x.1.1 is said of recipients, x.1.0 of senders.
fn unknown_status(given: Status, subject: Subject) -> Status {
    if subject == Subject::Sender && given == Status::new(1, 1) { Status::new(1, 0) } else { given.fitted(subject) }
}

fn by_class(
    context: &mut Context<'_, '_>,
    resolved: &Resolved,
    address: &str,
    subject: Subject,
) -> Result<Step, Suspend> {
    let (known, codes) = (&context.plan.known, &context.plan.codes);
    let (maps, code, table) = match resolved.class {
        AddressClass::Local => (&known.local, codes.unknown_local, "local recipient"),
        AddressClass::VirtualMailbox => (&known.mailbox, codes.unknown_mailbox, "virtual mailbox"),
        AddressClass::Relay => (&known.relay, codes.unknown_relay, "relay recipient"),
        AddressClass::VirtualAlias | AddressClass::Default => return Ok(Step::Dunno),
    };
    if maps.is_empty() || (resolved.class == AddressClass::Local && is_exempt(context, resolved)) {
        return Ok(Step::Dunno);
    }
    match find(context, maps, resolved, address)? {
        Ok(true) => return Ok(Step::Dunno),
        Ok(false) => {}
        Err(step) => return Ok(step),
    }
    let text = match context.plan.routing.show_table_name {
        true => format!("User unknown in {table} table"),
        false => "User unknown".to_owned(),
    };
    let status = unknown_status(Status::new(1, 1), subject);
    let refusal = context.refusal(subject, code, (status.subject, status.detail), &text)?;
    Ok(Step::Reject(refusal.class(ErrorClass::Bounce)))
}

/// Local parts that every mail system has.
fn is_exempt(context: &Context<'_, '_>, resolved: &Resolved) -> bool {
    // up to the first @, even within quotes
    let local = resolved.recipient.split('@').next().unwrap_or_default();
    let double_bounce = context.plan.routing.double_bounce_sender.as_str();
    ["postmaster", "mailer-daemon", double_bounce].iter().any(|name| local.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use crate::ErrorClass;
    use crate::testing::{Bench, Script, log};

    const VALUES: &[(&str, &str)] = &[
        ("mydestination", "example.com, mail.example.com"),
        ("recipient_delimiter", "+"),
        ("local_recipient_maps", "hash:/local"),
        ("relay_domains", "relay.example, open-relay.example"),
        ("relay_recipient_maps", "hash:/relay"),
        ("virtual_alias_domains", "alias.example"),
        ("virtual_alias_maps", "hash:/virtual"),
        ("virtual_mailbox_domains", "mbox.example"),
        ("virtual_mailbox_maps", "hash:/vmailbox"),
        ("recipient_canonical_maps", "hash:/rcanon"),
        ("sender_canonical_maps", "hash:/scanon"),
        ("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination"),
    ];

    fn script() -> Script {
        [
            ("hash:/local", "alice"),
            ("hash:/local", "bob@mail.example.com"),
            ("hash:/relay", "carol@relay.example"),
            ("hash:/relay", "@open-relay.example"),
            ("hash:/virtual", "dave@alias.example"),
            ("hash:/virtual", "ghost@example.com"),
            ("hash:/vmailbox", "erin@mbox.example"),
            ("hash:/rcanon", "old@example.com"),
            ("hash:/scanon", "oldsender@example.com"),
        ]
        .iter()
        .fold(Script::default(), |script, (table, key)| script.entry(table, key, "x"))
    }

    #[test]
    fn every_class_has_its_table() {
        let unknown = |address: &str, table: &str| {
            format!("550 5.1.1 <{address}>: Recipient address rejected: User unknown in {table} table")
        };
        for (recipient, table) in [
            ("alice@example.com", None),
            ("ALICE+ext@Example.com", None),
            ("bob@mail.example.com", None),
            ("ghost@example.com", None),
            ("old@example.com", None),
            ("mailer-daemon@example.com", None),
            ("double-bounce@example.com", None),
            ("carol@relay.example", None),
            ("any@open-relay.example", None),
            ("dave@alias.example", None),
            ("erin@mbox.example", None),
            ("nobody@example.com", Some("local recipient")),
            ("nobody", Some("local recipient")),
            ("bob@example.com", Some("local recipient")),
            ("oldsender@example.com", Some("local recipient")),
            ("other@relay.example", Some("relay recipient")),
            ("other@alias.example", Some("virtual alias")),
            ("other@mbox.example", Some("virtual mailbox")),
        ] {
            let expected = table.map_or("250".into(), |table| unknown(recipient, table));
            assert_eq!(Bench::new(VALUES, script()).recipient(recipient).reply(), expected);
        }
        let rejection = Bench::new(VALUES, script()).recipient("nobody@example.com").rcpt().rejection.unwrap();
        assert_eq!(rejection.class, ErrorClass::Bounce);
    }

    #[test]
    fn codes_and_words_can_be_changed() {
        let mut values = VALUES.to_vec();
        values.extend([
            ("unknown_local_recipient_reject_code", "450"),
            ("unknown_relay_recipient_reject_code", "551"),
            ("unknown_virtual_alias_reject_code", "552"),
            ("unknown_virtual_mailbox_reject_code", "553"),
        ]);
        for (recipient, expected) in [
            (
                "x@example.com",
                "450 4.1.1 <x@example.com>: Recipient address rejected: User unknown in local recipient table",
            ),
            (
                "x@relay.example",
                "551 5.1.1 <x@relay.example>: Recipient address rejected: User unknown in relay recipient table",
            ),
            (
                "x@alias.example",
                "552 5.1.1 <x@alias.example>: Recipient address rejected: User unknown in virtual alias table",
            ),
            (
                "x@mbox.example",
                "553 5.1.1 <x@mbox.example>: Recipient address rejected: User unknown in virtual mailbox table",
            ),
        ] {
            assert_eq!(Bench::new(&values, script()).recipient(recipient).reply(), expected);
        }
        values.push(("show_user_unknown_table_name", "no"));
        let reply = Bench::new(&values, script()).recipient("x@example.com").reply();
        assert_eq!(reply, "450 4.1.1 <x@example.com>: Recipient address rejected: User unknown");
    }

    #[test]
    fn the_check_can_be_left_out() {
        for more in [
            ("smtpd_reject_unlisted_recipient", "no"),
            ("receive_override_options", "no_address_mappings, no_unknown_recipient_checks"),
            ("local_recipient_maps", ""),
        ] {
            let mut values = VALUES.to_vec();
            values.push(more);
            assert_eq!(Bench::new(&values, script()).recipient("nobody@example.com").reply(), "250", "{more:?}");
        }
    }

    #[test]
    fn senders_are_checked_on_demand() {
        let reply = "550 5.1.0 <nobody@example.com>: Sender address rejected: User unknown in local recipient table";
        for more in [
            ("smtpd_reject_unlisted_sender", "yes"),
            ("smtpd_recipient_restrictions", "reject_unlisted_sender, reject"),
        ] {
            let mut values = VALUES.to_vec();
            values.push(more);
            let bench = Bench::new(&values, script()).recipient("alice@example.com");
            assert_eq!(bench.clone().sender("nobody@example.com").reply(), reply);
            let known = bench.clone().sender("oldsender@example.com").reply();
            assert_ne!(known, reply);
            assert!(!bench.sender("").reply().contains("unknown"));
        }
    }

    #[test]
    fn an_explicit_check_comes_in_its_place_and_a_warning_does_not_replace_it() {
        let mut values = VALUES.to_vec();
        values.push(("smtpd_recipient_restrictions", "check_recipient_maps, reject"));
        let unknown = "550 5.1.1 <x@example.com>: Recipient address rejected: User unknown in local recipient table";
        assert_eq!(Bench::new(&values, script()).recipient("x@example.com").reply(), unknown);

        let mut values = VALUES.to_vec();
        values.push(("smtpd_recipient_restrictions", "warn_if_reject reject_unlisted_recipient"));
        let decision = Bench::new(&values, script()).recipient("x@example.com").rcpt();
        assert_eq!(log(&decision), [format!("reject_warning: {unknown}"), format!("reject: {unknown}")]);
    }

    #[test]
    fn transports_can_refuse() {
        let mut values = VALUES.to_vec();
        values.extend([("transport_maps", "hash:/transport"), ("relocated_maps", "hash:/relocated")]);
        let script = script()
            .entry("hash:/transport", "relay.example", "error:5.1.2 no such domain")
            .entry("hash:/transport", "open-relay.example", "retry:4.4.1 come later")
            .entry("hash:/transport", "mbox.example", "error:mailbox is closed")
            .entry("hash:/relocated", "alice@example.com", "alice@new.example");
        for (recipient, expected) in [
            ("x@relay.example", "550 5.1.2 <x@relay.example>: Recipient address rejected: no such domain"),
            ("x@open-relay.example", "450 4.4.1 <x@open-relay.example>: Recipient address rejected: come later"),
            ("erin@mbox.example", "550 5.1.1 <erin@mbox.example>: Recipient address rejected: mailbox is closed"),
            (
                "alice@example.com",
                "550 5.1.6 <alice@example.com>: Recipient address rejected: User has moved to alice@new.example",
            ),
        ] {
            assert_eq!(Bench::new(&values, script.clone()).recipient(recipient).reply(), expected);
        }
        values.push(("relocated_prefix_enable", "no"));
        let script = script.entry("hash:/relocated", "bob@mail.example.com", "5.2.1 mailbox closed");
        let reply = Bench::new(&values, script).recipient("bob@mail.example.com").reply();
        assert_eq!(reply, "550 5.2.1 <bob@mail.example.com>: Recipient address rejected: mailbox closed");
    }

    #[test]
    fn an_unreadable_table_defers() {
        let script = script().failure("hash:/local", "nobody@example.com", "hash:/local is broken");
        let decision = Bench::new(VALUES, script).recipient("nobody@example.com").rcpt();
        assert_eq!(
            log(&decision),
            [
                "warning: hash:/local is broken",
                "warning: hash:/local lookup error for \"nobody@example.com\"",
                "reject: 451 4.3.0 <nobody@example.com>: Temporary lookup failure",
            ]
        );
    }
}
