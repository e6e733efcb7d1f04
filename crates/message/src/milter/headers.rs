//! The header of a message while filters look at it and change it.

use crate::cleanup::is_header;

/// The longest header section that filters get to see.
pub const HEADERS_LIMIT: usize = 4 << 20;

/// One header, with its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    text: Vec<u8>,
    /// Length of the name, and where the colon stands.
    name: usize,
    colon: usize,
    /// Our own `Received:`, which filters don't see.
    is_own: bool,
}

impl Header {
    fn is_named(&self, name: &[u8]) -> bool {
        self.text[..self.name].eq_ignore_ascii_case(name)
    }
}

/// All headers of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderSection {
    headers: Vec<Header>,
    /// So many bytes of the content are headers, without the empty line.
    length: usize,
    changed: bool,
}

impl HeaderSection {
    /// Where the headers of a text end, if that can be seen; else more of the text is needed (or it has no body).
    pub fn end(text: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(length) = memchr::memchr(b'\n', &text[at..]) {
            let line = &text[at..at + length];
            let continues = at > 0 && matches!(line.first(), Some(b' ' | b'\t'));
            if !continues && is_header(line).is_none() {
                return Some(at);
            }
            at += length + 1;
        }
        None
    }

    /// Take headers apart: the text up to [`Self::end`].
    pub fn parse(text: &[u8]) -> Self {
        let mut section = Self { length: text.len(), ..Self::default() };
        let mut rest = text;
        while !rest.is_empty() {
            let mut end = 0;
            loop {
                end += memchr::memchr(b'\n', &rest[end..]).map_or(rest.len() - end, |at| at + 1);
                if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                    break;
                }
            }
            let mut header = rest[..end].to_vec();
            if !header.ends_with(b"\n") {
                header.push(b'\n');
            }
            if let Some((name, colon)) = is_header(&header) {
                let received = header[..name].eq_ignore_ascii_case(b"Received");
                let is_own = received && !section.headers.iter().any(|known| known.is_own);
                section.headers.push(Header { text: header, name, colon, is_own });
            }
            rest = &rest[end..];
        }
        section
    }

    /// So many bytes of the content were headers.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Is anything different now?
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Name and value of one, as filters see it; `None` for our own.
    pub fn shown(&self, number: usize) -> Option<(&[u8], &[u8])> {
        let header = self.headers.get(number).filter(|header| !header.is_own)?;
        let value = &header.text[header.colon + 1..];
        Some((&header.text[..header.name], value.strip_suffix(b"\n").unwrap_or(value)))
    }

    /// `Name: value` of a filter's words: line ends as in the queue, lines that continue begin with a blank. `None` if
    /// that is no header.
    pub fn compose(name: &[u8], value: &[u8], has_leading_space: bool) -> Option<Vec<u8>> {
        let mut text = name.to_vec();
        text.push(b':');
        let plain = is_header(&text).filter(|&(end, colon)| end == name.len() && colon == end);
        plain?;
        if !has_leading_space {
            text.push(b' ');
        }
        for (number, line) in value.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if number > 0 {
                if line.is_empty() {
                    // It would end the header.
                    continue;
                }
                text.push(b'\n');
                if !matches!(line.first(), Some(b' ' | b'\t')) {
                    text.push(b'\t');
                }
            }
            text.extend(line.iter().filter(|&&byte| byte != b'\r' && byte != 0));
        }
        text.push(b'\n');
        Some(text)
    }

    fn header(text: Vec<u8>) -> Option<Header> {
        let (name, colon) = is_header(&text)?;
        Some(Header { text, name, colon, is_own: false })
    }

    /// One more (composed), after so many others; past the last one it is the last.
    pub fn insert(&mut self, index: usize, text: Vec<u8>) {
        if let Some(header) = Self::header(text) {
            self.headers.insert(index.min(self.headers.len()), header);
            self.changed = true;
        }
    }

    /// Which one a filter means: the `index`th of that name, our own not counted.
    pub fn find(&self, index: u32, name: &[u8]) -> Option<usize> {
        let nth = usize::try_from(index.max(1) - 1).ok()?;
        let named = self.headers.iter().enumerate().filter(|(_, header)| !header.is_own && header.is_named(name));
        named.map(|(number, _)| number).nth(nth)
    }

    /// Another text for one of them; `None`: it goes.
    pub fn replace(&mut self, number: usize, text: Option<Vec<u8>>) {
        if number >= self.headers.len() {
            return;
        }
        self.changed = true;
        match text.and_then(Self::header) {
            Some(header) => self.headers[number] = header,
            None => {
                self.headers.remove(number);
            }
        }
    }

    /// All of them, as they stand in the content.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.headers.iter().for_each(|header| out.extend_from_slice(&header.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "X-Pre: p\nReceived: from a\n\tby b\nSubject: one\n two\nReceived: old\nX-Dup: 1\nX-Dup: 2\n";

    fn written(section: &HeaderSection) -> String {
        let mut out = Vec::new();
        section.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn composed(name: &str, value: &str) -> Vec<u8> {
        HeaderSection::compose(name.as_bytes(), value.as_bytes(), false).unwrap()
    }

    #[test]
    fn headers_end_where_the_body_begins() {
        for (text, want) in [
            ("A: b\n\nbody", Some(5)),
            ("A: b\n c\n\n", Some(8)),
            ("\nbody", Some(0)),
            (" x: y\n", Some(0)),
            ("A: b\nno header\n", Some(5)),
            ("A: b\n", None),
            ("A: b", None),
            ("", None),
        ] {
            assert_eq!(HeaderSection::end(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn filters_see_all_but_our_own() {
        let section = HeaderSection::parse(TEXT.as_bytes());
        let seen: Vec<String> = (0..section.len())
            .filter_map(|number| section.shown(number))
            .map(|(name, value)| format!("{}|{}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
            .collect();
        assert_eq!(seen, ["X-Pre| p", "Subject| one\n two", "Received| old", "X-Dup| 1", "X-Dup| 2"]);
        assert_eq!((written(&section).as_str(), section.is_changed()), (TEXT, false));
    }

    #[test]
    fn changes() {
        let mut section = HeaderSection::parse(TEXT.as_bytes());
        let found = section.find(1, b"received").unwrap();
        section.replace(found, Some(composed("Received", "new")));
        let found = section.find(0, b"x-dup").unwrap();
        section.replace(found, None);
        assert_eq!(section.find(2, b"X-Dup"), None);
        section.insert(1, composed("X-One", "i"));
        section.insert(99, composed("X-Last", "a\r\nb\n c\n\n"));
        assert!(section.is_changed());
        assert_eq!(
            written(&section),
            "X-Pre: p\nX-One: i\nReceived: from a\n\tby b\nSubject: one\n two\nReceived: new\nX-Dup: 2\nX-Last: a\n\tb\n c\n"
        );
    }

    #[test]
    fn what_is_no_header_is_not_composed() {
        for name in ["", "Bad Name", "a:b", "caf\u{e9}", "X\n"] {
            assert_eq!(HeaderSection::compose(name.as_bytes(), b"x", false), None, "{name:?}");
        }
        assert_eq!(HeaderSection::compose(b"X", b"\tx", true).unwrap(), b"X:\tx\n");
    }
}
