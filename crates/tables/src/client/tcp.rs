//! `tcp:` tables (tcp_table(5)): a line with the key, a line with the value.

use super::pool::Failure;
use super::server::{Address, Server, value};
use super::stream::{Endpoint, Stream, Trouble};
use crate::lines::printable;
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::{LookupError, Table};
use config::Diagnostic;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Replies with their newline aren't longer.
const REPLY_LIMIT: usize = 4096;

/// For a whole look-up.
const TIMEOUT: Duration = Duration::from_secs(100);

/// Connections are kept for long; the protocol has no limit of its own.
const IDLE: Duration = Duration::from_secs(100);
const LIFETIME: Duration = Duration::from_secs(1000);

/// A table of a server.
struct Tcp {
    server: Server,
    spec: Box<str>,
    name: Box<str>,
}

impl Table for Tcp {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        let request = format!("get {}\n", encode(key.as_bytes()));
        let found = self.server.ask(2, Duration::ZERO, |stream, deadline| self.talk(stream, &request, deadline));
        found.map_err(LookupError::new)?.map(|bytes| value(&self.spec, key, &bytes)).transpose()
    }

    fn is_pattern(&self) -> bool {
        true
    }

    fn waits(&self) -> bool {
        true
    }
}

impl Tcp {
    fn talk(&self, stream: &mut Stream, request: &str, deadline: Instant) -> Result<Option<Vec<u8>>, Failure> {
        let broken = |why: String| Failure::Broken(format!("read TCP map reply from {}: {why}", self.name));
        let reply = stream
            .send(request.as_bytes(), deadline)
            .and_then(|()| stream.take_until(b"\n", REPLY_LIMIT - 1, deadline))
            .map_err(|trouble| match trouble {
                Trouble::TooLong => broken(format!("text longer than {REPLY_LIMIT}")),
                other => broken(other.text()),
            })?;
        let malformed = || broken(format!("malformed reply: {}", printable(&reply)));
        let (code, text) = reply.split_at_checked(4).ok_or_else(malformed)?;
        let text = decode(text).ok_or_else(malformed)?;
        match code {
            b"200 " | b"200\t" => Ok(Some(text)),
            b"500 " | b"500\t" => Ok(None),
            b"400 " | b"400\t" => {
                Err(Failure::Refused(format!("table {}: server error: {}", self.spec, printable(&text))))
            }
            [a, b, c, b' ' | b'\t'] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => {
                Err(broken(format!("bad status code: {}", printable(&reply))))
            }
            _ => Err(malformed()),
        }
    }
}

/// `%XX` for what isn't printable ASCII, for blanks and for the percent sign.
fn encode(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for &byte in key {
        match byte {
            b'%' | ..=b' ' | 0x7f.. => text.push_str(&format!("%{byte:02X}")),
            _ => text.push(char::from(byte)),
        }
    }
    text
}

/// The reverse; `None` if a percent sign stands alone.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = more;
    }
    Some(bytes)
}

/// `tcp:host:port`.
pub(super) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    Ok(Opened::plain(table(spec, options, TIMEOUT)?))
}

fn table(spec: &TableSpec<'_>, options: &OpenOptions, timeout: Duration) -> Result<Tcp, Diagnostic> {
    let endpoint = match spec.name.contains(':') {
        true => Endpoint::inet(spec.name),
        false => Err(format!("bad table \"{}\": the port is missing", spec.spec)),
    };
    let help = "write tcp:host:port or tcp:[address]:port";
    let endpoint = endpoint.map_err(|text| options.error("table-syntax", text).help(help))?;
    let address = Address { endpoint, prefix: format!("connect to TCP map {}: ", spec.name), note: None };
    let server = Server::new(address, timeout, IDLE, LIFETIME);
    Ok(Tcp { server, spec: spec.spec.into(), name: spec.name.into() })
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
