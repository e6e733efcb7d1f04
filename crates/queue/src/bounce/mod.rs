//! Delivery reports (RFC 3464), in Postfix's shape (bounce(8), bounce(5)).
//!
//! Decides what a report says and whom it goes to. Pure: queue id, time and the original's content are arguments. A
//! message with the null sender gets no report.

mod text;

use crate::envelope::{Content, DeliveryStatus, Envelope, Message, Notify, Recipient, RecipientState, Ret};
use crate::id::QueueId;
use smtp::Body;
use smtp::address::quote_local;
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
    /// `delay_warning_time`, microseconds; 0: none.
    pub delay_warning_time: i64,
    /// `maximal_queue_lifetime`, microseconds.
    pub maximal_queue_lifetime: i64,
    /// Copies for the postmaster.
    pub copies: Copies,
    /// `smtputf8_enable`: all reports are 8-bit, not only those of messages that are.
    pub eight_bit: bool,
}

impl ReportSettings {
    /// Is this address, in a domain of ours, the one that reports of failed reports would go to?
    pub fn is_double_bounce_sender(&self, address: &str) -> bool {
        let user = address.rsplit_once('@').map_or(address, |(user, _)| user);
        user.eq_ignore_ascii_case(&self.double_bounce_sender)
    }
}

/// Who gets the postmaster's copies; only classes that `notify_classes` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Class `bounce`: `bounce_notice_recipient`.
    pub bounce: Option<String>,
    /// Class `2bounce`: `2bounce_notice_recipient`.
    pub double_bounce: Option<String>,
    /// Class `delay`: `delay_notice_recipient`.
    pub delay: Option<String>,
}

/// What to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// Undeliverable, to the sender.
    Failure,
    /// The same, for the postmaster.
    FailureCopy,
    /// A message without sender is undeliverable: the postmaster gets it.
    DoubleFailure,
    /// Not delivered yet, to the sender.
    Delay,
    /// The same, for the postmaster.
    DelayCopy,
    /// Delivered or relayed, and the sender asked to be told.
    Success,
}

/// The one who is told.
const SENDER: [ReportKind; 3] = [ReportKind::Failure, ReportKind::Delay, ReportKind::Success];

impl ReportKind {
    /// Recipients this kind of report is about.
    pub fn state(self) -> RecipientState {
        match self {
            ReportKind::Failure | ReportKind::FailureCopy | ReportKind::DoubleFailure => RecipientState::Failed,
            ReportKind::Delay | ReportKind::DelayCopy => RecipientState::Pending,
            ReportKind::Success => RecipientState::Notify,
        }
    }

    /// Goes to the sender, not to the postmaster?
    pub fn is_for_sender(self) -> bool {
        SENDER.contains(&self)
    }

