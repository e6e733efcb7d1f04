//! `memcache:` tables (memcache_table(5)): look-ups, with a backup table whose results are kept in the cache.
//!
//! Left out: updates, deletions and sequences, which only Postfix's own caches need.

use super::attributes::{Attributes, Read};
use super::pool::Failure;
use super::query::Query;
use super::server::{Address, Server, value};
use super::stream::{Endpoint, Stream, Trouble};
use crate::lines::printable;
use crate::open::{OpenFailure, OpenOptions, Opened, open_nested};
use crate::spec::TableSpec;
use crate::{Log, LookupError, Table, WatchedFile};
use config::Diagnostic;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections that are idle for longer, or older, aren't used again.
const IDLE: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(100);

/// `timeout = 0` is no limit in Postfix.
const LONGEST: u64 = 100;

/// The attributes there are.
const ATTRIBUTES: &[&str] = &[
    "memcache",
    "backup",
    "flags",
    "ttl",
    "key_format",
    "domain",
    "data_size_limit",
    "line_size_limit",
    "max_try",
    "retry_pause",
    "timeout",
];

/// A cache, and what stands behind it.
struct Memcache {
    server: Server,
    key: Query,
    backup: Option<Arc<dyn Table>>,
    flags: i64,
    ttl: i64,
    data_limit: usize,
    line_limit: usize,
    tries: u32,
    pause: Duration,
    spec: Box<str>,
    name: Box<str>,
    log: Option<Log>,
}

impl Table for Memcache {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        // What can't be a key for the server is in neither.
        let Some(name) = self.key.text(key, str::to_owned)?.filter(|name| is_key(name)) else { return Ok(None) };
        let found = self.ask(|stream, deadline| self.fetch(stream, &name, deadline));
        match (found, &self.backup) {
            (Ok(Some(bytes)), _) => value(&self.spec, key, &bytes).map(Some),
            (Ok(None), None) => Ok(None),
            (Err(text), None) => Err(LookupError::new(text)),
            (found, Some(backup)) => {
                if let Err(text) = found {
                    self.note(&text);
                }
                let value = backup.get(key)?;
                if let Some(value) = &value {
                    self.store(&name, value);
                }
                Ok(value)
            }
        }
    }

    fn waits(&self) -> bool {
        true
    }
}

impl Memcache {
    fn ask<T>(&self, talk: impl FnMut(&mut Stream, Instant) -> Result<T, Failure>) -> Result<T, String> {
        self.server.ask(self.tries, self.pause, talk)
    }

    /// The server's value of a key.
    fn fetch(&self, stream: &mut Stream, key: &str, deadline: Instant) -> Result<Option<Vec<u8>>, Failure> {
        let line = self.exchange(stream, &format!("get {key}\r\n"), deadline)?;
        if line == b"END" {
            return Ok(None);
        }
        let unexpected = |line: &[u8]| {
            Failure::Broken(format!("{}: unexpected memcache server reply: {}", self.name, printable(line)))
        };
        let length = length(&line, key).filter(|length| *length <= self.data_limit).ok_or_else(|| unexpected(&line))?;
        let cut = |trouble: Trouble| match trouble {
            Trouble::Closed => Failure::Broken(format!("{}: EOF receiving memcache server reply", self.name)),
            other => self.failed(&other),
        };
        let mut data = stream.take(length + 2, deadline).map_err(cut)?;
        let end = data.split_off(length);
        if end != b"\r\n" {
            return Err(unexpected(&end));
        }
        match stream.take_until(b"\r\n", self.line_limit - 1, deadline).map_err(cut)? {
            line if line == b"END" => Ok(Some(data)),
            line => Err(unexpected(&line)),
        }
    }

    /// Keep a value of the backup table in the cache.
    fn store(&self, key: &str, value: &str) {
        if value.len() > self.data_limit {
            return;
        }
        let command = format!("set {key} {} {} {}\r\n{value}\r\n", self.flags, self.ttl, value.len());
        let stored = self.ask(|stream, deadline| match self.exchange(stream, &command, deadline)? {
            line if line == b"STORED" => Ok(()),
            line => {
                let text = format!("database {}: update failed: {}", self.spec, printable(&line));
                Err(Failure::Refused(text))
            }
        });
        if let Err(text) = stored {
            self.note(&text);
        }
    }

