//! The content on its way in, as cleanup(8) treats it, in one pass and bounded memory.
//!
//! The header is collected one logical line at a time (`header_size_limit`); the body streams through, in bulk where
//! nobody wants to look at its lines.

mod action;
mod complete;
mod context;
mod header;
mod milter;
mod mime;
mod output;
mod results;
mod rewrite;
mod segments;
mod walk;

pub use context::{Effects, Finished, MessageContext, RewriteContext, Verdict};
pub(crate) use header::is_header;
pub use milter::{Checked, MilterHeaderChecks};
pub use segments::{Segment, segments};

use crate::config::CleanupConfig;
use crate::log::LogLine;
use crate::lookup::Lookup;
use mime::{Block, Mime};
use std::sync::Arc;

/// The reply when the message could not be processed for reasons of our own.
pub(crate) const WRITE_ERROR: &str = "451 4.3.0 Error: queue file write error";

/// Tables and output, lent for one call.
struct Io<'a> {
    lookup: &'a mut dyn Lookup,
    out: &'a mut Vec<u8>,
}

/// MIME rules broken so far, by number of the rule (see [`walk`]).
type Violations = u8;

/// One message on its way in.
#[derive(Debug)]
pub struct Cleanup {
    config: Arc<CleanupConfig>,
    context: MessageContext,
    effects: Effects,
    log: Vec<LogLine>,
    message_id: String,
    /// Header and body checks are still on.
    checks: bool,
    /// The content is complete: these are headers of Milters.
    is_milter: bool,
    /// Prepended headers and our Received header are written.
    started: bool,
    /// What comes now is ours, not the client's.
    ours: bool,
    /// The reply, once the message is refused.
    refusal: Option<String>,
    /// A line whose end has not arrived yet.
    line: Vec<u8>,
    /// The last piece of text ended within a line.
    mid_line: bool,
    /// The logical header that is being collected; empty: none.
    header: Vec<u8>,
    mime: Mime,
    violations: Violations,
    /// Kinds of headers seen in the primary header, one bit each.
    seen: u32,
    resent: bool,
    hops: usize,
}

impl Cleanup {
    /// Begin a message. Prepended headers and our Received header go through all checks, as in Postfix; they are
    /// written by the first [`Cleanup::feed`] or by [`Cleanup::finish`].
    pub fn new(config: Arc<CleanupConfig>, mut context: MessageContext) -> Self {
        let mut effects = Effects::default();
        effects.add(context.effects.iter().filter(|effect| !matches!(effect, policy::Effect::Bcc(_))));
        effects.skip_milters = effects.discard || effects.redirect.is_some();
        let checks = context.checks && !effects.skip_milters;
        let refusal = context.refusal.take();
        Self {
            config,
            context,
            effects,
            log: Vec::new(),
            message_id: String::new(),
            checks,
            is_milter: false,
            started: false,
            ours: false,
            refusal,
            line: Vec::new(),
            mid_line: false,
            header: Vec::new(),
            mime: Mime::new(),
            violations: 0,
            seen: 0,
            resent: false,
            hops: 0,
        }
    }

    /// Take a piece of content, cut anywhere: LF lines, dots and stray CR/LF already dealt with. What is ready is
    /// appended to `out`.
    pub fn feed(&mut self, chunk: &[u8], lookup: &mut dyn Lookup, out: &mut Vec<u8>) {
        let mut io = Io { lookup, out };
        self.start(&mut io);
        self.take(chunk, &mut io);
    }

    /// Nothing more is wanted: the message is already refused or discarded, and `out` may be thrown away.
    pub fn is_stopped(&self) -> bool {
        self.refusal.is_some() || self.effects.discard
    }

