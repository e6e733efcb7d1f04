use super::*;
use crate::Body;
use crate::client::TransactionRecipient;

const PEER: &str = "mx.example[192.0.2.25]";

fn transaction(recipients: &[&str]) -> Transaction {
    Transaction {
        sender: "s@example.org".into(),
        recipients: recipients
            .iter()
            .map(|r| TransactionRecipient { address: (*r).into(), ..Default::default() })
            .collect(),
        size: 100,
        ..Default::default()
    }
}

fn session(lmtp: bool) -> ClientSession {
    ClientSession::new(Arc::new(ClientSettings::new("mail.example.com", lmtp)), PEER, 0)
}

fn output(session: &mut ClientSession) -> String {
    let text = String::from_utf8(session.output().to_vec()).unwrap();
    session.sent(0, text.len());
    text
}

/// `S:` is what the server says, `C:` what the client must have sent by then.
fn dialog(session: &mut ClientSession, lines: &str) {
    let mut sent = String::new();
    for line in lines.lines() {
        sent += &output(session);
        if let Some(said) = line.strip_prefix("S: ") {
            session.receive(0, format!("{said}\r\n").as_bytes());
        } else if let Some(want) = line.strip_prefix("C: ") {
            let (first, rest) = sent.split_once("\r\n").unwrap_or_else(|| panic!("nothing sent for {want}"));
            assert_eq!(first, want);
            sent = rest.to_owned();
        }
    }
    assert_eq!(sent + &output(session), "");
}

fn events(session: &mut ClientSession) -> Vec<ClientEvent> {
    std::iter::from_fn(|| session.poll()).collect()
}

fn finished(session: &mut ClientSession) -> Vec<Result<String, (bool, String, String)>> {
    for event in events(session) {
        if let ClientEvent::Finished(results) = event {
            return results.into_iter().map(|r| r.map_err(|f| (f.permanent, f.dsn, f.reason))).collect();
        }
    }
    panic!("not finished")
}

const HELLO: &str = "S: 220 mx.example ESMTP\nC: EHLO mail.example.com\n";

#[test]
fn pipelined_with_a_mixed_bag_of_recipients() {
    let mut s = session(false);
    let hello = "S: 250-mx.example\nS: 250-PIPELINING\nS: 250-SIZE 1000\nS: 250-DSN\nS: 250 8BITMIME";
    dialog(&mut s, &format!("{HELLO}{hello}"));
    assert_eq!(events(&mut s), [ClientEvent::Ready]);
    assert_eq!(s.server_name(), "mx.example");
    let mut t = transaction(&["a b@x", "bad@x", "later@x"]);
    t.recipients[0].notify = "FAILURE,DELAY".into();
    t.recipients[0].orcpt = Some("rfc822;a+b@x".into());
    (t.body, t.ret, t.envid) = (Body::EightBitMime, Some("HDRS"), Some("id=1".into()));
    s.start(0, &t);
    dialog(
        &mut s,
        "C: MAIL FROM:<s@example.org> SIZE=100 BODY=8BITMIME ENVID=id+3D1 RET=HDRS\n\
         C: RCPT TO:<\"a b\"@x> ORCPT=rfc822;a+2Bb@x NOTIFY=FAILURE,DELAY\n\
         C: RCPT TO:<bad@x>\n\
         C: RCPT TO:<later@x>\n\
         C: DATA\n\
         S: 250 ok\nS: 250 ok\nS: 550-5.1.1 no\nS: 550 5.1.1 such user\nS: 450 later\nS: 354 go",
    );
    assert_eq!(events(&mut s), [ClientEvent::SendContent]);
    s.content(b"Subject: x\n\n.dot\nend");
    s.end_content();
    dialog(&mut s, "C: Subject: x\nC: \nC: ..dot\nC: end\nC: .\nS: 250 2.0.0 Ok: queued as ABC");
    assert_eq!(
        finished(&mut s),
        [
            Ok("250 2.0.0 Ok: queued as ABC".into()),
            Err((
                true,
                "5.1.1".into(),
                format!("host {PEER} said: 550-5.1.1 no 550 5.1.1 such user (in reply to RCPT TO command)")
            )),
            Err((false, "4.0.0".into(), format!("host {PEER} said: 450 later (in reply to RCPT TO command)"))),
        ]
    );
    assert!(s.is_usable());
    s.start(0, &transaction(&["c@x"]));
    dialog(
        &mut s,
        "C: MAIL FROM:<s@example.org> SIZE=100\nC: RCPT TO:<c@x>\nC: DATA\nS: 452 full\nS: 503 no\nS: 503 no",
    );
    let full = format!("host {PEER} said: 452 full (in reply to MAIL FROM command)");
    assert_eq!(finished(&mut s), [Err((false, "4.0.0".into(), full))]);
    s.quit(0);
    dialog(&mut s, "C: QUIT\nS: 221 bye");
    assert_eq!(events(&mut s), [ClientEvent::Closed]);
}

