//! A message whose content is complete, while filters read and change it. What is large stays in files of the spool.

use message::milter::{HEADERS_LIMIT, HeaderSection};
use queue::{Content, INLINE_LIMIT, LargeWriter, QueueId, Spool, SpoolError};

/// So much is read at once.
const PIECE: usize = 64 * 1024;

/// The content while it may still change.
pub struct Draft {
    spool: Spool,
    id: QueueId,
    content: Content,
    /// Where the body begins in it.
    body_at: u64,
    body: Option<Content>,
    /// The header as it stands.
    pub headers: HeaderSection,
    /// Bodies written so far.
    bodies: u32,
}

/// Why filters can't look at a message.
pub enum Unreadable {
    /// Its header is longer than anybody needs.
    HeaderTooLong,
    /// The spool failed.
    Spool(SpoolError),
}

impl From<SpoolError> for Unreadable {
    fn from(error: SpoolError) -> Self {
        Self::Spool(error)
    }
}

/// Bytes of content from there on; none at its end.
fn read(content: &Content, buffer: &mut [u8], offset: u64) -> Result<usize, SpoolError> {
    match content {
        Content::Memory(bytes) => {
            let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }
        Content::Large(large) => large.read_at(buffer, offset),
        Content::Journal => Ok(0),
    }
}

impl Draft {
    /// Read the header of a message that is complete, but not submitted.
    pub fn open(spool: &Spool, id: QueueId, content: Content) -> Result<Self, Unreadable> {
        let mut text = Vec::new();
        let mut piece = vec![0; PIECE];
        let end = loop {
            let length = read(&content, &mut piece, text.len() as u64)?;
            text.extend_from_slice(&piece[..length]);
            match HeaderSection::end(&text) {
                Some(end) => break end,
                None if length == 0 => break text.len(),
                None if text.len() > HEADERS_LIMIT => return Err(Unreadable::HeaderTooLong),
                None => {}
            }
        };
        let separator = u64::from(text.get(end) == Some(&b'\n'));
        let headers = HeaderSection::parse(&text[..end]);
        let body_at = end as u64 + separator;
        Ok(Self { spool: spool.clone(), id, content, body_at, body: None, headers, bodies: 0 })
    }

    /// Bytes of the body from there on; none at its end.
    pub fn read_body(&self, buffer: &mut [u8], offset: u64) -> Result<usize, SpoolError> {
        match &self.body {
            Some(body) => read(body, buffer, offset),
            None => read(&self.content, buffer, self.body_at + offset),
        }
    }

    /// Begin a new body of at most so many bytes (0: any number).
    pub fn begin_body(&mut self, limit: u64) -> NewBody {
        self.bodies += 1;
        NewBody {
            spool: self.spool.clone(),
            id: self.id,
            number: self.bodies,
            limit: if limit == 0 { u64::MAX } else { limit },
            length: 0,
            memory: Vec::new(),
            large: None,
            last: 0,
            begun: false,
        }
    }

    /// The new body is complete.
    pub fn set_body(&mut self, body: NewBody) -> Result<(), SpoolError> {
        if let Some(body) = body.finish()? {
            self.body = Some(body);
        }
        Ok(())
    }

    /// The content as it is now.
    pub fn finish(self) -> Result<Content, SpoolError> {
        if !self.headers.is_changed() && self.body.is_none() {
            return Ok(self.content);
        }
        let mut out = Vec::new();
        self.headers.write(&mut out);
        let mut piece = vec![0; PIECE];
        let mut large = None;
        let mut offset = 0;
        loop {
            let length = self.read_body(&mut piece, offset)?;
            if length > 0 && offset == 0 {
                out.push(b'\n');
            }
            out.extend_from_slice(&piece[..length]);
            offset += length as u64;
            if out.len() > INLINE_LIMIT && large.is_none() {
                large = Some(self.spool.large_part(self.id, 0)?);
            }
            if let Some(writer) = &mut large {
                writer.write(&out)?;
                out.clear();
            }
            if length == 0 {
                break;
            }
        }
        match large {
            None => Ok(Content::Memory(out.into())),
            Some(writer) => writer.seal_in_place_of(self.content, self.id),
        }
    }
}

/// A body on its way from a filter: lines end in CRLF there, in LF here.
pub struct NewBody {
    spool: Spool,
    id: QueueId,
    number: u32,
    limit: u64,
    length: u64,
    memory: Vec<u8>,
    large: Option<LargeWriter>,
    /// The byte before, 0 at the start.
    last: u8,
    begun: bool,
}

impl NewBody {
    /// One piece more. `Ok(false)`: it is too much.
    pub fn push(&mut self, piece: &[u8]) -> Result<bool, SpoolError> {
        self.begun = true;
        self.length += piece.len() as u64;
        if self.length > self.limit {
            return Ok(false);
        }
        for &byte in piece {
            // A CR waits to see what follows.
            if self.last == b'\r' && byte != b'\n' {
                self.memory.push(b'\r');
            }
            if byte != b'\r' {
                self.memory.push(byte);
            }
            self.last = byte;
        }
        self.spill()?;
        Ok(true)
    }

    fn spill(&mut self) -> Result<(), SpoolError> {
        if self.memory.len() <= INLINE_LIMIT && self.large.is_none() {
            return Ok(());
        }
        if self.large.is_none() {
            self.large = Some(self.spool.large_part(self.id, self.number)?);
        }
        if let Some(writer) = &mut self.large {
            writer.write(&self.memory)?;
            self.memory.clear();
        }
        Ok(())
    }

    /// All of it; nothing if no piece came.
    fn finish(mut self) -> Result<Option<Content>, SpoolError> {
        if !self.begun {
            return Ok(None);
        }
        if self.last == b'\r' {
            self.memory.push(b'\r');
        }
        if self.last != b'\n' && self.last != 0 {
            self.memory.push(b'\n');
        }
        self.spill()?;
        match self.large {
            Some(writer) => Ok(Some(writer.seal()?)),
            None => Ok(Some(Content::Memory(self.memory.into()))),
        }
    }
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
