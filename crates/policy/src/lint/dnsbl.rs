//! Lists in the DNS: asked twice, with any answer counting, closed long ago, or made for something else.

use super::{Step, steps};
use crate::plan::Plan;
use crate::restriction::{Arg, DnsList, Dnsbl, Kind};
use config::Diagnostic;
use std::net::Ipv4Addr;

/// Domains of lists that have shut down; some of them answered "listed" for everybody afterwards.
const CLOSED: [(&str, &str); 9] = [
    ("sorbs.net", "2024"),
    ("spamcannibal.org", "2018"),
    ("ahbl.org", "2015"),
    ("njabl.org", "2013"),
    ("rfc-ignorant.org", "2012"),
    ("dsbl.org", "2008"),
    ("ordb.org", "2006"),
    ("blitzed.org", "2006"),
    ("easynet.nl", "2003"),
];

/// Lists of domains: asked for an address they answer nonsense.
const OF_DOMAINS: [&str; 2] = ["dbl.spamhaus.org", "fresh.spameatingmonkey.net"];

/// Lists of addresses, asked for a domain.
const OF_ADDRESSES: [&str; 8] = [
    "zen.spamhaus.org",
    "sbl.spamhaus.org",
    "xbl.spamhaus.org",
    "pbl.spamhaus.org",
    "sbl-xbl.spamhaus.org",
    "bl.spamcop.net",
    "b.barracudacentral.org",
    "psbl.surriel.com",
];

/// Lists of those who should be let in.
const OF_FRIENDS: [&str; 2] = ["list.dnswl.org", "swl.spamhaus.org"];

/// The first list holds all of the second, under these answers.
const INCLUDES: [(&str, &str, u8); 4] = [
    ("zen.spamhaus.org", "sbl.spamhaus.org", 2),
    ("zen.spamhaus.org", "xbl.spamhaus.org", 4),
    ("zen.spamhaus.org", "sbl-xbl.spamhaus.org", 4),
    ("zen.spamhaus.org", "pbl.spamhaus.org", 10),
];

/// Answers that mean "listed", where the list's page says so.
const ANSWERS: [(&str, &str); 7] = [
    ("zen.spamhaus.org", "127.0.0.[2..11]"),
    ("sbl.spamhaus.org", "127.0.0.[2..9]"),
    ("xbl.spamhaus.org", "127.0.0.[4..7]"),
    ("pbl.spamhaus.org", "127.0.0.[10..11]"),
    ("dbl.spamhaus.org", "127.0.1.[2..99]"),
    ("list.dnswl.org", "127.0.[0..255].[1..3]"),
    ("bl.spamcop.net", "127.0.0.2"),
];

impl Plan {
    /// The DNS lists that the policy asks, once each. What the entries of tables ask is not among them.
    pub fn dns_lists(&self) -> Vec<DnsList> {
        let mut found = Vec::new();
        for step in self.lint_lists().flat_map(steps) {
            let Kind::Check(entry, Arg::Domain(dnsbl)) = &step.item.kind else { continue };
            let list = DnsList::of(entry.name, dnsbl);
            if !found.contains(&list) {
                found.push(list);
            }
        }
        found
    }
}

