//! Greeting, command reading, and the commands outside a transaction.

use super::*;

#[test]
fn greeting_and_keywords() {
    play(
        config(),
        "S: 220 mail.example.com ESMTP Postfix
         C: EHLO
         S: 501 Syntax: EHLO hostname
         C: HELO
         S: 501 Syntax: HELO hostname
         C: EHLO client.example.net
         S: 250-mail.example.com
         S: 250-PIPELINING
         S: 250-SIZE 10240000
         S: 250-VRFY
         S: 250-ETRN
         S: 250-ENHANCEDSTATUSCODES
         S: 250-8BITMIME
         S: 250-DSN
         S: 250-SMTPUTF8
         S: 250 CHUNKING
         C: HELO a b   c
         S: 250 mail.example.com
         C: HELP
         S: 214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT XFORWARD
         C: STARTTLS
         S: 502 5.5.1 Error: command not implemented
         C: STARTTLS x
         S: 501 5.5.4 Syntax: STARTTLS
         C: AUTH PLAIN
         S: 503 5.5.1 Error: authentication not enabled
         C: EXPN a
         S: 500 5.5.2 Error: command not recognized
         C: RSET x
         S: 501 5.5.4 Syntax: RSET
         C: RSET
         S: 250 2.0.0 Ok
         C: NOOP x y
         S: 250 2.0.0 Ok
         C: QUIT x
         S: 221 2.0.0 Bye
         S: <closed>
         D: helo=1/2 ehlo=1/2 starttls=0/2 auth=0/1 rset=1/2 noop=1 quit=1 help=1 unknown=0/1 commands=6/13",
    );
}

#[test]
fn discarded_and_offered_keywords() {
    let keywords = EhloKeywords::parse("pipelining, dsn size, CHUNKING").0;
    let authorised = Authorised {
        xclient: true,
        xforward: true,
        verp: true,
        discard_ehlo_keywords: keywords,
        ..Authorised::default()
    };
    Dialog::new(SessionConfig { disable_vrfy_command: true, ..config() }, "192.0.2.10", authorised).play(
        "S: 220 mail.example.com ESMTP Postfix
         C: EHLO c
         S: 250-mail.example.com
         S: 250-ETRN
         S: 250-XVERP
         S: 250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT
         S: 250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT
         S: 250-ENHANCEDSTATUSCODES
         S: 250-8BITMIME
         S: 250 SMTPUTF8
         L: discarding EHLO keywords: chunking dsn pipelining size
         C: VRFY a
         S: 502 5.5.1 VRFY command is disabled
         C: MAIL FROM:<a@example.org> SIZE=10 RET=HDRS
         S: 501 5.7.1 DSN support is disabled
         C: MAIL FROM:<a@example.org> SIZE=10
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com> NOTIFY=NEVER
         S: 501 5.7.1 DSN support is disabled
         C: BDAT 0 LAST
         S: 521 5.5.1 Error: command not implemented
         S: <closed>
         D: ehlo=1 mail=1/2 rcpt=0/1 bdat=0/1 vrfy=0/1 commands=2/6",
    );
    let none = EhloKeywords::parse(
        "enhancedstatuscodes,8bitmime,smtputf8,etrn,vrfy,size,pipelining,dsn,chunking,silent-discard",
    )
    .0;
    let authorised = Authorised { discard_ehlo_keywords: none, ..Authorised::default() };
    Dialog::new(config(), "192.0.2.10", authorised).play(
        "S: 220 mail.example.com ESMTP Postfix
         C: EHLO c
         S: 250 mail.example.com
         C: MAIL FROM:<a@example.org> SMTPUTF8
         S: 555 5.5.4 Unsupported option: SMTPUTF8",
    );
    let no_limit = SessionConfig { message_size_limit: 0, ..config() };
    let mut dialog = Dialog::new(no_limit, "192.0.2.10", Authorised::default());
    dialog.start();
    dialog.send(b"EHLO c\r\n");
    assert_eq!(dialog.replies[3], "250-SIZE");
}

