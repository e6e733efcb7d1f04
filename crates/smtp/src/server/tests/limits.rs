//! Counters, delays, time limits and memory.

use super::*;

#[test]
fn soft_and_hard_error_limits() {
    let limits = SessionConfig { smtpd_soft_error_limit: 3, smtpd_hard_error_limit: 6, ..config() };
    let refusal = "554 5.7.1 <bad@example.com>: Recipient address rejected: Access denied";
    let bad = format!("C: RCPT TO:<bad@example.com>\nS: {refusal}\n").repeat(3);
    let late = format!("C: RCPT TO:<bad@example.com>\nT: 999\nT: 1\nS: {refusal}\n").repeat(2);
    play(
        limits,
        &format!(
            "S: 220 mail.example.com ESMTP Postfix
             C: HELO c
             S: 250 mail.example.com
             C: MAIL FROM:<a@example.org>
             S: 250 2.1.0 Ok
             {bad}{late}
             C: RCPT TO:<bad@example.com>
             T: 1000
             S: {refusal}
             T: 1000
             S: 421 4.7.0 mail.example.com Error: too many errors
             S: <closed>
             L: NOQUEUE: too many errors after RCPT from NA
             D: helo=1 mail=1 rcpt=0/6 commands=2/8"
        ),
    );
}

#[test]
fn late_replies_are_really_late() {
    let mut dialog =
        Dialog::new(SessionConfig { smtpd_soft_error_limit: 0, ..config() }, "192.0.2.10", Authorised::default());
    dialog.start();
    assert_eq!((dialog.replies.len(), dialog.session.poll_timeout()), (0, Some(1000)));
    assert!(!dialog.session.wants_input());
    dialog.pass(999);
    assert_eq!(dialog.replies.len(), 0);
    dialog.pass(1);
    assert_eq!(dialog.replies.len(), 1);
}

#[test]
fn lines_of_a_late_ehlo_reply_are_late_one_by_one() {
    let mut dialog =
        Dialog::new(SessionConfig { smtpd_soft_error_limit: 0, ..config() }, "192.0.2.10", Authorised::default());
    dialog.start();
    dialog.pass(1000);
    dialog.replies.clear();
    dialog.send(b"EHLO c\r\n");
    for lines in 1..=3 {
        dialog.pass(999);
        assert_eq!(dialog.replies.len(), lines - 1);
        dialog.pass(1);
        assert_eq!(dialog.replies.len(), lines);
    }
}

#[test]
fn bytes_at_the_end_of_chunks() {
    let script = "S: 220 mail.example.com ESMTP Postfix
         C: HELO c
         S: 250 mail.example.com
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         C: BDAT 4
         C: ab
         S: 250 2.0.0 Ok: 4 bytes
         C: BDAT 10
         C: cd
         T: 300000
         S: 421 4.4.2 mail.example.com Error: timeout exceeded
         S: <closed>
         L: Q1: timeout after BDAT (54 bytes) from NA";
    play(config(), script);
}

#[test]
fn junk_commands_become_errors() {
    let limits = SessionConfig {
        smtpd_junk_command_limit: 5,
        smtpd_hard_error_limit: 4,
        smtpd_soft_error_limit: 100,
        ..config()
    };
    let noops = "C: NOOP\nS: 250 2.0.0 Ok\n".repeat(9);
    play(
        limits,
        &format!(
            "S: 220 mail.example.com ESMTP Postfix
             C: HELO c
             S: 250 mail.example.com
             {noops}
             S: 421 4.7.0 mail.example.com Error: too many errors
             S: <closed>
             L: NOQUEUE: too many errors after NOOP from NA
             D: helo=1 noop=9 commands=10"
        ),
    );
}

#[test]
fn recipient_limit_and_overshoot() {
    let limits = SessionConfig {
        smtpd_recipient_limit: 3,
        smtpd_recipient_overshoot_limit: 2,
        smtpd_hard_error_limit: 4,
        ..config()
    };
    let good: String = (1..=3).map(|n| format!("C: RCPT TO:<u{n}@example.com>\nS: 250 2.1.5 Ok\n")).collect();
    let many = "C: RCPT TO:<v@example.com>\nS: 452 4.5.3 Error: too many recipients\n";
    let (two, six) = (many.repeat(2), many.repeat(6));
    play(
        limits,
        &format!(
            "S: 220 mail.example.com ESMTP Postfix
             C: HELO c
             S: 250 mail.example.com
             C: MAIL FROM:<a@example.org>
             S: 250 2.1.0 Ok
             {good}{two}
             C: DATA
             S: 354 End data with <CR><LF>.<CR><LF>
             C: .
             S: 250 2.0.0 Ok: queued as Q1
             C: MAIL FROM:<a@example.org>
             S: 250 2.1.0 Ok
             {good}{six}
             S: 421 4.7.0 mail.example.com Error: too many errors
             S: <closed>
             L: Q2: too many errors after RCPT from NA
             D: helo=1 mail=2 rcpt=10/14 data=1 commands=14/18"
        ),
    );
}

