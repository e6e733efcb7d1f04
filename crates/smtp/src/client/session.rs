//! The session itself.

mod answers;

use super::capabilities::Capabilities;
use super::content::ContentEncoder;
use super::failure::Failure;
use super::reply::{Nonsense, ReplyReader, ServerReply};
use super::{ClientSettings, ProbeTarget, Transaction, envelope};
use crate::history::History;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What the driver is to do, or is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server is ready for a transaction: call `start`, or `quit`.
    Ready,
    /// The server takes the content: call `content` with all of it, then `end_content`.
    SendContent,
    /// The transaction is over. One result for each recipient, in their order: the server's final reply, or why not.
    /// A `Ready` follows if the session can be used again.
    Finished(Vec<Result<String, Failure>>),
    /// No transaction is possible.
    Failed(Failure),
    /// The session is over: close the connection.
    Closed,
}

/// A reply that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Greeting,
    Ehlo,
    Helo,
    Lhlo,
    Rset,
    Mail,
    Rcpt(usize),
    Data,
    /// The end of the content; in LMTP the reply for one recipient.
    Dot(Option<usize>),
    /// The end of an empty message that nobody is to get.
    EmptyDot,
    Quit,
}

impl Expected {
    /// As in "while …".
    fn activity(self) -> &'static str {
        match self {
            Expected::Greeting => "receiving the initial server greeting",
            Expected::Ehlo => "performing the EHLO handshake",
            Expected::Helo => "performing the HELO handshake",
            Expected::Lhlo => "performing the LHLO handshake",
            Expected::Rset => "sending RSET",
            Expected::Mail => "sending MAIL FROM",
            Expected::Rcpt(_) => "sending RCPT TO",
            Expected::Data => "sending DATA command",
            Expected::Dot(_) | Expected::EmptyDot => "sending end of data -- message may be sent more than once",
            Expected::Quit => "sending QUIT command",
        }
    }
}

/// The transaction under way.
#[derive(Debug)]
struct Current {
    results: Vec<Option<Result<String, Failure>>>,
    accepted: Vec<usize>,
    /// MAIL was refused.
    refused: bool,
    /// DATA is sent once all recipients are answered, if any was accepted.
    data_due: bool,
    sending_content: bool,
    /// Nothing is delivered.
    probe: Option<ProbeTarget>,
}

/// An SMTP or LMTP client session. Times are milliseconds.
#[derive(Debug)]
pub struct ClientSession {
    pub(super) settings: Arc<ClientSettings>,
    /// `name[address]`.
    peer: String,
    reader: ReplyReader,
    output: Vec<u8>,
    expected: VecDeque<Expected>,
    /// Commands held back: the server offers no pipelining.
    held: VecDeque<(Expected, String)>,
    events: VecDeque<ClientEvent>,
    current: Option<Current>,
    encoder: ContentEncoder,
    capabilities: Capabilities,
    server_name: String,
    /// When there was progress last.
    progress: u64,
    /// The handshake is done.
    established: bool,
    /// The next transaction starts with RSET.
    dirty: bool,
    /// A 421 came, or nonsense: not to be used again.
    spent: bool,
    closed: bool,
    pub(super) history: History,
    /// The server doesn't follow the protocol, or says that we don't.
    pub(super) odd: bool,
}

impl ClientSession {
    /// A session over a new connection to `peer` (`name[address]`), waiting for the greeting.
    pub fn new(settings: Arc<ClientSettings>, peer: impl Into<String>, now: u64) -> Self {
        ClientSession {
            encoder: ContentEncoder::new(settings.line_length_limit),
            settings,
            peer: peer.into(),
            reader: ReplyReader::default(),
            output: Vec::new(),
            expected: VecDeque::from([Expected::Greeting]),
            held: VecDeque::new(),
            events: VecDeque::new(),
            current: None,
            capabilities: Capabilities::default(),
            server_name: String::new(),
            progress: now,
            established: false,
            dirty: false,
            spent: false,
            closed: false,
            history: History::default(),
            odd: false,
        }
    }

