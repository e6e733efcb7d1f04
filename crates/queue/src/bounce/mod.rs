//! Delivery reports (RFC 3464), in Postfix's shape (bounce(8), bounce(5)).
//!
//! Decides what a report says and whom it goes to. Pure: queue id, time and the original's content are arguments. A
//! message with the null sender gets no report.

mod text;

use crate::envelope::{Content, DeliveryStatus, Envelope, Message, Notify, Recipient, RecipientState, Ret};
use crate::id::QueueId;
use std::fmt::Write;
use std::sync::Arc;
pub use text::utc_date;
use text::{wrap, wrap_field};

/// What reports take from the configuration.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// `myhostname`.
    pub myhostname: String,
    /// `myorigin`, where MAILER-DAEMON lives.
    pub myorigin: String,
    /// `mail_name`.
    pub mail_name: String,
    /// `bounce_size_limit`: a larger message comes back without its body.
    pub bounce_size_limit: u64,
    /// `double_bounce_sender`, without domain. Its mail gets no reports either.
    pub double_bounce_sender: String,
    /// Renders a time (Unix seconds) as in a `Date:` header, with the zone's name behind it.
    pub date: fn(i64) -> String,
}

/// What to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// Undeliverable.
    Failure,
    /// Delivered or relayed, and the sender asked to be told.
    Success,
}

impl ReportKind {
    /// Recipients this kind of report is about.
    fn state(self) -> RecipientState {
        match self {
            ReportKind::Failure => RecipientState::Failed,
            ReportKind::Success => RecipientState::Notify,
        }
    }

    fn subject(self) -> &'static str {
        match self {
            ReportKind::Failure => "Undelivered Mail Returned to Sender",
            ReportKind::Success => "Successful Mail Delivery Report",
        }
    }

    fn text(self) -> &'static str {
        match self {
            ReportKind::Failure => text::FAILURE,
            ReportKind::Success => text::SUCCESS,
        }
    }

    /// Content-Description of the returned part.
    fn returned(self) -> &'static str {
        match self {
            ReportKind::Failure => "Undelivered Message",
            ReportKind::Success => "Message",
        }
    }

    fn wanted(self, notify: Notify) -> bool {
        match self {
            ReportKind::Failure => notify.wants_failure(),
            ReportKind::Success => notify.contains(Notify::SUCCESS),
        }
    }
}

/// The recipients a report of this kind has to name; none if no report is due.
pub fn reportable<'a>(
    kind: ReportKind,
    envelope: &'a Envelope,
    settings: &ReportSettings,
) -> Vec<(&'a Recipient, &'a DeliveryStatus)> {
    if is_bounce(envelope, settings) {
        return Vec::new();
    }
    let due = envelope.recipients.iter().filter(|r| r.state == kind.state() && kind.wanted(r.notify));
    due.filter_map(|r| r.status.as_deref().map(|status| (r, status))).collect()
}

/// Is this a report itself (or our own probe), so that nobody is to be told?
pub fn is_bounce(envelope: &Envelope, settings: &ReportSettings) -> bool {
    let double = || {
        let (user, domain) = envelope.sender.rsplit_once('@').unwrap_or((&envelope.sender, &settings.myorigin));
        let ours = [&settings.myorigin, &settings.myhostname].iter().any(|own| domain.eq_ignore_ascii_case(own));
        user == settings.double_bounce_sender && ours
    };
    envelope.sender.is_empty() || double()
}

/// Does the original come back whole? Otherwise only its headers are needed.
pub fn returns_body(kind: ReportKind, envelope: &Envelope, settings: &ReportSettings) -> bool {
    kind == ReportKind::Failure && envelope.ret != Some(Ret::Headers) && envelope.size <= settings.bounce_size_limit
}

/// The report on a message, or nothing if none is due. `original` is its content, or just its headers if
/// [`returns_body`] says so.
pub fn report(
    kind: ReportKind,
    envelope: &Envelope,
    original: &[u8],
    settings: &ReportSettings,
    (queue_id, now): (QueueId, i64),
) -> Option<Message> {
    let recipients = reportable(kind, envelope, settings);
    if recipients.is_empty() {
        return None;
    }
    let boundary = format!("{}.{}/{}", envelope.queue_id, now / 1_000_000, settings.myhostname);
    let mut out = String::with_capacity(4096);
    header(&mut out, kind, envelope, settings, (queue_id, now), &boundary);
    notification(&mut out, kind, &recipients, settings, &boundary);
    delivery_status(&mut out, envelope, &recipients, settings, &boundary);
    let whole = returns_body(kind, envelope, settings);
    returned_part(&mut out, kind, whole, envelope, &boundary);
    let mut content = out.into_bytes();
    let original = if whole { original } else { headers(original) };
    content.extend_from_slice(original);
    if !original.ends_with(b"\n") && !original.is_empty() {
        content.push(b'\n');
    }
    content.extend_from_slice(format!("\n--{boundary}--\n").as_bytes());
    let mut back = Envelope::new(queue_id, now, "");
    back.recipients = vec![Recipient::new(envelope.sender.clone())];
    back.size = content.len() as u64;
    back.body8bit = true;
    back.smtputf8 = envelope.smtputf8;
    Some(Message { envelope: Arc::new(back), content: Content::Memory(content.into()) })
}

/// What goes before the empty line.
pub fn headers(content: &[u8]) -> &[u8] {
    if content.starts_with(b"\n") {
        return &[];
    }
    memchr::memmem::find(content, b"\n\n").map_or(content, |end| &content[..=end])
}