    /// What log lines call it.
    pub fn name(self) -> &'static str {
        match self {
            ReportKind::Failure => "sender non-delivery notification",
            ReportKind::FailureCopy | ReportKind::DoubleFailure => "postmaster non-delivery notification",
            ReportKind::Delay => "sender delay notification",
            ReportKind::DelayCopy => "postmaster delay notification",
            ReportKind::Success => "sender delivery status notification",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            ReportKind::Failure => "Undelivered Mail Returned to Sender",
            ReportKind::FailureCopy | ReportKind::DoubleFailure => "Postmaster Copy: Undelivered Mail",
            ReportKind::Delay => "Delayed Mail (still being retried)",
            ReportKind::DelayCopy => "Postmaster Warning: Delayed Mail",
            ReportKind::Success => "Successful Mail Delivery Report",
        }
    }

    /// What the sender is told; a postmaster needs no explanations.
    fn text(self, settings: &ReportSettings) -> String {
        let text = match self {
            ReportKind::Failure => text::FAILURE.to_owned(),
            ReportKind::Delay => text::delay(settings.delay_warning_time, settings.maximal_queue_lifetime),
            ReportKind::Success => text::SUCCESS.to_owned(),
            ReportKind::FailureCopy | ReportKind::DoubleFailure | ReportKind::DelayCopy => return String::new(),
        };
        format!("This is the mail system at host {}.\n\n{text}", settings.myhostname)
    }

    /// Content-Description of the returned part.
    fn returned(self) -> &'static str {
        match self {
            ReportKind::Success => "Message",
            _ => "Undelivered Message",
        }
    }

    fn action(self, status: &DeliveryStatus) -> &str {
        match self {
            ReportKind::Delay | ReportKind::DelayCopy => DELAYED,
            ReportKind::Failure | ReportKind::FailureCopy | ReportKind::DoubleFailure => "failed",
            ReportKind::Success => &status.action,
        }
    }

    /// Copies don't ask what the sender wanted to know.
    fn wanted(self, notify: Notify) -> bool {
        match self {
            ReportKind::Failure => notify.wants_failure(),
            ReportKind::Delay => notify.wants_delay(),
            ReportKind::Success => notify.contains(Notify::SUCCESS) || notify.wants_delay(),
            ReportKind::FailureCopy | ReportKind::DoubleFailure | ReportKind::DelayCopy => true,
        }
    }

    /// Whom a copy is for, if it is to be made; nothing for what goes to the sender.
    pub fn postmaster(self, settings: &ReportSettings) -> Option<&str> {
        match self {
            ReportKind::FailureCopy => settings.copies.bounce.as_deref(),
            ReportKind::DoubleFailure => settings.copies.double_bounce.as_deref(),
            ReportKind::DelayCopy => settings.copies.delay.as_deref(),
            ReportKind::Failure | ReportKind::Delay | ReportKind::Success => None,
        }
    }
}

/// Action field of a recipient whose delay was reported. In the queue, it says that this is done.
pub const DELAYED: &str = "delayed";

/// The reports that failures, delays or successes of a message call for, the sender's first.
pub fn due(state: RecipientState, envelope: &Envelope, settings: &ReportSettings) -> Vec<ReportKind> {
    let kinds: &[ReportKind] = match state {
        _ if is_double_bounce(envelope, settings) => &[],
        RecipientState::Failed if envelope.sender.is_empty() => &[ReportKind::DoubleFailure],
        _ if envelope.sender.is_empty() => &[],
        RecipientState::Failed => &[ReportKind::Failure, ReportKind::FailureCopy],
        RecipientState::Pending => &[ReportKind::Delay, ReportKind::DelayCopy],
        RecipientState::Notify => &[ReportKind::Success],
        RecipientState::Done => &[],
    };
    let due = |kind: &ReportKind| {
        (kind.is_for_sender() || kind.postmaster(settings).is_some()) && !reportable(*kind, envelope).is_empty()
    };
    kinds.iter().copied().filter(due).collect()
}

/// Would a failure of this recipient be reported to anybody?
pub fn failure_is_told(envelope: &Envelope, recipient: &Recipient, settings: &ReportSettings) -> bool {
    if is_double_bounce(envelope, settings) {
        return false;
    }
    match envelope.sender.is_empty() {
        true => settings.copies.double_bounce.is_some(),
        false => recipient.notify.wants_failure() || settings.copies.bounce.is_some(),
    }
}

/// The recipients a report of this kind has to name.
pub fn reportable(kind: ReportKind, envelope: &Envelope) -> Vec<(&Recipient, &DeliveryStatus)> {
    let due = envelope.recipients.iter().filter(|r| r.state == kind.state() && kind.wanted(r.notify));
    due.filter_map(|r| r.status.as_deref().map(|status| (r, status))).collect()
}

/// Is a warning due that the message is late? Once only, and never about reports.
pub fn is_late(envelope: &Envelope, settings: &ReportSettings, now: i64) -> bool {
    // Times come in whole seconds there, hence the second that doesn't count.
    let due = envelope.arrival.saturating_add(settings.delay_warning_time).saturating_sub(1_000_000);
    settings.delay_warning_time > 0
        && now >= due
        && !envelope.sender.is_empty()
        && !was_late(envelope)
        && envelope.recipients.iter().any(|r| r.state == RecipientState::Pending && r.status.is_some())
}

