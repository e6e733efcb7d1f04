//! What no case has reached: restrictions, and entries of tables.

use crate::daemon::site::{Service, Site};
use crate::rehearsal::Decided;
use policy::{Answer, ProgramKind, Question, TableId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use tables::TableSet;

/// An element of a list: its text, line and column.
type Element = (Arc<str>, u32, u32);

/// What the cases have reached so far.
#[derive(Default)]
pub struct Coverage {
    /// Service, list, and which element of the list ran.
    reached: HashMap<Arc<str>, HashMap<Arc<str>, HashSet<Element>>>,
    /// Table and keys that were found in it.
    found: BTreeMap<String, BTreeSet<String>>,
}

impl Coverage {
    /// What a case has reached.
    pub(super) fn add(&mut self, service: &Service, decided: &[Decided], tables: &TableSet) {
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
                let (Question::Table { table: TableId(id), key }, Answer::Table(Ok(Some(_)))) = (question, answer)
                else {
                    continue;
                };
                if let Some(spec) = tables.spec(*id) {
                    self.found.entry(spec.to_string()).or_default().insert(key.clone());
                }
            }
        }
    }

    /// How many of the restrictions ran, and a line for each that never did; a line for each table with keys that were found.
    pub fn report(&self, site: &Site) -> String {
        let (mut out, mut all, mut ran) = (String::new(), 0, 0);
        for service in &site.services {
            let lists = self.reached.get(&service.name);
            let mut program = service.plan.program();
            let classes: Vec<_> = program.iter().flat_map(|list| classes(service, list)).collect();
            program.extend(
                classes.into_iter().collect::<BTreeSet<_>>().iter().filter_map(|n| service.plan.program_class(n)),
            );
            for list in program {
                let reached = lists.and_then(|lists| lists.get(&list.name));
                for item in list.items.iter().filter(|item| !matches!(item.kind, ProgramKind::Prefix)) {
                    all += 1;
                    let (line, column) = item.span.as_ref().map_or((0, 0), |span| (span.line, span.column));
                    if reached.is_some_and(|reached| reached.contains(&(item.text.clone(), line, column))) {
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
        for (table, keys) in &self.found {
            let shown: Vec<&str> = keys.iter().take(20).map(String::as_str).collect();
            let more = if keys.len() > 20 { format!(" and {} more", keys.len() - 20) } else { String::new() };
            let _ = writeln!(out, "  entries found in {table}: {}{more}", shown.join(", "));
        }
        format!("coverage: {ran} of {all} restrictions\n{out}")
    }
}

/// The classes that a list names, at any depth.
fn classes(service: &Service, list: &policy::ProgramList) -> Vec<Arc<str>> {
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
