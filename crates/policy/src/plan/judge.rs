//! What is wrong with the lists of a plan, each with what to write instead.

use super::{Compiler, Plan};
use crate::restriction::{Item, Kind, List, NEED_MESSAGE, Prefix, Problem, restrictions};
use config::Diagnostic;
use std::collections::HashSet;

/// Restrictions that close the relay when one of them is in the relay or recipient list.
pub(crate) const RELAY_CLOSERS: [&str; 5] =
    ["reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit"];

impl Compiler<'_> {
    pub(super) fn judge_item(&self, list: &str, item: &Item) -> Option<Diagnostic> {
        match &item.kind {
            Kind::Broken(problem) => Some(self.judge_problem(list, problem)),
            Kind::Bare(table) if list.contains("data_restrictions") => {
                let message = format!("{list}: \"{}\" does not say what to look up", table.spec);
                Some(Diagnostic::error("bare-table", message).help(
                    "specify one of (check_client_access, check_reverse_client_hostname_access, check_helo_access, \
                     check_sender_access, check_recipient_access, check_etrn_access) before it",
                ))
            }
            Kind::Check(entry, _) => {
                let word = item.text.split(' ').next().unwrap_or_default();
                let has_no_message = list.starts_with("smtpd_") && list != "smtpd_end_of_data_restrictions";
                if NEED_MESSAGE.contains(&entry.name) && has_no_message {
                    let message = format!("{list}: {} needs the message, which isn't there yet", entry.name);
                    return Some(
                        Diagnostic::error("needs-message", message).help("move it to smtpd_end_of_data_restrictions"),
                    );
                }
                if entry.name == "permit_mx_backup" {
                    let message =
                        format!("{list}: support for restriction \"{}\" will be removed from Postfix", entry.name);
                    return Some(
                        Diagnostic::warning("deprecated-name", message).help("instead, specify \"relay_domains\""),
                    );
                }
                entry.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(word)).then(|| {
                    let message = format!("{list}: \"{word}\" is an old name of \"{}\"", entry.name);
                    Diagnostic::warning("deprecated-name", message).help(format!("write \"{}\"", entry.name))
                })
            }
            _ => None,
        }
    }

    fn judge_problem(&self, list: &str, problem: &Problem) -> Diagnostic {
        let code = match problem {
            Problem::Unknown(name) => {
                let found = Diagnostic::error("unknown-restriction", format!("{list}: {}", problem.warning()));
                return match nearest_restriction(name, self.classes.keys().map(AsRef::as_ref)) {
                    Some(near) => found.help(format!("did you mean \"{near}\"?")),
                    None => found,
                };
            }
            Problem::Removed { instead, .. } => {
                let found = Diagnostic::error("removed-restriction", format!("{list}: {}", problem.warning()));
                return found.help(format!("instead, specify {instead}"));
            }
            Problem::NeedsDomain { .. } => {
                return Diagnostic::warning("bad-argument", format!("{list}: {}", problem.warning()));
            }
            Problem::BadFilter { .. } => "bad-dnsbl-filter",
            Problem::NotDomain { .. } => {
                let found = Diagnostic::error("bad-argument", format!("{list}: {}", problem.warning()));
                return found.help("write the domain of the list alone, as in bl.example, or bl.example=127.0.0.2");
            }
            Problem::BadMapSpec(_) => {
                let found = Diagnostic::error("bad-argument", format!("{list}: {}", problem.warning()));
                return found.help("write type:name, or { type:name, { search_order = cert_fingerprint } }");
            }
            Problem::Braces(_) => "unbalanced-braces",
            Problem::NeedsTable { .. } | Problem::NeedsNumber | Problem::NeedsServer | Problem::BadServer(_) => {
                "bad-argument"
            }
        };
        Diagnostic::error(code, format!("{list}: {}", problem.warning()))
    }

    pub(super) fn judge_order(&mut self, list: &str, items: &[Item]) {
        let mut warned = false;
        for pair in items.windows(2) {
            let ends =
                matches!(&pair[0].kind, Kind::Check(entry, _) if ["permit", "reject", "defer"].contains(&entry.name));
            if ends && !warned {
                let message = format!("{list}: restriction `{}' after `{}' is ignored", pair[1].text, pair[0].text);
                self.problems.push(
                    Diagnostic::warning("unreachable-restriction", message)
                        .at(pair[1].span.clone())
                        .help(format!("move \"{}\" to the end of the list, or remove what follows", pair[0].text)),
                );
                return;
            }
            warned = matches!(pair[0].kind, Kind::Prefix(Prefix::Warn));
        }
    }

    /// Refuse a configuration that would relay for strangers.
    pub(super) fn check_relay(&mut self, plan: &Plan) {
        let closed = [&plan.lists.relay, &plan.lists.recipient]
            .into_iter()
            .any(|list| closes_relay(plan, list, &mut HashSet::new()));
        if !closed {
            let message = "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one \
                           working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, \
                           defer_if_permit or check_relay_domains";
            let place = self.settings.origin("smtpd_relay_restrictions");
            let place = place.or_else(|| self.settings.origin("smtpd_recipient_restrictions"));
            let problem = Diagnostic::error("open-relay", message).at(place);
            let help = "write \"smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, \
                        defer_unauth_destination\"";
            self.problems.push(problem.help(help));
        }
    }
}

/// The known restriction, prefix or class that is most like this name.
pub(crate) fn nearest_restriction<'a>(name: &str, classes: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let known = restrictions().flat_map(|entry| std::iter::once(&entry.name).chain(entry.aliases).copied());
    let others = ["warn_if_reject", "disconnect_if_reject", "no_error_count"];
    let best = known.chain(others).chain(classes).map(|known| (distance(&name, known), known)).min()?;
    (best.0 <= 2 + name.len() / 8).then(|| best.1.to_owned())
}

fn closes_relay(plan: &Plan, list: &List, visited: &mut HashSet<usize>) -> bool {
    let mut warned = false;
    for item in &list.items {
        match &item.kind {
            Kind::Prefix(Prefix::Warn) => {
                warned = true;
                continue;
            }
            Kind::Prefix(_) => continue,
            _ if warned => {}
            Kind::Check(entry, _) if entry.name == "permit" => return false,
            Kind::Check(entry, _) if RELAY_CLOSERS.contains(&entry.name) => return true,
            Kind::Broken(Problem::Removed { name: "check_relay_domains", .. }) => return true,
            Kind::Class(class) if visited.insert(*class) && closes_relay(plan, &plan.classes[*class], visited) => {
                return true;
            }
            _ => {}
        }
        warned = false;
    }
    false
}

/// The number of insertions, deletions and changes between two words.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
