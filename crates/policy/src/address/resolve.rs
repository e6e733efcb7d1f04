//! Where an address goes: class, transport, next hop (ADDRESS_CLASS_README, transport(5), relocated(5)).

use super::map::{Keys, Lookup};
use super::rewrite::trim_final_dot;
use super::syntax::{bare_positions, domain_of, is_utf8_hostname, mail_literal, quoted, unquoted};
use super::{AddressMaps, Routing};
use crate::ledger::{Ask, Suspend};
use crate::match_list::{Matched, parent};
use std::net::IpAddr;
use std::sync::Arc;

/// The class of a recipient domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// `mydestination`, or one of our addresses.
    Local,
    /// `virtual_alias_domains`.
    VirtualAlias,
    /// `virtual_mailbox_domains`.
    VirtualMailbox,
    /// `relay_domains`.
    Relay,
    /// Everything else.
    #[default]
    Default,
}

impl AddressClass {
    /// Is this system the final destination?
    pub fn is_final(self) -> bool {
        matches!(self, Self::Local | Self::VirtualAlias | Self::VirtualMailbox)
    }

    /// Is mail for it accepted from anybody?
    pub fn is_authorized(self) -> bool {
        self != Self::Default
    }
}

/// What else is to be known of a resolved address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolvedFlags {
    /// The local part names another domain (`user@other@here`, `user%other`, `other!user`).
    pub routed: bool,
    /// Not an address mail can be sent to; MAIL and RCPT answer 501.
    pub error: bool,
    /// A table could not be read: try again later.
    pub failed: bool,
}

/// Where an address goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The transport (`smtp`, `local`, `error`, …).
    pub transport: String,
    /// Where the transport takes it (domain, `[host]:port`, or the text of an `error` transport).
    pub nexthop: String,
    /// The address, internal form, with a domain.
    pub recipient: String,
    /// Its class.
    pub class: AddressClass,
    /// What else is to be known.
    pub flags: ResolvedFlags,
    /// Warnings for the log.
    pub warnings: Vec<String>,
}

/// The address after local domains were stripped.
struct Stripped {
    /// External form without its domain.
    local: String,
    /// The domain it goes to; `None`: here.
    remote: Option<String>,
    /// The local domain that was stripped.
    here: Option<String>,
}

/// A table could not be read.
struct Failed(Arc<str>);

impl Routing {
    /// Resolve an address (internal form) for delivery; `sender` selects sender-dependent transports and relay hosts.
    pub fn resolve(&self, sender: &str, address: &str, ask: &mut Ask<'_>) -> Result<Resolved, Suspend> {
        let mut resolved = Resolved::default();
        match self.resolve_into(&mut resolved, sender, address, ask)? {
            Ok(()) => {}
            Err(Failed(why)) => {
                resolved.flags.failed = true;
                resolved.warnings.extend(why.lines().map(str::to_owned));
                if resolved.recipient.is_empty() {
                    resolved.recipient = self.rewrite(address);
                }
            }
        }
        Ok(resolved)
    }

    fn resolve_into(
        &self,
        resolved: &mut Resolved,
        sender: &str,
        address: &str,
        ask: &mut Ask<'_>,
    ) -> Result<Result<(), Failed>, Suspend> {
        let stripped = match self.strip_local(address, ask)? {
            Ok(stripped) => stripped,
            Err(failed) => return Ok(Err(failed)),
        };
        let local = unquoted(&stripped.local);
        resolved.flags.routed = local.contains(['@', '%', '!']);
        resolved.flags.error |= local.starts_with('-') && !self.allow_min_user;
        let mut remote = stripped.remote;
        if remote.is_none() && stripped.here.is_none() {
            // With append_at_myorigin = no: an address without domain is of this host, which needn't be a destination.
            match self.is_local_domain(&self.myhostname, ask)? {
                Matched::Failed(why) => return Ok(Err(Failed(why))),
                Matched::No => remote = Some(self.myhostname.clone()),
                Matched::Yes => {}
            }
        }
        let Some(domain) = remote else {
            let domain = stripped.here.as_deref().unwrap_or(&self.myhostname);
            resolved.recipient = format!("{local}@{domain}");
            resolved.class = AddressClass::Local;
            set_transport(resolved, &self.local_transport, &self.myhostname);
            return self.apply_maps(resolved, ask);
        };
        resolved.recipient = format!("{local}@{domain}");
        if !self.is_destination(&domain) {
            resolved.flags.error = true;
            set_transport(resolved, &self.default_transport, &domain);
            return Ok(Ok(()));
        }
        if let Err(failed) = self.classify(resolved, &domain, sender, ask)? {
            return Ok(Err(failed));
        }
        self.apply_maps(resolved, ask)
    }

    fn is_destination(&self, domain: &str) -> bool {
        if domain.starts_with('[') {
            return mail_literal(domain).is_some();
        }
        is_utf8_hostname(domain)
    }

