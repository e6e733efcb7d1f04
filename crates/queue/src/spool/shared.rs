//! What the spool's handles and its threads share, and the threads that serve the committer.

use super::committer::Committer;
use super::file::Files;
use super::index::Index;
use super::large::LargeFile;
use super::segment::Spares;
use super::{Done, SpoolError, SpoolOptions};
use crate::envelope::{Content, Envelope, Message};
use crate::id::QueueId;
use crate::record::{self, Encoded};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What waits for the committer.
pub(super) enum Operation {
    /// A new message.
    Submit { record: Encoded, envelope: Arc<Envelope>, large: Option<Arc<LargeFile>>, done: Done },
    /// A record that needs no sync of its own. A content file goes once it is synced.
    Note { record: Encoded, obsolete: Option<Arc<LargeFile>> },
    /// A copy of a live record, out of a segment that is to be freed.
    Copy { record: Encoded, id: QueueId },
    /// Tell when all before it is synced.
    Sync(Done),
}

impl Operation {
    /// The record to write.
    pub fn record(&self) -> Option<&Encoded> {
        match self {
            Operation::Submit { record, .. } | Operation::Note { record, .. } | Operation::Copy { record, .. } => {
                Some(record)
            }
            Operation::Sync(_) => None,
        }
    }

    /// Does somebody wait for it?
    pub fn is_urgent(&self) -> bool {
        !matches!(self, Operation::Note { .. })
    }
}

#[derive(Default)]
struct Waiting {
    operations: Vec<Operation>,
    /// Somebody waits for a sync.
    urgent: bool,
    /// The committer sleeps and wants to be woken.
    asleep: bool,
    closing: bool,
}

/// What the spool's handles and its threads share.
pub(super) struct Shared {
    pub index: Mutex<Index>,
    pub files: Files,
    pub spares: Spares,
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Large content to be synced before it is queued.
    large_sync: Mutex<Option<mpsc::Sender<(Message, Done)>>>,
    pub dir: PathBuf,
    /// Keeps other processes out.
    _lock: File,
    space: Mutex<Option<(Instant, u64)>>,
}

impl Shared {
    pub fn new(index: Index, files: Files, spares: Spares, lock: File, dir: PathBuf) -> Self {
        Shared {
            index: Mutex::new(index),
            files,
            spares,
            waiting: Mutex::default(),
            wake: Condvar::new(),
            large_sync: Mutex::new(None),
            dir,
            _lock: lock,
            space: Mutex::default(),
        }
    }

    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an operation to the committer.
    pub fn push(&self, operation: Operation) {
        let mut waiting = self.waiting();
        if waiting.closing {
            drop(waiting);
            match operation {
                Operation::Submit { done, .. } | Operation::Sync(done) => done(Err(SpoolError::Closed)),
                Operation::Note { .. } | Operation::Copy { .. } => {}
            }
            return;
        }
        let wake = waiting.asleep && (waiting.operations.is_empty() || operation.is_urgent() && !waiting.urgent);
        waiting.urgent |= operation.is_urgent();
        waiting.operations.push(operation);
        if wake {
            waiting.asleep = false;
            drop(waiting);
            self.wake.notify_one();
        }
    }

    /// Queues a message whose content is where it belongs.
    pub fn push_message(&self, message: Message, done: Done) {
        let Some(record) = record::message(&message.envelope, &message.content) else {
            return done(Err(SpoolError::TooLarge));
        };
        let large = match message.content {
            Content::Large(large) => Some(large.0),
            Content::Memory(_) | Content::Journal => None,
        };
        self.push(Operation::Submit { record, envelope: message.envelope, large, done });
    }

    /// Queues a message whose content is in a file that must be synced first.
    pub fn push_large(&self, message: Message, done: Done) {
        let sender = self.large_sync.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match sender {
            None => done(Err(SpoolError::Closed)),
            Some(sender) => {
                if let Err(mpsc::SendError((_, done))) = sender.send((message, done)) {
                    done(Err(SpoolError::Closed));
                }
            }
        }
    }