/// Was the delay of a message reported?
pub fn was_late(envelope: &Envelope) -> bool {
    envelope.recipients.iter().any(|r| r.status.as_deref().is_some_and(|status| status.action == DELAYED))
}

/// Is this a report itself (or our own probe), so that no sender is to be told?
pub fn is_bounce(envelope: &Envelope, settings: &ReportSettings) -> bool {
    envelope.sender.is_empty() || is_double_bounce(envelope, settings)
}

/// Is this something for the postmaster? If that doesn't arrive, nobody is left to be told.
pub fn is_double_bounce(envelope: &Envelope, settings: &ReportSettings) -> bool {
    let Some((user, domain)) = envelope.sender.rsplit_once('@') else { return false };
    user.eq_ignore_ascii_case(&settings.double_bounce_sender) && domain.eq_ignore_ascii_case(&settings.myhostname)
}

/// Does the original come back whole? Otherwise only its headers are needed.
pub fn returns_body(kind: ReportKind, envelope: &Envelope, settings: &ReportSettings) -> bool {
    let wanted = match kind {
        ReportKind::Failure => envelope.ret != Some(Ret::Headers),
        ReportKind::DoubleFailure => true,
        _ => false,
    };
    // The report may leave in the clear, what REQUIRETLS protects may not.
    wanted && !envelope.requiretls && envelope.size <= settings.bounce_size_limit
}

/// A report on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Posting<'a> {
    /// Its queue id.
    pub queue_id: QueueId,
    /// Unix microseconds.
    pub now: i64,
    /// Whom it is for, as its header says.
    pub to: &'a str,
}

/// The report on a message, or nothing if none is due. `original` is its content, or just its headers if
/// [`returns_body`] says so. It is addressed to whom the header names.
pub fn report(
    kind: ReportKind,
    envelope: &Envelope,
    original: &[u8],
    settings: &ReportSettings,
    posting: Posting<'_>,
) -> Option<Message> {
    let recipients = reportable(kind, envelope);
    if recipients.is_empty() {
        return None;
    }
    let Posting { queue_id, now, to } = posting;
    let boundary = format!("{}.{}/{}", envelope.queue_id, now / 1_000_000, settings.myhostname);
    let mut out = String::with_capacity(4096);
    let body = if settings.eight_bit { Body::EightBitMime } else { envelope.body };
    header(&mut out, (kind, body), settings, posting, &boundary);
    notification(&mut out, (kind, body), &recipients, settings, &boundary);
    delivery_status(&mut out, kind, (envelope, &recipients), settings, &boundary);
    let whole = returns_body(kind, envelope, settings);
    returned_part(&mut out, (kind, body), whole, (envelope, settings), &boundary);
    let mut content = out.into_bytes();
    let original = if whole { original } else { headers(original) };
    content.extend_from_slice(original);
    if !original.ends_with(b"\n") && !original.is_empty() {
        content.push(b'\n');
    }
    content.extend_from_slice(format!("\n--{boundary}--\n").as_bytes());
    let sender = match kind.is_for_sender() {
        true => String::new(),
        false => format!("{}@{}", settings.double_bounce_sender, settings.myhostname),
    };
    let mut back = Envelope::new(queue_id, now, sender);
    back.recipients = vec![Recipient::new(to)];
    back.size = content.len() as u64;
    back.body = if body == Body::EightBitMime { body } else { Body::Unspecified };
    back.smtputf8 = envelope.smtputf8;
    Some(Message { envelope: Arc::new(back), content: Content::Memory(content.into()) })
}

/// The sender as reports show it.
fn shown_sender(envelope: &Envelope, settings: &ReportSettings) -> String {
    match envelope.sender.is_empty() {
        true => format!("MAILER-DAEMON@{}", settings.myhostname),
        false => text::one_line(&envelope.sender).into_owned(),
    }
}

/// The Message-Id of a message of ours that arrives `now` (Unix microseconds).
pub fn message_id(queue_id: QueueId, now: i64, myhostname: &str) -> String {
    match queue_id.is_long() {
        true => format!("<{queue_id}@{myhostname}>"),
        false => format!("<{}.{queue_id}@{myhostname}>", text::stamp(now)),
    }
}

