//! The session itself: its state, its turns, its time limits, and what policy may ask it.

use super::auth::{AuthOffer, Exchange, Login};
use super::config::{Authorised, SessionConfig};
use super::content::Content;
use super::event::{Counted, Decide, Event, Moment};
use super::identity::Forwarded;
use super::input::{IDLE_BUFFER, Input};
use super::milter::MilterState;
use super::statistics::{Statistics, Verb};
use super::transaction::{MailOptions, Recipient, Transaction};
use super::transcript::Transcript;
use memchr::memchr;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// No more input is wanted while this much of it waits.
pub(super) const INPUT_LIMIT: usize = 64 * 1024;

/// What the session is doing.
#[derive(Debug, Default)]
pub(super) enum Phase {
    /// `start` was not called yet.
    #[default]
    New,
    /// Between commands.
    Command,
    /// Reading the client's next line in an AUTH exchange.
    Auth,
    /// TLS begins as soon as what is to be said before is out.
    Handshake,
    /// Reading the content of DATA.
    Data,
    /// Reading a BDAT chunk.
    Chunk(Chunk),
    /// Reading a BDAT chunk and throwing it away; then comes the reply.
    Skip(Chunk, Refusal),
    /// All content is here.
    ContentEnd {
        /// By BDAT?
        bdat: bool,
    },
    /// `Close` was handed out.
    Closed,
}

/// A BDAT chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) size: u64,
    pub(super) left: u64,
    pub(super) last: bool,
}

/// The reply after a chunk that was read for nothing.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reply: String,
    /// Does it count as an error?
    pub(super) counts: bool,
}

/// Whose answer the session waits for.
#[derive(Debug, Default)]
pub(super) enum Waiting {
    #[default]
    Nobody,
    Verdict(Moment),
    /// The verdict at the first BDAT chunk.
    ChunkVerdict(Chunk),
    Opened,
    RecipientAnswer,
    /// The next hop's word on DATA, or on the first BDAT chunk.
    DataAnswer(Option<Chunk>),
    ContentTaken,
    Committed,
    Filtered,
    Finished {
        late: bool,
    },
    ConnectionCounted,
    Counted,
    Authenticated,
    Handshake,
    Matched,
    Milter,
    Flushed,
    ClientChanged,
}

