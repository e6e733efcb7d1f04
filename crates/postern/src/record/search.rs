//! Finding decisions by what a postmaster has at hand: a code, a queue id, an address, a client.

use super::stored::{Bound, Record};
use super::{Code, Reader};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Search {
    key: Key,
    since: u64,
    limit: usize,
}

#[derive(Clone, Debug)]
enum Key {
    All,
    Code(Code, String),
    Client(IpAddr),
    Address(String),
    Name(String),
}

impl Search {
    /// A code from a reply, a queue id, an address (sender or recipient), a client's address or name, or `all`; of what was
    /// found, the last `limit`.
    pub fn new(text: &str, limit: usize) -> Self {
        Self { key: Key::of(text), since: 0, limit }
    }

    /// Only what was decided since: `90m`, `2h`, `3d`, or `2026-11-22T12:00:00Z`.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn since(self, text: &str) -> Result<Self, String> {
        Ok(Self { since: since(text)?, ..self })
    }

    /// The decisions of a record, oldest first.
    ///
    /// # Errors
    /// When the record can't be read.
    pub fn run(&self, directory: &Path) -> io::Result<Vec<Record<Bound>>> {
        let mut sessions = HashSet::new();
        if matches!(self.key, Key::Name(_)) {
            // A queue id is known from the second recipient on; the first one is of the same session.
            let named = Reader::open(directory)?.filter(|record| self.key.names_message(record));
            sessions.extend(named.map(|record| record.session));
        }
        let mut found = VecDeque::new();
        for record in Reader::open(directory)?.filter(|record| record.at >= self.since) {
            if self.key.matches(&record) || sessions.contains(&record.session) {
                found.push_back(record);
                if found.len() > self.limit {
                    found.pop_front();
                }
            }
        }
        Ok(found.into())
    }
}

/// The moment, in milliseconds since the epoch.
fn since(text: &str) -> Result<u64, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(u64::try_from(time.as_millisecond()).unwrap_or(0));
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(format!("--since is 90m, 2h, 3d or 2026-11-22T12:00:00Z, not \"{text}\"")),
    };
    let number: u64 = digits.parse().map_err(|error| format!("--since: \"{digits}\" is not a number: {error}"))?;
    Ok((crate::clock::unix_micros() / 1000).saturating_sub(number.saturating_mul(unit * 1000)))
}

impl Key {
    fn of(text: &str) -> Self {
        let text = text.trim_matches(['[', ']', '<', '>']);
        if let Ok(address) = text.parse() {
            return Self::Client(address);
        }
        if text == "all" {
            return Self::All;
        }
        if text.contains('@') {
            return Self::Address(text.to_owned());
        }
        match text.parse() {
            Ok(code) => Self::Code(code, text.to_owned()),
            Err(()) => Self::Name(text.to_owned()),
        }
    }

    fn matches(&self, record: &Record<Bound>) -> bool {
        let same = |known: &Option<String>, text: &str| known.as_ref().is_some_and(|k| k.eq_ignore_ascii_case(text));
        match self {
            Self::All => true,
            Self::Code(code, text) => record.code == *code || same(&record.queue_id, text),
            Self::Client(address) => record.address == Some(*address),
            Self::Address(text) => same(&record.sender, text) || same(&record.recipient, text),
            Self::Name(text) => {
                same(&record.queue_id, text) || record.name.eq_ignore_ascii_case(text) || same(&record.helo, text)
            }
        }
    }

    fn names_message(&self, record: &Record<Bound>) -> bool {
        matches!(self, Self::Name(text) if record.queue_id.as_ref().is_some_and(|id| id.eq_ignore_ascii_case(text)))
    }
}
