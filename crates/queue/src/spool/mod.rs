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

pub use file::{Fault, FaultHook, FileOperation};
pub(crate) use large::LargeFile;
pub use large::LargeWriter;
pub use recovery::Recovery;

use crate::envelope::{DeliveryStatus, Message, RecipientState};
use crate::id::QueueId;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// Test hook, called before each file operation.
    pub fault: Option<FaultHook>,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        SpoolOptions { segment_size: 32 << 20, lazy_delay: Duration::from_millis(20), fault: None }
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
    shared: Arc<committer::Shared>,
    // Held so that the threads end with the last handle.
    _threads: Arc<committer::Threads>,
}

impl Spool {
    /// Locks and opens the spool below `dir`, making it if needed, and hands back what it still holds.
    pub fn open(dir: &Path, options: SpoolOptions) -> Result<(Spool, Recovery), SpoolError> {
        todo!("{dir:?} {}", options.segment_size)
    }

    /// Stores a message; `done` is told once it is on stable storage. `Content::Journal` is refused.
    pub fn submit(&self, message: Message, done: Done) {
        todo!("{message:?} {}", std::mem::size_of_val(&done))
    }

    /// A file for content that is larger than [`INLINE_LIMIT`], to be written while it arrives.
    pub fn large_writer(&self, queue_id: QueueId) -> Result<LargeWriter, SpoolError> {
        todo!("{queue_id}")
    }

    /// Notes what happened to recipients. Ordered, not synced.
    pub fn update(&self, queue_id: QueueId, updates: Vec<RecipientUpdate>) -> Result<(), SpoolError> {
        todo!("{queue_id} {updates:?}")
    }

    /// Puts a message on hold or releases it. Ordered, not synced.
    pub fn set_hold(&self, queue_id: QueueId, hold: bool) -> Result<(), SpoolError> {
        todo!("{queue_id} {hold}")
    }

    /// The message is done with: forget it. Ordered, not synced.
    pub fn finish(&self, queue_id: QueueId) -> Result<(), SpoolError> {
        todo!("{queue_id}")
    }

    /// The message as the spool has it now (its content by reference).
    pub fn message(&self, queue_id: QueueId) -> Option<Message> {
        todo!("{queue_id}")
    }

    /// Queue ids of all messages held, in order of arrival in the spool.
    pub fn queue_ids(&self) -> Vec<QueueId> {
        todo!()
    }

    /// The content of a message, read back from disk.
    pub fn content(&self, queue_id: QueueId) -> Result<ContentSource, SpoolError> {
        todo!("{queue_id}")
    }

    /// Bytes free on the spool's file system, at most a second old.
    pub fn free_space(&self) -> u64 {
        todo!()
    }

    /// How many messages are held.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// None held?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until everything handed in so far is written and synced.
    pub fn sync(&self) -> Result<(), SpoolError> {
        todo!()
    }
}
