//! What goes over the wire, and what a filter's answers come to.

use super::*;
use crate::testing::Values;
use std::sync::Arc;

fn filter(default_action: &str) -> Filter {
    let default_action = DefaultAction::parse(default_action).unwrap();
    Filter::new(Arc::new(Settings { name: "inet:h:1".into(), offer: Offer::default(), default_action }))
}

fn negotiated(version: u32, actions: u32, steps: u32, rest: &[u8]) -> (Filter, Result<Vec<String>, Failure>) {
    let mut filter = filter("tempfail");
    let mut data = Vec::new();
    [version, actions, steps].iter().for_each(|number| data.extend(number.to_be_bytes()));
    data.extend(rest);
    let result = filter.negotiated(Packet { command: b'O', data: &data });
    (filter, result)
}

fn ready(steps: u32) -> Filter {
    let (filter, result) = negotiated(6, 0x1ff, steps, b"");
    assert_eq!(result, Ok(Vec::new()));
    filter
}

fn heard(filter: &mut Filter, event: Event, text: &[u8]) -> Result<Heard, Failure> {
    filter.hear(event, Packet::new(text).unwrap())
}

fn refuse(text: &str) -> Option<Verdict> {
    Some(Verdict::Refuse(text.to_owned()))
}

#[test]
fn packets() {
    let mut request = Request::default();
    request.negotiate(Offer::parse("4").unwrap());
    assert_eq!(request.bytes(), b"\0\0\0\x0dO\0\0\0\x04\0\0\x01\xff\0\0\x03\x7f");
    for (name, address, want) in [
        ("a.example", Some("192.0.2.1"), b"\0\0\0\x18Ca.example\x004\x04\xd2192.0.2.1\0".as_slice()),
        ("unknown", Some("192.0.2.1"), b"\0\0\0\x1aC[192.0.2.1]\x004\x04\xd2192.0.2.1\0"),
        ("unknown", Some("2001:db8::1"), b"\0\0\0\x1eC[2001:db8::1]\x006\x04\xd22001:db8::1\0"),
        ("unknown", None, b"\0\0\0\x0aCunknown\0U"),
    ] {
        let mut request = Request::default();
        request.connect(&Client { name, address: address.map(|a| a.parse().unwrap()), port: 1234 });
        assert_eq!(request.bytes(), want, "{}", request.bytes().escape_ascii());
    }
    let mut request = Request::default();
    request.macros(Event::Mail, &[("i".to_owned(), "Q1".to_owned()), ("{x}".to_owned(), "a\0b".to_owned())]);
    request.strings(Event::Mail, ["<a@b>", "SIZE=1"]);
    assert_eq!(request.bytes(), b"\0\0\0\x0fDMi\0Q1\0{x}\0a?b\0\0\0\0\x0eM<a@b>\0SIZE=1\0");
    for (steps, want) in [(0, b"\0\0\0\x05LA\0b\0".as_slice()), (0x10_0000, b"\0\0\0\x06LA\0 b\0")] {
        let mut request = Request::default();
        request.header(b"A", b" b", steps);
        assert_eq!(request.bytes(), want);
    }
    let mut request = Request::default();
    request.body(b"x\r\n");
    request.abort();
    request.quit();
    assert_eq!(request.bytes(), b"\0\0\0\x04Bx\r\n\0\0\0\x01A\0\0\0\x01Q");
}

#[test]
fn lengths_are_bounded() {
    assert_eq!(packet_length([0, 0, 0, 1]), Ok(1));
    assert_eq!(packet_length([0, 16, 0, 0]), Ok(PACKET_LIMIT));
    for (header, want) in [
        ([0, 0, 0, 0], "bad packet length: 0"),
        ([0, 16, 0, 1], "unreasonable packet length: 1048577 > 1048576"),
        ([127, 255, 255, 255], "unreasonable packet length: 2147483647 > 1048576"),
        ([255, 255, 255, 255], "unreasonable packet length: 4294967295 > 1048576"),
    ] {
        assert_eq!(packet_length(header), Err(want.to_owned()));
    }
}

