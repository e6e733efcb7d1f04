//! The driver's answers. One that nobody waits for is ignored.

use super::config::Authorised;
use super::content::Failure;
use super::event::{Counted, Event, Flush, MessageEnd, Moment, Verdict};
use super::session::{Chunk, Phase, Refusal, ServerSession, Waiting};
use super::statistics::Verb;
use super::transaction::{Bdat, MailOptions};
use super::transcript::ErrorClass;
use std::sync::Arc;

impl ServerSession {
    /// The answer to [`Event::Decide`].
    pub fn resolve(&mut self, verdict: Verdict) {
        match std::mem::take(&mut self.waiting) {
            Waiting::Verdict(moment) => match verdict {
                Verdict::Permit => self.permitted(moment),
                Verdict::Reject { reply, counts, class } => {
                    self.blame(class);
                    self.rejected(moment, &reply, counts);
                }
                Verdict::Milter(reply) => self.refused_by_milter(moment, &reply),
                Verdict::HangUp => self.hang_up(),
            },
            Waiting::ChunkVerdict(chunk) => match verdict {
                Verdict::Permit if self.config.smtpd_proxy_filter => self.ask_next_hop(Some(chunk)),
                Verdict::Permit => self.accept_chunk(chunk),
                Verdict::Reject { reply, counts, class } => {
                    self.blame(class);
                    self.reject_chunk(chunk, reply, counts);
                }
                Verdict::Milter(reply) => {
                    self.blame(ErrorClass::Policy);
                    self.reject_chunk(chunk, reply, true);
                }
                Verdict::HangUp => self.hang_up(),
            },
            other => self.waiting = other,
        }
    }

    fn hang_up(&mut self) {
        self.closing = true;
    }

    fn reject_chunk(&mut self, chunk: Chunk, reply: String, counts: bool) {
        self.skip_with(chunk, Refusal { reply, counts });
    }

    pub(super) fn permitted(&mut self, moment: Moment) {
        match moment {
            Moment::Connect => self.banner(),
            Moment::Helo => self.accept_helo(self.verb == Verb::Ehlo),
            Moment::Mail | Moment::Rcpt if self.pending_refusal.is_some() => self.refuse_address(),
            Moment::Mail => self.accept_sender(),
            Moment::Rcpt if self.is_over_recipient_limit() => self.too_many_recipients(),
            Moment::Rcpt if self.queue_id.is_none() => {
                self.waiting = Waiting::Opened;
                self.events.push_back(Event::Open);
            }
            Moment::Rcpt => self.accept_recipient(),
            Moment::Vrfy => {
                if let Some(recipient) = self.pending_recipient.take() {
                    self.reply(format_args!("252 2.0.0 {}", super::line::Printable(&recipient.command)));
                    self.succeeded();
                }
            }
            Moment::Etrn => {
                self.waiting = Waiting::Flushed;
                self.events.push_back(Event::Flush);
            }
            Moment::Data if self.config.smtpd_proxy_filter => self.ask_next_hop(None),
            Moment::Data => self.accept_data(),
            Moment::EndOfData => {
                self.waiting = Waiting::Committed;
                self.events.push_back(Event::Commit);
            }
        }
    }

    pub(super) fn rejected(&mut self, moment: Moment, reply: &str, counts: bool) {
        self.reply_text(reply);
        self.pending_helo = None;
        self.pending_sender = None;
        self.pending_recipient = None;
        self.pending_refusal = None;
        self.etrn_domain = None;
        if moment == Moment::Mail && !reply.starts_with("501 5.1.7 ") {
            // What the lists refuse leaves nothing behind; what is refused for its syntax does, as in Postfix.
            self.transaction.options = MailOptions::default();
        }
        if moment == Moment::Connect {
            self.access_denied = Some(reply.to_owned());
            if counts {
                self.errors = self.errors.saturating_add(1);
            }
            return;
        }
        if moment == Moment::EndOfData {
            self.phase = Phase::Command;
            self.end_transaction(true);
        }
        if counts {
            self.failed();
        } else {
            self.count_junk();
        }
    }

    /// The answer to [`Event::Open`]: the queue id, or the reply that refuses the command
    /// (`451 4.3.0 Error: queue file write error`).
    pub fn opened(&mut self, result: Result<String, String>) {
        if !matches!(self.waiting, Waiting::Opened) {
            return;
        }
        self.waiting = Waiting::Nobody;
        let at_rcpt = self.pending_recipient.is_some();
        match result {
            Ok(queue_id) => {
                self.queue_id = Some(queue_id);
                if at_rcpt {
                    self.accept_recipient();
                } else {
                    self.succeed("250 2.1.0 Ok");
                }
            }
            Err(reply) => {
                self.pending_recipient = None;
                if !at_rcpt {
                    self.reset_transaction();
                }
                self.fail(&reply);
            }
        }
    }

    /// The answer to [`Event::Recipient`], wanted only with `smtpd_proxy_filter`: the reply that refuses it, if any.
    pub fn recipient_answered(&mut self, result: Result<(), String>) {
        if !matches!(self.waiting, Waiting::RecipientAnswer) {
            return;
        }
        self.waiting = Waiting::Nobody;
        match result {
            Ok(()) => self.succeed("250 2.1.5 Ok"),
            Err(reply) => {
                self.transaction.recipients.pop();
                self.fail(&reply);
            }
        }
    }

