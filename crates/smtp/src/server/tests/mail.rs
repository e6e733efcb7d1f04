//! Transactions: MAIL, RCPT, DATA, BDAT.

use super::*;

pub(super) const GREETED: &str = "S: 220 mail.example.com ESMTP Postfix
    C: HELO c
    S: 250 mail.example.com\n";

const OPEN: &str = "S: 220 mail.example.com ESMTP Postfix
    C: HELO c
    S: 250 mail.example.com
    C: MAIL FROM:<a@example.org>
    S: 250 2.1.0 Ok
    C: RCPT TO:<u@example.com>
    S: 250 2.1.5 Ok\n";

#[test]
fn mail_and_rcpt_syntax() {
    play(
        SessionConfig { smtpd_soft_error_limit: 100, smtpd_hard_error_limit: 100, ..config() },
        &format!(
            "{GREETED}
         C: RCPT TO:<a@b>
         S: 503 5.5.1 Error: need MAIL command
         C: DATA
         S: 503 5.5.1 Error: need RCPT command
         C: MAIL FROM
         S: 501 5.5.4 Syntax: MAIL FROM:<address>
         C: MAIL TO:<a@b>
         S: 501 5.5.4 Syntax: MAIL FROM:<address>
         C: MAIL FROM:
         S: 501 5.5.4 Syntax: MAIL FROM:<address>
         C: MAIL FROM:<a@b
         S: 501 5.1.7 Bad sender address syntax
         C: MAIL FROM:<a@[foo]>
         S: 501 5.1.7 Bad sender address syntax
         W: Illegal address syntax from NA in MAIL command: <a@[foo]>
         C: MAIL FROM:The Dude <dude@example.org>
         S: 555 5.5.4 Unsupported option: Dude
         C: MAIL FROM:<a@é.example>
         S: 501 5.1.7 Bad sender address syntax
         W: Illegal address syntax from NA in MAIL command: <a@é.example>
         C: MAIL FROM:<a@é.example> SMTPUTF8
         S: 250 2.1.0 Ok
         C: MAIL FROM:<a@b>
         S: 503 5.5.1 Error: nested MAIL command
         C: RSET
         S: 250 2.0.0 Ok
         C: MAIL FROM:<a@b> XVERP
         S: 555 5.5.4 Unsupported option: XVERP
         C: MAIL FROM:<>
         S: 250 2.1.0 Ok
         C: RCPT TO:<>
         S: 501 5.1.3 Bad recipient address syntax
         W: Illegal address syntax from NA in RCPT command: <>
         C: RCPT TO
         S: 501 5.5.4 Syntax: RCPT TO:<address>
         C: RCPT TO:\"a
         S: 501 5.1.3 Bad recipient address syntax
         C: RCPT TO :<a@example.org>
         S: 501 5.5.4 Syntax: RCPT TO:<address>
         C: RCPT TO:<u@example.com> NOTIFY=
         S: 501 5.5.4 Error: Bad NOTIFY parameter syntax
         C: RCPT TO:<u@example.com> ORCPT=foo
         S: 501 5.5.4 Error: Bad ORCPT parameter syntax
         C: DATA
         S: 554 5.5.1 Error: no valid recipients
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         C: DATA x
         S: 501 5.5.4 Syntax: DATA"
        ),
    );
}

#[test]
fn strict_rules() {
    play(
        SessionConfig { strict_rfc821_envelopes: true, strict_smtputf8: true, ..config() },
        &format!(
            "{GREETED}
         C: MAIL FROM:a@example.org
         S: 501 5.1.7 Bad sender address syntax
         W: Illegal address syntax from NA in MAIL command: a@example.org
         C: MAIL FROM:<é@example.org>
         S: 553 5.6.7 Must declare SMTPUTF8 to send unicode address
         C: MAIL FROM: <a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:Some One <u@example.com>
         S: 501 5.1.3 Bad recipient address syntax
         W: Illegal address syntax from NA in RCPT command: Some
         C: RCPT TO:<é@example.com>
         S: 553 5.6.7 Must declare SMTPUTF8 to send unicode address"
        ),
    );
    let verp = Authorised { verp: true, ..Authorised::default() };
    Dialog::new(config(), "192.0.2.10", verp).play(&format!(
        "{GREETED}
         C: MAIL FROM:<> XVERP
         S: 503 5.5.4 Error: XVERP requires non-null sender
         C: MAIL FROM:<a@example.org> XVERP==+
         S: 250 2.1.0 Ok"
    ));
}