    /// What happened, until there is nothing more.
    pub fn poll(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Bytes to send.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// The first `count` bytes of the output were sent.
    pub fn sent(&mut self, now: u64, count: usize) {
        self.output.drain(..count.min(self.output.len()));
        self.progress = now;
    }

    /// What the server offers.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What the server calls itself in its reply to EHLO or HELO.
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// When to call [`ClientSession::handle_timeout`]; `None` while nothing is awaited.
    pub fn poll_timeout(&self) -> Option<u64> {
        let limit = self.time_limit()?;
        // No limit is a long one.
        let limit = if limit.is_zero() { u64::from(u32::MAX) } else { limit.as_millis() as u64 };
        Some(self.progress.saturating_add(limit))
    }

    fn time_limit(&self) -> Option<Duration> {
        let s = &self.settings;
        if self.closed {
            return None;
        }
        if self.is_sending_content() {
            return Some(s.data_xfer_timeout);
        }
        Some(match self.expected.front()? {
            Expected::Greeting | Expected::Ehlo | Expected::Helo | Expected::Lhlo => s.helo_timeout,
            Expected::Rset => s.rset_timeout,
            Expected::Mail => s.mail_timeout,
            Expected::Rcpt(_) => s.rcpt_timeout,
            Expected::Data => s.data_init_timeout,
            Expected::Dot(_) | Expected::EmptyDot if !self.output.is_empty() => s.data_xfer_timeout,
            Expected::Dot(_) | Expected::EmptyDot => s.data_done_timeout,
            Expected::Quit => s.quit_timeout,
        })
    }

    fn is_sending_content(&self) -> bool {
        self.current.as_ref().is_some_and(|c| c.sending_content)
    }

    fn activity(&self) -> &'static str {
        match self.expected.front() {
            _ if self.is_sending_content() => "sending message body",
            Some(expected) => expected.activity(),
            None => "sending MAIL FROM",
        }
    }