#[test]
fn negotiation() {
    let broken = |text: &str| Err(Failure::Broken(text.to_owned()));
    let odd = |text: &str| Ok(vec![text.to_owned()]);
    for (version, actions, rest, want) in [
        (6, 0x1ff, b"".as_slice(), Ok(Vec::new())),
        (2, 0, b"", Ok(Vec::new())),
        (7, 0, b"", broken("protocol version 7 conflict with MTA protocol version 6")),
        (1, 0, b"", odd("unexpected protocol version 1")),
        (5, 0, b"", odd("unexpected protocol version 5")),
        (6, 0xfff, b"", broken("request mask 0xfff conflict with MTA request mask 0x1ff")),
        (6, 0, b"\0\0\0\x06j {x}\0\0\0\0\x00\0", Ok(Vec::new())),
        (6, 0, b"\0\0\0\x09j\0", odd("ignoring unknown macro type 9")),
        (6, 0, b"\0\0\0\x01j", broken("bad macro list in initial handshake")),
    ] {
        assert_eq!(negotiated(version, actions, 0, rest).1, want);
    }
    let answer = Packet { command: b'c', data: b"" };
    assert_eq!(filter("accept").negotiated(answer), broken("unexpected reply \"c\" in initial handshake"));
    let answer = Packet { command: b'O', data: b"\0\0" };
    let short = Failure::Handshake("input packet too short for network long".to_owned());
    assert_eq!(filter("accept").negotiated(answer), Err(short));
    for text in ["", "5", "6 7", "6, x", "no_header_reply"] {
        assert!(Offer::parse(text).is_err(), "{text}");
    }
    assert_eq!(Offer::parse("3, no_header_reply"), Ok(Offer { version: 3, no_header_reply: true }));
}

#[test]
fn steps_are_skipped_as_agreed() {
    let tell = |is_answered| Turn::Tell { is_answered };
    let (mut old, _) = negotiated(2, 0x1f, 0, b"");
    for (event, want) in [
        (Event::Mail, tell(true)),
        (Event::Data, Turn::Settled(None)),
        (Event::Unknown, Turn::Settled(None)),
        (Event::Header, tell(true)),
    ] {
        assert_eq!(old.turn(event), want, "{event:?}");
    }
    // a version that knows no unanswered steps, and a filter that means them all the same
    let (mut old, _) = negotiated(2, 0x1f, 0x80, b"");
    assert_eq!(old.turn(Event::Header), tell(false));
    // no connect, HELO, body and headers; no answers to MAIL
    let mut picky = ready(0x1 | 0x2 | 0x10 | 0x20 | 0x4000);
    for (event, want) in [
        (Event::Connect, Turn::MacrosOnly),
        (Event::Helo, Turn::MacrosOnly),
        (Event::Mail, tell(false)),
        (Event::Rcpt, tell(true)),
        (Event::Header, Turn::Settled(None)),
        (Event::EndOfHeader, tell(true)),
        (Event::Body, Turn::Settled(None)),
        (Event::EndOfMessage, tell(true)),
    ] {
        assert_eq!(picky.turn(event), want, "{event:?}");
    }
}

#[test]
fn decisions_hold_as_long_as_they_should() {
    // of one recipient
    let mut filter = ready(0);
    filter.turn(Event::Mail);
    assert_eq!(heard(&mut filter, Event::Rcpt, b"r"), Ok(Heard::Done(refuse(Verdict::REJECT))));
    assert_eq!(filter.turn(Event::Rcpt), Turn::Tell { is_answered: true });
    // of a message
    assert_eq!(heard(&mut filter, Event::Rcpt, b"a"), Ok(Heard::Done(None)));
    assert_eq!(filter.turn(Event::Rcpt), Turn::Settled(None));
    assert!(filter.abort());
    assert!(!filter.abort());
    assert_eq!(filter.turn(Event::Mail), Turn::Tell { is_answered: true });
    // of a session
    assert_eq!(heard(&mut filter, Event::Helo, b"t"), Ok(Heard::Over(refuse(Verdict::TEMPFAIL))));
    assert_eq!(filter.turn(Event::Mail), Turn::Settled(refuse(Verdict::TEMPFAIL)));
    assert_eq!(filter.standing(), refuse(Verdict::TEMPFAIL).as_ref());
    let mut filter = ready(0);
    assert_eq!(heard(&mut filter, Event::Mail, b"4"), Ok(Heard::Over(Some(Verdict::Shutdown))));
    assert_eq!(filter.turn(Event::Mail), Turn::Settled(Some(Verdict::Shutdown)));
    let mut filter = ready(0);
    assert_eq!(heard(&mut filter, Event::Connect, b"a"), Ok(Heard::Over(None)));
    assert_eq!((filter.turn(Event::Mail), filter.is_over()), (Turn::Settled(None), true));
}

