//! Message content on its way in: DATA and BDAT (RFC 5321 §4.5.2, RFC 3030), line ends, dots, size.

use memchr::{memchr, memchr_iter};

/// Content is handed out when there is at least this much of it.
pub(super) const CHUNK: usize = 16 * 1024;
/// A line is handed out in pieces when it grows beyond this.
const PIECE: usize = 8 * 1024;

/// How to read content.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContentRules {
    /// Is a bare LF noticed at all (`smtpd_forbid_bare_newline`, client not excluded)?
    pub(super) detect_bare_lf: bool,
    /// Is a bare LF a reason to refuse the message?
    pub(super) reject_bare_lf: bool,
    /// `cleanup_replace_stray_cr_lf`
    pub(super) replace_stray_cr: bool,
    /// `message_size_limit`
    pub(super) size_limit: u64,
}

/// Why the rest of the content is thrown away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    BareLf,
    Size,
    Refused(String),
}

/// The content of one message.
#[derive(Debug)]
pub(super) struct Content {
    /// Lines ready for the driver.
    pub(super) out: Vec<u8>,
    /// Size so far: each line with two bytes for its end.
    pub(super) bytes: u64,
    pub(super) failure: Option<Failure>,
    pub(super) bare_lf: bool,
    /// The end of a BDAT chunk that is not the end of a line.
    carry: Vec<u8>,
    /// No line yet, or only `From ` lines.
    first: bool,
    /// In the middle of a line of which a piece is already out.
    inside: bool,
    /// The line before ended in CRLF.
    after_crlf: bool,
}

impl Content {
    pub(super) fn new() -> Self {
        Self {
            out: Vec::new(),
            bytes: 0,
            failure: None,
            bare_lf: false,
            carry: Vec::new(),
            first: true,
            inside: false,
            after_crlf: true,
        }
    }

    /// Bytes so far, with what is not yet a line.
    pub(super) fn received(&self) -> u64 {
        self.bytes + self.carry.len() as u64
    }

    /// Read DATA content; returns how much was used up, and whether that was the end of the message.
    /// Stops early when enough is ready to be handed out.
    pub(super) fn data(&mut self, input: &[u8], rules: ContentRules) -> (usize, bool) {
        let mut used = 0;
        for end in memchr_iter(b'\n', input) {
            let (line, crlf) = self.cut_line(&input[used..end], rules);
            used = end + 1;
            if !self.inside && line.first() == Some(&b'.') {
                if line.len() > 1 {
                    self.line(&line[1..], rules);
                } else if !rules.detect_bare_lf || (crlf && self.after_crlf) {
                    return (used, true);
                }
            } else {
                self.line(line, rules);
            }
            self.after_crlf = crlf;
            if self.out.len() >= CHUNK {
                return (used, false);
            }
        }
        let rest = &input[used..];
        if rest.len() > PIECE {
            let kept = piece_length(rest);
            let stuffed = !self.inside && rest[0] == b'.';
            self.piece(&rest[usize::from(stuffed)..kept], rules);
            used += kept;
        }
        (used, false)
    }

    /// Read part of a BDAT chunk. All of it is used up, unless enough is ready to be handed out.
    pub(super) fn bdat(&mut self, input: &[u8], rules: ContentRules) -> usize {
        let mut used = 0;
        while let Some(length) = memchr(b'\n', &input[used..]) {
            let piece = &input[used..used + length];
            used += length + 1;
            if self.carry.is_empty() {
                let (line, _) = self.cut_line(piece, rules);
                self.line(line, rules);
            } else {
                let mut carry = std::mem::take(&mut self.carry);
                carry.extend_from_slice(piece);
                let (line, _) = self.cut_line(&carry, rules);
                self.line(line, rules);
                carry.clear();
                self.carry = carry;
            }
            if self.out.len() >= CHUNK {
                return used;
            }
        }
        self.carry.extend_from_slice(&input[used..]);
        if self.carry.len() > PIECE {
            let mut carry = std::mem::take(&mut self.carry);
            let kept = piece_length(&carry);
            self.piece(&carry[..kept], rules);
            carry.drain(..kept);
            self.carry = carry;
        }
        input.len()
    }

