//! A compiled policy as people read it: every list in the order of evaluation, every element with its place.

use crate::plan::Plan;
use crate::restriction::{Kind, List, Restriction};
use config::Span;
use std::sync::Arc;

/// A restriction list.
#[derive(Clone, Debug)]
pub struct ProgramList {
    /// The parameter or class.
    pub name: Arc<str>,
    /// The command at which it is evaluated.
    pub when: &'static str,
    /// Its elements.
    pub items: Vec<ProgramItem>,
}

/// An element of a list.
#[derive(Clone, Debug)]
pub struct ProgramItem {
    /// As written, with its argument.
    pub text: Arc<str>,
    /// Where.
    pub span: Option<Span>,
    /// What it is.
    pub kind: ProgramKind,
}

/// What an element is.
#[derive(Clone, Debug)]
pub enum ProgramKind {
    /// `warn_if_reject` and its like: the next one counts differently.
    Prefix,
    /// A restriction.
    Restriction(&'static Restriction),
    /// A restriction class.
    Class(Arc<str>),
    /// `type:table` by itself.
    Table,
    /// It refuses when it is reached.
    Broken(String),
}

impl Plan {
    /// The lists in the order of a transaction, with the command at which each is evaluated.
    pub fn program(&self) -> Vec<ProgramList> {
        let lists = &self.lists;
        let early = |when| if self.delay_reject { "RCPT TO" } else { when };
        let [first, second] =
            if self.relay_first { [&lists.relay, &lists.recipient] } else { [&lists.recipient, &lists.relay] };
        [
            (&lists.client, early("connect")),
            (&lists.helo, early("HELO/EHLO")),
            (&lists.sender, early("MAIL FROM")),
            (first, "RCPT TO"),
            (second, "RCPT TO"),
            (&lists.data, "DATA"),
            (&lists.end_of_data, "end of data"),
            (&lists.etrn, "ETRN"),
        ]
        .into_iter()
        .map(|(list, when)| self.program_list(list, when))
        .collect()
    }

    /// A restriction class.
    pub fn program_class(&self, name: &str) -> Option<ProgramList> {
        let list = self.classes.get(*self.class_names.get(name)?)?;
        Some(self.program_list(list, "where it is named"))
    }

    fn program_list(&self, list: &List, when: &'static str) -> ProgramList {
        let kind = |kind: &Kind| match kind {
            Kind::Prefix(_) => ProgramKind::Prefix,
            Kind::Check(entry, _) => ProgramKind::Restriction(entry),
            Kind::Class(number) => {
                ProgramKind::Class(self.classes.get(*number).map_or_else(|| "".into(), |class| class.name.clone()))
            }
            Kind::Bare(_) => ProgramKind::Table,
            Kind::Broken(problem) => ProgramKind::Broken(problem.warning()),
        };
        let items = list.items.iter();
        let items =
            items.map(|item| ProgramItem { text: item.text.clone(), span: item.span.clone(), kind: kind(&item.kind) });
        ProgramList { name: list.name.clone(), when, items: items.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableRegistry;
    use crate::testing::Config;

    #[test]
    fn lists_come_in_the_order_of_evaluation() {
        let values = [
            ("smtpd_restriction_classes", "mine"),
            ("mine", "reject"),
            ("smtpd_recipient_restrictions", "warn_if_reject mine, check_client_access hash:/t, hash:/u"),
        ];
        let (plan, _) = Plan::compile(&Config::new(&values), &mut TableRegistry::new());
        let program = plan.program();
        let order: Vec<_> = program.iter().map(|list| format!("{} {}", list.name, list.when)).collect();
        assert_eq!(order[..2], ["smtpd_client_restrictions RCPT TO", "smtpd_helo_restrictions RCPT TO"]);
        assert_eq!(order[3..5], ["smtpd_relay_restrictions RCPT TO", "smtpd_recipient_restrictions RCPT TO"]);
        let items: Vec<_> = program[4].items.iter().map(|item| format!("{} {:?}", item.text, item.kind)).collect();
        assert_eq!(
            items,
            [
                "warn_if_reject Prefix",
                "mine Class(\"mine\")",
                "check_client_access hash:/t Restriction(check_client_access)",
                "hash:/u Table",
            ]
        );
        assert_eq!(plan.program_class("mine").map(|class| class.items.len()), Some(1));
        assert!(plan.program_class("other").is_none());
    }
}
