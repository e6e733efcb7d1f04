//! Address probes: what servers get to see, what is logged, and what nobody gets.

use super::*;
use policy::Verification;

/// What came of a probe, and the lines about it.
fn probe(lab: &Lab, address: &str) -> (String, Vec<String>) {
    lab.handle.probe(address.into());
    let (asked, found) = lab.probed.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(asked, address);
    (found.told(), lab.until("removed"))
}

fn lab(port: u16) -> Lab {
    let there = format!("127.0.0.1:{port}");
    Lab::new(
        vec![
            ("d.example", format!("smtp:[127.0.0.1]:{port}")),
            ("lmtp.example", format!("lmtp:inet:{there}")),
            ("dead.example", "smtp:[127.0.0.1]:1".into()),
            ("error.example", "error:5.1.2 gone".into()),
            ("retry.example", "retry:4.3.2 later".into()),
            ("discard.example", "discard:away".into()),
            ("h.example", "local:mail.example.com".into()),
        ],
        "address_verify_sender = probe@example.com\nsoft_bounce = no\n",
    )
}

#[test]
fn probes_come_back_from_every_agent() {
    let (port, said) = server(&[("RCPT TO:<bad@", "550 5.1.1 no"), ("RCPT TO:<busy@", "450 4.2.0 busy")]);
    let lab = lab(port);
    let host = "host 127.0.0.1[127.0.0.1] said:";
    let relay = format!("127.0.0.1[127.0.0.1]:{port}");
    for (address, found, tag, line) in [
        (
            "good@d.example",
            "deliverable".to_owned(),
            "smtp",
            format!("relay={relay}, delay=D, delays=D, dsn=2.0.0, status=deliverable (250 2.0.0 Ok)"),
        ),
        (
            "bad@d.example",
            format!("undeliverable: {host} 550 5.1.1 no (in reply to RCPT TO command)"),
            "smtp",
            format!(
                "relay={relay}, delay=D, delays=D, dsn=5.1.1, status=undeliverable ({host} 550 5.1.1 no (in reply to RCPT TO command))"
            ),
        ),
    ] {
        let (told, lines) = probe(&lab, address);
        assert_eq!(told, found);
        assert!(lines[0].starts_with("postfix/cleanup: QID: message-id=<"), "{}", lines[0]);
        assert_eq!(
            lines[1..],
            [
                "postfix/qmgr: QID: from=<probe@example.com>, size=234, nrcpt=1 (queue active)".to_owned(),
                format!("postfix/{tag}: QID: to=<{address}>, {line}"),
                "postfix/qmgr: QID: removed".to_owned(),
            ]
        );
    }
    for (address, found) in [
        ("busy@d.example", format!("deferred: {host} 450 4.2.0 busy (in reply to RCPT TO command)")),
        ("bad@lmtp.example", format!("undeliverable: {host} 550 5.1.1 no (in reply to RCPT TO command)")),
        ("a@dead.example", "deferred: connect to 127.0.0.1[127.0.0.1]:1: Connection refused".to_owned()),
        // It is tried again at once: a probe that meets nobody keeps no mail waiting.
        ("b@dead.example", "deferred: connect to 127.0.0.1[127.0.0.1]:1: Connection refused".to_owned()),
        ("a@error.example", "undeliverable: gone".to_owned()),
        ("a@retry.example", "deferred: later".to_owned()),
        ("a@discard.example", "deliverable".to_owned()),
        ("joe@h.example", "deliverable".to_owned()),
        ("a@nowhere.example", "deferred: address resolver failure".to_owned()),
    ] {
        assert_eq!(probe(&lab, address).0, found, "{address}");
    }
    let said: Vec<String> = said.try_iter().collect();
    assert!(said.contains(&"RSET".to_owned()) && !said.iter().any(|line| line == "DATA"), "{said:?}");
    assert!(!lab.dir.path().join("Maildir/joe").exists(), "nothing is delivered");
}

#[test]
fn an_address_stands_for_what_it_is_rewritten_to() {
    let (port, _) = server(&[]);
    let lab = lab(port);
    lab.handle.probe("joe".into());
    let next = || lab.probed.recv_timeout(Duration::from_secs(20)).unwrap();
    let found: Vec<(String, Verification)> = vec![next(), next()];
    let both: Vec<_> = found.iter().map(|(address, found)| (address.as_str(), found.told())).collect();
    let text = "deferred: address resolver failure".to_owned();
    assert_eq!(both, [("joe@example.com", text.clone()), ("joe", text)]);
}

#[test]
fn there_is_an_end_to_probes() {
    // A server that says nothing keeps the first one under way.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hop = format!("smtp:[127.0.0.1]:{}", silent.local_addr().unwrap().port());
    let lab = Lab::new(vec![("d.example", hop)], "address_verify_pending_request_limit = 1\n");
    lab.handle.probe("a@d.example".into());
    lab.handle.probe("b@d.example".into());
    let (asked, found) = lab.probed.recv_timeout(Duration::from_secs(20)).unwrap();
    let text = "deferred: Too many address verification requests";
    assert_eq!((asked.as_str(), found.told().as_str()), ("b@d.example", text));
    let lines = lab.until("requests)");
    let line = "postfix/error: QID: to=<b@d.example>, relay=none, delay=D, delays=D, dsn=4.3.3, \
                status=undeliverable (Too many address verification requests)";
    assert_eq!(lines.last().map(String::as_str), Some(line));
    drop(silent);
    assert_eq!(lab.probed.recv_timeout(Duration::from_secs(20)).unwrap().0, "a@d.example");
    // There is room again.
    lab.until("removed");
    assert_eq!(probe(&lab, "c@other.example").0, "deferred: address resolver failure");
}