#[test]
fn odd_lines() {
    play(
        config(),
        r#"S: 220 mail.example.com ESMTP Postfix
         R: "\r\n"
         S: 500 5.5.2 Error: bad syntax
         R: "   \r\n"
         S: 500 5.5.2 Error: bad syntax
         R: "  NOOP\r\n"
         S: 250 2.0.0 Ok
         R: "NO\x00OP\r\n"
         S: 500 5.5.2 Error: command not recognized
         R: "NOOP\x00\r\n"
         S: 250 2.0.0 Ok
         R: "NOOP \xff\r\n"
         S: 500 5.5.2 Error: bad UTF-8 syntax
         R: "NOOP \"\r\n"
         S: 250 2.0.0 Ok
         R: "helo\tfoo\r\n"
         S: 250 mail.example.com
         C: <NOOP>
         S: 221 2.7.0 Error: I can break rules, too. Goodbye.
         S: <closed>
         W: non-SMTP command from NA: <NOOP>
         D: helo=1 noop=3 unknown=0/2 commands=4/6"#,
    );
}

#[test]
fn forbidden_and_noop_commands() {
    let own = || SessionConfig {
        smtpd_forbidden_commands: ForbiddenCommands::from_elements(["GET", "regexp:{{/^FORBID/ yes}}"]),
        smtpd_noop_commands: vec!["SITE".to_owned(), "HELO2".to_owned()],
        ..config()
    };
    for (line, forbidden) in
        [("GET / HTTP/1.0", true), ("FORBIDDEN thing", true), ("Subject: hello", true), ("X-THING", false)]
    {
        let verdict = if forbidden {
            format!(
                "S: 221 2.7.0 Error: I can break rules, too. Goodbye.\nS: <closed>\nW: non-SMTP command from NA: {line}"
            )
        } else {
            "S: 500 5.5.2 Error: command not recognized".to_owned()
        };
        play(
            own(),
            &format!(
                "S: 220 mail.example.com ESMTP Postfix
                 C: SITE foo
                 S: 250 2.0.0 Ok
                 C: helo2 bar
                 S: 250 2.0.0 Ok
                 C: {line}
                 {verdict}
                 D: unknown=0/1 commands=0/1"
            ),
        );
    }
}

#[test]
fn pipelining_is_noticed() {
    let loose = || SessionConfig { smtpd_forbid_unauth_pipelining: false, ..config() };
    let log = "L: improper command pipelining after MAIL from NA: RCPT TO:<u@example.com>\\r\\nDATA\\r\\n";
    for (config, rest) in [
        (config(), "S: 554 5.5.0 Error: SMTP protocol synchronization\nS: <closed>\nD: helo=1 mail=0/1 commands=1/2"),
        (loose(), "S: 250 2.1.0 Ok\nS: 250 2.1.5 Ok\nS: 354 End data with <CR><LF>.<CR><LF>"),
    ] {
        play(
            config,
            &format!(
                "S: 220 mail.example.com ESMTP Postfix
                 C: HELO client.example.net
                 S: 250 mail.example.com
                 C| MAIL FROM:<a@example.org>
                 C| RCPT TO:<u@example.com>
                 C: DATA
                 {rest}
                 {log}"
            ),
        );
    }
    for last in ["NOOP", "DATA", "VRFY a", "EHLO x", "HELO x"] {
        let word = last.split(' ').next().unwrap();
        let mut dialog = Dialog::new(config(), "192.0.2.10", Authorised::default());
        dialog.start();
        dialog.send(b"EHLO c\r\nMAIL ");
        assert_eq!(dialog.logs, ["improper command pipelining after EHLO from NA: MAIL "]);
        let mut dialog = Dialog::new(config(), "192.0.2.10", Authorised::default());
        dialog.start();
        dialog.send(b"EHLO c\r\n");
        dialog.send(format!("RSET\r\n{last}\r\nQUIT\r\n").as_bytes());
        assert_eq!(dialog.replies.back().unwrap(), "554 5.5.0 Error: SMTP protocol synchronization");
        assert_eq!(dialog.logs, [format!("improper command pipelining after {word} from NA: QUIT\\r\\n")]);
        assert!(dialog.closed && dialog.session.improper_pipelining());
    }
}

