//! What is asked ahead of the client.

use super::*;

#[test]
fn what_can_be_asked_ahead_is_asked_at_once() {
    let values = [
        (
            "smtpd_recipient_restrictions",
            "permit_mynetworks, sleep 5, reject_rbl_client bl.example, reject_rhsbl_helo dbl.example",
        ),
        ("smtpd_sender_restrictions", "reject_unknown_sender_domain"),
    ];
    let mut bench = Bench::new(&values, Script::default()).helo("h.example");
    for (input, useful) in
        [(Input::Client, true), (Input::Helo, true), (Input::Sender, true), (Input::Recipient, false)]
    {
        assert_eq!(bench.plan.asks_about(input), useful, "{input:?}");
    }
    let ahead = |bench: &Bench, moment| {
        let mut ledger = Ledger::default();
        let mut world = Script::silent();
        speculate(&bench.plan, moment, &bench.facts, &bench.state, &mut ledger, &mut world);
        ledger.take_pending()
    };
    let dns = |rtype, name: &str| Question::Dns { rtype, name: name.into() };
    bench.facts.recipient = None;
    let listed = dns(RecordType::A, "10.2.0.192.bl.example");
    let helo = dns(RecordType::A, "h.example.dbl.example");
    assert_eq!(
        ahead(&bench, Moment::Mail),
        [
            dns(RecordType::Mx, "example.org"),
            dns(RecordType::A, "example.org"),
            dns(RecordType::Aaaa, "example.org"),
            listed.clone(),
            dns(RecordType::Txt, "10.2.0.192.bl.example"),
            helo.clone(),
            dns(RecordType::Txt, "h.example.dbl.example"),
        ]
    );
    bench.facts.sender = None;
    let texts = ["10.2.0.192.bl.example", "h.example.dbl.example"].map(|name| dns(RecordType::Txt, name));
    let [listed_text, helo_text] = texts;
    assert_eq!(ahead(&bench, Moment::Helo), [listed, listed_text, helo, helo_text]);
    let trusted = bench.client("127.0.0.1");
    assert_eq!(ahead(&trusted, Moment::Helo), [], "a trusted client causes no look-ups");
}
