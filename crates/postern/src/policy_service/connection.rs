//! One connection to a policy service: a request goes out, `name=value` lines come back until an empty one.

use crate::daemon::listen;
use crate::dns::Resolver;
use policy::{DnsStatus, PolicyService, RecordType, ServiceEndpoint};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

/// The longest answer.
const REPLY_LIMIT: usize = 64 * 1024;
/// Postfix's word for a failure without an error number.
const APPLICATION_ERROR: &str = "Application error";

/// Why a try came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// A warning of its own.
    pub warning: Option<String>,
    /// The end of `problem talking to server NAME: …`.
    pub why: String,
    /// Worth a warning even if the next try helps.
    pub is_notable: bool,
    /// The connection was closed before a byte of the answer came.
    pub is_disconnect: bool,
    /// It took as long as it could.
    pub is_timeout: bool,
}

impl Failure {
    fn application(warning: Option<String>) -> Self {
        Self { warning, why: APPLICATION_ERROR.into(), is_notable: false, is_disconnect: false, is_timeout: false }
    }

    fn io(error: &io::Error) -> Self {
        let why = match error.raw_os_error() {
            Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
            None => error.to_string(),
        };
        let usual = [io::ErrorKind::BrokenPipe, io::ErrorKind::NotFound, io::ErrorKind::ConnectionReset];
        let is_disconnect = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        let is_timeout = error.kind() == io::ErrorKind::TimedOut;
        Self { warning: None, why, is_notable: !usual.contains(&error.kind()), is_disconnect, is_timeout }
    }

    /// The service took too long.
    pub fn timed_out() -> Self {
        let why = "Connection timed out".into();
        Self { warning: None, why, is_notable: true, is_disconnect: false, is_timeout: true }
    }

    fn connecting(self, service: &PolicyService) -> Self {
        let warning = Some(format!("connect to {}: {}", service.server(), self.why));
        Self { warning, is_disconnect: false, ..self }
    }
}

/// A connected socket.
pub enum Stream {
    /// `inet:`
    Tcp(TcpStream),
    /// `unix:`
    Unix(UnixStream),
}

/// A connection and how much it was used.
pub struct Connection {
    stream: Stream,
    opened: Instant,
    requests: u32,
    /// Since when nobody has used it.
    pub idle_since: Instant,
    /// More came than was asked for.
    is_spoilt: bool,
}

