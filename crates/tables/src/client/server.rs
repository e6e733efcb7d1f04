//! A server that is asked line by line, on streams that need no log-in: what `tcp:`, `socketmap:` and `memcache:` share.

use super::pool::{Connection, Failure, Limits, Pool, Ranked, Rest};
use super::stream::{Endpoint, Stream};
use crate::lines::printable;
use crate::open::io_text;
use crate::{Log, LookupError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No more connections than this for one table.
pub(super) const CONNECTIONS: usize = 8;

/// A server that said nothing is left alone for this long at most. Postfix would wait for it again and again.
pub(super) const REST: Rest = Rest::AsLongAsItTook(Duration::from_secs(10));

/// Where to connect to, and how failures are told.
pub(super) struct Address {
    pub(super) endpoint: Endpoint,
    /// Before the reason in the error of a look-up.
    pub(super) prefix: String,
    /// A line of its own for the log, as it begins before the reason.
    pub(super) note: Option<(Log, String)>,
}

impl Connection for Stream {
    type Server = Address;

    fn connect(server: &Address, deadline: Instant) -> Result<Self, String> {
        Self::connect(&server.endpoint, deadline).map_err(|error| {
            let reason = io_text(&error);
            if let Some((log, begin)) = &server.note {
                log(&format!("{begin}{reason}"));
            }
            format!("{}{reason}", server.prefix)
        })
    }

    fn is_stale(&mut self) -> bool {
        self.is_stale()
    }
}

/// One server, with connections to it.
pub(super) struct Server {
    pool: Pool<Stream>,
    timeout: Duration,
}

impl Server {
    pub(super) fn new(address: Address, timeout: Duration, idle: Duration, lifetime: Duration) -> Self {
        let limits = Limits { connections: CONNECTIONS, timeout, idle, lifetime, rest: REST };
        Self { pool: Pool::new(vec![Ranked { rank: 0, server: address }], limits), timeout }
    }

    /// Ask something; when a new connection breaks, others are tried so many times in all. Not when there is no
    /// connection, and not after a long wait.
    pub(super) fn ask<T>(
        &self,
        tries: u32,
        pause: Duration,
        mut talk: impl FnMut(&mut Stream, Instant) -> Result<T, Failure>,
    ) -> Result<T, String> {
        let mut left = tries;
        loop {
            let (begin, mut broken) = (Instant::now(), false);
            let result = self.pool.ask(|stream, deadline| {
                let result = talk(stream, deadline);
                broken = matches!(result, Err(Failure::Broken(_)));
                result
            });
            left = left.saturating_sub(1);
            if !broken || left == 0 || begin.elapsed() >= self.timeout / 2 {
                return result;
            }
            std::thread::sleep(pause);
        }
    }
}

/// A value as it came, cut at a NUL as a C string would be; one that isn't UTF-8 is a failed look-up.
pub(super) fn value(spec: &str, key: &str, bytes: &[u8]) -> Result<Arc<str>, LookupError> {
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    std::str::from_utf8(bytes).map(Arc::from).map_err(|_| {
        let shown = printable(bytes);
        LookupError::new(format!(
            "{spec}: key \"{key}\": non-UTF-8 value \"{shown}\": malformed UTF-8 or invalid codepoint"
        ))
    })
}
