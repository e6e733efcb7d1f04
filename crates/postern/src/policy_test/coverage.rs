//! What no case has reached: restrictions, and entries of tables.

use crate::daemon::site::{Service, Site};
use crate::rehearsal::Decided;
use policy::{Answer, ProgramItem, ProgramKind, ProgramList, Question, TableId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

/// An element of a list: its text, line and column.
type Element = (Arc<str>, u32, u32);

/// So many entries of a table are named.
const NAMED: usize = 10;
/// So many keys of a table are named that has no list of entries.
const KEYS: usize = 20;

/// What the cases have reached so far.
#[derive(Default)]
pub struct Coverage {
    /// Service, list, and which element of the list ran.
    reached: HashMap<Arc<str>, HashMap<Arc<str>, HashSet<Element>>>,
    /// Table and keys that were found in it.
    found: BTreeMap<u32, BTreeSet<String>>,
}

fn element(item: &ProgramItem) -> Element {
    let (line, column) = item.span.as_ref().map_or((0, 0), |span| (span.line, span.column));
    (item.text.clone(), line, column)
}

impl Coverage {
    /// What a case has reached.
    pub(super) fn add(&mut self, service: &Service, decided: &[Decided]) {
        let lists = self.reached.entry(service.name.clone()).or_default();
        for decided in decided {
            for step in &decided.decision.trace.steps {
                let (line, column) = step.span.as_ref().map_or((0, 0), |span| (span.line, span.column));
                let list = lists.entry(step.list.clone()).or_default();
                if !list.contains(&(step.restriction.clone(), line, column)) {
                    list.insert((step.restriction.clone(), line, column));
                }
            }
            for (question, answer) in &decided.asked {
                if let (Question::Table { table: TableId(id), key }, Answer::Table(Ok(Some(_)))) = (question, answer) {
                    self.found.entry(*id).or_default().insert(key.clone());
                }
            }
        }
    }

    /// How many of the restrictions ran, and a line for each that never did; then the same for the entries of each access
    /// table, and the keys that were found in other tables.
    pub fn report(&self, site: &Site) -> String {
        let (mut out, mut all, mut ran) = (String::new(), 0, 0);
        let mut tables = BTreeSet::new();
        for service in &site.services {
            let lists = self.reached.get(&service.name);
            for list in lists_of(service) {
                let reached = lists.and_then(|lists| lists.get(&list.name));
                for item in list.items.iter().filter(|item| !matches!(item.kind, ProgramKind::Prefix)) {
                    tables.extend(tables_of(site, item));
                    all += 1;
                    if reached.is_some_and(|reached| reached.contains(&element(item))) {
                        ran += 1;
                        continue;
                    }
                    let place = item.span.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
                    let _ = writeln!(
                        out,
                        "  never reached: {} in {} of service {} ({place})",
                        item.text, list.name, service.name
                    );
                }
            }
        }
        let mut told = HashSet::new();
        for id in &tables {
            if let Some(text) = self.entries(site, *id) {
                told.insert(*id);
                out.push_str(&text);
            }
        }
        for (id, keys) in self.found.iter().filter(|(id, _)| !told.contains(id)) {
            let shown: Vec<&str> = keys.iter().take(KEYS).map(String::as_str).collect();
            let more = more(keys.len(), KEYS);
            let _ = writeln!(out, "  entries found in {}: {}{more}", spec(site, *id), shown.join(", "));
        }
        format!("coverage: {ran} of {all} restrictions\n{out}")
    }

    /// The entries of a table that has a list of them.
    fn entries(&self, site: &Site, id: u32) -> Option<String> {
        let nothing = BTreeSet::new();
        let keys = self.found.get(&id).unwrap_or(&nothing);
        let (count, missed) = match site.tables.entry_places(id) {
            Some(places) => {
                let lines: HashSet<u32> = keys.iter().filter_map(|key| places.line(key)).collect();
                let entries = places.entries();
                let missed = entries.iter().filter(|(line, _)| !lines.contains(line));
                let file = places.path().display();
                let missed: Vec<String> = missed.map(|(line, key)| format!("{key} ({file}:{line})")).collect();
                (entries.len(), missed)
            }
            None => {
                let pairs = site.tables.get(id)?.pairs()?;
                let missed = pairs.iter().filter(|(key, _)| !keys.contains(&**key));
                (pairs.len(), missed.map(|(key, _)| key.to_string()).collect())
            }
        };
        let mut out = format!("  {}: {} of {count} entries\n", spec(site, id), count - missed.len());
        for entry in missed.iter().take(NAMED) {
            let _ = writeln!(out, "    never reached: {entry}");
        }
        if missed.len() > NAMED {
            let _ = writeln!(out, "   {}", more(missed.len(), NAMED));
        }
        Some(out)
    }
}

fn more(count: usize, shown: usize) -> String {
    if count > shown { format!(" and {} more", count - shown) } else { String::new() }
}

fn spec(site: &Site, id: u32) -> &str {
    site.tables.spec(id).map_or("?", |spec| spec)
}

/// The tables that an element of a list names.
fn tables_of(site: &Site, item: &ProgramItem) -> impl Iterator<Item = u32> {
    let argument = item.text.split_once(' ').map_or(&*item.text, |(_, argument)| argument);
    let argument = argument.trim().to_owned();
    [true, false].into_iter().filter_map(move |fold| site.tables.id(&argument, fold))
}

/// All lists of a service, with the classes that they name.
fn lists_of(service: &Service) -> Vec<ProgramList> {
    let mut program = service.plan.program();
    let classes: Vec<_> = program.iter().flat_map(|list| classes(service, list)).collect();
    let classes: BTreeSet<_> = classes.into_iter().collect();
    program.extend(classes.iter().filter_map(|name| service.plan.program_class(name)));
    program
}

/// The classes that a list names, at any depth.
fn classes(service: &Service, list: &ProgramList) -> Vec<Arc<str>> {
    let mut known: Vec<Arc<str>> = Vec::new();
    let mut waiting = vec![list.clone()];
    while let Some(list) = waiting.pop() {
        for item in &list.items {
            let ProgramKind::Class(name) = &item.kind else { continue };
            if !known.contains(name) {
                known.push(name.clone());
                waiting.extend(service.plan.program_class(name));
            }
        }
    }
    known
}
