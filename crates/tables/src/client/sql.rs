//! What `mysql:` and `pgsql:` tables share: a query's rows as a result, `hosts`, and the life of connections.

use super::attributes::Attributes;
use super::pool::{Connection, Failure, Limits, Pool, Ranked, Rest};
use super::query::Query;
use crate::{LookupError, Table};
use config::Diagnostic;
use std::sync::Arc;
use std::time::Duration;

/// No more connections than this for one table.
const CONNECTIONS: usize = 8;

/// A connection isn't used for longer, so that names that move and better servers are noticed.
const LIFETIME: Duration = Duration::from_secs(600);

/// Larger answers are refused, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// A connection that takes SQL.
pub(super) trait Session: Connection {
    /// Text of a key, to stand between quotes.
    fn quote(&self, text: &str) -> String;

    /// The rows of a query, before the deadline.
    fn rows(&mut self, query: &str, deadline: std::time::Instant) -> Result<Rows, Failure>;
}

/// The values of a query's rows, in order; a limited amount.
#[derive(Default)]
pub(super) struct Rows {
    values: Vec<Option<String>>,
    size: usize,
}

impl Rows {
    /// Another value; `None` for NULL.
    pub(super) fn add(&mut self, value: Option<String>) -> Result<(), Failure> {
        self.size += value.as_ref().map_or(0, String::len) + 1;
        if self.size > ANSWER_LIMIT {
            return Err(Failure::Refused(format!("the answer is larger than {ANSWER_LIMIT} bytes")));
        }
        self.values.push(value);
        Ok(())
    }

    /// Another statement's rows count, not those before it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A table of a database server.
pub(super) struct Sql<S: Session> {
    pub(super) query: Query,
    pub(super) pool: Pool<S>,
}

impl<S: Session> Table for Sql<S> {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        if self.query.text(key, str::to_owned)?.is_none() {
            return Ok(None);
        }
        let rows = self.pool.ask(|session, deadline| match self.query.text(key, |text| session.quote(text)) {
            Ok(Some(query)) => session.rows(&query, deadline),
            Ok(None) => Ok(Rows::default()),
            Err(error) => Err(Failure::Refused(error.to_string())),
        });
        let rows = rows.map_err(LookupError::new)?;
        let mut results = self.query.results(key);
        for value in rows.values.iter().flatten() {
            results.add(value)?;
        }
        Ok(results.finish())
    }

    fn waits(&self) -> bool {
        true
    }
}

/// A server in `hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A socket's path.
    Unix(String),
    /// Name or address, and port if there is one.
    Inet(String, Option<u16>),
    /// A `postgresql://` or `postgres://` URI.
    Uri(String),
}

/// `hosts`, or what stands for it when nothing is written.
pub(super) fn hosts(attributes: &Attributes) -> Result<Vec<Host>, Diagnostic> {
    let written = attributes.get("hosts").unwrap_or_default();
    let members: Vec<&str> = written.split(|c: char| c == ',' || c.is_ascii_whitespace()).collect();
    let members = members.into_iter().filter(|member| !member.is_empty());
    let hosts: Vec<Host> = members.map(|member| host(member, attributes)).collect::<Result<_, _>>()?;
    Ok(if hosts.is_empty() { vec![Host::Inet("localhost".to_owned(), None)] } else { hosts })
}

fn host(text: &str, attributes: &Attributes) -> Result<Host, Diagnostic> {
    if text.starts_with("postgresql://") || text.starts_with("postgres://") {
        return Ok(Host::Uri(text.to_owned()));
    }
    let bad = || {
        let help = "write unix:/path, host, host:port, inet:host:port or [address]:port";
        attributes.error(format!("bad server in hosts: {text}"), help)
    };
    if let Some(path) = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text)) {
        return if path.is_empty() { Err(bad()) } else { Ok(Host::Unix(path.to_owned())) };
    }
    let text = text.strip_prefix("inet:").unwrap_or(text);
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, rest)) => (name, Some(rest.strip_prefix(':').ok_or_else(bad)?)),
        None => match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map(|port| port.parse().map_err(|_| bad())).transpose()?;
    if name.is_empty() { Err(bad()) } else { Ok(Host::Inet(name.to_owned(), port)) }
}

/// A pool of connections to these servers.
pub(super) fn pool<S: Session>(
    attributes: &Attributes,
    servers: Vec<Ranked<S::Server>>,
) -> Result<Pool<S>, Diagnostic> {
    let seconds = |name: &str, default: u64| attributes.number_from(name, default, 1).map(Duration::from_secs);
    let limits = Limits {
        connections: CONNECTIONS,
        timeout: seconds("postern_timeout", 10)?,
        idle: seconds("idle_interval", 60)?,
        lifetime: LIFETIME,
        rest: Rest::For(seconds("retry_interval", 60)?),
    };
    Ok(Pool::new(servers, limits))
}