#[test]
fn early_talkers_get_no_banner() {
    let mut dialog = Dialog::new(config(), "192.0.2.10", Authorised::default());
    dialog.session.receive(0, b"EHLO x\r\n");
    dialog.start();
    assert_eq!(dialog.replies, ["554 5.5.0 Error: SMTP protocol synchronization"]);
    assert_eq!(dialog.logs, ["improper command pipelining after CONNECT from NA: EHLO x\\r\\n"]);
    assert!(dialog.closed);
}

#[test]
fn lists_that_do_not_wait_for_rcpt() {
    let undelayed = || SessionConfig { smtpd_delay_reject: false, smtpd_helo_required: true, ..config() };
    let dialog = Dialog::new(undelayed(), "203.0.113.1", Authorised::default());
    dialog.play(
        "S: 554 5.7.1 <unknown[203.0.113.1]>: Client host rejected: no client
         C: NOOP
         S: 503 5.7.0 Error: access denied for unknown[203.0.113.1]
         C: EHLO c
         S: 503 5.7.0 Error: access denied for unknown[203.0.113.1]
         C: FOO
         S: 503 5.7.0 Error: access denied for unknown[203.0.113.1]
         C: MAIL FROM:<a@b.example>
         S: 503 5.7.0 Error: access denied for unknown[203.0.113.1]
         C: RSET
         S: 503 5.7.0 Error: access denied for unknown[203.0.113.1]
         C: QUIT
         S: 221 2.0.0 Bye
         S: <closed>
         D: ehlo=0/1 mail=0/1 rset=0/1 noop=0/1 quit=1 unknown=0/1 commands=1/6",
    );
    Dialog::new(undelayed(), "203.0.113.2", Authorised::default()).play(
        "S: 421 4.7.1 <unknown[203.0.113.2]>: Client host rejected: go away
         S: <closed>
         D: commands=0/0",
    );
    Dialog::new(undelayed(), "203.0.113.4", Authorised::default()).play("S: <closed>\nD: commands=0/0");
    play(
        SessionConfig { message_size_limit: 2000, ..undelayed() },
        "S: 220 mail.example.com ESMTP Postfix
         C: MAIL FROM:<a@b.example>
         S: 503 5.5.1 Error: send HELO/EHLO first
         C: VRFY a
         S: 252 2.0.0 a
         C: ETRN example.com
         S: 503 Error: send HELO/EHLO first
         C: HELO bad.example
         S: 554 5.7.1 <bad.example>: Helo command rejected: bad
         C: MAIL FROM:<a@b.example>
         S: 503 5.5.1 Error: send HELO/EHLO first
         C: HELO good.example
         S: 250 mail.example.com
         C: MAIL FROM:<bad@example.org>
         S: 554 5.7.1 <bad@example.org>: Sender address rejected: Access denied
         C: MAIL FROM:<a@b.example> SIZE=3000
         S: 552 5.3.4 Message size exceeds fixed limit
         L: NOQUEUE: reject: MAIL from NA: 552 5.3.4 Message size exceeds fixed limit; from=<a@b.example> proto=SMTP helo=<good.example>
         C: RCPT TO:<a@example.com>
         S: 503 5.5.1 Error: need MAIL command
         C: MAIL FROM:<a@b.example>
         S: 552 5.3.4 Message size exceeds fixed limit
         L: NOQUEUE: reject: MAIL from NA: 552 5.3.4 Message size exceeds fixed limit; from=<a@b.example> proto=SMTP helo=<good.example>
         C: RSET
         S: 250 2.0.0 Ok
         C: MAIL FROM:<a@b.example>
         S: 250 2.1.0 Ok
         C: HELO bad.example
         S: 554 5.7.1 <bad.example>: Helo command rejected: bad
         C: RCPT TO:<a@example.com>
         S: 250 2.1.5 Ok
         C: HELO hang.example
         S: <closed>
         E: Open Q1
         E: Abort
         D: helo=1/4 mail=1/6 rcpt=1/2 rset=1 vrfy=1 etrn=0/1 commands=5/15",
    );
}

