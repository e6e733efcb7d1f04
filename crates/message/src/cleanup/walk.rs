//! Records on their way through the header and MIME structure, and the rules that MIME input can break.

use super::action::Fate;
use super::header::{Addresses, Kind, Known, bit, is_header, value};
use super::mime::{Block, Encoding};
use super::{Cleanup, Io, results};
use crate::config::EndOfHeaderAction;
use crate::log::{LogLine, printable};

/// Rules of MIME, in the order in which a reply names one of several broken ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Nesting,
    EightBitHeader,
    EightBitBody,
    EncodingDomain,
    EndOfHeader,
}

impl Rule {
    const ALL: [Self; 5] =
        [Self::Nesting, Self::EightBitHeader, Self::EightBitBody, Self::EncodingDomain, Self::EndOfHeader];

    fn text(self) -> &'static str {
        match self {
            Self::Nesting => "MIME nesting exceeds safety limit",
            Self::EightBitHeader => "improper use of 8-bit data in message header",
            Self::EightBitBody => "improper use of 8-bit data in message body",
            Self::EncodingDomain => "invalid message/* or multipart/* encoding domain",
            Self::EndOfHeader => "primary header was terminated with non-empty line",
        }
    }
}

/// Excerpts of offending text are cut here in log lines.
const EXCERPT: usize = 100;

impl Cleanup {
    /// One line (`ended`) or a piece of a long one.
    pub(super) fn record(&mut self, text: &[u8], ended: bool, io: &mut Io<'_>) {
        if self.is_stopped() {
            return;
        }
        let (reject, strip) = (&self.config.message_reject_characters, &self.config.message_strip_characters);
        if self.checks && !reject.is_empty() && text.iter().any(|b| reject.contains(b)) {
            self.reject_content(text);
            return;
        }
        if strip.is_empty() || !text.iter().any(|b| strip.contains(b)) {
            self.walk(text, ended, io);
        } else {
            let kept: Vec<u8> = text.iter().copied().filter(|b| !strip.contains(b)).collect();
            self.walk(&kept, ended, io);
        }
        self.mid_line = !ended;
    }

    fn walk(&mut self, text: &[u8], ended: bool, io: &mut Io<'_>) {
        if self.mime.block != Block::Body && !self.collect_header(text, io) {
            if self.is_stopped() {
                return;
            }
            self.end_of_header(Some(text), io);
        } else if self.mime.block != Block::Body {
            return;
        }
        if !self.is_stopped() {
            self.body(text, ended, io);
        }
    }

    /// Text in a header block. False: it ends the block.
    fn collect_header(&mut self, text: &[u8], io: &mut Io<'_>) -> bool {
        if !self.header.is_empty() && (self.mid_line || matches!(text.first(), Some(b' ' | b'\t'))) {
            if self.header.len() < self.config.header_size_limit {
                if !self.mid_line {
                    self.header.push(b'\n');
                }
                self.header.extend_from_slice(text);
            }
            return true;
        }
        self.flush_header(io);
        if self.is_stopped() {
            return false;
        }
        let Some((name, colon)) = is_header(text) else { return false };
        self.header.extend_from_slice(&text[..name]);
        self.header.extend_from_slice(&text[colon..]);
        true
    }

    fn flush_header(&mut self, io: &mut Io<'_>) {
        if self.header.is_empty() {
            return;
        }
        let mut header = std::mem::take(&mut self.header);
        let name = memchr::memchr(b':', &header).unwrap_or(0);
        let known = Known::find(&header[..name]);
        if !self.config.disable_mime_input_processing {
            self.note_structure(known, &header);
        }
        self.header_line(known, &mut header, io);
        header.clear();
        self.header = header;
    }

