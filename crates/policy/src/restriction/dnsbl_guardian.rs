//! Does a DNS list deserve belief (`postern_dnsbl_guardian`)? A list that refuses to answer and says so by an address in
//! 127.255.255.0/24 has listed nobody, and one that lists what RFC 5782 forbids it to list would list everybody.
//!
//! Only what a list says about a client is doubted: one that lists nobody does no harm.

use super::dnsbl::{Dnsbl, Kind, reversed};
use crate::context::Context;
use crate::decision::LogEntry;
use crate::ledger::Suspend;
use crate::question::{DnsAnswer, DnsStatus, RecordType};
use std::net::{IpAddr, Ipv4Addr};

/// A DNS list that a policy asks, with its tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsList {
    /// Its domain, in lower case.
    pub domain: String,
    /// It is asked for names, not for addresses.
    pub has_names: bool,
    /// What it should have: 127.0.0.2, or the name `test`.
    pub expected: String,
    /// What it must not have.
    pub forbidden: String,
}

impl DnsList {
    /// The list of a restriction.
    pub(crate) fn of(restriction: &str, list: &Dnsbl) -> Self {
        let has_names = restriction.contains("_rhs");
        let kind = if has_names { Kind::Name } else { Kind::Address };
        let domain = list.domain().to_ascii_lowercase();
        let point = if has_names { "test".into() } else { reversed(Ipv4Addr::new(127, 0, 0, 2).into()) };
        let expected = format!("{point}.{domain}");
        let forbidden = forbidden(list, kind, None).to_ascii_lowercase();
        Self { domain, has_names, expected, forbidden }
    }
}

/// The name that a list must not have (RFC 5782, sections 2.3, 2.4 and 5): 127.0.0.1 in the family of addresses that is
/// looked up, or the name `invalid`.
fn forbidden(list: &Dnsbl, kind: Kind, client: Option<IpAddr>) -> String {
    let point = match (kind, client) {
        (Kind::Name, _) => "invalid".into(),
        (Kind::Address, Some(IpAddr::V6(_))) => reversed(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()),
        (Kind::Address, _) => reversed(Ipv4Addr::LOCALHOST.into()),
    };
    format!("{point}.{}", list.domain())
}

/// Running ahead: the list's test is asked beside the query itself.
pub(super) fn ask_ahead(context: &mut Context<'_, '_>, list: &Dnsbl, kind: Kind) {
    if context.plan.dnsbl.guardian {
        let point = forbidden(list, kind, context.facts.client.address);
        context.ahead(&[RecordType::A], &point);
    }
}

/// The list has this answer to this query. Is that worth nothing?
pub(super) fn is_false(
    context: &mut Context<'_, '_>,
    list: &Dnsbl,
    kind: Kind,
    query: &str,
    answer: &DnsAnswer,
) -> Result<bool, Suspend> {
    if !context.plan.dnsbl.guardian {
        return Ok(false);
    }
    let domain = list.domain();
    // Who writes a filter has said which answers count.
    if !list.has_filter()
        && let Some(code) = refusal(answer)
    {
        let text = format!("{domain} refuses queries from here, by the answer {code}: nobody counts as listed");
        context.log.push(LogEntry::WarningOnce(text));
        return Ok(true);
    }
    let point = forbidden(list, kind, context.facts.client.address);
    if point.eq_ignore_ascii_case(query) {
        return Ok(false);
    }
    let test = context.dns(RecordType::A, &point)?;
    let lies = test.status == DnsStatus::Ok && list.matches(&test);
    if lies {
        let what = if kind == Kind::Name { "the domain \"invalid\"" } else { "127.0.0.1" };
        let text = format!("{domain} lists {what}, so it would list everybody: nobody counts as listed");
        context.log.push(LogEntry::WarningOnce(text));
    }
    Ok(lies)
}

