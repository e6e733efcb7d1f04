//! What becomes of entries: which attributes are results, and which lead to other entries.

use super::super::attributes::Attributes;
use super::super::pool::Failure;
use super::super::query::{Query, Results};
use super::session::{Entry, Found, Search, Session};
use super::text::{Relation, SearchUrl, is_url, relation};
use ldap3::Scope;
use std::time::Instant;

/// `result_attribute` and its relatives, in Postfix's order.
pub(super) struct ResultAttributes {
    names: Vec<String>,
    terminal: usize,
    /// The end of those that count only in entries which lead nowhere.
    leaf: usize,
    /// The end of the ordinary ones; the others hold names and URLs of entries.
    ordinary: usize,
}

/// What an attribute is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Terminal,
    Leaf,
    Ordinary,
    Special,
}

/// What is left to do, the next one at the end.
enum Work {
    Value(String),
    Follow { depth: usize, attribute: String, target: String },
}

impl ResultAttributes {
    pub(super) fn read(attributes: &Attributes) -> Self {
        let list = |name: &str, default: &str| -> Vec<String> {
            let text = attributes.get(name).unwrap_or_else(|| default.to_owned());
            crate::spec::members(&text).into_iter().map(str::to_owned).collect()
        };
        let mut names = list("terminal_result_attribute", "");
        let terminal = names.len();
        names.extend(list("leaf_result_attribute", ""));
        let leaf = names.len();
        names.extend(list("result_attribute", "maildrop"));
        let ordinary = names.len();
        names.extend(list("special_result_attribute", ""));
        Self { names, terminal, leaf, ordinary }
    }

    /// To be asked for.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    fn role(&self, name: &str) -> Option<Role> {
        let at = self.names.iter().position(|known| relation(known, name) == Relation::Covers)?;
        Some(match at {
            at if at < self.terminal => Role::Terminal,
            at if at < self.leaf => Role::Leaf,
            at if at < self.ordinary => Role::Ordinary,
            _ => Role::Special,
        })
    }

    /// Values and further searches that an entry gives, in order.
    fn work(&self, entry: Entry, depth: usize, work: &mut Vec<Work>) {
        let with_roles = entry.0.into_iter().filter(|(_, values)| !values.is_empty());
        let attributes: Vec<_> =
            with_roles.filter_map(|(name, values)| Some((self.role(&name)?, name, values))).collect();
        let has = |wanted: Role| attributes.iter().any(|(role, ..)| *role == wanted);
        let (is_terminal, is_leaf) = (has(Role::Terminal), !has(Role::Special));
        for (role, name, values) in attributes {
            let used = match role {
                Role::Terminal => true,
                Role::Leaf => !is_terminal && is_leaf,
                Role::Ordinary | Role::Special => !is_terminal,
            };
            if used {
                work.extend(values.into_iter().map(|value| match role {
                    Role::Special => Work::Follow { depth, attribute: name.clone(), target: value },
                    _ => Work::Value(value),
                }));
            }
        }
    }

    /// Those that a URL asks for, of ours: where one has options besides, that one. `None`: nothing to ask for.
    fn selected(&self, url: &SearchUrl) -> Option<Vec<String>> {
        if url.attributes.is_empty() {
            return Some(self.names.clone());
        }
        let mut selected = Vec::new();
        for theirs in &url.attributes {
            for ours in &self.names {
                match relation(theirs, ours) {
                    Relation::Covers => selected.push(ours.clone()),
                    Relation::Covered => selected.push(theirs.clone()),
                    Relation::None => {}
                }
            }
        }
        (!selected.is_empty()).then_some(selected)
    }
}

/// Follows entries to the end.
pub(super) struct Walk<'w> {
    pub(super) session: &'w mut Session,
    pub(super) query: &'w Query,
    pub(super) attributes: &'w ResultAttributes,
    pub(super) recursion_limit: usize,
    pub(super) size_limit: usize,
    pub(super) deadline: Instant,
}