#[test]
fn answers() {
    let broken = |text: &str| Err(Failure::Broken(text.to_owned()));
    let mut filter = ready(0);
    for (event, packet, want) in [
        (Event::Mail, b"c".as_slice(), Ok(Heard::Done(None))),
        (Event::Body, b"p", Ok(Heard::More)),
        (Event::Mail, b"d", Ok(Heard::Done(Some(Verdict::Discard)))),
        (Event::Connect, b"d", Ok(Heard::Warning("DISCARD action is not allowed for connect or helo"))),
        (Event::Connect, b"4", Ok(Heard::Over(Some(Verdict::Shutdown)))),
        (Event::Rcpt, b"qbecause\0", Ok(Heard::Hold("because".into()))),
        (Event::Rcpt, b"q", Ok(Heard::Hold(String::new()))),
        (Event::Mail, b"y450 4.7.9 100%%\0", Ok(Heard::Done(refuse("450 4.7.9 100%")))),
        (Event::Mail, b"y250 ok\0", Err(Failure::Misconfigured("malformed reply: 250 ok".into()))),
        (Event::Helo, b"hX\0y\0", broken("unexpected filter response SMFIR_ADDHEADER after event SMFIC_HELO")),
        (Event::Mail, b"\xff", broken("unexpected filter response (unknown filter reply) after event SMFIC_MAIL")),
        (Event::Mail, b"s", Ok(Heard::Done(None))),
        (Event::EndOfMessage, b"hX", broken("bad SMFIR_ADDHEADER packet after event SMFIC_BODYEOB")),
        (Event::EndOfMessage, b"m\0\0", broken("bad SMFIR_CHGHEADER packet after event SMFIC_BODYEOB")),
        (
            Event::EndOfMessage,
            b"hX\0y\0",
            Ok(Heard::Edit(Edit::AddHeader { name: b"X".to_vec(), value: b"y".to_vec() })),
        ),
        (
            Event::EndOfMessage,
            b"i\0\0\0\x02X\0y\0",
            Ok(Heard::Edit(Edit::InsertHeader { index: 2, name: b"X".to_vec(), value: b"y".to_vec() })),
        ),
        (
            Event::EndOfMessage,
            b"e<a@b>\0",
            Ok(Heard::Edit(Edit::ChangeSender { address: "<a@b>".into(), arguments: String::new() })),
        ),
        (
            Event::EndOfMessage,
            b"2<a@b>\0NOTIFY=NEVER\0",
            Ok(Heard::Edit(Edit::AddRecipient { address: "<a@b>".into(), arguments: "NOTIFY=NEVER".into() })),
        ),
        (Event::EndOfMessage, b"-<a@b>\0", Ok(Heard::Edit(Edit::DeleteRecipient("<a@b>".into())))),
        (Event::EndOfMessage, b"bx\0y", Ok(Heard::Edit(Edit::ReplaceBody(b"x\0y".to_vec())))),
    ] {
        assert_eq!(heard(&mut filter, event, packet), want, "{}", packet.escape_ascii());
    }
    assert_eq!(heard(&mut filter, Event::Body, b"s"), Ok(Heard::Done(None)));
    assert_eq!(filter.turn(Event::Body), Turn::Settled(None));
    assert_eq!(filter.failed(false), refuse("451 4.7.1 Service unavailable - try again later"));
    assert_eq!(filter.turn(Event::EndOfMessage), Turn::Settled(refuse(Verdict::TEMPFAIL)));
}

#[test]
fn changes_are_bounded() {
    let mut limits = EditLimits { text: 10, count: 2 };
    let edit = Edit::AddHeader { name: b"X".to_vec(), value: b"1234".to_vec() };
    assert!(limits.take(&edit));
    assert!(!limits.take(&Edit::DeleteRecipient("a@example.com".into())));
    assert!(limits.take(&Edit::ReplaceBody(vec![0; 100])));
    assert!(limits.take(&edit));
    assert!(!limits.take(&Edit::DeleteRecipient(String::new())));
}

#[test]
fn macro_lists() {
    let values = [
        ("milter_connect_macros", "j, {client_addr} v"),
        ("milter_macro_defaults", "dflt=value, {if_addr}=10.0.0.1, { x = a b }"),
    ];
    let macros = Macros::compile(&Values(&values)).unwrap();
    assert_eq!(macros.names(Stage::Connect), ["j", "{client_addr}", "v"]);
    assert!(macros.names(Stage::of(Event::Body)).is_empty());
    assert_eq!(macros.default_of("{dflt}"), Some("value"));
    assert_eq!(macros.default_of("if_addr"), Some("10.0.0.1"));
    assert_eq!(macros.default_of("x"), Some("a b"));
    let (own, _) = negotiated(6, 0, 0, b"\0\0\0\0auth_authen {x}\0");
    assert_eq!(own.macro_names(&macros, Event::Connect), ["{auth_authen}", "{x}"]);
    let wrong = [("milter_macro_defaults", "alone")];
    assert_eq!(Macros::compile(&Values(&wrong)), Err("milter_macro_defaults: missing '=' after \"alone\"".to_owned()));
}
