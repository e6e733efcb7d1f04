//! AUTH: offers, exchanges, refusals, and what is left of a login.

use super::*;

/// With an offer; the driver takes `user` with the response `Z29vZA==`.
fn offered(config: SessionConfig, is_announced: bool) -> Dialog {
    let mut dialog = Dialog::new(config, "192.0.2.10", Authorised::default());
    dialog.session.set_auth_offer(Some(AuthOffer { mechanisms: "PLAIN LOGIN".into(), is_announced }));
    dialog
}

fn auth(script: &str) {
    offered(patient(), true).play(script);
}

#[test]
fn keywords() {
    let config = SessionConfig { broken_sasl_auth_clients: true, ..config() };
    let ehlo = |mut dialog: Dialog| {
        dialog.start();
        dialog.send(b"EHLO c\r\n");
        let shown = dialog.replies.iter().filter(|r| r.contains("AUTH") || r.contains("ETRN"));
        shown.cloned().collect::<Vec<_>>()
    };
    assert_eq!(ehlo(offered(config.clone(), true)), ["250-ETRN", "250-AUTH PLAIN LOGIN", "250-AUTH=PLAIN LOGIN"]);
    assert_eq!(ehlo(offered(config.clone(), false)), ["250-ETRN"]);
    let mut none = offered(config.clone(), true);
    none.session.set_auth_offer(Some(AuthOffer { mechanisms: "".into(), is_announced: true }));
    assert_eq!(ehlo(none), ["250-ETRN"]);
    let authorised = Authorised { discard_ehlo_keywords: EhloKeywords::AUTH, ..Authorised::default() };
    let mut discarded = Dialog::new(config, "192.0.2.10", authorised);
    discarded.session.set_auth_offer(Some(AuthOffer { mechanisms: "PLAIN".into(), is_announced: true }));
    discarded.play(
        "S: 220 mail.example.com ESMTP Postfix
         C: AUTH PLAIN Z29vZA==
         S: 503 5.5.1 Error: authentication not enabled",
    );
}

#[test]
fn logins() {
    auth(
        "S: 220 mail.example.com ESMTP Postfix
         C: AUTH PLAIN Z29vZA==
         S: 235 2.7.0 Authentication successful
         E: Auth Start(PLAIN) Z29vZA==
         C: AUTH PLAIN Z29vZA==
         S: 503 5.5.1 Error: already authenticated
         C: HELO again
         S: 250 mail.example.com
         C: AUTH
         S: 503 5.5.1 Error: already authenticated
         C: MAIL FROM:<a@example.org> AUTH=a+40b
         S: 250 2.1.0 Ok
         C: RCPT TO:<bad@example.com>
         S: 554 5.7.1 <bad@example.com>: Recipient address rejected: Access denied
         D: helo=1 auth=1/3 mail=1 rcpt=0/1 commands=3/6",
    );
    auth(
        "S: 220 mail.example.com ESMTP Postfix
         C: auth login
         S: 334 VXNlcm5hbWU6
         C|
         C: NOOP
         S: 334 VXNlcm5hbWU6
         S: 535 5.7.8 Error: authentication failed: (reason unavailable)
         W: NA: SASL login authentication failed: (reason unavailable), sasl_username=user
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: Z29vZA==
         S: 235 2.7.0 Authentication successful
         E: Auth Start(login) -
         E: Auth Continue
         E: Auth Continue NOOP
         E: Auth Start(LOGIN) -
         E: Auth Continue Z29vZA==
         D: auth=1/2 commands=1/2",
    );
}

#[test]
fn login_in_log_lines() {
    let mut dialog = offered(patient(), true);
    dialog.start();
    dialog.send(b"EHLO c\r\n");
    dialog.send(b"AUTH PLAIN Z29vZA==\r\nMAIL FROM:<a@example.org> AUTH=a+40b\r\n");
    let login = dialog.session.login().unwrap();
    assert_eq!((login.method.as_str(), login.username.as_str()), ("PLAIN", "user"));
    assert_eq!(
        dialog.session.log_context(),
        " from=<a@example.org> proto=ESMTP helo=<c> sasl_method=PLAIN sasl_username=user sasl_sender=a+40b"
    );
}

