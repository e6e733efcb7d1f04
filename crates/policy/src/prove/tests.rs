use super::*;
use crate::testing::{Bench, Config, Script};
use crate::{Plan, TableRegistry};
use std::collections::HashMap;

/// Tables by their specification, as in the script.
struct Lists {
    entries: HashMap<TableId, Vec<TableEntry>>,
}

impl TableContents for Lists {
    fn contents(&mut self, table: TableId) -> Option<Vec<TableEntry>> {
        self.entries.get(&table).cloned()
    }
}

/// `hash:/t` has these pairs, `static:x` is itself, and nothing else can be listed.
fn findings(values: &[(&str, &str)], pairs: &[(&str, &str)]) -> Findings {
    let mut tables = TableRegistry::new();
    let (plan, _) = Plan::compile(&Config::new(values), &mut tables);
    let mut entries = HashMap::new();
    for (number, used) in (0..).zip(tables.specs()) {
        let fixed = |keys, value: &str| TableEntry { keys, value: value.into(), end: None };
        if let Some(value) = used.spec.strip_prefix("static:") {
            entries.insert(TableId(number), vec![fixed(Keys::Every, value)]);
        } else if &*used.spec == "hash:/t" {
            let pairs = pairs.iter().map(|(key, value)| fixed(Keys::Text((*key).into()), value));
            entries.insert(TableId(number), pairs.collect());
        }
    }
    let script = pairs.iter().fold(Script::default(), |script, (key, value)| script.entry("hash:/t", key, value));
    let mut world = script.opened(&tables);
    let terms = Terms { helo_required: true };
    let names = Names::new([203, 0, 113, 77].into());
    plan.prove(terms, &names, &mut Lists { entries }, &mut world)
}

fn summary(values: &[(&str, &str)], pairs: &[(&str, &str)]) -> String {
    let found = findings(values, pairs);
    if !found.concerns.is_empty() {
        return found.concerns.iter().map(|concern| concern.text.as_str()).collect::<Vec<_>>().join("; ");
    }
    match found.closer() {
        Some(list) => {
            let closer = list.closed_by.as_ref().map_or("", |place| &*place.restriction);
            let trusted: Vec<_> = found.trusted().iter().flat_map(|it| it.some.clone()).collect();
            let trusted = if trusted.is_empty() { String::new() } else { format!(" but for {}", trusted.join(", ")) };
            format!("closed by {closer}{trusted}")
        }
        None => {
            let hinges = found.lists.iter().flat_map(|list| &list.ways).flat_map(|way| &way.conditions);
            let hinges: Vec<String> = hinges.filter_map(Condition::hinge).collect();
            hinges.first().cloned().unwrap_or_else(|| "may be open".into())
        }
    }
}

#[test]
fn one_list_is_judged() {
    const CLOSED: &str = "closed by reject_unauth_destination";
    for (list, pairs, expected) in [
        ("permit_mynetworks, reject_unauth_destination", &[][..], CLOSED),
        ("permit_sasl_authenticated, defer_unauth_destination", &[], "closed by defer_unauth_destination"),
        ("warn_if_reject reject_unauth_destination", &[], "may be open"),
        ("permit_auth_destination, reject", &[], "closed by reject"),
        ("defer_if_permit", &[], "closed by defer_if_permit"),
        ("warn_if_reject defer_if_permit", &[], "may be open"),
        ("defer_if_reject", &[], "may be open"),
        ("check_helo_access hash:/t, reject_unauth_destination", &[("localhost", "OK")], "may be open"),
        ("check_helo_access hash:/t, reject_unauth_destination", &[("localhost", "REJECT")], CLOSED),
        ("check_helo_access hash:/t, reject_unauth_destination", &[("localhost", "200")], "may be open"),
        ("check_helo_access hash:/t, reject_unauth_destination", &[("localhost", "450")], "may be open"),
        ("check_helo_access hash:/t, reject_unauth_destination", &[("localhost", "450 no")], CLOSED),
        ("check_helo_access hash:/t, reject_unauth_destination", &[("localhost", "permit")], "may be open"),
        ("check_helo_access hash:/t, reject_unauth_destination", &[("localhost", "easy")], "may be open"),
        ("check_helo_access hash:/t, reject_unauth_destination", &[("localhost", "hard")], CLOSED),
        (
            "check_client_access hash:/t, reject_unauth_destination",
            &[("192.0.2.7", "OK"), ("198.51.100", "easy"), ("203.0.113.1", "DUNNO")],
            "closed by reject_unauth_destination but for 192.0.2.7, 198.51.100",
        ),
        ("check_client_access hash:/t, reject_unauth_destination", &[("partner.example", "OK")], "may be open"),
        ("check_client_access hash:/t, reject_unauth_destination", &[(".203.0.113.9", "OK")], "may be open"),
        ("check_reverse_client_hostname_access hash:/t, reject_unauth_destination", &[("a.example", "OK")], CLOSED),
        ("check_sender_mx_access hash:/t, reject_unauth_destination", &[("a.example", "OK")], CLOSED),
        ("check_recipient_access hash:/t, reject_unauth_destination", &[("postmaster@", "OK")], "may be open"),
        ("check_recipient_access hash:/t, reject_unauth_destination", &[("info@example.com", "OK")], CLOSED),
        ("check_recipient_access hash:/t, reject_unauth_destination", &[("example.com", "OK")], "may be open"),
        ("check_recipient_access hash:/t, reject_unauth_destination", &[("relay.example", "OK")], CLOSED),
        ("check_sender_access static:REJECT", &[], "closed by check_sender_access static:REJECT"),
        ("check_sender_access static:DUNNO", &[], "may be open"),
        ("check_sasl_access static:OK, reject_unauth_destination", &[], CLOSED),
        ("permit_mx_backup, reject_unauth_destination", &[], "may be open"),
        ("permit_dnswl_client a.example, reject_unauth_destination", &[], CLOSED),
        (
            "check_policy_service inet:127.0.0.1:1, reject_unauth_destination",
            &[],
            "what the policy service inet:127.0.0.1:1 answers",
        ),
        (
            "check_sender_access sqlite:/s, reject_unauth_destination",
            &[],
            "what sqlite:/s holds: its contents can't be listed",
        ),
        ("easy, reject_unauth_destination", &[], "may be open"),
        ("hard, permit", &[], "closed by hard"),
    ] {
        let values = [
            ("smtpd_relay_restrictions", list),
            ("relay_domains", "relay.example"),
            ("smtpd_restriction_classes", "easy, hard"),
            ("easy", "reject_unknown_sender_domain, permit"),
            ("hard", "reject_unknown_sender_domain, reject"),
        ];
        assert_eq!(summary(&values, pairs), expected, "{list} {pairs:?}");
    }
}