/// The answer is an error code and nothing else.
fn refusal(answer: &DnsAnswer) -> Option<Ipv4Addr> {
    let mut addresses = answer.addresses();
    let is_code = |address: &IpAddr| matches!(address, IpAddr::V4(v4) if v4.octets()[..3] == [127, 255, 255]);
    match addresses.next().filter(is_code) {
        Some(IpAddr::V4(code)) if addresses.all(|address| is_code(&address)) => Some(code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script, log, reply, verified};
    use crate::{Ledger, Question, speculate};
    use smtp::server::Moment;

    const QUERY: &str = "1.113.0.203.bl.example";
    const POINT: &str = "1.0.0.127.bl.example";

    fn bench(guardian: &str, list: &str, records: &[(&str, &[&str])]) -> Bench {
        let script = records.iter().fold(Script::default(), |script, (name, records)| script.dns(name, records));
        let script = script.name("203.0.113.1", verified("a.client.example"));
        let values = [("postern_dnsbl_guardian", guardian), ("smtpd_recipient_restrictions", list)];
        Bench::new(&values, script).client("203.0.113.1")
    }

    #[test]
    fn a_list_that_lists_everybody_is_not_believed() {
        let listed = "554 5.7.1 Service unavailable; Client host [203.0.113.1] blocked using bl.example";
        let everybody = "warning: bl.example lists 127.0.0.1, so it would list everybody: nobody counts as listed";
        for (list, test, expected, logged) in [
            ("reject_rbl_client bl.example", &[][..], listed, ""),
            ("reject_rbl_client bl.example", &["A 127.0.0.2"], "250", everybody),
            ("reject_rbl_client bl.example", &["A 192.0.2.80"], "250", everybody),
            // an answer that the filter doesn't count is none
            ("reject_rbl_client bl.example=127.0.0.2", &["A 127.0.0.9"], listed, ""),
            ("reject_rbl_client bl.example=127.0.0.2", &["A 127.0.0.2"], "250", everybody),
            // nothing is known against it
            ("reject_rbl_client bl.example", &["A SERVFAIL"], listed, ""),
            ("permit_dnswl_client bl.example, reject", &[], "250", ""),
            (
                "permit_dnswl_client bl.example, reject",
                &["A 127.0.0.2"],
                "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied",
                everybody,
            ),
        ] {
            let records = [(QUERY, &["A 127.0.0.2"][..]), (POINT, test)];
            let decision = bench("yes", list, &records).rcpt();
            assert_eq!(reply(&decision), expected, "{list} {test:?}");
            let warnings: Vec<String> = log(&decision).into_iter().filter(|l| l.starts_with("warning: ")).collect();
            assert_eq!(warnings.concat(), logged, "{list} {test:?}");
            let strict = bench("no", list, &records).rcpt();
            assert_eq!(reply(&strict), if list.starts_with("permit") { "250" } else { listed });
        }
    }

    #[test]
    fn a_refused_query_lists_nobody() {
        let listed = "554 5.7.1 Service unavailable; Client host [203.0.113.1] blocked using bl.example";
        for (list, answer, expected) in [
            ("bl.example", &["A 127.255.255.254"][..], "250"),
            ("bl.example", &["A 127.255.255.252", "A 127.255.255.255"], "250"),
            ("bl.example", &["A 127.255.255.254", "A 127.0.0.2"], listed),
            ("bl.example", &["A 127.255.254.1"], listed),
            ("bl.example=127.255.255.254", &["A 127.255.255.254"], listed),
        ] {
            let decision = bench("yes", &format!("reject_rbl_client {list}"), &[(QUERY, answer)]).rcpt();
            assert_eq!(reply(&decision), expected, "{list} {answer:?}");
        }
        let decision = bench("yes", "reject_rbl_client bl.example", &[(QUERY, &["A 127.255.255.254"])]).rcpt();
        let line =
            "warning: bl.example refuses queries from here, by the answer 127.255.255.254: nobody counts as listed";
        assert_eq!(log(&decision), [line]);
        let strict = bench("no", "reject_rbl_client bl.example", &[(QUERY, &["A 127.255.255.254"])]).rcpt();
        assert_eq!(reply(&strict), listed);
    }

    #[test]
    fn each_kind_of_list_has_its_test() {
        let name = [("a.client.example.bl.example", &["A 127.0.0.2"][..])];
        let mut names = bench("yes", "reject_rhsbl_client bl.example", &name);
        names.rcpt();
        let mut six = bench(
            "yes",
            "reject_rbl_client bl.example",
            &[("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example", &["A 127.0.0.2"])],
        )
        .client("2001:db8::1");
        six.rcpt();
        let asked = |bench: &Bench, name: &str| {
            bench
                .script
                .asked
                .iter()
                .any(|question| matches!(question, Question::Dns { name: asked, .. } if **asked == *name))
        };
        assert!(asked(&names, "invalid.bl.example"), "{:?}", names.script.asked);
        let point = "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.bl.example";
        assert!(asked(&six, point), "{:?}", six.script.asked);
        // the test itself is a client like any other
        let mut local = bench("yes", "reject_rbl_client bl.example", &[(POINT, &["A 127.0.0.2"])]).client("127.0.0.1");
        assert!(local.reply().starts_with("554 "));
    }

    #[test]
    fn the_lists_of_a_policy_are_known() {
        let list = "reject_rbl_client BL.example=127.0.0.2, warn_if_reject reject_rhsbl_sender dbl.example, \
                    reject_rbl_client bl.example, permit_dnswl_client wl.example";
        let lists = bench("yes", list, &[]).plan.dns_lists();
        let told: Vec<_> = lists.iter().map(|it| (&*it.domain, it.has_names, &*it.expected, &*it.forbidden)).collect();
        let expected = [
            ("bl.example", false, "2.0.0.127.bl.example", "1.0.0.127.bl.example"),
            ("dbl.example", true, "test.dbl.example", "invalid.dbl.example"),
            ("wl.example", false, "2.0.0.127.wl.example", "1.0.0.127.wl.example"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_test_is_asked_ahead() {
        for (guardian, expected) in [("yes", true), ("no", false)] {
            let bench = bench(guardian, "reject_rbl_client bl.example", &[]);
            let mut ledger = Ledger::default();
            speculate(&bench.plan, Moment::Rcpt, &bench.facts, &bench.state, &mut ledger, &mut Script::silent());
            let is_asked = |question: &Question| matches!(question, Question::Dns { name, .. } if **name == *POINT);
            assert_eq!(ledger.pending().iter().any(is_asked), expected);
        }
    }
}