/// What goes before the empty line.
pub fn headers(content: &[u8]) -> &[u8] {
    if content.starts_with(b"\n") {
        return &[];
    }
    memchr::memmem::find(content, b"\n\n").map_or(content, |end| &content[..=end])
}

/// The field for content that is as `body` says, with what ends the line before it.
fn transfer_encoding(body: Body) -> String {
    body.encoding().map_or_else(String::new, |encoding| format!("\nContent-Transfer-Encoding: {encoding}"))
}

/// The same for a part of it. Nothing need be said of 7-bit text.
fn part_encoding(body: Body) -> String {
    if body == Body::EightBitMime { transfer_encoding(body) } else { String::new() }
}

fn header(
    out: &mut String,
    (kind, body): (ReportKind, Body),
    settings: &ReportSettings,
    posting: Posting<'_>,
    boundary: &str,
) {
    let Posting { queue_id, now, to } = posting;
    let ReportSettings { myhostname, myorigin, mail_name, .. } = settings;
    let date = (settings.date)(now.div_euclid(1_000_000));
    let message_id = message_id(queue_id, now, myhostname);
    let _ = write!(
        out,
        "Received: by {myhostname} ({mail_name})\n\tid {queue_id}; {date}\n\
         Date: {date}\n\
         From: Mail Delivery System <MAILER-DAEMON@{myorigin}>\n\
         Subject: {}\n\
         To: {}\n\
         Auto-Submitted: {}\n\
         MIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"{boundary}\"{}\n\
         Message-Id: {message_id}\n\
         \n\
         This is a MIME-encapsulated message.\n",
        kind.subject(),
        text::one_line(to),
        if kind.is_for_sender() { "auto-replied" } else { "auto-generated" },
        transfer_encoding(body),
    );
}

fn notification(
    out: &mut String,
    (kind, body): (ReportKind, Body),
    recipients: &[(&Recipient, &DeliveryStatus)],
    settings: &ReportSettings,
    boundary: &str,
) {
    let _ = write!(
        out,
        "\n--{boundary}\n\
         Content-Description: Notification\n\
         Content-Type: text/plain; charset={}{}\n\
         \n{}",
        if body == Body::EightBitMime { "utf-8" } else { "us-ascii" },
        part_encoding(body),
        kind.text(settings),
    );
    for (recipient, status) in recipients {
        let expanded = match recipient.orig_to.as_deref().filter(|o| *o != recipient.address) {
            Some(orig_to) => format!(" (expanded from <{}>)", quote_local(orig_to)),
            None => String::new(),
        };
        let line = format!("<{}>{expanded}: {}", recipient.address, status.reason);
        out.push('\n');
        wrap(out, &text::one_line(&line));
    }
}

fn delivery_status(
    out: &mut String,
    report: ReportKind,
    (envelope, recipients): (&Envelope, &[(&Recipient, &DeliveryStatus)]),
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
        shown_sender(envelope, settings),
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
                let original = quote_local(recipient.orig_to.as_deref().unwrap_or(&recipient.address));
                let _ = writeln!(out, "Original-Recipient: {address_type};{}", text::one_line(&original));
            }
        }
        let _ = write!(out, "Action: {}\nStatus: {}\n", report.action(status), status.dsn);
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
        if matches!(report, ReportKind::Delay | ReportKind::DelayCopy) {
            let until = envelope.arrival.saturating_add(settings.maximal_queue_lifetime);
            let _ = writeln!(out, "Will-Retry-Until: {}", (settings.date)(until.div_euclid(1_000_000)));
        }
    }
}

fn returned_part(
    out: &mut String,
    (kind, body): (ReportKind, Body),
    whole: bool,
    (envelope, settings): (&Envelope, &ReportSettings),
    boundary: &str,
) {
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
         Content-Type: {content_type}{}\n\
         \n\
         Return-Path: <{}>\n",
        kind.returned(),
        if whole { "" } else { " Headers" },
        part_encoding(body),
        shown_sender(envelope, settings),
    );
}

#[cfg(test)]
mod tests;
