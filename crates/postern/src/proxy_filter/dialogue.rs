//! One connection to a before-queue filter: for one message, bounded in time, one command after the other.

use super::{ProxyFilter, WRITE_ERROR};
use crate::dns::Resolver;
use crate::policy_service::{Stream, connect};
use smtp::proxy::{ForwardedClient, Piece, ProxyReply, ProxyReplyReader, XforwardNames};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// More than this of a reply is not read at once.
const READ_SIZE: usize = 2048;
/// So many lines of garbage, then nothing more is expected of the next hop.
const GARBAGE_LIMIT: u32 = 100;

/// Where warnings go.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// What the class of a reply has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// 2xx
    Ok,
    /// 3xx
    More,
}

/// A conversation with the next hop, from its greeting on. Dropped between commands, it says QUIT if that is possible at
/// once.
pub struct Dialogue {
    filter: Arc<ProxyFilter>,
    stream: Stream,
    reader: ProxyReplyReader,
    /// What came behind a reply.
    unread: Vec<u8>,
    warn: Warn,
    /// The right to be connected, for as long.
    _slot: OwnedSemaphorePermit,
    /// No use to talk any more.
    is_broken: bool,
    /// Between DATA and the end of the message.
    is_in_content: bool,
}

/// The next hop was lost, or took too long: the log has it.
#[derive(Debug)]
struct Lost;

impl Dialogue {
    /// Connect, greet, tell who the client is and who the sender.
    ///
    /// # Errors
    /// What the client hears: the next hop's refusal of the sender as it is, a general one for everything else.
    pub async fn open(
        filter: &Arc<ProxyFilter>,
        resolver: &Arc<Resolver>,
        warn: &Warn,
        client: &ForwardedClient,
        mail: &str,
    ) -> Result<Self, String> {
        let generic = || WRITE_ERROR.to_owned();
        let slot = timeout(filter.timeout, Arc::clone(&filter.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else {
            let why = "all connections are in use (postern_proxy_filter_connection_limit)";
            warn(&format!("connect to proxy filter {}: {why}", filter.name));
            return Err(generic());
        };
        let stream = match timeout(filter.timeout, connect(&filter.endpoint, resolver)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(failure)) => Err(failure.why),
            Err(_) => Err("Connection timed out".to_owned()),
        };
        let stream = stream.map_err(|why| {
            warn(&format!("connect to proxy filter {}: {why}", filter.name));
            generic()
        })?;
        let mut this = Self {
            filter: Arc::clone(filter),
            stream,
            reader: ProxyReplyReader::default(),
            unread: Vec::new(),
            warn: Arc::clone(warn),
            _slot: slot,
            is_broken: false,
            is_in_content: false,
        };
        let greeting = this.reply().await.map_err(|Lost| generic())?;
        this.judge("connection request", &greeting, Want::Ok).map_err(|_| generic())?;
        let ehlo = format!("{} {}", if filter.lmtp { "LHLO" } else { "EHLO" }, filter.ehlo);
        let offer = this.command(&ehlo, Want::Ok).await.map_err(|_| generic())?;
        for command in client.commands(XforwardNames::announced(&offer)) {
            this.command(&command, Want::Ok).await.map_err(|_| generic())?;
        }
        this.command(mail, Want::Ok).await?;
        Ok(this)
    }

    /// Send a command and wait for its reply.
    ///
    /// # Errors
    /// What the client hears: a refusal as it is, a general one for everything else.
    pub async fn command(&mut self, command: &str, want: Want) -> Result<ProxyReply, String> {
        if self.is_broken {
            return Err(WRITE_ERROR.to_owned());
        }
        let line = format!("{command}\r\n");
        let exchange = async {
            self.send(line.as_bytes()).await?;
            self.reply().await
        };
        let reply = exchange.await.map_err(|Lost| WRITE_ERROR.to_owned())?;
        self.judge(command, &reply, want)?;
        Ok(reply)
    }

    /// DATA.
    ///
    /// # Errors
    /// As with other commands.
    pub async fn data(&mut self) -> Result<(), String> {
        self.command("DATA", Want::More).await?;
        self.is_in_content = true;
        Ok(())
    }

    /// Part of the content, as it goes over the wire.
    ///
    /// # Errors
    /// What the client hears.
    pub async fn content(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.is_broken {
            return Err(WRITE_ERROR.to_owned());
        }
        self.send(bytes).await.map_err(|Lost| WRITE_ERROR.to_owned())
    }

    /// The last of the content, with the dot behind it; the next hop's reply, whatever it is.
    ///
    /// # Errors
    /// What the client hears when there is none.
    pub async fn end(&mut self, bytes: &[u8]) -> Result<ProxyReply, String> {
        let generic = || WRITE_ERROR.to_owned();
        if self.is_broken {
            return Err(generic());
        }
        // A reply before the end can be a refusal, never an acceptance.
        if self.has_spoken() {
            let early = self.reply().await.map_err(|Lost| generic())?;
            self.is_broken = true;
            let refuses = matches!(early.class(), Some(4 | 5));
            let shown = early.for_log();
            self.warn(&format!("proxy {} replied before the end of the message: \"{shown}\"", self.filter.name));
            return if refuses { Ok(early) } else { Err(generic()) };
        }
        let exchange = async {
            self.send(bytes).await?;
            self.reply().await
        };
        let reply = exchange.await.map_err(|Lost| generic())?;
        self.is_in_content = false;
        if reply.class().is_none() {
            self.is_broken = true;
            return Err(generic());
        }
        Ok(reply)
    }

    /// A reply that is not the one wanted is logged; a refusal is what the client hears.
    fn judge(&mut self, command: &str, reply: &ProxyReply, want: Want) -> Result<(), String> {
        let class = reply.class();
        if class == Some(if want == Want::Ok { 2 } else { 3 }) {
            return Ok(());
        }
        let name = &self.filter.name;
        self.warn(&format!("proxy {name} rejected \"{command}\": \"{}\"", reply.for_log()));
        match class {
            Some(4 | 5) => Err(reply.for_client()),
            _ => Err(WRITE_ERROR.to_owned()),
        }
    }

    /// Has something come that nobody asked for?
    fn has_spoken(&mut self) -> bool {
        if self.unread.is_empty() && !self.reader.is_in_the_middle() {
            let mut buffer = [0; READ_SIZE];
            let read = match &self.stream {
                Stream::Tcp(stream) => stream.try_read(&mut buffer),
                Stream::Unix(stream) => stream.try_read(&mut buffer),
            };
            if let Ok(count) = read {
                self.unread.extend_from_slice(&buffer[..count]);
            }
        }
        !self.unread.is_empty() || self.reader.is_in_the_middle()
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let limit = self.filter.timeout;
        let sent = match &mut self.stream {
            Stream::Tcp(stream) => timeout(limit, stream.write_all(bytes)).await,
            Stream::Unix(stream) => timeout(limit, stream.write_all(bytes)).await,
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.lost()),
            Err(_) => Err(self.timed_out()),
        }
    }

