//! A stream to a server, over TCP or a UNIX-domain socket. Everything on it ends at a deadline, and nothing it reads is
//! without a limit.

use crate::open::io_text;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Not more addresses of a name than this are tried.
const ADDRESSES: usize = 8;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Inet { host: String, port: u16 },
    Unix(PathBuf),
}

impl Endpoint {
    /// `inet:host:port` or `unix:path`; relative paths start at the directory. Errors are Postfix's texts.
    pub(super) fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("inet", place)) => Self::inet(place),
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(directory.join(path))),
            Some((kind, rest)) if !rest.is_empty() => Err(format!("invalid transport name: {kind} in service: {text}")),
            _ => Err(format!("need service transport:endpoint instead of \"{text}\"")),
        }
    }

    /// `host:port`, `[address]:port` or `port`, with the port's number or name.
    pub(super) fn inet(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = if host.is_empty() { "localhost" } else { host };
        let port = port_number(port).ok_or_else(|| format!("host or service {text} not found"))?;
        Ok(Self::Inet { host: host.to_owned(), port })
    }
}

/// The number of a TCP port, by number or by its name in /etc/services.
fn port_number(name: &str) -> Option<u16> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let services = std::fs::read_to_string("/etc/services").ok()?;
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (service, number) = (words.next()?, words.next()?);
        let number = number.strip_suffix("/tcp")?.parse().ok()?;
        (service == name || words.any(|alias| alias == name)).then_some(number)
    })
}

/// Why nothing more comes.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server has hung up.
    Closed,
    /// More than is allowed.
    TooLong,
    /// The network, or time.
    Io(io::Error),
}

impl Trouble {
    /// Its text where there is no other.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Closed => "unexpected EOF".to_owned(),
            Self::TooLong => "reply is too long".to_owned(),
            Self::Io(error) => io_text(error),
        }
    }

    /// Did the time run out?
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == ErrorKind::TimedOut)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// An open stream with what was read ahead.
pub(super) struct Stream {
    socket: Socket,
    ahead: Vec<u8>,
}

impl Stream {
    /// Connect to a server; the addresses of a name are tried in turn.
    pub(super) fn connect(endpoint: &Endpoint, deadline: Instant) -> io::Result<Self> {
        let (host, port) = match endpoint {
            Endpoint::Unix(path) => return Self::connect_unix(path, deadline),
            Endpoint::Inet { host, port } => (host.as_str(), *port),
        };
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(plain)?.take(ADDRESSES).collect();
        let mut failure = ErrorKind::AddrNotAvailable.into();
        for (at, address) in addresses.iter().enumerate() {
            let others = u32::try_from(addresses.len() - at).unwrap_or(1);
            match Self::connect_inet(*address, left(deadline)? / others) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn connect_inet(address: SocketAddr, time: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.connect_timeout(&address.into(), time).map_err(named_timeout)?;
        Ok(Self { socket, ahead: Vec::new() })
    }

    fn connect_unix(path: &Path, deadline: Instant) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Bounds the wait for a server that doesn't accept, too.
        socket.set_write_timeout(Some(left(deadline)?))?;
        socket.connect(&SockAddr::unix(path)?).map_err(named_timeout)?;
        Ok(Self { socket, ahead: Vec::new() })
    }

    /// Send all of it.
    pub(super) fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(Some(left(deadline)?))?;
            match self.socket.write(bytes).map_err(named_timeout) {
                Ok(0) => return Err(Trouble::Closed),
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What comes before the end mark, which is taken off; it has so many bytes at most.
    pub(super) fn take_until(&mut self, end: &[u8], limit: usize, deadline: Instant) -> Result<Vec<u8>, Trouble> {
        let mut seen = 0;
        loop {
            if let Some(at) = memchr::memmem::find(&self.ahead[seen..], end) {
                let at = seen + at;
                if at > limit {
                    return Err(Trouble::TooLong);
                }
                let mut taken: Vec<u8> = self.ahead.drain(..at + end.len()).collect();
                taken.truncate(at);
                return Ok(taken);
            }
            seen = (self.ahead.len() + 1).saturating_sub(end.len());
            if seen > limit {
                return Err(Trouble::TooLong);
            }
            self.fill(deadline)?;
        }
    }

    /// So many bytes; the caller knows that they aren't too many.
    pub(super) fn take(&mut self, count: usize, deadline: Instant) -> Result<Vec<u8>, Trouble> {
        while self.ahead.len() < count {
            self.fill(deadline)?;
        }
        Ok(self.ahead.drain(..count).collect())
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let mut chunk = [0; 4096];
        loop {
            self.socket.set_read_timeout(Some(left(deadline)?))?;
            match self.socket.read(&mut chunk).map_err(named_timeout) {
                Ok(0) => return Err(Trouble::Closed),
                Ok(count) => {
                    self.ahead.extend_from_slice(chunk.get(..count).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Has the server hung up, or said more than it was asked?
    pub(super) fn is_stale(&mut self) -> bool {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let peeked = self.socket.recv_with_flags(&mut [MaybeUninit::uninit()], flags);
        !self.ahead.is_empty() || !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// The time left; none is an error.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(timed_out()) } else { Ok(left) }
}

fn timed_out() -> io::Error {
    io::Error::from_raw_os_error(libc::ETIMEDOUT)
}

/// A socket's time limit is told as "would block".
fn named_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => timed_out(),
        _ => error,
    }
}

/// The error of a name look-up without Rust's words before it.
fn plain(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.strip_prefix("failed to lookup address information: ") {
        Some(reason) => io::Error::new(error.kind(), reason),
        None => error,
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