    /// The last BDAT chunk is in: a last line without line end gets one.
    pub(super) fn bdat_end(&mut self, rules: ContentRules) {
        let carry = std::mem::take(&mut self.carry);
        if !carry.is_empty() || self.inside {
            self.line(&carry, rules);
        }
    }

    /// Take the CR off a line, and tell if there was one.
    fn cut_line<'a>(&mut self, line: &'a [u8], rules: ContentRules) -> (&'a [u8], bool) {
        match line.split_last() {
            Some((b'\r', rest)) => {
                let all = if rules.detect_bare_lf { 0 } else { trailing_crs(rest) };
                (&rest[..rest.len() - all], true)
            }
            _ => {
                if rules.detect_bare_lf {
                    self.bare_lf = true;
                    if rules.reject_bare_lf {
                        self.failure = Some(Failure::BareLf);
                    }
                }
                (line, false)
            }
        }
    }

    fn line(&mut self, line: &[u8], rules: ContentRules) {
        self.piece(line, rules);
        if self.inside {
            self.inside = false;
            if self.failure.is_none() {
                self.out.push(b'\n');
            }
        }
    }

    /// A line, or a piece of one. The line end is the caller's business.
    fn piece(&mut self, text: &[u8], rules: ContentRules) {
        if self.failure.is_some() {
            self.inside = true;
            return;
        }
        if self.first && !self.inside {
            if is_mailbox_line(text) {
                self.inside = true;
                self.out.extend_from_slice(b"X-Mailbox-Line: ");
                self.append(text, rules);
                return;
            }
            self.first = false;
            if matches!(text.first(), Some(b' ' | b'\t')) {
                self.out.push(b'\n');
            }
        }
        let length = text.len() as u64 + if self.inside { 0 } else { 2 };
        self.inside = true;
        if rules.size_limit > 0 && rules.size_limit.saturating_sub(self.bytes) < length {
            self.failure = Some(Failure::Size);
            return;
        }
        self.bytes += length;
        self.append(text, rules);
    }

    fn append(&mut self, text: &[u8], rules: ContentRules) {
        let start = self.out.len();
        self.out.extend_from_slice(text);
        if rules.replace_stray_cr && memchr(b'\r', text).is_some() {
            self.out[start..].iter_mut().filter(|b| **b == b'\r').for_each(|b| *b = b' ');
        }
    }
}

/// How much of an unfinished line may go: all but the CRs that may be part of its end. Of a great many, just one.
fn piece_length(text: &[u8]) -> usize {
    let crs = trailing_crs(text);
    if crs > text.len() / 2 { text.len() - 1 } else { text.len() - crs }
}

fn trailing_crs(text: &[u8]) -> usize {
    text.iter().rev().take_while(|&&b| b == b'\r').count()
}

