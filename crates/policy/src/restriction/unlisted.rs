//! Unlisted senders and recipients: addresses in our own domains that no table knows.

use super::mail_address::{address_of, sender_for};
use super::{Argument, Input, Restriction, entry};
use crate::action::fit;
use crate::address::syntax::split_at_domain;
use crate::address::{AddressClass, AddressMaps, Lookup, Resolved};
use crate::context::Context;
use crate::decision::ErrorClass;
use crate::question::Suspend;
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
        // The built-in text of virtual alias domains, fitted without a word in the log.
        Some(given) if resolved.class == AddressClass::VirtualAlias => unknown_status(given, subject),
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
    let (local, _) = split_at_domain(&resolved.recipient);
    let double_bounce = context.plan.routing.double_bounce_sender.as_str();
    ["postmaster", "mailer-daemon", double_bounce].iter().any(|name| local.eq_ignore_ascii_case(name))
}
