//! Command lines: their words, and what may be shown of them.

use std::fmt;

/// A word of a command line. Quotes, brackets and backslashes are still on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// A quote or bracket was left open.
    pub(super) unclosed: bool,
}

/// Cuts a line into words: at blanks outside `<…>`, `[…]` and `"…"`, and behind `FROM:` and `TO:`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    /// All that is left, without blanks around it.
    pub(super) fn rest(&self) -> &'a str {
        self.rest.trim_matches(is_blank)
    }
}

fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let line = self.rest.trim_start_matches(is_blank);
        if line.is_empty() {
            self.rest = line;
            return None;
        }
        let bytes = line.as_bytes();
        let mut unclosed = false;
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                byte if is_blank(char::from(byte)) => break,
                b'<' => at = quoted(bytes, at, b'>', &mut unclosed),
                b'[' => at = quoted(bytes, at, b']', &mut unclosed),
                b'"' => at = quoted(bytes, at, b'"', &mut unclosed),
                b':' => {
                    at += 1;
                    let word = &bytes[..at];
                    if word.eq_ignore_ascii_case(b"to:") || word.eq_ignore_ascii_case(b"from:") {
                        break;
                    }
                }
                _ => at += 1,
            }
        }
        // Breaks fall on ASCII bytes or the end, so this is a character boundary.
        let (text, rest) = line.split_at(at.min(line.len()));
        self.rest = rest;
        Some(Word { text, unclosed })
    }
}

/// The place after the bracket or quote that begins at `at`; quotes inside brackets may hold anything.
fn quoted(bytes: &[u8], mut at: usize, close: u8, unclosed: &mut bool) -> usize {
    at += 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == close => return at + 1,
            b'"' if close != b'"' => at = quoted(bytes, at, b'"', unclosed),
            _ => at += 1,
        }
    }
    *unclosed = true;
    bytes.len()
}

/// Text for replies and logs: control characters become `?`.
pub(super) struct Printable<'a>(pub(super) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces = self.0.split(|c: char| c.is_ascii_control());
        f.write_str(pieces.next().unwrap_or_default())?;
        pieces.try_for_each(|piece| write!(f, "?{piece}"))
    }
}

/// Bytes in C escapes, as the pipelining log line shows them.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for &byte in bytes {
        match byte {
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            12 => text.push_str("\\f"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            11 => text.push_str("\\v"),
            b'\\' => text.push_str("\\\\"),
            32..=126 => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text
}

/// Does a line look like a message header (`Name: …`)?
pub(super) fn is_header(line: &str) -> bool {
    let name = line.bytes().take_while(|&b| b > b' ' && b < 127 && b != b':').count();
    name > 0 && line[name..].trim_start_matches([' ', '\t']).starts_with(':')
}

/// The value of RFC 3461 xtext; `None` when it is none.
pub(super) fn xtext(text: &str) -> Option<String> {
    if !text.contains('+') {
        return Some(text.to_owned());
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'+' {
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            plain.push((high * 16 + low) as u8);
        } else {
            plain.push(byte);
        }
    }
    String::from_utf8(plain).ok()
}

/// The value of RFC 6533 unitext (`\x{…}`), as in `ORCPT=utf-8;…`.
pub(super) fn unitext(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\x{") {
        plain.push_str(&rest[..at]);
        let (digits, tail) = rest[at + 3..].split_once('}')?;
        plain.push(u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?);
        rest = tail;
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&str> {
        Words::new(line).map(|w| w.text).collect()
    }

    #[test]
    fn lines_are_cut_into_words() {
        for (line, expected) in [
            ("", &[] as &[&str]),
            ("  \t", &[]),
            ("MAIL FROM:<a@b>", &["MAIL", "FROM:", "<a@b>"]),
            ("MAIL FROM: a@b SIZE=1", &["MAIL", "FROM:", "a@b", "SIZE=1"]),
            ("mail from:a@b", &["mail", "from:", "a@b"]),
            ("RCPT TO :<a>", &["RCPT", "TO", ":<a>"]),
            ("RCPT TO:<a b> X", &["RCPT", "TO:", "<a b>", "X"]),
            ("RCPT TO:\"a > b\"<c>", &["RCPT", "TO:", "\"a > b\"<c>"]),
            ("RCPT TO:<\"a > b\"@c> d", &["RCPT", "TO:", "<\"a > b\"@c>", "d"]),
            ("RCPT TO:<a\\> b>", &["RCPT", "TO:", "<a\\> b>"]),
            ("X a@[1.2 3] é", &["X", "a@[1.2 3]", "é"]),
            ("a \"b", &["a", "\"b"]),
            ("a <é\\", &["a", "<é\\"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
        let mut unclosed = Words::new("a <b");
        assert!(!unclosed.next().unwrap().unclosed);
        assert!(unclosed.next().unwrap().unclosed);
        assert_eq!(Words::new("  a b  ").rest(), "a b");
    }

    #[test]
    fn what_logs_show() {
        assert_eq!(Printable("a\rb\x00").to_string(), "a?b?");
        assert_eq!(escaped(b"NOOP\r\n\t\\\x01x\x012\xff"), "NOOP\\r\\n\\t\\\\\\001x\\0012\\377");
    }

    #[test]
    fn headers() {
        for line in ["Subject: hello", "Subject : hello", "NOOP:", "X-a:b"] {
            assert!(is_header(line), "{line}");
        }
        for line in ["NOOP", ":x", " Subject: x", "a b: c", "é: x"] {
            assert!(!is_header(line), "{line}");
        }
    }

    #[test]
    fn encodings() {
        for (text, value) in [
            ("abc", Some("abc")),
            ("a+20b", Some("a b")),
            ("a+4a", Some("aJ")),
            ("a+4", None),
            ("a+zz", None),
            ("a+FF", None),
            ("+C3+A9", Some("é")),
        ] {
            assert_eq!(xtext(text).as_deref(), value, "{text}");
        }
        assert_eq!(unitext("a\\x{e9}b").as_deref(), Some("aéb"));
        assert_eq!(unitext("a\\x{e9b"), None);
        assert_eq!(unitext("a\\x{110000}"), None);
    }
}
