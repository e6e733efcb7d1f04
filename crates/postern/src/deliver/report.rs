//! bounce(8): reports to senders, and what the postmaster is told.

use super::agent::{Transcript, now};
use super::{DeliverConfig, Surroundings};
use crate::internal_mail::{Cleaned, MailClass, OwnMail};
use crate::notice::Letter;
use queue::bounce::{self, Posting, ReportKind};
use queue::{Content, ContentSource, Envelope, Message, QueueId, Recipient, RecipientState, SpoolError};
use smtp::server::Notify;
use std::io::Read;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Reports that are stored, each with its kind.
pub(super) type Reports = Vec<(ReportKind, Posted)>;

/// A message of ours that is taken care of.
pub(super) struct Posted {
    /// Its queue id.
    pub(super) id: QueueId,
    /// The message, if it was stored: a filter may have had it thrown away.
    pub(super) message: Option<Message>,
}

/// Makes the reports on the recipients of a message that are in this state, and stores them. Copies for the postmaster
/// are not worth holding up a message: one that can't be made is logged.
pub(super) async fn send(
    state: RecipientState,
    message: &Message,
    config: &DeliverConfig,
    surroundings: &Surroundings,
) -> Result<Reports, String> {
    let mut reports = Vec::new();
    for kind in bounce::due(state, &message.envelope, &config.report) {
        match one(kind, message, config, surroundings).await {
            Ok(report) => reports.extend(report.map(|report| (kind, report))),
            Err(error) if reports.is_empty() && kind != ReportKind::FailureCopy && kind != ReportKind::DelayCopy => {
                return Err(error);
            }
            Err(error) => {
                let id = message.envelope.queue_id;
                (surroundings.log)(&config.bounce_tag, format!("warning: {id}: postmaster notice failed: {error}"));
            }
        }
    }
    Ok(reports)
}

async fn one(
    kind: ReportKind,
    message: &Message,
    config: &DeliverConfig,
    surroundings: &Surroundings,
) -> Result<Option<Posted>, String> {
    let envelope = &message.envelope;
    let whole = bounce::returns_body(kind, envelope, &config.report);
    let limit = if whole { usize::MAX } else { HEADER_LIMIT };
    let original = content(message, surroundings, limit)?;
    let to = match kind.postmaster(&config.report) {
        Some(postmaster) => surroundings.router.rewrite(postmaster),
        None => envelope.sender.clone(),
    };
    let make =
        |queue_id, now| bounce::report(kind, envelope, &original, &config.report, Posting { queue_id, now, to: &to });
    post(MailClass::Bounce, &to, make, (config, surroundings)).await
}

/// Tells the postmaster what was said in a session with a server.
pub(super) async fn send_transcript(
    transcript: &Transcript,
    config: &DeliverConfig,
    surroundings: &Surroundings,
) -> Result<Option<Message>, String> {
    let to = surroundings.router.rewrite(&config.error_notice_recipient);
    let settings = &config.report;
    let make = |id: QueueId, now: i64| {
        let letter = Letter {
            id,
            long_id: config.long_queue_ids,
            unix: u64::try_from(now / 1_000_000).unwrap_or(0),
            host: &settings.myhostname,
            mail_name: &settings.mail_name,
            to: &to,
        };
        let text = letter.about_server(transcript.protocol, &transcript.server, &transcript.text);
        let sender = format!("{}@{}", settings.double_bounce_sender, settings.myhostname);
        let mut envelope = Envelope::new(id, now, sender);
        envelope.recipients = vec![Recipient::new(to.clone())];
        envelope.size = text.len() as u64;
        Some(Message { envelope: Arc::new(envelope), content: Content::Memory(text.into_bytes().into()) })
    };
    let posted = post(MailClass::Notify, &to, make, (config, surroundings)).await?;
    Ok(posted.and_then(|posted| posted.message))
}

/// Stores a message of ours; its recipients come out of cleanup.
async fn post(
    class: MailClass,
    to: &str,
    make: impl Fn(QueueId, i64) -> Option<Message>,
    (config, surroundings): (&DeliverConfig, &Surroundings),
) -> Result<Option<Posted>, String> {
    // Somebody else's id, used in the same microsecond, isn't worth more than another try.
    for _ in 0..3 {
        let now = now();
        let id = surroundings.ids.next(config.long_queue_ids, now);
        let Some(report) = make(id, now) else { return Ok(None) };
        let mail = OwnMail { message: report.clone(), to: to.to_owned(), notify: Notify::default() };
        let report = match surroundings.router.inspect(class, mail) {
            Some(inspecting) => match inspecting.await.map_err(|error| error.0)? {
                Cleaned::Ready(report) => report,
                Cleaned::Discarded => return Ok(Some(Posted { id, message: None })),
            },
            None => expanded(to, report, now, (config, surroundings)).await?,
        };
        if report.envelope.recipients.is_empty() {
            return Ok(None);
        }
        let report = fit(report, id, surroundings)?;
        let (done, stored) = oneshot::channel();
        surroundings.spool.submit(report.clone(), Box::new(move |result| drop(done.send(result))));
        match stored.await {
            Ok(Ok(())) => return Ok(Some(Posted { id, message: Some(report) })),
            Ok(Err(SpoolError::DuplicateId(_))) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("spool is closed".to_owned()),
        }
    }
    Err("no free queue id".to_owned())
}

/// A message of ours that nobody looks at, with its recipients.
async fn expanded(
    to: &str,
    mut report: Message,
    now: i64,
    (config, surroundings): (&DeliverConfig, &Surroundings),
) -> Result<Message, String> {
    let id = report.envelope.queue_id;
    let expanded = surroundings.router.expand(id, to).await.map_err(|error| error.0)?;
    let message_id = bounce::message_id(id, now, &config.report.myhostname);
    (surroundings.log)(&config.cleanup_tag, format!("{id}: message-id={message_id}"));
    for line in expanded.log {
        (surroundings.log)(&config.cleanup_tag, line);
    }
    Arc::make_mut(&mut report.envelope).recipients = expanded.recipients;
    Ok(report)
}

/// Headers beyond this are cut off.
const HEADER_LIMIT: usize = 256 * 1024;

fn content(message: &Message, surroundings: &Surroundings, limit: usize) -> Result<Vec<u8>, String> {
    let source = match &message.content {
        Content::Memory(bytes) => ContentSource::Memory(bytes.clone()),
        _ => surroundings.spool.content(message.envelope.queue_id).map_err(|error| error.to_string())?,
    };
    match source {
        ContentSource::Memory(bytes) => Ok(bytes[..bytes.len().min(limit)].to_vec()),
        ContentSource::File(file, _) => {
            let mut bytes = Vec::new();
            file.take(limit as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            Ok(bytes)
        }
    }
}

/// A report that is too large for the journal goes into a file.
fn fit(report: Message, id: QueueId, surroundings: &Surroundings) -> Result<Message, String> {
    match &report.content {
        Content::Memory(bytes) if bytes.len() > queue::INLINE_LIMIT => {
            let store = || {
                let mut writer = surroundings.spool.large_writer(id)?;
                writer.write(bytes)?;
                writer.seal()
            };
            let content = store().map_err(|error: SpoolError| error.to_string())?;
            Ok(Message { envelope: report.envelope.clone(), content })
        }
        _ => Ok(report),
    }
}
