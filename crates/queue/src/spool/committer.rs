//! The committer: one thread that takes all that waits, writes it in one go and syncs once.

use super::file::Files;
use super::index::{Entry, Place};
use super::large::LargeFile;
use super::segment::Segment;
use super::shared::{Operation, Shared};
use super::{SpoolError, SpoolOptions};
use crate::envelope::Content;
use crate::record::{self, Encoded};
use std::fs::File;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// At the end of each segment this much is kept for records that free space, so that a full disk can't stop them.
const RESERVE: u64 = 16 * 1024;
/// Records written but not synced are synced after this long.
const SYNC_DELAY: Duration = Duration::from_secs(1);
/// Live records are copied in portions of about this size.
const COPY_BUDGET: u64 = 256 * 1024;
/// Slices in one write; the system takes no more than 1024.
const MAX_OPERATIONS: usize = 300;

/// The committer's own state.
pub(super) struct Committer {
    shared: Arc<Shared>,
    prepare: mpsc::SyncSender<()>,
    spares_wanted: usize,
    lazy_delay: Duration,
    /// Notes that could not be written yet.
    retry: Vec<Operation>,
    /// What must not be believed of a segment in which a write failed.
    aborted: Option<(u64, u64)>,
    /// Since when something is written that isn't synced.
    unsynced_since: Option<Instant>,
    /// Content files that go after the next sync.
    obsolete: Vec<Arc<LargeFile>>,
}

impl Committer {
    pub fn new(shared: Arc<Shared>, prepare: mpsc::SyncSender<()>, options: &SpoolOptions) -> Self {
        Committer {
            shared,
            prepare,
            spares_wanted: options.spares,
            lazy_delay: options.lazy_delay,
            retry: Vec::new(),
            aborted: None,
            unsynced_since: None,
            obsolete: Vec::new(),
        }
    }

