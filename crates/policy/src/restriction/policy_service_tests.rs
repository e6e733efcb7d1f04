use crate::testing::{Bench, Script, log, reply};
use crate::{Certificate, Effect, Ledger, Question, Sasl, Tls, speculate};
use smtp::server::Moment;
use std::time::Duration;

fn bench(list: &str, script: Script) -> Bench {
    Bench::new(&[("smtpd_recipient_restrictions", list)], script)
}

/// What a service at `inet:127.0.0.1:10031` was told.
fn requests(bench: &Bench) -> Vec<String> {
    let asked = bench.script.asked.iter().filter_map(|question| match question {
        Question::PolicyService { request, .. } => Some(request.to_string()),
        _ => None,
    });
    asked.collect()
}

fn attribute<'a>(request: &'a str, name: &str) -> &'a str {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap()
}

#[test]
fn answers_are_access_table_results() {
    for (action, expected) in [
        ("OK", "250"),
        ("DUNNO", "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied"),
        ("reject lower case", "554 5.7.1 <u@example.com>: Recipient address rejected: lower case"),
        ("DEFER_IF_PERMIT wait", "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied"),
        ("421 4.7.0 go away", "421 4.7.0 <u@example.com>: Recipient address rejected: go away"),
        ("defer, permit", "450 4.3.2 <u@example.com>: Recipient address rejected: Try again later"),
        ("hash:/x", "451 4.3.5 Server configuration error"),
        ("MAYBE", "451 4.3.5 Server configuration error"),
    ] {
        let script = Script::default().policy("unix:private/p", Ok(action));
        assert_eq!(bench("check_policy_service unix:private/p, reject", script).reply(), expected, "{action}");
    }
    let hold = Script::default().policy("unix:private/p", Ok("HOLD look at it"));
    let decision = bench("check_policy_service unix:private/p", hold).rcpt();
    assert_eq!(decision.effects, [Effect::Hold]);
    let faulty = Script::default().policy("unix:private/p", Ok("FILTER"));
    assert_eq!(
        log(&bench("check_policy_service unix:private/p", faulty).rcpt())[0],
        "warning: access table unix:private/p entry \"policy query\" has FILTER entry without value"
    );
}

#[test]
fn warn_if_reject_holds_for_answers() {
    let script = || Script::default().policy("inet:p:1", Ok("DEFER_IF_PERMIT by policy"));
    let decision = bench("warn_if_reject check_policy_service inet:p:1", script()).rcpt();
    assert_eq!(reply(&decision), "250");
    let line = "reject_warning: 450 4.7.1 <u@example.com>: Recipient address rejected: by policy";
    assert_eq!(log(&decision)[0], line);
}

#[test]
fn a_failure_is_the_default_action() {
    let script = || Script::default().policy("unix:a", Err("connect to a: No\nproblem talking to server a: No"));
    let decision = bench("check_policy_service unix:a", script()).rcpt();
    let expected = "451 4.3.5 <u@example.com>: Recipient address rejected: Server configuration problem";
    assert_eq!(reply(&decision), expected);
    assert_eq!(log(&decision)[..2], ["warning: connect to a: No", "warning: problem talking to server a: No"]);

    let list = "check_policy_service { unix:a, default_action=DUNNO }, reject";
    assert!(bench(list, script()).reply().ends_with("Access denied"));
    let list = "check_policy_service { unix:a, { default_action = 450 4.7.9 try later } }";
    assert_eq!(bench(list, script()).reply(), "450 4.7.9 <u@example.com>: Recipient address rejected: try later");
}

#[test]
fn a_default_action_does_not_begin_again() {
    let values = [
        ("smtpd_restriction_classes", "again"),
        ("again", "check_policy_service { unix:a, default_action=again }"),
        ("smtpd_recipient_restrictions", "again"),
    ];
    let mut bench = Bench::new(&values, Script::default().policy("unix:a", Err("broken")));
    let expected = "451 4.3.5 <u@example.com>: Recipient address rejected: Server configuration problem";
    assert_eq!(bench.reply(), expected);
    assert_eq!(requests(&bench).len(), 2);
}