#[test]
fn an_old_server_gets_one_command_at_a_time() {
    let mut s = session(false);
    dialog(&mut s, &format!("{HELLO}S: 500 what\nC: HELO mail.example.com\nS: 250 old"));
    s.start(0, &transaction(&["a@x", "b@x"]));
    dialog(
        &mut s,
        "C: MAIL FROM:<s@example.org>\nS: 250 ok\nC: RCPT TO:<a@x>\nS: 550 no\nC: RCPT TO:<b@x>\nS: 250 ok\nC: DATA\nS: 354 go",
    );
    s.content(b"x\n");
    s.end_content();
    dialog(&mut s, "C: x\nC: .\nS: 554 5.7.1 spam");
    let results = finished(&mut s);
    let spam = format!("host {PEER} said: 554 5.7.1 spam (in reply to end of DATA command)");
    assert_eq!(results[1], Err((true, "5.7.1".into(), spam)));
    s.start(0, &transaction(&["c@x"]));
    dialog(&mut s, "C: MAIL FROM:<s@example.org>\nS: 250 ok\nC: RCPT TO:<c@x>\nS: 550 no");
    assert!(finished(&mut s)[0].is_err());
    s.start(0, &transaction(&["d@x"]));
    dialog(&mut s, "C: RSET\nS: 250 ok\nC: MAIL FROM:<s@example.org>\nS: 250 ok\nC: RCPT TO:<d@x>");
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let mut s = session(true);
    dialog(&mut s, "S: 220 lmtp\nC: LHLO mail.example.com\nS: 250-x\nS: 250 PIPELINING");
    s.start(0, &transaction(&["a@x", "b@x", "c@x"]));
    dialog(
        &mut s,
        "C: MAIL FROM:<s@example.org>\nC: RCPT TO:<a@x>\nC: RCPT TO:<b@x>\nC: RCPT TO:<c@x>\nC: DATA\n\
         S: 250 ok\nS: 250 ok\nS: 550 5.1.1 no\nS: 250 ok\nS: 354 go",
    );
    s.content(b"x\n");
    s.end_content();
    dialog(&mut s, "C: x\nC: .\nS: 250 2.0.0 a\nS: 452 4.2.2 over quota");
    let results = finished(&mut s);
    assert_eq!(results[0], Ok("250 2.0.0 a".into()));
    let quota = format!("host {PEER} said: 452 4.2.2 over quota (in reply to end of DATA command)");
    assert_eq!(results[2], Err((false, "4.2.2".into(), quota)));
}

#[test]
fn an_unwanted_go_ahead_gets_an_empty_message() {
    let mut s = session(false);
    dialog(&mut s, &format!("{HELLO}S: 250-x\nS: 250 PIPELINING"));
    s.start(0, &transaction(&["a@x"]));
    dialog(
        &mut s,
        "C: MAIL FROM:<s@example.org>\nC: RCPT TO:<a@x>\nC: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 250 ok",
    );
    assert!(finished(&mut s)[0].is_err());
    assert!(s.is_usable());
}

