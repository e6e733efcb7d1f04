//! What the spool holds: messages by queue id, and the segments their records stand in.

use super::RecipientUpdate;
use super::large::LargeFile;
use super::segment::Segment;
use crate::envelope::{Content, Envelope, LargeContent, Message};
use crate::id::QueueId;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::Arc;

/// Where a message's record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub sequence: u64,
    pub offset: u64,
    /// Bytes of the record, padding included.
    pub len: u64,
}

/// A message held.
pub(super) struct Entry {
    pub envelope: Arc<Envelope>,
    pub place: Place,
    pub large: Option<Arc<LargeFile>>,
}

impl Entry {
    fn message(&self) -> Message {
        let content = match &self.large {
            Some(large) => Content::Large(LargeContent(large.clone())),
            None => Content::Journal,
        };
        Message { envelope: self.envelope.clone(), content }
    }
}

/// All of it. Segments are in order of their sequence; the last one is written to.
#[derive(Default)]
pub(super) struct Index {
    pub messages: HashMap<QueueId, Entry>,
    pub segments: VecDeque<Segment>,
}

impl Index {
    pub fn segment_mut(&mut self, sequence: u64) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&sequence, |s| s.sequence).ok()?;
        self.segments.get_mut(at)
    }

    /// File and nonce of a segment.
    pub fn source(&self, sequence: u64) -> Option<(Arc<File>, u64)> {
        let at = self.segments.binary_search_by_key(&sequence, |s| s.sequence).ok()?;
        self.segments.get(at).map(|s| (s.file.clone(), s.nonce))
    }

    fn count(&mut self, place: Place, by: i64) {
        if let Some(segment) = self.segment_mut(place.sequence) {
            segment.live = segment.live.saturating_add_signed(by);
            segment.live_bytes = segment.live_bytes.saturating_add_signed(by * place.len as i64);
        }
    }

    /// Adds a message, or replaces what was known of it.
    pub fn insert(&mut self, entry: Entry) {
        let place = entry.place;
        if let Some(old) = self.messages.insert(entry.envelope.queue_id, entry) {
            self.count(old.place, -1);
        }
        self.count(place, 1);
    }

    /// Forgets a message.
    pub fn remove(&mut self, id: QueueId) -> Option<Entry> {
        let entry = self.messages.remove(&id)?;
        self.count(entry.place, -1);
        Some(entry)
    }

    /// A message's record was copied; false if the message is gone meanwhile.
    pub fn moved(&mut self, id: QueueId, to: Place) -> bool {
        let Some(entry) = self.messages.get_mut(&id) else { return false };
        let from = std::mem::replace(&mut entry.place, to);
        self.count(from, -1);
        self.count(to, 1);
        true
    }

    /// Applies changes to recipients; false if there is no such message.
    pub fn update(&mut self, id: QueueId, updates: &[RecipientUpdate]) -> bool {
        let Some(entry) = self.messages.get_mut(&id) else { return false };
        let envelope = Arc::make_mut(&mut entry.envelope);
        for update in updates {
            if let Some(recipient) = envelope.recipients.get_mut(update.index) {
                recipient.state = update.state;
                recipient.attempts = update.attempts;
                recipient.next_attempt = update.next_attempt;
                recipient.status.clone_from(&update.status);
            }
        }
        true
    }

    /// Sets or clears hold; false if there is no such message.
    pub fn set_hold(&mut self, id: QueueId, hold: bool) -> bool {
        let Some(entry) = self.messages.get_mut(&id) else { return false };
        Arc::make_mut(&mut entry.envelope).hold = hold;
        true
    }

    /// Drops what stands in a segment from an offset on: it was never acknowledged.
    pub fn abort(&mut self, sequence: u64, from: u64) {
        let dropped = |e: &Entry| e.place.sequence == sequence && e.place.offset >= from;
        let ids: Vec<QueueId> = self.messages.iter().filter(|(_, e)| dropped(e)).map(|(id, _)| *id).collect();
        for id in ids {
            self.remove(id);
        }
    }

    /// A message, its content by reference.
    pub fn message(&self, id: QueueId) -> Option<Message> {
        self.messages.get(&id).map(Entry::message)
    }

    /// All messages, oldest first.
    pub fn all(&self) -> Vec<Message> {
        let mut all: Vec<Message> = self.messages.values().map(Entry::message).collect();
        all.sort_by_key(|m| (m.envelope.arrival, m.envelope.queue_id));
        all
    }

    /// Is the oldest segment done with?
    pub fn oldest_is_done(&self) -> bool {
        self.segments.len() > 1 && self.segments[0].live == 0
    }

    /// Should live records of the oldest segment be copied, to free it and those behind it? Yes if less than half of
    /// what the segments hold is live; so copying never costs more than twice what it frees.
    pub fn wants_compaction(&self) -> bool {
        if self.segments.len() < 4 {
            return false;
        }
        let used: u64 = self.segments.iter().map(|s| s.used).sum();
        let live: u64 = self.segments.iter().map(|s| s.live_bytes).sum();
        live < used / 2
    }

    /// Some messages whose records stand in the oldest segment, up to about `budget` bytes.
    pub fn oldest_messages(&self, budget: u64) -> Vec<(QueueId, Place)> {
        let Some(oldest) = self.segments.front() else { return Vec::new() };
        let mut found = Vec::new();
        let mut bytes = 0;
        for (id, entry) in &self.messages {
            if entry.place.sequence == oldest.sequence {
                found.push((*id, entry.place));
                bytes += entry.place.len;
                if bytes >= budget {
                    break;
                }
            }
        }
        found
    }
}