    /// Time passed: if too much of it, the conversation is over.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.poll_timeout().is_some_and(|due| now >= due) {
            let reason = format!("conversation with {} timed out while {}", self.peer, self.activity());
            self.fail(Failure::temporary("4.4.2", reason).of_site());
        }
    }

    /// The server closed the connection, or it broke.
    pub fn connection_lost(&mut self) {
        let reason = format!("lost connection with {} while {}", self.peer, self.activity());
        self.fail(Failure::temporary("4.4.2", reason).of_site());
    }

    /// Bytes from the server.
    pub fn receive(&mut self, now: u64, mut bytes: &[u8]) {
        self.progress = now;
        while !bytes.is_empty() && !self.closed {
            match self.reader.read(bytes) {
                Ok((taken, reply)) => {
                    bytes = &bytes[taken..];
                    if let Some(reply) = reply {
                        for line in &reply.lines {
                            self.note("In:  ", line);
                        }
                        self.reply(&reply);
                    }
                }
                Err(Nonsense(line)) => {
                    self.note("In:  ", &line);
                    self.odd = true;
                    let reason = format!("{} sent something that is not a reply while {}", self.peer, self.activity());
                    return self.fail(Failure::temporary("4.5.0", reason).of_site());
                }
            }
        }
    }

    /// Starts a transaction. Only after `Ready`.
    pub fn start(&mut self, now: u64, transaction: &Transaction) {
        if self.closed || self.current.is_some() {
            return;
        }
        self.progress = now;
        let count = transaction.recipients.len();
        let problem = self.objection(transaction);
        let (mail, recipients) = envelope::commands(transaction, &self.capabilities);
        self.current = Some(Current {
            results: vec![None; count],
            accepted: Vec::new(),
            refused: false,
            data_due: transaction.probe != Some(ProbeTarget::Rcpt),
            sending_content: false,
            probe: transaction.probe,
        });
        if let Some(failure) = problem {
            return self.finish(&failure);
        }
        if self.dirty {
            self.send(Expected::Rset, "RSET".to_owned());
        }
        self.dirty = true;
        self.send(Expected::Mail, mail);
        for (index, command) in recipients.into_iter().enumerate() {
            self.send(Expected::Rcpt(index), command);
        }
        // A server that waits for content that never comes has to be left.
        if self.capabilities.pipelining && transaction.probe.is_none() {
            self.send_data();
        }
    }

    /// Why this server can't take the message at all.
    fn objection(&self, transaction: &Transaction) -> Option<Failure> {
        if let Some(limit @ 1..) = self.capabilities.size
            && transaction.size > limit
        {
            let size = transaction.size;
            let reason = format!("message size {size} exceeds size limit {limit} of server {}", self.peer);
            return Some(Failure::permanent("5.3.4", reason));
        }
        let addresses = transaction.recipients.iter().map(|r| &r.address).chain([&transaction.sender]);
        let wanted = transaction.utf8_header || addresses.into_iter().any(|a| !a.is_ascii());
        if wanted && transaction.smtputf8 && !self.capabilities.smtputf8 {
            let reason = format!("SMTPUTF8 is required, but was not offered by host {}", self.peer);
            return Some(Failure::permanent("5.6.7", reason));
        }
        None
    }

    /// A part of the content. Only after `SendContent`.
    pub fn content(&mut self, bytes: &[u8]) {
        if self.is_sending_content() {
            self.encoder.push(bytes, &mut self.output);
        }
    }

    /// That was all of the content.
    pub fn end_content(&mut self) {
        let Some(current) = self.current.as_mut().filter(|c| c.sending_content) else { return };
        current.sending_content = false;
        self.encoder.end(&mut self.output);
        let accepted = if self.settings.lmtp { Some(current.accepted.clone()) } else { None };
        self.note("Out: ", ".");
        match accepted {
            Some(accepted) => self.expected.extend(accepted.into_iter().map(|index| Expected::Dot(Some(index)))),
            None => self.expected.push_back(Expected::Dot(None)),
        }
    }

    /// Ends the session. Only between transactions.
    pub fn quit(&mut self, now: u64) {
        if !self.closed && self.current.is_none() {
            self.progress = now;
            self.send(Expected::Quit, "QUIT".to_owned());
        }
    }

    /// Can it be used for another transaction?
    pub fn is_usable(&self) -> bool {
        !self.closed && !self.spent && self.current.is_none()
    }

    fn send(&mut self, expected: Expected, command: String) {
        if self.expected.is_empty() || self.capabilities.pipelining {
            self.note("Out: ", &command);
            self.output.extend_from_slice(command.as_bytes());
            self.output.extend_from_slice(b"\r\n");
            self.expected.push_back(expected);
        } else {
            self.held.push_back((expected, command));
        }
    }

    fn send_data(&mut self) {
        if let Some(current) = &mut self.current
            && std::mem::take(&mut current.data_due)
        {
            self.send(Expected::Data, "DATA".to_owned());
        }
    }

    fn reply(&mut self, reply: &ServerReply) {
        let Some(expected) = self.expected.pop_front() else {
            // Talks out of turn: a 421 on its way out, mostly.
            self.spent = true;
            return self.close();
        };
        self.spent |= reply.code == 421;
        match expected {
            Expected::Greeting => self.greeted(reply),
            Expected::Ehlo | Expected::Lhlo | Expected::Helo => self.helo_answered(expected, reply),
            // It said 421 and stayed all the same.
            Expected::Rset => self.spent &= reply.class() != 2,
            Expected::Mail if reply.class() == 2 => {}
            Expected::Mail => self.mail_refused(reply),
            Expected::Rcpt(index) => self.recipient_answered(index, reply),
            Expected::Data => return self.data_answered(reply),
            Expected::Dot(index) => self.content_answered(index, reply),
            Expected::EmptyDot => {}
            Expected::Quit => return self.close(),
        }
        self.go_on();
    }

    /// Sends what was held back, or what follows from all replies being in.
    fn go_on(&mut self) {
        if self.closed || !self.expected.is_empty() {
            return;
        }
        if let Some((expected, command)) = self.held.pop_front() {
            return self.send(expected, command);
        }
        let Some(current) = &self.current else { return };
        if current.sending_content {
            return;
        }
        if current.data_due && !current.accepted.is_empty() && !current.refused {
            return self.send_data();
        }
        if current.probe.is_some() && self.dirty {
            // The server is not to wait for a message.
            self.dirty = false;
            return self.send(Expected::Rset, "RSET".to_owned());
        }
        self.finish(&Failure::temporary("4.5.0", format!("no reply from {} for this recipient", self.peer)));
    }

    /// Ends the transaction; `rest` goes for recipients without a result.
    fn finish(&mut self, rest: &Failure) {
        let Some(current) = self.current.take() else { return };
        let results = current.results.into_iter().map(|r| r.unwrap_or_else(|| Err(rest.clone()))).collect();
        self.events.push_back(ClientEvent::Finished(results));
        if !self.closed && !self.spent {
            self.events.push_back(ClientEvent::Ready);
        } else if !self.closed {
            self.close();
        }
    }

    /// The session is over before its time.
    fn fail(&mut self, failure: Failure) {
        if self.closed {
            return;
        }
        self.closed = true;
        let idle = self.established && self.expected.iter().all(|e| *e == Expected::Quit);
        if self.current.is_some() {
            self.finish(&failure);
        } else if !idle {
            self.events.push_back(ClientEvent::Failed(failure));
        }
        self.end();
    }

    fn close(&mut self) {
        self.closed = true;
        self.end();
    }

    fn end(&mut self) {
        self.expected.clear();
        self.held.clear();
        self.output.clear();
        self.events.push_back(ClientEvent::Closed);
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
