//! A delivery request, the agent that serves it, and what comes of it.

use super::config::{Agent, Transport};
use super::mailbox;
use super::outcome::{Outcome, Times};
use super::smtp_agent::SmtpDelivery;
use super::{DeliverConfig, Surroundings};
use crate::clock;
use queue::{Message, QueueId};
use smtp::client::ClientSession;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Recipients of one message that go the same way.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub id: QueueId,
    pub message: Message,
    pub transport: Arc<Transport>,
    pub nexthop: String,
    /// Transport and next hop: what concurrency is counted by.
    pub destination: Arc<str>,
    /// Index in the envelope, and the address as resolved.
    pub recipients: Vec<(usize, String)>,
    /// When the queue manager took the message up.
    pub active: i64,
    /// Nothing is to be delivered: would it be?
    pub is_probe: bool,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// One for each recipient of the request.
    outcomes: Vec<Option<Outcome>>,
    pub times: Times,
    /// Nobody there: status code and reason.
    pub dead: Option<(String, String)>,
    /// Sessions that the postmaster wants to know about.
    pub transcripts: Vec<Transcript>,
}

/// What was said in a session with a server that doesn't follow the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transcript {
    /// `SMTP` or `LMTP`.
    pub protocol: &'static str,
    /// `name[address]:port`.
    pub server: String,
    pub text: String,
}

impl Attempt {
    pub fn new(request: &Request) -> Self {
        let agent = now();
        let times =
            Times { arrival: request.message.envelope.arrival, active: request.active, agent, ..Times::default() };
        Attempt { outcomes: vec![None; request.recipients.len()], times, dead: None, transcripts: Vec::new() }
    }

    /// The same for all recipients.
    pub fn all(request: &Request, outcome: &Outcome) -> Self {
        let mut attempt = Self::new(request);
        attempt.rest(outcome);
        attempt
    }

    pub fn set(&mut self, at: usize, outcome: Outcome) {
        if let Some(slot) = self.outcomes.get_mut(at) {
            *slot = Some(outcome);
        }
    }

    /// For those without a result.
    pub fn rest(&mut self, outcome: &Outcome) {
        for slot in self.outcomes.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(outcome.clone());
        }
    }

    /// Positions without a result.
    pub fn open(&self) -> Vec<usize> {
        (0..self.outcomes.len()).filter(|at| self.outcomes[*at].is_none()).collect()
    }

    pub fn is_complete(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    pub fn outcomes(&self) -> impl Iterator<Item = Option<&Outcome>> {
        self.outcomes.iter().map(Option::as_ref)
    }

    /// A connection is ready, for its `uses`-th time.
    pub fn connected(&mut self, uses: u32) {
        self.times.connected = now();
        self.times.uses = uses;
    }
}

/// Unix microseconds.
pub(super) fn now() -> i64 {
    i64::try_from(clock::unix_micros()).unwrap_or(i64::MAX)
}

/// A connection to a server.
pub(super) struct Connection {
    pub stream: Stream,
    pub session: ClientSession,
    /// `name[address]:port`.
    pub relay: String,
    pub uses: u32,
    /// `SMTP` or `LMTP`.
    pub protocol: &'static str,
}

impl Connection {
    /// The session, if the postmaster is to see it.
    pub fn transcript(&mut self) -> Option<Transcript> {
        let text = self.session.transcript()?;
        Some(Transcript { protocol: self.protocol, server: self.relay.clone(), text })
    }
}

pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer).await,
            Stream::Unix(stream) => stream.read(buffer).await,
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes).await,
            Stream::Unix(stream) => stream.write(bytes).await,
        }
    }

    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Unix(stream) => stream.write_all(bytes).await,
        }
    }
}

/// Serves a request. A connection that can be used again stays in `connection`.
pub(super) async fn serve(
    config: &DeliverConfig,
    surroundings: &Surroundings,
    request: &Request,
    connection: &mut Option<Connection>,
) -> Attempt {
    let transport = &request.transport;
    match &transport.agent {
        Agent::Smtp(settings) => {
            SmtpDelivery { config, surroundings, settings, tag: &transport.tag, request }.run(connection).await
        }
        Agent::Local(settings) => mailbox::local(settings, surroundings, &transport.tag, request).await,
        Agent::Virtual(settings) => mailbox::virtual_mailbox(settings, surroundings, &transport.tag, request).await,
        Agent::Discard => {
            let text = if request.nexthop.is_empty() { "discarded" } else { &request.nexthop };
            Attempt::all(request, &Outcome::delivered(text, "none"))
        }
        Agent::Error => {
            let (dsn, text) = split_dsn(&request.nexthop, '5');
            Attempt::all(request, &Outcome::bounced(&dsn, text, "none"))
        }
        Agent::Retry => {
            let (dsn, text) = split_dsn(&request.nexthop, '4');
            Attempt::all(request, &Outcome::deferred(&dsn, text, "none"))
        }
        Agent::Unsupported(command) => {
            let text = format!("mail transport unavailable: {command} is not supported");
            Attempt::all(request, &Outcome::deferred("4.3.0", text, "none"))
        }
    }
}

/// Status code and text of an error(8) next hop; the code gets the class that the agent stands for.
fn split_dsn(text: &str, class: char) -> (String, String) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let parts: Vec<&str> = word.split('.').collect();
    let is_code = parts.len() == 3
        && matches!(parts[0], "2" | "4" | "5")
        && parts.iter().all(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    if is_code {
        (format!("{class}.{}.{}", parts[1], parts[2]), rest.trim_start().to_owned())
    } else {
        (format!("{class}.0.0"), text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_next_hops() {
        for (text, class, dsn, rest) in [
            ("5.1.2 this domain is gone", '5', "5.1.2", "this domain is gone"),
            ("this domain is gone", '5', "5.0.0", "this domain is gone"),
            ("4.3.2 try later", '4', "4.3.2", "try later"),
            ("5.3.2 mixed", '4', "4.3.2", "mixed"),
            ("5.1 short", '5', "5.0.0", "5.1 short"),
        ] {
            assert_eq!(split_dsn(text, class), (dsn.to_owned(), rest.to_owned()), "{text}");
        }
    }
}