/// One SMTP session, server side. See the module's documentation for how to drive it.
#[derive(Debug)]
pub struct ServerSession {
    pub(super) config: Arc<SessionConfig>,
    pub(super) authorised: Authorised,
    pub(super) now: u64,
    pub(super) phase: Phase,
    pub(super) waiting: Waiting,
    pub(super) events: VecDeque<Event>,
    pub(super) input: Input,
    pub(super) output: Vec<u8>,
    /// A reply that is late on purpose, and when it may go.
    pub(super) held: Vec<u8>,
    pub(super) held_until: Option<u64>,
    /// What is held back goes line by line, each of them late.
    pub(super) held_by_line: bool,
    /// When the wait for input is over.
    deadline: Option<u64>,
    pub(super) verb: Verb,
    pub(super) stage: &'static str,
    pub(super) helo: Option<String>,
    pub(super) pending_helo: Option<String>,
    pub(super) esmtp: bool,
    pub(super) login: Option<Login>,
    pub(super) auth_offer: Option<AuthOffer>,
    pub(super) exchange: Exchange,
    /// Under TLS.
    pub(super) encrypted: bool,
    /// Under TLS, but without the certificate that is required.
    pub(super) tls_refusal: Option<&'static str>,
    /// Who tried to log in last, for the log.
    pub(super) auth_username: Option<String>,
    pub(super) transaction: Transaction,
    pub(super) pending_sender: Option<String>,
    pub(super) pending_recipient: Option<Recipient>,
    /// What MAIL or RCPT is answered if the syntax of its address turns out to be right.
    pub(super) pending_refusal: Option<String>,
    /// How often the transaction was taken back.
    pub(super) resets: u64,
    /// The MAIL, RCPT or VRFY argument, if it is more than the address in brackets.
    pub(super) argument: Option<String>,
    pub(super) etrn_domain: Option<String>,
    pub(super) queue_id: Option<String>,
    pub(super) forwarded: Option<Box<Forwarded>>,
    pub(super) content: Option<Box<Content>>,
    pub(super) statistics: Statistics,
    pub(super) transcript: Transcript,
    pub(super) errors: u32,
    pub(super) junk: u32,
    pub(super) access_denied: Option<String>,
    /// What is left to do when the driver has finished a reply: end the transaction, dropping the message or not.
    pub(super) after_reply: Option<bool>,
    /// Bytes of an overlong line that were thrown away.
    pub(super) skipping: Option<usize>,
    /// The line that `smtpd_command_filter` made of the one at hand.
    pub(super) replaced_line: Option<Vec<u8>>,
    /// The line at hand went through the filter, or was counted as tried.
    pub(super) line_filtered: bool,
    pub(super) line_tried: bool,
    pub(super) over_limit: Option<Counted>,
    pub(super) forbidden: Option<bool>,
    pub(super) milter: MilterState,
    pub(super) queue_space_low: bool,
    pub(super) bare_lf: bool,
    pub(super) eof: bool,
    /// The client talked too much and is not listened to any more.
    pub(super) input_off: bool,
    pub(super) closing: bool,
    pub(super) draining: bool,
    pub(super) improper_pipelining: bool,
    pub(super) client_address: Option<IpAddr>,
    pub(super) client_port: u16,
    pub(super) client_label: Option<Box<str>>,
}

impl ServerSession {
    /// Stands where `name[address]` belongs in the texts of [`Event::Log`] and [`Event::Warning`]: the name may not
    /// be known yet.
    pub const CLIENT: &'static str = "\u{1}";

    /// A session with a client that has just connected; nothing happens before [`Self::start`].
    pub fn new(
        config: Arc<SessionConfig>,
        client_address: Option<IpAddr>,
        client_port: u16,
        authorised: Authorised,
        now: u64,
    ) -> Self {
        Self {
            config,
            authorised,
            now,
            phase: Phase::New,
            waiting: Waiting::Nobody,
            events: VecDeque::new(),
            input: Input::default(),
            output: Vec::new(),
            held: Vec::new(),
            held_until: None,
            held_by_line: false,
            deadline: None,
            verb: Verb::Unknown,
            stage: "CONNECT",
            helo: None,
            pending_helo: None,
            esmtp: false,
            login: None,
            auth_offer: None,
            exchange: Exchange::default(),
            encrypted: false,
            tls_refusal: None,
            auth_username: None,
            transaction: Transaction::default(),
            pending_sender: None,
            pending_recipient: None,
            pending_refusal: None,
            resets: 0,
            argument: None,
            etrn_domain: None,
            queue_id: None,
            forwarded: None,
            content: None,
            statistics: Statistics::default(),
            transcript: Transcript::default(),
            errors: 0,
            junk: 0,
            access_denied: None,
            after_reply: None,
            skipping: None,
            replaced_line: None,
            line_filtered: false,
            line_tried: false,
            over_limit: None,
            forbidden: None,
            milter: MilterState::default(),
            queue_space_low: false,
            bare_lf: false,
            eof: false,
            input_off: false,
            closing: false,
            draining: false,
            improper_pipelining: false,
            client_address,
            client_port,
            client_label: None,
        }
    }

    /// Begin: greet, or with `smtpd_delay_reject = no` ask for the Connect decision first. Input that was received
    /// before is improper pipelining. With `smtpd_tls_wrappermode`, TLS comes before all that.
    pub fn start(&mut self, now: u64) {
        self.now = now;
        if !matches!(self.phase, Phase::New) {
            return;
        }
        if self.config.smtpd_tls_wrappermode && !self.encrypted {
            self.phase = Phase::Handshake;
        } else {
            self.greet();
        }
    }

