//! Journal records as bytes.
//!
//! A record is a header of 24 bytes, its payload, and zeros up to a multiple of 8. The header starts with a mark that
//! comes from its segment's nonce and ends with a checksum over nonce, kind, length and the payload's checksum. So what
//! a segment held in an earlier life, or what a client put into a message to look like a record, is never taken for one.

use crate::envelope::{Client, Content, DeliveryStatus, Envelope, Notify, Recipient, RecipientState, Ret};
use crate::id::QueueId;
use crate::spool::RecipientUpdate;
use smtp::Body;
use std::net::IpAddr;
use std::sync::Arc;

/// Bytes of a record's header.
pub(crate) const HEADER: usize = 24;
/// Records start at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// Version of the envelope's form.
const VERSION: u8 = 1;

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Envelope and content (or a reference to it). Replaces an earlier record of the same message.
    Message = 1,
    /// Changes to recipients.
    Update = 2,
    /// The message is finished.
    Finish = 3,
    /// Hold or release.
    Hold = 4,
    /// What stands in a segment from some offset on was never acknowledged.
    Abort = 5,
}

impl Kind {
    fn from_number(number: u32) -> Option<Kind> {
        [Kind::Message, Kind::Update, Kind::Finish, Kind::Hold, Kind::Abort].into_iter().find(|k| *k as u32 == number)
    }
}

/// A record ready to be written, but for its header.
pub(crate) struct Encoded {
    pub kind: Kind,
    /// All of the payload, or what goes before the content.
    pub head: Vec<u8>,
    pub content: Option<Arc<[u8]>>,
    crc: u32,
}

impl Encoded {
    fn new(kind: Kind, head: Vec<u8>, content: Option<Arc<[u8]>>) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head);
        if let Some(content) = &content {
            hasher.update(content);
        }
        Encoded { kind, head, content, crc: hasher.finalize() }
    }

    fn payload_len(&self) -> usize {
        self.head.len() + self.content.as_ref().map_or(0, |c| c.len())
    }

    /// Bytes it takes in a segment.
    pub fn size(&self) -> usize {
        (HEADER + self.payload_len()).next_multiple_of(ALIGN)
    }

    /// Zeros that follow it.
    pub fn padding(&self) -> usize {
        self.size() - HEADER - self.payload_len()
    }

    /// The header it gets in a segment with this nonce.
    pub fn header(&self, nonce: u64) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0..4].copy_from_slice(&mark(nonce));
        header[4..8].copy_from_slice(&(self.kind as u32).to_le_bytes());
        header[8..12].copy_from_slice(&(self.payload_len() as u32).to_le_bytes());
        header[12..16].copy_from_slice(&self.crc.to_le_bytes());
        let sum = header_sum(nonce, &header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    }
}

/// The four bytes every record of a segment starts with.
pub(crate) fn mark(nonce: u64) -> [u8; 4] {
    // Never zero, which is what unused space holds.
    ((nonce as u32) | 1).to_le_bytes()
}

fn header_sum(nonce: u64, header: &[u8; HEADER]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    hasher.update(&header[..16]);
    hasher.finalize()
}

/// A record as it stands in a segment.
pub(crate) struct Raw<'a> {
    pub kind: Kind,
    pub payload: &'a [u8],
    /// Bytes it takes, padding included.
    pub size: usize,
}

/// The record at the start of `bytes`, if there is an intact one.
pub(crate) fn read(bytes: &[u8], nonce: u64) -> Option<Raw<'_>> {
    let header: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[..4] != mark(nonce) || word(16) != header_sum(nonce, header) {
        return None;
    }
    let kind = Kind::from_number(word(4))?;
    let len = word(8) as usize;
    let payload = bytes.get(HEADER..HEADER.checked_add(len)?)?;
    if crc32fast::hash(payload) != word(12) {
        return None;
    }
    Some(Raw { kind, payload, size: (HEADER + len).next_multiple_of(ALIGN) })
}

/// A Message record; `None` for content that can't go into the journal.
pub(crate) fn message(envelope: &Envelope, content: &Content) -> Option<Encoded> {
    let mut out = Writer(Vec::with_capacity(256 + envelope.recipients.len() * 64));
    out.envelope(envelope);
    match content {
        Content::Memory(bytes) => {
            out.0.push(1);
            out.number(bytes.len() as u64);
            Some(Encoded::new(Kind::Message, out.0, Some(bytes.clone())))
        }
        Content::Large(large) => {
            out.0.push(2);
            out.number(large.len());
            Some(Encoded::new(Kind::Message, out.0, None))
        }
        Content::Journal => None,
    }
}

