//! Restrictions that judge a whole message, named where there is none yet: by a table's entry, or in a class.

use super::{TableTexts, table_of};
use crate::plan::Plan;
use crate::restriction::{Item, Kind, List, NEED_MESSAGE};
use config::Diagnostic;

pub(super) fn lint(plan: &Plan, texts: &dyn TableTexts, found: &mut Vec<Diagnostic>) {
    for list in early_lists(plan) {
        for item in &list.items {
            if let Kind::Class(number) = &item.kind
                && let Some(class) = plan.classes.get(*number)
                && let Some(name) = class.items.iter().find_map(needs_message)
            {
                let text = format!("{}: {} has {name}, which needs the message", list.name, class.name);
                found.push(problem(text).at(item.span.clone()));
            }
            let Some((_, table)) = table_of(list, item) else { continue };
            if is_late(plan, &table.spec) {
                continue;
            }
            let entries = texts.entries(&table.spec).unwrap_or_default();
            let early = entries.iter().find_map(|entry| Some((named(plan, &entry.value)?, entry)));
            if let Some((name, entry)) = early {
                let text = format!("{name} needs the message, which isn't there yet in {}", list.name);
                let own = Some(entry.value_span.clone()).filter(|span| !span.file.is_empty());
                let diagnostic = problem(text).at(own.or_else(|| item.span.clone()));
                if !found.contains(&diagnostic) {
                    found.push(diagnostic);
                }
            }
        }
    }
}

fn problem(text: String) -> Diagnostic {
    Diagnostic::warning("message-too-early", text).help("look it up in smtpd_end_of_data_restrictions")
}

fn early_lists(plan: &Plan) -> [&List; 6] {
    let lists = &plan.lists;
    [&lists.client, &lists.helo, &lists.sender, &lists.relay, &lists.recipient, &lists.data]
}

fn needs_message(item: &Item) -> Option<&'static str> {
    match &item.kind {
        Kind::Check(entry, _) => NEED_MESSAGE.into_iter().find(|name| *name == entry.name),
        _ => None,
    }
}

/// Does a list that may run at the end look into the table, too? A class may, whoever names it.
fn is_late(plan: &Plan, spec: &str) -> bool {
    let looks = |list: &List| list.items.iter().any(|item| table_of(list, item).is_some_and(|(_, t)| *t.spec == *spec));
    looks(&plan.lists.end_of_data) || plan.classes.iter().any(|class| looks(class))
}

/// The restriction in a value, or in a class that a value names.
fn named(plan: &Plan, value: &str) -> Option<&'static str> {
    value.split([' ', '\t', ',']).find_map(|word| {
        let own = NEED_MESSAGE.into_iter().find(|name| name.eq_ignore_ascii_case(word));
        own.or_else(|| {
            let class = plan.classes.get(*plan.class_names.get(word)?)?;
            class.items.iter().find_map(needs_message)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;

    #[test]
    fn what_comes_too_early_for_a_message() {
        let classes =
            [("smtpd_restriction_classes", "strict, deep"), ("strict", "reject_dmarc_fail"), ("deep", "permit")];
        let text = [("hash:/t", "a.example OK\nb.example reject_dmarc_fail\nc.example strict")];
        for (list, value, want) in [
            (
                "sender",
                "check_sender_access hash:/t",
                "reject_dmarc_fail needs the message, which isn't there yet in smtpd_sender_restrictions",
            ),
            (
                "recipient",
                "deep, strict, reject",
                "smtpd_recipient_restrictions: strict has reject_dmarc_fail, which needs the message",
            ),
            ("end_of_data", "check_sender_access hash:/t, strict", ""),
        ] {
            let name = format!("smtpd_{list}_restrictions");
            let mut values = classes.to_vec();
            values.push((&name, value));
            let found = findings(&values, &text);
            let found: Vec<_> = found.iter().filter_map(|line| line.strip_prefix("message-too-early: ")).collect();
            assert_eq!(found.concat(), want, "{name}");
        }
        let both = [
            ("smtpd_sender_restrictions", "check_sender_access hash:/t"),
            ("smtpd_end_of_data_restrictions", "check_sender_access hash:/t"),
        ];
        let found = findings(&both, &[("hash:/t", "b.example reject_dmarc_fail")]);
        assert!(!found.iter().any(|line| line.starts_with("message-too-early")), "{found:?}");
    }
}
