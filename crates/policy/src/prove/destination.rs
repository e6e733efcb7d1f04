//! Doubts that no list settles: everybody is in `mynetworks`, every domain in `relay_domains`, or what is accepted is
//! sent elsewhere afterwards.

use super::digest::Digests;
use super::sample::samples;
use super::{AddressSet, Attack, Concern, Keys, Names};
use crate::address::{AddressMaps, Routing};
use crate::ledger::{Ask, Ledger, World};
use crate::match_list::{MatchList, Pattern};
use crate::plan::Plan;
use crate::restriction::Kind;
use crate::tables::Table;
use std::net::IpAddr;

pub(super) fn concerns(
    plan: &Plan,
    names: &Names,
    digests: &mut Digests<'_>,
    world: &mut dyn World,
) -> (Vec<Concern>, Vec<String>) {
    let mut asker = Asker { plan, names, digests, world, concerns: Vec::new(), assumptions: Vec::new() };
    if asker.trusts_networks() {
        asker.networks();
    }
    asker.relay_domains();
    asker.routed();
    let known = &plan.known;
    for maps in [&known.recipient_canonical, &known.canonical, &known.virtual_alias] {
        asker.rewriting(maps);
    }
    (asker.concerns, asker.assumptions)
}

struct Asker<'a, 'b> {
    plan: &'a Plan,
    names: &'a Names,
    digests: &'a mut Digests<'b>,
    world: &'a mut dyn World,
    concerns: Vec<Concern>,
    assumptions: Vec<String>,
}

