//! The thread that writes the record, and the way there. Event loops encode their decisions themselves: what a decision
//! consists of stays in the memory of the loop that made it, and some hundred bytes change hands.

use super::segment::{self, FRAME_LIMIT, Segment};
use super::stored::Record;
use super::texts::{Dictionary, Texts};
use super::{Code, Made};
use crate::daemon::site::Site;
use crate::maillog::Log;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// So many decisions wait at most; what comes on top is lost.
const BACKLOG: usize = 20_000;
/// Nor do they wait when they have so many bytes.
const BACKLOG_BYTES: usize = 16 << 20;
/// Memory for so many bytes is kept for the next batch.
const ROOM: usize = 1 << 20;
/// How long decisions gather before they are written together.
const GATHER: Duration = Duration::from_millis(50);
/// The record consists of about so many files.
const SEGMENTS: u32 = 16;
/// The least size of a file.
const LEAST: u64 = 64 << 10;
/// Lines from here have this tag.
const TAG: &str = "postfix/postern";

/// What is kept, where, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `$data_directory/decisions`.
    pub directory: PathBuf,
    /// `postern_decision_record`.
    pub enabled: bool,
    /// `postern_decision_record_accepts`: one accepted decision in so many is kept; 0: none.
    pub accepts: u64,
    /// `postern_decision_record_max_size`, in bytes.
    pub max_size: u64,
    /// `postern_decision_record_max_age`.
    pub max_age: Duration,
}

impl Settings {
    /// As a configuration has them.
    pub fn of(site: &Site) -> Self {
        let p = &site.parameters;
        let number = |name: &str| u64::try_from(p.int(name)).unwrap_or(0);
        Self {
            directory: super::directory(p),
            enabled: p.bool("postern_decision_record"),
            accepts: number("postern_decision_record_accepts"),
            max_size: number("postern_decision_record_max_size").max(LEAST * 2),
            max_age: p.time("postern_decision_record_max_age"),
        }
    }
}

/// Somebody else who wants to see every decision, off the sessions' way.
pub trait Watcher: Send {
    /// A decision was made.
    fn decided(&mut self, made: &Made);
    /// Nothing came for a while.
    fn idle(&mut self) {}
}

/// Where the sessions of an event loop hand their decisions over. Clones are for other loops.
pub struct Recorder {
    shared: Arc<Shared>,
    encoder: Mutex<Encoder>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    texts: Arc<Texts>,
    accepted: AtomicU64,
    /// One accepted decision in so many is kept; 0: none.
    accepts: u64,
    /// There is a record.
    enabled: bool,
    /// There is somebody who wants to see everything.
    watched: bool,
}

/// What one loop needs to encode decisions.
#[derive(Default)]
struct Encoder {
    texts: Dictionary,
    room: Vec<u8>,
}

#[derive(Default)]
struct Waiting {
    batch: Batch,
    lost: u64,
    over: bool,
}

/// Decisions that are written together.
#[derive(Default)]
struct Batch {
    frames: Vec<Encoded>,
    /// The frames' bytes, one after the other.
    bytes: Vec<u8>,
    /// The numbers of the texts that the frames name.
    used: Vec<u32>,
    /// What watchers are to see.
    made: Vec<Made>,
}

/// An encoded decision: its part of a batch.
struct Encoded {
    edition: u32,
    bytes: usize,
    used: usize,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.made.is_empty()
    }

    /// Nothing in it, but the room that it had: another batch won't be much larger.
    fn emptied(mut self) -> Self {
        if self.bytes.capacity() > ROOM {
            return Self::default();
        }
        self.frames.clear();
        self.bytes.clear();
        self.used.clear();
        self.made.clear();
        self
    }

    fn is_full(&self) -> bool {
        self.frames.len().max(self.made.len()) >= BACKLOG || self.bytes.len() >= BACKLOG_BYTES
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clone for Recorder {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl Recorder {
    /// Start the thread; `None`: nobody wants decisions.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        settings: Settings,
        watchers: Vec<Box<dyn Watcher>>,
        log: Log,
    ) -> io::Result<Option<(Self, JoinHandle<()>)>> {
        if !settings.enabled && watchers.is_empty() {
            return Ok(None);
        }
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            texts: Arc::default(),
            accepted: AtomicU64::new(0),
            accepts: settings.accepts,
            enabled: settings.enabled,
            watched: !watchers.is_empty(),
        });
        let texts = Arc::clone(&shared.texts);
        let writer = Writer { settings, watchers, log, texts, segment: None, buffer: Vec::new(), failed: false };
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("decisions".into()).spawn(move || writer.run(&own))?;
        Ok(Some((Self::new(shared), thread)))
    }

    fn new(shared: Arc<Shared>) -> Self {
        let encoder = Encoder { texts: Dictionary::new(Arc::clone(&shared.texts)), room: Vec::new() };
        Self { shared, encoder: Mutex::new(encoder) }
    }

    /// Hand a decision over. Never waits for the disk.
    pub fn submit(&self, made: Box<Made>) {
        let kept = self.is_kept(&made);
        if !kept && !self.shared.watched {
            return;
        }
        let mut encoder = lock(&self.encoder);
        let Encoder { texts, room } = &mut *encoder;
        let bytes = if kept { segment::encode(&Record::of(&made, texts), room) } else { &[] };
        let mut waiting = lock(&self.shared.waiting);
        if waiting.batch.is_full() || bytes.len() > FRAME_LIMIT / 2 || (kept && bytes.is_empty()) {
            waiting.lost += 1;
            return;
        }
        let was_empty = waiting.batch.is_empty();
        let batch = &mut waiting.batch;
        if kept {
            let (edition, used) = texts.used();
            batch.frames.push(Encoded { edition, bytes: bytes.len(), used: used.len() });
            batch.bytes.extend_from_slice(bytes);
            batch.used.extend_from_slice(used);
        }
        if self.shared.watched {
            batch.made.push(*made);
        }
        if was_empty {
            self.shared.arrived.notify_one();
        }
    }

    fn is_kept(&self, made: &Made) -> bool {
        let Shared { enabled, accepts, accepted, .. } = &*self.shared;
        if !enabled || made.decision.rejection.is_some() {
            return *enabled;
        }
        let number = accepted.fetch_add(1, Ordering::Relaxed) + 1;
        *accepts > 0 && number.is_multiple_of(*accepts)
    }

    /// Write what is waiting and end the thread.
    pub fn stop(&self) {
        lock(&self.shared.waiting).over = true;
        self.shared.arrived.notify_one();
    }
}

