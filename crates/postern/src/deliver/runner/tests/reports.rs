//! Reports to senders, and what the postmaster is told.

use super::*;

/// Where bounces and notices go in these tests.
const COPIES: &str = "\
notify_classes = bounce, 2bounce, delay, protocol
bounce_notice_recipient = bounces@note.example
2bounce_notice_recipient = doubles@note.example
delay_notice_recipient = delays
error_notice_recipient = errors
";

fn routes(hop: &str) -> Vec<(&'static str, String)> {
    let discard = |domain| (domain, "discard:taken".to_owned());
    vec![("a.example", hop.to_owned()), discard("back.example"), discard("note.example"), discard("example.com")]
}

/// Lines of bounce(8), and those that say where mail went.
fn reports(lines: &[String]) -> Vec<String> {
    let told = |l: &&String| l.starts_with("postfix/bounce: ") || l.contains("(taken)");
    let lines = lines.iter().filter(told);
    lines.map(|line| line.replace(", relay=none, delay=D, delays=D, dsn=2.0.0, status=sent (taken)", "")).collect()
}

#[test]
fn the_postmaster_gets_copies_of_bounces() {
    let (port, _told) = server(&[("RCPT TO:<bad", "550 5.1.1 no such user")]);
    let main_cf = format!("{COPIES}minimal_backoff_time = 1h\n");
    let lab = Lab::new(routes(&format!("smtp:[127.0.0.1]:{port}")), &main_cf);
    lab.send("s@back.example", &["bad@a.example"]);
    let lines: Vec<String> = (0..3).flat_map(|_| lab.until(": removed")).collect();
    let mut seen = reports(&lines);
    seen.sort();
    let mut want = [
        "postfix/bounce: QID: sender non-delivery notification: QID",
        "postfix/bounce: QID: postmaster non-delivery notification: QID",
        "postfix/discard: QID: to=<s@back.example>",
        "postfix/discard: QID: to=<bounces@note.example>",
    ];
    want.sort_unstable();
    assert_eq!(seen, want, "{lines:#?}");
    assert!(lines.iter().any(|l| l.contains(": from=<double-bounce@mail.example.com>, ")), "{lines:#?}");

    lab.send("", &["bad@a.example"]);
    let lines: Vec<String> = (0..2).flat_map(|_| lab.until(": removed")).collect();
    let postmaster = "postfix/bounce: QID: postmaster non-delivery notification: QID";
    assert_eq!(reports(&lines), [postmaster, "postfix/discard: QID: to=<doubles@note.example>"], "{lines:#?}");

    lab.send("double-bounce@mail.example.com", &["bad@a.example"]);
    let lines = lab.until(": removed");
    let discarded = "postfix/bounce: warning: QID undeliverable postmaster notification discarded";
    assert_eq!(reports(&lines), [discarded.replace("QID ", "QID: ")], "{lines:#?}");
    assert!(lab.spool.is_empty());
}

#[test]
fn delays_are_told_once_and_their_end_too() {
    let lab = Lab::new(
        vec![
            ("a.example", "retry:4.3.2 try later".into()),
            ("back.example", "discard:taken".into()),
            ("example.com", "discard:taken".into()),
        ],
        &format!("{COPIES}delay_warning_time = 1h\nconfirm_delay_cleared = yes\n"),
    );
    let mut message = lab.message("s@back.example", &["x@a.example"]);
    Arc::make_mut(&mut message.envelope).arrival -= 3600 * SECOND;
    let id = message.envelope.queue_id;
    lab.spool.submit_and_wait(message.clone()).unwrap();
    lab.handle.enqueue(message);
    let lines: Vec<String> = (0..2).flat_map(|_| lab.until(": removed")).collect();
    let mut seen = reports(&lines);
    seen.sort();
    let want = [
        "postfix/bounce: QID: postmaster delay notification: QID",
        "postfix/bounce: QID: sender delay notification: QID",
        "postfix/discard: QID: to=<delays@example.com>",
        "postfix/discard: QID: to=<s@back.example>",
    ];
    assert_eq!(seen, want, "{lines:#?}");
    lab.handle.flush();
    let lines = lab.until("status=deferred (try later)");
    assert!(reports(&lines).is_empty(), "{lines:#?}");
    lab.handle.drain(std::time::Duration::from_secs(5));
    let left = lab.spool.message(id).unwrap();
    assert_eq!(left.envelope.recipients[0].status.as_ref().unwrap().action, "delayed");
    // Now the mail goes out.
    let lab = Lab::new(
        vec![("a.example", "discard:at last".into()), ("back.example", "discard:taken".into())],
        "confirm_delay_cleared = yes\n",
    );
    let mut envelope = left.envelope.as_ref().clone();
    envelope.recipients[0].next_attempt = 0;
    let message = Message { envelope: Arc::new(envelope), ..lab.message("", &[]) };
    lab.spool.submit_and_wait(message.clone()).unwrap();
    lab.handle.enqueue(message);
    let lines: Vec<String> = (0..2).flat_map(|_| lab.until(": removed")).collect();
    let want =
        ["postfix/bounce: QID: sender delivery status notification: QID", "postfix/discard: QID: to=<s@back.example>"];
    assert_eq!(reports(&lines), want, "{lines:#?}");
}

#[test]
fn the_postmaster_sees_sessions_with_odd_servers() {
    let (port, _told) = server(&[("RCPT TO:<odd", "501 5.5.4 syntax")]);
    let lab = Lab::new(routes(&format!("smtp:[127.0.0.1]:{port}")), "notify_classes = protocol\n");
    lab.send("", &["odd@a.example"]);
    let lines: Vec<String> = (0..2).flat_map(|_| lab.until(": removed")).collect();
    assert_eq!(reports(&lines), ["postfix/discard: QID: to=<postmaster@example.com>"], "{lines:#?}");
    assert!(lines.iter().any(|l| l.contains(": from=<double-bounce@mail.example.com>, ")), "{lines:#?}");
}

#[test]
fn filters_have_a_say_in_reports() {
    let (port, told) = server(&[("RCPT TO:<bad", "550 5.1.1 no such user")]);
    let lab = Lab::new(routes(&format!("smtp:[127.0.0.1]:{port}")), "minimal_backoff_time = 1s\n");
    // taken to be thrown away, it counts as sent
    lab.send("s@gone.example", &["bad@a.example"]);
    let lines = lab.until(": removed");
    assert_eq!(reports(&lines), ["postfix/bounce: QID: sender non-delivery notification: QID"], "{lines:#?}");
    assert!(lab.spool.is_empty());
    // refused, the message stays, and is reported on again
    lab.send("s@refused.example", &["bad@a.example"]);
    for _ in 0..2 {
        let lines = lab.until("status=deferred (bounce failed)");
        assert_eq!(reports(&lines), ["postfix/bounce: warning: QID: 5.7.1 no"], "{lines:#?}");
        assert_eq!(lines.last().map(String::as_str), Some("postfix/qmgr: QID: status=deferred (bounce failed)"));
    }
    assert_eq!(lab.spool.len(), 1);
    let tried = told.try_iter().filter(|line| line.starts_with("RCPT TO:<bad@")).count();
    assert_eq!(tried, 2, "each message once");
}
