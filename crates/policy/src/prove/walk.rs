//! The lists, run for a stranger over paths.

use super::digest::{Digests, Group};
use super::meaning::{Meaning, meaning};
use super::{AddressSet, Condition, Keys, ListFinding, Place, Role, Terms, Trusted, Way, place_of};
use crate::ledger::{Ask, Ledger, World};
use crate::plan::Plan;
use crate::restriction::{Arg, Item, Kind, List, Prefix};
use crate::tables::Table;
use std::net::IpAddr;
use std::sync::Arc;

/// What has to hold to come this far.
type Path = Vec<Condition>;

/// More paths than this are not followed.
const PATHS: usize = 100;
/// More ways than this are not listed.
const WAYS: usize = 300;
/// More keys than this are not kept for one value.
const KEYS: usize = 40;
/// More elements than this are not run.
const STEPS: usize = 500_000;
/// How deep classes and table values are followed.
const DEPTH: usize = 20;

/// Restrictions without a permit: whoever behaves well passes them.
const HARMLESS: [&str; 12] = [
    "defer_if_reject",
    "sleep",
    // By assumption.
    "permit_mynetworks",
    "permit_inet_interfaces",
    "permit_sasl_authenticated",
    "permit_tls_clientcerts",
    "permit_tls_all_clientcerts",
    "permit_auth_destination",
    "check_sasl_access",
    "check_ccert_access",
    // There is no ETRN here.
    "check_etrn_access",
    // What the client's own DNS says permits nothing: the guard makes an error of it.
    "check_reverse_client_hostname_access",
];

/// What is known when a list is evaluated.
#[derive(Clone, Copy)]
struct Moment {
    phase: &'static str,
    /// At RCPT TO: one recipient, and DNS lists don't permit strangers.
    recipient: bool,
    sender: bool,
    helo: bool,
    /// What was deferred here is refused in the end.
    settles: bool,
}

pub(super) fn walk(plan: &Plan, terms: Terms, digests: &mut Digests<'_>, world: &mut dyn World) -> Vec<ListFinding> {
    let late = plan.delay_reject;
    let helo = terms.helo_required;
    let moment = |phase, recipient, sender, helo, settles| Moment { phase, recipient, sender, helo, settles };
    let mut due: Vec<(&Arc<List>, Moment)> =
        vec![(&plan.lists.client, moment("client", late, late, late && helo, late))];
    // Without HELO there is no helo list.
    if helo {
        due.push((&plan.lists.helo, moment("helo", late, late, true, late)));
    }
    due.push((&plan.lists.sender, moment("sender", late, true, helo, true)));
    let relay = (&plan.lists.relay, moment("relay", true, true, helo, true));
    let recipient = (&plan.lists.recipient, moment("recipient", true, true, helo, true));
    due.extend(if plan.relay_first { [relay, recipient] } else { [recipient, relay] });
    due.push((&plan.lists.data, moment("data", false, true, helo, true)));
    due.push((&plan.lists.end_of_data, moment("end of data", false, true, helo, true)));
    let mut walker =
        Walker { plan, digests, world, ways: Vec::new(), more: false, trusted: Vec::new(), now: due[0].1, steps: 0 };
    let findings = due.into_iter().map(|(list, now)| {
        walker.now = now;
        walker.list_finding(list)
    });
    findings.collect()
}

struct Walker<'a, 'b> {
    plan: &'a Plan,
    digests: &'a mut Digests<'b>,
    world: &'a mut dyn World,
    ways: Vec<Way>,
    more: bool,
    trusted: Vec<Trusted>,
    now: Moment,
    steps: usize,
}

/// Where in the lists an element stands.
#[derive(Clone, Copy)]
struct Around {
    depth: usize,
    warn: bool,
}

impl Walker<'_, '_> {
    fn list_finding(&mut self, list: &List) -> ListFinding {
        (self.ways, self.more, self.trusted) = (Vec::new(), false, Vec::new());
        let mut closed_by = None;
        let rest = self.items(&list.items, vec![Vec::new()], Around { depth: 0, warn: false }, &mut closed_by);
        let mut ways = std::mem::take(&mut self.ways);
        ways.extend(rest.into_iter().map(|conditions| Way { conditions, permit: None }));
        let trusted = std::mem::take(&mut self.trusted);
        ListFinding { name: list.name.clone(), ways, more: self.more, closed_by, trusted }
    }

