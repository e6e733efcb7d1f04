use crate::testing::{Bench, Script, log};
use crate::{Question, TableRegistry};

const BAD: &str = "undeliverable: host mx[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)";
const SAID: &str = "host mx[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)";

fn script() -> Script {
    Script::default()
        .address("bad@d.example", BAD)
        .address("temp@d.example", "deferred: mailbox busy")
        .address("new@d.example", "in progress")
        .address("lost@d.example", "unavailable")
}

fn recipient(address: &str, more: &[(&str, &str)]) -> Bench {
    let mut values =
        vec![("relay_domains", "d.example"), ("smtpd_recipient_restrictions", "reject_unverified_recipient")];
    values.extend(more);
    Bench::new(&values, script()).recipient(address)
}

fn sender(address: &str, more: &[(&str, &str)]) -> Bench {
    let mut values = vec![("smtpd_sender_restrictions", "reject_unverified_sender")];
    values.extend(more);
    Bench::new(&values, script()).sender(address)
}

#[test]
fn what_is_known_of_an_address_decides() {
    let progress = "Address verification in progress";
    for (address, text) in [
        ("good@d.example", String::new()),
        ("bad@d.example", format!("unverified address: {SAID}")),
        ("temp@d.example", "unverified address: mailbox busy".to_owned()),
        ("new@d.example", format!("unverified address: {progress}")),
        ("lost@d.example", "address verification problem".to_owned()),
    ] {
        for (mut bench, class, detail) in
            [(recipient(address, &[]), "Recipient", "1"), (sender(address, &[]), "Sender", "7")]
        {
            let expected = format!("450 4.1.{detail} <{address}>: {class} address rejected: {text}");
            let expected = if text.is_empty() { "250" } else { expected.as_str() };
            assert_eq!(bench.reply(), expected);
        }
    }
    assert_eq!(log(&recipient("lost@d.example", &[]).rcpt())[0], "warning: verify service failure");
    let mut null = sender("", &[]);
    assert_eq!(null.reply(), "250");
    assert!(!null.script.asked.iter().any(|question| matches!(question, Question::Verify { .. })));
}

#[test]
fn codes_and_reasons_are_the_configurations() {
    let values = [
        ("unverified_recipient_reject_code", "550"),
        ("unverified_recipient_defer_code", "250"),
        ("unverified_sender_reject_code", "557"),
        ("unverified_sender_defer_code", "451"),
        ("unverified_sender_reject_reason", "Ask your postmaster"),
    ];
    for (mut bench, expected) in [
        (
            recipient("bad@d.example", &values),
            format!("550 5.1.1 <bad@d.example>: Recipient address rejected: undeliverable address: {SAID}"),
        ),
        (recipient("temp@d.example", &values), "250".to_owned()),
        (recipient("new@d.example", &values), "250".to_owned()),
        (
            sender("bad@d.example", &values),
            "557 5.1.7 <bad@d.example>: Sender address rejected: undeliverable address: Ask your postmaster".to_owned(),
        ),
        (
            sender("temp@d.example", &values),
            "451 4.1.7 <temp@d.example>: Sender address rejected: unverified address: Ask your postmaster".to_owned(),
        ),
        (recipient("bad@d.example", &[("unverified_recipient_reject_code", "250")]), "250".to_owned()),
    ] {
        assert_eq!(bench.reply(), expected);
    }
}

#[test]
fn a_temporary_failure_waits_for_a_better_reason() {
    let list = "reject_unverified_recipient, check_recipient_access hash:/r";
    let values = [("relay_domains", "d.example"), ("smtpd_recipient_restrictions", list)];
    let script = script().entry("hash:/r", "temp@d.example", "REJECT");
    let mut bench = Bench::new(&values, script.clone()).recipient("temp@d.example");
    assert_eq!(bench.reply(), "554 5.7.1 <temp@d.example>: Recipient address rejected: Access denied");
    let at_once = [values[0], values[1], ("unverified_recipient_tempfail_action", "defer")];
    let mut bench = Bench::new(&at_once, script).recipient("temp@d.example");
    let text = "unverified address: mailbox busy";
    assert_eq!(bench.reply(), format!("450 4.1.1 <temp@d.example>: Recipient address rejected: {text}"));
}

#[test]
fn every_time_is_another_question() {
    let mut bench = recipient("bad@d.example", &[]);
    let mut ordinals = Vec::new();
    for _ in 0..2 {
        bench.rcpt();
        ordinals.extend(bench.script.asked.iter().filter_map(|question| match question {
            Question::Verify { address, patience, ordinal } => Some((address.to_string(), patience.polls, *ordinal)),
            _ => None,
        }));
    }
    assert_eq!(ordinals, [("bad@d.example".to_owned(), 3, 0), ("bad@d.example".to_owned(), 3, 1)]);
}

#[test]
fn long_reasons_are_cut() {
    let script = Script::default().address("a@d.example", &format!("deferred: {}", "ä".repeat(200)));
    let values = [("relay_domains", "d.example"), ("smtpd_recipient_restrictions", "reject_unverified_recipient")];
    let reply = Bench::new(&values, script).recipient("a@d.example").reply();
    assert_eq!(reply.matches('ä').count(), 125);
}

#[test]
fn what_cannot_be_is_an_error() {
    for (name, value, message) in [
        ("address_verify_poll_count", "0", "invalid address_verify_poll_count parameter value 0 < 1"),
        ("unverified_sender_defer_code", "550", "bad configuration: unverified_sender_defer_code = 550"),
        ("unverified_recipient_reject_code", "600", "bad configuration: unverified_recipient_reject_code = 600"),
    ] {
        let config = crate::testing::Config::new(&[(name, value)]);
        let (_, problems) = crate::Plan::compile(&config, &mut TableRegistry::new());
        let found: Vec<_> = problems.iter().filter(|problem| problem.is_error()).collect();
        assert!(found.len() == 1 && found[0].message == message, "{problems:?}");
    }
}

#[test]
fn our_own_probes_are_not_probed() {
    let values = [
        ("address_verify_sender", "probe@example.com"),
        ("local_recipient_maps", "hash:/users"),
        ("smtpd_recipient_restrictions", "check_recipient_access static:REJECT"),
    ];
    for (recipient, ttl, is_taken) in [
        ("probe@example.com", "0s", true),
        ("PROBE@example.com", "0s", true),
        ("probe2@example.com", "0s", false),
        ("probe0@example.com", "1h", true),
        ("probe@example.com", "1h", false),
    ] {
        let mut all = values.to_vec();
        all.push(("address_verify_sender_ttl", ttl));
        let reply = Bench::new(&all, Script::default()).recipient(recipient).reply();
        assert_eq!(reply == "250", is_taken, "{recipient} {ttl}: {reply}");
    }
}
