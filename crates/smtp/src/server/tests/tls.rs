//! STARTTLS and sessions that begin with TLS.

use super::*;

fn offering() -> SessionConfig {
    SessionConfig { smtpd_use_tls: true, tls_available: true, ..config() }
}

fn play_with(config: SessionConfig, handshake: Handshake, script: &str) {
    let mut dialog = Dialog::new(config, "192.0.2.10", Authorised::default());
    dialog.handshake = handshake;
    dialog.play(script);
}

#[test]
fn tls_starts_anew() {
    play(
        offering(),
        "S: 220 mail.example.com ESMTP Postfix
         C: EHLO c
         S: 250-mail.example.com
         S: 250-PIPELINING
         S: 250-SIZE 10240000
         S: 250-VRFY
         S: 250-ETRN
         S: 250-STARTTLS
         S: 250-ENHANCEDSTATUSCODES
         S: 250-8BITMIME
         S: 250-DSN
         S: 250-SMTPUTF8
         S: 250 CHUNKING
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         C: STARTTLS now
         S: 501 5.5.4 Syntax: STARTTLS
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         E: Open Q1
         E: StartTls
         E: Abort
         C: RCPT TO:<u@example.com>
         S: 503 5.5.1 Error: need MAIL command
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: EHLO c
         S: 250-mail.example.com
         S: 250-PIPELINING
         S: 250-SIZE 10240000
         S: 250-VRFY
         S: 250-ETRN
         S: 250-ENHANCEDSTATUSCODES
         S: 250-8BITMIME
         S: 250-DSN
         S: 250-SMTPUTF8
         S: 250-CHUNKING
         S: 250 REQUIRETLS
         C: STARTTLS
         S: 554 5.5.1 Error: TLS already active
         D: ehlo=2 starttls=1/3 mail=2 rcpt=1/2 commands=6/9",
    );
}

#[test]
fn what_came_in_the_clear_is_forgotten() {
    for handshake in [Handshake::Established, Handshake::Failed] {
        let mut dialog = Dialog::new(offering(), "192.0.2.10", Authorised::default());
        dialog.handshake = handshake;
        dialog.start();
        dialog.send(b"EHLO c\r\n");
        dialog.replies.clear();
        dialog.send(b"STARTTLS\r\nEHLO injected\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO");
        assert_eq!(dialog.replies, ["220 2.0.0 Ready to start TLS"]);
        assert_ne!(dialog.session.helo_name(), Some("injected"));
        assert_eq!(dialog.session.sender(), None);
        assert_eq!(dialog.closed, handshake == Handshake::Failed);
        dialog.replies.clear();
        dialog.send(b"BLAH\r\n");
        let replies: &[&str] = if dialog.closed { &[] } else { &["500 5.5.2 Error: command not recognized"] };
        assert_eq!(dialog.replies, replies);
    }
}

#[test]
fn the_login_ends_with_the_clear_part() {
    let mut dialog = Dialog::new(offering(), "192.0.2.10", Authorised::default());
    let offer = AuthOffer { mechanisms: "PLAIN".into(), is_announced: true };
    dialog.session.set_auth_offer(Some(offer));
    dialog.play(
        "S: 220 mail.example.com ESMTP Postfix
         C: AUTH PLAIN Z29vZA==
         S: 235 2.7.0 Authentication successful
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         C: AUTH PLAIN Z29vZA==
         S: 235 2.7.0 Authentication successful",
    );
}

#[test]
fn where_there_is_no_tls() {
    for (config, reply) in [
        (config(), "502 5.5.1 Error: command not implemented"),
        (SessionConfig { tls_available: false, ..offering() }, "454 4.7.0 TLS not available due to local problem"),
    ] {
        play(config, &format!("S: 220 mail.example.com ESMTP Postfix\nC: STARTTLS\nS: {reply}"));
    }
    let discarding = Authorised { discard_ehlo_keywords: EhloKeywords::STARTTLS, ..Authorised::default() };
    Dialog::new(offering(), "192.0.2.10", discarding).play(
        "S: 220 mail.example.com ESMTP Postfix
         C: STARTTLS
         S: 502 5.5.1 Error: command not implemented",
    );
}

#[test]
fn mandatory_tls_is_satisfied_by_it() {
    play(
        SessionConfig { smtpd_enforce_tls: true, ..offering() },
        "S: 220 mail.example.com ESMTP Postfix
         C: MAIL FROM:<a@example.org>
         S: 530 5.7.0 Must issue a STARTTLS command first
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok",
    );
}