/// `From `, after any number of `>`.
fn is_mailbox_line(text: &[u8]) -> bool {
    let quotes = text.iter().take_while(|&&b| b == b'>').count();
    text[quotes..].starts_with(b"From ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ContentRules =
        ContentRules { detect_bare_lf: true, reject_bare_lf: false, replace_stray_cr: true, size_limit: 0 };
    const LOOSE: ContentRules = ContentRules { detect_bare_lf: false, ..RULES };

    /// Feed `input` in pieces of `step`, keep what is not used up.
    fn data(input: &[u8], step: usize, rules: ContentRules) -> (String, bool, usize, Content) {
        let mut content = Content::new();
        let mut out = Vec::new();
        let mut buffer = Vec::new();
        let mut fed = 0;
        let mut end = false;
        while !end {
            let (used, ended) = content.data(&buffer, rules);
            out.append(&mut content.out);
            buffer.drain(..used);
            end = ended;
            if used == 0 && !end {
                if fed == input.len() {
                    break;
                }
                let next = (fed + step).min(input.len());
                buffer.extend_from_slice(&input[fed..next]);
                fed = next;
            }
        }
        (String::from_utf8_lossy(&out).into_owned(), end, input.len() - fed + buffer.len(), content)
    }

    #[test]
    fn data_lines() {
        for (rules, input, out, left) in [
            (RULES, "a\r\n\r\n..b\r\n.\r\nQUIT\r\n", Some("a\n\n.b\n"), 6),
            (RULES, ".\r\n", Some(""), 0),
            (RULES, "body\n.\nmore\r\n.\r\n", Some("body\nmore\n"), 0),
            (RULES, "body\n.\r\nmore\r\n.\r\n", Some("body\nmore\n"), 0),
            (RULES, "body\r\n.\nmore\r\n.\r\n", Some("body\nmore\n"), 0),
            (RULES, "body\n.\r\n.\r\n", Some("body\n"), 0),
            (LOOSE, "body\n.\nx", Some("body\n"), 1),
            (LOOSE, "body\n.\r\n", Some("body\n"), 0),
            (LOOSE, "body\r\n.\n", Some("body\n"), 0),
            (RULES, "one\rtwo\r\n..dot\r\n.\r.\r\n.\r\n", Some("one two\n.dot\n .\n"), 0),
            (RULES, "x\r\r\n.\r\n", Some("x \n"), 0),
            (LOOSE, "x\r\r\r\n.\r\n", Some("x\n"), 0),
            (
                RULES,
                "From a\r\n>From b\r\nx\r\nFrom c\r\n.\r\n",
                Some("X-Mailbox-Line: From a\nX-Mailbox-Line: >From b\nx\nFrom c\n"),
                0,
            ),
            (RULES, " x\r\ny\r\n.\r\n", Some("\n x\ny\n"), 0),
            (RULES, "x\r\n..\r\n", None, 0),
        ] {
            for step in 1..=input.len() {
                let (text, end, rest, _) = data(input.as_bytes(), step, rules);
                assert_eq!(end, out.is_some(), "{input:?}");
                if let Some(out) = out {
                    assert_eq!((text.as_str(), rest), (out, left), "{input:?} by {step}");
                }
            }
        }
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let long = "x".repeat(3 * PIECE);
        for step in [1000, 5 * PIECE] {
            let (text, end, _, content) = data(format!("a\r\n.{long}\r\nb\r\n.\r\n").as_bytes(), step, RULES);
            assert!(end);
            assert_eq!(text, format!("a\n{long}\nb\n"));
            assert_eq!(content.bytes, 3 + 3 * PIECE as u64 + 2 + 3);
        }
        let crs = "\r".repeat(3 * PIECE);
        let (text, end, _, _) = data(format!("{crs}\n.\r\n").as_bytes(), 777, RULES);
        assert!(end);
        assert_eq!(text.len(), 3 * PIECE);
    }

    #[test]
    fn failures_swallow_the_rest() {
        let limited = ContentRules { size_limit: 10, ..RULES };
        let (_, end, _, content) = data(b"12345678\r\n\r\nmore\r\n.\r\n", 4, limited);
        assert!(end);
        assert_eq!((content.failure, content.bytes), (Some(Failure::Size), 10));
        let (_, _, _, content) = data(b"12345678\r\n.\r\n", 4, limited);
        assert_eq!(content.failure, None);
        let strict = ContentRules { reject_bare_lf: true, ..RULES };
        let (text, end, _, content) = data(b"a\r\nb\nc\r\n.\r\n", 100, strict);
        assert!(end && content.bare_lf);
        assert_eq!((text.as_str(), content.failure), ("a\n", Some(Failure::BareLf)));
    }

    #[test]
    fn bdat_chunks() {
        for (chunks, out, bytes) in [
            (&["Subject: x\r\n\r\nfoo\nbar\r\nM"] as &[&str], "Subject: x\n\nfoo\nbar\nM\n", 27),
            (&[".\r\n.\r\n"], ".\n.\n", 6),
            (&["Subject: x", "\r", "\n\r", "\nab"], "Subject: x\n\nab\n", 18),
            (&["a\r"], "a \n", 4),
            (&[""], "", 0),
        ] {
            let mut content = Content::new();
            for chunk in chunks {
                assert_eq!(content.bdat(chunk.as_bytes(), RULES), chunk.len());
            }
            content.bdat_end(RULES);
            assert_eq!((String::from_utf8_lossy(&content.out).as_ref(), content.bytes), (out, bytes), "{chunks:?}");
        }
    }
}