/// An Update record.
pub(crate) fn update(id: QueueId, updates: &[RecipientUpdate]) -> Encoded {
    let mut out = Writer(Vec::with_capacity(128));
    out.text(id.as_str());
    out.number(updates.len() as u64);
    for update in updates {
        out.number(update.index as u64);
        out.progress(update.state, update.attempts, update.next_attempt, update.status.as_deref());
    }
    Encoded::new(Kind::Update, out.0, None)
}

/// A Finish record.
pub(crate) fn finish(id: QueueId) -> Encoded {
    let mut out = Writer(Vec::with_capacity(24));
    out.text(id.as_str());
    Encoded::new(Kind::Finish, out.0, None)
}

/// A Hold record.
pub(crate) fn hold(id: QueueId, hold: bool) -> Encoded {
    let mut out = Writer(Vec::with_capacity(24));
    out.text(id.as_str());
    out.0.push(u8::from(hold));
    Encoded::new(Kind::Hold, out.0, None)
}

/// An Abort record.
pub(crate) fn abort(sequence: u64, from: u64) -> Encoded {
    let mut out = Writer(Vec::with_capacity(20));
    out.number(sequence);
    out.number(from);
    Encoded::new(Kind::Abort, out.0, None)
}

/// Where a Message record says that its content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentPlace {
    /// In the record, that many bytes from the payload's start, that long.
    Inline(usize, usize),
    /// In a file of its own, that long.
    Large(u64),
}

/// A payload, decoded.
#[derive(Debug)]
pub(crate) enum Decoded {
    Message(Box<Envelope>, ContentPlace),
    Update(QueueId, Vec<RecipientUpdate>),
    Finish(QueueId),
    Hold(QueueId, bool),
    Abort { sequence: u64, from: u64 },
}

/// Decodes a payload whose checksum was right; `None` if it makes no sense all the same (another version wrote it).
pub(crate) fn decode(kind: Kind, payload: &[u8]) -> Option<Decoded> {
    let mut input = Reader(payload);
    Some(match kind {
        Kind::Message => {
            let envelope = input.envelope()?;
            let large = match input.byte()? {
                1 => false,
                2 => true,
                _ => return None,
            };
            let len = input.number()?;
            let start = payload.len() - input.0.len();
            let place = match large {
                true => ContentPlace::Large(len),
                false if len == input.0.len() as u64 => ContentPlace::Inline(start, len as usize),
                false => return None,
            };
            Decoded::Message(Box::new(envelope), place)
        }
        Kind::Update => {
            let id = input.id()?;
            let count = input.count()?;
            let mut updates = Vec::with_capacity(count);
            for _ in 0..count {
                let index = input.number()? as usize;
                let (state, attempts, next_attempt, status) = input.progress()?;
                updates.push(RecipientUpdate { index, state, attempts, next_attempt, status });
            }
            Decoded::Update(id, updates)
        }
        Kind::Finish => Decoded::Finish(input.id()?),
        Kind::Hold => Decoded::Hold(input.id()?, input.byte()? != 0),
        Kind::Abort => Decoded::Abort { sequence: input.number()?, from: input.number()? },
    })
}

struct Writer(Vec<u8>);

impl Writer {
    /// Seven bits a byte, low ones first.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Zero for none, else one more than the length.
    fn optional(&mut self, text: Option<&str>) {
        match text {
            None => self.0.push(0),
            Some(text) => {
                self.number(text.len() as u64 + 1);
                self.0.extend_from_slice(text.as_bytes());
            }
        }
    }

    fn envelope(&mut self, envelope: &Envelope) {
        let client = &envelope.client;
        self.0.push(VERSION);
        self.text(envelope.queue_id.as_str());
        self.number(envelope.arrival as u64);
        self.text(&envelope.sender);
        let eight_bit = envelope.body == Body::EightBitMime;
        let seven_bit = envelope.body == Body::SevenBit;
        let flags = [envelope.hold, envelope.smtputf8, eight_bit, envelope.utf8_header, envelope.requiretls, seven_bit];
        self.0.push(flags.iter().rev().fold(0, |bits, &flag| bits << 1 | u8::from(flag)));
        self.0.push(match envelope.ret {
            None => 0,
            Some(Ret::Full) => 1,
            Some(Ret::Headers) => 2,
        });
        self.number(envelope.size);
        self.optional(envelope.content_filter.as_deref());
        self.optional(envelope.envid.as_deref());
        self.optional(envelope.verp.as_deref());
        self.optional(client.address.map(|a| a.to_string()).as_deref());
        self.number(u64::from(client.port));
        for text in [
            &client.name,
            &client.helo,
            &client.protocol,
            &client.sasl_method,
            &client.sasl_username,
            &client.sasl_sender,
        ] {
            self.text(text);
        }
        self.number(envelope.recipients.len() as u64);
        for recipient in &envelope.recipients {
            self.text(&recipient.address);
            self.optional(recipient.orig_to.as_deref());
            self.0.push(recipient.notify.0);
            self.optional(recipient.orcpt.as_deref());
            self.progress(recipient.state, recipient.attempts, recipient.next_attempt, recipient.status.as_deref());
        }
    }