pub(super) fn lint(plan: &Plan, found: &mut Vec<Diagnostic>) {
    let mut asked: Vec<(Step<'_>, &Dnsbl)> = Vec::new();
    for list in plan.lint_lists() {
        for step in steps(list) {
            let Kind::Check(_, Arg::Domain(dnsbl)) = &step.item.kind else { continue };
            let before = asked.iter().find(|(earlier, other)| covers(earlier, other, &step, dnsbl));
            if let Some((earlier, other)) = before {
                found.push(repeated(earlier, other, &step, dnsbl));
            } else if let Some(problem) = judge(&step, dnsbl) {
                found.push(problem);
            }
            asked.push((step, dnsbl));
        }
    }
}

/// Has what the second would find been found before?
fn covers(earlier: &Step<'_>, other: &Dnsbl, step: &Step<'_>, dnsbl: &Dnsbl) -> bool {
    if earlier.warned || earlier.name() != step.name() || !step.name().starts_with("reject") {
        return false;
    }
    let counts = |last| other.counts(Ipv4Addr::new(127, 0, 0, last));
    other.text().eq_ignore_ascii_case(dnsbl.text())
        || INCLUDES.iter().any(|(outer, inner, answer)| {
            other.domain().eq_ignore_ascii_case(outer) && dnsbl.domain().eq_ignore_ascii_case(inner) && counts(*answer)
        })
}

fn repeated(earlier: &Step<'_>, other: &Dnsbl, step: &Step<'_>, dnsbl: &Dnsbl) -> Diagnostic {
    let what = if other.domain().eq_ignore_ascii_case(dnsbl.domain()) {
        "is asked already".to_owned()
    } else {
        format!("is part of {}, which is asked already", other.domain())
    };
    let message = format!("{}: {} {what} ({})", step.name(), dnsbl.domain(), earlier.place());
    Diagnostic::warning("duplicate-dnsbl", message).at(step.item.span.clone()).help(
        "remove one of the two: the second decides nothing, or refuses those for whom an exception was made before the first",
    )
}

fn judge(step: &Step<'_>, dnsbl: &Dnsbl) -> Option<Diagnostic> {
    let (name, domain) = (step.name(), dnsbl.domain().to_ascii_lowercase());
    let at = |problem: Diagnostic| problem.at(step.item.span.clone());
    let below = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if let Some((_, year)) = CLOSED.iter().find(|(closed, _)| below(closed)) {
        let message = format!("{name}: {domain} was shut down in {year}");
        return Some(
            at(Diagnostic::warning("closed-dnsbl", message))
                .help("remove it: it can only delay mail, or refuse all of it"),
        );
    }
    let is_in = |list: &[&str]| list.contains(&domain.as_str());
    let wrong = match name {
        "reject_rbl_client" if is_in(&OF_DOMAINS) => Some((
            "lists domains, not addresses",
            "use reject_rhsbl_sender, reject_rhsbl_helo or reject_rhsbl_reverse_client",
        )),
        _ if name.starts_with("reject_rhsbl") && is_in(&OF_ADDRESSES) => {
            Some(("lists addresses, not domains", "use reject_rbl_client"))
        }
        _ if name.starts_with("reject") && is_in(&OF_FRIENDS) => {
            Some(("lists those who should be let in", "use permit_dnswl_client, behind the relay check"))
        }
        _ => None,
    };
    if let Some((why, help)) = wrong {
        return Some(at(Diagnostic::warning("wrong-dnsbl", format!("{name}: {domain} {why}"))).help(help));
    }
    if dnsbl.has_filter() || step.warned {
        return None;
    }
    let verb = if name.starts_with("permit") { "permits" } else { "refuses" };
    let message = format!("{name}: any answer of {domain} {verb}");
    let known = ANSWERS.iter().find(|(list, _)| *list == domain);
    let help = match known {
        Some((_, answers)) => {
            format!("write {domain}={answers}: other answers are no listings, but say what is wrong with the query")
        }
        None => format!(
            "name the answers that count, as in {domain}=127.0.0.2 or {domain}=127.0.0.[2..11]: lists tell about queries that \
             they don't like, and lists that closed, with other answers"
        ),
    };
    Some(at(Diagnostic::warning("dnsbl-without-filter", message)).help(help))
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;

    #[test]
    fn what_is_told_of_lists() {
        for (list, want) in [
            ("reject_rbl_client bl.example=127.0.0.2", None),
            (
                "reject_rbl_client bl.example",
                Some("dnsbl-without-filter: reject_rbl_client: any answer of bl.example refuses"),
            ),
            ("warn_if_reject reject_rbl_client bl.example", None),
            (
                "permit_dnswl_client list.dnswl.org",
                Some("dnsbl-without-filter: permit_dnswl_client: any answer of list.dnswl.org permits"),
            ),
            (
                "reject_rbl_client dnsbl.sorbs.net=127.0.0.2",
                Some("closed-dnsbl: reject_rbl_client: dnsbl.sorbs.net was shut down in 2024"),
            ),
            (
                "reject_rbl_client dbl.spamhaus.org",
                Some("wrong-dnsbl: reject_rbl_client: dbl.spamhaus.org lists domains, not addresses"),
            ),
            (
                "reject_rhsbl_sender ZEN.spamhaus.org=127.0.0.2",
                Some("wrong-dnsbl: reject_rhsbl_sender: zen.spamhaus.org lists addresses, not domains"),
            ),
            (
                "reject_rbl_client list.dnswl.org",
                Some("wrong-dnsbl: reject_rbl_client: list.dnswl.org lists those who should be let in"),
            ),
        ] {
            let found = findings(&[("smtpd_recipient_restrictions", list)], &[]);
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), Vec::from_iter(want), "{list}");
        }
    }

    #[test]
    fn asked_twice() {
        let told = |client: &str, recipient: &str| {
            let values = [("smtpd_client_restrictions", client), ("smtpd_recipient_restrictions", recipient)];
            findings(&values, &[]).into_iter().filter(|f| f.starts_with("duplicate-dnsbl")).collect::<Vec<_>>()
        };
        let zen = "reject_rbl_client zen.spamhaus.org=127.0.0.[2..11]";
        for (client, recipient, want) in [
            (zen, zen, 1),
            ("", &*format!("{zen}, {zen}"), 1),
            (zen, "reject_rbl_client xbl.spamhaus.org=127.0.0.4", 1),
            ("reject_rbl_client zen.spamhaus.org=127.0.0.2", "reject_rbl_client xbl.spamhaus.org=127.0.0.4", 0),
            (&*format!("warn_if_reject {zen}"), zen, 0),
            ("reject_rbl_client a.example=127.0.0.2", "reject_rbl_client a.example=127.0.0.3", 0),
        ] {
            assert_eq!(told(client, recipient).len(), want, "{client} / {recipient}");
        }
        assert!(
            told(zen, "reject_rbl_client xbl.spamhaus.org")[0]
                .contains("is part of zen.spamhaus.org, which is asked already")
        );
    }
}
