//! The hash of a body in canonical form (RFC 6376, sections 3.4.3 to 3.4.5), computed while it passes.

use aws_lc_rs::digest::{Context, SHA256};

/// What is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Blanks count one at a time, and not at line ends.
    pub relaxed: bool,
    /// So many octets of the canonical form (`l=`).
    pub limit: Option<u64>,
}

/// A hash in the making.
#[derive(Clone)]
pub(super) struct BodyHash {
    pub kind: Kind,
    context: Context,
    total: u64,
    /// Empty lines that count if something follows.
    blank: u64,
    in_line: bool,
    /// There was white space before.
    space: bool,
}

impl std::fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyHash").field("kind", &self.kind).field("total", &self.total).finish_non_exhaustive()
    }
}

/// A hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hashed {
    pub kind: Kind,
    pub digest: Vec<u8>,
    /// How long the canonical body is.
    pub total: u64,
}

impl BodyHash {
    pub fn new(kind: Kind) -> Self {
        Self { kind, context: Context::new(&SHA256), total: 0, blank: 0, in_line: false, space: false }
    }

    /// A piece of the body, cut anywhere.
    pub fn feed(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            let end = memchr::memchr(b'\n', chunk);
            let text = &chunk[..end.unwrap_or(chunk.len())];
            if self.kind.relaxed {
                self.words(text)
            } else {
                self.text(text)
            }
            let Some(end) = end else { return };
            self.end_line();
            chunk = &chunk[end + 1..];
        }
    }

    pub fn finish(mut self) -> Hashed {
        if self.in_line {
            self.emit(b"\r\n");
        }
        if self.total == 0 && !self.kind.relaxed {
            self.emit(b"\r\n");
        }
        Hashed { kind: self.kind, digest: self.context.finish().as_ref().to_vec(), total: self.total }
    }

    fn end_line(&mut self) {
        self.space = false;
        if self.in_line {
            self.in_line = false;
            self.emit(b"\r\n");
        } else {
            self.blank += 1;
        }
    }

    fn words(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            let word = memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len());
            if word > 0 {
                self.flush_blank();
                if std::mem::take(&mut self.space) {
                    self.emit(b" ");
                }
                self.in_line = true;
                self.emit(&text[..word]);
            }
            let rest = &text[word..];
            let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            self.space |= blanks > 0;
            text = &rest[blanks..];
        }
    }

    fn text(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.flush_blank();
            self.in_line = true;
            self.emit(text);
        }
    }

    fn flush_blank(&mut self) {
        const LINES: [u8; 64] = lines();
        while self.blank > 0 {
            let now = self.blank.min(32);
            self.emit(&LINES[..2 * now as usize]);
            self.blank -= now;
        }
    }

    fn emit(&mut self, bytes: &[u8]) {
        let room = self.kind.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.total));
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        self.context.update(&bytes[..taken]);
        self.total += bytes.len() as u64;
    }
}

/// 32 line ends.
const fn lines() -> [u8; 64] {
    let mut lines = [b'\r'; 64];
    let mut at = 1;
    while at < 64 {
        lines[at] = b'\n';
        at += 2;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::digest;

    fn hashed(body: &str, relaxed: bool, limit: Option<u64>) -> Hashed {
        let kind = Kind { relaxed, limit };
        let mut whole = BodyHash::new(kind);
        whole.feed(body.as_bytes());
        let whole = whole.finish();
        for size in 1..4 {
            let mut pieces = BodyHash::new(kind);
            body.as_bytes().chunks(size).for_each(|piece| pieces.feed(piece));
            assert_eq!(pieces.finish(), whole, "{body:?} in pieces of {size}");
        }
        whole
    }

    /// The example of RFC 6376, section 3.4.5, and the corners around it.
    #[test]
    fn bodies_have_canonical_forms() {
        for (body, simple, relaxed) in [
            (" C \nD \t E\n\n\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"),
            ("", "\r\n", ""),
            ("\n\n\n", "\r\n", ""),
            (" \t\n", " \t\r\n", ""),
            ("a", "a\r\n", "a\r\n"),
            ("a\n \n\nb  \n", "a\r\n \r\n\r\nb  \r\n", "a\r\n\r\n\r\nb\r\n"),
            ("\n\na\u{c} \u{b}b\n", "\r\n\r\na\u{c} \u{b}b\r\n", "\r\n\r\na\u{c} \u{b}b\r\n"),
        ] {
            for (relaxed, canonical) in [(false, simple), (true, relaxed)] {
                let found = hashed(body, relaxed, None);
                assert_eq!(found.digest, digest(&SHA256, canonical.as_bytes()).as_ref(), "{body:?} {relaxed}");
                assert_eq!(found.total, canonical.len() as u64);
            }
        }
        let many = "\n".repeat(100) + "x\n";
        assert_eq!(hashed(&many, true, None).digest, digest(&SHA256, many.replace('\n', "\r\n").as_bytes()).as_ref());
    }

    #[test]
    fn a_limit_cuts_the_canonical_form() {
        let found = hashed("a  b\nc\n", true, Some(4));
        assert_eq!(found.digest, digest(&SHA256, b"a b\r").as_ref());
        assert_eq!(found.total, 8);
    }
}