    fn ask_next_hop(&mut self, chunk: Option<Chunk>) {
        self.waiting = Waiting::DataAnswer(chunk);
        self.events.push_back(Event::Data);
    }

    /// The answer to [`Event::Data`]: the reply that refuses the content, if any.
    pub fn data_answered(&mut self, result: Result<(), String>) {
        let Waiting::DataAnswer(chunk) = self.waiting else { return };
        self.waiting = Waiting::Nobody;
        match (result, chunk) {
            (Ok(()), None) => self.accept_data(),
            (Ok(()), Some(chunk)) => self.accept_chunk(chunk),
            (Err(reply), None) => self.fail(&reply),
            (Err(reply), Some(chunk)) => self.reject_chunk(chunk, reply, true),
        }
    }

    /// The answer to [`Event::Content`]: add the content to `out`.
    pub fn take_content(&mut self, out: &mut Vec<u8>) {
        if let Some(content) = &mut self.content {
            if out.is_empty() {
                std::mem::swap(out, &mut content.out);
            } else {
                out.append(&mut content.out);
            }
        }
        if matches!(self.waiting, Waiting::ContentTaken) {
            self.waiting = Waiting::Nobody;
        }
    }

    /// The message is refused while its content still arrives (a disk that is full, a proxy that is gone): the rest is
    /// read and dropped, then comes this reply. Neither the end-of-data lists nor [`Event::Commit`] follow.
    pub fn refuse_content(&mut self, reply: &str) {
        if let Some(content) = &mut self.content {
            content.out = Vec::new();
            if content.failure.is_none() {
                content.failure = Some(Failure::Refused(reply.to_owned()));
            }
        }
        if matches!(self.waiting, Waiting::ContentTaken) {
            self.waiting = Waiting::Nobody;
        }
    }

    /// The answer to [`Event::Commit`].
    pub fn committed(&mut self, end: MessageEnd) {
        if !matches!(self.waiting, Waiting::Committed) {
            return;
        }
        self.waiting = Waiting::Nobody;
        let bytes = self.bytes_received();
        let bdat = self.transaction.bdat != Bdat::No;
        let queue_id = self.queue_id.clone().unwrap_or_default();
        self.phase = Phase::Command;
        if !matches!(end, MessageEnd::Refused(_)) {
            self.errors = 0;
            self.junk = 0;
            self.forgive();
        }
        if let MessageEnd::Refused(reply) = &end
            && reply.starts_with("55")
            && !reply.starts_with("552")
            && !reply.starts_with("554 5.4.0")
        {
            self.blame(ErrorClass::Policy);
        }
        match end {
            MessageEnd::Queued if bdat => {
                self.reply(format_args!("250 2.0.0 Ok: {bytes} bytes queued as {queue_id}"));
                self.succeeded();
            }
            MessageEnd::Queued => {
                self.reply(format_args!("250 2.0.0 Ok: queued as {queue_id}"));
                self.succeeded();
            }
            MessageEnd::Relayed(reply) => self.succeed(&reply),
            MessageEnd::Refused(reply) => self.fail(&reply),
        }
        self.flush_transcript();
        self.end_transaction(false);
    }

    /// The answer to [`Event::FilterCommand`]: a new line, `None` to leave it, `Err` when the look-up failed.
    pub fn filtered(&mut self, result: Result<Option<Vec<u8>>, ()>) {
        if !matches!(self.waiting, Waiting::Filtered) {
            return;
        }
        self.waiting = Waiting::Nobody;
        self.line_filtered = true;
        match result {
            Ok(line) => self.replaced_line = line,
            Err(()) => {
                let config = Arc::clone(&self.config);
                let reply = format!("421 4.3.0 {} Server local data error", config.myhostname);
                self.log_reject(&reply);
                self.refuse(&reply);
            }
        }
    }

    /// The answer to [`Event::Count`].
    pub fn counted(&mut self, counted: Counted) {
        match self.waiting {
            Waiting::Counted => {
                self.waiting = Waiting::Nobody;
                self.over_limit = Some(counted);
            }
            Waiting::ConnectionCounted => {
                self.waiting = Waiting::Nobody;
                self.connection_counted(counted);
            }
            _ => {}
        }
    }

    /// The answer to [`Event::MatchForbidden`].
    pub fn forbidden(&mut self, found: bool) {
        if matches!(self.waiting, Waiting::Matched) {
            self.waiting = Waiting::Nobody;
            self.forbidden = Some(found);
        }
    }

    /// The answer to [`Event::Flush`].
    pub fn flushed(&mut self, flush: Flush) {
        if !matches!(self.waiting, Waiting::Flushed) {
            return;
        }
        self.waiting = Waiting::Nobody;
        let domain = self.etrn_domain.take().unwrap_or_default();
        match flush {
            Flush::Started => self.succeed("250 Queuing started"),
            Flush::Unavailable => self.fail_with(format_args!("459 <{domain}>: service unavailable")),
            Flush::Failed => self.fail("458 Unable to queue messages"),
        }
    }

    /// The answer to [`Event::ClientChanged`]: what the new client may do. The session is back at its greeting.
    pub fn client_changed_done(&mut self, authorised: Authorised) {
        if matches!(self.waiting, Waiting::ClientChanged) {
            self.waiting = Waiting::Nobody;
            self.authorised = authorised;
            self.greet();
        }
    }
}
