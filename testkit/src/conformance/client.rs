//! One SMTP client connection that writes down what happens.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::normal::{normal, text_of};
use crate::tls::{self, Secured, Visitor};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long an answer may take after one that never came.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// What one read from the server gave.
enum Line {
    Text(Vec<u8>),
    Closed,
    Silence,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<Secured>),
    None,
}

/// How a client comes to the server.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The address that the PROXY header names.
    pub source: IpAddr,
    /// The server's port in the scenario, which the PROXY header names.
    pub named_port: u16,
    /// The server's real port.
    pub real_port: u16,
}

/// A client.
pub struct Client<'p> {
    stream: Stream,
    buffer: Vec<u8>,
    label: String,
    timing: bool,
    patience: Duration,
    deadline: Instant,
    certificates: &'p Path,
    restore: &'p dyn Fn(&str) -> String,
    /// The server closed the connection, or never took it.
    pub closed: bool,
    /// The code of the last reply.
    pub code: String,
}

/// The transcript.
pub type Transcript = Vec<String>;

impl<'p> Client<'p> {
    /// Connects and announces where it pretends to come from.
    pub fn connect(
        origin: Origin,
        label: String,
        timing: bool,
        deadline: Instant,
        certificates: &'p Path,
        restore: &'p dyn Fn(&str) -> String,
    ) -> Self {
        let stream = connect(origin).map_or(Stream::None, Stream::Plain);
        let closed = matches!(stream, Stream::None);
        Self {
            stream,
            buffer: Vec::new(),
            label,
            timing,
            patience: Duration::from_secs(60),
            deadline,
            certificates,
            restore,
            closed,
            code: String::new(),
        }
    }

    /// Adds a line to the transcript.
    pub fn say(&self, out: &mut Transcript, text: &str) {
        out.push(format!("{}{text}", self.label));
    }

    fn said(&self, raw: &[u8]) -> String {
        normal(&(self.restore)(&text_of(raw)))
    }

    /// Reads the greeting; no connection, no data and an early close are one thing.
    pub fn greeting(&mut self, out: &mut Transcript, patience: Duration) {
        let before = out.len();
        self.reply_within(out, patience);
        let nothing = self.closed && self.code.is_empty();
        if nothing || out.last().is_some_and(|l| l.ends_with("<no reply>")) {
            out.truncate(before);
            self.say(out, "S: <no service>");
            self.closed = true;
        }
    }

    fn line(&mut self, limit: Duration) -> Line {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let limit = limit.min(left).max(Duration::from_millis(1));
        let mut chunk = [0; 16_384];
        loop {
            if let Some(end) = self.buffer.iter().position(|&b| b == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                return Line::Text(std::mem::replace(&mut self.buffer, rest));
            }
            let read = match &mut self.stream {
                Stream::Plain(s) => s.set_read_timeout(Some(limit)).and_then(|()| s.read(&mut chunk)),
                Stream::Tls(s) => s.sock.set_read_timeout(Some(limit)).and_then(|()| s.read(&mut chunk)),
                Stream::None => Ok(0),
            };
            match read {
                Ok(0) => return Line::Closed,
                Ok(n) => self.buffer.extend(&chunk[..n]),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Line::Silence;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Line::Closed,
            }
        }
    }

    /// Reads one SMTP reply.
    pub fn reply(&mut self, out: &mut Transcript) {
        self.reply_within(out, PATIENCE);
    }

    fn reply_within(&mut self, out: &mut Transcript, limit: Duration) {
        if self.closed {
            return;
        }
        let limit = limit.min(self.patience);
        let mut start = Instant::now();
        loop {
            let raw = match self.line(limit) {
                Line::Text(raw) => raw,
                other => {
                    self.closed = matches!(other, Line::Closed);
                    self.code.clear();
                    self.patience = IMPATIENCE;
                    return self.say(out, if self.closed { "S: <closed>" } else { "S: <no reply>" });
                }
            };
            let waited = (start.elapsed() + Duration::from_millis(100)).as_secs();
            if self.timing && waited > 0 {
                self.say(out, &format!("S: <after {waited}s>"));
            }
            start = Instant::now();
            let bare = if raw.ends_with(b"\r\n") { "" } else { " <no CRLF>" };
            let end = raw.iter().rposition(|b| !b"\r\n".contains(b)).map_or(0, |i| i + 1);
            self.say(out, &format!("S: {}{bare}", self.said(&raw[..end])));
            if !(raw.len() > 3 && raw[3] == b'-' && raw[..3].iter().all(u8::is_ascii_digit)) {
                self.code = text_of(&raw).chars().take(3).collect();
                break;
            }
        }
        if ["421", "521", "221"].contains(&self.code.as_str()) {
            self.expect_close(out, Duration::from_secs(2));
        }
    }

