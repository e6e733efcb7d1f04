use crate::testing::{Bench, Script};
use config::Severity;

/// Severity, code, message and help of what is wrong with a configuration.
fn problems(values: &[(&str, &str)]) -> Vec<(bool, &'static str, String, String)> {
    let bench = Bench::new(values, Script::default());
    let all = bench.problems.into_iter();
    all.map(|it| (it.severity == Severity::Error, it.code, it.message, it.help.unwrap_or_default())).collect()
}

#[test]
fn the_defaults_are_in_order() {
    assert_eq!(problems(&[]), []);
}

#[test]
fn every_kind_of_mistake_is_named_with_its_remedy() {
    for (list, is_error, code, message, help) in [
        (
            "reject_unknown_sender_domian",
            true,
            "unknown-restriction",
            "unknown smtpd restriction: \"reject_unknown_sender_domian\"",
            "did you mean \"reject_unknown_sender_domain\"?",
        ),
        (
            "frobnicate_everything",
            true,
            "unknown-restriction",
            "unknown smtpd restriction: \"frobnicate_everything\"",
            "",
        ),
        (
            "check_relay_domains",
            true,
            "removed-restriction",
            "support for restriction \"check_relay_domains\" has been removed in Postfix 3.9; instead, specify \
             \"reject_unauth_destination\"",
            "instead, specify \"reject_unauth_destination\"",
        ),
        (
            "permit_naked_ip_address",
            true,
            "removed-restriction",
            "support for restriction \"permit_naked_ip_address\" has been removed in Postfix 3.9; instead, specify \
             \"permit_mynetworks\" or \"permit_sasl_authenticated\"",
            "instead, specify \"permit_mynetworks\" or \"permit_sasl_authenticated\"",
        ),
        (
            "check_sender_access reject",
            true,
            "bad-argument",
            "restriction check_sender_access: bad argument \"reject\": need maptype:mapname",
            "",
        ),
        ("sleep well", true, "bad-argument", "restriction sleep must be followed by number", ""),
        (
            "reject_rbl_client bl.example=127.0.0.[2",
            true,
            "bad-dnsbl-filter",
            "restriction reject_rbl_client: bad filter \"bl.example=127.0.0.[2\": no \"]\" after \"[\"",
            "",
        ),
        (
            "reject_rhsbl_helo bl.example:53",
            true,
            "bad-argument",
            "restriction reject_rhsbl_helo: \"bl.example:53\" is not a domain name",
            "write the domain of the list alone, as in bl.example, or bl.example=127.0.0.2",
        ),
        (
            "reject_rbl_client bl.example=",
            true,
            "bad-dnsbl-filter",
            "restriction reject_rbl_client: bad filter \"bl.example=\": \"\" is not a number from 0 to 255",
            "",
        ),
        ("reject_rbl_client", false, "bad-argument", "restriction reject_rbl_client requires domain name argument", ""),
        (
            "reject_unknown_client",
            false,
            "deprecated-name",
            "\"reject_unknown_client\" is an old name of \"reject_unknown_client_hostname\"",
            "write \"reject_unknown_client_hostname\"",
        ),
        (
            "permit_mx_backup",
            false,
            "deprecated-name",
            "support for restriction \"permit_mx_backup\" will be removed from Postfix",
            "instead, specify \"relay_domains\"",
        ),
        (
            "permit, reject_unauth_pipelining",
            false,
            "unreachable-restriction",
            "restriction `reject_unauth_pipelining' after `permit' is ignored",
            "move \"permit\" to the end of the list, or remove what follows",
        ),
    ] {
        let found = problems(&[("smtpd_sender_restrictions", list)]);
        let expected = (is_error, code, format!("smtpd_sender_restrictions: {message}"), help.to_owned());
        assert_eq!(found, [expected], "{list}");
    }
}

#[test]
fn mistakes_outside_of_lists_are_named_too() {
    for (name, value, is_error, code, message) in [
        (
            "smtpd_restriction_classes",
            "strict",
            true,
            "undefined-class",
            "restriction class `strict' needs a definition",
        ),
        ("reject_code", "250", true, "bad-reply-code", "reject_code: \"250\" is not a reply code between 400 and 599"),
        ("defer_code", "soon", true, "bad-reply-code", "defer_code: \"soon\" is not a reply code between 400 and 599"),
        (
            "unknown_address_tempfail_action",
            "reject",
            true,
            "bad-tempfail-action",
            "bad configuration: unknown_address_tempfail_action = reject",
        ),
        (
            "default_rbl_reply",
            "go away",
            true,
            "bad-rbl-reply",
            "default_rbl_reply: \"go away\" does not start with a 4xx or 5xx reply code",
        ),
        ("mynetworks", "10.1.2.3/8", true, "bad-network", "mynetworks: non-null host address bits in \"10.1.2.3/8\""),
    ] {
        let found = problems(&[(name, value)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0, found[0].1, found[0].2.as_str()), (is_error, code, message));
    }
    let found = problems(&[("smtpd_data_restrictions", "hash:/t")]);
    assert_eq!((found[0].0, found[0].1), (true, "bare-table"));
}

#[test]
fn all_problems_come_at_once_with_their_place() {
    let values = [("smtpd_client_restrictions", "nonsense, permit, reject"), ("reject_code", "1")];
    let bench = Bench::new(&values, Script::default());
    let codes: Vec<_> = bench.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["unknown-restriction", "unreachable-restriction", "bad-reply-code"]);
    assert!(bench.problems.iter().all(|problem| problem.span.is_some()));
}

#[test]
fn open_relays_do_not_start() {
    for (relay, recipient, closed) in [
        ("", "", false),
        ("permit_mynetworks", "permit", false),
        ("permit_mynetworks, reject_unauth_destination", "", true),
        ("", "permit_mynetworks, Reject_Unauth_Destination", true),
        ("permit_mynetworks, defer", "", true),
        ("", "defer_if_permit", true),
        ("warn_if_reject reject_unauth_destination", "", false),
        ("warn_if_reject permit_mynetworks, reject", "", true),
        ("disconnect_if_reject reject_unauth_destination", "", true),
        ("permit, reject", "", false),
        ("closing", "", true),
        ("looping", "", false),
    ] {
        let found = problems(&[
            ("smtpd_relay_restrictions", relay),
            ("smtpd_recipient_restrictions", recipient),
            ("smtpd_restriction_classes", "closing, looping"),
            ("closing", "permit_mynetworks, reject_unauth_destination"),
            ("looping", "looping, permit_mynetworks"),
        ]);
        let open: Vec<_> = found.iter().filter(|problem| problem.1 == "open-relay").collect();
        assert_eq!(open.is_empty(), closed, "{relay} / {recipient}");
        if let [problem] = open[..] {
            assert_eq!(
                problem.2,
                "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working \
                 instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or \
                 check_relay_domains"
            );
        }
    }
}

#[test]
fn words_are_compared_by_their_letters() {
    for (a, b, expected) in [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
        assert_eq!(super::judge::distance(a, b), expected);
    }
}
