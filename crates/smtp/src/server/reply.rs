//! Replies on their way out, and the session's own log lines.

use super::event::Event;
use super::identity::without_unicode;
use super::line::Printable;
use super::session::{Phase, ServerSession, Waiting};
use super::statistics::Verb;
use crate::address::quote_local;
use std::fmt::{self, Write as _};
use std::io::Write as _;

impl ServerSession {
    /// A reply; several lines are separated by LF.
    pub(super) fn reply_text(&mut self, text: &str) {
        let start = self.output.len();
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.output.extend_from_slice(b"\r\n");
            }
            self.output.extend_from_slice(line.trim_end_matches('\r').as_bytes());
        }
        self.output.extend_from_slice(b"\r\n");
        self.dispatch(start);
    }

    /// A reply of one line.
    pub(super) fn reply(&mut self, text: fmt::Arguments<'_>) {
        let start = self.output.len();
        // Writing to a Vec cannot fail.
        let _ = write!(self.output, "{text}\r\n");
        self.dispatch(start);
    }

    /// A reply stands in the output from `start` on: let the driver finish it, hold it back, or let it go.
    pub(super) fn dispatch(&mut self, start: usize) {
        let late = self.errors >= self.config.smtpd_soft_error_limit && self.config.smtpd_error_sleep_time > 0;
        if self.config.finish_replies && matches!(self.output.get(start), Some(b'4' | b'5')) {
            let text = String::from_utf8_lossy(&self.output[start..]);
            let text = text.trim_end_matches("\r\n").replace("\r\n", "\n");
            self.output.truncate(start);
            self.waiting = Waiting::Finished { late };
            self.events.push_back(Event::FinishReply(text));
        } else {
            self.release(start, late);
        }
    }

    fn release(&mut self, start: usize, late: bool) {
        if self.config.soft_bounce && self.output.get(start) == Some(&b'5') {
            soften(&mut self.output[start..]);
        }
        self.said(start);
        if matches!(self.output.get(start..start + 3), Some(b"421" | b"521")) {
            self.closing = true;
        }
        if late {
            // The lines of the EHLO reply are sent as replies of their own.
            self.held_by_line = self.verb == Verb::Ehlo;
            self.held = self.output.split_off(start);
            self.held_until = Some(self.now + self.config.smtpd_error_sleep_time * 1000);
        }
    }

    /// The answer to [`Event::FinishReply`]: what really is to be sent, lines separated by LF.
    pub fn finish_reply(&mut self, text: &str) {
        if let Waiting::Finished { late } = self.waiting {
            self.waiting = Waiting::Nobody;
            let start = self.output.len();
            for line in text.split('\n') {
                self.output.extend_from_slice(line.trim_end_matches('\r').as_bytes());
                self.output.extend_from_slice(b"\r\n");
            }
            self.release(start, late);
            if let Some(abort) = self.after_reply.take() {
                self.end_transaction(abort);
            }
        }
    }

    /// The command went wrong: reply, and one more error.
    pub(super) fn fail(&mut self, reply: &str) {
        self.reply_text(reply);
        self.failed();
    }

    /// As [`Self::fail`], with a reply that is put together.
    pub(super) fn fail_with(&mut self, reply: fmt::Arguments<'_>) {
        self.reply(reply);
        self.failed();
    }

    /// One more error. The reply to this command is already out: delays begin with the next one.
    pub(super) fn failed(&mut self) {
        self.errors = self.errors.saturating_add(1);
        self.count_junk();
    }

    /// The command went well.
    pub(super) fn succeed(&mut self, reply: &str) {
        self.reply_text(reply);
        self.succeeded();
    }

    pub(super) fn succeeded(&mut self) {
        self.statistics.good(self.verb);
        self.count_junk();
    }

    pub(super) fn count_junk(&mut self) {
        if self.verb.is_junk() {
            self.junk_command();
        }
    }

    pub(super) fn junk_command(&mut self) {
        if self.junk > self.config.smtpd_junk_command_limit {
            self.errors = self.errors.saturating_add(1);
        }
        self.junk = self.junk.saturating_add(1);
    }

    /// `QID` or `NOQUEUE`.
    pub(super) fn log_id(&self) -> &str {
        self.queue_id.as_deref().unwrap_or("NOQUEUE")
    }

    pub(super) fn log(&mut self, text: String) {
        self.events.push_back(Event::Log(text));
    }

    pub(super) fn warn(&mut self, text: String) {
        self.events.push_back(Event::Warning(text));
    }

    /// `QID: timeout after STAGE from NA` and its likes; in content with the bytes so far.
    pub(super) fn log_end(&mut self, what: &'static str) {
        self.log_end_with(what, self.content_bytes());
    }

    /// As [`Self::log_end`], with the number of bytes.
    pub(super) fn log_end_with(&mut self, what: &'static str, bytes: Option<u64>) {
        self.note_end(what);
        let (id, stage, client) = (self.log_id(), self.stage, Self::CLIENT);
        let text = match bytes {
            Some(bytes) => format!("{id}: {what} after {stage} ({bytes} bytes) from {client}"),
            None => format!("{id}: {what} after {stage} from {client}"),
        };
        self.log(text);
    }

    /// The bytes of content so far, from the 354 reply or the first chunk on until the next command.
    pub(super) fn content_bytes(&self) -> Option<u64> {
        let inside = match &self.phase {
            Phase::Data | Phase::Chunk(_) => true,
            Phase::Command => self.stage == "BDAT",
            _ => false,
        };
        self.content.as_ref().filter(|_| inside).map(|content| content.received())
    }

    /// `QID: reject: STAGE from NA: TEXT;CTX`
    pub(super) fn log_reject(&mut self, text: &str) {
        self.log_reject_at(self.stage, text);
    }

    /// As [`Self::log_reject`], at some other place.
    pub(super) fn log_reject_at(&mut self, place: &str, text: &str) {
        let (id, context) = (self.log_id(), self.context(self.first_recipient()));
        let line = format!("{id}: reject: {place} from {}: {};{context}", Self::CLIENT, Printable(text));
        self.log(line);
    }

    /// Of several recipients the first one.
    fn first_recipient(&self) -> Option<&str> {
        self.pending_recipient().or_else(|| self.recipients().first().map(|r| r.address.as_str()))
    }

    /// As [`Self::log_context`], with the first of several recipients: what `proxy-accept:` lines end in.
    pub fn message_context(&self) -> String {
        self.context(self.first_recipient())
    }

    /// ` from=<S> to=<R> proto=P helo=<H>` and the login, as access log lines end.
    pub fn log_context(&self) -> String {
        self.context(self.recipient())
    }

    fn context(&self, recipient: Option<&str>) -> String {
        let mut text = String::with_capacity(96);
        // Writing to a String cannot fail.
        if let Some(sender) = self.sender() {
            let _ = write!(text, " from=<{}>", Printable(&quote_local(sender)));
        }
        if let Some(recipient) = recipient {
            let _ = write!(text, " to=<{}>", Printable(&quote_local(recipient)));
        }
        let _ = write!(text, " proto={}", self.protocol());
        if let Some(helo) = self.helo_name() {
            let _ = write!(text, " helo=<{}>", Printable(helo));
        }
        if let Some(login) = self.login() {
            let _ =
                write!(text, " sasl_method={} sasl_username={}", Printable(&login.method), Printable(&login.username));
            if let Some(sender) = &self.mail_options().auth {
                let _ = write!(text, " sasl_sender={}", Printable(sender));
            }
        }
        without_unicode(text, self.config.smtputf8_enable)
    }
}

/// `soft_bounce`: 5xx becomes 4xx, in the code and the enhanced code of each line.
fn soften(reply: &mut [u8]) {
    for line in reply.split_mut(|&b| b == b'\n') {
        if line.first() == Some(&b'5') {
            line[0] = b'4';
        }
        if line.len() > 5 && line[4] == b'5' && line[5] == b'.' {
            line[4] = b'4';
        }
    }
}