    /// Waits for the server to close the connection.
    pub fn expect_close(&mut self, out: &mut Transcript, limit: Duration) {
        let line = self.line(limit);
        self.closed = matches!(line, Line::Closed);
        match line {
            Line::Closed => self.say(out, "S: <closed>"),
            Line::Silence => self.say(out, "S: <still open>"),
            Line::Text(raw) => {
                self.say(out, &format!("S: {}", normal(&(self.restore)(&format!("b'{}'", raw.escape_ascii())))))
            }
        }
    }

    /// Sends bytes and reads that many replies.
    pub fn send(&mut self, out: &mut Transcript, data: &[u8], replies: usize) {
        if self.closed {
            return;
        }
        // a server that went away shows when its reply is read
        let _ = match &mut self.stream {
            Stream::Plain(s) => s.write_all(data),
            Stream::Tls(s) => s.write_all(data).and_then(|()| s.flush()),
            Stream::None => Ok(()),
        };
        for _ in 0..replies {
            self.reply(out);
        }
    }

    /// Sends a message after a 354.
    pub fn body(&mut self, out: &mut Transcript, lines: &[String]) {
        if self.code != "354" {
            return self.say(out, "C: <body not sent>");
        }
        self.say(out, &format!("C: <body, {} lines>", lines.len()));
        let stuffed = lines.iter().map(|l| format!("{}{l}\r\n", if l.starts_with('.') { "." } else { "" }));
        let data = stuffed.collect::<String>() + ".\r\n";
        self.send(out, data.as_bytes(), 1);
    }

    /// STARTTLS, if wanted with a client certificate.
    pub fn starttls(&mut self, out: &mut Transcript, certificate: bool) {
        self.say(out, "C: STARTTLS");
        self.send(out, b"STARTTLS\r\n", 1);
        if self.code != "220" {
            return;
        }
        match std::mem::replace(&mut self.stream, Stream::None) {
            Stream::Plain(socket) => match handshake(socket, certificate.then_some(self.certificates)) {
                Ok(stream) => {
                    self.stream = Stream::Tls(Box::new(stream));
                    self.say(out, "C: <TLS on>");
                }
                Err(error) => {
                    self.closed = true;
                    let kind = if error.kind() == io::ErrorKind::InvalidData { "SSLError" } else { "OSError" };
                    self.say(out, &format!("C: <TLS failed: {kind}>"));
                }
            },
            other => self.stream = other,
        }
    }

    /// Goes away without QUIT.
    pub fn close(&mut self) {
        self.stream = Stream::None;
        self.closed = true;
    }

    /// At the end: what the server said without being asked.
    pub fn finish(&mut self, out: &mut Transcript) {
        if !self.closed {
            if let Line::Text(raw) = self.line(Duration::from_millis(50)) {
                let end = raw.iter().rposition(|b| !b"\r\n".contains(b)).map_or(0, |i| i + 1);
                self.say(out, &format!("S: <extra> {}", self.said(&raw[..end])));
            }
            self.close();
        }
    }
}

fn connect(origin: Origin) -> io::Result<TcpStream> {
    let (server, family): (IpAddr, &str) = match origin.source {
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST.into(), "TCP4"),
        IpAddr::V6(_) => (Ipv6Addr::LOCALHOST.into(), "TCP6"),
    };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(server, origin.real_port), PATIENCE)?;
    stream.set_nodelay(true)?;
    let port = stream.local_addr()?.port();
    stream
        .write_all(format!("PROXY {family} {} {server} {port} {}\r\n", origin.source, origin.named_port).as_bytes())?;
    Ok(stream)
}

/// With the certificate of the scenarios, if it is wanted.
fn handshake(socket: TcpStream, certificates: Option<&Path>) -> io::Result<Secured> {
    let read = |dir: &Path, name: &str| std::fs::read_to_string(dir.join(name));
    let certificate = match certificates {
        Some(dir) => Some(read(dir, "client-cert.pem")? + &read(dir, "client-key.pem")?),
        None => None,
    };
    socket.set_read_timeout(Some(PATIENCE))?;
    tls::handshake(socket, Visitor { certificate: certificate.as_deref(), ..Visitor::default() })
}