    /// Strip domains that are ours until one remains that is not, or none.
    fn strip_local(&self, address: &str, ask: &mut Ask<'_>) -> Result<Result<Stripped, Failed>, Suspend> {
        let mut text = self.rewrite_external(quoted(address).into_owned());
        let mut here = None;
        for _ in 0..=address.len() + 100 {
            trim_final_dot(&mut text);
            if self.resolve_numeric_domain {
                bracket_address(&mut text);
            }
            let at = bare_positions(&text, '@').last();
            if let Some(at) = at {
                let domain = &text[at + 1..];
                if domain.is_empty() && self.resolve_null_domain {
                    text.push_str(&self.myhostname);
                    continue;
                }
                let ours = if domain.is_empty() { Matched::Yes } else { self.is_local_domain(domain, ask)? };
                match ours {
                    Matched::Failed(why) => return Ok(Err(Failed(why))),
                    Matched::No => {
                        let remote = Some(domain.to_owned());
                        text.truncate(at);
                        return Ok(Ok(Stripped { local: text, remote, here }));
                    }
                    Matched::Yes => {
                        here = Some(domain.to_owned());
                        text.truncate(at);
                    }
                }
            }
            match self.reroute(&text) {
                Some(next) => text = next,
                // The surrogate may be an address with a domain.
                None if matches!(text.as_str(), "" | "\"\"") => text.clone_from(&self.empty_recipient),
                None => break,
            }
        }
        // `user@` is an error; `user@domain@` is what it says without the last `@`
        let empty = here.as_deref() == Some("");
        let remote = empty.then(String::new);
        Ok(Ok(Stripped { local: text, remote, here: here.filter(|_| !empty) }))
    }

    /// The address a local part stands for, if it has routing operators we honour.
    fn reroute(&self, local: &str) -> Option<String> {
        let operator = |c: char| match c {
            '@' => true,
            '%' => self.percent_hack,
            '!' => self.swap_bangpath,
            _ => false,
        };
        let bare = ['@', '%', '!'].iter().any(|c| operator(*c) && bare_positions(local, *c).next().is_some());
        if bare {
            return Some(self.rewrite_external(local.to_owned()));
        }
        let cracked = self.resolve_dequoted && local.starts_with('"') && local.ends_with('"');
        if !cracked {
            return None;
        }
        let plain = unquoted(local);
        plain.contains(operator).then(|| self.rewrite_external(quoted_at_last(&plain)))
    }

    fn classify(
        &self,
        resolved: &mut Resolved,
        domain: &str,
        sender: &str,
        ask: &mut Ask<'_>,
    ) -> Result<Result<(), Failed>, Suspend> {
        macro_rules! listed {
            ($list:expr) => {
                match $list.matches(domain, ask)? {
                    Matched::Failed(why) => return Ok(Err(Failed(why))),
                    Matched::Yes => true,
                    Matched::No => false,
                }
            };
        }
        if listed!(self.virtual_alias_domains) {
            // what can't be looked up only for the warning is no failure
            if self.virtual_mailbox_domains.matches(domain, ask)? == Matched::Yes {
                resolved.warnings.push(overlap(domain, "virtual_alias_domains", "virtual_mailbox_domains"));
            }
            if self.relay_domains.matches(domain, ask)? == Matched::Yes {
                resolved.warnings.push(overlap(domain, "virtual_alias_domains", "relay_domains"));
            }
            resolved.class = AddressClass::VirtualAlias;
            resolved.transport = "error".into();
            let table = if self.show_table_name { " in virtual alias table" } else { "" };
            resolved.nexthop = format!("5.1.1 User unknown{table}");
        } else if listed!(self.virtual_mailbox_domains) {
            if self.relay_domains.matches(domain, ask)? == Matched::Yes {
                resolved.warnings.push(overlap(domain, "virtual_mailbox_domains", "relay_domains"));
            }
            resolved.class = AddressClass::VirtualMailbox;
            set_transport(resolved, &self.virtual_transport, domain);
        } else {
            return self.route_out(resolved, domain, sender, ask);
        }
        Ok(Ok(()))
    }

    fn route_out(
        &self,
        resolved: &mut Resolved,
        domain: &str,
        sender: &str,
        ask: &mut Ask<'_>,
    ) -> Result<Result<(), Failed>, Suspend> {
        let relay = match self.relay_domains.matches(domain, ask)? {
            Matched::Failed(why) => return Ok(Err(Failed(why))),
            matched => matched == Matched::Yes,
        };
        let mut transport = self.relay_transport.clone();
        if relay {
            resolved.class = AddressClass::Relay;
        } else {
            let null_key = &self.null_transport_key;
            transport = match self.sender_value(&self.sender_transport_maps, sender, null_key, ask)? {
                Ok(found) => found.unwrap_or_else(|| self.default_transport.clone()),
                Err(failed) => return Ok(Err(failed)),
            };
        }
        set_transport(resolved, &transport, "");
        if !resolved.nexthop.is_empty() {
            return Ok(Ok(()));
        }
        let null_key = &self.null_relayhost_key;
        let relayhost = match self.sender_value(&self.sender_relayhost_maps, sender, null_key, ask)? {
            Ok(found) => found.unwrap_or_else(|| self.relayhost.clone()),
            Err(failed) => return Ok(Err(failed)),
        };
        resolved.nexthop = if relayhost.is_empty() { domain.to_owned() } else { relayhost };
        Ok(Ok(()))
    }

