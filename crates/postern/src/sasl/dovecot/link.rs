//! One connection to an authentication server: many exchanges share it, each by its number.

use super::protocol::{self, Handshake, Mechanism, Reply};
use crate::policy_service::Stream;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// The longest line of a server.
const LINE_LIMIT: usize = 64 * 1024;
/// Lines on their way to the server.
const QUEUE: usize = 64;

/// Who waits for which number; `None` when the connection is gone.
type Waiters = Arc<Mutex<Option<HashMap<u32, oneshot::Sender<Reply>>>>>;

/// A connection that has shaken hands.
pub struct Link {
    /// What the server offers.
    pub mechanisms: Vec<Mechanism>,
    waiters: Waiters,
    lines: mpsc::Sender<String>,
    next: AtomicU32,
    tasks: [AbortHandle; 2],
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Link {
    /// Shake hands.
    pub async fn open(stream: Stream) -> Result<Self, String> {
        match stream {
            Stream::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                Self::begin(reader, writer).await
            }
            Stream::Unix(stream) => {
                let (reader, writer) = stream.into_split();
                Self::begin(reader, writer).await
            }
        }
    }

    async fn begin<R, W>(reader: R, mut writer: W) -> Result<Self, String>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let greeting = protocol::greeting(connection_number());
        writer.write_all(greeting.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut lines = Lines { reader, bytes: Vec::new(), start: 0 };
        let mut handshake = Handshake::default();
        loop {
            let Some(line) = lines.next().await else { return Err("connection lost".to_owned()) };
            if handshake.line(line)? {
                break;
            }
        }
        let waiters: Waiters = Arc::new(Mutex::new(Some(HashMap::new())));
        let (sender, receiver) = mpsc::channel(QUEUE);
        let reading = tokio::spawn(read(lines, Arc::clone(&waiters))).abort_handle();
        let writing = tokio::spawn(write(writer, receiver, Arc::clone(&waiters))).abort_handle();
        Ok(Self {
            mechanisms: handshake.mechanisms,
            waiters,
            lines: sender,
            next: AtomicU32::new(1),
            tasks: [reading, writing],
        })
    }

    /// A number for a new exchange.
    pub fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Is the connection still there, as far as is known?
    pub fn is_alive(&self) -> bool {
        lock(&self.waiters).is_some()
    }

    /// Give the connection up; exchanges on it end.
    pub fn close(&self) {
        lock(&self.waiters).take();
    }

    /// Send a line of an exchange and wait for the answer; `None` when the connection is lost.
    pub async fn ask(&self, number: u32, line: String) -> Option<Reply> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiters).as_mut()?.insert(number, sender);
        // Who stops waiting leaves nothing behind.
        let _guard = Waiter { waiters: &self.waiters, number };
        self.lines.send(line).await.ok()?;
        receiver.await.ok()
    }
}

struct Waiter<'a> {
    waiters: &'a Waiters,
    number: u32,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = lock(self.waiters).as_mut() {
            waiting.remove(&self.number);
        }
    }
}

fn lock(waiters: &Waiters) -> std::sync::MutexGuard<'_, Option<HashMap<u32, oneshot::Sender<Reply>>>> {
    waiters.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Servers know clients by process id and refuse a second connection with the same one. Ours are above all real ones.
fn connection_number() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    1 << 30 | (std::process::id() & 0x3f_ffff) << 8 | count & 0xff
}

async fn read<R: AsyncRead + Unpin>(mut lines: Lines<R>, waiters: Waiters) {
    while let Some(line) = lines.next().await {
        let Some((number, reply)) = protocol::reply(line) else { continue };
        let waiter = lock(&waiters).as_mut().and_then(|waiting| waiting.remove(&number));
        if let Some(waiter) = waiter {
            // A session that is gone meanwhile needs no answer.
            let _ = waiter.send(reply);
        }
    }
    lock(&waiters).take();
}

async fn write<W: AsyncWrite + Unpin>(mut writer: W, mut lines: mpsc::Receiver<String>, waiters: Waiters) {
    while let Some(line) = lines.recv().await {
        if writer.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    lock(&waiters).take();
}

/// Lines of bounded length.
struct Lines<R> {
    reader: R,
    bytes: Vec<u8>,
    start: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The next one, without its end; `None` at the end, and when a line is too long.
    async fn next(&mut self) -> Option<&[u8]> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.bytes[self.start..]) {
                let line = self.start..self.start + length;
                self.start = line.end + 1;
                return Some(&self.bytes[line]);
            }
            self.bytes.drain(..self.start);
            self.start = 0;
            if self.bytes.len() > LINE_LIMIT || !matches!(self.reader.read_buf(&mut self.bytes).await, Ok(1..)) {
                return None;
            }
        }
    }
}