/// Top-level domains in which anybody has a name.
fn is_public(label: &str) -> bool {
    const KNOWN: [&str; 12] = ["com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "io", "dev", "app"];
    KNOWN.contains(&label) || (label.len() == 2 && label.bytes().all(|b| b.is_ascii_alphabetic()))
}

impl Asker<'_, '_> {
    /// Does any list permit `mynetworks` at all?
    fn trusts_networks(&mut self) -> bool {
        let lists = &self.plan.lists;
        let all = [&lists.client, &lists.helo, &lists.sender, &lists.relay, &lists.recipient];
        let named = |text: &str| text.to_ascii_lowercase().contains("permit_mynetworks");
        let mut tables: Vec<Table> = Vec::new();
        for item in all.into_iter().chain(&self.plan.classes).flat_map(|list| &list.items) {
            match &item.kind {
                Kind::Check(entry, _) if entry.name == "permit_mynetworks" => return true,
                Kind::Check(_, crate::restriction::Arg::Table(table)) | Kind::Bare(table) => tables.push(table.clone()),
                _ => {}
            }
        }
        tables.iter().any(|table| match self.digests.of(table.id) {
            Some(digest) => digest.groups.iter().any(|group| group.varies || named(&group.value)),
            None => true,
        })
    }

    fn networks(&mut self) {
        let mut set = AddressSet::default();
        let mut everybody = false;
        for element in self.plan.mynetworks.elements().iter().filter(|element| !element.negated) {
            match &element.pattern {
                Pattern::Address(address) => set.add(*address, *address),
                Pattern::Network { prefix, .. } => {
                    if let Some(base) = element.pattern.base() {
                        set.add_network(base, *prefix);
                    }
                }
                Pattern::Table(table) => everybody |= self.networks_in(table, &mut set),
                Pattern::Text(_) | Pattern::Broken(_) => {}
            }
        }
        let base = self.names.session();
        let tries = match (everybody, set.world()) {
            (_, Some(client)) => vec![Attack { client, ..base }],
            (true, None) => vec![base],
            (false, None) => return,
        };
        self.concerns
            .push(Concern { text: "mynetworks holds so many addresses that anybody may be in it".into(), tries });
    }

    /// Addresses in a table; is everybody in it?
    fn networks_in(&mut self, table: &Table, set: &mut AddressSet) -> bool {
        let Some(entries) = self.digests.entries(table.id) else {
            self.assumptions.push(format!("mynetworks: {} holds trusted clients only", table.spec));
            return false;
        };
        for entry in entries {
            match entry.keys {
                Keys::Every => return true,
                Keys::Addresses(first, last) => set.add(first, last),
                Keys::Text(text) => {
                    if let Ok(address) = text.parse::<IpAddr>() {
                        set.add(address, address);
                    }
                }
                Keys::Pattern { negated: true, .. } => return true,
                Keys::Pattern { expression, .. } if self.fits(table, &self.names.client.to_string()) => {
                    let _ = expression;
                    return true;
                }
                Keys::Pattern { .. } => {}
            }
        }
        false
    }

    fn fits(&mut self, table: &Table, key: &str) -> bool {
        let mut ledger = Ledger::default();
        let mut ask = Ask { ledger: &mut ledger, world: &mut *self.world };
        matches!(crate::match_list::lookup(table, key, &mut ask), Ok(Ok(Some(_))))
    }

    fn relay_domains(&mut self) {
        let plan = self.plan;
        let list = &plan.routing.relay_domains;
        let base = self.names.session();
        for element in list.elements().iter().filter(|element| !element.negated) {
            match &element.pattern {
                Pattern::Text(text) => self.top_level(text, "relay_domains"),
                Pattern::Table(table) => self.relay_table(table, &base),
                Pattern::Address(_) | Pattern::Network { .. } | Pattern::Broken(_) => {}
            }
        }
    }

    fn top_level(&mut self, text: &str, whose: &str) {
        let label = text.strip_prefix('.').unwrap_or(text);
        let below = text.starts_with('.') != self.plan.routing.relay_domains.takes_parents();
        if below && is_public(label) {
            let recipient = format!("victim@elsewhere.{label}");
            let text = format!("{whose} takes every domain in \"{label}\"");
            self.concerns.push(Concern { text, tries: vec![Attack { recipient, ..self.names.session() }] });
        }
    }

    fn relay_table(&mut self, table: &Table, base: &Attack) {
        let spec = table.spec.clone();
        let Some(entries) = self.digests.entries(table.id) else {
            let text = format!("which domains relay_domains finds in {spec}: its contents can't be listed");
            self.concerns.push(Concern { text, tries: vec![base.clone()] });
            return;
        };
        for entry in entries {
            match entry.keys {
                Keys::Text(key) => self.top_level(&key, &spec),
                Keys::Addresses(..) => {}
                Keys::Every => {
                    let text = format!("relay_domains: {spec} has every domain");
                    self.concerns.push(Concern { text, tries: vec![base.clone()] });
                }
                Keys::Pattern { expression, negated } => {
                    if negated || !is_bounded(&expression) {
                        let text = format!("relay_domains: /{expression}/ in {spec} matches domains of others");
                        let domains = ["elsewhere.example", "elsewhere.com", "elsewhere.net", "elsewhere.org"];
                        let made = samples(&expression).into_iter().filter(|_| !negated).flat_map(|sample| {
                            let before = if sample.starts { "" } else { "x" };
                            let whole = format!("{before}{}", sample.text);
                            [whole.clone(), format!("{whole}.elsewhere.example")]
                        });
                        let all = domains.map(str::to_owned).into_iter().chain(made).take(20);
                        let tries = all.map(|domain| Attack { recipient: format!("victim@{domain}"), ..base.clone() });
                        self.concerns.push(Concern { text, tries: tries.collect() });
                    }
                }
            }
        }
    }

    /// `user%elsewhere@relayed.example` goes on from there.
    fn routed(&mut self) {
        let routing: &Routing = &self.plan.routing;
        if !self.plan.untrusted_routing || routing.relay_domains.is_empty() {
            return;
        }
        let elsewhere = &self.names.elsewhere;
        let forms = |domain: &String| {
            [
                format!("victim%{elsewhere}@{domain}"),
                format!("{elsewhere}!victim@{domain}"),
                format!("\"victim@{elsewhere}\"@{domain}"),
            ]
        };
        let recipients: Vec<String> = self.relayed_names().iter().take(10).flat_map(forms).collect();
        let session = |recipient| Attack { recipient, ..self.names.session() };
        let tries = recipients.into_iter().map(session).collect();
        let text = "allow_untrusted_routing = yes: relayed domains may send on what names another domain".to_owned();
        self.concerns.push(Concern { text, tries });
    }

    /// Some domains that are relayed to.
    fn relayed_names(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        let below = |text: &str| if text.starts_with('.') { format!("host{text}") } else { text.to_owned() };
        for element in self.plan.routing.relay_domains.elements().iter().filter(|element| !element.negated) {
            match &element.pattern {
                Pattern::Text(text) => names.push(below(text)),
                Pattern::Table(table) => {
                    for entry in self.digests.entries(table.id).unwrap_or_default().into_iter().take(5) {
                        match entry.keys {
                            Keys::Text(key) => names.push(below(&key)),
                            Keys::Pattern { expression, negated: false } => {
                                names.extend(samples(&expression).into_iter().map(|sample| sample.text));
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        names
    }

    /// Rewriting whose result a recipient can choose.
    fn rewriting(&mut self, maps: &AddressMaps) {
        for table in maps.tables() {
            let Some(digest) = self.digests.entries(table.id) else {
                let text =
                    format!("{}: {} sends no recipient to an address that he can choose", maps.name(), table.spec);
                if !self.assumptions.contains(&text) {
                    self.assumptions.push(text);
                }
                continue;
            };
            let chosen = digest.iter().find(|entry| entry.end.as_ref().is_some_and(|end| !end.contains('@')));
            let Some(entry) = chosen else { continue };
            let rule = match &entry.keys {
                Keys::Pattern { expression, .. } => format!("/{expression}/"),
                _ => "a rule".to_owned(),
            };
            let text = format!("{}: {rule} in {} sends mail to what its groups hold", maps.name(), table.spec);
            self.concerns.push(Concern { text, tries: Vec::new() });
        }
    }
}

/// Does a pattern match names below one written domain only (`^(.*\.)?example\.com$`), or a few written names?
fn is_bounded(expression: &str) -> bool {
    let Some(rest) = expression.strip_suffix('$') else { return false };
    // From the end: letters, digits and hyphens with escaped dots between them.
    let mut tail = String::new();
    let mut chars = rest.chars().rev().peekable();
    while let Some(c) = chars.peek().copied() {
        if c.is_ascii_alphanumeric() || c == '-' {
            tail.insert(0, c);
            chars.next();
        } else if c == '.' {
            chars.next();
            if chars.peek() != Some(&'\\') {
                return false;
            }
            chars.next();
            tail.insert(0, '.');
        } else {
            break;
        }
    }
    let before: String = chars.rev().collect();
    let mut depth = 0_i32;
    let at_top = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == '|' && depth <= 0
    };
    if before.chars().any(at_top) {
        return false;
    }
    let labels = tail.trim_start_matches('.').split('.').count();
    let optional = !before.contains('|') && (before.ends_with("\\.)?") || before.ends_with("\\.)*"));
    let whole = tail.starts_with('.') || before == "^" || optional;
    labels >= 2 && whole
}

impl MatchList {
    /// Names written in the list itself.
    pub(super) fn texts(&self) -> Vec<String> {
        let texts = self.elements().iter().filter(|element| !element.negated);
        let text = |pattern: &Pattern| match pattern {
            Pattern::Text(text) => Some(text.trim_start_matches('.').to_owned()),
            _ => None,
        };
        texts.filter_map(|element| text(&element.pattern)).collect()
    }

    /// An address that is in it.
    pub(super) fn an_address(&self) -> Option<IpAddr> {
        self.elements().iter().filter(|element| !element.negated).find_map(|element| match &element.pattern {
            Pattern::Address(address) => Some(*address),
            pattern => pattern.base(),
        })
    }

    /// Nothing but names, each for itself or with all below it.
    pub(super) fn is_plain(&self) -> bool {
        self.elements().iter().all(|element| !element.negated && matches!(element.pattern, Pattern::Text(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_stay_within_a_domain() {
        for (expression, bounded) in [
            ("^example\\.com$", true),
            ("^(.*\\.)?example\\.com$", true),
            ("^.+\\.example\\.com$", true),
            ("\\.example\\.com$", true),
            ("example\\.com$", false),
            ("^example\\.com", false),
            ("^example.com$", false),
            ("^com$", false),
            ("\\.com$", false),
            ("^a$|^b\\.example\\.com$", false),
            ("^(a|b)\\.example\\.com$", true),
            ("^(a|.*\\.)?example\\.com$", false),
            (".", false),
        ] {
            assert_eq!(is_bounded(expression), bounded, "{expression}");
        }
    }
}
