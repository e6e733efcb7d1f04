//! What a start finds in the journal.
//!
//! Records are replayed in order. A torn tail is what a crash leaves and isn't worth a word; damage with intact records
//! behind it is reported and skipped.

use super::file::Files;
use super::index::{Entry, Index, Place};
use super::large::LargeFile;
use super::segment::{Segment, parse_file_name};
use super::{SpoolError, file};
use crate::envelope::Message;
use crate::id::QueueId;
use crate::record::{self, ALIGN, ContentPlace, Decoded};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// What the spool held when it was opened.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Messages that are not finished, in order of arrival.
    pub messages: Vec<Message>,
    /// What was damaged, for the log: one line each.
    pub problems: Vec<String>,
}

/// Reads all segments into an index, and removes what no message needs.
pub(super) fn recover(files: &Files, dir: &Path) -> Result<(Index, Vec<String>), SpoolError> {
    let journal = dir.join("journal");
    let mut replay = Replay { files, large_dir: dir.join("large"), index: Index::default(), problems: Vec::new() };
    let mut names = Vec::new();
    for name in file::names(&journal)? {
        match parse_file_name(&name) {
            Some((sequence, nonce)) => names.push((sequence, nonce, name)),
            None if name.starts_with("spare-") => {}
            None => replay.problems.push(format!("unknown file journal/{name}")),
        }
    }
    names.sort();
    for (sequence, nonce, name) in names {
        replay.segment(&journal.join(&name), sequence, nonce)?;
    }
    replay.remove_orphans()?;
    Ok((replay.index, replay.problems))
}

struct Replay<'a> {
    files: &'a Files,
    large_dir: std::path::PathBuf,
    index: Index,
    problems: Vec<String>,
}

impl Replay<'_> {
    fn segment(&mut self, path: &Path, sequence: u64, nonce: u64) -> Result<(), SpoolError> {
        let file = Arc::new(self.files.open(path)?);
        let bytes = self.files.read(path)?;
        let size = bytes.len() as u64;
        self.index.segments.push_back(Segment {
            sequence,
            nonce,
            path: Arc::from(path),
            file,
            size,
            used: 0,
            live: 0,
            live_bytes: 0,
            // What an earlier version or another file system made of it isn't known.
            laid_out: false,
        });
        let mut at = 0;
        let mut end = 0;
        while let Some(found) = next_record(&bytes, at, nonce) {
            if found > at {
                self.problem(path, at, found);
            }
            let Some(raw) = record::read(&bytes[found..], nonce) else { break };
            let place = Place { sequence, offset: found as u64, len: raw.size as u64 };
            match record::decode(raw.kind, raw.payload) {
                Some(decoded) => self.apply(decoded, place)?,
                None => self.problem(path, found, found + raw.size),
            }
            at = found + raw.size;
            end = at;
        }
        if let Some(segment) = self.index.segments.back_mut() {
            segment.used = end as u64;
        }
        Ok(())
    }

    fn problem(&mut self, path: &Path, from: usize, to: usize) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.problems.push(format!("skipped {} damaged bytes at offset {from} of journal/{name}", to - from));
    }

    fn apply(&mut self, decoded: Decoded, place: Place) -> Result<(), SpoolError> {
        match decoded {
            Decoded::Message(envelope, content) => {
                let large = match content {
                    ContentPlace::Inline(..) => None,
                    ContentPlace::Large(len) => match self.large(envelope.queue_id, len)? {
                        Some(large) => Some(large),
                        None => {
                            self.index.remove(envelope.queue_id);
                            return Ok(());
                        }
                    },
                };
                self.index.insert(Entry { envelope: Arc::from(envelope), place, large });
            }
            Decoded::Update(id, updates) => {
                self.index.update(id, &updates);
            }
            Decoded::Hold(id, hold) => {
                self.index.set_hold(id, hold);
            }
            Decoded::Finish(id) => {
                self.index.remove(id);
            }
            Decoded::Abort { sequence, from } => self.index.abort(sequence, from),
        }
        Ok(())
    }

    fn large(&mut self, id: QueueId, len: u64) -> Result<Option<Arc<LargeFile>>, SpoolError> {
        let path = self.large_dir.join(id.as_str());
        if !path.exists() {
            self.problems.push(format!("message {id}: content file large/{id} is gone"));
            return Ok(None);
        }
        let file = self.files.open(&path)?;
        let found = file.metadata().map_or(0, |m| m.len());
        if found != len {
            self.problems.push(format!("message {id}: content file has {found} bytes instead of {len}"));
        }
        Ok(Some(Arc::new(LargeFile::kept(path, file, found))))
    }

    /// Content files of messages that were never committed, or are finished.
    fn remove_orphans(&mut self) -> Result<(), SpoolError> {
        let entries = self.index.messages.values();
        let owned: HashSet<&str> =
            entries.filter(|e| e.large.is_some()).map(|e| e.envelope.queue_id.as_str()).collect();
        for name in file::names(&self.large_dir)? {
            if !owned.contains(name.as_str()) {
                self.files.remove(&self.large_dir.join(&name))?;
            }
        }
        Ok(())
    }
}

/// Where the next intact record starts, at `from` or behind it.
fn next_record(bytes: &[u8], from: usize, nonce: u64) -> Option<usize> {
    let rest = bytes.get(from..)?;
    if record::read(rest, nonce).is_some() {
        return Some(from);
    }
    let mark = record::mark(nonce);
    memchr::memmem::find_iter(rest, &mark)
        .map(|at| from + at)
        .find(|at| at.is_multiple_of(ALIGN) && record::read(&bytes[*at..], nonce).is_some())
}
