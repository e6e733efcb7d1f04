//! access(5) tables: keys in their order, the first entry found counts.

use super::mail_address::{address_of, sender_for};
use super::{Arg, Argument, Input, Restriction, entry};
use crate::action::{Entry, interpret};
use crate::address::syntax::{fold, quoted, split_at_domain};
use crate::context::Context;
use crate::ledger::Suspend;
use crate::match_list::{lookup, lookup_error, parent};
use crate::step::{Guard, Step};
use crate::subject::Subject;
use crate::tables::Table;
use std::net::IpAddr;

const REVERSE: &str = "check_reverse_client_hostname_access";

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "check_client_access",
        Argument::Table,
        &[Input::Client],
        "Look up the client's name, parent domains, address and networks",
        |context, arg| client(context, arg, Subject::Client),
    ),
    entry(
        REVERSE,
        Argument::Table,
        &[Input::Client],
        "Look up the client's unverified name, parent domains, address and networks",
        |context, arg| client(context, arg, Subject::ReverseClient),
    ),
    entry(
        "check_helo_access",
        Argument::Table,
        &[Input::Helo],
        "Look up the HELO argument and its parent domains",
        |context, arg| domain(context, arg, Subject::Helo),
    ),
    entry(
        "check_etrn_access",
        Argument::Table,
        &[Input::Etrn],
        "Look up the ETRN argument and its parent domains",
        |context, arg| domain(context, arg, Subject::Etrn),
    ),
    entry(
        "check_sender_access",
        Argument::Table,
        &[Input::Sender],
        "Look up the sender address, its domain and its user",
        sender,
    ),
    entry(
        "check_recipient_access",
        Argument::Table,
        &[Input::Recipient],
        "Look up the recipient address, its domain and its user",
        |context, arg| mail(context, arg, Subject::Recipient),
    ),
    entry("check_sasl_access", Argument::Table, &[Input::Sasl], "Look up the login name", login),
];

/// What stands in for a value that cannot be had.
pub(crate) const BROKEN_TABLE: &str = "451 4.3.5 Server configuration error";

/// Look up one key; failures count as an entry that says so.
pub(crate) fn access_value(context: &mut Context<'_, '_>, table: &Table, key: &str) -> Result<Option<Entry>, Suspend> {
    if key.is_empty() {
        return Ok(None);
    }
    let entry = |value| Entry { source: table.spec.clone(), key: key.into(), value, is_default: false };
    match lookup(table, key, context.ask)? {
        Ok(Some(value)) if value.trim().is_empty() => {
            context.warning(format!("{} lookup of {key} returns an empty string result", table.spec));
            context.warning(format!("{} should return NO RESULT in case of NOT FOUND", table.spec));
            Ok(Some(entry(BROKEN_TABLE.into())))
        }
        Ok(value) => Ok(value.map(entry)),
        Err(why) => {
            context.warning(lookup_error(table, key, &why));
            Ok(Some(entry(BROKEN_TABLE.into())))
        }
    }
}

/// A name and, in tables without patterns, its parent domains.
pub(super) fn domain_value(context: &mut Context<'_, '_>, table: &Table, name: &str) -> Result<Option<Entry>, Suspend> {
    let whole_only = table.pattern || name.parse::<IpAddr>().is_ok();
    let mut key = Some(name);
    while let Some(wanted) = key {
        let found = access_value(context, table, wanted)?;
        if found.is_some() || whole_only {
            return Ok(found);
        }
        key = parent(wanted, context.plan.access_parents);
    }
    Ok(None)
}

/// An address and, in tables without patterns, its networks cut at dots or colons.
pub(super) fn address_value(
    context: &mut Context<'_, '_>,
    table: &Table,
    address: IpAddr,
) -> Result<Option<Entry>, Suspend> {
    let text = address.to_string();
    let delimiter = if address.is_ipv4() { '.' } else { ':' };
    let mut key = text.as_str();
    loop {
        let found = access_value(context, table, key)?;
        if found.is_some() || table.pattern {
            return Ok(found);
        }
        match key.rfind(delimiter) {
            Some(at) if at > 0 => key = &key[..at],
            _ => return Ok(None),
        }
    }
}

fn conclude(
    context: &mut Context<'_, '_>,
    found: Option<Entry>,
    subject: Subject,
    guard: Guard,
) -> Result<Step, Suspend> {
    match found {
        Some(entry) => interpret(context, &entry, subject, guard),
        None => Ok(Step::Dunno),
    }
}

