//! What can refuse mail from or to an address: the entries that tables have for it, and the restrictions that judge it or
//! anything else.

use super::digest::Digests;
use super::meaning::{Meaning, meaning};
use super::{Place, Role, TableContents, place_of};
use crate::address::AddressClass;
use crate::address::syntax::{quoted, split_at_domain};
use crate::ledger::{Ask, Ledger, World};
use crate::match_list::{lookup, parent};
use crate::plan::Plan;
use crate::restriction::{Arg, Input, Item, Kind, Prefix};
use crate::tables::Table;
use std::sync::Arc;

/// Something that can refuse.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The list it stands in.
    pub list: Arc<str>,
    /// The restriction.
    pub place: Place,
    /// It is about the address, as sender or as recipient; `None`: about something else, whatever the address is.
    pub role: Option<Role>,
    /// Why, in words.
    pub why: String,
    /// It only warns.
    pub warns: bool,
}

/// How deep classes and values are followed.
const DEPTH: usize = 8;
/// More are not listed.
const BLOCKS: usize = 1000;

impl Plan {
    /// Everything that can refuse mail from or to this address, in the order of evaluation.
    pub fn blocks(&self, address: &str, contents: &mut dyn TableContents, world: &mut dyn World) -> Vec<Block> {
        let mut ledger = Ledger::default();
        let resolved = {
            let mut ask = Ask { ledger: &mut ledger, world: &mut *world };
            self.routing.resolve("", address, &mut ask).unwrap_or_default()
        };
        let owners = {
            let mut ask = Ask { ledger: &mut ledger, world: &mut *world };
            match self.routing.find_address(&self.login_maps, &resolved.recipient, &mut ask) {
                Ok(crate::address::Lookup::Found { value, .. }) => Some(value),
                _ => None,
            }
        };
        let lists = &self.lists;
        let [first, second] =
            if self.relay_first { [&lists.relay, &lists.recipient] } else { [&lists.recipient, &lists.relay] };
        let mut search = Search {
            plan: self,
            digests: Digests::new(contents),
            world,
            address: resolved.recipient.clone(),
            class: resolved.class,
            routed: resolved.flags.routed,
            owners,
            list: "".into(),
            phase: Role::Client,
            found: Vec::new(),
        };
        for (list, phase) in [
            (&lists.client, Role::Client),
            (&lists.helo, Role::Helo),
            (&lists.sender, Role::Sender),
            (first, Role::Recipient),
            (second, Role::Recipient),
            (&lists.data, Role::Recipient),
            (&lists.end_of_data, Role::Recipient),
        ] {
            (search.list, search.phase) = (list.name.clone(), phase);
            search.items(&list.items, false, 0);
        }
        search.found
    }
}

struct Search<'a> {
    plan: &'a Plan,
    digests: Digests<'a>,
    world: &'a mut dyn World,
    address: String,
    class: AddressClass,
    routed: bool,
    owners: Option<Arc<str>>,
    list: Arc<str>,
    phase: Role,
    found: Vec<Block>,
}