    /// Run elements; what is left are the paths that come to their end.
    fn items(&mut self, items: &[Item], mut paths: Vec<Path>, around: Around, last: &mut Option<Place>) -> Vec<Path> {
        let mut warn = false;
        for item in items {
            if let Kind::Prefix(prefix) = &item.kind {
                warn |= *prefix == Prefix::Warn;
                continue;
            }
            let here = Around { depth: around.depth, warn: around.warn || warn };
            paths = self.item(item, paths, here);
            warn = false;
            if paths.is_empty() {
                *last = Some(place_of(item));
                break;
            }
            if paths.len() > PATHS {
                self.more = true;
                paths.truncate(PATHS);
            }
        }
        paths
    }

    fn item(&mut self, item: &Item, paths: Vec<Path>, around: Around) -> Vec<Path> {
        self.steps += 1;
        if self.steps > STEPS {
            self.more = true;
            return paths;
        }
        let refused = |paths| if around.warn { paths } else { Vec::new() };
        match &item.kind {
            Kind::Prefix(_) => paths,
            Kind::Broken(problem) if problem.is_ignored() => paths,
            Kind::Broken(_) => refused(paths),
            Kind::Class(class) => self.class(*class, paths, around),
            Kind::Bare(table) => match self.now.phase {
                "client" => self.table(item, Role::Client, table, paths, around),
                "helo" => self.table(item, Role::Helo, table, paths, around),
                "sender" => self.table(item, Role::Sender, table, paths, around),
                "relay" | "recipient" => self.table(item, Role::Recipient, table, paths, around),
                _ => refused(paths),
            },
            Kind::Check(entry, arg) => match (entry.name, arg) {
                ("permit", _) => {
                    paths.into_iter().for_each(|path| self.permit(item, path));
                    Vec::new()
                }
                ("reject" | "defer", _) => refused(paths),
                ("defer_if_permit", _) if self.now.settles => refused(paths),
                ("defer_if_permit", _) => paths,
                ("reject_unauth_destination" | "defer_unauth_destination", _) if self.now.recipient => refused(paths),
                ("permit_mx_backup", _) => self.maybe(item, paths, &Condition::MxBackup),
                // At RCPT TO a list permits only what is ours.
                ("permit_dnswl_client" | "permit_rhswl_client", _) if self.now.recipient => paths,
                ("permit_dnswl_client" | "permit_rhswl_client", _) => {
                    self.maybe(item, paths, &Condition::DnsList(item.text.clone()))
                }
                ("check_spf_access" | "check_dmarc_access", Arg::Table(table)) => {
                    self.verdicts(item, table, paths, around)
                }
                ("check_policy_service", Arg::PolicyService(service, _)) => {
                    self.maybe(item, paths, &Condition::Service(service.name.clone()))
                }
                ("check_client_access", Arg::Table(table)) => self.table(item, Role::Client, table, paths, around),
                ("check_helo_access", Arg::Table(table)) => self.table(item, Role::Helo, table, paths, around),
                ("check_sender_access", Arg::Table(table)) => self.table(item, Role::Sender, table, paths, around),
                ("check_recipient_access", Arg::Table(table)) => {
                    self.table(item, Role::Recipient, table, paths, around)
                }
                (name, _) if HARMLESS.contains(&name) || name.starts_with("reject_") || is_guarded(name) => paths,
                ("defer_unauth_destination", _) => paths,
                (name, _) => self.maybe(item, paths, &Condition::Unmodelled(name.into())),
            },
        }
    }

    fn permit(&mut self, item: &Item, conditions: Path) {
        if self.ways.len() >= WAYS {
            self.more = true;
            return;
        }
        self.ways.push(Way { conditions, permit: Some(place_of(item)) });
    }

