use super::*;

fn settings() -> ReportSettings {
    ReportSettings {
        myhostname: "mail.example.com".into(),
        myorigin: "example.com".into(),
        mail_name: "Postfix".into(),
        bounce_size_limit: 50000,
        double_bounce_sender: "double-bounce".into(),
        date: utc_date,
        delay_warning_time: 4 * 3_600 * 1_000_000,
        maximal_queue_lifetime: 5 * 86_400 * 1_000_000,
        copies: Copies {
            bounce: Some("bounces@note.example".into()),
            double_bounce: Some("doubles@note.example".into()),
            delay: Some("delays@note.example".into()),
        },
        eight_bit: true,
    }
}

const NOW: i64 = 1_795_351_586_000_000;

fn failed() -> Envelope {
    let mut envelope = Envelope::new("8323399E0DF".parse().unwrap(), NOW, "s@origin.example");
    envelope.envid = Some("abc+".into());
    envelope.ret = Some(Ret::Headers);
    let mut recipient = Recipient::new("u@bad.example");
    recipient.orcpt = Some("rfc822;orig@x.example".into());
    recipient.state = RecipientState::Failed;
    recipient.status = Some(Box::new(DeliveryStatus {
        dsn: "5.1.1".into(),
        reason: "host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)".into(),
        remote_mta: Some("127.0.0.1".into()),
        reply: Some("550 5.1.1 no such user".into()),
        action: "failed".into(),
    }));
    envelope.recipients = vec![recipient, Recipient::new("waits@bad.example")];
    envelope
}

fn render(kind: ReportKind, envelope: &Envelope) -> Option<String> {
    let original = b"Subject: hello\nTo: x@y.example\n\nbody\n";
    let settings = settings();
    let to = kind.postmaster(&settings).unwrap_or(&envelope.sender);
    let posting = Posting { queue_id: "92DB599E0FA".parse().unwrap(), now: NOW, to };
    let message = report(kind, envelope, original, &settings, posting)?;
    let Content::Memory(content) = message.content else { panic!("content not in memory") };
    assert_eq!(message.envelope.size, content.len() as u64);
    let sender = if kind.is_for_sender() { "" } else { "double-bounce@mail.example.com" };
    assert_eq!((&*message.envelope.sender, &*message.envelope.recipients[0].address), (sender, to));
    Some(String::from_utf8(content.to_vec()).unwrap())
}

#[test]
fn a_report_reads_as_postfix_writes_it() {
    let want = "\
Received: by mail.example.com (Postfix)
\tid 92DB599E0FA; Sun, 22 Nov 2026 12:46:26 +0000 (UTC)
Date: Sun, 22 Nov 2026 12:46:26 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON@example.com>
Subject: Undelivered Mail Returned to Sender
To: s@origin.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary=\"8323399E0DF.1795351586/mail.example.com\"
Content-Transfer-Encoding: 8bit
Message-Id: <20261122124626.92DB599E0FA@mail.example.com>

This is a MIME-encapsulated message.

--8323399E0DF.1795351586/mail.example.com
Content-Description: Notification
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

This is the mail system at host mail.example.com.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system

<u@bad.example>: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such user (in
    reply to RCPT TO command)

--8323399E0DF.1795351586/mail.example.com
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.com
Original-Envelope-Id: abc+
X-Postfix-Queue-ID: 8323399E0DF
X-Postfix-Sender: rfc822; s@origin.example
Arrival-Date: Sun, 22 Nov 2026 12:46:26 +0000 (UTC)

Final-Recipient: rfc822; u@bad.example
Original-Recipient: rfc822;orig@x.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; 127.0.0.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--8323399E0DF.1795351586/mail.example.com
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 8bit

Return-Path: <s@origin.example>
Subject: hello
To: x@y.example

--8323399E0DF.1795351586/mail.example.com--
";
    assert_eq!(render(ReportKind::Failure, &failed()).unwrap(), want);
}

#[test]
fn the_whole_message_comes_back_unless_too_large_or_unwanted() {
    let mut envelope = failed();
    envelope.ret = None;
    let whole = "Content-Description: Undelivered Message\nContent-Type: message/rfc822\n";
    let report = render(ReportKind::Failure, &envelope).unwrap();
    assert!(report.contains(whole) && report.contains("\nbody\n\n--8323399E0DF"));
    envelope.size = 50001;
    let report = render(ReportKind::Failure, &envelope).unwrap();
    assert!(!report.contains(whole) && !report.contains("\nbody\n"));
    (envelope.size, envelope.requiretls) = (1, true);
    let report = render(ReportKind::Failure, &envelope).unwrap();
    assert!(!report.contains(whole) && !report.contains("\nbody\n"));
}

