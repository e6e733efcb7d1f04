use super::*;
use crate::testing::{Bench, Script, log, verified};
use crate::{PeerName, PeerStatus};

fn listed(records: &[(&str, &[&str])]) -> Script {
    records.iter().fold(Script::default(), |script, (name, records)| script.dns(name, records))
}

fn bench(list: &str, script: Script) -> Bench {
    Bench::new(&[("smtpd_recipient_restrictions", list)], script).client("203.0.113.1")
}

#[test]
fn filters_are_read() {
    for (text, good, bad) in [
        ("127.0.0.4", &["127.0.0.4"][..], &["127.0.0.5"][..]),
        ("127.0.0.[2;4..6]", &["127.0.0.2", "127.0.0.4", "127.0.0.6"], &["127.0.0.3", "127.0.0.7"]),
        ("127.[0..255].1.[1;3]", &["127.9.1.3"], &["127.9.1.2"]),
    ] {
        let filter = parse_filter(text).unwrap();
        assert!(good.iter().all(|address| matches_filter(&filter, address.parse().unwrap())), "{text}");
        assert!(!bad.iter().any(|address| matches_filter(&filter, address.parse().unwrap())), "{text}");
    }
    for text in
        ["", "127.0.0", "127.0.0.1.2", "127.0.0.[1", "127.0.0.[5..2]", "127.0.0.256", "127.0.0.0/8", "127.0.0.[]"]
    {
        assert!(parse_filter(text).is_err(), "{text}");
    }
}

#[test]
fn addresses_are_reversed() {
    assert_eq!(reversed("192.0.2.1".parse().unwrap()), "1.2.0.192");
    assert_eq!(
        reversed("2001:db8::1".parse().unwrap()),
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    );
}

#[test]
fn listed_clients_are_refused() {
    let blocked = |text: &str| format!("554 5.7.1 Service unavailable; Client host [203.0.113.1] blocked using {text}");
    let name = "1.113.0.203.bl.example";
    for (list, records, expected) in [
        ("bl.example", &["A 127.0.0.2"][..], blocked("bl.example")),
        ("bl.example", &["A 10.1.2.3"], blocked("bl.example")),
        (
            "bl.example",
            &["A 127.0.0.2", "TXT Listed, see http://bl.example/"],
            blocked("bl.example; Listed, see http://bl.example/"),
        ),
        ("bl.example", &["A 127.0.0.2", "TXT one", "TXT two"], blocked("bl.example; one / two")),
        ("bl.example", &["A 127.0.0.2", "TXT SERVFAIL"], blocked("bl.example")),
        ("bl.example=127.0.0.[2;4..6]", &["A 127.0.0.9", "A 127.0.0.2"], blocked("bl.example")),
        ("bl.example=127.0.0.[2;4..6]", &["A 127.0.0.3"], "250".into()),
        ("bl.example", &["TXT text but no address"], "250".into()),
        ("bl.example", &[], "250".into()),
        ("bl.example", &["A SERVFAIL"], "250".into()),
    ] {
        for word in ["reject_rbl_client", "reject_rbl"] {
            assert_eq!(bench(&format!("{word} {list}"), listed(&[(name, records)])).reply(), expected, "{records:?}");
        }
    }
    let decision = bench("reject_rbl_client bl.example", listed(&[(name, &["A SERVFAIL"])])).rcpt();
    assert_eq!(
        log(&decision),
        ["warning: 1.113.0.203.bl.example: RBL lookup error: 1.113.0.203.bl.example says SERVFAIL"]
    );
}

#[test]
fn names_are_looked_up_in_domain_lists() {
    let script = listed(&[
        ("bad.example.dbl.example", &["A 127.0.1.2", "TXT bad domain"]),
        ("badhelo.example.dbl.example", &["A 127.0.1.3"]),
        ("rcpt.example.dbl.example", &["A 127.0.1.4"]),
        ("host.listed.example.dbl.example", &["A 127.0.1.6"]),
        ("xn--4ca.example.dbl.example", &["A 127.0.1.6"]),
    ]);
    let blocked = |what: &str| format!("554 5.7.1 Service unavailable; {what}");
    let values = |list| [("smtpd_recipient_restrictions", list), ("relay_domains", "rcpt.example")];
    let forged = PeerName {
        name: "unknown".into(),
        reverse: "host.listed.example".into(),
        name_status: PeerStatus::Forged,
        reverse_status: PeerStatus::Ok,
    };
    for (list, expected) in [
        (
            "reject_rhsbl_sender dbl.example",
            blocked("Sender address [a@bad.example] blocked using dbl.example; bad domain"),
        ),
        ("reject_rhsbl_helo dbl.example", blocked("Helo command [badhelo.example] blocked using dbl.example")),
        ("reject_rhsbl_recipient dbl.example", blocked("Recipient address [u@rcpt.example] blocked using dbl.example")),
        ("reject_rhsbl_client dbl.example", "250".into()),
        (
            "reject_rhsbl_reverse_client dbl.example",
            blocked("Unverified Client host [host.listed.example] blocked using dbl.example"),
        ),
    ] {
        let mut bench = Bench::new(&values(list), script.clone())
            .sender("a@bad.example")
            .recipient("u@rcpt.example")
            .helo("badhelo.example");
        bench.facts.client.name = Some(forged.clone());
        assert_eq!(bench.reply(), expected, "{list}");
        bench.facts.client.name = Some(verified("host.listed.example"));
        if list.contains("rhsbl_client") {
            assert_eq!(bench.reply(), blocked("Client host [host.listed.example] blocked using dbl.example"));
        }
    }
    let list = values("reject_rhsbl_sender dbl.example");
    assert!(Bench::new(&list, script.clone()).sender("a@Ä.example").reply().contains("[a@__.example]"));
    for sender in ["", "a@[192.0.2.1]", "a@1.2.3.4", "a@sub.bad.example"] {
        assert_eq!(Bench::new(&list, script.clone()).sender(sender).reply(), "250", "{sender}");
    }
}