    /// The next reply, within the time that a reply may take.
    async fn reply(&mut self) -> Result<ProxyReply, Lost> {
        match timeout(self.filter.timeout, self.read_reply()).await {
            Ok(reply) => reply,
            Err(_) => Err(self.timed_out()),
        }
    }

    async fn read_reply(&mut self) -> Result<ProxyReply, Lost> {
        let mut garbage = 0;
        loop {
            if self.unread.is_empty() {
                let mut buffer = [0; READ_SIZE];
                let read = match &mut self.stream {
                    Stream::Tcp(stream) => stream.read(&mut buffer).await,
                    Stream::Unix(stream) => stream.read(&mut buffer).await,
                };
                match read {
                    Ok(count @ 1..) => self.unread.extend_from_slice(&buffer[..count]),
                    _ => return Err(self.lost()),
                }
            }
            let (taken, piece) = self.reader.read(&self.unread);
            self.unread.drain(..taken);
            match piece {
                Piece::Incomplete => {}
                Piece::Garbage(line) => {
                    garbage += 1;
                    if garbage > GARBAGE_LIMIT {
                        return Err(self.lost());
                    }
                    self.warn(&format!("received garbage from proxy {}: {line}", self.filter.name));
                }
                Piece::Reply(reply) => return Ok(reply),
            }
        }
    }

    fn lost(&mut self) -> Lost {
        self.is_broken = true;
        self.warn(&format!("lost connection with proxy {}", self.filter.name));
        Lost
    }

    fn timed_out(&mut self) -> Lost {
        self.is_broken = true;
        self.warn(&format!("timeout talking to proxy {}", self.filter.name));
        Lost
    }

    fn warn(&self, text: &str) {
        (self.warn)(text);
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        if !self.is_broken && !self.is_in_content {
            // Nobody waits for the answer, and the connection is closed in any case.
            let _ = match &self.stream {
                Stream::Tcp(stream) => stream.try_write(b"QUIT\r\n"),
                Stream::Unix(stream) => stream.try_write(b"QUIT\r\n"),
            };
        }
    }
}
