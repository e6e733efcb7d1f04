//! The spool: a journal of segments with group commit, and a file of its own for each large content.
//!
//! **250 means on disk.** [`Spool::submit`] reports success only after message and envelope are on stable storage. One
//! committer thread takes all that waits, writes it in one go and syncs once. What happened to a recipient, and that a
//! message is finished, is written in order but without a sync of its own: after a crash some mail may be delivered
//! twice, but none is lost.
//!
//! Layout below the directory: `lock`, `journal/SEQUENCE-NONCE.seg` (laid out ahead, so that a sync touches no
//! metadata), `journal/spare-N` (segments to be used again) and `large/QUEUEID`.

mod committer;
mod file;
mod index;
mod large;
mod recovery;
mod segment;
mod shared;

pub use file::{Fault, FaultHook, FileOperation};
pub(crate) use large::LargeFile;
pub use large::LargeWriter;
pub use recovery::Recovery;

use crate::envelope::{Content, DeliveryStatus, Message, RecipientState};
use crate::id::QueueId;
use crate::record::{self, ContentPlace, Decoded};
use file::Files;
use segment::Spares;
use shared::{Operation, Shared};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Content up to this size goes with the envelope; larger content belongs into a [`LargeWriter`].
pub const INLINE_LIMIT: usize = 64 * 1024;

/// Told when a submitted message is on stable storage, or why it isn't. Called on the committer's thread: be brief.
pub type Done = Box<dyn FnOnce(Result<(), SpoolError>) + Send>;

/// What can go wrong with the spool.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it.
    #[error("spool {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// No space left: reply `452 4.3.1`.
    #[error("insufficient disk space in the spool")]
    NoSpace,
    /// A file can't be made, written, read or synced.
    #[error("{what} {}: {error}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// The queue id is in use.
    #[error("queue id {0} is already in use")]
    DuplicateId(QueueId),
    /// No such message.
    #[error("no message with queue id {0}")]
    UnknownId(QueueId),
    /// What was read isn't what was written.
    #[error("content of message {0} is damaged")]
    Damaged(QueueId),
    /// In-memory content above [`INLINE_LIMIT`], or an envelope above any reason.
    #[error("message too large for the journal")]
    TooLarge,
    /// The spool was closed.
    #[error("spool is closed")]
    Closed,
}

/// How to run a spool.
#[derive(Clone)]
pub struct SpoolOptions {
    /// Size of a journal segment.
    pub segment_size: u64,
    /// How long records that need no sync may wait for company.
    pub lazy_delay: Duration,
    /// How many segments to lay out ahead.
    pub spares: usize,
    /// Test hook, called before each file operation.
    pub fault: Option<FaultHook>,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        SpoolOptions { segment_size: 32 << 20, lazy_delay: Duration::from_millis(20), spares: 1, fault: None }
    }
}

/// A change to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientUpdate {
    /// Which one, as index into the envelope's recipients.
    pub index: usize,
    /// New state.
    pub state: RecipientState,
    /// Deliveries tried so far.
    pub attempts: u32,
    /// Not before, Unix microseconds.
    pub next_attempt: i64,
    /// Why.
    pub status: Option<Box<DeliveryStatus>>,
}

/// Content to read.
#[derive(Debug)]
pub enum ContentSource {
    /// All of it.
    Memory(Arc<[u8]>),
    /// A file with it, and its length.
    File(File, u64),
}

/// The spool. Clones are handles to the same one; the last one closes it.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
    // Held so that the threads end with the last handle.
    _threads: Arc<shared::Threads>,
}

impl Spool {
    /// Locks and opens the spool below `dir`, making it if needed, and hands back what it still holds.
    pub fn open(dir: &Path, options: SpoolOptions) -> Result<(Spool, Recovery), SpoolError> {
        let files = Files { hook: options.fault.clone() };
        let (journal, large) = (dir.join("journal"), dir.join("large"));
        for path in [dir, &journal, &large] {
            files.make_dir(path)?;
        }
        let lock = files.lock(&dir.join("lock"))?.ok_or_else(|| SpoolError::Locked(dir.to_owned()))?;
        let (mut index, problems) = recovery::recover(&files, dir)?;
        let spares = Spares::new(journal.clone(), files.clone(), options.segment_size);
        for name in file::names(&journal)?.iter().filter(|n| n.starts_with("spare-")) {
            spares.adopt(name)?;
        }
        let sequence = index.segments.back().map_or(1, |s| s.sequence + 1);
        // Also shows whether the directory can be written to.
        index.segments.push_back(spares.segment(sequence, 0)?);
        files.sync_dir(dir)?;
        let recovery = Recovery { messages: index.all(), problems };
        let shared = Arc::new(Shared::new(index, files, spares, lock, dir.to_owned()));
        let threads = shared::start(&shared, &options).map_err(|error| SpoolError::Io {
            what: "start threads for",
            path: dir.to_owned(),
            error: Arc::new(error),
        })?;
        Ok((Spool { shared, _threads: Arc::new(threads) }, recovery))
    }

    /// Stores a message; `done` is told once it is on stable storage. `Content::Journal` is refused.
    pub fn submit(&self, message: Message, done: Done) {
        match &message.content {
            Content::Memory(bytes) if bytes.len() > INLINE_LIMIT => done(Err(SpoolError::TooLarge)),
            Content::Large(_) => self.shared.push_large(message, done),
            Content::Memory(_) | Content::Journal => self.shared.push_message(message, done),
        }
    }

