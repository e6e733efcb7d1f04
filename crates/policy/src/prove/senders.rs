//! Who may use the senders of a domain: what the configuration says of owners, and whom to ask.

use super::{Keys, TableContents};
use crate::match_list::Pattern;
use crate::plan::Plan;
use crate::settings::elements;
use std::net::{IpAddr, Ipv4Addr};

/// An address or domain and the logins that own it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// `user@domain` or `@domain`.
    pub sender: String,
    /// Login names.
    pub logins: Vec<String>,
}

/// The owners of a domain's senders, and tables that can't be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// In the order of the tables.
    pub owned: Vec<Owned>,
    /// Tables that may have more, or patterns.
    pub unlisted: Vec<String>,
}

impl Plan {
    /// Who owns senders of a domain, by `smtpd_sender_login_maps`.
    pub fn owners(&self, domain: &str, contents: &mut dyn TableContents) -> Owners {
        let mut found = Owners::default();
        let domain = domain.to_ascii_lowercase();
        for table in self.login_maps.tables() {
            let Some(entries) = contents.contents(table.id) else {
                found.unlisted.push(table.spec.to_string());
                continue;
            };
            for entry in entries {
                match &entry.keys {
                    Keys::Text(key) if key.rsplit_once('@').is_some_and(|(_, it)| it.eq_ignore_ascii_case(&domain)) => {
                        found.owned.push(Owned { sender: key.to_string(), logins: elements(&entry.value) });
                    }
                    Keys::Text(_) | Keys::Addresses(..) => {}
                    Keys::Every | Keys::Pattern { .. } if !found.unlisted.iter().any(|it| **it == *table.spec) => {
                        found.unlisted.push(table.spec.to_string());
                    }
                    Keys::Every | Keys::Pattern { .. } => {}
                }
            }
        }
        found
    }

    /// A client that is in `mynetworks`, if one can be read off the list.
    pub fn trusted_client(&self) -> Option<IpAddr> {
        let elements = self.mynetworks.elements().iter().filter(|element| !element.negated);
        let addresses = elements.filter_map(|element| match &element.pattern {
            Pattern::Address(address) => Some(*address),
            Pattern::Network { base, prefix, v6: false } if *prefix < 31 => {
                u32::try_from(*base + 1).ok().map(|bits| IpAddr::V4(Ipv4Addr::from(bits)))
            }
            pattern => pattern.base(),
        });
        addresses.into_iter().min_by_key(IpAddr::is_ipv6)
    }

    /// Recipients of ours that probably exist.
    pub fn own_recipients(&self, contents: &mut dyn TableContents) -> Vec<String> {
        let mut found: Vec<String> =
            self.routing.mydestination.texts().iter().map(|domain| format!("postmaster@{domain}")).collect();
        for maps in [&self.known.mailbox, &self.known.relay, &self.known.virtual_alias] {
            for table in maps.tables() {
                let keys = contents.contents(table.id).into_iter().flatten().filter_map(|entry| match entry.keys {
                    Keys::Text(key) if key.contains('@') && !key.starts_with('@') => Some(key.to_string()),
                    _ => None,
                });
                found.extend(keys.take(3));
            }
        }
        found.truncate(10);
        found
    }
}