#[test]
fn a_message() {
    play(
        config(),
        &format!(
            "{OPEN}
         C: RCPT TO:<bad@example.com>
         S: 554 5.7.1 <bad@example.com>: Recipient address rejected: Access denied
         C: RCPT TO:<\"q q\"@example.com>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         R: \"Subject: x\\r\\n\\r\\n..dot\\r\\n.\\r\\n\"
         S: 250 2.0.0 Ok: queued as Q1
         C: DATA
         S: 503 5.5.1 Error: need RCPT command
         C: QUIT
         S: 221 2.0.0 Bye
         S: <closed>
         E: Open Q1
         E: Commit
         M: \"Subject: x\\n\\n.dot\\n\"
         D: helo=1 mail=1 rcpt=2/3 data=1/2 quit=1 commands=6/8"
        ),
    );
}

#[test]
fn refusals_at_data_and_at_the_end() {
    for (sender, script) in [
        (
            "data@example.org",
            "C: DATA
             S: 554 5.7.1 <DATA>: Data command rejected: Access denied
             C: DATA
             S: 554 5.7.1 <DATA>: Data command rejected: Access denied
             C: RSET
             S: 250 2.0.0 Ok
             E: Open Q1
             E: Abort",
        ),
        (
            "end@example.org",
            "C: DATA
             S: 354 End data with <CR><LF>.<CR><LF>
             R: \"x\\r\\n.\\r\\n\"
             S: 554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: quota exceeded
             C: MAIL FROM:<a@example.org>
             S: 250 2.1.0 Ok
             E: Open Q1
             E: Abort",
        ),
        (
            "e521@example.org",
            "C: DATA
             S: 354 End data with <CR><LF>.<CR><LF>
             R: \"x\\r\\n.\\r\\n\"
             S: 521 5.7.0 <e521@example.org>: Sender address rejected: closing at end
             S: <closed>
             D: helo=1 mail=1 rcpt=1 data=0/1 commands=3/4",
        ),
        (
            "a@example.org",
            "C: RCPT TO:<drop@example.com>
             S: 421 4.7.0 <drop@example.com>: Recipient address rejected: closing now
             S: <closed>
             D: helo=1 mail=1 rcpt=1/2 commands=3/4",
        ),
        ("a@example.org", "C: RCPT TO:<hang@example.com>\nS: <closed>\nD: helo=1 mail=1 rcpt=1/2 commands=3/4"),
    ] {
        let open = OPEN.replace("a@example.org", sender);
        play(config(), &format!("{open}{script}"));
    }
}

#[test]
fn endings_of_a_message() {
    for (end, reply) in [
        ((|_: &str| MessageEnd::Queued) as fn(&str) -> MessageEnd, "250 2.0.0 Ok: queued as Q1"),
        (|_| MessageEnd::Relayed("250 2.0.0 taken".to_owned()), "250 2.0.0 taken"),
        (
            |_| MessageEnd::Refused("550 5.7.1 message content rejected".to_owned()),
            "550 5.7.1 message content rejected",
        ),
        (|_| MessageEnd::Refused("554 5.4.0 Error: too many hops".to_owned()), "554 5.4.0 Error: too many hops"),
    ] {
        let mut dialog = Dialog::new(config(), "192.0.2.10", Authorised::default());
        dialog.end = end;
        dialog.play(&format!(
            "{OPEN}
             C: DATA
             S: 354 End data with <CR><LF>.<CR><LF>
             R: \"x\\r\\n.\\r\\n\"
             S: {reply}
             C: RCPT TO:<u@example.com>
             S: 503 5.5.1 Error: need MAIL command
             E: Open Q1
             E: Commit"
        ));
    }
}

#[test]
fn opening_the_message() {
    let script = "C: MAIL FROM:<noqueue@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 451 4.3.0 Error: queue file write error
         C: DATA
         S: 554 5.5.1 Error: no valid recipients";
    play(config(), &format!("{GREETED}{script}"));
    let at_mail = SessionConfig { smtpd_delay_open_until_valid_rcpt: false, ..config() };
    play(
        at_mail,
        &format!(
            "{GREETED}
         C: MAIL FROM:<noqueue@example.org>
         S: 451 4.3.0 Error: queue file write error
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<bad@example.com>
         S: 554 5.7.1 <bad@example.com>: Recipient address rejected: Access denied
         C: QUIT
         S: 221 2.0.0 Bye
         E: Open Q1
         E: Open Q2
         E: Abort"
        ),
    );
    let mut dialog = Dialog::new(config(), "192.0.2.10", Authorised::default());
    dialog.session.set_queue_space_low(true);
    dialog.play(&format!(
        "{GREETED}C: MAIL FROM:<a@example.org>
         S: 452 4.3.1 Insufficient system storage
         L: NOQUEUE: reject: MAIL from NA: 452 4.3.1 Insufficient system storage; proto=SMTP helo=<c>"
    ));
}

