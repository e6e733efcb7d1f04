mod ahead;

use crate::testing::{Bench, Script, log, reply};
use crate::{Effect, Input, Ledger, Question, RecordType, speculate};
use smtp::server::Moment;

const RELAY: (&str, &str) = ("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination");

/// One table for every list.
fn by_list() -> Vec<(&'static str, &'static str)> {
    vec![
        ("smtpd_client_restrictions", "hash:/t"),
        ("smtpd_helo_restrictions", "hash:/t"),
        ("smtpd_sender_restrictions", "hash:/t"),
        RELAY,
        ("smtpd_recipient_restrictions", "hash:/t"),
    ]
}

fn order_script() -> Script {
    Script::default()
        .entry("hash:/t", "203.0.113.1", "REJECT list client")
        .entry("hash:/t", "203.0.113.9", "OK")
        .entry("hash:/t", "h.example", "REJECT list helo")
        .entry("hash:/t", "ok.example", "OK")
        .entry("hash:/t", "s@example.org", "REJECT list sender")
        .entry("hash:/t", "ok@example.org", "OK")
        .entry("hash:/t", "r@example.com", "REJECT list recipient")
        .entry("hash:/t", "r@elsewhere.example", "REJECT list recipient")
}

#[test]
fn the_first_refusing_list_wins() {
    for (client, helo, sender, recipient, expected) in [
        (
            "203.0.113.1",
            "h.example",
            "s@example.org",
            "r@example.com",
            "554 5.7.1 <unknown[203.0.113.1]>: Client host rejected: list client",
        ),
        (
            "192.0.2.10",
            "h.example",
            "s@example.org",
            "r@example.com",
            "554 5.7.1 <h.example>: Helo command rejected: list helo",
        ),
        (
            "192.0.2.10",
            "ok.example",
            "s@example.org",
            "r@elsewhere.example",
            "554 5.7.1 <s@example.org>: Sender address rejected: list sender",
        ),
        (
            "192.0.2.10",
            "ok.example",
            "ok@example.org",
            "r@elsewhere.example",
            "554 5.7.1 <r@elsewhere.example>: Relay access denied",
        ),
        (
            "203.0.113.9",
            "ok.example",
            "ok@example.org",
            "r@example.com",
            "554 5.7.1 <r@example.com>: Recipient address rejected: list recipient",
        ),
        ("203.0.113.9", "ok.example", "ok@example.org", "u@example.com", "250"),
    ] {
        let bench = Bench::new(&by_list(), order_script()).client(client).helo(helo).sender(sender);
        assert_eq!(bench.recipient(recipient).reply(), expected);
    }
}

#[test]
fn the_recipient_list_can_come_first() {
    let values = [
        ("smtpd_relay_before_recipient_restrictions", "no"),
        RELAY,
        ("smtpd_recipient_restrictions", "check_recipient_access hash:/t, permit"),
    ];
    for (recipient, expected) in [
        ("r@elsewhere.example", "554 5.7.1 <r@elsewhere.example>: Recipient address rejected: list recipient"),
        ("u@elsewhere.example", "554 5.7.1 <u@elsewhere.example>: Relay access denied"),
        ("u@example.com", "250"),
    ] {
        assert_eq!(Bench::new(&values, order_script()).recipient(recipient).reply(), expected);
    }
}

#[test]
fn an_ok_in_the_recipient_list_relays_nothing() {
    let values = [RELAY, ("smtpd_recipient_restrictions", "permit")];
    let reply = Bench::new(&values, Script::default()).recipient("u@elsewhere.example").reply();
    assert_eq!(reply, "554 5.7.1 <u@elsewhere.example>: Relay access denied");
}

#[test]
fn everything_is_due_at_rcpt_unless_told_otherwise() {
    let delayed = || Bench::new(&by_list(), order_script()).client("203.0.113.1").helo("h.example");
    for (moment, stage) in [(Moment::Connect, "CONNECT"), (Moment::Helo, "HELO"), (Moment::Mail, "MAIL")] {
        assert!(delayed().decide(moment, stage).rejection.is_none());
    }
    let mut values = by_list();
    values.push(("smtpd_delay_reject", "no"));
    let at_once =
        || Bench::new(&values, order_script()).client("203.0.113.1").helo("h.example").sender("s@example.org");
    for (moment, stage, expected) in [
        (Moment::Connect, "CONNECT", "554 5.7.1 <unknown[203.0.113.1]>: Client host rejected: list client"),
        (Moment::Helo, "HELO", "554 5.7.1 <h.example>: Helo command rejected: list helo"),
        (Moment::Mail, "MAIL", "554 5.7.1 <s@example.org>: Sender address rejected: list sender"),
        (Moment::Rcpt, "RCPT", "250"),
    ] {
        assert_eq!(reply(&at_once().decide(moment, stage)), expected);
    }
}