    /// End the session before or after its greeting with this reply (`421 4.7.0 … too many connections …`).
    pub fn refuse(&mut self, reply: &str) {
        if !self.closing && !matches!(self.phase, Phase::Closed) {
            self.waiting = Waiting::Nobody;
            self.phase = Phase::Command;
            self.reply_text(reply);
            self.closing = true;
        }
    }

    /// Take input. Not to be called while [`Self::wants_input`] is false, or the buffer grows beyond its bound.
    pub fn receive(&mut self, now: u64, bytes: &[u8]) {
        self.now = now;
        if bytes.is_empty() || self.closing || self.eof || matches!(self.phase, Phase::Closed) {
            return;
        }
        self.input.extend(bytes);
        if !self.config.smtpd_per_request_deadline {
            self.deadline = None;
        } else if !matches!(self.phase, Phase::New | Phase::Command | Phase::Auth)
            && self.config.smtpd_min_data_rate > 0
        {
            let more = (bytes.len() as u64).saturating_mul(1000) / self.config.smtpd_min_data_rate;
            let most = now + self.config.smtpd_timeout * 1000;
            self.deadline = self.deadline.map(|at| at.saturating_add(more).min(most));
        }
    }

    /// The client has closed its side, or the connection is lost.
    pub fn end_of_input(&mut self, now: u64) {
        self.now = now;
        self.eof = true;
    }

