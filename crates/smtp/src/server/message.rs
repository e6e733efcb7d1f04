//! DATA, BDAT, and the end of a message.

use super::config::{EhloKeywords, ForbidBareNewline};
use super::content::{CHUNK, Content, ContentRules, Failure};
use super::event::{Decide, Event, Moment};
use super::line::Words;
use super::session::{Chunk, Phase, Refusal, ServerSession, Waiting};
use super::transaction::Bdat;
use std::sync::Arc;

const TOO_BIG: &str = "552 5.3.4 Error: message file too big";

impl ServerSession {
    fn content_rules(&self) -> ContentRules {
        ContentRules {
            detect_bare_lf: self.detects_bare_lf(),
            reject_bare_lf: self.config.smtpd_forbid_bare_newline == ForbidBareNewline::Reject,
            replace_stray_cr: self.config.cleanup_replace_stray_cr_lf,
            size_limit: self.config.message_size_limit,
        }
    }

    /// Why there is nobody to send content to, if so.
    fn no_recipients(&self) -> Option<&'static str> {
        match (self.transaction.recipients.is_empty(), &self.transaction.sender) {
            (false, _) => None,
            (true, None) => Some("503 5.5.1 Error: need RCPT command"),
            (true, Some(_)) => Some("554 5.5.1 Error: no valid recipients"),
        }
    }

    pub(super) fn data_command(&mut self, words: Words<'_>) {
        if self.transaction.bdat != Bdat::No {
            return self.fail("503 5.5.1 Error: DATA after BDAT");
        }
        if let Some(reply) = self.no_recipients() {
            return self.fail(reply);
        }
        if !words.rest().is_empty() {
            return self.fail("501 5.5.4 Syntax: DATA");
        }
        self.decide(Moment::Data);
    }

    /// The data lists permit: content follows.
    pub(super) fn accept_data(&mut self) {
        self.reply_text("354 End data with <CR><LF>.<CR><LF>");
        self.content = Some(Box::new(Content::new()));
        self.phase = Phase::Data;
    }

    pub(super) fn read_data(&mut self) -> bool {
        let rules = self.content_rules();
        let Some(mut content) = self.content.take() else {
            self.phase = Phase::Command;
            return true;
        };
        let failed = content.failure.is_some();
        let (used, end) = content.data(self.input.bytes(), rules);
        self.input.consume(used);
        if end {
            self.phase = Phase::ContentEnd { bdat: false };
        }
        self.keep_content(content, failed);
        if used > 0 || end {
            return true;
        }
        self.no_content()
    }

    /// Put the content back, warn when it has just grown too big, and hand out what is ready.
    fn keep_content(&mut self, mut content: Box<Content>, failed: bool) {
        self.bare_lf |= content.bare_lf;
        if !failed && content.failure == Some(Failure::Size) {
            self.warn(format!("{}: queue file size limit exceeded", self.log_id()));
        }
        if content.failure.is_some() {
            content.out = Vec::new();
        }
        let ready = content.out.len() >= CHUNK;
        self.content = Some(content);
        if ready {
            self.hand_out();
        }
    }

    fn hand_out(&mut self) {
        self.waiting = Waiting::ContentTaken;
        self.events.push_back(Event::Content);
    }

    /// No content in the buffer: wait, or notice that none will come.
    fn no_content(&mut self) -> bool {
        if self.eof {
            self.log_end("lost connection");
            self.closing = true;
        }
        self.eof
    }

    pub(super) fn bdat_command(&mut self, mut words: Words<'_>) {
        if self.authorised.discard_ehlo_keywords.contains(EhloKeywords::CHUNKING) {
            self.fail("521 5.5.1 Error: command not implemented");
            self.closing = true;
            return;
        }
        let size = words.next().filter(|w| w.text.bytes().all(|b| b.is_ascii_digit()));
        let size = size.and_then(|w| w.text.parse::<u64>().ok()).filter(|size| i64::try_from(*size).is_ok());
        let last = words.next().map(|w| w.text.eq_ignore_ascii_case("LAST"));
        let (Some(size), None | Some(true), None) = (size, last, words.next()) else {
            self.fail("521 5.5.4 Syntax: BDAT count [LAST]");
            self.closing = true;
            return;
        };
        let chunk = Chunk { size, left: size, last: last.is_some() };
        let limit = self.config.message_size_limit;
        if size == 0 && !chunk.last {
            self.skip(chunk, "551 5.7.1 Null BDAT request".to_owned());
        } else if self.transaction.bdat == Bdat::Failed {
            self.skip(chunk, format!("551 5.0.0 Discarded {size} bytes after earlier error"));
        } else if let Some(reply) = self.no_recipients() {
            self.skip(chunk, reply.to_owned());
        } else if limit > 0 && size > limit.saturating_sub(self.bytes_received()) {
            self.skip(chunk, "552 5.3.4 Chunk exceeds message size limit".to_owned());
        } else if self.transaction.bdat == Bdat::No {
            self.waiting = Waiting::ChunkVerdict(chunk);
            self.events.push_back(Event::Decide(Decide { moment: Moment::Data, stage: self.stage }));
        } else {
            self.phase = Phase::Chunk(chunk);
        }
    }

    /// Read a chunk for nothing; the reply comes after it. Far too much is not read at all.
    fn skip(&mut self, chunk: Chunk, reply: String) {
        self.skip_with(chunk, Refusal { reply, counts: true });
    }

    pub(super) fn skip_with(&mut self, chunk: Chunk, refusal: Refusal) {
        let limit = self.config.message_size_limit;
        if limit > 0 && chunk.size > limit.saturating_add(limit / 2) {
            let id = self.log_id();
            let text = format!("{id}: too much BDAT content -- disabling further input from {}", Self::CLIENT);
            self.warn(text);
            self.fail(&refusal.reply);
            self.disable_input();
            return;
        }
        self.phase = Phase::Skip(chunk, refusal);
    }

    /// The data lists permit the first chunk.
    pub(super) fn accept_chunk(&mut self, chunk: Chunk) {
        self.transaction.bdat = Bdat::Yes;
        self.content = Some(Box::new(Content::new()));
        self.phase = Phase::Chunk(chunk);
    }

    pub(super) fn skip_chunk(&mut self) -> bool {
        let Phase::Skip(chunk, _) = &mut self.phase else { return true };
        let used = usize::try_from(chunk.left).unwrap_or(usize::MAX).min(self.input.len());
        chunk.left -= used as u64;
        let (left, last) = (chunk.left, chunk.last);
        self.input.consume(used);
        if left > 0 {
            return used > 0 || self.no_content();
        }
        self.restart_clock();
        if let Phase::Skip(_, refusal) = std::mem::replace(&mut self.phase, Phase::Command) {
            self.reply_text(&refusal.reply);
            if refusal.counts {
                self.failed();
            }
        }
        // Content of earlier chunks is of no use any more; the message stays open until the end of the sequence.
        self.content = None;
        if last {
            self.end_transaction(true);
        } else {
            self.transaction.bdat = Bdat::Failed;
        }
        true
    }

    pub(super) fn read_chunk(&mut self, mut chunk: Chunk) -> bool {
        let rules = self.content_rules();
        let Some(mut content) = self.content.take() else {
            self.phase = Phase::Command;
            return true;
        };
        let failed = content.failure.is_some();
        let most = usize::try_from(chunk.left).unwrap_or(usize::MAX).min(self.input.len());
        let used = content.bdat(&self.input.bytes()[..most], rules);
        self.input.consume(used);
        chunk.left -= used as u64;
        if chunk.left == 0 && chunk.last {
            content.bdat_end(rules);
        }
        self.phase = Phase::Chunk(chunk);
        self.keep_content(content, failed);
        if chunk.left > 0 {
            return used > 0 || self.no_content();
        }
        if chunk.last {
            self.phase = Phase::ContentEnd { bdat: true };
        } else {
            self.phase = Phase::Command;
            self.restart_clock();
            self.end_chunk(chunk);
        }
        true
    }

    /// A chunk that is not the last one.
    fn end_chunk(&mut self, chunk: Chunk) {
        match self.content.as_ref().and_then(|content| content.failure.clone()) {
            None => {
                // The reply may be late, or the driver still has to take content: neither gets in its way.
                self.reply(format_args!("250 2.0.0 Ok: {} bytes", chunk.size));
                self.succeeded();
            }
            Some(failure) => {
                self.content_refused(failure);
                self.content = None;
                self.transaction.bdat = Bdat::Failed;
            }
        }
    }

    /// All content was read: hand out the rest of it, then ask for the last decision.
    pub(super) fn end_content(&mut self, bdat: bool) {
        self.restart_clock();
        self.stage = "END-OF-MESSAGE";
        let (ready, failure) = match &self.content {
            Some(content) => (!content.out.is_empty(), content.failure.clone()),
            None => (false, None),
        };
        if let Some(failure) = failure {
            self.phase = Phase::Command;
            if self.config.smtpd_proxy_filter {
                self.log_proxy_reject(&failure);
            }
            self.content_refused(failure);
            self.end_transaction(true);
        } else if ready {
            self.hand_out();
        } else {
            self.phase = Phase::ContentEnd { bdat };
            self.decide(Moment::EndOfData);
        }
    }

    /// Before a next hop, what becomes of content is logged in any case.
    fn log_proxy_reject(&mut self, failure: &Failure) {
        let reply = match failure {
            Failure::Refused(reply) => reply,
            Failure::Size => TOO_BIG,
            // it has a line of its own
            Failure::BareLf => return,
        };
        let line = format!("proxy-reject: END-OF-MESSAGE: {reply};{}", self.message_context());
        self.log(line);
    }

    fn content_refused(&mut self, failure: Failure) {
        match failure {
            Failure::Refused(reply) => self.fail(&reply),
            Failure::Size => self.fail(TOO_BIG),
            Failure::BareLf => {
                let chunk = matches!(self.phase, Phase::Chunk(_)) || self.stage == "BDAT";
                self.log_reject_at(if chunk { "BDAT content" } else { self.stage }, "bare <LF> received");
                let config = Arc::clone(&self.config);
                let code = config.smtpd_forbid_bare_newline_reject_code;
                self.fail_with(format_args!("{code} 5.5.2 {} Error: bare <LF> received", config.myhostname));
            }
        }
    }
}