#[test]
fn errors_that_do_not_count() {
    let limits = SessionConfig { smtpd_hard_error_limit: 1, ..config() };
    play(
        limits,
        "S: 220 mail.example.com ESMTP Postfix
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<free@example.com>
         S: 450 4.7.1 <free@example.com>: later
         C: RCPT TO:<free@example.com>
         S: 450 4.7.1 <free@example.com>: later
         C: RCPT TO:<bad@example.com>
         S: 554 5.7.1 <bad@example.com>: Recipient address rejected: Access denied
         S: 421 4.7.0 mail.example.com Error: too many errors
         S: <closed>
         L: NOQUEUE: too many errors after RCPT from NA",
    );
}

#[test]
fn long_command_lines() {
    let short = || SessionConfig { line_length_limit: 512, ..config() };
    let noop = |length: usize| format!("NOOP {}", "x".repeat(length - 7));
    play(
        short(),
        &format!(
            "S: 220 mail.example.com ESMTP Postfix
             C: {}
             S: 250 2.0.0 Ok
             C: {}
             S: 500 5.5.2 mail.example.com Error: command too long
             C: NOOP
             S: 250 2.0.0 Ok
             W: NA: request longer than 512: NOOP xxxxxxxxxxxxxxxxxxxxxxxxx...
             D: noop=2 commands=2",
            noop(512),
            noop(1024)
        ),
    );
    play(
        short(),
        &format!(
            "S: 220 mail.example.com ESMTP Postfix
             C: {}
             S: 500 5.5.2 mail.example.com Error: command too long
             S: <closed>
             W: NA: request longer than 512: NOOP xxxxxxxxxxxxxxxxxxxxxxxxx...
             L: NOQUEUE: lost connection after CONNECT from NA
             D: commands=0/0",
            noop(1025)
        ),
    );
}

#[test]
fn time_limits() {
    play(
        config(),
        "S: 220 mail.example.com ESMTP Postfix
         T: 299999
         C: HELO c
         S: 250 mail.example.com
         T: 299999
         R: \"NO\"
         T: 299999
         R: \"OP\\r\\n\"
         S: 250 2.0.0 Ok
         T: 300000
         S: 421 4.4.2 mail.example.com Error: timeout exceeded
         S: <closed>
         L: NOQUEUE: timeout after NOOP from NA",
    );
    let deadline = SessionConfig { smtpd_per_request_deadline: true, ..config() };
    play(
        deadline,
        "S: 220 mail.example.com ESMTP Postfix
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         T: 299000
         C: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
         T: 1300
         S: 421 4.4.2 mail.example.com Error: timeout exceeded
         S: <closed>
         L: Q1: timeout after DATA (114 bytes) from NA
         E: Open Q1
         E: Abort",
    );
}

#[test]
fn stopping() {
    let mut dialog = Dialog::new(config(), "192.0.2.10", Authorised::default());
    dialog.start();
    dialog.send(b"MAIL FROM:<a@example.org>\r\n");
    dialog.send(b"RCPT TO:<u@example.com>\r\n");
    dialog.send(b"DATA\r\n");
    dialog.session.drain();
    dialog.send(b"x\r\n.\r\n");
    let tail: Vec<_> = dialog.replies.iter().skip(4).collect();
    assert_eq!(tail, ["250 2.0.0 Ok: queued as Q1", "421 4.3.2 mail.example.com Service shutting down"]);
    assert!(dialog.closed);
    let mut dialog = Dialog::new(config(), "192.0.2.10", Authorised::default());
    dialog.session.refuse("421 4.7.0 mail.example.com Error: too many connections from 192.0.2.10");
    dialog.turn();
    assert_eq!(dialog.replies, ["421 4.7.0 mail.example.com Error: too many connections from 192.0.2.10"]);
    assert!(dialog.closed);
}

#[test]
fn idle_sessions_are_small() {
    let patient = SessionConfig { smtpd_junk_command_limit: 10_000, ..config() };
    let mut dialog = Dialog::new(patient, "192.0.2.10", Authorised::default());
    dialog.start();
    dialog.send(b"EHLO client.example.net\r\n");
    dialog.send(&b"RSET\r\n".repeat(5000));
    let session = &dialog.session;
    let heap = session.input.capacity()
        + session.output.capacity()
        + session.held.capacity()
        + session.helo.as_ref().map_or(0, String::capacity)
        + session.events.capacity() * std::mem::size_of::<Event>();
    assert!(heap < 1600, "{heap}");
    assert!(std::mem::size_of::<ServerSession>() < 1400, "{}", std::mem::size_of::<ServerSession>());
}

