//! A plain SMTP client for checks that drive a session step by step.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

/// A connection to a server on 127.0.0.1. A reply is its lines joined with `\n`; the empty text means that the server
/// closed the connection.
#[derive(Debug)]
pub struct Dialog {
    reader: BufReader<TcpStream>,
}

impl Dialog {
    /// Connects, without reading the greeting.
    pub fn connect(port: u16) -> io::Result<Self> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::of(TcpStream::connect_timeout(&at, Duration::from_secs(10))?)
    }

    /// Connects from another address of this machine, 127.x.y.z.
    pub fn connect_from(address: [u8; 4], port: u16) -> io::Result<Self> {
        let tcp = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let at = |ip: [u8; 4], port| SockaddrIn::from(SocketAddrV4::new(ip.into(), port));
        bind(tcp.as_raw_fd(), &at(address, 0))?;
        connect(tcp.as_raw_fd(), &at([127, 0, 0, 1], port))?;
        Self::of(TcpStream::from(tcp))
    }

    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Connects, reads the greeting and says EHLO.
    pub fn greeted(port: u16) -> io::Result<Self> {
        let mut dialog = Self::connect(port)?;
        let greeting = dialog.reply()?;
        let answer = dialog.command("EHLO client.example.net")?;
        if greeting.starts_with("220") && answer.starts_with("250") {
            return Ok(dialog);
        }
        Err(io::Error::other(format!("greeted with {greeting:?} and {answer:?}")))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends a line and reads the reply.
    pub fn command(&mut self, line: &str) -> io::Result<String> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Reads a reply.
    pub fn reply(&mut self) -> io::Result<String> {
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(text);
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let more = line.as_bytes().get(3) == Some(&b'-');
            text += &line;
            if !more {
                return Ok(text);
            }
            text.push('\n');
        }
    }

    /// Reads until the server closes.
    pub fn rest(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// MAIL, RCPT and DATA up to the server's wish for the message.
    pub fn begin(&mut self, from: &str, to: &str) -> io::Result<()> {
        for (command, code) in
            [(format!("MAIL FROM:<{from}>"), "250"), (format!("RCPT TO:<{to}>"), "250"), ("DATA".into(), "354")]
        {
            let reply = self.command(&command)?;
            if !reply.starts_with(code) {
                return Err(io::Error::other(format!("{command}: {reply}")));
            }
        }
        Ok(())
    }

    /// Sends a whole message with this subject; the reply to its end.
    pub fn message(&mut self, from: &str, to: &str, subject: &str) -> io::Result<String> {
        self.begin(from, to)?;
        self.send(format!("Subject: {subject}\r\n\r\nbody\r\n.\r\n").as_bytes())?;
        self.reply()
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }
}