impl Connection {
    /// Connect.
    pub async fn open(service: &PolicyService, resolver: &Arc<Resolver>) -> Result<Self, Failure> {
        let stream = match timeout(service.timeout, connect(&service.endpoint, resolver)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(failure)) => return Err(failure.connecting(service)),
            Err(_) => return Err(Failure::timed_out().connecting(service)),
        };
        let now = Instant::now();
        Ok(Self { stream, opened: now, requests: 0, idle_since: now, is_spoilt: false })
    }

    /// When it has to be closed at the latest.
    pub fn end(&self, service: &PolicyService) -> Instant {
        (self.opened + service.max_ttl).min(self.idle_since + service.max_idle)
    }

    /// May it take another request?
    pub fn is_usable(&self, service: &PolicyService, now: Instant) -> bool {
        self.may_be_kept(service, now) && self.is_silent()
    }

    /// The same as far as it can be told without asking the system.
    pub fn may_be_kept(&self, service: &PolicyService, now: Instant) -> bool {
        let has_requests_left = service.request_limit == 0 || self.requests < service.request_limit;
        !self.is_spoilt && has_requests_left && now < self.end(service)
    }

    /// Nothing to read: neither an end nor words nobody asked for.
    fn is_silent(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        // Straight from the system: the event loop may not have seen the end yet.
        let seen = match &self.stream {
            Stream::Tcp(stream) => socket2::SockRef::from(stream).peek(&mut byte),
            Stream::Unix(stream) => socket2::SockRef::from(stream).peek(&mut byte),
        };
        matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Send a request and wait for its action.
    pub async fn exchange(&mut self, service: &PolicyService, request: &str) -> Result<Arc<str>, Failure> {
        self.requests += 1;
        let limit = service.timeout;
        match timeout(limit, self.send(request.as_bytes())).await {
            Ok(sent) => sent.map_err(|error| Failure::io(&error))?,
            Err(_) => return Err(Failure::timed_out()),
        }
        let Ok(reply) = timeout(limit, self.receive(service.server())).await else {
            return Err(Failure::timed_out());
        };
        let server = service.server();
        let reply = reply?;
        let action = reply.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"action="));
        let Some(action) = action else {
            return Err(Failure::application(Some(format!("missing attribute action in input from {server}"))));
        };
        match std::str::from_utf8(action) {
            Ok(action) => Ok(action.into()),
            Err(_) => {
                let shown = action.escape_ascii();
                let warning = format!("malformed UTF-8 in policy server {server} response: \"{shown}\"");
                Err(Failure::application(Some(warning)))
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Unix(stream) => stream.write_all(bytes).await,
        }
    }

    /// The lines up to the empty one.
    async fn receive(&mut self, server: &str) -> Result<Vec<u8>, Failure> {
        let mut reply = Vec::with_capacity(256);
        loop {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read_buf(&mut reply).await,
                Stream::Unix(stream) => stream.read_buf(&mut reply).await,
            };
            match read {
                Ok(0) if reply.is_empty() => {
                    return Err(Failure { is_disconnect: true, ..Failure::application(None) });
                }
                Ok(0) => {
                    let warning = format!("premature end-of-input on {server} while reading input attribute name");
                    return Err(Failure::application(Some(warning)));
                }
                Ok(_) => {}
                Err(error) => return Err(Failure::io(&error)),
            }
            let end = match reply.first() {
                Some(b'\n') => Some(1),
                _ => memchr::memmem::find(&reply, b"\n\n").map(|at| at + 2),
            };
            if let Some(end) = end {
                self.is_spoilt = reply.len() > end;
                reply.truncate(end);
                return Ok(reply);
            }
            if reply.len() > REPLY_LIMIT {
                let warning = format!("reply of more than {REPLY_LIMIT} bytes from {server}");
                return Err(Failure::application(Some(warning)));
            }
        }
    }
}

/// Connect to where a service listens.
pub async fn connect(endpoint: &ServiceEndpoint, resolver: &Arc<Resolver>) -> Result<Stream, Failure> {
    let (host, port) = match endpoint {
        ServiceEndpoint::Unix(path) => {
            let stream = UnixStream::connect(&**path).await.map_err(|error| Failure::io(&error))?;
            return Ok(Stream::Unix(stream));
        }
        ServiceEndpoint::Inet { host, port } => (host, port),
    };
    let why = || format!("host/service {host}/{port} not found");
    let unknown = || Failure { why: why(), is_timeout: false, ..Failure::timed_out() };
    let number = listen::port(port).map_err(|_| unknown())?;
    let mut failure = unknown();
    for address in addresses(host, resolver).await {
        match TcpStream::connect(SocketAddr::new(address, number)).await {
            Ok(stream) => {
                // A request is one write: waiting for more to send with it helps nobody.
                let _ = stream.set_nodelay(true);
                return Ok(Stream::Tcp(stream));
            }
            Err(error) => failure = Failure::io(&error),
        }
    }
    Err(failure)
}

/// A literal address, `/etc/hosts`, then the DNS.
async fn addresses(host: &str, resolver: &Arc<Resolver>) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let mut found: Vec<IpAddr> = resolver.hosts().addresses_of(host).collect();
    if !found.is_empty() {
        return found;
    }
    let name: Arc<str> = host.trim_end_matches('.').to_ascii_lowercase().into();
    let (v4, v6) = tokio::join!(resolver.query(&name, RecordType::A), resolver.query(&name, RecordType::Aaaa));
    for answer in [v4, v6] {
        if answer.status == DnsStatus::Ok {
            found.extend(answer.addresses());
        }
    }
    found
}