#[test]
fn refusals_at_the_door() {
    for (said, permanent, dsn) in [("554 5.7.1 go away", false, "4.7.1"), ("421 4.3.2 busy", false, "4.3.2")] {
        let mut s = session(false);
        s.receive(0, format!("{said}\r\n").as_bytes());
        let reason = format!("host {PEER} refused to talk to me: {said}");
        let failure = Failure { permanent, dsn: dsn.into(), reason, reply: Some(said.into()), site: true };
        assert_eq!(events(&mut s), [ClientEvent::Failed(failure), ClientEvent::Closed]);
    }
    let mut s = session(false);
    dialog(&mut s, &format!("{HELLO}S: 550 no\nC: HELO mail.example.com\nS: 550 5.7.1 no"));
    let events = events(&mut s);
    assert!(matches!(&events[0], ClientEvent::Failed(f) if f.permanent && f.dsn == "5.7.1"), "{events:?}");
}

#[test]
fn lost_connections_and_time_limits_say_where() {
    let at = |lines: &str| {
        let mut s = session(false);
        dialog(&mut s, lines);
        s
    };
    let mut s = at("");
    assert_eq!(s.poll_timeout(), Some(300_000));
    s.handle_timeout(299_999);
    assert_eq!(events(&mut s), []);
    s.handle_timeout(300_000);
    let reason = format!("conversation with {PEER} timed out while receiving the initial server greeting");
    assert!(matches!(&events(&mut s)[0], ClientEvent::Failed(f) if f.reason == reason && f.dsn == "4.4.2"));

    let mut s = at(HELLO);
    s.connection_lost();
    let reason = format!("lost connection with {PEER} while performing the EHLO handshake");
    assert!(matches!(&events(&mut s)[0], ClientEvent::Failed(f) if f.reason == reason));

    let envelope = "C: MAIL FROM:<s@example.org>\nC: RCPT TO:<a@x>\nC: DATA\n";
    for (replies, content, activity) in [
        ("", false, "sending MAIL FROM"),
        ("S: 250 ok\n", false, "sending RCPT TO"),
        ("S: 250 ok\nS: 250 ok\n", false, "sending DATA command"),
        ("S: 250 ok\nS: 250 ok\nS: 354 go", false, "sending message body"),
        ("S: 250 ok\nS: 250 ok\nS: 354 go", true, "sending end of data -- message may be sent more than once"),
    ] {
        let mut s = at(&format!("{HELLO}S: 250-x\nS: 250 PIPELINING"));
        s.start(0, &transaction(&["a@x"]));
        dialog(&mut s, &format!("{envelope}{replies}"));
        if content {
            s.content(b"x\n");
            s.end_content();
        }
        s.connection_lost();
        let reason = format!("lost connection with {PEER} while {activity}");
        assert_eq!(finished(&mut s), [Err((false, "4.4.2".into(), reason))]);
        assert!(!s.is_usable());
    }
}

#[test]
fn nonsense_and_421_end_the_session_without_harm() {
    let mut s = session(false);
    dialog(&mut s, HELLO);
    s.receive(0, b"HTTP/1.1 400 Bad Request\r\n");
    let events_seen = events(&mut s);
    assert!(matches!(&events_seen[0], ClientEvent::Failed(f) if !f.permanent && f.dsn == "4.5.0"), "{events_seen:?}");

    let mut s = session(false);
    dialog(&mut s, &format!("{HELLO}S: 250 x"));
    s.start(0, &transaction(&["a@x"]));
    dialog(&mut s, "C: MAIL FROM:<s@example.org>\nS: 421 4.3.2 closing");
    let closing = format!("host {PEER} said: 421 4.3.2 closing (in reply to MAIL FROM command)");
    assert_eq!(finished(&mut s), [Err((false, "4.3.2".into(), closing))]);
    assert!(!s.is_usable());
}

#[test]
fn what_the_server_cannot_take_is_not_sent() {
    let mut s = session(false);
    dialog(&mut s, &format!("{HELLO}S: 250-x\nS: 250 SIZE 50"));
    events(&mut s);
    s.start(0, &transaction(&["a@x"]));
    let large = format!("message size 100 exceeds size limit 50 of server {PEER}");
    assert_eq!(finished(&mut s), [Err((true, "5.3.4".into(), large))]);
    let mut t = transaction(&["ü@x"]);
    (t.smtputf8, t.size) = (true, 1);
    s.start(0, &t);
    let utf8 = format!("SMTPUTF8 is required, but was not offered by host {PEER}");
    assert_eq!(finished(&mut s), [Err((true, "5.6.7".into(), utf8))]);
    assert_eq!(s.output(), b"");
}