    fn progress(&mut self, state: RecipientState, attempts: u32, next: i64, status: Option<&DeliveryStatus>) {
        self.0.push(match state {
            RecipientState::Pending => 0,
            RecipientState::Failed => 1,
            RecipientState::Notify => 2,
            RecipientState::Done => 3,
        });
        self.number(u64::from(attempts));
        self.number(next as u64);
        self.0.push(u8::from(status.is_some()));
        if let Some(status) = status {
            self.text(&status.dsn);
            self.text(&status.reason);
            self.optional(status.remote_mta.as_deref());
            self.optional(status.reply.as_deref());
            self.text(&status.action);
        }
    }
}

/// What [`Writer::progress`] wrote.
type Progress = (RecipientState, u32, i64, Option<Box<DeliveryStatus>>);

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// How many of something follow. Each takes a byte at least, so more than what is left is nonsense.
    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len()).then_some(count)
    }

    fn take(&mut self, len: usize) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn text(&mut self) -> Option<String> {
        let len = self.count()?;
        self.take(len)
    }

    fn optional(&mut self) -> Option<Option<String>> {
        match usize::try_from(self.number()?).ok()? {
            0 => Some(None),
            len => Some(Some(self.take(len - 1)?)),
        }
    }

    fn id(&mut self) -> Option<QueueId> {
        self.text()?.parse().ok()
    }

    fn envelope(&mut self) -> Option<Envelope> {
        if self.byte()? != VERSION {
            return None;
        }
        let (queue_id, arrival, sender) = (self.id()?, self.number()? as i64, self.text()?);
        let mut envelope = Envelope::new(queue_id, arrival, sender);
        let flags = self.byte()?;
        (envelope.hold, envelope.smtputf8) = (flags & 1 != 0, flags & 2 != 0);
        envelope.body = match (flags & 4 != 0, flags & 32 != 0) {
            (true, _) => Body::EightBitMime,
            (false, true) => Body::SevenBit,
            (false, false) => Body::Unspecified,
        };
        (envelope.utf8_header, envelope.requiretls) = (flags & 8 != 0, flags & 16 != 0);
        envelope.ret = match self.byte()? {
            0 => None,
            1 => Some(Ret::Full),
            2 => Some(Ret::Headers),
            _ => return None,
        };
        envelope.size = self.number()?;
        envelope.content_filter = self.optional()?;
        envelope.envid = self.optional()?;
        envelope.verp = self.optional()?;
        envelope.client = self.client()?;
        let count = self.count()?;
        envelope.recipients.reserve_exact(count);
        for _ in 0..count {
            let mut recipient = Recipient::new(self.text()?);
            recipient.orig_to = self.optional()?;
            recipient.notify = Notify(self.byte()?);
            recipient.orcpt = self.optional()?;
            (recipient.state, recipient.attempts, recipient.next_attempt, recipient.status) = self.progress()?;
            envelope.recipients.push(recipient);
        }
        Some(envelope)
    }

    fn client(&mut self) -> Option<Client> {
        let address = self.optional()?.map(|a| a.parse::<IpAddr>()).transpose().ok()?;
        let port = u16::try_from(self.number()?).ok()?;
        Some(Client {
            address,
            port,
            name: self.text()?,
            helo: self.text()?,
            protocol: self.text()?,
            sasl_method: self.text()?,
            sasl_username: self.text()?,
            sasl_sender: self.text()?,
        })
    }

    fn progress(&mut self) -> Option<Progress> {
        let state = match self.byte()? {
            0 => RecipientState::Pending,
            1 => RecipientState::Failed,
            2 => RecipientState::Notify,
            3 => RecipientState::Done,
            _ => return None,
        };
        let attempts = u32::try_from(self.number()?).ok()?;
        let next_attempt = self.number()? as i64;
        if self.byte()? == 0 {
            return Some((state, attempts, next_attempt, None));
        }
        let status = DeliveryStatus {
            dsn: self.text()?,
            reason: self.text()?,
            remote_mta: self.optional()?,
            reply: self.optional()?,
            action: self.text()?,
        };
        Some((state, attempts, next_attempt, Some(Box::new(status))))
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