    fn note_structure(&mut self, known: Option<Known>, header: &[u8]) {
        match known.map(|known| known.kind) {
            Some(Kind::ContentType) => {
                let (nesting, boundary) = (self.config.mime_nesting_limit, self.config.mime_boundary_length_limit);
                if !self.mime.content_type(value(header), nesting, boundary) && self.reports_nesting() {
                    self.violate(Rule::Nesting, header);
                }
            }
            Some(Kind::ContentTransferEncoding) => self.mime.content_transfer_encoding(value(header)),
            _ => {}
        }
        if (self.config.strict_7bit_headers || self.config.strict_8bitmime) && !header.is_ascii() {
            self.violate(Rule::EightBitHeader, header);
        }
    }

    /// A complete header, continuation lines joined by newlines.
    fn header_line(&mut self, known: Option<Known>, header: &mut Vec<u8>, io: &mut Io<'_>) {
        let mut known = known;
        let primary = self.mime.block == Block::Primary && !known.is_some_and(Known::is_mime);
        if self.checks {
            match self.check_header(known, header, io) {
                Fate::Keep => {}
                Fate::Drop => return,
                Fate::Replace(text) => {
                    header.clear();
                    header.extend_from_slice(text.as_bytes());
                    let name = memchr::memchr(b':', header).unwrap_or(0);
                    known = Known::find(header[..name].trim_ascii_end());
                }
            }
        }
        let Some(known) = known else {
            let name = memchr::memchr(b':', header).map_or(&header[..], |colon| header[..colon].trim_ascii_end());
            if !(primary && (self.is_forged(header) || self.is_dropped(&String::from_utf8_lossy(name)))) {
                self.write_header(header, io);
            }
            return;
        };
        if known.kind == Kind::ContentTransferEncoding && self.config.detect_8bit_encoding_header {
            let value = value(header).to_ascii_lowercase();
            self.effects.eight_bit |= value.starts_with(b"8bit") || value.starts_with(b"binary");
        }
        if !primary {
            self.write_header(header, io);
            return;
        }
        self.primary_header(known, header, io);
    }

    /// An `Authentication-Results:` that claims to be ours, from a client.
    fn is_forged(&self, header: &[u8]) -> bool {
        let Some(server) = self.config.results_of.as_deref().filter(|_| !self.ours) else { return false };
        let is_named = |(end, _): (usize, usize)| header[..end].eq_ignore_ascii_case(b"authentication-results");
        is_header(header).is_some_and(is_named) && results::is_of(value(header), server)
    }

    fn primary_header(&mut self, known: Known, header: &mut Vec<u8>, io: &mut Io<'_>) {
        self.seen |= known.bit();
        match known.kind {
            Kind::MessageId => {
                self.message_id = printable(value(header));
                self.log_id("message-id", &self.message_id.clone());
            }
            Kind::ResentMessageId => self.log_id("resent-message-id", &printable(value(header))),
            Kind::Received => {
                self.hops += 1;
                if self.hops >= self.config.hopcount_limit {
                    self.warn(format!("{}: message rejected: hopcount exceeded", self.context.queue_id));
                    self.refuse("554 5.4.0 Error: too many hops".to_owned());
                }
            }
            _ => {}
        }
        if self.is_stopped() {
            return;
        }
        self.resent |= known.is_resent();
        if known.addresses != Addresses::None {
            self.rewrite_header(known, header, io);
            if self.is_stopped() {
                return;
            }
        }
        if !self.is_dropped(known.name) {
            self.write_header(header, io);
        }
    }

    /// `message_drop_headers`: of any name, known or not.
    fn is_dropped(&self, name: &str) -> bool {
        self.config.message_drop_headers.iter().any(|dropped| dropped.eq_ignore_ascii_case(name))
    }

    pub(super) fn log_id(&mut self, name: &str, id: &str) {
        self.log.push(LogLine::cleanup(format!("{}: {name}={id}", self.context.queue_id)));
    }

    pub(super) fn has_seen(&self, kind: Kind) -> bool {
        self.seen & bit(kind) != 0
    }