#[test]
fn all_attributes_are_sent_in_order() {
    let mut bench = Bench::new(
        &[
            ("smtpd_recipient_restrictions", "check_policy_service { inet:p:1, policy_context=here }"),
            ("compatibility_level", "3.12"),
            ("mail_version", "3.12.0"),
            ("stress", "yes"),
        ],
        Script::default(),
    );
    bench.facts.server_address = Some("192.0.2.1".parse().unwrap());
    bench.facts.instance = "1.2.3.4".into();
    bench.facts.size = 200;
    bench.facts.recipient_count = 1;
    bench.facts.queue_id = Some("ABC".into());
    bench.facts.recipient = Some("a\nb@example.com".into());
    bench.facts.sasl = Some(Sasl { method: "PLAIN".into(), username: "user".into(), sender: "s".into() });
    let certificate = Certificate {
        subject_cn: "mx one".into(),
        issuer_cn: "CA+".into(),
        fingerprint: "AA".into(),
        public_key_fingerprint: "BB".into(),
        is_trusted: true,
    };
    bench.facts.tls = Some(Tls {
        protocol: "TLSv1.3".into(),
        cipher: "C".into(),
        bits: 256,
        sni: "mx.example.com".into(),
        certificate: Some(certificate),
    });
    bench.rcpt();
    let expected = "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n\
                    client_address=192.0.2.10\nclient_name=client.example.net\nclient_port=40000\n\
                    reverse_client_name=client.example.net\nserver_address=192.0.2.1\nserver_port=25\n\
                    helo_name=client.example.net\nsender=a@example.org\nrecipient=a?b@example.com\n\
                    recipient_count=0\nqueue_id=ABC\ninstance=1.2.3.4\nsize=200\netrn_domain=\nstress=yes\n\
                    sasl_method=PLAIN\nsasl_username=user\nsasl_sender=s\nccert_subject=mx+20one\nccert_issuer=CA+2B\n\
                    ccert_fingerprint=AA\nccert_pubkey_fingerprint=BB\nencryption_protocol=TLSv1.3\n\
                    encryption_cipher=C\nencryption_keysize=256\ntls_sni=mx.example.com\npolicy_context=here\n\
                    compatibility_level=3.12\nmail_version=3.12.0\n\n";
    assert_eq!(requests(&bench), [expected]);

    // Names in a certificate that nobody trusts are nobody's.
    if let Some(certificate) = bench.facts.tls.as_mut().and_then(|tls| tls.certificate.as_mut()) {
        certificate.is_trusted = false;
    }
    bench.rcpt();
    let untrusted = expected.replace("mx+20one", "").replace("CA+2B", "");
    assert_eq!(requests(&bench).last(), Some(&untrusted));
}

#[test]
fn attributes_follow_the_command() {
    let list = "check_policy_service inet:p:1";
    let values = [
        ("smtpd_delay_reject", "no"),
        ("smtpd_sender_restrictions", list),
        ("smtpd_data_restrictions", list),
        ("smtpd_end_of_data_restrictions", list),
    ];
    for (moment, stage, state, instance, count) in [
        (Moment::Mail, "MAIL", "MAIL", "", "0"),
        (Moment::Data, "DATA", "DATA", "i", "2"),
        (Moment::Data, "BDAT", "DATA", "i", "2"),
        (Moment::EndOfData, "END-OF-MESSAGE", "END-OF-MESSAGE", "i", "2"),
    ] {
        let mut bench = Bench::new(&values, Script::default());
        bench.facts.instance = "i".into();
        bench.facts.recipient_count = 2;
        bench.facts.client.port = 0;
        bench.decide(moment, stage);
        let requests = requests(&bench);
        let told = ["protocol_state", "instance", "recipient_count", "client_port", "server_address"]
            .map(|name| attribute(&requests[0], name));
        assert_eq!(told, [state, instance, count, "unknown", "unknown"], "{stage}");
    }
}

