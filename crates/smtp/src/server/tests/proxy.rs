//! What a before-queue filter has to say.

use super::mail::GREETED;
use super::*;

#[test]
fn the_proxy_may_refuse_a_recipient() {
    let mut dialog =
        Dialog::new(SessionConfig { smtpd_proxy_filter: true, ..config() }, "192.0.2.10", Authorised::default());
    dialog.start();
    dialog.send(b"HELO c\r\n");
    dialog.send(b"MAIL FROM:<a@example.org> SIZE=5\r\n");
    dialog.send(b"RCPT TO:<proxy@example.com>\r\n");
    dialog.send(b"RCPT TO:<u@example.com> NOTIFY=NEVER\r\n");
    assert_eq!(
        dialog.replies.iter().skip(3).collect::<Vec<_>>(),
        ["550 5.1.1 <proxy@example.com>: no", "250 2.1.5 Ok"]
    );
    assert_eq!(dialog.session.mail_command(), "MAIL FROM:<a@example.org> SIZE=5");
    let [only] = dialog.session.recipients() else { panic!() };
    assert_eq!(only.command, "RCPT TO:<u@example.com> NOTIFY=NEVER");
    assert_eq!(only.notify, Notify::NEVER);
}

#[test]
fn the_proxy_may_refuse_the_content() {
    let config = || SessionConfig { smtpd_proxy_filter: true, smtpd_forbid_unauth_pipelining: false, ..config() };
    let begin = |sender: &str| {
        format!(
            "{GREETED}C: MAIL FROM:<{sender}@example.org>
             S: 250 2.1.0 Ok
             C: RCPT TO:<u@example.com>
             E: Open Q1
             S: 250 2.1.5 Ok
             "
        )
    };
    play(
        config(),
        &format!(
            "{}C: DATA
             S: 554 5.7.1 no content
             C: DATA
             S: 554 5.7.1 no content
             C: RCPT TO:<v@example.com>
             S: 250 2.1.5 Ok",
            begin("nodata")
        ),
    );
    play(
        config(),
        &format!(
            "{}R: \"BDAT 3\\r\\nabc\"
             S: 554 5.7.1 no content
             R: \"BDAT 1 LAST\\r\\nx\"
             S: 551 5.0.0 Discarded 1 bytes after earlier error
             E: Abort
             L: improper command pipelining after BDAT from NA: abc",
            begin("nodata")
        ),
    );
}