#[test]
fn transcripts_are_reported_where_somebody_wants_to_know() {
    let config = |classes: &str| SessionConfig {
        notify_classes: ErrorClasses::parse(classes).0,
        smtpd_history_flush_threshold: 6,
        ..config()
    };
    let mut dialog = Dialog::new(config("policy, protocol"), "192.0.2.1", Authorised::default());
    dialog.start();
    for line in [&b"HELO x\r\n"[..], b"NOOP\r\n", b"FOO\r\n", b"RSET\r\n", b"NOOP \xff\x01\r\n"] {
        dialog.send(line);
    }
    let transcript = "Out: 220 mail.example.com ESMTP Postfix\nIn:  HELO x\nOut: 250 mail.example.com\nIn:  NOOP\n\
                      Out: 250 2.0.0 Ok\nIn:  FOO\nOut: 500 5.5.2 Error: command not recognized\nIn:  RSET\n";
    assert_eq!(dialog.notices, [Notice { transcript: transcript.into(), bounce: false, reason: None }]);
    dialog.session.end_of_input(0);
    dialog.turn();
    let rest = "Out: 250 2.0.0 Ok\nIn:  NOOP ??\nOut: 500 5.5.2 Error: bad UTF-8 syntax\n";
    let last = Notice { transcript: rest.into(), bounce: false, reason: Some("lost connection") };
    assert_eq!(dialog.notices[1..], [last]);

    let mut silent = Dialog::new(config("resource, software"), "192.0.2.1", Authorised::default());
    silent.start();
    for line in [&b"HELO x\r\n"[..], b"FOO\r\n", b"QUIT\r\n"] {
        silent.send(line);
    }
    assert!(silent.closed && silent.notices.is_empty(), "{:?}", silent.notices);
}

#[test]
fn credentials_are_in_no_transcript() {
    let config = SessionConfig { notify_classes: ErrorClasses::parse("protocol").0, ..config() };
    let mut dialog = Dialog::new(config, "192.0.2.1", Authorised::default());
    dialog.session.set_auth_offer(Some(AuthOffer { mechanisms: "LOGIN PLAIN".into(), ..AuthOffer::default() }));
    dialog.start();
    for line in ["EHLO x", "AUTH LOGIN", "c2VjcmV0", "YmFk", "AUTH PLAIN AHVzZXIAc2VjcmV0", "Z29vZA==", "FOO", "QUIT"] {
        dialog.send(format!("{line}\r\n").as_bytes());
    }
    let transcript = &dialog.notices[0].transcript;
    assert!(transcript.contains("In:  AUTH PLAIN (not shown)\n"), "{transcript}");
    for secret in ["c2VjcmV0", "AHVz", "YmFk", "Z29vZA"] {
        assert!(!transcript.contains(secret), "{transcript}");
    }
}

#[test]
fn connections_that_are_too_many() {
    let counting = || SessionConfig { count_connections: true, ..config() };
    play(
        counting(),
        "S: 220 mail.example.com ESMTP Postfix
         C: QUIT
         S: 221 2.0.0 Bye
         S: <closed>
         D: quit=1 commands=1",
    );
    let many = "S: 421 4.7.0 mail.example.com Error: too many connections from 192.0.2.99
         S: <closed>
         D: commands=0/0";
    Dialog::new(counting(), "192.0.2.99", Authorised::default()).play(many);
    let early = SessionConfig { smtpd_delay_reject: false, ..counting() };
    Dialog::new(early, "192.0.2.99", Authorised::default()).play(many);
    let exempt = Authorised { event_limit_exempt: true, ..Authorised::default() };
    Dialog::new(counting(), "192.0.2.99", exempt).play("S: 220 mail.example.com ESMTP Postfix");
}

#[test]
fn logins_have_limits_of_their_own() {
    let counting = SessionConfig { count_login_messages: true, count_login_recipients: true, ..patient() };
    // Exceptions are for clients.
    let exempt = Authorised { event_limit_exempt: true, ..Authorised::default() };
    let mut dialog = Dialog::new(counting, "192.0.2.10", exempt);
    dialog.session.set_auth_offer(Some(AuthOffer { mechanisms: "PLAIN".into(), is_announced: true }));
    dialog.play(
        "S: 220 mail.example.com ESMTP Postfix
         C: HELO busy
         S: 250 mail.example.com
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         C: RSET
         S: 250 2.0.0 Ok
         C: AUTH PLAIN Z29vZA==
         S: 235 2.7.0 Authentication successful
         C: MAIL FROM:<a@example.org>
         S: 450 4.7.1 Error: too much mail from user
         C: HELO calm
         S: 250 mail.example.com
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         C: HELO busy
         S: 250 mail.example.com
         D: helo=3 auth=1 mail=2/3 rcpt=2 rset=1 commands=9/10",
    );
}
