//! What a policy says that its author hardly meant: it is a valid policy, so all of this is advice.
//!
//! Nothing is asked here. The entries of tables come from whoever can read them; a table that can't be read is not judged.

mod dnsbl;
mod entries;
mod keys;
mod message;
mod order;
mod relay;
mod values;

use crate::plan::Plan;
use crate::restriction::{Arg, Item, Kind, List, Prefix};
use config::{Diagnostic, Span};
use std::sync::Arc;

/// One entry of a table, as the postmaster wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The key, or the pattern.
    pub key: String,
    /// The value.
    pub value: String,
    /// Where the key stands.
    pub key_span: Span,
    /// Where the value stands.
    pub value_span: Span,
    /// The key is stored with capitals: it stands in a compiled table that was made without folding.
    pub is_unfolded: bool,
}

/// Who can read tables.
pub trait TableTexts {
    /// The entries of a table, or `None` if nobody can tell them.
    fn entries(&self, spec: &str) -> Option<Arc<[TableEntry]>>;
}

/// Nobody can read tables.
#[derive(Clone, Copy, Debug)]
pub struct NoTexts;

impl TableTexts for NoTexts {
    fn entries(&self, _: &str) -> Option<Arc<[TableEntry]>> {
        None
    }
}

impl Plan {
    /// All that is odd about the policy.
    pub fn lint(&self, texts: &dyn TableTexts) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for list in self.lint_lists() {
            order::lint(list, &mut found);
        }
        order::lint_early(self, &mut found);
        dnsbl::lint(self, &mut found);
        relay::lint(self, texts, &mut found);
        entries::lint(self, texts, &mut found);
        message::lint(self, texts, &mut found);
        found
    }

    /// Every list once, classes last.
    fn lint_lists(&self) -> impl Iterator<Item = &List> {
        let lists = &self.lists;
        let named = [
            &lists.client,
            &lists.helo,
            &lists.sender,
            &lists.relay,
            &lists.recipient,
            &lists.data,
            &lists.end_of_data,
            &lists.etrn,
        ];
        named.into_iter().chain(&self.classes).map(AsRef::as_ref)
    }
}

/// An element of a list with its prefix.
#[derive(Clone, Copy)]
struct Step<'a> {
    item: &'a Item,
    /// Its refusals are only logged.
    warned: bool,
}

impl Step<'_> {
    /// The restriction's own name; empty for what isn't one.
    fn name(&self) -> &'static str {
        match &self.item.kind {
            Kind::Check(entry, _) => entry.name,
            _ => "",
        }
    }

    /// What stands after the name.
    fn argument(&self) -> &str {
        self.item.text.split_once(' ').map_or("", |(_, argument)| argument)
    }

    /// The place, for texts.
    fn place(&self) -> String {
        self.item.span.as_ref().map_or_else(|| "in the default".to_owned(), ToString::to_string)
    }
}

/// The elements of a list without the prefixes.
fn steps(list: &List) -> Vec<Step<'_>> {
    let mut warned = false;
    let mut steps = Vec::with_capacity(list.items.len());
    for item in &list.items {
        if let Kind::Prefix(prefix) = item.kind {
            warned |= prefix == Prefix::Warn;
        } else {
            steps.push(Step { item, warned: std::mem::take(&mut warned) });
        }
    }
    steps
}

/// The restriction that looks into a table, and the table.
fn table_of<'a>(list: &List, item: &'a Item) -> Option<(&'static str, &'a crate::tables::Table)> {
    match &item.kind {
        Kind::Check(entry, Arg::Table(table) | Arg::Certificates(table, _)) => Some((entry.name, table)),
        Kind::Bare(table) => {
            let implied = match &*list.name {
                "smtpd_helo_restrictions" => "check_helo_access",
                "smtpd_sender_restrictions" => "check_sender_access",
                "smtpd_recipient_restrictions" | "smtpd_relay_restrictions" => "check_recipient_access",
                "smtpd_etrn_restrictions" => "check_etrn_access",
                "smtpd_client_restrictions" => "check_client_access",
                // A class takes the table as the list does that names it.
                _ => return None,
            };
            Some((implied, table))
        }
        _ => None,
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::TableRegistry;
    use crate::testing::Config;
    use std::collections::HashMap;

    /// Tables for tests: `key value` lines.
    #[derive(Default)]
    pub struct Texts(pub HashMap<&'static str, &'static str>);

    impl TableTexts for Texts {
        fn entries(&self, spec: &str) -> Option<Arc<[TableEntry]>> {
            let text = self.0.get(spec)?;
            let entry = |(number, line): (u32, &str)| {
                let (key, value) = line.split_once(' ').unwrap_or((line, ""));
                let span = Span::new("table", number);
                TableEntry {
                    key: key.into(),
                    value: value.into(),
                    key_span: span.clone(),
                    value_span: span,
                    is_unfolded: false,
                }
            };
            Some((1..).zip(text.lines()).map(entry).collect())
        }
    }

    /// The findings as `code: message` lines.
    pub fn findings(values: &[(&str, &str)], tables: &[(&'static str, &'static str)]) -> Vec<String> {
        let (plan, _) = Plan::compile(&Config::new(values), &mut TableRegistry::new());
        let texts = Texts(tables.iter().copied().collect());
        plan.lint(&texts).iter().map(|found| format!("{}: {}", found.code, found.message)).collect()
    }
}