    /// Stores a message and waits until it is on stable storage.
    pub fn submit_and_wait(&self, message: Message) -> Result<(), SpoolError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.submit(message, Box::new(move |result| drop(sender.send(result))));
        receiver.recv().unwrap_or(Err(SpoolError::Closed))
    }

    /// A file for content that is larger than [`INLINE_LIMIT`], to be written while it arrives.
    pub fn large_writer(&self, queue_id: QueueId) -> Result<LargeWriter, SpoolError> {
        LargeWriter::new(self.shared.files.clone(), self.shared.dir.join("large").join(queue_id.as_str()))
    }

    /// A file without a name for content that is only on its way through: whatever happens, nothing of it stays.
    /// `queue_id` only has to be one that nobody else uses.
    pub fn scratch_file(&self, queue_id: QueueId) -> Result<std::fs::File, SpoolError> {
        let path = self.shared.dir.join("large").join(queue_id.as_str());
        let file = self.shared.files.create(&path)?;
        self.shared.files.remove(&path)?;
        Ok(file)
    }

    /// A file for a part of a message that isn't its content yet: see [`LargeWriter::seal_in_place_of`]. Several of a
    /// message have numbers.
    pub fn large_part(&self, queue_id: QueueId, number: u32) -> Result<LargeWriter, SpoolError> {
        let name = format!("{queue_id}.{number}");
        LargeWriter::new(self.shared.files.clone(), self.shared.dir.join("large").join(name))
    }

    /// Notes what happened to recipients. Ordered, not synced.
    pub fn update(&self, queue_id: QueueId, updates: Vec<RecipientUpdate>) -> Result<(), SpoolError> {
        let record = record::update(queue_id, &updates);
        let mut index = self.shared.index();
        if !index.update(queue_id, &updates) {
            return Err(SpoolError::UnknownId(queue_id));
        }
        // Under the index's lock, so that changes stand in the journal in the order they were made in.
        self.shared.push(Operation::Note { record, obsolete: None });
        Ok(())
    }

    /// Puts a message on hold or releases it. Ordered, not synced.
    pub fn set_hold(&self, queue_id: QueueId, hold: bool) -> Result<(), SpoolError> {
        let mut index = self.shared.index();
        if !index.set_hold(queue_id, hold) {
            return Err(SpoolError::UnknownId(queue_id));
        }
        self.shared.push(Operation::Note { record: record::hold(queue_id, hold), obsolete: None });
        Ok(())
    }

    /// The message is done with: forget it. Ordered, not synced.
    pub fn finish(&self, queue_id: QueueId) -> Result<(), SpoolError> {
        let mut index = self.shared.index();
        let entry = index.remove(queue_id).ok_or(SpoolError::UnknownId(queue_id))?;
        self.shared.push(Operation::Note { record: record::finish(queue_id), obsolete: entry.large });
        Ok(())
    }

    /// The message as the spool has it now (its content by reference).
    pub fn message(&self, queue_id: QueueId) -> Option<Message> {
        self.shared.index().message(queue_id)
    }

    /// Queue ids of all messages held, oldest first.
    pub fn queue_ids(&self) -> Vec<QueueId> {
        self.shared.index().all().iter().map(|m| m.envelope.queue_id).collect()
    }

    /// The content of a message, read back from disk.
    pub fn content(&self, queue_id: QueueId) -> Result<ContentSource, SpoolError> {
        let large = {
            let index = self.shared.index();
            index.messages.get(&queue_id).ok_or(SpoolError::UnknownId(queue_id))?.large.clone()
        };
        match large {
            Some(large) => Ok(ContentSource::File(self.shared.files.open(&large.path)?, large.len())),
            None => read_content(&self.shared, queue_id).map(ContentSource::Memory),
        }
    }

    /// Bytes free on the spool's file system, at most a second old.
    pub fn free_space(&self) -> u64 {
        self.shared.free_space()
    }

    /// How many messages are held.
    pub fn len(&self) -> usize {
        self.shared.index().messages.len()
    }

    /// None held?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until everything handed in so far is written and synced.
    pub fn sync(&self) -> Result<(), SpoolError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.shared.push(Operation::Sync(Box::new(move |result| drop(sender.send(result)))));
        receiver.recv().unwrap_or(Err(SpoolError::Closed))
    }
}

/// Reads the content of a message out of the journal.
fn read_content(shared: &Shared, id: QueueId) -> Result<Arc<[u8]>, SpoolError> {
    let (place, (file, nonce)) = {
        let index = shared.index();
        let place = index.messages.get(&id).ok_or(SpoolError::UnknownId(id))?.place;
        (place, index.source(place.sequence).ok_or(SpoolError::Damaged(id))?)
    };
    let mut bytes = vec![0; place.len as usize];
    file.read_exact_at(&mut bytes, place.offset).map_err(|_| SpoolError::Damaged(id))?;
    let raw = record::read(&bytes, nonce).ok_or(SpoolError::Damaged(id))?;
    match record::decode(raw.kind, raw.payload) {
        Some(Decoded::Message(_, ContentPlace::Inline(at, len))) => Ok(Arc::from(&raw.payload[at..at + len])),
        _ => Err(SpoolError::Damaged(id)),
    }
}