#[test]
fn what_is_not_known_yet_is_not_judged() {
    let values = [
        ("smtpd_delay_reject", "no"),
        ("smtpd_client_restrictions", "check_sender_access static:reject"),
        ("smtpd_helo_restrictions", "check_recipient_access static:reject"),
        ("smtpd_sender_restrictions", "check_recipient_access static:reject, reject_non_fqdn_recipient"),
    ];
    let mut bench = Bench::new(&values, Script::default());
    bench.facts.sender = None;
    bench.facts.recipient = None;
    assert!(bench.decide(Moment::Connect, "CONNECT").rejection.is_none());
    assert!(bench.decide(Moment::Helo, "HELO").rejection.is_none());
    bench = bench.sender("a@example.org");
    assert!(bench.decide(Moment::Mail, "MAIL").rejection.is_none());
}

#[test]
fn senders_mail_cannot_be_sent_to_are_refused_at_mail() {
    let mut bench = Bench::new(&[], Script::default()).sender("a@-bad-.example");
    bench.facts.recipient = None;
    let decision = bench.decide(Moment::Mail, "MAIL");
    assert_eq!(reply(&decision), "501 5.1.7 Bad sender address syntax");
    assert_eq!(
        log(&decision),
        ["warning: Illegal address syntax from client.example.net[192.0.2.10] in MAIL command: <a@-bad-.example>"]
    );
    assert!(bench.sender("").decide(Moment::Mail, "MAIL").rejection.is_none());
}

#[test]
fn postmaster_is_always_reached() {
    let values = [("smtpd_client_restrictions", "reject")];
    for (recipient, reached) in [("postmaster", true), ("PostMaster", true), ("postmaster@example.com", false)] {
        let reply = Bench::new(&values, Script::default()).recipient(recipient).reply();
        assert_eq!(reply == "250", reached, "{recipient}: {reply}");
    }
}

#[test]
fn the_first_deferral_is_kept_over_all_lists() {
    let values = [
        ("smtpd_helo_restrictions", "reject_unknown_helo_hostname"),
        ("smtpd_sender_restrictions", "reject_unknown_sender_domain"),
        ("smtpd_recipient_restrictions", "permit"),
    ];
    let script = || Script::default().dns("temp.example", &["SERVFAIL"]).dns("temphelo.example", &["SERVFAIL"]);
    let helo = "450 4.7.1 <temphelo.example>: Helo command rejected: Host not found";
    let sender = "450 4.1.8 <a@temp.example>: Sender address rejected: Domain not found";
    let bench = Bench::new(&values, script()).helo("temphelo.example").sender("a@temp.example");
    assert_eq!(bench.clone().reply(), helo);
    let good = Script::default().dns("good.example", &["A 192.0.2.1"]).dns("temp.example", &["SERVFAIL"]);
    assert_eq!(Bench::new(&values, good).helo("good.example").sender("a@temp.example").reply(), sender);

    let mut values = values.to_vec();
    values.push(("smtpd_delay_reject", "no"));
    let mut bench = Bench::new(&values, script()).helo("temphelo.example").sender("a@temp.example");
    for (moment, stage) in [(Moment::Connect, "CONNECT"), (Moment::Helo, "HELO"), (Moment::Mail, "MAIL")] {
        assert!(bench.decide(moment, stage).rejection.is_none());
    }
    assert_eq!(bench.reply(), helo);
    bench.state.reset_transaction();
    let mut next = bench.helo("good.example").sender("");
    assert!(next.decide(Moment::Mail, "MAIL").rejection.is_none());
    assert_eq!(next.reply(), helo, "a deferral of HELO lasts until the next HELO");
}

#[test]
fn both_deferrals_end_a_list() {
    let list = "defer_if_permit, defer_if_reject, reject";
    let mut bench = Bench::new(&[("smtpd_recipient_restrictions", list)], Script::default());
    let expected = "450 4.7.0 <u@example.com>: Recipient address rejected: defer_if_permit requested";
    assert_eq!(bench.reply(), expected);
}

#[test]
fn a_deferred_refusal_lasts_for_one_list() {
    let values = [("smtpd_client_restrictions", "defer_if_reject"), ("smtpd_recipient_restrictions", "reject")];
    let reply = Bench::new(&values, Script::default()).reply();
    assert_eq!(reply, "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied");
}