#[test]
fn allow_lists_permit_but_do_not_relay() {
    let list = "permit_dnswl_client wl.example, permit_rhswl_client rwl.example, reject";
    let denied = "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied";
    let name = "1.113.0.203.wl.example";
    assert_eq!(bench(list, listed(&[(name, &["A 127.0.0.1"])])).reply(), "250");
    assert_eq!(bench(list, Script::default()).reply(), denied);
    let unsure = "450 4.7.1 <203.0.113.1>: Client host rejected: Service unavailable";
    assert_eq!(bench(list, listed(&[(name, &["SERVFAIL"])])).reply(), unsure);
    let friend =
        listed(&[("friend.example.rwl.example", &["A 127.0.0.1"])]).name("203.0.113.1", verified("friend.example"));
    assert_eq!(bench(list, friend).reply(), "250");

    let values = [("smtpd_relay_restrictions", "permit_dnswl_client wl.example, reject_unauth_destination")];
    let mut foreign = Bench::new(&values, listed(&[(name, &["A 127.0.0.1"])])).client("203.0.113.1");
    foreign = foreign.recipient("u@elsewhere.example");
    assert_eq!(foreign.reply(), "554 5.7.1 <u@elsewhere.example>: Relay access denied");
    assert!(foreign.script.asked.is_empty());
}

#[test]
fn replies_can_be_worded() {
    let name = "1.113.0.203.bl.example";
    let listed = || listed(&[(name, &["A 127.0.0.2", "TXT why"])]);
    let reply = |argument: &str, script: Script| {
        let list = format!("reject_rbl_client {argument}");
        let values = [("smtpd_recipient_restrictions", list.as_str()), ("rbl_reply_maps", "hash:/replies")];
        Bench::new(&values, script).client("203.0.113.1").rcpt()
    };
    let text = |decision: &crate::Decision| decision.rejection.as_ref().unwrap().reply.clone();
    let by_domain = listed().entry(
        "hash:/replies",
        "bl.example",
        "550 5.7.99 $client_address $rbl_what $rbl_reason${rbl_txt:none} from $sender to $recipient_domain by $server_name",
    );
    let expected = "550 5.7.99 203.0.113.1 203.0.113.1 why from a@example.org to example.com by mail.example.com";
    assert_eq!(text(&reply("bl.example", by_domain.clone())), expected);
    let by_argument = by_domain.entry("hash:/replies", "bl.example=127.0.0.2", "450 $rbl_class later");
    assert_eq!(text(&reply("bl.example=127.0.0.2", by_argument)), "450 4.7.1 Client host later");

    let decision = reply("bl.example", listed().entry("hash:/replies", "bl.example", "550 $nosuch"));
    assert_eq!(log(&decision)[0], "warning: rbl_reply_maps: bad rbl reply template for domain bl.example: 550 $nosuch");
    assert!(text(&decision).starts_with("554 5.7.1 Service unavailable; "));
    for template in ["no code", "250 good"] {
        let decision = reply("bl.example", listed().entry("hash:/replies", "bl.example", template));
        assert_eq!(text(&decision), "450 4.7.1 Service unavailable");
    }
    let decision = reply("bl.example", listed().failure("hash:/replies", "bl.example", "down"));
    assert_eq!(text(&decision), "451 4.3.5 Server configuration error");
}

#[test]
fn a_list_without_domain_is_reported_and_passed() {
    let mut bench = bench("reject_rbl_client", Script::default());
    assert_eq!(log(&bench.rcpt()), ["warning: restriction reject_rbl_client requires domain name argument"]);
    assert_eq!(bench.reply(), "250");
}
