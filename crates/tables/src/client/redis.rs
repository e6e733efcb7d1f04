//! `redis:` tables, postern's own: a string or a field of a hash for each key, from Redis, Valkey or what speaks their
//! protocol (RESP2, <https://redis.io/docs/latest/develop/reference/protocol-spec/>).

use super::attributes::{Attributes, Read};
use super::pool::{Connection, Failure, Limits, Pool, Ranked};
use super::query::Query;
use super::server::{CONNECTIONS, REST, value};
use super::stream::{Endpoint, Stream, Trouble};
use crate::lines::printable;
use crate::open::{OpenFailure, OpenOptions, Opened, io_text};
use crate::spec::TableSpec;
use crate::{LookupError, Table};
use config::Diagnostic;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer values are refused, in bytes.
const VALUE_LIMIT: usize = 1 << 20;

/// Longer lines are refused, in bytes.
const LINE_LIMIT: usize = 4096;

/// Connections that are idle for longer, or older, aren't used again.
const IDLE: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(600);

/// `timeout` isn't longer.
const LONGEST: u64 = 100;

/// The attributes there are.
const ATTRIBUTES: &[&str] = &[
    "host",
    "port",
    "unix",
    "user",
    "password",
    "db",
    "command",
    "key_format",
    "result_format",
    "domain",
    "expansion_limit",
    "timeout",
];

/// A database of a server.
struct Redis {
    pool: Pool<Session>,
    query: Query,
    /// `GET`, or `HGET` and the hash's name.
    command: Vec<String>,
    spec: Box<str>,
}

impl Table for Redis {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        let Some(name) = self.query.text(key, str::to_owned)?.filter(|name| !name.is_empty()) else { return Ok(None) };
        let words: Vec<&str> = self.command.iter().map(String::as_str).chain([name.as_str()]).collect();
        let request = request(&words);
        let found = self.pool.ask(|session, deadline| session.command(&request, deadline));
        let Some(bytes) = found.map_err(|text| self.query.failure(text))? else { return Ok(None) };
        let mut results = self.query.results(key);
        results.add(&value(&self.spec, key, &bytes)?)?;
        Ok(results.finish())
    }

    fn waits(&self) -> bool {
        true
    }
}

/// Where to connect to, and what to say first.
struct Server {
    endpoint: Endpoint,
    /// As it stands in errors.
    name: String,
    /// Commands, with what they are for.
    greeting: Vec<(&'static str, Vec<u8>)>,
}

/// A connection, logged in.
struct Session(Stream);

impl Connection for Session {
    type Server = Server;

    fn connect(server: &Server, deadline: Instant) -> Result<Self, String> {
        let stream = Stream::connect(&server.endpoint, deadline)
            .map_err(|error| format!("connect to {}: {}", server.name, io_text(&error)))?;
        let mut session = Self(stream);
        for (purpose, request) in &server.greeting {
            if let Err(Failure::Broken(text) | Failure::Refused(text)) = session.command(request, deadline) {
                // What was sent isn't shown: it may be a password.
                return Err(format!("{purpose} at {}: {text}", server.name));
            }
        }
        Ok(session)
    }