    /// Waits for something to do: until somebody waits for a sync, or notes have waited for `lazy_delay`, or for
    /// `settle`. Also tells whether to close.
    pub fn wait(&self, lazy_delay: Duration, settle: Option<Duration>) -> (Vec<Operation>, bool) {
        let mut waiting = self.waiting();
        let settle = settle.map(|delay| Instant::now() + delay);
        let mut first_note = None;
        while !waiting.urgent && !waiting.closing {
            let now = Instant::now();
            let due = match waiting.operations.is_empty() {
                true => settle,
                false => Some(*first_note.get_or_insert(now) + lazy_delay),
            };
            waiting.asleep = true;
            waiting = match due.map(|due| due.saturating_duration_since(now)) {
                None => self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.wake.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        waiting.asleep = false;
        waiting.urgent = false;
        (std::mem::take(&mut waiting.operations), waiting.closing)
    }

    /// The next [`Shared::wait`] returns at once.
    pub fn wake_again(&self) {
        self.waiting().urgent = true;
    }

    /// Bytes free, at most a second old.
    pub fn free_space(&self) -> u64 {
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, bytes)) = *space
            && when.elapsed() < Duration::from_secs(1)
        {
            return bytes;
        }
        // If the system can't say, let the write find out.
        let bytes =
            nix::sys::statvfs::statvfs(&self.dir).map_or(u64::MAX, |s| s.blocks_available() * s.fragment_size());
        *space = Some((Instant::now(), bytes));
        bytes
    }

    /// No more work; what waits is still done.
    pub fn close(&self) {
        self.waiting().closing = true;
        self.wake.notify_one();
    }
}

/// The spool's threads; dropping this ends them.
pub(super) struct Threads {
    shared: Arc<Shared>,
    /// The committer first.
    handles: Vec<JoinHandle<()>>,
    prepare: Option<mpsc::SyncSender<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        // First the thread that feeds the committer, then the committer, then the one it asks for segments.
        *self.shared.large_sync.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.prepare = None;
        let own = thread::current().id();
        if self.handles.iter().any(|handle| handle.thread().id() == own) {
            // The last handle went in a completion, on a thread of ours. They all end by themselves.
            return self.shared.close();
        }
        let mut handles = std::mem::take(&mut self.handles);
        if handles.len() > 1 {
            let _ = handles.remove(1).join();
        }
        self.shared.close();
        for handle in handles {
            let _ = handle.join();
        }
    }
}

/// Syncs large content, then queues its message. Several files share one sync of their directory.
fn sync_large(shared: &Shared, queue: &mpsc::Receiver<(Message, Done)>) {
    while let Ok(first) = queue.recv() {
        let mut ready = Vec::new();
        for (message, done) in std::iter::once(first).chain(queue.try_iter().take(63)) {
            let synced = match &message.content {
                Content::Large(large) => shared.files.sync(&large.0.file, &large.0.path),
                Content::Memory(_) | Content::Journal => Ok(()),
            };
            match synced {
                Ok(()) => ready.push((message, done)),
                Err(error) => done(Err(error)),
            }
        }
        let synced = shared.files.sync_dir(&shared.dir.join("large"));
        for (message, done) in ready {
            match &synced {
                Ok(()) => shared.push_message(message, done),
                Err(error) => done(Err(error.clone())),
            }
        }
    }
}

/// Lays out segments ahead, unless little space is left.
fn prepare_spares(shared: &Shared, size: u64, wanted: usize, requests: &mpsc::Receiver<()>) {
    while let Ok(()) = requests.recv() {
        while shared.spares.count() < wanted && shared.free_space() > 8 * size {
            // Should it fail, mail goes to a segment made on the spot, and that reports what is wrong.
            if shared.spares.prepare().is_err() {
                break;
            }
        }
    }
}

/// Starts the spool's threads.
pub(super) fn start(shared: &Arc<Shared>, options: &SpoolOptions) -> io::Result<Threads> {
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.into()).spawn(body);
    let (prepare, requests) = mpsc::sync_channel(1);
    let (large, messages) = mpsc::channel();
    *shared.large_sync.lock().unwrap_or_else(PoisonError::into_inner) = Some(large);
    let committer = Committer::new(shared.clone(), prepare.clone(), options);
    let mut threads = Threads { shared: shared.clone(), handles: Vec::new(), prepare: Some(prepare) };
    threads.handles.push(spawn("spool-commit", Box::new(move || committer.run()))?);
    let shared_large = shared.clone();
    threads.handles.push(spawn("spool-large", Box::new(move || sync_large(&shared_large, &messages)))?);
    let (shared, size, wanted) = (shared.clone(), options.segment_size, options.spares);
    threads.handles.push(spawn("spool-spare", Box::new(move || prepare_spares(&shared, size, wanted, &requests)))?);
    Ok(threads)
}