    /// Runs until the spool is closed and all is written.
    pub fn run(mut self) {
        self.want_spare();
        loop {
            let unsettled = self.unsynced_since.is_some() || !self.retry.is_empty();
            let (operations, closing) = self.shared.wait(self.lazy_delay, unsettled.then_some(SYNC_DELAY));
            self.commit(operations);
            if self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_DELAY) {
                // What can't be synced is written again; see `sync`.
                let _ = self.sync();
            }
            self.tidy();
            if closing {
                let _ = self.sync();
                return;
            }
        }
    }

    /// Writes and syncs operations, group by group.
    fn commit(&mut self, operations: Vec<Operation>) {
        let mut queue = std::mem::take(&mut self.retry);
        queue.extend(operations);
        let mut queue = queue.into_iter().peekable();
        while let Some(first) = queue.peek() {
            let needed = first.record().map_or(0, |r| r.size() as u64);
            if let Err(error) = self.make_room(needed, first.is_urgent()) {
                if let Some(operation) = queue.next() {
                    self.fail(operation, &error);
                }
                continue;
            }
            let mut left = self.room();
            let mut group = Vec::new();
            while group.len() < MAX_OPERATIONS
                && let Some(operation) = queue.next_if(|o| o.record().map_or(0, |r| r.size() as u64) <= left)
            {
                left -= operation.record().map_or(0, |r| r.size() as u64);
                group.push(operation);
            }
            self.commit_group(group);
        }
    }

    /// Space in the current segment for records that may not touch the reserve.
    fn room(&self) -> u64 {
        let index = self.shared.index();
        index.segments.back().map_or(0, |s| s.size.saturating_sub(s.used))
    }

    /// Sees to it that a record fits into the current segment.
    fn make_room(&mut self, needed: u64, urgent: bool) -> Result<(), SpoolError> {
        let (left, laid_out) = {
            let index = self.shared.index();
            let current = index.segments.back();
            (current.map_or(0, |s| s.size.saturating_sub(s.used)), current.is_some_and(|s| s.laid_out))
        };
        let reserve = if urgent && needed > 0 { RESERVE } else { 0 };
        let better = !laid_out && self.shared.spares.count() > 0;
        if self.aborted.is_none() && left >= needed + reserve && !better {
            return Ok(());
        }
        match self.rotate(needed + RESERVE) {
            // Notes may use what is left when there is no new segment to be had.
            Err(_) if self.aborted.is_none() && left >= needed && (!urgent || better) => Ok(()),
            result => result,
        }
    }

    /// Starts a new segment.
    fn rotate(&mut self, needed: u64) -> Result<(), SpoolError> {
        if self.unsynced_since.is_some() && self.aborted.is_none() {
            self.sync()?;
        }
        self.free_oldest();
        let sequence = self.shared.index().segments.back().map_or(1, |s| s.sequence + 1);
        let mut segment = self.shared.spares.segment(sequence, needed)?;
        if let Some((broken, from)) = self.aborted {
            let record = record::abort(broken, from);
            let written = Target::of(&segment)
                .write(&self.shared.files, &[&record])
                .and_then(|()| self.shared.files.sync(&segment.file, &segment.path));
            if let Err(error) = written {
                let _ = self.shared.files.remove(&segment.path);
                return Err(error);
            }
            segment.used = record.size() as u64;
            self.aborted = None;
        }
        self.shared.index().segments.push_back(segment);
        self.want_spare();
        Ok(())
    }

    fn want_spare(&self) {
        if self.shared.spares.count() < self.spares_wanted {
            // Full means that one is on its way.
            let _ = self.prepare.try_send(());
        }
    }

    /// Writes a group that fits, syncs if anybody waits for it, and tells them.
    fn commit_group(&mut self, group: Vec<Operation>) {
        let Some((group, target)) = self.enter(group) else { return };
        let records: Vec<&Encoded> = group.iter().filter_map(|(o, _)| o.record()).collect();
        let urgent = group.iter().any(|(o, _)| o.is_urgent());
        let mut result = target.write(&self.shared.files, &records);
        if !records.is_empty() {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        drop(records);
        if result.is_ok() && urgent {
            result = self.shared.files.sync(&target.file, &target.path);
        }
        match result {
            Ok(()) => self.succeed(group, urgent),
            Err(error) => {
                self.aborted = Some((target.sequence, target.offset));
                for (operation, _) in group {
                    self.fail(operation, &error);
                }
            }
        }
    }

    /// Gives each record of a group its place, and enters new messages into the index: nobody asks for them before
    /// they are told, and should the write fail, they go again.
    fn enter(&self, group: Vec<Operation>) -> Option<(Vec<(Operation, Place)>, Target)> {
        let mut index = self.shared.index();
        let target = Target::of(index.segments.back()?);
        let (sequence, mut offset) = (target.sequence, target.offset);
        let mut entered = Vec::with_capacity(group.len());
        let mut duplicates = Vec::new();
        for operation in group {
            let len = operation.record().map_or(0, |r| r.size() as u64);
            let place = Place { sequence, offset, len };
            if let Operation::Submit { envelope, large, .. } = &operation {
                if index.messages.contains_key(&envelope.queue_id) {
                    duplicates.push(operation);
                    continue;
                }
                index.insert(Entry { envelope: envelope.clone(), place, large: large.clone() });
            }
            offset += len;
            entered.push((operation, place));
        }
        if let Some(current) = index.segments.back_mut() {
            current.used = offset;
        }
        drop(index);
        for duplicate in duplicates {
            if let Operation::Submit { envelope, done, .. } = duplicate {
                done(Err(SpoolError::DuplicateId(envelope.queue_id)));
            }
        }
        Some((entered, target))
    }

    fn succeed(&mut self, group: Vec<(Operation, Place)>, synced: bool) {
        if synced {
            self.after_sync();
        }
        for (operation, place) in group {
            match operation {
                Operation::Submit { large, done, .. } => {
                    if let Some(large) = large {
                        large.keep();
                    }
                    done(Ok(()));
                }
                Operation::Sync(done) => done(Ok(())),
                Operation::Copy { id, .. } => {
                    self.shared.index().moved(id, place);
                }
                Operation::Note { obsolete: Some(large), .. } if synced => large.drop_file(),
                Operation::Note { obsolete, .. } => self.obsolete.extend(obsolete),
            }
        }
    }

    fn fail(&mut self, operation: Operation, error: &SpoolError) {
        match operation {
            Operation::Submit { envelope, done, .. } => {
                let mut index = self.shared.index();
                // Not a message of the same id that was there before.
                let ours = index.messages.get(&envelope.queue_id).is_some_and(|e| Arc::ptr_eq(&e.envelope, &envelope));
                if ours {
                    index.remove(envelope.queue_id);
                }
                drop(index);
                done(Err(error.clone()));
            }
            Operation::Sync(done) => done(Err(error.clone())),
            Operation::Copy { .. } => {}
            note @ Operation::Note { .. } => self.retry.push(note),
        }
    }

    /// Syncs what was noted.
    fn sync(&mut self) -> Result<(), SpoolError> {
        let current = {
            let index = self.shared.index();
            index.segments.back().map(|s| (s.file.clone(), s.path.clone(), s.sequence, s.used))
        };
        if let Some((file, path, sequence, used)) = current
            && self.unsynced_since.is_some()
            && let Err(error) = self.shared.files.sync(&file, &path)
        {
            // What was noted may be lost; no message is, but the segment can't be trusted with more.
            self.aborted = Some((sequence, used));
            self.unsynced_since = None;
            return Err(error);
        }
        self.after_sync();
        Ok(())
    }

    fn after_sync(&mut self) {
        self.unsynced_since = None;
        for large in self.obsolete.drain(..) {
            large.drop_file();
        }
    }

    /// Frees segments that are done, and copies what is left in the oldest one where that pays.
    fn tidy(&mut self) {
        self.free_oldest();
        let before = self.oldest_live();
        if self.aborted.is_some() || !self.shared.index().wants_compaction() {
            return;
        }
        let copies = self.copies();
        if copies.is_empty() {
            return;
        }
        self.commit(copies);
        let progress = self.oldest_live() != before;
        self.free_oldest();
        if progress && self.shared.index().wants_compaction() {
            // Goes on in the next turn, so that new mail doesn't wait for it.
            self.shared.wake_again();
        }
    }

    fn oldest_live(&self) -> Option<(u64, u64)> {
        self.shared.index().segments.front().map(|s| (s.sequence, s.live))
    }

    fn copies(&self) -> Vec<Operation> {
        let found = self.shared.index().oldest_messages(COPY_BUDGET);
        let mut copies = Vec::with_capacity(found.len());
        for (id, place) in found {
            let content = super::read_content(&self.shared, id);
            let index = self.shared.index();
            let Some(entry) = index.messages.get(&id).filter(|e| e.place == place) else { continue };
            let content = match (&entry.large, content) {
                (Some(large), _) => Content::Large(crate::envelope::LargeContent(large.clone())),
                (None, Ok(bytes)) => Content::Memory(bytes),
                (None, Err(_)) => continue,
            };
            if let Some(record) = record::message(&entry.envelope, &content) {
                copies.push(Operation::Copy { record, id });
            }
        }
        copies
    }

    /// Oldest first, always: what a later segment notes about a message must not go before the message does.
    fn free_oldest(&self) {
        loop {
            let segment = {
                let mut index = self.shared.index();
                if !index.oldest_is_done() {
                    return;
                }
                index.segments.pop_front()
            };
            let Some(segment) = segment else { return };
            if self.shared.spares.recycle(&segment).is_err() {
                self.shared.index().segments.push_front(segment);
                return;
            }
        }
    }
}

