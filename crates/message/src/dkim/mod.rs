//! DKIM signatures of a message (RFC 6376, RFC 8301, RFC 8463), checked while the message arrives.
//!
//! [`Intake`] sees the content as the client sent it, before cleanup: the header is kept, bounded; the body is hashed as it
//! passes. What is left at its end are [`Signature`]s, which need nothing more than their key from the DNS, and who the
//! authors are. No clock and no socket: the time is an argument, the key's record is an answer.

mod base64;
mod body;
mod fields;
mod key;
mod signature;
mod tags;
#[cfg(test)]
mod tests;

pub use signature::Signature;

use crate::cleanup::is_header;
use body::BodyHash;
use fields::Fields;
use signature::Draft;
use smtp::address::header::addresses;

/// So many signatures of a message are checked; there are rarely more than two.
const SIGNATURES: usize = 5;
/// A longer header is not judged.
const HEADER_LIMIT: usize = 256 * 1024;

/// What was found in a message.
#[derive(Debug, Default)]
pub struct Collected {
    /// Its signatures, from the top, at most five.
    pub signatures: Vec<Signature>,
    /// The domains of the addresses in From, as written.
    pub authors: Vec<String>,
    /// Why nobody can say who the author is.
    pub author_problem: Option<&'static str>,
}

/// A message on its way in.
#[derive(Debug)]
pub struct Intake {
    header: Vec<u8>,
    /// Where its last line begins.
    line: usize,
    state: State,
    collected: Collected,
    drafts: Vec<Draft>,
    hashes: Vec<BodyHash>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Body,
    /// The header is too long: nothing more is looked at.
    Lost,
}

impl Default for Intake {
    fn default() -> Self {
        Self::new()
    }
}

impl Intake {
    /// A message without a byte so far.
    pub fn new() -> Self {
        Self {
            header: Vec::new(),
            line: 0,
            state: State::Header,
            collected: Collected::default(),
            drafts: Vec::new(),
            hashes: Vec::new(),
        }
    }

    /// Take a piece of content, cut anywhere: LF lines, dots already dealt with.
    pub fn feed(&mut self, mut chunk: &[u8]) {
        while self.state == State::Header && !chunk.is_empty() {
            let end = memchr::memchr(b'\n', chunk).map_or(chunk.len(), |at| at + 1);
            self.header.extend_from_slice(&chunk[..end]);
            chunk = &chunk[end..];
            if self.header.ends_with(b"\n") {
                self.take_header_line();
            }
            if self.header.len() > HEADER_LIMIT {
                self.lose();
            }
        }
        if self.state == State::Body {
            self.hashes.iter_mut().for_each(|hash| hash.feed(chunk));
        }
    }

    /// The message is whole.
    pub fn finish(mut self) -> Collected {
        if self.state == State::Header {
            if self.line < self.header.len() {
                self.header.push(b'\n');
                self.take_header_line();
            }
            if self.state == State::Header {
                self.end_header();
            }
        }
        let hashes: Vec<_> = self.hashes.into_iter().map(BodyHash::finish).collect();
        let signatures = self.drafts.into_iter().map(|draft| draft.finish(&hashes));
        self.collected.signatures = signatures.collect();
        self.collected
    }

    /// The last line is whole. One that can't be part of a header begins the body, as in cleanup.
    fn take_header_line(&mut self) {
        let line = &self.header[self.line..self.header.len() - 1];
        let continues = self.line > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        if continues || is_header(line).is_some() {
            self.line = self.header.len();
            return;
        }
        let is_empty = line.is_empty();
        let rest = self.header.split_off(self.line);
        self.end_header();
        if !is_empty {
            self.hashes.iter_mut().for_each(|hash| hash.feed(&rest));
        }
    }

    fn end_header(&mut self) {
        self.state = State::Body;
        let header = std::mem::take(&mut self.header);
        let fields = Fields::new(&header);
        (self.collected.authors, self.collected.author_problem) = authors(&fields);
        for field in fields.named("dkim-signature").take(SIGNATURES) {
            let draft = Draft::new(field, &fields);
            if let Some(wanted) = draft.body_hash()
                && !self.hashes.iter().any(|hash| hash.kind == wanted)
            {
                self.hashes.push(BodyHash::new(wanted));
            }
            self.drafts.push(draft);
        }
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        self.header = Vec::new();
        self.collected.author_problem = Some("the header is too long");
    }
}

/// The domains of From, and what is wrong with it.
fn authors(fields: &Fields<'_>) -> (Vec<String>, Option<&'static str>) {
    let mut from = fields.named("from");
    let Some(field) = from.next() else { return (Vec::new(), Some("there is no From header")) };
    if from.next().is_some() {
        return (Vec::new(), Some("there is more than one From header"));
    }
    let mut domains: Vec<String> = Vec::new();
    for address in addresses(&String::from_utf8_lossy(field.value())) {
        let Some((_, domain)) = address.rsplit_once('@').filter(|(_, domain)| !domain.is_empty()) else {
            return (Vec::new(), Some("an address in From has no domain"));
        };
        let domain = domain.to_lowercase();
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    match domains.len() {
        0 => (domains, Some("there is no address in From")),
        1..=AUTHORS => (domains, None),
        _ => (Vec::new(), Some("there are too many authors in From")),
    }
}

/// Domains in From: more than one is rare.
const AUTHORS: usize = 4;