#[test]
fn sessions_with_servers_that_mind_the_protocol_are_kept() {
    let kept = |greeting: &str, keep_history: bool| {
        let settings = ClientSettings { keep_history, ..ClientSettings::new("mail.example.com", false) };
        let mut s = ClientSession::new(Arc::new(settings), PEER, 0);
        dialog(&mut s, greeting);
        s
    };
    let hello = format!("{HELLO}S: 250-x\nS: 250 PIPELINING");
    let said = "In:  220 mx.example ESMTP\nOut: EHLO mail.example.com\nIn:  250-x\nIn:  250 PIPELINING\n\
                Out: MAIL FROM:<s@example.org>\nOut: RCPT TO:<a@x>\nOut: DATA\nIn:  250 ok\n";
    let commands = "C: MAIL FROM:<s@example.org>\nC: RCPT TO:<a@x>\nC: DATA\nS: 250 ok\n";
    for (replies, odd) in [
        ("501 5.5.4 syntax", true),
        ("555 5.5.4 what", true),
        ("300 what", true),
        ("550 5.1.1 no", false),
        ("452 4.3.1 full", false),
        ("421 4.3.2 closing", false),
        ("nonsense", true),
    ] {
        let mut s = kept(&hello, true);
        s.start(0, &transaction(&["a@x"]));
        dialog(&mut s, &format!("{commands}S: {replies}"));
        assert_eq!(s.transcript(), odd.then(|| format!("{said}In:  {replies}\n")), "{replies}");
        assert_eq!(s.transcript(), None, "it is told once");
        let mut s = kept(&hello, false);
        s.start(0, &transaction(&["a@x"]));
        dialog(&mut s, &format!("{commands}S: {replies}"));
        assert_eq!(s.transcript(), None, "{replies}");
    }
    let mut s = kept(&hello, true);
    s.start(0, &transaction(&["a@x"]));
    dialog(&mut s, &format!("{commands}S: 250 ok\nS: 354 go"));
    s.content(b"x\n");
    s.end_content();
    dialog(&mut s, "C: x\nC: .\nS: 502 5.5.1 what is this dot");
    let end = "In:  250 ok\nIn:  354 go\nOut: .\nIn:  502 5.5.1 what is this dot\n";
    assert_eq!(s.transcript(), Some(format!("{said}{end}")));
}

fn probe(recipients: &[&str], target: ProbeTarget) -> Transaction {
    Transaction { size: 0, probe: Some(target), ..transaction(recipients) }
}

#[test]
fn a_probe_ends_before_there_is_anything_to_deliver() {
    for (offered, rest) in [
        (
            "S: 250-mx.example\nS: 250 PIPELINING\n",
            "C: MAIL FROM:<s@example.org>\nC: RCPT TO:<a@d.example>\nS: 250 ok\n",
        ),
        ("S: 250 mx.example\n", "C: MAIL FROM:<s@example.org>\nS: 250 ok\nC: RCPT TO:<a@d.example>\n"),
    ] {
        let mut session = session(false);
        dialog(&mut session, &format!("{HELLO}{offered}"));
        session.start(0, &probe(&["a@d.example"], ProbeTarget::Rcpt));
        dialog(&mut session, &format!("{rest}S: 250 2.1.5 fine\nC: RSET\nS: 250 ok\n"));
        assert_eq!(finished(&mut session), [Ok("250 2.1.5 fine".to_owned())]);
        // Nothing is left over that another transaction would have to undo.
        assert!(session.is_usable());
        session.quit(0);
        dialog(&mut session, "C: QUIT\n");
    }
}