    /// The log lines so far. Who feeds a long message takes them now and then, since checks may log every line of it;
    /// what is not taken comes with [`Finished`].
    pub fn take_log(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.log)
    }

    /// End the content.
    pub fn finish(mut self, lookup: &mut dyn Lookup, out: &mut Vec<u8>) -> Finished {
        let mut io = Io { lookup, out };
        self.start(&mut io);
        if self.mid_line || !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.record(&line, true, &mut io);
        }
        self.end_of_content(&mut io);
        if self.is_stopped() {
            let why = if self.effects.discard { "discarded" } else { "canceled" };
            self.log.push(LogLine::cleanup(format!("{}: removed ({why})", self.context.queue_id)));
        }
        let verdict = match self.refusal {
            Some(reply) => Verdict::Refuse(reply),
            None => Verdict::Accept,
        };
        let context = self.context;
        Finished { verdict, log: self.log, message_id: self.message_id, effects: self.effects, context }
    }

    fn start(&mut self, io: &mut Io<'_>) {
        if self.started {
            return;
        }
        self.started = true;
        self.ours = true;
        for header in std::mem::take(&mut self.context.prepended) {
            self.take(header.as_bytes(), io);
            self.take(b"\n", io);
        }
        if let Some(received) = self.context.received.take() {
            self.take(received.as_bytes(), io);
        }
        self.ours = false;
    }

    /// Cut text into records: lines, and pieces of lines that are too long.
    fn take(&mut self, mut chunk: &[u8], io: &mut Io<'_>) {
        let limit = self.config.line_length_limit.max(1);
        while !chunk.is_empty() && !self.is_stopped() {
            if self.mime.block == Block::Body && self.line.is_empty() && !self.body_is_inspected() {
                chunk = self.take_body(chunk, io);
                continue;
            }
            let room = limit - self.line.len();
            let window = &chunk[..chunk.len().min(room)];
            match memchr::memchr(b'\n', window) {
                Some(end) if self.line.is_empty() => {
                    self.record(&chunk[..end], true, io);
                    chunk = &chunk[end + 1..];
                }
                Some(end) => {
                    self.line.extend_from_slice(&chunk[..end]);
                    self.record_line(true, io);
                    chunk = &chunk[end + 1..];
                }
                // A line of exactly the limit is cut too, and ends with an empty piece, however the chunks fall.
                None if window.len() == room => {
                    self.line.extend_from_slice(&chunk[..room]);
                    self.record_line(false, io);
                    chunk = &chunk[room..];
                }
                None => {
                    self.line.extend_from_slice(chunk);
                    return;
                }
            }
        }
    }

    /// One record that was collected in `self.line`.
    fn record_line(&mut self, ended: bool, io: &mut Io<'_>) {
        let mut line = std::mem::take(&mut self.line);
        self.record(&line, ended, io);
        line.clear();
        self.line = line;
    }

    /// Must body lines be looked at one by one?
    fn body_is_inspected(&self) -> bool {
        (self.checks && !(self.config.body_checks.is_empty() && self.config.message_reject_characters.is_empty()))
            || self.reports_8bit_body()
            || !self.config.message_strip_characters.is_empty()
    }

    /// Copy body text in bulk, up to the next line that may be a boundary. What is left begins with such a line.
    fn take_body<'c>(&mut self, chunk: &'c [u8], io: &mut Io<'_>) -> &'c [u8] {
        if !self.mime.has_boundaries() {
            self.mid_line = !chunk.ends_with(b"\n");
            io.out.extend_from_slice(chunk);
            return &[];
        }
        let mut at = 0;
        if self.mid_line {
            at = memchr::memchr(b'\n', chunk).map_or(chunk.len(), |end| end + 1);
        }
        while at < chunk.len() && chunk[at] != b'-' {
            at = memchr::memchr(b'\n', &chunk[at..]).map_or(chunk.len(), |end| at + end + 1);
        }
        if at > 0 {
            self.mid_line = chunk[at - 1] != b'\n';
            io.out.extend_from_slice(&chunk[..at]);
            return &chunk[at..];
        }
        // A line that begins with a hyphen goes the slow way, and so does all of it.
        let limit = self.config.line_length_limit.max(1);
        let window = &chunk[..chunk.len().min(limit)];
        match memchr::memchr(b'\n', window) {
            Some(end) => {
                self.record(&chunk[..end], true, io);
                &chunk[end + 1..]
            }
            None if window.len() == limit => {
                self.record(window, false, io);
                &chunk[limit..]
            }
            None => {
                self.line.extend_from_slice(chunk);
                &[]
            }
        }
    }

    fn warn(&mut self, text: String) {
        self.log.push(LogLine::warning(text));
    }

    /// Refuse the message; nothing that follows can change that.
    fn refuse(&mut self, reply: String) {
        self.refusal.get_or_insert(reply);
    }

    fn refuse_for_map(&mut self, title: &str) {
        let queue_id = &self.context.queue_id;
        self.warn(format!("{queue_id}: {title} map lookup problem -- message not accepted, try again later"));
        self.refuse(WRITE_ERROR.to_owned());
    }
}

#[cfg(test)]
mod rewrite_tests;
#[cfg(test)]
mod tests;
