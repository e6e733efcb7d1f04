//! Can strangers relay? An abstract run of the lists: what each could come to, whatever the client says, the DNS answers
//! and the tables hold.
//!
//! The question is asked under an assumption: the client is in none of `mynetworks`, has not logged in and has no
//! certificate; the recipient is in a domain that is neither delivered here nor relayed to. Where a list lets no such
//! recipient through, the relay is closed. A list is run over *paths*: what has to hold so that the evaluation comes this
//! far. Restrictions that a client can always satisfy leave paths as they are, so that there are never too few of them:
//! "closed" is a proof. "Open" is not proved here; the ways to a permit are handed out, for somebody to rehearse them.

mod address_set;
mod attack;
mod blocks;
mod destination;
mod digest;
mod meaning;
mod sample;
mod senders;
mod walk;

pub use address_set::AddressSet;
pub use attack::{Attack, Names, attacks};
pub use blocks::Block;
pub use senders::{Owned, Owners};

use crate::address::AddressClass;
use crate::ledger::{Ask, Ledger, World};
use crate::match_list::Matched;
use crate::plan::Plan;
use crate::question::TableId;
use crate::restriction::Item;
use crate::tables::Table;
use config::Span;
use std::net::IpAddr;
use std::sync::Arc;

/// Which keys find a value in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// This one.
    Text(Arc<str>),
    /// Every key that nothing before it has found.
    Every,
    /// Addresses from the first to the last.
    Addresses(IpAddr, IpAddr),
    /// Some of those that a regular expression matches.
    Pattern {
        /// As written.
        expression: Arc<str>,
        /// What doesn't match is found.
        negated: bool,
    },
}

/// A right-hand side of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Its keys.
    pub keys: Keys,
    /// The value, or its beginning.
    pub value: Arc<str>,
    /// The value depends on the key: its end behind the last part that does.
    pub end: Option<Arc<str>>,
}

/// What tables hold, as far as that can be listed.
pub trait TableContents {
    /// Everything that a look-up could find; `None` where that can't be listed.
    fn contents(&mut self, table: TableId) -> Option<Vec<TableEntry>>;
}

/// Whose word is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The client's name or address.
    Client,
    /// What it says at HELO.
    Helo,
    /// The sender.
    Sender,
    /// The recipient.
    Recipient,
}

/// What has to hold on the way to a permit.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A table finds one of these keys, with this value.
    Entry {
        /// Whose word is looked up.
        role: Role,
        /// In which table.
        table: Table,
        /// The keys, not more than a few.
        keys: Arc<[Keys]>,
        /// What is found, or its beginning.
        value: Arc<str>,
        /// The value depends on the key.
        varies: bool,
    },
    /// This table, whose contents can't be listed, says so.
    Table(Arc<str>),
    /// A policy service says so.
    Service(Arc<str>),
    /// A DNS list has the client.
    DnsList(Arc<str>),
    /// The recipient's domain names this system as its backup.
    MxBackup,
    /// Something that this analysis knows nothing of.
    Unmodelled(Arc<str>),
}

impl Condition {
    /// What is not known, in words; `None`: whether it can hold can be tried.
    pub fn hinge(&self) -> Option<String> {
        match self {
            Self::Entry { .. } | Self::MxBackup => None,
            Self::Table(spec) => Some(format!("what {spec} holds: its contents can't be listed")),
            Self::Service(name) => Some(format!("what the policy service {name} answers")),
            Self::DnsList(name) => Some(format!("what the DNS list {name} holds")),
            Self::Unmodelled(what) => Some(format!("{what}, which this analysis knows nothing of")),
        }
    }
}

/// A permit that can be reached, or the end of a list.
#[derive(Clone, Debug)]
pub struct Way {
    /// What has to hold.
    pub conditions: Vec<Condition>,
    /// The restriction that permits; `None`: the list ends without a verdict.
    pub permit: Option<Place>,
}

/// A restriction and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// As written.
    pub restriction: Arc<str>,
    /// Where.
    pub span: Option<Span>,
}

