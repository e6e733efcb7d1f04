//! Elements that can't decide anything where they stand, and elements that cost more there than they need to.

use super::{Step, steps};
use crate::plan::Plan;
use crate::restriction::{Arg, Argument, Input, Item, Kind, List};
use config::Diagnostic;

/// What may be said twice: time passes, or a service counts.
const REPEATABLE: [&str; 4] = ["check_policy_service", "sleep", "defer_if_permit", "defer_if_reject"];

/// The first one refuses (or permits) all that the second would.
const COVERS: [(&str, &str); 7] = [
    ("reject_unknown_client_hostname", "reject_unknown_reverse_client_hostname"),
    ("reject_unauth_destination", "defer_unauth_destination"),
    ("defer_unauth_destination", "reject_unauth_destination"),
    ("reject_sender_login_mismatch", "reject_authenticated_sender_login_mismatch"),
    ("reject_sender_login_mismatch", "reject_unauthenticated_sender_login_mismatch"),
    ("reject_sender_login_mismatch", "reject_known_sender_login_mismatch"),
    ("permit_tls_all_clientcerts", "permit_tls_clientcerts"),
];

/// Refuse or have no opinion, from what is at hand.
const CHEAP: [&str; 13] = [
    "reject_invalid_helo_hostname",
    "reject_non_fqdn_helo_hostname",
    "reject_non_fqdn_sender",
    "reject_non_fqdn_recipient",
    "reject_unauth_destination",
    "defer_unauth_destination",
    "reject_unlisted_sender",
    "reject_unlisted_recipient",
    "reject_unauth_pipelining",
    "reject_sender_login_mismatch",
    "reject_authenticated_sender_login_mismatch",
    "reject_unauthenticated_sender_login_mismatch",
    "reject_known_sender_login_mismatch",
];

pub(super) fn lint(list: &List, found: &mut Vec<Diagnostic>) {
    let steps = steps(list);
    shadowed(list, &steps, found);
    expensive(list, &steps, found);
    if let Some(Item { kind: Kind::Prefix(_), text, span }) = list.items.last() {
        found.push(
            Diagnostic::warning("dangling-prefix", format!("{}: nothing follows \"{text}\"", list.name))
                .at(span.clone())
                .help("write the restriction that it is for behind it, or remove it"),
        );
    }
}

fn shadowed(list: &List, steps: &[Step<'_>], found: &mut Vec<Diagnostic>) {
    for (at, step) in steps.iter().enumerate() {
        let Kind::Check(entry, argument) = &step.item.kind else { continue };
        // Lists in the DNS have their own finding.
        if REPEATABLE.contains(&entry.name) || matches!(argument, Arg::Domain(_)) {
            continue;
        }
        let covers = |before: &&Step<'_>| {
            let same = before.name() == entry.name && before.argument() == step.argument();
            !before.warned && (same || COVERS.contains(&(before.name(), entry.name)))
        };
        let Some(before) = steps[..at].iter().find(covers) else { continue };
        let what = if before.name() == entry.name { "the same" } else { before.name() };
        let message = format!(
            "{}: \"{}\" can't decide anything: {what} stands before it ({})",
            list.name,
            step.item.text,
            before.place()
        );
        found.push(
            Diagnostic::warning("shadowed-restriction", message)
                .at(step.item.span.clone())
                .help("remove one of the two"),
        );
    }
}

/// Somebody else is asked although what follows could refuse at once. Only between elements that do nothing but refuse:
/// their order makes no difference to who gets in.
fn expensive(list: &List, steps: &[Step<'_>], found: &mut Vec<Diagnostic>) {
    let asks = |step: &Step<'_>| match &step.item.kind {
        Kind::Check(entry, _) => {
            entry.argument == Argument::PolicyService
                || (entry.argument == Argument::Domain && entry.name.starts_with("reject"))
        }
        _ => false,
    };
    for (at, step) in steps.iter().enumerate() {
        if !asks(step) {
            continue;
        }
        let after = steps[at + 1..].iter().take_while(|next| asks(next) || next.name().starts_with("reject_"));
        let cheap: Vec<&str> =
            after.filter(|next| CHEAP.contains(&next.name()) && !next.warned).map(Step::name).collect();
        if cheap.is_empty() {
            continue;
        }
        let message =
            format!("{}: \"{}\" is asked before cheaper restrictions had their say", list.name, step.item.text);
        found.push(
            Diagnostic::note("expensive-first", message)
                .at(step.item.span.clone())
                .help(format!("move {} before it: nothing else changes", cheap.join(", "))),
        );
        return;
    }
}

