//! smtp(8) and lmtp(8): mail to another server.

use super::agent::{Attempt, Connection, Request, Stream, Transcript};
use super::config::SmtpSettings;
use super::destination::{Nexthop, Target, resolve};
use super::outcome::{Outcome, Status};
use super::{DeliverConfig, Surroundings};
use crate::clock;
use queue::{Content, ContentSource, Notify, Ret};
use smtp::client::{ClientEvent, ClientSession, Failure, Transaction, TransactionRecipient};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpSocket, UnixStream};

/// Large content is read in pieces of this size; also a limit to what waits to be sent.
const PIECE: usize = 64 * 1024;

/// A delivery under way.
pub(super) struct SmtpDelivery<'a> {
    pub config: &'a DeliverConfig,
    pub surroundings: &'a Surroundings,
    pub settings: &'a SmtpSettings,
    pub tag: &'a str,
    pub request: &'a Request,
}

/// A place to connect to, and how log lines name it.
enum Place {
    Net(Target),
    Unix(std::path::PathBuf),
}

impl SmtpDelivery<'_> {
    /// Delivers, over the connection left from the request before if that still works.
    pub async fn run(&self, connection: &mut Option<Connection>) -> Attempt {
        let mut attempt = Attempt::new(self.request);
        let mut last = None;
        if self.needs_tls() {
            let reason = "REQUIRETLS was requested, but this system does not send with TLS";
            attempt.rest(&Outcome::failed(&Failure::permanent("5.7.30", reason), "none", None));
            return attempt;
        }
        if let Some(mut kept) = connection.take() {
            // A server that hung up meanwhile is no failure.
            match self.over(&mut kept, &mut attempt, false, &mut last).await {
                true => *connection = Some(kept),
                false => attempt.transcripts.extend(kept.transcript()),
            }
            if attempt.is_complete() {
                return attempt;
            }
        }
        let hops: Vec<&str> = self.request.nexthop.split([',', ' ']).filter(|h| !h.is_empty()).collect();
        let fallback = self.settings.fallback_relay.iter().map(String::as_str);
        let hops: Vec<&str> = hops.into_iter().chain(fallback).collect();
        for (at, hop) in hops.iter().enumerate() {
            let final_hop = at + 1 == hops.len();
            if let Some(kept) = self.hop(hop, final_hop, &mut attempt, &mut last).await {
                *connection = Some(kept);
            }
            if attempt.is_complete() || last.as_ref().is_some_and(|(f, _): &(Failure, String)| f.permanent) {
                break;
            }
        }
        let none = || (Failure::temporary("4.4.4", "no next hop"), "none".to_owned());
        let (failure, relay) = last.unwrap_or_else(none);
        if !attempt.is_complete() && failure.site {
            attempt.dead = Some((failure.dsn.clone(), failure.reason.clone()));
        }
        attempt.rest(&Outcome::failed(&failure, &relay, relay.split('[').next()));
        attempt
    }

    /// Would the message leave in the clear, although it must not? As `smtp_requiretls_policy` is by default, servers
    /// named by address and those of `mydomain` get it all the same.
    fn needs_tls(&self) -> bool {
        let mut hops = self.request.nexthop.split([',', ' ']).filter(|hop| !hop.is_empty());
        let mydomain = &self.config.mydomain;
        self.request.message.envelope.requiretls
            && hops.any(|hop| match Nexthop::parse(hop, self.settings) {
                Ok(Nexthop::Net { name, .. }) => {
                    let is_below = || name.strip_suffix(mydomain.as_str()).is_some_and(|head| head.ends_with('.'));
                    name.parse::<IpAddr>().is_err() && name != "localhost" && name != *mydomain && !is_below()
                }
                _ => false,
            })
    }

    fn log(&self, text: String) {
        (self.surroundings.log)(self.tag, text);
    }

    /// Tries the servers of one next hop.
    async fn hop(
        &self,
        hop: &str,
        final_hop: bool,
        attempt: &mut Attempt,
        last: &mut Option<(Failure, String)>,
    ) -> Option<Connection> {
        let none = "none".to_owned();
        let nexthop = match Nexthop::parse(hop, self.settings) {
            Ok(nexthop) => nexthop,
            Err(failure) => {
                self.log(format!("warning: {}", failure.reason));
                *last = Some((failure, none));
                return None;
            }
        };
        let mut warnings = Vec::new();
        let own = &self.config.own_addresses;
        let found = resolve(&nexthop, self.settings, &*self.surroundings.resolver, own, &mut warnings).await;
        warnings.into_iter().for_each(|warning| self.log(format!("warning: {warning}")));
        let places: Vec<Place> = match (found, &nexthop) {
            (Err(failure), _) => {
                // Another next hop may do better, unless this is the last word.
                let failure =
                    if final_hop || failure.dsn != "5.4.4" { failure } else { Failure { permanent: false, ..failure } };
                *last = Some((failure, none));
                return None;
            }
            (Ok(_), Nexthop::Unix(path)) => vec![Place::Unix(path.clone())],
            (Ok(targets), Nexthop::Net { .. }) => targets.into_iter().map(Place::Net).collect(),
        };
        let loops = matches!(&nexthop, Nexthop::Net { default_port: true, .. });
        let mut sessions = 0;
        for (at, place) in places.iter().enumerate() {
            let (name, connected) = self.connect(place).await;
            let stream = match connected {
                Ok(stream) => stream,
                Err(reason) => {
                    let reason = format!("connect to {name}: {reason}");
                    self.log(reason.clone());
                    *last = Some((Failure::temporary("4.4.1", reason).of_site(), none.clone()));
                    continue;
                }
            };
            sessions += 1;
            let exhausted = self.settings.mx_session_limit > 0 && sessions >= self.settings.mx_session_limit;
            let final_server = final_hop && (at + 1 == places.len() || exhausted);
            let peer = name.rsplit_once("]:").map_or(name.clone(), |(peer, _)| format!("{peer}]"));
            let session = ClientSession::new(self.settings.client.clone(), peer, clock::now_ms());
            let protocol = if self.settings.lmtp { "LMTP" } else { "SMTP" };
            let mut connection = Connection { stream, session, relay: name.clone(), uses: 0, protocol };
            match self.handshake(&mut connection, loops, hop).await {
                Ok(()) => {
                    let usable = self.over(&mut connection, attempt, final_server, last).await;
                    if attempt.is_complete() && usable {
                        return Some(connection);
                    }
                    let transcript = if usable { connection.quit().await } else { connection.transcript() };
                    attempt.transcripts.extend(transcript);
                    if attempt.is_complete() {
                        return None;
                    }
                }
                Err(failure) => {
                    attempt.transcripts.extend(connection.transcript());
                    let permanent = failure.permanent;
                    if !final_server && !permanent {
                        self.log(format!("{}: {}", self.request.id, failure.reason));
                    }
                    *last = Some((failure, name));
                    if permanent {
                        return None;
                    }
                }
            }
            if exhausted {
                break;
            }
        }
        None
    }

    /// Connects; also tells how log lines name the server.
    async fn connect(&self, place: &Place) -> (String, Result<Stream, String>) {
        let limit = match self.settings.connect_timeout {
            Duration::ZERO => Duration::from_secs(3600),
            limit => limit,
        };
        let (name, connected) = match place {
            Place::Net(target) => {
                let name = format!("{}[{}]:{}", target.host, target.address, target.port);
                (name, tokio::time::timeout(limit, self.connect_net(target)).await)
            }
            Place::Unix(path) => {
                let name = format!("{}[{}]", self.config.myhostname, path.display());
                let path = self.config.queue_directory.join(path);
                (name, tokio::time::timeout(limit, connect_unix(&path)).await)
            }
        };
        let result = match connected {
            Err(_) => Err("Connection timed out".to_owned()),
            Ok(Err(error)) => Err(error_text(&error)),
            Ok(Ok(stream)) => Ok(stream),
        };
        (name, result)
    }

    async fn connect_net(&self, target: &Target) -> io::Result<Stream> {
        let (socket, bind) = match target.address {
            IpAddr::V4(_) => (TcpSocket::new_v4()?, self.settings.bind_address),
            IpAddr::V6(_) => (TcpSocket::new_v6()?, self.settings.bind_address6),
        };
        if let Some(address) = bind.filter(|a| a.is_ipv4() == target.address.is_ipv4()) {
            socket.bind(SocketAddr::new(address, 0))?;
        }
        let stream = socket.connect(SocketAddr::new(target.address, target.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Stream::Tcp(stream))
    }

    /// Greeting and EHLO.
    async fn handshake(&self, connection: &mut Connection, loops: bool, hop: &str) -> Result<(), Failure> {
        loop {
            while let Some(event) = connection.session.poll() {
                match event {
                    ClientEvent::Ready => {
                        let ours = &self.config.myhostname;
                        if loops && connection.session.server_name().eq_ignore_ascii_case(ours) {
                            self.log(format!(
                                "warning: host {} replied to HELO/EHLO with my own hostname {ours}",
                                connection.peer()
                            ));
                            return Err(Failure::permanent("5.4.6", format!("mail for {hop} loops back to myself")));
                        }
                        return Ok(());
                    }
                    ClientEvent::Failed(failure) => return Err(failure),
                    ClientEvent::Closed => {
                        let reason = format!("lost connection with {}", connection.peer());
                        return Err(Failure::temporary("4.4.2", reason).of_site());
                    }
                    ClientEvent::SendContent | ClientEvent::Finished(_) => {}
                }
            }
            connection.step().await;
        }
    }

    /// One transaction over a connection, for the recipients without a result. Is the connection good for more?
    async fn over(
        &self,
        connection: &mut Connection,
        attempt: &mut Attempt,
        final_server: bool,
        last: &mut Option<(Failure, String)>,
    ) -> bool {
        let open = attempt.open();
        connection.uses += 1;
        let fresh = connection.uses == 1;
        attempt.connected(connection.uses);
        let transaction = self.transaction(&open);
        connection.session.start(clock::now_ms(), &transaction);
        let mut reader = None;
        let mut finished = false;
        loop {
            while let Some(event) = connection.session.poll() {
                match event {
                    ClientEvent::SendContent => match self.open_content() {
                        Ok(content) => reader = Some(content),
                        Err(reason) => {
                            // Closing now keeps the server from taking half a message.
                            self.log(format!("warning: {}: {reason}", self.request.id));
                            *last = Some((Failure::temporary("4.3.0", "mail system error"), "none".into()));
                            return false;
                        }
                    },
                    ClientEvent::Finished(results) => {
                        finished = true;
                        for (index, result) in open.iter().zip(results) {
                            let outcome = self.judge(result, connection, last);
                            if outcome.status != Status::Deferred || final_server {
                                attempt.set(*index, outcome);
                            } else if fresh {
                                self.log(format!("{}: {}", self.request.id, outcome.reason));
                            }
                        }
                    }
                    ClientEvent::Ready if finished => return true,
                    ClientEvent::Closed => return false,
                    ClientEvent::Ready | ClientEvent::Failed(_) => {}
                }
            }
            if let Some(source) = &mut reader
                && connection.session.output().len() < PIECE
            {
                match source.next_piece() {
                    Ok([]) => {
                        connection.session.end_content();
                        reader = None;
                    }
                    Ok(piece) => connection.session.content(piece),
                    Err(error) => {
                        self.log(format!("warning: {}: read content: {error}", self.request.id));
                        *last = Some((Failure::temporary("4.3.0", "mail system error"), "none".into()));
                        return false;
                    }
                }
            }
            connection.step().await;
        }
    }

    fn judge(
        &self,
        result: Result<String, Failure>,
        connection: &Connection,
        last: &mut Option<(Failure, String)>,
    ) -> Outcome {
        let host = connection.relay.split('[').next();
        match result {
            Ok(reply) => {
                let capable = connection.session.capabilities().dsn;
                let dsn = reply.split(' ').nth(1).filter(|w| w.starts_with("2.")).unwrap_or("2.0.0").to_owned();
                Outcome {
                    status: Status::Sent,
                    dsn,
                    reason: reply.clone(),
                    relay: connection.relay.clone(),
                    remote_mta: host.map(str::to_owned),
                    reply: Some(reply),
                    action: if capable { "" } else { "relayed" },
                }
            }
            Err(failure) => {
                let outcome = Outcome::failed(&failure, &connection.relay, host);
                // One recipient's refusal must not become the reason of others that wait for the next server.
                if !failure.permanent {
                    *last = Some((failure, connection.relay.clone()));
                }
                outcome
            }
        }
    }

    fn transaction(&self, open: &[usize]) -> Transaction {
        let envelope = &self.request.message.envelope;
        let recipient = |at: &usize| {
            let (index, address) = &self.request.recipients[*at];
            let recipient = &envelope.recipients[*index];
            let original = || {
                let address = recipient.orig_to.as_deref().unwrap_or(&recipient.address);
                format!("{};{address}", if address.is_ascii() { "rfc822" } else { "utf-8" })
            };
            TransactionRecipient {
                address: address.clone(),
                notify: notify_text(recipient.notify),
                orcpt: Some(recipient.orcpt.clone().unwrap_or_else(original)),
            }
        };
        Transaction {
            probe: self.request.is_probe.then_some(self.settings.probe_target),
            sender: envelope.sender.clone(),
            recipients: open.iter().map(recipient).collect(),
            size: envelope.size,
            body: envelope.body,
            smtputf8: envelope.smtputf8,
            utf8_header: envelope.utf8_header,
            ret: envelope.ret.map(|ret| if ret == Ret::Full { "FULL" } else { "HDRS" }),
            envid: envelope.envid.clone(),
        }
    }

    fn open_content(&self) -> Result<ContentReader, String> {
        if let Content::Memory(bytes) = &self.request.message.content {
            return Ok(ContentReader::new(ContentSource::Memory(bytes.clone())));
        }
        self.surroundings.spool.content(self.request.id).map(ContentReader::new).map_err(|error| error.to_string())
    }
}

