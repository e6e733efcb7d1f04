//! Sessions with Milters: the driver hands their verdicts in.

use super::*;

fn dialog(client: &str) -> Dialog {
    let config = SessionConfig { smtpd_delay_reject: true, ..patient() };
    let mut dialog = Dialog::new(config, client, Authorised::default());
    dialog.session.set_milters(true);
    dialog
}

#[test]
fn refused_at_connect() {
    let mut refused = dialog("203.0.113.11");
    refused.session.set_milter_standing(Some("550 5.7.1 Command rejected".to_owned()));
    refused.play(
        "S: 554 mail.example.com ESMTP not accepting connections
         C: EHLO x
         S: 250-mail.example.com
         S: 250 ENHANCEDSTATUSCODES
         C: VRFY u@example.com
         S: 550 5.7.1 Command rejected
         C: ETRN example.com
         S: 550 5.7.1 Command rejected
         C: NOOP
         S: 250 2.0.0 Ok
         D: ehlo=1 noop=1 vrfy=0/1 etrn=0/1 commands=2/4",
    );
    dialog("203.0.113.12").play(
        "S: 421 mail.example.com Service unavailable - try again later
         S: <closed>",
    );
    dialog("203.0.113.13").play("S: 220 mail.example.com ESMTP Postfix");
}

#[test]
fn refused_later() {
    dialog("192.0.2.10").play(
        "S: 220 mail.example.com ESMTP Postfix
         C: HELO milter
         S: 250 mail.example.com
         C: XTEMP a b
         S: 451 4.7.1 later
         C: XOTHER
         S: 500 5.5.2 Error: command not recognized
         C: MAIL FROM:<milter@example.org> SIZE=10
         S: 250 2.1.0 Ok
         C: RCPT TO:<u@example.com>
         S: 250 2.1.5 Ok
         C: DATA
         S: 554-5.7.1 a
         S: 554 5.7.1 b
         C: BDAT 1 LAST
         R: \"x\"
         S: 554-5.7.1 a
         S: 554 5.7.1 b
         C: HELO shut
         S: 421 4.7.0 bye
         S: <closed>",
    );
}

#[test]
fn a_refused_login_is_told_to_come_back() {
    let mut refused = dialog("192.0.2.10");
    refused.session.set_auth_offer(Some(AuthOffer { mechanisms: "PLAIN".into(), is_announced: true }));
    refused.session.set_milter_standing(Some("451 4.7.1 not now".to_owned()));
    refused.play(
        "S: 220 mail.example.com ESMTP Postfix
         C: HELO x
         S: 250 mail.example.com
         C: AUTH PLAIN AHVzZXIAc2VjcmV0
         S: 454 4.3.0 Try again later
         C: VRFY u@example.com
         S: 451 4.7.1 not now",
    );
}

#[test]
fn arguments_are_kept_for_them() {
    let mut dialog = dialog("192.0.2.10");
    dialog.start();
    dialog.send(b"EHLO x\r\n");
    dialog.send(b"MAIL FROM:<a@example.org> SIZE=10 BODY=8BITMIME\r\n");
    assert_eq!(dialog.session.command_arguments(), ["SIZE=10", "BODY=8BITMIME"]);
    dialog.send(b"RCPT TO:<u@example.com> NOTIFY=NEVER\r\n");
    assert_eq!(dialog.session.command_arguments(), ["NOTIFY=NEVER"]);
}