#[test]
fn rates() {
    let counting = || SessionConfig { count_messages: true, count_recipients: true, ..config() };
    let script = "S: 220 mail.example.com ESMTP Postfix
         C: HELO many
         S: 250 mail.example.com
         C: MAIL FROM:<a@example.org>
         S: 450 4.7.1 Error: too much mail from 192.0.2.10
         C: VRFY u
         S: 450 4.7.1 Error: too many recipients from 192.0.2.10
         C: HELO few
         S: 250 mail.example.com
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         D: helo=2 mail=1/2 rcpt=1 vrfy=0/1 commands=4/6";
    play(counting(), script);
    let exempt = Authorised { event_limit_exempt: true, ..Authorised::default() };
    Dialog::new(counting(), "192.0.2.10", exempt).play(
        "S: 220 mail.example.com ESMTP Postfix
         C: HELO many
         S: 250 mail.example.com
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok",
    );
}

#[test]
fn bare_lf_in_content() {
    let with = |mode| SessionConfig { smtpd_forbid_bare_newline: mode, ..config() };
    let data = "C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         R: \"a\\n.\\nb\\r\\n.\\r\\n\"\n";
    play(
        with(ForbidBareNewline::Normalize),
        &format!(
            "{OPEN}{data}S: 250 2.0.0 Ok: queued as Q1\nM: \"a\\nb\\n\"\nD: helo=1 mail=1 rcpt=1 data=1 commands=4"
        ),
    );
    play(
        with(ForbidBareNewline::Note),
        &format!("{OPEN}{data}S: 250 2.0.0 Ok: queued as Q1\nD: helo=1 mail=1 rcpt=1 data=1 commands=4 notes=bare_lf"),
    );
    play(
        with(ForbidBareNewline::Reject),
        &format!(
            "{OPEN}{data}S: 550 5.5.2 mail.example.com Error: bare <LF> received
             L: Q1: reject: END-OF-MESSAGE from NA: bare <LF> received; from=<a@example.org> to=<u@example.com> proto=SMTP helo=<c>
             E: Open Q1
             E: Abort
             D: helo=1 mail=1 rcpt=1 data=0/1 commands=3/4"
        ),
    );
    let loose = SessionConfig { smtpd_forbid_unauth_pipelining: false, ..with(ForbidBareNewline::No) };
    play(
        loose,
        &format!(
            "{OPEN}{data}S: 250 2.0.0 Ok: queued as Q1
             S: 500 5.5.2 Error: command not recognized
             S: 221 2.7.0 Error: I can break rules, too. Goodbye.
             W: non-SMTP command from NA: .
             M: \"a\\n\""
        ),
    );
}

#[test]
fn size_limit() {
    let small = || SessionConfig { message_size_limit: 100, ..config() };
    let line = "x".repeat(60);
    play(
        small(),
        &format!(
            "{OPEN}
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: {line}
         C: {line}
         C: {line}
         C: .
         S: 552 5.3.4 Error: message file too big
         W: Q1: queue file size limit exceeded
         C: NOOP
         S: 250 2.0.0 Ok
         E: Open Q1
         E: Abort
         D: helo=1 mail=1 rcpt=1 data=0/1 noop=1 commands=4/5"
        ),
    );
}

#[test]
fn content_can_be_refused_while_it_arrives() {
    let mut dialog = Dialog::new(config(), "192.0.2.10", Authorised::default());
    dialog.start();
    dialog.send(b"HELO c\r\n");
    dialog.send(b"MAIL FROM:<a@example.org>\r\n");
    dialog.send(b"RCPT TO:<u@example.com>\r\n");
    dialog.send(b"DATA\r\n");
    dialog.send(b"a\r\n");
    dialog.session.refuse_content("451 4.3.0 Error: queue file write error");
    dialog.send(b"b\r\n.\r\n");
    assert_eq!(dialog.replies.back().unwrap(), "451 4.3.0 Error: queue file write error");
    assert_eq!(dialog.events, ["Open Q1", "Abort"]);
}