async fn connect_unix(path: &Path) -> io::Result<Stream> {
    UnixStream::connect(path).await.map(Stream::Unix)
}

/// The system's words, without Rust's number behind them.
pub(super) fn error_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

fn notify_text(notify: Notify) -> String {
    let words = [
        (Notify::NEVER, "NEVER"),
        (Notify::SUCCESS, "SUCCESS"),
        (Notify::FAILURE, "FAILURE"),
        (Notify::DELAY, "DELAY"),
    ];
    let set: Vec<&str> = words.into_iter().filter(|(flag, _)| notify.contains(*flag)).map(|(_, word)| word).collect();
    set.join(",")
}

/// Content, piece by piece.
struct ContentReader {
    source: ContentSource,
    at: usize,
    buffer: Vec<u8>,
}

impl ContentReader {
    fn new(source: ContentSource) -> Self {
        ContentReader { source, at: 0, buffer: Vec::new() }
    }

    /// The next piece; empty at the end.
    fn next_piece(&mut self) -> io::Result<&[u8]> {
        match &mut self.source {
            ContentSource::Memory(bytes) => {
                let end = bytes.len().min(self.at + PIECE);
                let start = std::mem::replace(&mut self.at, end);
                Ok(&bytes[start..end])
            }
            ContentSource::File(file, _) => {
                self.buffer.resize(PIECE, 0);
                let read = file.read(&mut self.buffer)?;
                Ok(&self.buffer[..read])
            }
        }
    }
}