    /// What is to be done next; `None` when the session waits for input, an answer, or time.
    pub fn poll(&mut self, now: u64) -> Option<Event> {
        self.now = now;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if let Some(until) = self.held_until {
                if now < until && !self.eof {
                    return None;
                }
                self.let_go();
                continue;
            }
            if !matches!(self.waiting, Waiting::Nobody) {
                return None;
            }
            if self.closing {
                return self.close();
            }
            if !self.advance() {
                self.rest();
                return None;
            }
        }
    }

    /// What is held back is due, or a line of it.
    fn let_go(&mut self) {
        self.held_until = None;
        let first = if self.held_by_line { memchr(b'\n', &self.held) } else { None };
        let count = first.map_or(self.held.len(), |end| end + 1);
        self.output.extend(self.held.drain(..count));
        if self.held.is_empty() {
            self.held = Vec::new();
        } else if !self.eof {
            self.held_until = Some(self.now + self.config.smtpd_error_sleep_time * 1000);
        } else {
            self.output.append(&mut self.held);
        }
    }

    /// One step; false when there is nothing to do without input.
    fn advance(&mut self) -> bool {
        match &self.phase {
            Phase::New | Phase::Closed => false,
            Phase::Command => self.command(),
            Phase::Auth => self.read_auth(),
            Phase::Handshake => {
                self.begin_handshake();
                true
            }
            Phase::Data => self.read_data(),
            Phase::Chunk(chunk) => {
                let chunk = *chunk;
                self.read_chunk(chunk)
            }
            Phase::Skip(..) => self.skip_chunk(),
            Phase::ContentEnd { bdat } => {
                let bdat = *bdat;
                self.end_content(bdat);
                true
            }
        }
    }

    fn close(&mut self) -> Option<Event> {
        if matches!(self.phase, Phase::Closed) {
            return None;
        }
        if self.abort_message() {
            return self.events.pop_front();
        }
        if let Some(notice) = self.end_transcript() {
            return Some(Event::Notify(notice));
        }
        self.phase = Phase::Closed;
        self.input = Input::default();
        Some(Event::Close)
    }

    /// Nothing to do: start the clock, and let go of large buffers.
    fn rest(&mut self) {
        if self.deadline.is_none() && !matches!(self.phase, Phase::New | Phase::Closed) {
            self.deadline = Some(self.now + self.config.smtpd_timeout * 1000);
        }
        self.input.shrink();
    }

    /// A command is complete: the next one has all the time again.
    pub(super) fn restart_clock(&mut self) {
        self.deadline = None;
    }

    /// Add what is to be sent now to `out`. Call it when [`Self::poll`] has returned `None` or [`Event::Close`]: the
    /// replies of a pipelined group leave together.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() && self.output.len() > IDLE_BUFFER {
            std::mem::swap(out, &mut self.output);
        } else {
            out.extend_from_slice(&self.output);
        }
        self.output.clear();
        if self.output.capacity() > IDLE_BUFFER {
            self.output = Vec::new();
        }
    }

    /// Is there something for [`Self::take_output`]?
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Should the driver read from the socket?
    pub fn wants_input(&self) -> bool {
        matches!(self.waiting, Waiting::Nobody)
            && self.held_until.is_none()
            && !self.closing
            && !self.eof
            && !matches!(self.phase, Phase::New | Phase::Closed)
            && self.input.len() < INPUT_LIMIT
    }

    /// When [`Self::handle_timeout`] is to be called, if nothing else happens first.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.held_until.or(if self.wants_input() { self.deadline } else { None })
    }

    /// Time has passed: a late reply may be due (poll and see), or the client has taken too long.
    pub fn handle_timeout(&mut self, now: u64) {
        self.now = now;
        if self.held_until.is_some() || !self.wants_input() || self.deadline.is_none_or(|at| now < at) {
            return;
        }
        self.deadline = None;
        self.end_exchange();
        let reply = format!("421 4.4.2 {} Error: timeout exceeded", self.config.myhostname);
        let mut bytes = self.content_bytes();
        if !matches!(self.phase, Phase::Data) {
            // As in Postfix: the part of a chunk that has come does not count, but the text of this reply does.
            let part = if let Phase::Chunk(chunk) = &self.phase { chunk.size - chunk.left } else { 0 };
            bytes = bytes.map(|bytes| bytes.saturating_sub(part) + reply.len() as u64);
        }
        self.log_end_with("timeout", bytes);
        self.reply_text(&reply);
        self.phase = Phase::Command;
        self.closing = true;
    }

    /// The server is to stop: the session ends with a 421 reply at the next command.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Is there too little space for mail (`queue_minfree`, `message_size_limit`)? MAIL is then refused for a while.
    pub fn set_queue_space_low(&mut self, low: bool) {
        self.queue_space_low = low;
    }

    /// Ask for a decision.
    pub(super) fn decide(&mut self, moment: Moment) {
        self.waiting = Waiting::Verdict(moment);
        self.events.push_back(Event::Decide(Decide { moment, stage: self.stage }));
    }

    /// Drop the open message, if there is one.
    pub(super) fn abort_message(&mut self) -> bool {
        self.content = None;
        let open = self.queue_id.take().is_some();
        if open {
            self.events.push_back(Event::Abort);
        }
        open
    }

    /// The transaction is over, once its reply is out: a footer may want to know its sender.
    pub(super) fn end_transaction(&mut self, abort: bool) {
        if matches!(self.waiting, Waiting::Finished { .. }) {
            self.after_reply = Some(abort);
            return;
        }
        if abort {
            self.abort_message();
        }
        self.reset_transaction();
    }

    /// Back to before MAIL (RSET, HELO, the end of a message). The message itself is someone else's business.
    pub(super) fn reset_transaction(&mut self) {
        self.resets += 1;
        self.queue_id = None;
        self.content = None;
        self.pending_sender = None;
        self.pending_recipient = None;
        self.pending_refusal = None;
        self.forwarded = None;
        let old = &mut self.transaction;
        if old.sender.is_some() || old.options != MailOptions::default() || !old.recipients.is_empty() {
            self.transaction = Transaction::default();
        } else {
            old.bdat = super::transaction::Bdat::No;
            old.overshoot = 0;
        }
    }
}
