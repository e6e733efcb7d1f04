use crate::testing::{Bench, Script, log, reply, verified};
use crate::{Effect, PeerName, PeerStatus, Question, Sasl};
use smtp::server::Moment;

fn table(entries: &[(&str, &str)]) -> Script {
    entries.iter().fold(Script::default(), |script, (key, value)| script.entry("hash:/t", key, value))
}

/// The reply text after `rejected: `, or the whole reply.
fn why(mut bench: Bench) -> String {
    let reply = bench.reply();
    reply.split("rejected: ").last().unwrap_or_default().to_owned()
}

/// The keys that were tried.
fn keys(bench: &Bench) -> Vec<&str> {
    let asked = bench.script.asked.iter();
    asked
        .filter_map(|question| match question {
            Question::Table { key, .. } => Some(key.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn senders_are_looked_up_from_the_whole_to_the_part() {
    let script = table(&[
        ("full@example.org", "REJECT full address"),
        ("tag+ext@example.org", "REJECT with extension"),
        ("tag@example.org", "REJECT without extension"),
        ("example.org", "DUNNO"),
        ("parent.example", "REJECT domain"),
        (".dotted.example", "REJECT subdomains only"),
        ("user@", "REJECT user part"),
        ("<>", "REJECT null sender"),
        ("literal@[192.0.2.1]", "REJECT literal"),
        ("[192.0.2.2]", "REJECT literal domain"),
        ("\"quo ted\"@example.org", "REJECT quoted key"),
        ("at@home@example.org", "REJECT two ats"),
    ]);
    let values = [("recipient_delimiter", "+"), ("smtpd_sender_restrictions", "check_sender_access hash:/t")];
    for (sender, expected) in [
        ("full@example.org", "full address"),
        ("FULL@Example.ORG.", "full address"),
        ("full+x@example.org", "full address"),
        ("tag+ext@example.org", "with extension"),
        ("tag+other@example.org", "without extension"),
        ("other@example.org", "250"),
        ("user@example.org", "250"),
        ("user@other.example", "user part"),
        ("user+x@other.example", "user part"),
        ("z@parent.example", "domain"),
        ("z@sub.parent.example", "domain"),
        ("z@dotted.example", "250"),
        ("z@a.b.dotted.example", "250"),
        ("", "null sender"),
        ("literal@[192.0.2.1]", "literal"),
        ("x@[192.0.2.2]", "literal domain"),
        ("quo ted@example.org", "quoted key"),
        ("at@home@example.org", "two ats"),
    ] {
        let bench = Bench::new(&values, script.clone()).sender(sender);
        assert_eq!(why(bench), expected, "{sender}");
    }
    let reply = Bench::new(&values, script).sender("").reply();
    assert_eq!(reply, "554 5.7.1 <>: Sender address rejected: null sender");
}

#[test]
fn keys_come_in_their_order() {
    let values = [("recipient_delimiter", "+"), ("smtpd_sender_restrictions", "check_sender_access hash:/t")];
    let mut bench = Bench::new(&values, Script::default()).sender("a b+x@Sub.Example.Org");
    bench.rcpt();
    assert_eq!(
        keys(&bench),
        [
            "\"a b+x\"@sub.example.org",
            "a b+x@sub.example.org",
            "\"a b\"@sub.example.org",
            "a b@sub.example.org",
            "sub.example.org",
            "example.org",
            "org",
            "\"a b+x\"@",
            "a b+x@",
            "\"a b\"@",
            "a b@",
        ]
    );
    let mut styled = values.to_vec();
    styled.push(("parent_domain_matches_subdomains", ""));
    let mut bench = Bench::new(&styled, Script::default()).sender("a@sub.example.org");
    bench.rcpt();
    assert_eq!(keys(&bench), ["a@sub.example.org", "sub.example.org", ".example.org", ".org", "a@"]);

    let values = [("smtpd_sender_restrictions", "check_sender_access pcre:/t"), values[0]];
    let mut bench = Bench::new(&values, Script::default()).sender("A+x@Sub.Example.Org");
    bench.rcpt();
    assert_eq!(keys(&bench), ["a+x@sub.example.org"]);

    let values = [("smtpd_client_restrictions", "check_client_access hash:/t"), ("recipient_delimiter", "")];
    let mut bench = Bench::new(&values, Script::default()).client("192.0.2.10");
    bench.rcpt();
    assert_eq!(keys(&bench), ["unknown", "192.0.2.10", "192.0.2", "192.0", "192"]);
    let mut bench = Bench::new(&values, Script::default()).client("2001:db8::1");
    bench.facts.client.name = Some(verified("a.example"));
    bench.rcpt();
    assert_eq!(keys(&bench), ["a.example", "example", "2001:db8::1", "2001:db8:", "2001:db8", "2001"]);
    let mut bench = Bench::new(&[("smtpd_client_restrictions", "cidr:/t")], Script::default());
    bench.rcpt();
    assert_eq!(keys(&bench), ["client.example.net", "192.0.2.10"]);
}

#[test]
fn clients_are_looked_up_by_name_and_address() {
    let script = table(&[
        ("client.example.net", "REJECT exact name"),
        ("example.edu", "REJECT domain match"),
        ("198.51.100", "REJECT net24"),
        ("198.51.101.7", "OK"),
        ("unknown", "REJECT unknown name"),
        ("203.0.113.9", "DUNNO"),
        ("liar.example.mil", "REJECT reverse name"),
    ]);
    let values = [("smtpd_client_restrictions", "check_client_access hash:/t")];
    for (address, name, expected) in [
        ("192.0.2.10", "client.example.net", "exact name"),
        ("192.0.2.21", "sub.example.edu", "domain match"),
        ("198.51.100.3", "three.example.tv", "net24"),
        ("198.51.101.7", "seven.example.tv", "250"),
        ("203.0.113.9", "nine.example.tv", "250"),
        ("203.0.113.9", "unknown", "unknown name"),
    ] {
        let mut bench = Bench::new(&values, script.clone()).client(address);
        bench.facts.client.name = Some(verified(name));
        assert_eq!(why(bench), expected, "{address} {name}");
    }
    let values = [("smtpd_client_restrictions", "check_reverse_client_hostname_access hash:/t")];
    let mut bench = Bench::new(&values, script);
    bench.facts.client.name = Some(PeerName {
        name: "unknown".into(),
        reverse: "liar.example.mil".into(),
        name_status: PeerStatus::Forged,
        reverse_status: PeerStatus::Ok,
    });
    assert_eq!(bench.reply(), "554 5.7.1 <liar.example.mil>: Unverified Client host rejected: reverse name");
    bench.facts.client.name = Some(verified("seven.example.tv"));
    bench.facts.client.address = Some("198.51.101.7".parse().unwrap());
    assert_eq!(
        log(&bench.rcpt())[0],
        "warning: restriction check_reverse_client_hostname_access returns OK for seven.example.tv"
    );
    assert_eq!(bench.reply(), "451 4.3.5 Server configuration error");
}

#[test]
fn helo_names_are_looked_up_with_their_parents() {
    let script = table(&[
        ("parent.example", "REJECT parent domain"),
        ("[192.0.2.77]", "REJECT literal"),
        ("192.0.2.78", "REJECT plain address"),
        ("192.0.2", "REJECT no network"),
    ]);
    let values = [("smtpd_helo_restrictions", "check_helo_access hash:/t")];
    for (helo, expected) in [
        ("a.Parent.Example", "parent domain"),
        ("[192.0.2.77]", "literal"),
        ("192.0.2.78", "plain address"),
        ("192.0.2.79", "250"),
        ("foo.", "250"),
    ] {
        assert_eq!(why(Bench::new(&values, script.clone()).helo(helo)), expected, "{helo}");
    }
}

#[test]
fn an_ok_does_not_count_for_sender_routed_recipients() {
    let script = table(&[("relay.example", "OK")]);
    let values = [
        ("relay_domains", "relay.example"),
        ("smtpd_relay_restrictions", "check_recipient_access hash:/t, reject_unauth_destination"),
    ];
    let recipient = "u@elsewhere.example@relay.example";
    let mut bench = Bench::new(&values, script.clone()).recipient(recipient);
    assert_eq!(bench.reply(), format!("554 5.7.1 <{recipient}>: Relay access denied"));
    let listed = table(&[("relay.example", "reject_unauth_pipelining, permit")]);
    let mut bench = Bench::new(&values, listed).recipient(recipient);
    assert_eq!(bench.reply(), format!("554 5.7.1 <{recipient}>: Relay access denied"));
    let trusting = [values[0], values[1], ("allow_untrusted_routing", "yes")];
    assert_eq!(Bench::new(&trusting, script).recipient(recipient).reply(), "250");
}

#[test]
fn logins_are_looked_up_as_they_are() {
    let values = [("smtpd_client_restrictions", "check_sasl_access hash:/t"), ("smtpd_sasl_auth_enable", "yes")];
    let mut bench = Bench::new(&values, table(&[("bad user", "REJECT not you")]));
    assert_eq!(bench.reply(), "250");
    bench.facts.sasl = Some(Sasl { username: "Bad User".into(), ..Sasl::default() });
    assert_eq!(bench.reply(), "554 5.7.1 <Bad_User>: SASL login name rejected: not you");
    let mut off = Bench::new(&values[..1], Script::default());
    assert_eq!(log(&off.rcpt()), ["warning: restriction `check_sasl_access' ignored: no SASL support"]);
}

#[test]
fn tables_that_fail_refuse_for_now() {
    let values = [("smtpd_sender_restrictions", "check_sender_access hash:/t")];
    let script = Script::default().failure("hash:/t", "a@example.org", "hash:/t is unavailable");
    assert_eq!(
        log(&Bench::new(&values, script).rcpt()),
        [
            "warning: hash:/t is unavailable",
            "warning: hash:/t lookup error for \"a@example.org\"",
            "reject: 451 4.3.5 <a@example.org>: Sender address rejected: Server configuration error",
        ]
    );
    assert_eq!(
        log(&Bench::new(&values, table(&[("a@example.org", " ")])).rcpt()),
        [
            "warning: hash:/t lookup of a@example.org returns an empty string result",
            "warning: hash:/t should return NO RESULT in case of NOT FOUND",
            "reject: 451 4.3.5 <a@example.org>: Sender address rejected: Server configuration error",
        ]
    );
}

/// A sender table with one value; the rest of the list refuses.
fn action(value: &str) -> Bench {
    let values =
        [("smtpd_sender_restrictions", "check_sender_access hash:/t, check_sender_access static:{REJECT end of list}")];
    Bench::new(&values, table(&[("a@example.org", value)]))
}

#[test]
fn refusing_actions() {
    for (value, expected) in [
        ("OK", "250"),
        ("OK with text", "250"),
        ("relay", "250"),
        ("210", "250"),
        ("550", "250"),
        ("REJECT", "554 5.7.1 Access denied"),
        ("REJECT   some  text here", "554 5.7.1 some  text here"),
        ("REJECT 5.7.99 own status", "554 5.7.99 own status"),
        ("REJECT 5.7.99", "554 5.7.99 Access denied"),
        ("reject lower case", "554 5.7.1 lower case"),
        ("450 4.2.0 code with status", "450 4.2.0 code with status"),
        ("550 code without status", "550 5.7.1 code without status"),
        ("550 5.1.7 <none> code", "550 5.1.7 <none> code"),
        ("450 5.2.0 digits differ", "450 4.2.0 digits differ"),
        ("DEFER", "450 4.7.1 Access denied"),
        ("DEFER not now", "450 4.7.1 not now"),
        ("DEFER_IF_PERMIT maybe later", "554 5.7.1 end of list"),
        ("DEFER_IF_REJECT rejected but later", "450 4.7.1 rejected but later"),
        ("DEFER_IF_REJECT", "450 4.7.1 Service unavailable"),
        ("DUNNO", "554 5.7.1 end of list"),
        ("reject_unknown_sender_domain, permit", "450 4.1.8 Domain not found"),
    ] {
        let expected = match expected.splitn(3, ' ').collect::<Vec<_>>()[..] {
            [code, status, text] => format!("{code} {status} <a@example.org>: Sender address rejected: {text}"),
            _ => expected.to_owned(),
        };
        assert_eq!(action(value).reply(), expected, "{value}");
    }
    let values = [("smtpd_sender_restrictions", "static:DEFER_IF_PERMIT")];
    let reply = Bench::new(&values, Script::default()).reply();
    assert_eq!(reply, "450 4.7.1 <a@example.org>: Sender address rejected: Service unavailable");
}

#[test]
fn codes_of_actions_can_be_changed() {
    let values = [
        ("access_map_reject_code", "552"),
        ("access_map_defer_code", "451"),
        ("reject_code", "551"),
        ("smtpd_sender_restrictions", "hash:/t, reject"),
    ];
    for (value, code) in
        [("REJECT", "552 5.7.1"), ("reject", "552 5.7.1"), ("defer", "451 4.7.1"), ("DUNNO", "551 5.7.1")]
    {
        let reply = Bench::new(&values, table(&[("a@example.org", value)])).reply();
        assert!(reply.starts_with(code), "{value}: {reply}");
    }
}

#[test]
fn statuses_are_fitted_to_what_is_judged() {
    let decision = action("REJECT 5.1.2 no such domain").rcpt();
    assert_eq!(
        log(&decision),
        [
            "mapping DSN status 5.1.2 into Sender address status 5.1.8",
            "reject: 554 5.1.8 <a@example.org>: Sender address rejected: no such domain",
        ]
    );
}

#[test]
fn actions_on_the_message() {
    let about = |text: &str| format!("<a@example.org>: Sender address {text}");
    for (value, effect, line) in [
        ("HOLD", Effect::Hold, format!("hold: {}", about("triggers HOLD action"))),
        ("HOLD for review", Effect::Hold, format!("hold: {}", about("for review"))),
        ("DISCARD", Effect::Discard, format!("discard: {}", about("triggers DISCARD action"))),
        ("discard silently", Effect::Discard, format!("discard: {}", about("silently"))),
        (
            "FILTER smtp:[127.0.0.1]:2526",
            Effect::Filter("smtp:[127.0.0.1]:2526".into()),
            format!("filter: {}", about("triggers FILTER smtp:[127.0.0.1]:2526")),
        ),
        (
            "REDIRECT other@example.com",
            Effect::Redirect("other@example.com".into()),
            format!("redirect: {}", about("triggers REDIRECT other@example.com")),
        ),
        (
            "BCC copy@example.com",
            Effect::Bcc("copy@example.com".into()),
            format!("bcc: {}", about("triggers BCC copy@example.com")),
        ),
    ] {
        let decision = action(value).rcpt();
        assert_eq!(decision.effects, [effect], "{value}");
        assert_eq!(log(&decision)[0], line);
    }
    let decision = action("PREPEND X-Added: yes").rcpt();
    assert_eq!(decision.effects, [Effect::Prepend("X-Added: yes".into())]);
    assert_eq!(log(&decision).len(), 1);
    assert_eq!(log(&action("INFO just so").rcpt())[0], "info: just so");
    assert_eq!(log(&action("WARN careful").rcpt())[0], "warn: careful");
    let decision = action("HANGUP").rcpt();
    assert!(decision.hang_up && decision.rejection.is_none());
}

#[test]
fn faulty_actions_are_reported_and_ignored() {
    for (value, line) in [
        ("PREPEND no header here", "access table hash:/t entry \"a@example.org\" requires header: text"),
        ("REDIRECT nodomain", "access table hash:/t entry \"a@example.org\" requires user@domain target"),
        ("FILTER nocolon", "access table hash:/t entry \"a@example.org\" requires transport:destination"),
        ("FILTER", "access table hash:/t entry \"a@example.org\" has FILTER entry without value"),
    ] {
        let decision = action(value).rcpt();
        assert_eq!(log(&decision)[0], format!("warning: {line}"));
        assert!(decision.effects.is_empty());
        assert!(reply(&decision).ends_with("end of list"));
    }
    for (value, lines) in [
        ("FROBNICATE", &["warning: unknown smtpd restriction: \"FROBNICATE\""][..]),
        (
            "check_sender_access",
            &["warning: restriction check_sender_access: bad argument \"check_sender_access\": need maptype:mapname"],
        ),
        (
            "check_sender_access hash:/x",
            &[
                "warning: access table hash:/t has entry with lookup table: check_sender_access hash:/x",
                "warning: do not specify lookup tables inside SMTPD access maps",
                "warning: define a restriction class and specify its name instead.",
            ],
        ),
        ("sleep soon", &["warning: restriction sleep must be followed by number"]),
        (
            "reject_maps_rbl",
            &[
                "warning: support for restriction \"reject_maps_rbl\" has been removed in Postfix 3.9; instead, specify \
               \"reject_rbl_client domain-name\"",
            ],
        ),
    ] {
        let mut expected = lines.to_vec();
        expected.push("reject: 451 4.3.5 Server configuration error");
        assert_eq!(log(&action(value).rcpt()), expected, "{value}");
    }
}

#[test]
fn some_actions_have_no_place_everywhere() {
    let script = || table(&[("192.0.2.10", "HOLD"), ("a@example.org", "PREPEND X-A: b"), ("example.org", "HOLD")]);
    let proxy = [("smtpd_proxy_filter", "127.0.0.1:10025"), ("smtpd_client_restrictions", "hash:/t")];
    let line = "warning: access table hash:/t: with smtpd_proxy_filter specified, action HOLD is unavailable";
    assert_eq!(log(&Bench::new(&proxy, script()).rcpt()), [line]);

    let early = [("smtpd_delay_reject", "no"), ("smtpd_client_restrictions", "hash:/t")];
    let mut bench = Bench::new(&early, script());
    bench.facts.sender = None;
    let line = "warning: access table hash:/t: with smtpd_delay_reject=no, action HOLD is always skipped in Client host \
                or Helo command restrictions";
    assert_eq!(log(&bench.decide(Moment::Connect, "CONNECT")), [line]);

    let mut bench = Bench::new(&[("smtpd_etrn_restrictions", "hash:/t")], script());
    bench.facts.etrn_domain = Some("example.org".into());
    let line = "warning: access table hash:/t: action HOLD is unavailable in smtpd_etrn_restrictions";
    assert_eq!(log(&bench.decide(Moment::Etrn, "ETRN")), [line]);

    let mut bench = Bench::new(&[("smtpd_end_of_data_restrictions", "check_sender_access hash:/t")], script());
    let line = "warning: access table hash:/t: action PREPEND must be used before smtpd_end_of_data_restrictions";
    assert_eq!(log(&bench.decide(Moment::EndOfData, "END-OF-MESSAGE")), [line]);
}

#[test]
fn permits_are_logged_as_written_even_those_that_are_not_allowed() {
    let values = [
        ("smtpd_log_access_permit_actions", "static:all"),
        ("smtpd_helo_restrictions", "check_helo_access hash:/h"),
        ("smtpd_sender_restrictions", "check_sender_a_access hash:/a"),
        ("smtpd_recipient_restrictions", "check_recipient_access hash:/r"),
    ];
    let script = Script::default()
        .entry("hash:/h", "client.example.net", "relay by name")
        .dns("b.example", &["A 192.0.2.7"])
        .entry("hash:/a", "192.0.2.7", "Ok")
        .entry("hash:/r", "u%elsewhere@example.com", "OK");
    let helo = "permit: action=relay for Helo command=client.example.net from hash:/h";
    assert_eq!(
        log(&Bench::new(&values, script.clone()).sender("x@b.example").rcpt()),
        [
            helo,
            "permit: action=Ok for Sender address=x@b.example from hash:/a",
            "warning: restriction check_sender_a_access returns OK for x@b.example",
            "warning: this is not allowed for security reasons",
            "warning: use DUNNO instead of OK if you want to make an exception",
            "reject: 451 4.3.5 Server configuration error",
        ]
    );
    let values: Vec<_> = values.into_iter().chain([("allow_percent_hack", "no")]).collect();
    let routed = Bench::new(&values, script).recipient("u%elsewhere@example.com").client("127.0.0.1").rcpt();
    let said = "permit: action=OK for Recipient address=u%elsewhere@example.com from hash:/r";
    assert!(log(&routed).contains(&said.to_owned()), "{:?}", log(&routed));
}