#[test]
fn warnings_refuse_nothing() {
    let values = [
        ("smtpd_client_restrictions", "warn_if_reject reject_unknown_client_hostname"),
        ("smtpd_helo_restrictions", "warn_if_reject reject_invalid_helo_hostname"),
        ("smtpd_sender_restrictions", "warn_if_reject, reject_unknown_sender_domain"),
        ("smtpd_recipient_restrictions", "warn_if_reject hash:/t, reject"),
        ("smtpd_relay_restrictions", "reject_unauth_destination"),
    ];
    let script = Script::default().entry("hash:/t", "w@example.com", "REJECT would be refused");
    let script = script.dns("temp.example", &["SERVFAIL"]).entry("hash:/t", "d@example.com", "DEFER_IF_PERMIT later");
    let bench = Bench::new(&values, script).client("203.0.113.1").helo("-bad-").sender("a@temp.example");
    let expected = |third: &str| {
        [
            "reject_warning: 450 4.7.25 Client host rejected: cannot find your hostname, [203.0.113.1]".to_owned(),
            "reject_warning: 501 5.5.2 <-bad->: Helo command rejected: Invalid name".to_owned(),
            "reject_warning: 450 4.1.8 <a@temp.example>: Sender address rejected: Domain not found".to_owned(),
            third.to_owned(),
        ]
    };
    let decision = bench.clone().recipient("w@example.com").rcpt();
    let warned = "reject_warning: 554 5.7.1 <w@example.com>: Recipient address rejected: would be refused";
    assert_eq!(log(&decision)[..4], expected(warned));
    assert_eq!(reply(&decision), "554 5.7.1 <w@example.com>: Recipient address rejected: Access denied");
    let decision = bench.recipient("d@example.com").rcpt();
    let warned = "reject_warning: 450 4.7.1 <d@example.com>: Recipient address rejected: later";
    assert_eq!(log(&decision)[..4], expected(warned));
}

#[test]
fn warnings_cover_classes_and_table_values_but_no_errors() {
    let values = [
        ("smtpd_restriction_classes", "strict"),
        ("strict", "reject_non_fqdn_helo_hostname, reject"),
        ("smtpd_recipient_restrictions", "warn_if_reject strict, warn_if_reject hash:/t"),
    ];
    let script = Script::default().entry("hash:/t", "m@example.com", "MAYBE").entry(
        "hash:/t",
        "n@example.com",
        "reject_unauth_pipelining, reject",
    );
    let mut bench = Bench::new(&values, script).helo("short");
    let decision = bench.rcpt();
    assert_eq!(
        log(&decision),
        [
            "reject_warning: 504 5.5.2 <short>: Helo command rejected: need fully-qualified hostname",
            "reject_warning: 554 5.7.1 <u@example.com>: Recipient address rejected: Access denied",
        ]
    );
    assert_eq!(reply(&decision), "250");
    assert_eq!(bench.clone().recipient("n@example.com").reply(), "250");
    let decision = bench.recipient("m@example.com").rcpt();
    assert_eq!(
        log(&decision)[2..],
        ["warning: unknown smtpd restriction: \"MAYBE\"", "reject: 451 4.3.5 Server configuration error"]
    );
}

#[test]
fn prefixes_of_our_own_change_how_a_refusal_counts() {
    for (list, reply, counts) in [
        ("disconnect_if_reject reject", "521 5.7.1 <u@example.com>: Recipient address rejected: Access denied", true),
        ("disconnect_if_reject defer", "421 4.3.2 <u@example.com>: Recipient address rejected: Try again later", true),
        ("no_error_count reject", "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied", false),
        (
            "no_error_count disconnect_if_reject static:REJECT",
            "521 5.7.1 <u@example.com>: Recipient address rejected: Access denied",
            false,
        ),
        (
            "disconnect_if_reject no_error_count strict",
            "521 5.7.1 <u@example.com>: Recipient address rejected: Access denied",
            false,
        ),
        (
            "disconnect_if_reject permit_mynetworks, reject",
            "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied",
            true,
        ),
    ] {
        let values =
            [("smtpd_recipient_restrictions", list), ("smtpd_restriction_classes", "strict"), ("strict", "reject")];
        let rejection = Bench::new(&values, Script::default()).rcpt().rejection.unwrap();
        assert_eq!(rejection.reply, reply, "{list}");
        assert_eq!(!rejection.no_error_count, counts, "{list}");
    }
    let values = [("smtpd_recipient_restrictions", "warn_if_reject disconnect_if_reject reject")];
    let decision = Bench::new(&values, Script::default()).rcpt();
    let line = "reject_warning: 554 5.7.1 <u@example.com>: Recipient address rejected: Access denied";
    assert_eq!((reply(&decision), log(&decision)), ("250".into(), vec![line.to_owned()]));
}

