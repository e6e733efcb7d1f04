//! soft_bounce, and the words that postern adds to restriction lists.

use testkit::Dialog;

use crate::server::Server;

const DENIED: &str = "<user@elsewhere.example>: Relay access denied";
const UNKNOWN: &str = "<who@example.com>: Recipient address rejected: User unknown in local recipient table";

/// A session with a sender.
fn with_sender(server: &Server) -> Dialog {
    let mut dialog = server.dialog();
    assert_eq!(dialog.command("MAIL FROM:<a@example.org>").expect("a reply"), "250 2.1.0 Ok");
    dialog
}

fn rcpt(dialog: &mut Dialog, to: &str) -> String {
    dialog.command(&format!("RCPT TO:<{to}>")).expect("a reply")
}

#[test]
#[ignore = "run by cargo xtask test"]
fn soft_bounce() {
    let server = Server::start(
        "soft_bounce = yes\nlocal_recipient_maps = inline:{user=x}\nsmtpd_relay_restrictions = reject_unauth_destination\n",
    );
    let _sink = server.sink("RCPT TO:<GONE => 550 5.1.1 no such user");
    let mut dialog = with_sender(&server);
    assert_eq!(rcpt(&mut dialog, "who@example.com"), format!("450 4.1.1 {UNKNOWN}"));
    assert_eq!(rcpt(&mut dialog, "user@elsewhere.example"), format!("454 4.7.1 {DENIED}"));
    server.wait_log(&format!("NOQUEUE: reject: RCPT from localhost[127.0.0.1]: 450 4.1.1 {UNKNOWN}; from="));
    assert!(!server.log().contains(": 550 "), "{}", server.tail());
    // nor does the queue give up
    let reply = server.dialog().message("user@example.com", "gone@relay.example", "softly").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    server.wait_log("status=SOFTBOUNCE (host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such user");
    assert_eq!(server.maildir("user"), Vec::<String>::new());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn disconnect_if_reject() {
    let list = "smtpd_relay_restrictions = disconnect_if_reject reject_unauth_destination\n\
                local_recipient_maps = inline:{user=x}\n";
    for (soft, guarded, other) in [("no", "521 5.7.1", "550 5.1.1"), ("yes", "421 4.7.1", "450 4.1.1")] {
        let server = Server::start(&format!("{list}soft_bounce = {soft}\n"));
        let mut dialog = with_sender(&server);
        // another rejection leaves the session open
        assert_eq!(rcpt(&mut dialog, "who@example.com"), format!("{other} {UNKNOWN}"));
        assert_eq!(rcpt(&mut dialog, "user@elsewhere.example"), format!("{guarded} {DENIED}"));
        assert_eq!(dialog.rest().expect("the end"), "");
        server.wait_log(&format!("NOQUEUE: reject: RCPT from localhost[127.0.0.1]: {guarded} {DENIED}; from="));
        server.wait_log("disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=0/2 commands=2/4");
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn no_error_count() {
    let former = "check_recipient_access inline:{former@example.com=REJECT}";
    let settings = |word: &str| {
        format!(
            "smtpd_recipient_restrictions = {word} {former}\nsmtpd_hard_error_limit = 5\nsmtpd_error_sleep_time = 0\n"
        )
    };
    let refusal = "554 5.7.1 <former@example.com>: Recipient address rejected: Access denied";
    let server = Server::start(&settings("no_error_count"));
    let mut dialog = with_sender(&server);
    for n in 0..30 {
        assert_eq!(rcpt(&mut dialog, "former@example.com"), refusal, "number {n}");
    }
    assert_eq!(rcpt(&mut dialog, "user@example.com"), "250 2.1.5 Ok");

    let server = Server::start(&settings(""));
    let mut dialog = with_sender(&server);
    for n in 0..4 {
        assert_eq!(rcpt(&mut dialog, "former@example.com"), refusal, "number {n}");
    }
    assert_eq!(rcpt(&mut dialog, "former@example.com"), refusal);
    assert_eq!(dialog.command("NOOP").unwrap_or_default(), "421 4.7.0 mail.example.com Error: too many errors");
    assert_eq!(dialog.rest().unwrap_or_default(), "");
}