/// With `smtpd_delay_reject = no`: what looks at something that isn't known yet.
pub(super) fn lint_early(plan: &Plan, found: &mut Vec<Diagnostic>) {
    if plan.delay_reject {
        return;
    }
    let lists: [(&List, &str, &[Input]); 3] = [
        (&plan.lists.client, "when a client connects", &[Input::Helo, Input::Sender, Input::Recipient, Input::Sasl]),
        (&plan.lists.helo, "at HELO", &[Input::Sender, Input::Recipient]),
        (&plan.lists.sender, "at MAIL FROM", &[Input::Recipient]),
    ];
    for (list, when, unknown) in lists {
        for step in steps(list) {
            let Kind::Check(entry, _) = &step.item.kind else { continue };
            if entry.needs.is_empty() || !entry.needs.iter().any(|input| unknown.contains(input)) {
                continue;
            }
            let message = format!(
                "{}: \"{}\" has no opinion: with smtpd_delay_reject = no the list is evaluated {when}, before it knows \
                 what it looks at",
                list.name, step.item.text
            );
            found.push(
                Diagnostic::warning("too-early-restriction", message)
                    .at(step.item.span.clone())
                    .help("move it to the list of a later command, or remove smtpd_delay_reject = no"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;

    fn recipient(list: &str) -> Vec<String> {
        findings(&[("smtpd_recipient_restrictions", list)], &[])
    }

    #[test]
    fn repeats_are_shadowed() {
        let text = |what: &str, first: &str| {
            format!("shadowed-restriction: smtpd_recipient_restrictions: \"{what}\" can't decide anything: {first}")
        };
        for (list, want) in [
            (
                "reject_non_fqdn_sender, permit_mynetworks, reject_non_fqdn_sender",
                Some(text("reject_non_fqdn_sender", "the same stands before it (main.cf:1)")),
            ),
            ("check_client_access hash:/a, check_client_access hash:/b", None),
            ("warn_if_reject reject_non_fqdn_sender, reject_non_fqdn_sender", None),
            ("sleep 1, sleep 1", None),
            (
                "reject_unknown_client_hostname, reject_unknown_reverse_client_hostname",
                Some(text(
                    "reject_unknown_reverse_client_hostname",
                    "reject_unknown_client_hostname stands before it (main.cf:1)",
                )),
            ),
            ("reject_unknown_reverse_client_hostname, reject_unknown_client_hostname", None),
        ] {
            assert_eq!(recipient(list), Vec::from_iter(want), "{list}");
        }
    }

    #[test]
    fn cheap_ones_come_first_where_it_makes_no_difference() {
        let told = |list: &str| recipient(list).iter().filter(|f| f.starts_with("expensive-first")).count();
        for (list, want) in [
            ("reject_rbl_client bl.example=127.0.0.2, reject_unlisted_recipient", 1),
            (
                "reject_rbl_client bl.example=127.0.0.2, reject_rbl_client b2.example=127.0.0.2, reject_unauth_pipelining",
                1,
            ),
            ("reject_rbl_client bl.example=127.0.0.2, permit_mynetworks, reject_unlisted_recipient", 0),
            ("reject_unlisted_recipient, reject_rbl_client bl.example=127.0.0.2", 0),
            ("permit_dnswl_client wl.example=127.0.0.2, reject_unlisted_recipient", 0),
            ("check_policy_service inet:127.0.0.1:10023, reject_unlisted_recipient", 1),
        ] {
            assert_eq!(told(list), want, "{list}");
        }
    }

    #[test]
    fn a_list_at_connect_knows_no_recipient() {
        let values = [
            ("smtpd_delay_reject", "no"),
            ("smtpd_client_restrictions", "permit_mynetworks, reject_unlisted_recipient"),
        ];
        let found = findings(&values, &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("too-early-restriction: smtpd_client_restrictions: \"reject_unlisted_recipient\"")
        );
        assert_eq!(findings(&values[1..], &[]), [""; 0]);
    }

    #[test]
    fn a_prefix_needs_something_behind_it() {
        assert_eq!(
            recipient("permit_mynetworks, warn_if_reject"),
            ["dangling-prefix: smtpd_recipient_restrictions: nothing follows \"warn_if_reject\""]
        );
    }
}
