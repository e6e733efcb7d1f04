//! Logical lines of table sources: comments and blank lines skipped, lines that start with whitespace joined to the
//! one before (postmap(1), TABLE FORMAT).

use config::{Diagnostic, Span};
use memchr::memchr;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

/// A logical line longer than this is no table line but a broken file.
pub(crate) const LINE_LIMIT: usize = 1 << 20;

/// More warnings than this about one file are only counted.
const WARNING_LIMIT: usize = 100;

/// A blank in the sense of the C library's isspace(3).
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The text without blanks at its start.
pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    text
}

/// The text without blanks at its end.
pub(crate) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

/// One logical line, cut at the first NUL as a C string would be.
pub(crate) struct Line<'a> {
    /// The number of its first physical line, from 1.
    pub(crate) number: u32,
    /// Its text without newlines.
    pub(crate) text: Cow<'a, [u8]>,
}

/// The logical lines of a text.
pub(crate) struct LogicalLines<'a> {
    rest: &'a [u8],
    number: u32,
}

/// A logical line passed [`LINE_LIMIT`]; it starts at this line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong(pub(crate) u32);

impl<'a> LogicalLines<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { rest: text, number: 0 }
    }

    /// The next physical line without its newline.
    fn physical(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number = self.number.saturating_add(1);
        let end = memchr(b'\n', self.rest);
        let line = &self.rest[..end.unwrap_or(self.rest.len())];
        self.rest = end.map_or(&[], |end| &self.rest[end + 1..]);
        Some(line)
    }

    /// Does the next physical line belong to this logical one (or is it a comment between)?
    fn continues(&self) -> bool {
        self.rest.first().is_some_and(|&first| first == b'#' || is_space(first))
    }
}

/// A comment, or nothing at all?
fn is_void(line: &[u8]) -> bool {
    line.iter().find(|byte| !is_space(**byte)).is_none_or(|&first| first == b'#')
}

impl<'a> Iterator for LogicalLines<'a> {
    type Item = Result<Line<'a>, TooLong>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = loop {
            let line = self.physical()?;
            if !is_void(line) {
                break line;
            }
        };
        let number = self.number;
        let mut text = Cow::Borrowed(first);
        while text.len() <= LINE_LIMIT && self.continues() {
            match self.physical() {
                Some(more) if !is_void(more) => text.to_mut().extend_from_slice(more),
                Some(_) => {}
                None => break,
            }
        }
        if text.len() > LINE_LIMIT {
            self.rest = &[];
            return Some(Err(TooLong(number)));
        }
        if let Some(end) = memchr(0, &text) {
            text = match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                Cow::Owned(mut text) => {
                    text.truncate(end);
                    Cow::Owned(text)
                }
            };
        }
        Some(Ok(Line { number, text }))
    }
}

/// Text for a warning: control characters and bytes that aren't UTF-8 become question marks, as in Postfix's own.
pub(crate) fn printable(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        out.extend(chunk.valid().chars().map(|letter| if letter.is_ascii_control() { '?' } else { letter }));
        out.extend(chunk.invalid().iter().map(|_| '?'));
    }
    out
}

/// As [`printable`]; without UTF-8, all that isn't ASCII becomes question marks.
pub fn printable_as(text: &[u8], utf8: bool) -> String {
    if utf8 {
        return printable(text);
    }
    text.iter().map(|&byte| if byte.is_ascii() && !byte.is_ascii_control() { char::from(byte) } else { '?' }).collect()
}

/// Why a logical line can't be used, in Postfix's words: it starts with whitespace, or isn't UTF-8 although it must.
/// So many bytes of the line are shown at most.
pub(crate) fn objection(line: &Line<'_>, file: &str, utf8: bool, most: usize) -> Option<String> {
    let text = line.text.as_ref();
    if text.first().is_some_and(|&first| is_space(first)) {
        let (shown, more) = if text.len() > 30 { (&text[..30], "...") } else { (text, "") };
        let shown = printable(shown);
        return Some(format!("{file}: logical line must not start with whitespace: \"{shown}{more}\""));
    }
    if utf8 && std::str::from_utf8(text).is_err() {
        let shown = printable(&text[..text.len().min(most)]);
        return Some(format!("{file}, line {}: non-UTF-8 input \"{shown}\" -- ignoring this line", line.number));
    }
    None
}

/// Collects the warnings about one file, in bounds.
pub(crate) struct Warnings {
    file: Arc<str>,
    list: Vec<Diagnostic>,
    untold: usize,
}

impl Warnings {
    pub(crate) fn new(path: &Path) -> Self {
        Self { file: path.display().to_string().into(), list: Vec::new(), untold: 0 }
    }

    /// The file's name as it stands in messages.
    pub(crate) fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// A place in the file.
    pub(crate) fn at(&self, line: u32) -> Option<Span> {
        Some(Span::new(self.file.clone(), line))
    }

    /// Add one; the text is only made if it will be seen.
    pub(crate) fn add(&mut self, line: u32, code: &'static str, help: &str, message: impl FnOnce(&str) -> String) {
        if self.list.len() >= WARNING_LIMIT {
            self.untold += 1;
            return;
        }
        let text = printable(message(&self.file).as_bytes());
        let diagnostic = Diagnostic::warning(code, text).at(self.at(line));
        self.list.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    /// All of them.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        if self.untold > 0 {
            let text = format!("{}: {} more warnings", self.file, self.untold);
            self.list.push(Diagnostic::warning("table-warnings", text).at(self.at(0)));
        }
        self.list
    }

    /// The checks common to all table sources: a logical line that starts with whitespace, or isn't UTF-8, is skipped.
    pub(crate) fn usable<'l>(&mut self, line: &'l Line<'_>) -> Option<&'l str> {
        let text = line.text.as_ref();
        if let Some(objection) = objection(line, &self.file, true, 100) {
            let indented = text.first().is_some_and(|&first| is_space(first));
            let (code, help) = match indented {
                true => ("table-line", "start the line in its first column"),
                false => ("table-utf8", "save the file in UTF-8"),
            };
            self.add(line.number, code, help, |_| objection);
            return None;
        }
        std::str::from_utf8(text).ok()
    }

    /// The error for a line past the limit.
    pub(crate) fn too_long(&self, TooLong(line): TooLong) -> Diagnostic {
        let text = format!("{}, line {line}: logical line is longer than {LINE_LIMIT} bytes", self.file);
        Diagnostic::error("table-line-too-long", text)
            .at(self.at(line))
            .help("lines that start with whitespace continue the line before: start entries in the first column")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<(u32, String)> {
        LogicalLines::new(text)
            .map(|line| line.unwrap())
            .map(|line| (line.number, String::from_utf8_lossy(&line.text).into_owned()))
            .collect()
    }

    #[test]
    fn joins_and_skips() {
        let text = b"# c\n\na  \n  b\n \n#x\n  # y\n\tc\nd\n   \x0b\ne\0f\n  g\n h";
        let expected = [(3, "a    b\tc"), (9, "d"), (11, "e")];
        assert_eq!(lines(text), expected.map(|(n, t)| (n, t.to_owned())));
        assert_eq!(lines(b"  lead\n x\n"), [(1, "  lead x".to_owned())]);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn endless_continuations_end() {
        let mut text = b"a b\n".to_vec();
        for _ in 0..LINE_LIMIT / 4 {
            text.extend_from_slice(b"    x\n");
        }
        assert_eq!(LogicalLines::new(&text).next().unwrap().err(), Some(TooLong(1)));
    }
}