    /// The end of a header block; `text` is what ended it, `None` at the end of the message.
    fn end_of_header(&mut self, text: Option<&[u8]>, io: &mut Io<'_>) {
        let primary = self.mime.block == Block::Primary;
        if primary {
            self.complete_header(io);
        }
        if self.config.strict_mime_encoding_domain && self.mime.has_bad_encoding_domain() {
            let name = self.mime.encoding.name();
            self.violate(Rule::EncodingDomain, name.as_bytes());
        }
        match text {
            Some(b"") if !self.config.disable_mime_input_processing => self.mime.end_header(),
            Some(text) if primary && !text.is_empty() => {
                match self.config.non_empty_end_of_header_action {
                    EndOfHeaderAction::FixQuietly => {}
                    EndOfHeaderAction::AddHeader => {
                        io.out.extend_from_slice(b"MIME-Error: message header was not terminated by empty line\n");
                    }
                    EndOfHeaderAction::Reject => self.violate(Rule::EndOfHeader, text),
                }
                io.out.push(b'\n');
                self.mime.enter_body();
            }
            _ => self.mime.enter_body(),
        }
        if self.mime.block == Block::Nested {
            // The empty line itself is written, but belongs to no segment yet.
            io.out.push(b'\n');
        }
    }

    fn body(&mut self, text: &[u8], ended: bool, io: &mut Io<'_>) {
        if self.mime.block == Block::Nested {
            return;
        }
        if self.reports_8bit_body() && self.mime.encoding == Encoding::SevenBit && !text.is_ascii() {
            self.violate(Rule::EightBitBody, text);
        }
        if self.mime.has_boundaries() && !self.mid_line && text.starts_with(b"--") {
            self.mime.boundary(text);
        }
        let offset = self.mime.body_offset;
        self.mime.body_offset = offset.saturating_add(text.len() + 1);
        let limit = self.config.body_checks_size_limit;
        if self.checks && !self.config.body_checks.is_empty() && (limit == 0 || offset < limit) {
            match self.check_body(text, io) {
                Fate::Keep => {}
                Fate::Drop => return,
                Fate::Replace(text) => return write_piece(text.as_bytes(), ended, io),
            }
        }
        write_piece(text, ended, io);
    }

    /// The end of the message: a header may be open, and broken rules come due.
    pub(super) fn end_of_content(&mut self, io: &mut Io<'_>) {
        if self.is_stopped() {
            return;
        }
        if self.mime.block != Block::Body {
            self.flush_header(io);
            if self.is_stopped() {
                return;
            }
            self.end_of_header(None, io);
        }
        if let Some(rule) = Rule::ALL.into_iter().find(|&rule| self.violations & (1 << rule as u8) != 0) {
            self.refuse(format!("550 5.6.0 {}", rule.text()));
        }
    }

    pub(super) fn reports_8bit_body(&self) -> bool {
        (self.config.strict_8bitmime || self.config.strict_8bitmime_body)
            && self.violations & (1 << Rule::EightBitBody as u8) == 0
    }

    fn reports_nesting(&self) -> bool {
        let config = &self.config;
        config.strict_8bitmime
            || config.strict_7bit_headers
            || config.strict_8bitmime_body
            || config.strict_mime_encoding_domain
            || [&config.header_checks, &config.mime_header_checks, &config.nested_header_checks, &config.body_checks]
                .iter()
                .any(|maps| !maps.is_empty())
    }

    /// Log a broken rule, once; the message is refused at its end.
    fn violate(&mut self, rule: Rule, text: &[u8]) {
        let mask = 1 << rule as u8;
        if self.violations & mask != 0 {
            return;
        }
        self.violations |= mask;
        let excerpt = printable(&text[..text.len().min(EXCERPT)]);
        let context = &self.context;
        let recipient = context.last_recipient.as_deref().unwrap_or("unknown");
        self.log.push(LogLine::cleanup(format!(
            "{}: reject: mime-error {}: {excerpt} from {}; from=<{}> to=<{}>",
            context.queue_id,
            rule.text(),
            context.origin,
            smtp::address::quote_local(&context.sender),
            smtp::address::quote_local(recipient),
        )));
    }
}

fn write_piece(text: &[u8], ended: bool, io: &mut Io<'_>) {
    io.out.extend_from_slice(text);
    if ended {
        io.out.push(b'\n');
    }
}
