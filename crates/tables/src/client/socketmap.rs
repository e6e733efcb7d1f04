//! `socketmap:` tables (socketmap_table(5)): netstrings with `name key` out and `OK value` and its like back.

use super::pool::Failure;
use super::server::{Address, Server, value};
use super::stream::{Endpoint, Stream, Trouble};
use crate::lines::printable;
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::{Log, LookupError, Table};
use config::Diagnostic;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For a whole look-up.
const TIMEOUT: Duration = Duration::from_secs(100);

/// Connections that are idle for longer, or older, aren't used again.
const IDLE: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(100);

/// A table of a server.
struct Socketmap {
    server: Server,
    spec: Box<str>,
    /// The table's name on the server.
    name: Box<str>,
    /// `socketmap_max_query_size`, for keys.
    query_limit: usize,
    /// `socketmap_max_reply_size`.
    reply_limit: usize,
    log: Option<Log>,
}

impl Table for Socketmap {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        if key.len() > self.query_limit {
            if let Some(log) = &self.log {
                log(&format!("table {}: key of {} bytes exceeds socketmap_max_query_size", self.spec, key.len()));
            }
            return Ok(None);
        }
        let request = format!("{} {key}", self.name);
        let request = format!("{}:{request},", request.len());
        let reply = self
            .server
            .ask(2, Duration::ZERO, |stream, deadline| self.talk(stream, &request, deadline))
            .map_err(LookupError::new)?;
        let (status, text) = match reply.iter().position(|&byte| byte == b' ') {
            Some(at) => (&reply[..at], Some(&reply[at + 1..])),
            None => (&reply[..], None),
        };
        let kind = match status {
            // Postfix finds nothing in an OK without a blank.
            b"OK" => return text.map(|text| value(&self.spec, key, text)).transpose(),
            b"NOTFOUND" => return Ok(None),
            b"TEMP" => "temporary",
            b"TIMEOUT" => "timeout",
            b"PERM" => "permanent",
            _ => "unknown",
        };
        let reason = text.filter(|text| !text.is_empty()).map(|text| format!(": {}", printable(text)));
        let reason = reason.unwrap_or_default();
        Err(LookupError::new(format!("{} socketmap server {kind} error{reason}", self.spec)))
    }

    fn is_pattern(&self) -> bool {
        true
    }

    fn waits(&self) -> bool {
        true
    }
}

impl Socketmap {
    fn talk(&self, stream: &mut Stream, request: &str, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let reply = stream.send(request.as_bytes(), deadline).map_err(Fault::from);
        reply.and_then(|()| netstring(stream, self.reply_limit, deadline)).map_err(|fault| {
            let reason = match fault {
                Fault::Format => "input format error".to_owned(),
                Fault::Stream(Trouble::TooLong) => "input exceeds size limit".to_owned(),
                Fault::Stream(Trouble::Closed) => "unexpected disconnect".to_owned(),
                Fault::Stream(trouble) if trouble.is_timeout() => "time limit exceeded".to_owned(),
                Fault::Stream(trouble) => trouble.text(),
            };
            Failure::Broken(format!("table {} lookup error: {reason}", self.spec))
        })
    }
}

/// What is wrong with a reply.
enum Fault {
    Format,
    Stream(Trouble),
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self::Stream(trouble)
    }
}

/// A netstring's contents.
fn netstring(stream: &mut Stream, limit: usize, deadline: Instant) -> Result<Vec<u8>, Fault> {
    let mut length = None;
    loop {
        match (stream.take(1, deadline)?.first(), length) {
            (Some(b':'), Some(length)) => {
                let contents = stream.take(length, deadline)?;
                return match stream.take(1, deadline) {
                    Ok(end) if end == b"," => Ok(contents),
                    Ok(_) | Err(Trouble::Closed) => Err(Fault::Format),
                    Err(other) => Err(other.into()),
                };
            }
            // No zeros to start with.
            (Some(digit @ b'0'..=b'9'), None) => length = Some(usize::from(digit - b'0')),
            (Some(digit @ b'0'..=b'9'), Some(before)) if before > 0 => {
                length = Some(before.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
            }
            _ => return Err(Fault::Format),
        }
        if length.is_some_and(|length| length > limit) {
            return Err(Trouble::TooLong.into());
        }
    }
}

/// `socketmap:inet:host:port:name` or `socketmap:unix:path:name`.
pub(super) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    Ok(Opened::plain(table(spec, options, TIMEOUT)?))
}

fn table(spec: &TableSpec<'_>, options: &OpenOptions, timeout: Duration) -> Result<Socketmap, Diagnostic> {
    let need = || "socketmap requires server:socketmap argument".to_owned();
    let (place, name) = spec.name.rsplit_once(':').unwrap_or_default();
    let endpoint = if place.is_empty() { Err(need()) } else { Endpoint::parse(place, &options.directory) };
    let endpoint = endpoint.map_err(|text| {
        let help = "write socketmap:inet:host:port:name or socketmap:unix:path:name";
        options.error("table-syntax", text).help(help)
    })?;
    let shown = place.split_once(':').map_or(place, |(_, shown)| shown);
    let note = options.log.clone().map(|log| (log, format!("connect to {shown}: ")));
    let address = Address { endpoint, prefix: format!("table {} lookup error: ", spec.spec), note };
    Ok(Socketmap {
        server: Server::new(address, timeout, IDLE, LIFETIME),
        spec: spec.spec.into(),
        name: name.into(),
        query_limit: size(options, "socketmap_max_query_size", 10_000)?,
        reply_limit: size(options, "socketmap_max_reply_size", 100_000)?,
        log: options.log.clone(),
    })
}

/// A size in main.cf.
fn size(options: &OpenOptions, name: &str, default: usize) -> Result<usize, Diagnostic> {
    let Some(text) = options.parameter.as_ref().and_then(|parameter| parameter(name)) else { return Ok(default) };
    match text.parse() {
        Ok(size) if (1..=i32::MAX as usize).contains(&size) => Ok(size),
        _ => {
            let text = format!("bad numerical configuration: {name} = {text}");
            Err(options.error("table-syntax", text).help("write a number of bytes, greater than 0"))
        }
    }
}

#[cfg(test)]
#[path = "socketmap_tests.rs"]
mod tests;