    /// It may permit, and it may have no opinion.
    fn maybe(&mut self, item: &Item, paths: Vec<Path>, condition: &Condition) -> Vec<Path> {
        for path in &paths {
            self.permit(item, with(path, condition.clone()));
        }
        paths
    }

    fn class(&mut self, class: usize, paths: Vec<Path>, around: Around) -> Vec<Path> {
        let Some(list) = self.plan.classes.get(class) else { return Vec::new() };
        if around.depth > DEPTH {
            // Lists that refer to themselves: anything may come of it.
            self.more = true;
            return paths;
        }
        let list = list.clone();
        self.items(&list.items, paths, Around { depth: around.depth + 1, ..around }, &mut None)
    }

    fn table(&mut self, item: &Item, role: Role, table: &Table, paths: Vec<Path>, around: Around) -> Vec<Path> {
        let Some(digest) = self.digests.of(table.id) else {
            return self.maybe(item, paths, &Condition::Table(table.spec.clone()));
        };
        let asked = match role {
            Role::Client => true,
            Role::Helo => self.now.helo,
            Role::Sender => self.now.sender,
            Role::Recipient => self.now.recipient,
        };
        // Where every key finds something, only what was found goes on.
        let total = digest.total && asked;
        let mut rest = if total { Vec::new() } else { paths.clone() };
        for group in &digest.groups {
            let found = meaning(self.plan, &group.value, group.varies);
            if matches!(found, Meaning::Continue) && !total {
                continue;
            }
            let (keys, trusted) = self.attackable(role, total, group);
            if !trusted.0.is_empty() && !paths.is_empty() && self.permits(&found, around.depth) {
                self.trust(table, trusted);
            }
            if keys.is_empty() {
                continue;
            }
            let condition = Condition::Entry {
                role,
                table: table.clone(),
                keys: keys.into(),
                value: group.value.clone(),
                varies: group.varies,
            };
            let held = paths.iter().map(|path| with(path, condition.clone())).collect::<Vec<_>>();
            match found {
                Meaning::Permit | Meaning::Unknown => {
                    held.iter().for_each(|path| self.permit(item, path.clone()));
                    if total && (role == Role::Recipient || matches!(found, Meaning::Unknown)) {
                        // A permit for a recipient that its sender routes counts for nothing.
                        rest.extend(held);
                    }
                }
                Meaning::Continue => rest.extend(held),
                Meaning::Stop | Meaning::Defer if around.warn => rest.extend(held.into_iter().filter(|_| total)),
                Meaning::Defer if !self.now.settles => rest.extend(held.into_iter().filter(|_| total)),
                Meaning::Stop | Meaning::Defer => {}
                Meaning::List(items) if around.depth > DEPTH => {
                    self.more = true;
                    drop(items);
                    rest.extend(held);
                }
                Meaning::List(items) => {
                    let deeper = Around { depth: around.depth + 1, ..around };
                    let left = self.items(&items, held, deeper, &mut None);
                    if total {
                        rest.extend(left);
                    }
                }
            }
        }
        rest
    }

    /// A table of results that strangers may come to in domains of their own.
    fn verdicts(&mut self, item: &Item, table: &Table, paths: Vec<Path>, around: Around) -> Vec<Path> {
        let condition = Condition::Table(table.spec.clone());
        let Some(digest) = self.digests.of(table.id) else { return self.maybe(item, paths, &condition) };
        let permits = digest.groups.iter().any(|group| {
            let found = meaning(self.plan, &group.value, group.varies);
            self.permits(&found, around.depth)
        });
        if permits { self.maybe(item, paths, &condition) } else { paths }
    }

    /// Could it permit anything?
    fn permits(&mut self, found: &Meaning, depth: usize) -> bool {
        match found {
            Meaning::Permit | Meaning::Unknown => true,
            // A table and a class that refer to each other: anything may come of it.
            Meaning::List(_) if depth > DEPTH => true,
            Meaning::List(items) => {
                let before = (std::mem::take(&mut self.ways), self.more, self.trusted.clone());
                self.items(items, vec![Vec::new()], Around { depth: depth + 1, warn: false }, &mut None);
                let found = !self.ways.is_empty() || self.more;
                (self.ways, self.more, self.trusted) = before;
                found
            }
            _ => false,
        }
    }