    fn is_stale(&mut self) -> bool {
        self.0.is_stale()
    }
}

impl Session {
    /// Send a command and read its reply.
    fn command(&mut self, request: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>, Failure> {
        let broken = |trouble: Trouble| Failure::Broken(trouble.text());
        self.0.send(request, deadline).map_err(broken)?;
        let line = self.0.take_until(b"\r\n", LINE_LIMIT, deadline).map_err(broken)?;
        let unexpected = || Failure::Broken(format!("unexpected reply: {}", printable(&line)));
        match line.split_first().ok_or_else(unexpected)? {
            (b'+' | b':', text) => Ok(Some(text.to_vec())),
            (b'-', text) => Err(Failure::Refused(printable(text))),
            (b'$', b"-1") => Ok(None),
            (b'$', length) => {
                let length = length_of(length).ok_or_else(unexpected)?;
                let mut value = self.0.take(length + 2, deadline).map_err(broken)?;
                let end = value.split_off(length);
                if end == b"\r\n" { Ok(Some(value)) } else { Err(unexpected()) }
            }
            _ => Err(unexpected()),
        }
    }
}

/// The length of a value, if it is within the limit.
fn length_of(digits: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|length| *length <= VALUE_LIMIT)
}

/// A command with its arguments, each with its length.
fn request(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    text.into_bytes()
}

/// Open a table from its file of attributes, or from `NAME_host` and so on in main.cf.
pub(super) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let Read { attributes, mut files, mut warnings } = Attributes::read(spec, options)?;
    warnings.extend(attributes.unknown(ATTRIBUTES));
    match build(spec, options, &attributes, &mut warnings) {
        Ok(table) => {
            files.extend_from_slice(table.query.files());
            Ok(Opened { table: Arc::new(table), warnings, files })
        }
        Err(diagnostic) => Err(OpenFailure { diagnostics: vec![diagnostic], files }),
    }
}

fn build(
    spec: &TableSpec<'_>,
    options: &OpenOptions,
    attributes: &Attributes,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Redis, Diagnostic> {
    let key_format = attributes.get("key_format").unwrap_or_else(|| "%s".to_owned());
    let limits = Limits {
        connections: CONNECTIONS,
        timeout: Duration::from_secs(attributes.number_from("timeout", 2, 1)?.min(LONGEST)),
        idle: IDLE,
        lifetime: LIFETIME,
        rest: REST,
    };
    Ok(Redis {
        pool: Pool::new(vec![Ranked { rank: 0, server: server(options, attributes)? }], limits),
        query: Query::read(spec, options, attributes, &key_format, warnings)?,
        command: command(attributes)?,
        spec: spec.spec.into(),
    })
}

/// `command`.
fn command(attributes: &Attributes) -> Result<Vec<String>, Diagnostic> {
    let written = attributes.text("command").unwrap_or_else(|| "get".to_owned());
    match written.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        [get] if get.eq_ignore_ascii_case("get") => Ok(vec!["GET".to_owned()]),
        [hget, name] if hget.eq_ignore_ascii_case("hget") => Ok(vec!["HGET".to_owned(), name.to_owned()]),
        _ => {
            Err(attributes.error(format!("bad command: {written}"), "set command to get, or to hget and a hash's name"))
        }
    }
}

/// `host`, `port`, `unix`, `user`, `password`, `db`.
fn server(options: &OpenOptions, attributes: &Attributes) -> Result<Server, Diagnostic> {
    let (endpoint, name) = match attributes.text("unix") {
        Some(path) => {
            if attributes.text("host").is_some() {
                return Err(attributes.error("both host and unix are set", "remove one of them"));
            }
            (Endpoint::Unix(options.path(&path)), path)
        }
        None => {
            let host = attributes.text("host").unwrap_or_else(|| "localhost".to_owned());
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let port = attributes.number_from("port", 6379, 1)?;
            let name = format!("{host}:{port}");
            (Endpoint::Inet { host, port }, name)
        }
    };
    let mut greeting = Vec::new();
    match (attributes.text("user"), attributes.text("password")) {
        (None, None) => {}
        (None, Some(password)) => greeting.push(("login", request(&["AUTH", &password]))),
        (Some(user), Some(password)) => greeting.push(("login", request(&["AUTH", &user, &password]))),
        (Some(_), None) => return Err(attributes.missing("password", "set password, or remove user")),
    }
    match attributes.number("db", 0u32)? {
        0 => {}
        number => greeting.push(("choice of db", request(&["SELECT", &number.to_string()]))),
    }
    Ok(Server { endpoint, name, greeting })
}

#[cfg(test)]
#[path = "redis_tests.rs"]
mod tests;
