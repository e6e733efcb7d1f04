//! The entries of the tables that access restrictions look into.

use super::keys::{self, Around, Asked};
use super::{TableEntry, TableTexts, table_of, values};
use crate::plan::Plan;
use config::{Diagnostic, Span};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// So many findings of a kind in a table are told one by one.
const EACH: usize = 3;

pub(super) fn lint(plan: &Plan, texts: &dyn TableTexts, found: &mut Vec<Diagnostic>) {
    let mut uses: Vec<(&'static str, Arc<str>, bool, Option<Span>)> = Vec::new();
    for list in plan.lint_lists() {
        for item in &list.items {
            let Some((name, table)) = table_of(list, item) else { continue };
            if !uses.iter().any(|(known, spec, ..)| *known == name && *spec == table.spec) {
                uses.push((name, table.spec.clone(), table.pattern, item.span.clone()));
            }
        }
    }
    for (name, spec, is_pattern, span) in &uses {
        if spec.starts_with("cidr:") && matches!(Asked::of(name), Some(Asked::Names | Asked::Mail)) {
            let message = format!("{name} {spec} never matches: a cidr: table knows addresses only");
            found.push(Diagnostic::warning("key-form", message).at(span.clone()).help("use check_client_access"));
        }
        let Some(entries) = texts.entries(spec) else { continue };
        let mut tally = Tally { spec, place: span.clone(), counts: HashMap::new(), found };
        for entry in entries.iter() {
            if let Some(problem) = values::judge(plan, name, &entry.value) {
                tally.add(problem.at(Some(entry.value_span.clone())));
            }
        }
        if !is_pattern {
            // A table for several restrictions has keys for each of them.
            let asked: Vec<Asked> =
                uses.iter().filter(|other| other.1 == *spec).filter_map(|other| Asked::of(other.0)).collect();
            let is_first = uses.iter().find(|other| other.1 == *spec).is_some_and(|other| other.0 == *name);
            let knows_all = asked.len() == uses.iter().filter(|other| other.1 == *spec).count();
            if is_first && knows_all {
                judge_keys(plan, &asked, &entries, &mut tally);
            }
        }
        tally.finish();
    }
}

/// A key is told if it can't match for any restriction that looks into the table.
fn judge_keys(plan: &Plan, asked: &[Asked], entries: &[TableEntry], tally: &mut Tally<'_>) {
    let known: HashSet<String> = entries.iter().map(|entry| entry.key.to_ascii_lowercase()).collect();
    let around = Around {
        parents: plan.access_parents,
        null_key: &plan.null_access_key,
        has: &|key| known.contains(&key.to_ascii_lowercase()),
    };
    for entry in entries {
        if entry.is_unfolded {
            let message = format!("the key \"{}\" never matches: look-ups are in lower case", entry.key);
            let problem = Diagnostic::warning("key-case", message).at(Some(entry.key_span.clone()));
            tally.add(problem.help("make the table without postmap -f, which leaves capitals as they are"));
            continue;
        }
        let mut verdicts = asked.iter().map(|asked| keys::judge(*asked, &entry.key, &around));
        let Some(Some(first)) = verdicts.next() else { continue };
        if verdicts.all(|verdict| verdict.is_some()) {
            tally.add(first.at(Some(entry.key_span.clone())));
        }
    }
}

/// Findings in one table, in bounds.
struct Tally<'a> {
    spec: &'a str,
    /// Where the table is named.
    place: Option<Span>,
    counts: HashMap<&'static str, usize>,
    found: &'a mut Vec<Diagnostic>,
}

impl Tally<'_> {
    fn add(&mut self, mut problem: Diagnostic) {
        // The entries of a table in main.cf have no place of their own.
        if problem.span.as_ref().is_some_and(|span| span.file.is_empty()) {
            problem.span.clone_from(&self.place);
        }
        let count = self.counts.entry(problem.code).or_default();
        *count += 1;
        if *count <= EACH && !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// Says how many were left out, at the last one told.
    fn finish(self) {
        let mut rest: Vec<_> = self.counts.into_iter().filter(|(_, count)| *count > EACH).collect();
        rest.sort_unstable();
        for (code, count) in rest {
            let last = self.found.iter().rev().find(|problem| problem.code == code).and_then(|p| p.span.clone());
            let message = format!("{}: {} more like this", self.spec, count - EACH);
            self.found.push(Diagnostic::warning(code, message).at(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;

    #[test]
    fn keys_and_values_of_access_tables() {
        let values = [("smtpd_sender_restrictions", "check_sender_access hash:/s, check_sender_access regexp:/r")];
        let found = findings(&values, &[("hash:/s", "@b.example REJECT\nc.example 550"), ("regexp:/r", "/x/ NOPE")]);
        assert_eq!(
            found,
            [
                "number-permits: \"550\" alone permits: a number without a text means OK",
                "key-form: the key \"@b.example\" never matches: the domain is looked up without an @",
                "unknown-action: \"NOPE\" is neither an action nor a restriction",
            ]
        );
    }

    #[test]
    fn a_table_for_two_restrictions_has_keys_for_both() {
        let list = "check_client_access hash:/t, check_sender_access hash:/t";
        let found = findings(
            &[("smtpd_recipient_restrictions", list)],
            &[("hash:/t", "192.0.2.1 REJECT\na@b.example REJECT\n*.x REJECT")],
        );
        assert_eq!(found, ["key-form: the key \"*.x\" never matches: there are no wildcards"]);
        let list = "check_client_access hash:/t, check_sasl_access hash:/t";
        let found = findings(&[("smtpd_recipient_restrictions", list)], &[("hash:/t", "joe@b.example REJECT")]);
        assert_eq!(found, [""; 0], "logins can look like anything");
    }

    #[test]
    fn many_of_a_kind_are_counted() {
        let text = "@a.example OK\n@b.example OK\n@c.example OK\n@d.example OK\n@e.example OK";
        let found = findings(&[("smtpd_sender_restrictions", "check_sender_access hash:/s")], &[("hash:/s", text)]);
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[3], "key-form: hash:/s: 2 more like this");
    }

    #[test]
    fn networks_are_not_asked_for_mail_addresses() {
        let found = findings(&[("smtpd_sender_restrictions", "check_sender_access cidr:/c")], &[]);
        assert_eq!(found, ["key-form: check_sender_access cidr:/c never matches: a cidr: table knows addresses only"]);
    }
}