    fn trust(&mut self, table: &Table, (some, count): (Vec<String>, usize)) {
        let spec = &table.spec;
        if let Some(known) = self.trusted.iter_mut().find(|known| known.table == *spec) {
            if known.some != some {
                known.count += count;
                known.some.extend(some);
                known.some.truncate(KEYS);
            }
            return;
        }
        self.trusted.push(Trusted { table: spec.clone(), some, count });
    }

    /// The keys of a value that a stranger can choose, and the addresses that are trusted in writing.
    fn attackable(&mut self, role: Role, total: bool, group: &Group) -> (Vec<Keys>, (Vec<String>, usize)) {
        let mut trusted = (Vec::new(), 0);
        let mut addresses = AddressSet::default();
        let mut keys = Vec::new();
        let mut written = |text: String| {
            trusted.1 += 1;
            if trusted.0.len() < KEYS {
                trusted.0.push(text);
            }
        };
        for key in &group.keys {
            match key {
                // Where every key finds something, addresses are exceptions to that.
                _ if total && role == Role::Client && keys.len() < KEYS => keys.push(key.clone()),
                _ if total && role == Role::Client => {}
                Keys::Addresses(first, last) if role == Role::Client => {
                    addresses.add(*first, *last);
                    let text = if first == last { first.to_string() } else { format!("{first} - {last}") };
                    written(text);
                }
                // No other word looks like an address there.
                Keys::Addresses(..) if role != Role::Helo => {}
                Keys::Text(text) if role == Role::Client && is_address(text) => written(text.to_string()),
                Keys::Text(text) if role == Role::Recipient && self.is_ours(text) => {}
                _ if keys.len() < KEYS => keys.push(key.clone()),
                _ => {}
            }
        }
        if let Some(address) = addresses.world() {
            keys.push(Keys::Addresses(address, address));
            trusted = (Vec::new(), 0);
        }
        if group.every() && !keys.contains(&Keys::Every) {
            keys.push(Keys::Every);
        }
        (keys, trusted)
    }

    /// Can only recipients in our own domains be found by this key?
    fn is_ours(&mut self, key: &str) -> bool {
        let routing = &self.plan.routing;
        let mut authorised = |address: &str| {
            let mut ledger = Ledger::default();
            let mut ask = Ask { ledger: &mut ledger, world: &mut *self.world };
            let resolved = routing.resolve("", address, &mut ask);
            resolved.is_ok_and(|it| {
                let same = it.recipient.eq_ignore_ascii_case(address);
                same && it.class.is_authorized() && !it.flags.routed && !it.flags.failed && !it.flags.error
            })
        };
        if key.ends_with('@') || key.contains(['"', '%', '!', '\\']) || key.matches('@').count() > 1 {
            return false;
        }
        if key.contains('@') {
            return authorised(key);
        }
        // A domain finds its subdomains too.
        let domain = key.strip_prefix('.').unwrap_or(key);
        let above = !key.starts_with('.');
        let below = key.starts_with('.') || self.plan.access_parents;
        (!above || authorised(&format!("probe@{domain}")))
            && (!below || (routing.relay_domains.is_plain() && authorised(&format!("probe@probe.{domain}"))))
    }
}

/// `check_*_a_access` and its like: OK is an error there.
fn is_guarded(name: &str) -> bool {
    name.starts_with("check_") && ["_a_access", "_mx_access", "_ns_access"].iter().any(|end| name.ends_with(end))
}

/// An address, or the beginning of one: no host name looks like that, and none ends in a number.
fn is_address(key: &str) -> bool {
    // What begins with a dot is looked up for names only.
    if key.starts_with('.') {
        return false;
    }
    key.parse::<IpAddr>().is_ok()
        || (!key.is_empty() && key.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        || (key.contains(':') && key.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'))
}

fn with(path: &Path, condition: Condition) -> Path {
    let mut path = path.clone();
    if !path.contains(&condition) {
        path.push(condition);
    }
    path
}