    /// A sender-dependent value; DUNNO counts as none.
    fn sender_value(
        &self,
        maps: &AddressMaps,
        sender: &str,
        null_key: &str,
        ask: &mut Ask<'_>,
    ) -> Result<Result<Option<String>, Failed>, Suspend> {
        if maps.is_empty() {
            return Ok(Ok(None));
        }
        let found = if sender.is_empty() {
            maps.get(null_key, false, ask)?
        } else {
            let sender = self.rewrite(sender);
            self.find_with(maps, &sender, Keys { local_part: true, at_domain: true, internal: true }, ask)?
        };
        Ok(match found {
            Lookup::Found { value, .. } if value.eq_ignore_ascii_case("dunno") => Ok(None),
            Lookup::Found { value, .. } => Ok(Some(value.to_string())),
            Lookup::NotFound => Ok(None),
            Lookup::Failed(why) | Lookup::Broken(why) => Err(Failed(why)),
        })
    }

    /// transport_maps and relocated_maps.
    fn apply_maps(&self, resolved: &mut Resolved, ask: &mut Ask<'_>) -> Result<Result<(), Failed>, Suspend> {
        if resolved.class != AddressClass::VirtualAlias && !self.transport_maps.is_empty() {
            match self.find_transport(&resolved.recipient, ask)? {
                Lookup::Failed(why) | Lookup::Broken(why) => return Ok(Err(Failed(why))),
                Lookup::NotFound => {}
                Lookup::Found { value, .. } => {
                    let domain = domain_of(&resolved.recipient).unwrap_or("").to_owned();
                    override_transport(resolved, &value, &domain);
                }
            }
        }
        if !self.relocated_maps.is_empty() {
            match self.find_address(&self.relocated_maps, &resolved.recipient, ask)? {
                Lookup::Failed(why) | Lookup::Broken(why) => return Ok(Err(Failed(why))),
                Lookup::NotFound => {}
                Lookup::Found { value, .. } => {
                    resolved.transport = "error".into();
                    resolved.nexthop = match self.relocated_prefix {
                        true => format!("5.1.6 User has moved to {value}"),
                        false => value.to_string(),
                    };
                }
            }
        }
        Ok(Ok(()))
    }

    /// transport(5) keys: address, address without extension, domain and parents, `*`.
    fn find_transport(&self, recipient: &str, ask: &mut Ask<'_>) -> Result<Lookup, Suspend> {
        let maps = &self.transport_maps;
        let keys = Keys { local_part: false, at_domain: false, internal: true };
        match self.find_with(maps, recipient, keys, ask)? {
            Lookup::NotFound => {}
            other => return Ok(other),
        }
        let mut key = domain_of(recipient);
        while let Some(domain) = key {
            match maps.get(domain, true, ask)? {
                Lookup::NotFound => {}
                other => return Ok(other),
            }
            key = parent(domain, self.transport_parents);
        }
        maps.get("*", true, ask)
    }
}

/// `user@192.0.2.1` is `user@[192.0.2.1]`.
fn bracket_address(text: &mut String) {
    let Some(at) = bare_positions(text, '@').last() else { return };
    let tag = match text[at + 1..].parse() {
        Ok(IpAddr::V4(_)) => "[",
        Ok(IpAddr::V6(_)) => "[IPv6:",
        Err(_) => return,
    };
    text.insert_str(at + 1, tag);
    text.push(']');
}

/// Quote what stands before the last operator, so that it is the one that counts.
fn quoted_at_last(plain: &str) -> String {
    match plain.rfind(['@', '%', '!']) {
        Some(at) if plain[at..].starts_with('@') => quoted(plain).into_owned(),
        Some(at) if plain[at..].starts_with('%') => {
            quoted(&format!("{}@{}", &plain[..at], &plain[at + 1..])).into_owned()
        }
        _ => plain.to_owned(),
    }
}

fn overlap(domain: &str, first: &str, second: &str) -> String {
    format!("do not list domain {domain} in BOTH {first} and {second}")
}

fn set_transport(resolved: &mut Resolved, value: &str, nexthop: &str) {
    let (transport, own) = value.split_once(':').unwrap_or((value, ""));
    resolved.transport = transport.trim().to_owned();
    resolved.nexthop = if own.trim().is_empty() { nexthop.to_owned() } else { own.trim().to_owned() };
}

/// `transport:nexthop`, where either may be left out.
fn override_transport(resolved: &mut Resolved, value: &str, domain: &str) {
    let (transport, nexthop) = value.trim().split_once(':').unwrap_or((value.trim(), ""));
    match (transport.is_empty(), nexthop.is_empty()) {
        (true, true) => {}
        (true, false) => resolved.nexthop = nexthop.to_owned(),
        (false, _) => {
            resolved.transport = transport.to_owned();
            resolved.nexthop = match (nexthop, transport) {
                ("", "error" | "retry") => "Address is undeliverable".to_owned(),
                ("", _) => domain.to_owned(),
                _ => nexthop.to_owned(),
            };
        }
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