#[test]
fn no_report_where_none_is_wanted() {
    for (notify, want) in [
        (Notify::default(), true),
        (Notify::FAILURE, true),
        (Notify::FAILURE.with(Notify::SUCCESS), true),
        (Notify::NEVER, false),
        (Notify::SUCCESS, false),
    ] {
        let mut envelope = failed();
        envelope.recipients[0].notify = notify;
        assert_eq!(render(ReportKind::Failure, &envelope).is_some(), want, "{notify:?}");
    }
    assert_eq!(render(ReportKind::Success, &failed()), None);
}

#[test]
fn who_is_told() {
    use ReportKind::{Delay, DelayCopy, DoubleFailure, Failure, FailureCopy};
    let none = ReportSettings { copies: Copies::default(), ..settings() };
    for (sender, notify, all, few) in [
        ("s@x.example", Notify::default(), &[Failure, FailureCopy][..], &[Failure][..]),
        ("s@x.example", Notify::NEVER, &[FailureCopy], &[]),
        ("s@x.example", Notify::DELAY, &[FailureCopy], &[]),
        ("", Notify::default(), &[DoubleFailure], &[]),
        ("double-bounce@MAIL.example.com", Notify::default(), &[], &[]),
        ("double-bounce@example.com", Notify::default(), &[Failure, FailureCopy], &[Failure]),
    ] {
        let mut envelope = failed();
        envelope.sender = sender.into();
        envelope.recipients[0].notify = notify;
        for (settings, want) in [(&settings(), all), (&none, few)] {
            assert_eq!(due(RecipientState::Failed, &envelope, settings), want, "{sender} {notify:?}");
            let told = failure_is_told(&envelope, &envelope.recipients[0], settings);
            assert_eq!(told, !want.is_empty(), "{sender} {notify:?}");
        }
        envelope.recipients[0].state = RecipientState::Pending;
        let late = match (sender, notify) {
            ("" | "double-bounce@MAIL.example.com", _) => &[][..],
            (_, Notify::NEVER) => &[DelayCopy],
            _ => &[Delay, DelayCopy],
        };
        assert_eq!(due(RecipientState::Pending, &envelope, &settings()), late, "{sender} {notify:?}");
    }
}

#[test]
fn a_delay_is_reported_once() {
    let hours = |n: i64| n * 3_600 * 1_000_000;
    let mut envelope = failed();
    let late = |envelope: &Envelope, at| is_late(envelope, &settings(), NOW + at);
    assert!(!late(&envelope, hours(4)), "nothing is pending with a reason");
    envelope.recipients[0].state = RecipientState::Pending;
    assert!(!late(&envelope, hours(4) - 1_000_001) && late(&envelope, hours(4) - 1_000_000));
    let off = ReportSettings { delay_warning_time: 0, ..settings() };
    assert!(!is_late(&envelope, &off, NOW + hours(100)));
    let mut bounce = envelope.clone();
    bounce.sender = String::new();
    assert!(!late(&bounce, hours(5)));
    if let Some(status) = &mut envelope.recipients[0].status {
        status.action = DELAYED.into();
    }
    assert!(was_late(&envelope) && !late(&envelope, hours(100)));
}

/// From one line on, up to another one.
fn part<'a>(report: &'a str, from: &str, to: &str) -> &'a str {
    let start = report.find(from).unwrap_or_else(|| panic!("no {from:?} in {report}"));
    let end = report[start..].find(to).unwrap_or_else(|| panic!("no {to:?} in {report}"));
    &report[start..start + end]
}

#[test]
fn the_postmaster_gets_a_copy_without_comment() {
    let report = render(ReportKind::FailureCopy, &failed()).unwrap();
    assert_eq!(
        part(&report, "From: ", "MIME-Version"),
        "From: Mail Delivery System <MAILER-DAEMON@example.com>\nSubject: Postmaster Copy: Undelivered Mail\n\
             To: bounces@note.example\nAuto-Submitted: auto-generated\n"
    );
    assert_eq!(
        part(&report, "Content-Description: Notification", "\n--"),
        "Content-Description: Notification\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: 8bit\n\n\n\
             <u@bad.example>: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such user (in\n    \
             reply to RCPT TO command)\n"
    );
    let mut envelope = failed();
    envelope.ret = None;
    let report = render(ReportKind::FailureCopy, &envelope).unwrap();
    assert!(report.contains("\nContent-Description: Undelivered Message Headers\n") && !report.contains("\nbody\n"));
}