struct Writer {
    settings: Settings,
    watchers: Vec<Box<dyn Watcher>>,
    log: Log,
    texts: Arc<Texts>,
    segment: Option<Segment>,
    /// Frames on their way to the file.
    buffer: Vec<u8>,
    /// The disk failed, and the log has it.
    failed: bool,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        let mut spare = Batch::default();
        loop {
            let (batch, lost, over) = {
                let mut waiting = lock(&shared.waiting);
                while waiting.batch.is_empty() && !waiting.over {
                    let (still, timeout) = shared
                        .arrived
                        .wait_timeout(waiting, Duration::from_secs(5))
                        .unwrap_or_else(PoisonError::into_inner);
                    waiting = still;
                    if timeout.timed_out() {
                        self.watchers.iter_mut().for_each(|watcher| watcher.idle());
                    }
                }
                (
                    std::mem::replace(&mut waiting.batch, std::mem::take(&mut spare)),
                    std::mem::take(&mut waiting.lost),
                    waiting.over,
                )
            };
            if lost > 0 {
                self.log.warning(TAG, &format!("decision record: {lost} decisions lost, too many came at once"));
            }
            self.take(&batch);
            spare = batch.emptied();
            if over {
                self.watchers.iter_mut().for_each(|watcher| watcher.idle());
                return;
            }
            std::thread::sleep(GATHER);
        }
    }

    fn take(&mut self, batch: &Batch) {
        match self.keep(batch) {
            Ok(()) => self.failed = false,
            Err(error) => {
                // The next decisions begin another file, should there be room again.
                self.segment = None;
                if !std::mem::replace(&mut self.failed, true) {
                    let directory = self.settings.directory.display();
                    self.log.warning(TAG, &format!("decision record {directory}: {error}; decisions are lost"));
                }
            }
        }
        for made in &batch.made {
            self.watchers.iter_mut().for_each(|watcher| watcher.decided(made));
        }
    }

    fn keep(&mut self, batch: &Batch) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.keep_in(batch, &mut buffer);
        buffer.clear();
        buffer.shrink_to(ROOM);
        self.buffer = buffer;
        result
    }

    fn keep_in(&mut self, batch: &Batch, buffer: &mut Vec<u8>) -> io::Result<()> {
        let (mut bytes, mut used) = (&*batch.bytes, &*batch.used);
        for encoded in &batch.frames {
            let (record, names);
            (record, bytes) = bytes.split_at(encoded.bytes);
            (names, used) = used.split_at(encoded.used);
            let segment = self.segment(encoded.edition, buffer)?;
            let new: Vec<u32> = names.iter().copied().filter(|number| segment.is_new(*number)).collect();
            let text = |number| Some((number, self.texts.get(encoded.edition, number)?.to_string()));
            let fresh: Vec<segment::Fresh> = new.into_iter().filter_map(text).collect();
            segment::frame(&fresh, record, buffer);
        }
        match &mut self.segment {
            Some(segment) => segment.write(buffer),
            None => Ok(()),
        }
    }

    /// The file for a decision of this edition; the buffer belongs to the one that was written to so far.
    fn segment(&mut self, edition: u32, buffer: &mut Vec<u8>) -> io::Result<&mut Segment> {
        let Settings { directory, max_size, max_age, .. } = &self.settings;
        let size = (max_size / u64::from(SEGMENTS)).max(LEAST);
        let serves = |segment: &Segment| segment.edition == edition && !segment.is_done(size, *max_age / SEGMENTS);
        match self.segment.take() {
            Some(segment) if serves(&segment) => Ok(self.segment.insert(segment)),
            over => {
                if let Some(mut segment) = over {
                    segment.write(buffer)?;
                    buffer.clear();
                }
                let begun = Segment::begin(directory, edition)?;
                segment::prune(directory, *max_size, *max_age)?;
                Ok(self.segment.insert(begun))
            }
        }
    }
}

impl Code {
    /// The text that a reply carries (`postern_reject_code_suffix`).
    pub fn suffix(self) -> String {
        format!(" [{self}]")
    }
}