#[test]
fn soft_bounces_are_soft_in_the_log_too() {
    let values = [("smtpd_recipient_restrictions", "reject"), ("soft_bounce", "yes")];
    let decision = Bench::new(&values, Script::default()).rcpt();
    assert_eq!(log(&decision), ["reject: 454 4.7.1 <u@example.com>: Recipient address rejected: Access denied"]);
}

#[test]
fn discard_ends_all_checks_of_the_transaction() {
    let values = [("smtpd_sender_restrictions", "hash:/t"), RELAY, ("local_recipient_maps", "hash:/users")];
    let script = Script::default().entry("hash:/t", "spam@example.org", "DISCARD silently");
    let mut bench = Bench::new(&values, script).sender("spam@example.org").recipient("nobody@example.com");
    let decision = bench.rcpt();
    assert_eq!(decision.effects, [Effect::Discard]);
    assert_eq!(log(&decision), ["discard: <spam@example.org>: Sender address silently"]);
    assert_eq!(reply(&decision), "250");
    assert!(bench.state.is_discarded());
    let mut next = bench.recipient("u@elsewhere.example");
    assert_eq!(next.reply(), "250");
    next.state.reset_transaction();
    assert_eq!(next.sender("a@example.org").reply(), "554 5.7.1 <u@elsewhere.example>: Relay access denied");
}

#[test]
fn hold_is_logged_once_a_message() {
    let values = [("smtpd_sender_restrictions", "static:{HOLD for review}")];
    let mut bench = Bench::new(&values, Script::default());
    let first = bench.rcpt();
    assert_eq!(log(&first), ["hold: <a@example.org>: Sender address for review"]);
    assert_eq!(first.effects, [Effect::Hold]);
    let second = bench.rcpt();
    assert_eq!((log(&second), second.effects), (vec![], vec![Effect::Hold]));
    bench.state.reset_transaction();
    assert_eq!(log(&bench.rcpt()).len(), 1);
}

#[test]
fn classes_are_lists_of_their_own() {
    let values = [
        ("smtpd_restriction_classes", "restrictive, permissive, insiders"),
        ("restrictive", "reject_non_fqdn_helo_hostname"),
        ("permissive", "permit"),
        ("insiders", "check_sender_access hash:/insiders, reject"),
        ("smtpd_recipient_restrictions", "hash:/t, insiders"),
    ];
    let script = Script::default()
        .entry("hash:/t", "joe@example.com", "permissive")
        .entry("hash:/t", "jane@example.com", "restrictive, permit")
        .entry("hash:/t", "undef@example.com", "undefined_class")
        .entry("hash:/insiders", "example.com", "OK");
    let denied = "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied";
    for (sender, recipient, expected) in [
        ("a@example.org", "joe@example.com", "250"),
        (
            "a@example.org",
            "jane@example.com",
            "504 5.5.2 <short>: Helo command rejected: need fully-qualified hostname",
        ),
        ("a@example.org", "undef@example.com", "451 4.3.5 Server configuration error"),
        ("a@example.org", "u@example.com", denied),
        ("a@example.com", "u@example.com", "250"),
    ] {
        let bench = Bench::new(&values, script.clone()).helo("short").sender(sender);
        assert_eq!(bench.recipient(recipient).reply(), expected);
    }
}

#[test]
fn endless_classes_are_an_error() {
    let values = [
        ("smtpd_restriction_classes", "loop"),
        ("loop", "check_sender_access static:loop"),
        ("smtpd_recipient_restrictions", "loop"),
    ];
    let decision = Bench::new(&values, Script::default()).rcpt();
    assert_eq!(reply(&decision), "451 4.3.5 Server configuration error");
    assert_eq!(log(&decision)[0], "warning: access table static:loop entry loop causes unreasonable recursion");
}

#[test]
fn permits_are_logged_where_that_is_asked_for() {
    let values = [
        ("smtpd_log_access_permit_actions", "permit_mynetworks, ok"),
        ("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination"),
        ("smtpd_recipient_restrictions", "hash:/t"),
        ("mynetworks", "192.0.2.0/24"),
    ];
    let script = Script::default().entry("hash:/t", "u@example.com", "OK");
    assert_eq!(
        log(&Bench::new(&values, script).rcpt()),
        [
            "permit: action=permit_mynetworks for Client host=client.example.net[192.0.2.10] ",
            "permit: action=OK for Recipient address=u@example.com from hash:/t",
        ]
    );
}