#[test]
fn vrfy_and_etrn() {
    play(
        patient(),
        "S: 220 mail.example.com ESMTP Postfix
         C: VRFY
         S: 501 5.5.4 Syntax: VRFY address [SMTPUTF8]
         C: VRFY a b
         S: 501 5.1.3 Bad recipient address syntax
         W: Illegal address syntax from NA in VRFY command: a b
         C: VRFY <a
         S: 252 2.0.0 <a
         C: VRFY <alice@example.com> smtputf8
         S: 252 2.0.0 <alice@example.com>
         C: VRFY bad@example.com
         S: 554 5.7.1 <bad@example.com>: Recipient address rejected: Access denied
         C: ETRN
         S: 500 Syntax: ETRN domain
         C: ETRN relay.example extra
         S: 500 Syntax: ETRN domain
         C: ETRN -bad-
         S: 501 Error: invalid parameter syntax
         C: ETRN @#b.example
         S: 501 Error: invalid parameter syntax
         C: ETRN bad.example
         S: 554 5.7.1 <bad.example>: Etrn command rejected: Access denied
         C: ETRN #relay.example
         S: 250 Queuing started
         C: ETRN @[192.0.2.1]
         S: 459 <[192.0.2.1]>: service unavailable
         C: ETRN broken.example
         S: 458 Unable to queue messages
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: ETRN relay.example
         S: 503 Error: MAIL transaction in progress
         D: mail=1 vrfy=2/5 etrn=1/9 commands=4/15",
    );
}