fn place_of(item: &Item) -> Place {
    Place { restriction: item.text.clone(), span: item.span.clone() }
}

/// What one list comes to for strangers.
#[derive(Clone, Debug)]
pub struct ListFinding {
    /// The parameter.
    pub name: Arc<str>,
    /// All ways through it; none: the list lets nobody through.
    pub ways: Vec<Way>,
    /// There are more ways than are listed.
    pub more: bool,
    /// What ended the last path.
    pub closed_by: Option<Place>,
    /// Clients that an entry of a table lets through all the same.
    pub trusted: Vec<Trusted>,
}

impl ListFinding {
    /// Does it let no stranger's recipient through?
    pub fn closes(&self) -> bool {
        self.ways.is_empty() && !self.more
    }
}

/// Client addresses that a table's entries permit by name: trusted in writing.
#[derive(Clone, Debug, PartialEq)]
pub struct Trusted {
    /// The table.
    pub table: Arc<str>,
    /// The first few.
    pub some: Vec<String>,
    /// How many entries there are.
    pub count: usize,
}

/// Recipients, addresses or rewriting beyond the lists that may open the relay.
#[derive(Clone, Debug)]
pub struct Concern {
    /// What it is, for people.
    pub text: String,
    /// Sessions that would show it; none: it can't be shown.
    pub tries: Vec<Attack>,
}

/// What is found of a policy.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The lists in the order of evaluation.
    pub lists: Vec<ListFinding>,
    /// Doubts that no list settles.
    pub concerns: Vec<Concern>,
    /// What is taken on trust.
    pub assumptions: Vec<String>,
}

impl Findings {
    /// The list that lets nobody through.
    pub fn closer(&self) -> Option<&ListFinding> {
        self.lists.iter().find(|list| list.closes())
    }

    /// Who may relay by an entry of his own: none where a list lets nobody at all through.
    pub fn trusted(&self) -> Vec<Trusted> {
        let mut found: Vec<Trusted> = Vec::new();
        for list in self.lists.iter().filter(|list| list.closes()) {
            if list.trusted.is_empty() {
                return Vec::new();
            }
            found.extend(list.trusted.iter().filter(|new| !found.contains(new)).cloned().collect::<Vec<_>>());
        }
        found
    }

    /// Proved: no stranger relays.
    pub fn is_closed(&self) -> bool {
        self.closer().is_some() && self.concerns.is_empty()
    }
}

/// What the plan doesn't say of its session.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// `smtpd_helo_required`.
    pub helo_required: bool,
}

impl Plan {
    /// Is this client in `mynetworks`?
    pub fn trusts(&self, name: &str, client: IpAddr, world: &mut dyn World) -> bool {
        let mut ledger = Ledger::default();
        let mut ask = Ask { ledger: &mut ledger, world };
        self.mynetworks.matches_host(name, Some(client), &mut ask) == Ok(Matched::Yes)
    }

    /// Would accepting this recipient from a stranger be relaying? With `foreign` its domain is known to be nobody's.
    pub fn is_relayed(&self, sender: &str, recipient: &str, foreign: bool, world: &mut dyn World) -> bool {
        let mut ledger = Ledger::default();
        let mut ask = Ask { ledger: &mut ledger, world };
        let Ok(resolved) = self.routing.resolve(sender, recipient, &mut ask) else { return false };
        match resolved.class {
            _ if resolved.flags.error || resolved.flags.failed => false,
            AddressClass::Default => true,
            AddressClass::Relay => foreign || resolved.flags.routed,
            _ => false,
        }
    }

    /// What the lists could come to for strangers.
    pub fn prove(
        &self,
        terms: Terms,
        names: &Names,
        contents: &mut dyn TableContents,
        world: &mut dyn World,
    ) -> Findings {
        let mut digests = digest::Digests::new(contents);
        let lists = walk::walk(self, terms, &mut digests, world);
        let (concerns, assumptions) = destination::concerns(self, names, &mut digests, world);
        Findings { lists, concerns, assumptions }
    }
}

#[cfg(test)]
mod tests;