fn client(context: &mut Context<'_, '_>, arg: &Arg, subject: Subject) -> Result<Step, Suspend> {
    let Arg::Table(table) = arg else { return Ok(Step::Dunno) };
    let names = context.peer_name()?;
    let (name, guard) = match subject {
        Subject::Client => (names.name, Guard::None),
        _ => (names.reverse.clone(), Guard::OkForbidden(REVERSE, names.reverse)),
    };
    let mut found = domain_value(context, table, &name)?;
    if let (None, Some(address)) = (&found, context.facts.client.address) {
        found = address_value(context, table, address)?;
    }
    conclude(context, found, subject, guard)
}

fn domain(context: &mut Context<'_, '_>, arg: &Arg, subject: Subject) -> Result<Step, Suspend> {
    let Arg::Table(table) = arg else { return Ok(Step::Dunno) };
    let facts = context.facts;
    let name = if subject == Subject::Helo { &facts.helo } else { &facts.etrn_domain };
    let Some(name) = name.as_deref() else { return Ok(Step::Dunno) };
    let found = domain_value(context, table, name)?;
    conclude(context, found, subject, Guard::None)
}

fn login(context: &mut Context<'_, '_>, arg: &Arg) -> Result<Step, Suspend> {
    let Arg::Table(table) = arg else { return Ok(Step::Dunno) };
    let facts = context.facts;
    let Some(login) = &facts.sasl else {
        if !context.plan.sasl_enabled {
            context.warning("restriction `check_sasl_access' ignored: no SASL support");
        }
        return Ok(Step::Dunno);
    };
    let found = access_value(context, table, &login.username)?;
    conclude(context, found, Subject::Login, Guard::None)
}

fn sender(context: &mut Context<'_, '_>, arg: &Arg) -> Result<Step, Suspend> {
    if context.facts.sender.as_deref() != Some("") {
        return mail(context, arg, Subject::Sender);
    }
    let Arg::Table(table) = arg else { return Ok(Step::Dunno) };
    let found = access_value(context, table, &context.plan.null_access_key)?;
    conclude(context, found, Subject::Sender, Guard::None)
}

fn mail(context: &mut Context<'_, '_>, arg: &Arg, subject: Subject) -> Result<Step, Suspend> {
    let Arg::Table(table) = arg else { return Ok(Step::Dunno) };
    let Some(address) = address_of(context, subject) else { return Ok(Step::Dunno) };
    let resolved = match context.resolve(sender_for(context, subject), address)? {
        Ok(resolved) => resolved,
        Err(step) => return Ok(step),
    };
    let guard = match subject {
        Subject::Recipient if resolved.flags.routed && !context.plan.untrusted_routing => Guard::OkIgnored,
        _ => Guard::None,
    };
    let key = fold(&resolved.recipient);
    let found = mail_value(context, table, &key)?;
    conclude(context, found, subject, guard)
}

/// `user+ext@domain`, `user@domain`, `domain` and parents, `user+ext@`, `user@`.
fn mail_value(context: &mut Context<'_, '_>, table: &Table, address: &str) -> Result<Option<Entry>, Suspend> {
    let (local, Some(domain)) = split_at_domain(address) else {
        context.warning(format!("no @domain in address: {address}"));
        return Ok(None);
    };
    macro_rules! found {
        ($value:expr) => {
            if let Some(value) = $value {
                return Ok(Some(value));
            }
        };
    }
    found!(both_forms(context, table, address)?);
    if table.pattern {
        return Ok(None);
    }
    let plan = context.plan;
    let (user, extension) = plan.routing.split_extension(local);
    if extension.is_some() {
        found!(both_forms(context, table, &format!("{user}@{domain}"))?);
    }
    found!(domain_value(context, table, domain)?);
    found!(both_forms(context, table, &format!("{local}@"))?);
    if extension.is_some() {
        found!(both_forms(context, table, &format!("{user}@"))?);
    }
    Ok(None)
}

/// The external form first, then the internal one if it differs.
fn both_forms(context: &mut Context<'_, '_>, table: &Table, key: &str) -> Result<Option<Entry>, Suspend> {
    let external = quoted(key);
    let found = access_value(context, table, &external)?;
    if found.is_some() || external == key { Ok(found) } else { access_value(context, table, key) }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