impl Search<'_> {
    fn items(&mut self, items: &[Item], warns: bool, depth: usize) {
        let mut warn = false;
        for item in items {
            if let Kind::Prefix(prefix) = &item.kind {
                warn |= *prefix == Prefix::Warn;
                continue;
            }
            self.item(item, warns || warn, depth);
            warn = false;
        }
    }

    fn add(&mut self, item: &Item, role: Option<Role>, why: String, warns: bool) {
        let block = Block { list: self.list.clone(), place: place_of(item), role, why, warns };
        if self.found.len() < BLOCKS && !self.found.contains(&block) {
            self.found.push(block);
        }
    }

    fn item(&mut self, item: &Item, warns: bool, depth: usize) {
        match &item.kind {
            Kind::Prefix(_) => {}
            Kind::Broken(problem) if problem.is_ignored() => {}
            Kind::Broken(problem) => self.add(item, None, problem.warning(), warns),
            Kind::Class(class) if depth < DEPTH => {
                if let Some(list) = self.plan.classes.get(*class).cloned() {
                    self.items(&list.items, warns, depth + 1);
                }
            }
            Kind::Class(_) => {}
            Kind::Bare(table) => self.table(item, self.phase, table, warns, depth),
            Kind::Check(entry, arg) => match (entry.name, arg) {
                ("check_client_access" | "check_reverse_client_hostname_access", Arg::Table(table)) => {
                    self.table(item, Role::Client, table, warns, depth);
                }
                ("check_helo_access", Arg::Table(table)) => self.table(item, Role::Helo, table, warns, depth),
                ("check_sender_access", Arg::Table(table)) => self.table(item, Role::Sender, table, warns, depth),
                ("check_recipient_access", Arg::Table(table)) => self.table(item, Role::Recipient, table, warns, depth),
                ("check_sasl_access" | "check_ccert_access" | "check_etrn_access", _) => {}
                ("reject" | "defer" | "defer_if_permit", _) => {
                    self.add(item, None, "refuses whatever comes this far".into(), warns);
                }
                ("reject_unauth_destination" | "defer_unauth_destination", _)
                    if self.class.is_authorized() && !self.routed => {}
                ("reject_unauth_destination" | "defer_unauth_destination", _) => {
                    let why = "the address is neither delivered here nor relayed to".to_owned();
                    self.add(item, Some(Role::Recipient), why, warns);
                }
                ("check_policy_service", _) => self.add(item, None, "the policy service may say so".into(), warns),
                (name, _) if name.contains("sender_login_mismatch") => self.login(item, warns),
                (name, _) if name.starts_with("reject_") || name.starts_with("check_") => {
                    let role = match entry.needs {
                        [Input::Sender] => Some(Role::Sender),
                        [Input::Recipient] => Some(Role::Recipient),
                        _ => None,
                    };
                    self.add(item, role, lowered(entry.summary), warns);
                }
                _ => {}
            },
        }
    }

    fn login(&mut self, item: &Item, warns: bool) {
        let why = match &self.owners {
            Some(owners) => format!("the address belongs to {owners}"),
            None => "nobody owns the address".to_owned(),
        };
        self.add(item, Some(Role::Sender), why, warns);
    }

    fn table(&mut self, item: &Item, role: Role, table: &Table, warns: bool, depth: usize) {
        if matches!(role, Role::Sender | Role::Recipient) {
            let Some((key, value)) = self.entry_of(table) else { return };
            let shown = format!("{} has {key} {value}", table.spec);
            match meaning(self.plan, &value, false) {
                Meaning::Stop | Meaning::Defer => self.add(item, Some(role), shown, warns),
                Meaning::List(items) if depth < DEPTH => {
                    let before = self.found.len();
                    self.items(&items, warns, depth + 1);
                    for block in &mut self.found[before..] {
                        // It only counts for what the entry is about.
                        block.role = Some(role);
                        block.why = format!("{shown}: {}", block.why);
                        if block.place.span.is_none() {
                            block.place = place_of(item);
                        }
                    }
                }
                _ => {}
            }
            return;
        }
        let whose = if role == Role::Client { "the client" } else { "what the client says at HELO" };
        let why = match self.digests.of(table.id) {
            None => format!("{} may refuse {whose}: its contents can't be listed", table.spec),
            Some(digest) => {
                let refuses = |value: &Arc<str>, varies| {
                    matches!(
                        meaning(self.plan, value, varies),
                        Meaning::Stop | Meaning::Defer | Meaning::List(_) | Meaning::Unknown
                    )
                };
                let groups = digest.groups.iter().filter(|group| refuses(&group.value, group.varies));
                let count: usize = groups.map(|group| group.keys.len()).sum();
                if count == 0 {
                    return;
                }
                format!("{count} {} of {} may refuse {whose}", if count == 1 { "entry" } else { "entries" }, table.spec)
            }
        };
        self.add(item, None, why, warns);
    }

    /// The entry for the address, as an access table is asked for it.
    fn entry_of(&mut self, table: &Table) -> Option<(String, Arc<str>)> {
        for key in self.keys(table) {
            let mut ledger = Ledger::default();
            let mut ask = Ask { ledger: &mut ledger, world: &mut *self.world };
            if let Ok(Ok(Some(value))) = lookup(table, &key, &mut ask) {
                return Some((key, value));
            }
        }
        None
    }

    fn keys(&self, table: &Table) -> Vec<String> {
        let address = self.address.to_lowercase();
        let (local, Some(domain)) = split_at_domain(&address) else { return Vec::new() };
        let mut keys = vec![address.clone()];
        if !table.pattern {
            let (user, extension) = self.plan.routing.split_extension(local);
            if extension.is_some() {
                keys.push(format!("{user}@{domain}"));
            }
            let mut name = Some(domain);
            while let Some(known) = name {
                keys.push(known.to_owned());
                name = parent(known, self.plan.access_parents);
            }
            keys.push(format!("{local}@"));
            if extension.is_some() {
                keys.push(format!("{user}@"));
            }
        }
        keys.into_iter().flat_map(|key| [quoted(&key).into_owned(), key]).collect()
    }
}

/// A summary as part of a sentence.
fn lowered(summary: &str) -> String {
    let mut chars = summary.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}