#[test]
fn equal_requests_are_asked_again() {
    let list = "check_policy_service inet:p:1, check_policy_service inet:p:1";
    let mut bench = bench(list, Script::default());
    bench.rcpt();
    let first = requests(&bench);
    assert_eq!((first.len(), &first[0]), (2, &first[1]));
    bench.rcpt();
    let ordinals = bench.script.asked.iter().filter_map(|question| match question {
        Question::PolicyService { ordinal, .. } => Some(*ordinal),
        _ => None,
    });
    assert_eq!(ordinals.collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn nobody_is_asked_ahead_of_time() {
    let bench = bench("check_policy_service inet:p:1, reject_rbl_client bl.example", Script::default());
    let mut ledger = Ledger::default();
    speculate(&bench.plan, Moment::Rcpt, &bench.facts, &bench.state, &mut ledger, &mut Script::silent());
    assert!(!ledger.pending().is_empty());
    assert!(!ledger.pending().iter().any(|question| matches!(question, Question::PolicyService { .. })));
}

#[test]
fn equal_services_are_one() {
    let values = [
        ("smtpd_policy_service_timeout", "5"),
        ("smtpd_client_restrictions", "check_policy_service unix:a, check_policy_service {unix:a, try_limit=2}"),
        (
            "smtpd_recipient_restrictions",
            "check_policy_service { unix:a, timeout=1m request_limit=7 }, check_policy_service inet:[::1]:10031",
        ),
    ];
    let bench = Bench::new(&values, Script::default());
    assert_eq!(bench.problems, []);
    let services = bench.plan.policy_services();
    assert_eq!(services.len(), 3);
    assert_eq!((services[0].server(), services[0].timeout), ("a", Duration::from_secs(5)));
    assert_eq!((services[1].request_limit, services[1].timeout), (7, Duration::from_secs(60)));
    assert_eq!((&*services[2].name, services[2].server()), ("inet:[::1]:10031", "[::1]:10031"));
}

#[test]
fn faulty_arguments_are_named() {
    let prefix = "smtpd_recipient_restrictions: ";
    for (list, message) in [
        ("check_policy_service", "restriction check_policy_service must be followed by transport:server"),
        ("check_policy_service reject", "restriction check_policy_service must be followed by transport:server"),
        (
            "check_policy_service foo:x",
            "restriction check_policy_service: invalid transport name: foo in service: foo:x",
        ),
        (
            "check_policy_service {unix:x, timeout = 1}",
            "restriction check_policy_service: missing '=' after attribute name: \"timeout\"",
        ),
        (
            "check_policy_service {unix:x, colour=1}",
            "restriction check_policy_service: unexpected attribute name: \"colour\"",
        ),
        ("check_policy_service {unix:x, try_limit=x}", "restriction check_policy_service: bad try_limit value \"x\""),
        ("check_policy_service {unix:x", "missing '}' in \"{unix:x\""),
    ] {
        let problems = bench(list, Script::default()).problems;
        assert_eq!(problems[0].message, format!("{prefix}{message}"), "{list}");
        assert!(problems[0].is_error());
    }
}

#[test]
fn a_service_that_was_passed_over_is_no_news() {
    let script = Script::default().policy("unix:a", Err(crate::PolicyService::PASSED_OVER));
    let decision = bench("check_policy_service { unix:a, { default_action = 450 4.7.9 later } }", script).rcpt();
    assert_eq!(reply(&decision), "450 4.7.9 <u@example.com>: Recipient address rejected: later");
    assert_eq!(log(&decision), ["reject: 450 4.7.9 <u@example.com>: Recipient address rejected: later"]);
}

#[test]
fn the_breaker_has_limits() {
    let list = ("smtpd_recipient_restrictions", "check_policy_service unix:a");
    let breaker = |value: &str| {
        let bench = Bench::new(&[("postern_policy_service_breaker", value), list], Script::default());
        let limits = bench.plan.policy_services()[0].breaker.map(|it| (it.failures, it.pause.as_secs()));
        (limits, bench.problems.first().map(|problem| problem.message.clone()))
    };
    assert_eq!(breaker("10, 30s"), (Some((10, 30)), None));
    assert_eq!(breaker("3 2m"), (Some((3, 120)), None));
    assert_eq!(breaker(" "), (None, None));
    for (value, why) in [
        ("10", "need two values instead of \"10\""),
        ("0, 5", "bad number of failures in \"0, 5\""),
        ("5, 0", "bad time in \"5, 0\""),
        ("5, soon", "bad time in \"5, soon\""),
    ] {
        assert_eq!(breaker(value), (None, Some(format!("postern_policy_service_breaker: {why}"))));
    }
}