#[test]
fn what_comes_before_and_after_the_lists_counts() {
    const LIST: (&str, &str) = ("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination");
    const CLOSED: &str = "closed by reject_unauth_destination";
    for (name, value, expected) in [
        ("mynetworks", "127.0.0.0/8, 10.0.0.0/8", CLOSED),
        ("mynetworks", "0.0.0.0/0", "mynetworks holds so many addresses that anybody may be in it"),
        ("mynetworks", "static:all", "mynetworks holds so many addresses that anybody may be in it"),
        ("relay_domains", "a.example, hash:/t", CLOSED),
        ("relay_domains", "com", "relay_domains takes every domain in \"com\""),
        ("relay_domains", "static:all", "relay_domains: static:all has every domain"),
        ("relay_domains", "sqlite:/s", "which domains relay_domains finds in sqlite:/s: its contents can't be listed"),
        ("smtpd_client_restrictions", "permit", CLOSED),
        ("smtpd_delay_reject", "no", CLOSED),
    ] {
        assert_eq!(summary(&[LIST, (name, value)], &[("b.example", "x")]), expected, "{name} = {value}");
    }
    let open = ("smtpd_relay_restrictions", "");
    for (name, value, delay, expected) in [
        ("smtpd_client_restrictions", "permit_sasl_authenticated, reject", "yes", "closed by reject"),
        ("smtpd_client_restrictions", "permit_sasl_authenticated, reject", "no", "closed by reject"),
        ("smtpd_sender_restrictions", "reject_unauth_destination", "yes", CLOSED),
        ("smtpd_sender_restrictions", "reject_unauth_destination", "no", "may be open"),
        ("smtpd_client_restrictions", "defer_if_permit", "no", "may be open"),
        ("smtpd_data_restrictions", "reject", "yes", "closed by reject"),
        ("smtpd_data_restrictions", "reject_unauth_destination", "yes", "may be open"),
    ] {
        let values = [open, (name, value), ("smtpd_delay_reject", delay)];
        assert_eq!(summary(&values, &[]), expected, "{name} = {value}, {delay}");
    }
}

/// What an entry is taken to mean is what the evaluation makes of it.
#[test]
fn values_mean_what_they_do() {
    for value in [
        "OK",
        "ok",
        "RELAY",
        "reject",
        "REJECT no",
        "DUNNO",
        "dunno x",
        "DEFER",
        "DEFER_IF_PERMIT",
        "DEFER_IF_REJECT",
        "HOLD",
        "FILTER smtp:x",
        "PREPEND X: y",
        "INFO x",
        "WARN",
        "HANGUP",
        "550",
        "550 no",
        "450",
        "123",
        "0",
        "99999",
        "250 OK",
        "permit",
        "reject_unauth_destination",
        "easy",
        "hard",
        "nonsense",
        "OK,permit",
        "permit reject",
        ",",
        "check_client_access hash:/x",
        "600 x",
        "4xx no",
        "REDIRECT a@b",
        "OK then",
    ] {
        let values = [
            ("smtpd_relay_restrictions", "check_sender_access hash:/t, reject"),
            ("smtpd_restriction_classes", "easy, hard"),
            ("easy", "permit"),
            ("hard", "reject"),
        ];
        let script = Script::default().entry("hash:/t", "a@example.org", value);
        let decision = Bench::new(&values, script).recipient("u@elsewhere.example").rcpt();
        let accepted = decision.rejection.is_none() && !decision.hang_up;
        let found = summary(&values, &[("a@example.org", value)]);
        assert_eq!(found == "may be open", accepted, "{value}: {found}");
    }
}

/// A class and a table that refer to each other never end, and what never ends is not said to be closed by it.
#[test]
fn a_class_and_a_table_that_refer_to_each_other() {
    let values = [
        ("smtpd_restriction_classes", "sub"),
        ("sub", "check_client_access hash:/t"),
        ("smtpd_relay_restrictions", "sub, reject_unauth_destination"),
    ];
    let found = findings(&values, &[("127.0.0.1", "sub"), ("mail.example.net", "sub"), ("198.51.100", "sub, permit")]);
    assert!(found.lists.iter().any(|list| !list.ways.is_empty() || list.more), "{found:?}");
}
