//! The bytes of a connection: plain, or under TLS. Nothing here waits but what is named so.

use rustls::ServerConnection;
use std::io::{self, ErrorKind, Read, Write};
use tokio::net::TcpStream;

/// A connection that may come under TLS on its way.
pub(super) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// There is decrypted input that a full buffer left behind.
    more: bool,
}

/// The socket for a library that reads and writes by itself; it never waits.
pub(super) struct Socket<'a>(pub(super) &'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, tls: None, more: false }
    }

    /// The socket itself, for what comes before TLS.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// From now on, all bytes go through this connection.
    pub(super) fn secure(&mut self, connection: ServerConnection) {
        self.tls = Some(Box::new(connection));
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.more {
            return Ok(());
        }
        self.tcp.readable().await
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.tcp.writable().await
    }

    /// What has come; 0 is the end.
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.try_read(buffer) };
        let mut length = 0;
        self.more = false;
        loop {
            match tls.reader().read(&mut buffer[length..]) {
                // The end, in due form.
                Ok(0) => return Ok(length),
                Ok(n) => length += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The end without a word.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(length),
                Err(error) => return Err(error),
            }
            if length == buffer.len() {
                self.more = true;
                return Ok(length);
            }
            match tls.read_tls(&mut Socket(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && length > 0 => return Ok(length),
                Err(error) => return Err(error),
            }
            let processed = tls.process_new_packets();
            // Alerts and answers to key updates; what doesn't go now goes with the next reply.
            while tls.wants_write() && tls.write_tls(&mut Socket(&self.tcp)).is_ok_and(|sent| sent > 0) {}
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// Take bytes for sending; how many. Under TLS some of them may stay with us: see [`Self::has_unsent`].
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.try_write(bytes) };
        send(&self.tcp, tls)?;
        let taken = tls.writer().write(bytes)?;
        match send(&self.tcp, tls) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Is there something that was taken, but could not be sent yet?
    pub(super) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Say goodbye, if that is possible at once.
    pub(super) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // Nobody may be there any more.
            let _ = send(&self.tcp, tls);
        }
    }
}

fn send(tcp: &TcpStream, tls: &mut ServerConnection) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut Socket(tcp))?;
    }
    Ok(())
}