#[test]
fn refusals() {
    auth(
        "S: 220 mail.example.com ESMTP Postfix
         C: AUTH GSSAPI
         S: 535 5.7.8 Error: authentication failed: Invalid authentication mechanism: 'GSSAPI'
         W: NA: SASL GSSAPI authentication failed: Invalid authentication mechanism: 'GSSAPI', sasl_username=(unavailable)
         C: AUTH PLAIN YmFk
         S: 535 5.7.8 Error: authentication failed: no such user
         W: NA: SASL PLAIN authentication failed: no such user, sasl_username=bad
         C: AUTH PLAIN !!!
         S: 535 5.7.8 Error: authentication failed: Invalid base64 data in initial response
         W: NA: SASL PLAIN authentication failed: Invalid base64 data in initial response, sasl_username=bad
         C: AUTH PLAIN ZG93bg==
         S: 454 4.7.0 Temporary authentication failure: Connection lost to authentication server
         W: NA: SASL PLAIN authentication failed: Connection lost to authentication server, sasl_username=bad
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: !
         S: 535 5.7.8 Error: authentication failed: Invalid base64 data in continued response
         W: NA: SASL LOGIN authentication failed: Invalid base64 data in continued response, sasl_username=bad
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: *
         S: 501 5.7.0 Authentication aborted
         W: NA: SASL LOGIN authentication aborted
         C: AUTH
         S: 501 5.5.4 Syntax: AUTH mechanism
         C: AUTH PLAIN a b
         S: 501 5.5.4 Syntax: AUTH mechanism
         C: MAIL FROM:<a@example.org>
         S: 250 2.1.0 Ok
         C: AUTH PLAIN Z29vZA==
         S: 503 5.5.1 Error: MAIL transaction in progress
         E: Auth Start(PLAIN) YmFk
         E: Auth Start(PLAIN) ZG93bg==
         E: Auth Start(LOGIN) -
         E: Auth Cancel
         E: Auth Start(LOGIN) -
         E: Auth Cancel
         D: auth=0/9 mail=1 commands=1/10",
    );
    offered(SessionConfig { smtpd_helo_required: true, ..config() }, true).play(
        "S: 220 mail.example.com ESMTP Postfix
         C: AUTH PLAIN Z29vZA==
         S: 503 5.5.1 Error: send HELO/EHLO first",
    );
    offered(SessionConfig { count_auths: true, ..config() }, true).play(
        "S: 220 mail.example.com ESMTP Postfix
         C: AUTH PLAIN Z29vZA==
         S: 235 2.7.0 Authentication successful
         C: QUIT
         S: 221 2.0.0 Bye
         S: <closed>",
    );
    offered(SessionConfig { count_auths: true, ..config() }, true).play(
        "S: 220 mail.example.com ESMTP Postfix
         C: HELO many
         S: 250 mail.example.com
         C: AUTH PLAIN Z29vZA==
         S: 450 4.7.1 Error: too many AUTH commands from 192.0.2.10",
    );
}

#[test]
fn response_limit() {
    let limited = || SessionConfig { smtpd_sasl_response_limit: 8, ..patient() };
    let long = format!(
        "S: 220 mail.example.com ESMTP Postfix
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: 123456789
         S: 500 5.5.6 SASL response limit exceeded
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: 1234567890123456
         S: 500 5.5.6 SASL response limit exceeded
         C: NOOP
         S: 250 2.0.0 Ok
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: 12345678
         S: 334 VXNlcm5hbWU6
         C: {}
         S: 500 5.5.6 SASL response limit exceeded
         S: <closed>
         L: NOQUEUE: lost connection after AUTH from NA",
        "x".repeat(1000)
    );
    offered(limited(), true).play(&long);
}

