//! The registry of restrictions: one entry a name; the parser, diagnostics and documentation derive from it.
//!
//! Each family has a file with its entries, checks and tests.

mod access;
mod catalogue;
mod client;
mod destination;
mod dmarc;
mod dnsbl;
mod dnsbl_guardian;
mod generic;
mod hostname;
mod login;
mod mail_address;
mod mx_backup;
mod parse;
mod policy_service;
mod server_access;
mod spf;
mod tls;
mod unlisted;
mod verify;

pub use catalogue::{Listed, Support, access_actions, catalogue};
pub(crate) use destination::is_authorized;
pub(crate) use dmarc::NEED_MESSAGE;
pub(crate) use dnsbl::{Dnsbl, DnsblReplies, is_reply_template};
pub use dnsbl_guardian::DnsList;
pub(crate) use parse::{Arg, Item, Kind, List, Origin, Prefix, Problem, Words, parse};
pub(crate) use spf::{PermErrorAction, SpfActions, verdict as spf_verdict};
pub(crate) use unlisted::check_unlisted;
pub(crate) use verify::VerifySettings;

use crate::context::Context;
use crate::ledger::Suspend;
use crate::step::Step;
use std::collections::HashMap;
use std::sync::OnceLock;

/// What stands after a restriction's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Argument {
    /// Nothing.
    None,
    /// `type:name`.
    Table,
    /// `type:name` or `{ type:name, { search_order = … } }`.
    CertificateTable,
    /// `domain` or `domain=filter`.
    Domain,
    /// `type:endpoint` or `{ type:endpoint, name=value, … }`.
    PolicyService,
    /// A number of seconds.
    Seconds,
    /// Another restriction: this is a prefix.
    Restriction,
}

/// What a restriction looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The client's address and names.
    Client,
    /// HELO or EHLO.
    Helo,
    /// MAIL FROM.
    Sender,
    /// RCPT TO or VRFY.
    Recipient,
    /// ETRN.
    Etrn,
    /// The TLS session.
    Tls,
    /// The login.
    Sasl,
}

pub(crate) type Check = fn(&mut Context<'_, '_>, &Arg) -> Result<Step, Suspend>;

/// One restriction, as the registry has it.
pub struct Restriction {
    /// Its name.
    pub name: &'static str,
    /// Older names that still work.
    pub aliases: &'static [&'static str],
    /// What stands after it.
    pub argument: Argument,
    /// What it looks at; without it, it has no opinion.
    pub needs: &'static [Input],
    /// Does it ask the DNS?
    pub asks_dns: bool,
    /// One line of documentation.
    pub summary: &'static str,
    pub(crate) check: Check,
}

impl std::fmt::Debug for Restriction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Does the same question get another answer the next time?
pub(crate) fn asks_anew(entry: &Restriction) -> bool {
    entry.argument == Argument::PolicyService || entry.name.starts_with("reject_unverified_")
}

/// A short way to write an entry.
const fn entry(
    name: &'static str,
    argument: Argument,
    needs: &'static [Input],
    summary: &'static str,
    check: Check,
) -> Restriction {
    Restriction { name, aliases: &[], argument, needs, asks_dns: false, summary, check }
}

impl Restriction {
    const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn dns(mut self) -> Self {
        self.asks_dns = true;
        self
    }
}

static FAMILIES: &[&[Restriction]] = &[
    generic::ENTRIES,
    client::ENTRIES,
    hostname::ENTRIES,
    mail_address::ENTRIES,
    destination::ENTRIES,
    mx_backup::ENTRIES,
    unlisted::ENTRIES,
    verify::ENTRIES,
    login::ENTRIES,
    access::ENTRIES,
    server_access::ENTRIES,
    dnsbl::ENTRIES,
    policy_service::ENTRIES,
    spf::ENTRIES,
    dmarc::ENTRIES,
    tls::ENTRIES,
];

/// All restrictions, by family.
pub fn restrictions() -> impl Iterator<Item = &'static Restriction> {
    FAMILIES.iter().copied().flatten()
}

/// The restriction of this name or alias, in any case.
pub fn find_restriction(name: &str) -> Option<&'static Restriction> {
    static INDEX: OnceLock<HashMap<&'static str, &'static Restriction>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let named = restrictions().map(|entry| (entry.name, entry));
        let aliased = restrictions().flat_map(|entry| entry.aliases.iter().map(move |alias| (*alias, entry)));
        named.chain(aliased).collect()
    });
    match index.get(name) {
        Some(entry) => Some(entry),
        None => index.get(name.to_ascii_lowercase().as_str()).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_in_any_case() {
        let mut seen = std::collections::HashSet::new();
        for entry in restrictions() {
            for name in std::iter::once(&entry.name).chain(entry.aliases) {
                assert!(seen.insert(*name), "{name} twice");
                assert_eq!(find_restriction(&name.to_ascii_uppercase()).unwrap().name, entry.name);
            }
            assert!(!entry.summary.is_empty() && !entry.summary.ends_with('.'), "{}", entry.name);
        }
        assert!(find_restriction("reject_unknown_forward_client_hostname").is_none());
    }
}