fn header(
    out: &mut String,
    kind: ReportKind,
    envelope: &Envelope,
    settings: &ReportSettings,
    (queue_id, now): (QueueId, i64),
    boundary: &str,
) {
    let ReportSettings { myhostname, myorigin, mail_name, .. } = settings;
    let date = (settings.date)(now.div_euclid(1_000_000));
    let stamp = text::stamp(now);
    let _ = write!(
        out,
        "Received: by {myhostname} ({mail_name})\n\tid {queue_id}; {date}\n\
         Date: {date}\n\
         From: Mail Delivery System <MAILER-DAEMON@{myorigin}>\n\
         Subject: {}\n\
         To: {}\n\
         Auto-Submitted: auto-replied\n\
         MIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"{boundary}\"\n\
         Content-Transfer-Encoding: 8bit\n\
         Message-Id: <{stamp}.{queue_id}@{myhostname}>\n\
         \n\
         This is a MIME-encapsulated message.\n",
        kind.subject(),
        text::one_line(&envelope.sender),
    );
}

fn notification(
    out: &mut String,
    kind: ReportKind,
    recipients: &[(&Recipient, &DeliveryStatus)],
    settings: &ReportSettings,
    boundary: &str,
) {
    let _ = write!(
        out,
        "\n--{boundary}\n\
         Content-Description: Notification\n\
         Content-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 8bit\n\
         \n\
         This is the mail system at host {}.\n\n{}",
        settings.myhostname,
        kind.text(),
    );
    for (recipient, status) in recipients {
        let expanded = match recipient.orig_to.as_deref().filter(|o| *o != recipient.address) {
            Some(orig_to) => format!(" (expanded from <{orig_to}>)"),
            None => String::new(),
        };
        let line = format!("<{}>{expanded}: {}", recipient.address, status.reason);
        out.push('\n');
        wrap(out, &text::one_line(&line));
    }
}

fn delivery_status(
    out: &mut String,
    envelope: &Envelope,
    recipients: &[(&Recipient, &DeliveryStatus)],
    settings: &ReportSettings,
    boundary: &str,
) {
    let (kind, address_type) = match envelope.smtputf8 {
        true => ("message/global-delivery-status", "utf-8"),
        false => ("message/delivery-status", "rfc822"),
    };
    let _ = write!(
        out,
        "\n--{boundary}\n\
         Content-Description: Delivery report\n\
         Content-Type: {kind}\n\
         \n\
         Reporting-MTA: dns; {}\n",
        settings.myhostname
    );
    if let Some(envid) = &envelope.envid {
        let _ = writeln!(out, "Original-Envelope-Id: {}", text::one_line(envid));
    }
    let _ = write!(
        out,
        "X-{name}-Queue-ID: {}\n\
         X-{name}-Sender: {address_type}; {}\n\
         Arrival-Date: {}\n",
        envelope.queue_id,
        text::one_line(&envelope.sender),
        (settings.date)(envelope.arrival.div_euclid(1_000_000)),
        name = settings.mail_name,
    );
    for (recipient, status) in recipients {
        let address = text::one_line(&recipient.address);
        let _ = write!(out, "\nFinal-Recipient: {address_type}; {address}\n");
        match &recipient.orcpt {
            Some(orcpt) => {
                let _ = writeln!(out, "Original-Recipient: {}", text::one_line(orcpt));
            }
            None => {
                let original = recipient.orig_to.as_deref().unwrap_or(&recipient.address);
                let _ = writeln!(out, "Original-Recipient: {address_type};{}", text::one_line(original));
            }
        }
        let _ = write!(out, "Action: {}\nStatus: {}\n", status.action, status.dsn);
        if let Some(remote) = &status.remote_mta {
            let _ = writeln!(out, "Remote-MTA: dns; {}", text::one_line(remote));
        }
        match &status.reply {
            Some(reply) => wrap_field(out, "Diagnostic-Code: smtp; ", &text::one_line(reply)),
            None => {
                let name = format!("Diagnostic-Code: X-{}; ", settings.mail_name);
                wrap_field(out, &name, &text::one_line(&status.reason));
            }
        }
    }
}

fn returned_part(out: &mut String, kind: ReportKind, whole: bool, envelope: &Envelope, boundary: &str) {
    let content_type = match (whole, envelope.smtputf8) {
        (true, false) => "message/rfc822",
        (true, true) => "message/global",
        (false, false) => "text/rfc822-headers",
        (false, true) => "message/global-headers",
    };
    let _ = write!(
        out,
        "\n--{boundary}\n\
         Content-Description: {}{}\n\
         Content-Type: {content_type}\n\
         Content-Transfer-Encoding: 8bit\n\
         \n\
         Return-Path: <{}>\n",
        kind.returned(),
        if whole { "" } else { " Headers" },
        text::one_line(&envelope.sender),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ReportSettings {
        ReportSettings {
            myhostname: "mail.example.com".into(),
            myorigin: "example.com".into(),
            mail_name: "Postfix".into(),
            bounce_size_limit: 50000,
            double_bounce_sender: "double-bounce".into(),
            date: utc_date,
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
        let id = ("92DB599E0FA".parse().unwrap(), NOW);
        let message = report(kind, envelope, original, &settings(), id)?;
        let Content::Memory(content) = message.content else { panic!("content not in memory") };
        assert_eq!(message.envelope.size, content.len() as u64);
        assert_eq!(message.envelope.sender, "");
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
        for sender in ["", "double-bounce@example.com", "double-bounce@EXAMPLE.com", "double-bounce"] {
            let mut envelope = failed();
            envelope.sender = sender.into();
            assert_eq!(render(ReportKind::Failure, &envelope), None, "{sender}");
        }
        assert_eq!(render(ReportKind::Success, &failed()), None);
    }

    #[test]
    fn success_is_reported_to_those_who_asked() {
        let mut envelope = failed();
        envelope.recipients[0].state = RecipientState::Notify;
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
}