impl Connection {
    /// `name[address]`.
    fn peer(&self) -> &str {
        self.relay.rsplit_once(':').filter(|(peer, _)| peer.ends_with(']')).map_or(&self.relay, |(peer, _)| peer)
    }

    /// Sends what there is to send, or waits for the server to say something.
    async fn step(&mut self) {
        let due = self.session.poll_timeout().unwrap_or(u64::MAX);
        let wait = Duration::from_millis(due.saturating_sub(clock::now_ms()));
        if !self.session.output().is_empty() {
            let sent = tokio::time::timeout(wait, self.stream.write(self.session.output())).await;
            return match sent {
                Ok(Ok(count)) if count > 0 => self.session.sent(clock::now_ms(), count),
                Ok(_) => self.session.connection_lost(),
                Err(_) => self.session.handle_timeout(due),
            };
        }
        let mut buffer = [0; 4096];
        match tokio::time::timeout(wait, self.stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => self.session.receive(clock::now_ms(), &buffer[..count]),
            Ok(_) => self.session.connection_lost(),
            Err(_) => self.session.handle_timeout(due),
        }
    }

    /// Says QUIT and hangs up without waiting for the reply (`smtp_skip_quit_response`). Gives the session's
    /// transcript, if the postmaster is to see it.
    pub async fn quit(mut self) -> Option<Transcript> {
        self.session.quit(clock::now_ms());
        let output = self.session.output().to_vec();
        // The mail is delivered; whatever goes wrong here does no harm.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.stream.write_all(&output)).await;
        self.transcript()
    }
}