    /// Send a command and read the first line of the reply.
    fn exchange(&self, stream: &mut Stream, command: &str, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let sent = stream.send(command.as_bytes(), deadline);
        let line = sent.and_then(|()| stream.take_until(b"\r\n", self.line_limit - 1, deadline));
        line.map_err(|trouble| self.failed(&trouble))
    }

    fn failed(&self, trouble: &Trouble) -> Failure {
        Failure::Broken(format!("database {}: I/O error: {}", self.spec, trouble.text()))
    }

    fn note(&self, text: &str) {
        if let Some(log) = &self.log {
            log(text);
        }
    }
}

/// Can the server have such a key?
fn is_key(key: &str) -> bool {
    !key.is_empty() && !key.bytes().any(|byte| byte.is_ascii_control() || byte == b' ')
}

/// The length in `VALUE key flags length`.
fn length(line: &[u8], key: &str) -> Option<usize> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let named = words.next()? == "VALUE" && words.next()? == key;
    words.next().filter(|_| named)?;
    words.next()?.parse().ok()
}

/// Open a table from its file of attributes, or from `NAME_memcache` and so on in main.cf.
pub(super) fn open(spec: &TableSpec<'_>, options: &OpenOptions, depth: usize) -> Result<Opened, OpenFailure> {
    let Read { attributes, mut files, mut warnings } = Attributes::read(spec, options)?;
    warnings.extend(attributes.unknown(ATTRIBUTES));
    match build(spec, options, &attributes, &mut warnings) {
        Ok(mut table) => {
            files.extend_from_slice(table.key.files());
            if let Some(backup) = attributes.text("backup") {
                table.backup = Some(open_backup(&backup, options, depth, &mut files, &mut warnings)?);
            }
            Ok(Opened { table: Arc::new(table), warnings, files })
        }
        Err(diagnostic) => Err(OpenFailure { diagnostics: vec![diagnostic], files }),
    }
}

fn open_backup(
    backup: &str,
    options: &OpenOptions,
    depth: usize,
    files: &mut Vec<WatchedFile>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Arc<dyn Table>, OpenFailure> {
    match open_nested(backup, options, depth + 1) {
        Ok(opened) => {
            files.extend(opened.files);
            warnings.extend(opened.warnings);
            Ok(opened.table)
        }
        Err(mut failure) => {
            failure.files.append(files);
            Err(failure)
        }
    }
}

fn build(
    spec: &TableSpec<'_>,
    options: &OpenOptions,
    attributes: &Attributes,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Memcache, Diagnostic> {
    let place = attributes.get("memcache").unwrap_or_else(|| "inet:localhost:11211".to_owned());
    let endpoint = Endpoint::parse(&place, &options.directory)
        .map_err(|text| attributes.error(text, "set memcache to inet:host:port or unix:/path"))?;
    let shown = place.split_once(':').map_or(place.as_str(), |(_, shown)| shown);
    let address = Address { endpoint, prefix: format!("connect to {shown}: "), note: None };
    let key_format = attributes.get("key_format").unwrap_or_else(|| "%s".to_owned());
    let timeout = match attributes.number_from("timeout", 2, 0)? {
        0 => LONGEST,
        seconds => seconds,
    };
    Ok(Memcache {
        server: Server::new(address, Duration::from_secs(timeout.min(LONGEST)), IDLE, LIFETIME),
        key: Query::read(spec, options, attributes, &key_format, warnings)?,
        backup: None,
        flags: attributes.number("flags", 0)?,
        ttl: attributes.number("ttl", 3600)?,
        data_limit: attributes.number_from("data_size_limit", 10_240, 1)?,
        line_limit: attributes.number_from("line_size_limit", 1024, 1)?,
        tries: attributes.number_from("max_try", 2, 1)?,
        pause: Duration::from_secs(attributes.number_from("retry_pause", 1, 1)?),
        spec: spec.spec.into(),
        name: spec.name.into(),
        log: options.log.clone(),
    })
}

#[cfg(test)]
#[path = "memcache_tests.rs"]
mod tests;
