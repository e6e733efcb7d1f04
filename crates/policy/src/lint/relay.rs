//! What permits before the relay check, in the list that is to keep strangers from relaying.

use super::{Step, TableEntry, TableTexts, steps, table_of};
use crate::plan::{Plan, RELAY_CLOSERS};
use crate::restriction::{Kind, List};
use config::Diagnostic;

/// Classes in classes, so deep.
const DEPTH: usize = 5;

pub(super) fn lint(plan: &Plan, texts: &dyn TableTexts, found: &mut Vec<Diagnostic>) {
    let mut early = Vec::new();
    for list in [&plan.lists.relay, &plan.lists.recipient] {
        let judge = Judge { plan, texts };
        match judge.permits_before_check(list, DEPTH) {
            // One list that nothing gets around is enough.
            Before::Check(permits) if permits.is_empty() => return,
            Before::Check(permits) => early.extend(permits),
            Before::NoCheck(_) => {}
        }
    }
    found.extend(early);
}

struct Judge<'a> {
    plan: &'a Plan,
    texts: &'a dyn TableTexts,
}

/// What permits, up to the relay check or to the end.
enum Before {
    Check(Vec<Diagnostic>),
    NoCheck(Vec<Diagnostic>),
}

impl Judge<'_> {
    fn permits_before_check(&self, list: &List, depth: usize) -> Before {
        let mut permits = Vec::new();
        for step in steps(list) {
            if !step.warned && RELAY_CLOSERS.contains(&step.name()) {
                return Before::Check(permits);
            }
            match &step.item.kind {
                Kind::Class(number) if depth > 0 => {
                    let Some(class) = self.plan.classes.get(*number) else { continue };
                    match self.permits_before_check(class, depth - 1) {
                        Before::Check(more) if !step.warned => {
                            permits.extend(more);
                            return Before::Check(permits);
                        }
                        Before::Check(more) | Before::NoCheck(more) => permits.extend(more),
                    }
                }
                Kind::Check(entry, _) if entry.name == "check_policy_service" => {
                    permits.push(told(list, &step, "when the policy service says OK"));
                }
                _ => {
                    if let Some(entry) = self.forgeable_ok(list, &step) {
                        let why = format!("through \"{} {}\" ({})", entry.key, entry.value, entry.key_span);
                        permits.push(told(list, &step, &why));
                    }
                }
            }
        }
        Before::NoCheck(permits)
    }

    /// An entry that permits what anybody can say of himself. Addresses and verified names of clients, logins and
    /// certificates can't be made up.
    fn forgeable_ok(&self, list: &List, step: &Step<'_>) -> Option<TableEntry> {
        let (name, table) = table_of(list, step.item)?;
        let is_forgeable = |entry: &TableEntry| match name {
            "check_helo_access" | "check_sender_access" => true,
            // `postmaster@` is a user everywhere, not only here.
            "check_recipient_access" => entry.key.ends_with('@') || entry.key.ends_with("@/"),
            "check_client_access" => is_everybody(&entry.key),
            _ => false,
        };
        let entries = self.texts.entries(&table.spec)?;
        entries.iter().find(|entry| permits(&entry.value) && is_forgeable(entry)).cloned()
    }
}

fn told(list: &List, step: &Step<'_>, why: &str) -> Diagnostic {
    let message = format!("{}: \"{}\" can permit relaying to strangers, {why}", list.name, step.item.text);
    Diagnostic::warning("permit-before-relay-check", message).at(step.item.span.clone()).help(
        "move it behind reject_unauth_destination, or keep smtpd_relay_restrictions = permit_mynetworks, \
         permit_sasl_authenticated, defer_unauth_destination",
    )
}

/// Does this value permit?
pub(super) fn permits(value: &str) -> bool {
    let value = value.trim();
    let word = value.split([' ', '\t', ',']).next().unwrap_or_default();
    let number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    number || ["OK", "RELAY", "permit"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Does this key or pattern fit every client?
fn is_everybody(key: &str) -> bool {
    matches!(key, "0.0.0.0/0" | "::/0" | "/./" | "/.*/" | "/^/" | "//" | "/$/" | "/.+/" | "*")
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;

    fn told(relay: &str, recipient: &str, tables: &[(&'static str, &'static str)]) -> Vec<String> {
        let values = [("smtpd_relay_restrictions", relay), ("smtpd_recipient_restrictions", recipient)];
        let found = findings(&values, tables).into_iter();
        found.filter_map(|f| f.strip_prefix("permit-before-relay-check: ").map(str::to_owned)).collect()
    }

    #[test]
    fn strangers_must_not_get_around_the_check() {
        let tables = [
            ("hash:/senders", "a@b.example OK"),
            ("hash:/helo", "localhost.localdomain RELAY"),
            ("hash:/bad", "a@b.example REJECT"),
            ("hash:/clients", "192.0.2.1 OK"),
            ("cidr:/all", "0.0.0.0/0 OK"),
            ("hash:/rcpt", "postmaster@ OK"),
            ("hash:/mine", "me@example.com OK"),
        ];
        for (check, is_open) in [
            ("check_sender_access hash:/senders", true),
            ("check_helo_access hash:/helo", true),
            ("check_sender_access hash:/bad", false),
            ("check_sender_access hash:/unknown", false),
            ("check_client_access hash:/clients", false),
            ("check_client_access cidr:/all", true),
            ("check_recipient_access hash:/rcpt", true),
            ("check_recipient_access hash:/mine", false),
            ("check_policy_service inet:127.0.0.1:7777", true),
            ("permit_mynetworks", false),
        ] {
            let list = format!("{check}, reject_unauth_destination");
            assert_eq!(told("", &list, &tables).len(), usize::from(is_open), "{check}");
            assert_eq!(told("permit_mynetworks, reject_unauth_destination", &list, &tables), [""; 0], "{check}");
            let after = format!("reject_unauth_destination, {check}");
            assert_eq!(told("", &after, &tables), [""; 0], "{check}");
        }
        assert_eq!(
            told("", "check_helo_access hash:/helo, reject_unauth_destination", &tables),
            [
                "smtpd_recipient_restrictions: \"check_helo_access hash:/helo\" can permit relaying to strangers, through \
              \"localhost.localdomain RELAY\" (table:1)"
            ]
        );
    }

    #[test]
    fn classes_are_looked_into() {
        let values = [
            ("smtpd_restriction_classes", "inner, closed"),
            ("inner", "check_helo_access hash:/helo"),
            ("closed", "inner, reject_unauth_destination"),
            ("smtpd_relay_restrictions", ""),
            ("smtpd_recipient_restrictions", "closed"),
        ];
        let found = findings(&values, &[("hash:/helo", "x.example OK")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("permit-before-relay-check: inner: "), "{found:?}");
    }
}