#[test]
fn bdat() {
    let extended = |script: &str| {
        let mut dialog =
            Dialog::new(SessionConfig { message_size_limit: 2000, ..config() }, "192.0.2.10", Authorised::default());
        dialog.start();
        dialog.send(b"EHLO c\r\n");
        dialog.replies.clear();
        dialog.play(script);
    };
    extended(
        "C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         R: \"BDAT 10\\r\\nSubject: x\"
         S: 250 2.0.0 Ok: 10 bytes
         C: MAIL FROM:<a@b>
         S: 503 5.5.1 Error: nested MAIL command
         C: RCPT TO:<a@b>
         S: 503 5.5.1 Error: RCPT after BDAT
         C: DATA
         S: 503 5.5.1 Error: DATA after BDAT
         C: NOOP
         S: 250 2.0.0 Ok
         R: \"BDAT 6 last\\r\\n\\r\\n\\r\\nab\"
         S: 250 2.0.0 Ok: 18 bytes queued as Q1
         M: \"Subject: x\\n\\nab\\n\"
         E: Open Q1
         E: Commit
         D: ehlo=1 mail=1/2 rcpt=1/2 data=0/1 bdat=2 noop=1 commands=6/9",
    );
    extended(
        "C: BDAT 5
         R: \"abcde\"
         S: 503 5.5.1 Error: need RCPT command
         C: MAIL FROM:<a@example.org>
         S: 503 5.5.1 Error: MAIL after BDAT
         R: \"BDAT 5 LAST\\r\\nabcde\"
         S: 551 5.0.0 Discarded 5 bytes after earlier error
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: BDAT 0
         S: 551 5.7.1 Null BDAT request
         C: BDAT 0 LAST
         S: 551 5.0.0 Discarded 0 bytes after earlier error
         C: RCPT TO:<a@b>
         S: 503 5.5.1 Error: need MAIL command
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         R: \"BDAT 1 LAST\\r\\nx\"
         S: 554 5.5.1 Error: no valid recipients
         C: BDAT x
         S: 521 5.5.4 Syntax: BDAT count [LAST]
         S: <closed>",
    );
    let big = "x".repeat(2001);
    extended(&format!(
        "C: MAIL FROM:<data@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         R: \"BDAT 2\\r\\nab\"
         S: 554 5.7.1 <BDAT>: Data command rejected: Access denied
         R: \"BDAT 2 LAST\\r\\nab\"
         S: 551 5.0.0 Discarded 2 bytes after earlier error
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         R: \"BDAT 2001 LAST\\r\\n{big}\"
         S: 552 5.3.4 Chunk exceeds message size limit
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         C: BDAT 3001 LAST
         S: 552 5.3.4 Chunk exceeds message size limit
         S: <closed>
         W: Q3: too much BDAT content -- disabling further input from NA
         L: Q3: lost connection after BDAT from NA
         E: Open Q1
         E: Abort
         E: Open Q2
         E: Abort
         E: Open Q3
         E: Abort"
    ));
}

#[test]
fn lost_connections() {
    for (script, log) in [
        ("X:", "NOQUEUE: lost connection after CONNECT from NA"),
        ("C: HELO c\nS: 250 mail.example.com\nR: \"MAIL FR\"\nX:", "NOQUEUE: lost connection after HELO from NA"),
    ] {
        play(config(), &format!("S: 220 mail.example.com ESMTP Postfix\n{script}\nS: <closed>\nL: {log}"));
    }
    for (script, log) in [
        ("X:", "Q1: lost connection after RCPT from NA"),
        (
            "C: DATA\nS: 354 End data with <CR><LF>.<CR><LF>\nR: \"Subject: a\\r\\n\\r\\nfoo\\r\\nba\"\nX:",
            "Q1: lost connection after DATA (19 bytes) from NA",
        ),
    ] {
        play(config(), &format!("{OPEN}{script}\nS: <closed>\nL: {log}\nE: Open Q1\nE: Abort"));
    }
    play(
        config(),
        &format!(
            "{OPEN}C: DATA\nS: 354 End data with <CR><LF>.<CR><LF>\nC: .\nS: 250 2.0.0 Ok: queued as Q1\nX:\nS: <closed>"
        ),
    );
}
