//! bounce(8): reports to senders.

use super::{DeliverConfig, Surroundings};
use crate::deliver::agent::now;
use queue::bounce::{self, ReportKind};
use queue::{Content, ContentSource, Message, QueueId, SpoolError};
use std::io::Read;
use tokio::sync::oneshot;

/// Makes the report on a message and stores it. `None` if there is nothing to report.
pub(super) async fn send(
    kind: ReportKind,
    message: &Message,
    config: &DeliverConfig,
    surroundings: &Surroundings,
) -> Result<Option<Message>, String> {
    let envelope = &message.envelope;
    let whole = bounce::returns_body(kind, envelope, &config.report);
    let limit = if whole { usize::MAX } else { HEADER_LIMIT };
    let original = content(message, surroundings, limit)?;
    // Somebody else's id, used in the same microsecond, isn't worth more than another try.
    for _ in 0..3 {
        let now = now();
        let id = surroundings.ids.next(config.long_queue_ids, now);
        let Some(report) = bounce::report(kind, envelope, &original, &config.report, (id, now)) else {
            return Ok(None);
        };
        let report = fit(report, id, surroundings)?;
        let (done, stored) = oneshot::channel();
        surroundings.spool.submit(report.clone(), Box::new(move |result| drop(done.send(result))));
        match stored.await {
            Ok(Ok(())) => return Ok(Some(report)),
            Ok(Err(SpoolError::DuplicateId(_))) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("spool is closed".to_owned()),
        }
    }
    Err("no free queue id".to_owned())
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