#[test]
fn ends_within_an_exchange() {
    auth(
        "S: 220 mail.example.com ESMTP Postfix
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         X:
         S: <closed>
         L: NOQUEUE: lost connection after AUTH from NA
         E: Auth Start(LOGIN) -
         E: Auth Cancel",
    );
    auth(
        "S: 220 mail.example.com ESMTP Postfix
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         T: 300000
         S: 421 4.4.2 mail.example.com Error: timeout exceeded
         S: <closed>
         L: NOQUEUE: timeout after AUTH from NA
         E: Auth Start(LOGIN) -
         E: Auth Cancel",
    );
    offered(SessionConfig { smtpd_forbid_bare_newline: ForbidBareNewline::Reject, ..config() }, true).play(
        r#"S: 220 mail.example.com ESMTP Postfix
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         R: "Z29vZA==\n"
         S: 550 5.5.2 mail.example.com Error: bare <LF> received
         S: <closed>
         L: NOQUEUE: reject: AUTH from NA: bare <LF> received; proto=SMTP
         E: Auth Start(LOGIN) -
         E: Auth Cancel"#,
    );
    let mut dialog = offered(patient(), true);
    dialog.start();
    dialog.send(b"AUTH LOGIN\r\n");
    dialog.session.drain();
    dialog.turn();
    assert_eq!(dialog.replies.back().unwrap(), "421 4.3.2 mail.example.com Service shutting down");
    assert!(dialog.closed);
}

#[test]
fn input_waits_for_the_answer() {
    let mut session = ServerSession::new(Arc::new(config()), None, 0, Authorised::default(), 0);
    session.set_auth_offer(Some(AuthOffer { mechanisms: "PLAIN".into(), is_announced: true }));
    session.start(0);
    while session.poll(0).is_some() {}
    session.receive(0, b"AUTH PLAIN Z29vZA==\r\nNOOP\r\n");
    assert!(matches!(session.poll(0), Some(Event::Log(_))), "nothing may follow before EHLO");
    let mut session = ServerSession::new(Arc::new(config()), None, 0, Authorised::default(), 0);
    session.set_auth_offer(Some(AuthOffer { mechanisms: "PLAIN".into(), is_announced: true }));
    session.start(0);
    session.receive(0, b"EHLO c\r\n");
    while session.poll(0).is_some() {}
    let mut out = Vec::new();
    session.take_output(&mut out);
    session.receive(0, b"AUTH PLAIN Z29vZA==\r\nNOOP\r\n");
    assert!(matches!(session.poll(0), Some(Event::Auth(AuthStep::Start { .. }))));
    assert_eq!(session.poll(0), None);
    assert!(!session.wants_input() && !session.has_output());
    session.auth_answered(AuthAnswer::Success { username: "us\r\ner".to_owned() });
    while session.poll(0).is_some() {}
    out.clear();
    session.take_output(&mut out);
    assert_eq!(out, b"235 2.7.0 Authentication successful\r\n250 2.0.0 Ok\r\n");
    assert_eq!(session.login().unwrap().username, "us??er");
}

#[test]
fn secrets_stay_out_of_logs() {
    let mut dialog = offered(SessionConfig { smtpd_forbid_unauth_pipelining: false, ..patient() }, true);
    dialog.start();
    dialog.send(b"NOOP\r\nAUTH PLAIN Z29vZA==\r\n");
    assert_eq!(dialog.logs, ["improper command pipelining after NOOP from NA: AUTH PLAIN"]);
    let mut dialog = offered(patient(), true);
    dialog.start();
    dialog.send(format!("AUTH PLAIN Z29vZA={}\r\n", "=".repeat(3000)).as_bytes());
    assert_eq!(dialog.logs, ["warning: NA: request longer than 2048: AUTH PLAIN..."]);
}