impl Walk<'_> {
    /// All results of these entries and of those they lead to.
    pub(super) fn results(mut self, entries: Vec<Entry>, mut results: Results<'_>) -> Result<Results<'_>, Failure> {
        let mut work = self.planned(entries, 1)?;
        work.reverse();
        while let Some(next) = work.pop() {
            match next {
                Work::Value(value) => {
                    results.add(&value).map_err(|error| Failure::Refused(error.text().to_string()))?;
                }
                Work::Follow { depth, attribute, target } => {
                    if depth >= self.recursion_limit {
                        return Err(self.refused(format_args!(
                            "Recursion limit exceeded for special attribute {attribute}={target}"
                        )));
                    }
                    let found = self.follow(&target)?;
                    work.extend(self.planned(found, depth + 1)?.into_iter().rev());
                }
            }
        }
        Ok(results)
    }

    fn planned(&self, entries: Vec<Entry>, depth: usize) -> Result<Vec<Work>, Failure> {
        if self.size_limit > 0 && entries.len() > self.size_limit {
            return Err(self.refused(format_args!("Query size limit ({}) exceeded", self.size_limit)));
        }
        let mut work = Vec::new();
        entries.into_iter().for_each(|entry| self.attributes.work(entry, depth, &mut work));
        Ok(work)
    }

    /// The entries that a name or a URL leads to.
    fn follow(&mut self, target: &str) -> Result<Vec<Entry>, Failure> {
        let found = if is_url(target) {
            let Some(url) = SearchUrl::parse(target) else {
                return Err(self.refused(format_args!("malformed URL {target}")));
            };
            let Some(attributes) = self.attributes.selected(&url) else { return Ok(Vec::new()) };
            self.search(&url.base, url.scope, &url.filter, &attributes)?
        } else {
            let attributes = self.attributes;
            self.search(target, Scope::Base, "(objectclass=*)", attributes.names())?
        };
        Ok(match found {
            Found::Entries(entries) => entries,
            Found::NoBase => {
                self.query.note(&format!("dict_ldap_get_values: DN {target} not found, skipping"));
                Vec::new()
            }
        })
    }

    fn search(&mut self, base: &str, scope: Scope, filter: &str, attributes: &[String]) -> Result<Found, Failure> {
        self.session.search(&Search { base, scope, filter, attributes }, self.deadline)
    }

    fn refused(&self, text: std::fmt::Arguments<'_>) -> Failure {
        Failure::Refused(self.query.failure(text).text().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(entry: &[(&str, &[&str])]) -> Vec<String> {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let names = list(&["terminal", "leaf", "mail", "member"]);
        let attributes = ResultAttributes { names, terminal: 1, leaf: 2, ordinary: 3 };
        let mut work = Vec::new();
        let entry = Entry(entry.iter().map(|(name, values)| ((*name).to_owned(), list(values))).collect());
        attributes.work(entry, 1, &mut work);
        let told = |work| match work {
            Work::Value(value) => value,
            Work::Follow { target, .. } => format!("-> {target}"),
        };
        work.into_iter().map(told).collect()
    }

    #[test]
    fn attributes_have_roles() {
        for (entry, expected) in [
            (&[("mail", &["a", "b"][..]), ("leaf", &["l"])][..], &["a", "b", "l"][..]),
            (&[("leaf", &["l"]), ("MEMBER", &["cn=x"]), ("mail;x", &["a"])], &["-> cn=x", "a"]),
            (&[("mail", &["a"]), ("terminal", &["t"]), ("member", &["cn=x"])], &["t"]),
            (&[("mail", &["a"]), ("terminal", &[]), ("member", &[]), ("leaf", &["l"])], &["a", "l"]),
            (&[("other", &["x"])], &[]),
        ] {
            assert_eq!(plan(entry), expected, "{entry:?}");
        }
    }
}