/// Where the next records go.
struct Target {
    sequence: u64,
    nonce: u64,
    path: Arc<Path>,
    file: Arc<File>,
    offset: u64,
}

impl Target {
    fn of(segment: &Segment) -> Self {
        Target {
            sequence: segment.sequence,
            nonce: segment.nonce,
            path: segment.path.clone(),
            file: segment.file.clone(),
            offset: segment.used,
        }
    }

    /// Writes records one after the other.
    fn write(&self, files: &Files, records: &[&Encoded]) -> Result<(), SpoolError> {
        const ZEROS: [u8; record::ALIGN] = [0; record::ALIGN];
        if records.is_empty() {
            return Ok(());
        }
        let headers: Vec<_> = records.iter().map(|r| r.header(self.nonce)).collect();
        let mut slices = Vec::with_capacity(records.len() * 4);
        for (record, header) in records.iter().zip(&headers) {
            slices.push(IoSlice::new(header));
            slices.push(IoSlice::new(&record.head));
            if let Some(content) = &record.content {
                slices.push(IoSlice::new(content));
            }
            slices.push(IoSlice::new(&ZEROS[..record.padding()]));
        }
        slices.retain(|s| !s.is_empty());
        files.write_at(&self.file, &self.path, self.offset, &mut slices)
    }
}
