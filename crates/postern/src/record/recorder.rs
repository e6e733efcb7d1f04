//! The thread that writes the record, and the way there.

use super::segment::{self, Segment};
use super::stored::Record;
use super::{Code, Made};
use crate::daemon::site::Site;
use crate::maillog::Log;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// So many decisions wait at most; what comes on top is lost.
const BACKLOG: usize = 20_000;
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

/// Where sessions hand their decisions over. Clones share it.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    accepts: u64,
}

#[derive(Default)]
struct Waiting {
    made: Vec<Made>,
    lost: u64,
    accepted: u64,
    over: bool,
}

fn lock(mutex: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        // A watcher sees everything.
        let accepts = if watchers.is_empty() { settings.accepts } else { 1 };
        let shared = Arc::new(Shared { waiting: Mutex::default(), arrived: Condvar::new(), accepts });
        let writer = Writer { settings, watchers, log, segment: None, accepted: 0, failed: false };
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("decisions".into()).spawn(move || writer.run(&own))?;
        Ok(Some((Self { shared }, thread)))
    }

    /// Hand a decision over. Never waits.
    pub fn submit(&self, made: Made) {
        let mut waiting = lock(&self.shared.waiting);
        if made.decision.rejection.is_none() {
            waiting.accepted += 1;
            if self.shared.accepts == 0 || !waiting.accepted.is_multiple_of(self.shared.accepts) {
                return;
            }
        }
        if waiting.made.len() >= BACKLOG {
            waiting.lost += 1;
            return;
        }
        waiting.made.push(made);
        if waiting.made.len() == 1 {
            self.shared.arrived.notify_one();
        }
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
    segment: Option<Segment>,
    accepted: u64,
    /// The disk failed, and the log has it.
    failed: bool,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        loop {
            let (made, lost, over) = {
                let mut waiting = lock(&shared.waiting);
                while waiting.made.is_empty() && !waiting.over {
                    let (still, timeout) = shared
                        .arrived
                        .wait_timeout(waiting, Duration::from_secs(5))
                        .unwrap_or_else(PoisonError::into_inner);
                    waiting = still;
                    if timeout.timed_out() {
                        self.watchers.iter_mut().for_each(|watcher| watcher.idle());
                    }
                }
                (std::mem::take(&mut waiting.made), std::mem::take(&mut waiting.lost), waiting.over)
            };
            if lost > 0 {
                self.log.warning(TAG, &format!("decision record: {lost} decisions lost, too many came at once"));
            }
            self.take(&made);
            if over {
                self.watchers.iter_mut().for_each(|watcher| watcher.idle());
                return;
            }
            std::thread::sleep(GATHER);
        }
    }

    fn take(&mut self, made: &[Made]) {
        if self.settings.enabled {
            match self.keep(made) {
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
        }
        for made in made {
            self.watchers.iter_mut().for_each(|watcher| watcher.decided(made));
        }
    }

    fn keep(&mut self, made: &[Made]) -> io::Result<()> {
        let Settings { directory, max_size, max_age, accepts, .. } = &self.settings;
        let mut buffer = Vec::with_capacity(400 * made.len());
        for made in made {
            if made.decision.rejection.is_none() {
                self.accepted += 1;
                // Watchers see more than is kept.
                if !self.watchers.is_empty() && (*accepts == 0 || !self.accepted.is_multiple_of(*accepts)) {
                    continue;
                }
            }
            let share = u64::from(SEGMENTS);
            let done = |segment: &Segment| segment.is_done((max_size / share).max(LEAST), *max_age / SEGMENTS);
            if self.segment.as_ref().is_none_or(done) {
                if let Some(segment) = &mut self.segment {
                    segment.write(&buffer)?;
                    buffer.clear();
                }
                self.segment = Some(Segment::begin(directory)?);
                segment::prune(directory, *max_size, *max_age)?;
            }
            let Some(segment) = &mut self.segment else { continue };
            let record = Record::of(made, &mut segment.texts);
            segment::encode(record, &mut segment.texts, &mut buffer);
        }
        match &mut self.segment {
            Some(segment) => segment.write(&buffer),
            None => Ok(()),
        }
    }
}

impl Code {
    /// The text that a reply carries (`postern_reject_code_suffix`).
    pub fn suffix(self) -> String {
        format!(" [{self}]")
    }
}