#[test]
fn a_double_bounce_comes_whole() {
    let mut envelope = failed();
    (envelope.sender, envelope.envid) = (String::new(), None);
    let report = render(ReportKind::DoubleFailure, &envelope).unwrap();
    assert!(report.contains("\nSubject: Postmaster Copy: Undelivered Mail\nTo: doubles@note.example\n"));
    assert!(report.contains("\nX-Postfix-Sender: rfc822; MAILER-DAEMON@mail.example.com\n"));
    assert_eq!(
        part(&report, "Content-Description: Undelivered", "\n\n--"),
        "Content-Description: Undelivered Message\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n\
             Return-Path: <MAILER-DAEMON@mail.example.com>\nSubject: hello\nTo: x@y.example\n\nbody"
    );
}

#[test]
fn senders_are_warned_of_delays() {
    let mut envelope = failed();
    envelope.recipients[0].state = RecipientState::Pending;
    let report = render(ReportKind::Delay, &envelope).unwrap();
    assert!(report.contains(
        "\nSubject: Delayed Mail (still being retried)\nTo: s@origin.example\nAuto-Submitted: auto-replied\n"
    ));
    assert_eq!(
        part(&report, "This is the mail system at", "\n<u@"),
        "This is the mail system at host mail.example.com.\n\n\
             ####################################################################\n\
             # THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\n\
             ####################################################################\n\n\
             Your message could not be delivered for more than 4 hour(s).\n\
             It will be retried until it is 5 day(s) old.\n\n\
             For further assistance, please send mail to postmaster.\n\n\
             If you do so, please include this problem report. You can\n\
             delete your own text from the attached returned message.\n\n                   The mail system\n"
    );
    assert_eq!(
        part(&report, "Action: ", "\n\n--"),
        "Action: delayed\nStatus: 5.1.1\nRemote-MTA: dns; 127.0.0.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n\
             Will-Retry-Until: Fri, 27 Nov 2026 12:46:26 +0000 (UTC)"
    );
    let copy = render(ReportKind::DelayCopy, &envelope).unwrap();
    assert!(copy.contains("\nSubject: Postmaster Warning: Delayed Mail\nTo: delays@note.example\n"));
    assert!(copy.contains("\nContent-Description: Undelivered Message Headers\n"));
}

#[test]
fn success_is_reported_to_those_who_asked() {
    let mut envelope = failed();
    envelope.recipients[0].state = RecipientState::Notify;
    envelope.recipients[0].notify = Notify::FAILURE;
    assert_eq!(render(ReportKind::Success, &envelope), None);
    envelope.recipients[0].notify = Notify::SUCCESS;
    let report = render(ReportKind::Success, &envelope).unwrap();
    assert!(report.contains("\nSubject: Successful Mail Delivery Report\n"));
    assert!(report.contains("\nContent-Description: Message Headers\nContent-Type: text/rfc822-headers\n"));
}

#[test]
fn no_line_can_be_smuggled_into_a_report() {
    let mut envelope = failed();
    envelope.sender = "s@origin.example\nBcc: x@y".into();
    envelope.envid = Some("a\r\nX: y".into());
    let report = render(ReportKind::Failure, &envelope).unwrap();
    assert!(!report.contains("\nBcc") && !report.contains("\nX:"));
}

#[test]
fn headers_end_at_the_empty_line() {
    for (content, want) in [("A: b\n\nc\n", "A: b\n"), ("A: b\n", "A: b\n"), ("\nc\n", ""), ("", "")] {
        assert_eq!(headers(content.as_bytes()), want.as_bytes(), "{content:?}");
    }
}

#[test]
fn message_ids_of_long_queue_ids_are_short() {
    let id = |text: &str| message_id(text.parse().unwrap(), NOW, "mail.example.com");
    assert_eq!(id("92DB599E0FA"), "<20261122124626.92DB599E0FA@mail.example.com>");
    assert_eq!(id("4jXg5d6lshz1ShXD"), "<4jXg5d6lshz1ShXD@mail.example.com>");
}