#[test]
fn a_probe_is_refused_like_mail() {
    let told = |text: &str, command| {
        let reason = format!("host {PEER} said: {text} (in reply to {command} command)");
        Err((text.starts_with('5'), text[4..].split(' ').next().unwrap().to_owned(), reason))
    };
    let mail = "C: MAIL FROM:<s@example.org>\n";
    let rcpt = "S: 250 ok\nC: RCPT TO:<a@d.example>\n";
    for (target, lines, result) in [
        (ProbeTarget::Rcpt, format!("{mail}{rcpt}S: 550 5.1.1 no\n"), told("550 5.1.1 no", "RCPT TO")),
        (ProbeTarget::Rcpt, format!("{mail}{rcpt}S: 450 4.2.0 busy\n"), told("450 4.2.0 busy", "RCPT TO")),
        (ProbeTarget::Rcpt, format!("{mail}S: 550 5.7.1 not you\n"), told("550 5.7.1 not you", "MAIL FROM")),
        (ProbeTarget::Data, format!("{mail}{rcpt}S: 550 5.1.1 no\n"), told("550 5.1.1 no", "RCPT TO")),
        (ProbeTarget::Data, format!("{mail}{rcpt}S: 250 ok\nC: DATA\nS: 554 5.5.1 no\n"), told("554 5.5.1 no", "DATA")),
    ] {
        let mut session = session(false);
        dialog(&mut session, &format!("{HELLO}S: 250 mx.example\n"));
        session.start(0, &probe(&["a@d.example"], target));
        dialog(&mut session, &format!("{lines}C: RSET\nS: 250 ok\n"));
        assert_eq!(finished(&mut session), [result]);
        assert!(session.is_usable());
    }
}

#[test]
fn a_probe_up_to_data_hangs_up_where_content_is_awaited() {
    let mut session = session(false);
    dialog(&mut session, &format!("{HELLO}S: 250-mx.example\nS: 250 PIPELINING\n"));
    session.start(0, &probe(&["a@d.example"], ProbeTarget::Data));
    let rcpt = "C: MAIL FROM:<s@example.org>\nC: RCPT TO:<a@d.example>\nS: 250 ok\nS: 250 ok\n";
    dialog(&mut session, &format!("{rcpt}C: DATA\nS: 354 go ahead\n"));
    assert_eq!(
        events(&mut session)[1..],
        [ClientEvent::Finished(vec![Ok("354 go ahead".to_owned())]), ClientEvent::Closed]
    );
}

#[test]
fn a_probe_is_polite_to_a_server_that_wants_to_go() {
    let mut session = session(false);
    dialog(&mut session, &format!("{HELLO}S: 250 mx.example\n"));
    session.start(0, &probe(&["a@d.example"], ProbeTarget::Rcpt));
    let mail = "C: MAIL FROM:<s@example.org>\nS: 250 ok\nC: RCPT TO:<a@d.example>\nS: 421 4.7.0 bye\n";
    dialog(&mut session, &format!("{mail}C: RSET\nS: 250 ok\n"));
    let reason = format!("host {PEER} said: 421 4.7.0 bye (in reply to RCPT TO command)");
    assert_eq!(finished(&mut session), [Err((false, "4.7.0".to_owned(), reason))]);
    session.quit(0);
    dialog(&mut session, "C: QUIT\n");
}

#[test]
fn original_recipients_beyond_ascii_are_written_so_that_any_server_reads_them() {
    let mut session = session(false);
    dialog(&mut session, &format!("{HELLO}S: 250-mx.example\nS: 250-DSN\nS: 250 SMTPUTF8\n"));
    let mut transaction = Transaction { smtputf8: true, ..probe(&["b\u{e4}d@d.example"], ProbeTarget::Rcpt) };
    transaction.recipients[0].orcpt = Some("utf-8;b\u{e4}+d@d.example".into());
    session.start(0, &transaction);
    let rcpt = "C: RCPT TO:<b\u{e4}d@d.example> ORCPT=utf-8;b\\x{E4}\\x{2B}d@d.example\nS: 250 ok\nC: RSET\n";
    dialog(&mut session, &format!("C: MAIL FROM:<s@example.org> SMTPUTF8\nS: 250 ok\n{rcpt}"));
}