#[test]
fn xclient_and_xforward() {
    let authorised = Authorised { xclient: true, xforward: true, ..Authorised::default() };
    Dialog::new(patient(), "127.0.0.3", authorised).play(
        "S: 220 mail.example.com ESMTP Postfix
         C: XCLIENT
         S: 501 5.5.4 Syntax: XCLIENT attribute=value...
         C: XCLIENT FOO
         S: 501 5.5.4 Error: attribute=value expected
         C: XCLIENT FOO=bar
         S: 501 5.5.4 Bad XCLIENT attribute name: FOO
         C: XCLIENT NAME=a+4
         S: 501 5.5.4 Bad NAME syntax: a+4
         C: XFORWARD
         S: 501 5.5.4 Syntax: XFORWARD attribute=value...
         C: XFORWARD FOO=bar
         S: 501 5.5.4 Bad XFORWARD attribute name: FOO
         C: XFORWARD SOURCE=MOON
         S: 501 5.5.4 Bad SOURCE syntax: MOON
         C: XFORWARD NAME=spike.example ADDR=203.0.113.1
         S: 250 2.0.0 Ok
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: XFORWARD NAME=late.example
         S: 503 5.5.1 Error: MAIL transaction in progress
         C: XCLIENT NAME=late.example
         S: 503 5.5.1 Error: MAIL transaction in progress
         C: RSET
         S: 250 2.0.0 Ok
         C: XCLIENT NAME=ok.example ADDR=203.0.113.9 HELO=<a>+20b PROTO=ESMTP LOGIN=sue
         S: 220 mail.example.com ESMTP Postfix
         C: XCLIENT NAME=spam.example
         S: 550 5.7.0 Error: insufficient authorization
         C: MAIL FROM:<a@example.org> SIZE=99999999999 AUTH=x@y
         S: 552 5.3.4 Message size exceeds fixed limit
         L: NOQUEUE: reject: MAIL from NA: 552 5.3.4 Message size exceeds fixed limit; from=<a@example.org> proto=ESMTP helo=<?a??b> sasl_method=XCLIENT sasl_username=sue sasl_sender=x@y
         E: ClientChanged Some(Ok(\"ok.example\"))
         D: xclient=0/7 xforward=1/5 mail=1/2 rset=1 commands=3/15",
    );
}

#[test]
fn connect_list_runs_again_after_xclient() {
    let undelayed = SessionConfig { smtpd_delay_reject: false, ..config() };
    let authorised = Authorised { xclient: true, ..Authorised::default() };
    Dialog::new(undelayed, "127.0.0.3", authorised).play(
        "S: 220 mail.example.com ESMTP Postfix
         C: XCLIENT ADDR=203.0.113.1
         S: 554 5.7.1 <unknown[203.0.113.1]>: Client host rejected: no client
         C: NOOP
         S: 503 5.7.0 Error: access denied for unknown[203.0.113.1]",
    );
}

#[test]
fn command_filter() {
    play(
        SessionConfig { smtpd_command_filter: true, ..config() },
        "S: 220 mail.example.com ESMTP Postfix
         C: PING
         S: 250 2.0.0 Ok
         L: NA: replacing command \"PING\" with \"NOOP\"
         C: NOOP
         S: 250 2.0.0 Ok
         C: FAIL
         S: 421 4.3.0 mail.example.com Server local data error
         S: <closed>
         L: NOQUEUE: reject: NOOP from NA: 421 4.3.0 mail.example.com Server local data error; proto=SMTP
         D: noop=2 commands=2",
    );
}

#[test]
fn bare_lf_in_commands() {
    let with = |mode, code| SessionConfig {
        smtpd_forbid_bare_newline: mode,
        smtpd_forbid_bare_newline_reject_code: code,
        ..config()
    };
    for (mode, statistics) in [
        (ForbidBareNewline::Normalize, "noop=1 commands=1"),
        (ForbidBareNewline::Note, "noop=1 commands=1 notes=bare_lf"),
        (ForbidBareNewline::No, "noop=1 commands=1"),
    ] {
        let script = format!("S: 220 mail.example.com ESMTP Postfix\nR: \"NOOP\\n\"\nS: 250 2.0.0 Ok\nD: {statistics}");
        play(with(mode, 550), &script);
    }
    play(
        with(ForbidBareNewline::Reject, 521),
        "S: 220 mail.example.com ESMTP Postfix
         C: HELO c
         S: 250 mail.example.com
         R: \"NOOP\\n\"
         S: 521 5.5.2 mail.example.com Error: bare <LF> received
         S: <closed>
         L: NOQUEUE: reject: HELO from NA: bare <LF> received; proto=SMTP helo=<c>
         D: helo=1 commands=1",
    );
    let exempt = Authorised { bare_newline_exempt: true, ..Authorised::default() };
    Dialog::new(with(ForbidBareNewline::Reject, 550), "192.0.2.10", exempt).play(
        "S: 220 mail.example.com ESMTP Postfix\nR: \"NOOP\\r\\r\\n\"\nS: 250 2.0.0 Ok\nR: \"NOOP\\n\"\nS: 250 2.0.0 Ok",
    );
}

#[test]
fn finished_and_soft_bounced_replies() {
    play(
        SessionConfig { finish_replies: true, ..config() },
        "S: 220 mail.example.com ESMTP Postfix
         C: FOO
         S: 500-5.5.2 Error: command not recognized
         S: 500 sender -
         C: MAIL FROM:<end@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<bad@example.com>
         S: 554-5.7.1 <bad@example.com>: Recipient address rejected: Access denied
         S: 554 sender end@example.org
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: .
         S: 554-5.7.1 <END-OF-MESSAGE>: End-of-data rejected: quota exceeded
         S: 554 sender end@example.org
         C: RCPT TO:<drop@example.com>
         S: 503-5.5.1 Error: need MAIL command
         S: 503 sender -
         E: Open Q1
         E: Abort",
    );
    play(
        SessionConfig { soft_bounce: true, ..config() },
        "S: 220 mail.example.com ESMTP Postfix
         C: FOO
         S: 400 4.5.2 Error: command not recognized
         C: HELO
         S: 401 Syntax: HELO hostname",
    );
}

#[test]
fn nothing_without_tls_where_it_is_enforced() {
    play(
        SessionConfig { smtpd_enforce_tls: true, ..config() },
        "S: 220 mail.example.com ESMTP Postfix
         C: HELO c
         S: 250 mail.example.com
         C: MAIL FROM:<a@example.org>
         S: 530 5.7.0 Must issue a STARTTLS command first
         C: VRFY u@example.com
         S: 530 5.7.0 Must issue a STARTTLS command first
         C: NOOP
         S: 250 2.0.0 Ok
         C: QUIT
         S: 221 2.0.0 Bye
         S: <closed>
         D: helo=1 mail=0/1 noop=1 vrfy=0/1 quit=1 commands=3/5",
    );
}