#[test]
fn etrn_data_and_end_of_data_have_their_own_lists() {
    let values = [
        ("smtpd_client_restrictions", "check_client_access hash:/t"),
        ("smtpd_etrn_restrictions", "permit_mynetworks, hash:/t, reject"),
        ("smtpd_data_restrictions", "check_sender_access hash:/t"),
        ("smtpd_end_of_data_restrictions", "check_sender_access hash:/t, defer_if_permit"),
    ];
    let script = Script::default()
        .entry("hash:/t", "relay.example", "OK")
        .entry("hash:/t", "example.com", "REJECT not this one")
        .entry("hash:/t", "203.0.113.6", "REJECT no client")
        .entry("hash:/t", "bad@example.org", "REJECT sender at data")
        .entry("hash:/t", "hold@example.org", "HOLD");
    let mut bench = Bench::new(&values, script);
    for (client, domain, expected) in [
        ("192.0.2.10", "relay.example", "250"),
        ("192.0.2.10", "example.com", "554 5.7.1 <example.com>: Etrn command rejected: not this one"),
        ("192.0.2.10", "other.example", "554 5.7.1 <other.example>: Etrn command rejected: Access denied"),
        ("203.0.113.6", "relay.example", "554 5.7.1 <unknown[203.0.113.6]>: Client host rejected: no client"),
    ] {
        bench = bench.client(client);
        bench.facts.etrn_domain = Some(domain.into());
        assert_eq!(reply(&bench.decide(Moment::Etrn, "ETRN")), expected);
    }
    bench = bench.sender("bad@example.org");
    let expected = "554 5.7.1 <bad@example.org>: Sender address rejected: sender at data";
    assert_eq!(reply(&bench.decide(Moment::Data, "DATA")), expected);
    bench = bench.sender("a@example.org");
    assert_eq!(reply(&bench.decide(Moment::Data, "DATA")), "250");
    let expected = "450 4.7.0 <END-OF-MESSAGE>: End-of-data rejected: defer_if_permit requested";
    assert_eq!(reply(&bench.decide(Moment::EndOfData, "END-OF-MESSAGE")), expected);
}

#[test]
fn a_bare_table_in_the_data_list_says_too_little() {
    let mut bench = Bench::new(&[("smtpd_data_restrictions", "static:REJECT")], Script::default());
    let decision = bench.decide(Moment::Data, "DATA");
    assert_eq!(reply(&decision), "451 4.3.5 Server configuration error");
    assert_eq!(
        log(&decision)[0],
        "warning: specify one of (check_client_access, check_reverse_client_hostname_access, check_helo_access, \
         check_sender_access, check_recipient_access, check_etrn_access) before Data command restriction \
         \"static:REJECT\""
    );
}

#[test]
fn a_trace_names_every_step() {
    let values = [("smtpd_recipient_restrictions", "permit_mynetworks, hash:/t, reject")];
    let decision = Bench::new(&values, Script::default()).rcpt();
    let steps: Vec<_> = decision.trace.steps.iter().map(|step| format!("{} {}", step.list, step.restriction)).collect();
    assert_eq!(
        steps,
        [
            "smtpd_relay_restrictions permit_mynetworks",
            "smtpd_relay_restrictions permit_sasl_authenticated",
            "smtpd_relay_restrictions defer_unauth_destination",
            "smtpd_recipient_restrictions permit_mynetworks",
            "smtpd_recipient_restrictions hash:/t",
            "smtpd_recipient_restrictions reject",
        ]
    );
}

#[test]
fn too_many_questions_end_in_a_deferral() {
    let mut bench = Bench::new(&[("smtpd_recipient_restrictions", "hash:/t")], Script::default());
    let mut ledger = Ledger::default();
    for ordinal in 0..u32::try_from(Ledger::CEILING).unwrap() {
        ledger.put(Question::Sleep { seconds: 1, ordinal }, crate::Answer::Done);
    }
    let mut world = bench.script.clone();
    let mut ask = crate::Ask { ledger: &mut ledger, world: &mut world };
    let mut evaluation = super::Evaluation::start(Moment::Rcpt, "RCPT");
    let decision = evaluation.run(&bench.plan, &bench.facts, &mut bench.state, &mut ask).unwrap();
    assert_eq!(reply(&decision), "451 4.3.0 Temporary lookup failure");
}