#[test]
fn a_handshake_that_fails_ends_the_session() {
    play_with(
        offering(),
        Handshake::Failed,
        "S: 220 mail.example.com ESMTP Postfix
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         S: <closed>
         L: NOQUEUE: lost connection after STARTTLS from NA
         D: starttls=0/1 commands=0/1",
    );
}

#[test]
fn without_the_certificate_that_is_required() {
    play_with(
        SessionConfig { smtpd_enforce_tls: true, ..offering() },
        Handshake::Unwanted("No client certificate presented"),
        "S: 220 mail.example.com ESMTP Postfix
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         L: NOQUEUE: abort: TLS from NA: No client certificate presented
         C: EHLO c
         S: 421 4.7.1 mail.example.com Error: No client certificate presented
         S: <closed>
         D: starttls=1 commands=1",
    );
}

#[test]
fn wrapper_mode() {
    let config = || SessionConfig { smtpd_tls_wrappermode: true, smtpd_enforce_tls: true, ..offering() };
    play(
        config(),
        "E: StartTls
         S: 220 mail.example.com ESMTP Postfix
         C: STARTTLS
         S: 554 5.5.1 Error: TLS already active
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok",
    );
    play_with(
        config(),
        Handshake::Failed,
        "S: <closed>
         L: NOQUEUE: lost connection after CONNECT from NA
         D: commands=0/0",
    );
    play_with(config(), Handshake::Unavailable, "S: <closed>\nD: commands=0/0");
    play_with(
        config(),
        Handshake::Unwanted("Client certificate not trusted"),
        "S: 421 4.7.1 mail.example.com Error: Client certificate not trusted
         S: <closed>
         L: NOQUEUE: abort: TLS from NA: Client certificate not trusted",
    );
}

#[test]
fn a_late_reply_leaves_before_the_handshake() {
    let mut dialog =
        Dialog::new(SessionConfig { smtpd_soft_error_limit: 0, ..offering() }, "192.0.2.10", Authorised::default());
    dialog.start();
    dialog.pass(1000);
    dialog.replies.clear();
    dialog.send(b"STARTTLS\r\n");
    assert!(dialog.replies.is_empty() && dialog.events.is_empty());
    dialog.pass(1000);
    assert_eq!(dialog.replies, ["220 2.0.0 Ready to start TLS"]);
    assert_eq!(dialog.events, ["StartTls"]);
}

#[test]
fn requiretls_goes_with_tls() {
    let script = |before: &str, reply: &str| format!("{before}C: MAIL FROM:<a@example.org> REQUIRETLS\nS: {reply}");
    let unsupported = "555 5.5.4 Unsupported option: REQUIRETLS";
    let greeting = "S: 220 mail.example.com ESMTP Postfix\n";
    let tls = format!("{greeting}C: STARTTLS\nS: 220 2.0.0 Ready to start TLS\n");
    play(offering(), &script(greeting, unsupported));
    play(SessionConfig { requiretls_enable: false, ..offering() }, &script(&tls, unsupported));
    let mut dialog = Dialog::new(offering(), "192.0.2.10", Authorised::default());
    dialog.start();
    dialog.send(b"STARTTLS\r\n");
    dialog.send(b"MAIL FROM:<a@example.org> requiretls\r\n");
    assert!(dialog.session.mail_options().requiretls);
}

#[test]
fn too_many_new_sessions() {
    let counting = || SessionConfig { count_new_tls_sessions: true, ..offering() };
    // Before the handshake, and after it.
    play(
        counting(),
        "S: 220 mail.example.com ESMTP Postfix
         C: HELO many
         S: 250 mail.example.com
         C: STARTTLS
         S: 454 4.7.0 Error: too many new TLS sessions from unknown[192.0.2.10]
         C: QUIT
         S: 221 2.0.0 Bye
         S: <closed>
         D: helo=1 starttls=0/1 quit=1 commands=2/3",
    );
    play_with(
        counting(),
        Handshake::TooMany,
        "S: 220 mail.example.com ESMTP Postfix
         C: HELO few
         S: 250 mail.example.com
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         E: StartTls
         S: 421 4.7.0 mail.example.com Error: too many new TLS sessions from unknown[192.0.2.10]
         S: <closed>
         D: helo=1 starttls=0/1 commands=1/2",
    );
}
