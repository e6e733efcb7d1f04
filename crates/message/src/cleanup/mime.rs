//! The MIME structure of a message, followed line by line (RFC 2045, RFC 2046), as far as header and body checks need
//! to know where they are.

/// Where the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// The message's own header.
    Primary,
    /// The header of a part.
    Multipart,
    /// The header of an attached message.
    Nested,
    /// Anything else.
    Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// message/rfc822 and message/global: headers follow.
    Message,
    /// multipart/*.
    Multipart,
    /// All else.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    SevenBit,
    EightBit,
    Binary,
    QuotedPrintable,
    Base64,
}

impl Encoding {
    fn find(name: &[u8]) -> Option<Self> {
        let known = [
            ("7bit", Self::SevenBit),
            ("8bit", Self::EightBit),
            ("binary", Self::Binary),
            ("quoted-printable", Self::QuotedPrintable),
            ("base64", Self::Base64),
        ];
        known.iter().find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes())).map(|&(_, found)| found)
    }

    /// The name, for log lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::SevenBit => "7bit",
            Self::EightBit => "8bit",
            Self::Binary => "binary",
            Self::QuotedPrintable => "quoted-printable",
            Self::Base64 => "base64",
        }
    }

    /// Is the content written in another alphabet than its own?
    fn is_encoded(self) -> bool {
        matches!(self, Self::QuotedPrintable | Self::Base64)
    }
}

#[derive(Clone, Debug)]
struct Boundary {
    text: Vec<u8>,
    /// What a part without Content-Type is.
    part: Media,
}

/// The state of the walk.
#[derive(Clone, Debug)]
pub(crate) struct Mime {
    pub block: Block,
    pub media: Media,
    pub encoding: Encoding,
    /// Bytes of this body segment so far, line ends included.
    pub body_offset: usize,
    stack: Vec<Boundary>,
    /// Multiparts entered so far; the first one is number -1, as Postfix counts.
    nesting: isize,
}

impl Mime {
    pub fn new() -> Self {
        Self {
            block: Block::Primary,
            media: Media::Other,
            encoding: Encoding::SevenBit,
            body_offset: 0,
            stack: Vec::new(),
            nesting: -1,
        }
    }

    fn enter(&mut self, block: Block, media: Media) {
        self.block = block;
        self.media = media;
        self.encoding = Encoding::SevenBit;
        if block == Block::Body {
            self.body_offset = 0;
        }
    }

    /// Take note of a Content-Type value. False: the nesting limit is exceeded, and the boundary is not looked for.
    pub fn content_type(&mut self, value: &[u8], nesting_limit: usize, boundary_limit: usize) -> bool {
        let mut fields = Fields { rest: value };
        let first = fields.next().unwrap_or_default();
        let subtype = first.subtype();
        self.media = match first.token(0) {
            Some(name) if name.eq_ignore_ascii_case(b"multipart") => Media::Multipart,
            Some(name)
                if name.eq_ignore_ascii_case(b"message")
                    && subtype
                        .is_some_and(|s| s.eq_ignore_ascii_case(b"rfc822") || s.eq_ignore_ascii_case(b"global")) =>
            {
                Media::Message
            }
            _ => Media::Other,
        };
        if self.media != Media::Multipart {
            return true;
        }
        let digest = subtype.is_some_and(|s| s.eq_ignore_ascii_case(b"digest"));
        let Some(mut text) = fields.find_map(|field| field.parameter(b"boundary")) else { return true };
        if text.is_empty() {
            return true;
        }
        if self.nesting > isize::try_from(nesting_limit).unwrap_or(isize::MAX) {
            return false;
        }
        text.truncate(boundary_limit);
        self.nesting += 1;
        self.stack.push(Boundary { text, part: if digest { Media::Message } else { Media::Other } });
        true
    }

    /// Take note of a Content-Transfer-Encoding value.
    pub fn content_transfer_encoding(&mut self, value: &[u8]) {
        let field = Fields { rest: value }.next().unwrap_or_default();
        if let Some(found) = field.token(0).and_then(Encoding::find) {
            self.encoding = found;
        }
    }

    /// A composite type must not be encoded (RFC 2045 §6.4).
    pub fn has_bad_encoding_domain(&self) -> bool {
        self.media != Media::Other && self.encoding.is_encoded()
    }

    /// The empty line at the end of a header.
    pub fn end_header(&mut self) {
        match self.media {
            Media::Message => self.enter(Block::Nested, Media::Other),
            Media::Multipart => self.enter(Block::Body, Media::Other),
            Media::Other => self.enter_body(),
        }
    }

    /// A header ended with something else than an empty line; what follows is text.
    pub fn enter_body(&mut self) {
        self.block = Block::Body;
        self.body_offset = 0;
    }

    /// Can a body line be a boundary?
    pub fn has_boundaries(&self) -> bool {
        !self.stack.is_empty()
    }

    /// Is a body line a boundary? Then go where it leads.
    pub fn boundary(&mut self, line: &[u8]) {
        let Some(rest) = line.strip_prefix(b"--") else { return };
        let Some(depth) = self.stack.iter().rposition(|boundary| rest.starts_with(&boundary.text)) else { return };
        self.nesting -= isize::try_from(self.stack.len() - depth - 1).unwrap_or(0);
        self.stack.truncate(depth + 1);
        let found = &self.stack[depth];
        if rest[found.text.len()..].starts_with(b"--") {
            self.stack.truncate(depth);
            self.nesting -= 1;
            self.enter(Block::Body, Media::Other);
        } else {
            self.enter(Block::Multipart, found.part);
        }
    }
}

/// A word of a structured header value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// A token or the text of a quoted string.
    Token(Vec<u8>),
    /// Any other character.
    Special(u8),
}

/// The first three words up to a semicolon; nothing beyond is of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Field(Vec<Word>);

impl Field {
    fn token(&self, index: usize) -> Option<&[u8]> {
        match self.0.get(index) {
            Some(Word::Token(text)) => Some(text),
            _ => None,
        }
    }

    fn subtype(&self) -> Option<&[u8]> {
        self.token(2).filter(|_| self.0[1] == Word::Special(b'/'))
    }

    fn parameter(self, name: &[u8]) -> Option<Vec<u8>> {
        let named = self.token(0).is_some_and(|token| token.eq_ignore_ascii_case(name));
        match (self.0.get(1), self.token(2)) {
            (Some(Word::Special(b'=')), Some(text)) if named => Some(text.to_vec()),
            _ => None,
        }
    }
}

/// Fields of a structured header value, separated by semicolons.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        if self.rest.is_empty() {
            return None;
        }
        let mut words = Vec::new();
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            let word = match byte {
                b';' => break,
                b' ' | b'\t' | b'\n' | b'\r' => continue,
                b'(' => {
                    self.skip_comment();
                    continue;
                }
                b'"' => Word::Token(self.quoted()),
                _ if is_special(byte) => Word::Special(byte),
                _ => Word::Token(self.plain(byte)),
            };
            if words.len() < 3 {
                words.push(word);
            }
        }
        Some(Field(words))
    }
}

impl Fields<'_> {
    fn skip_comment(&mut self) {
        let mut depth = 1;
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'\\' => self.rest = self.rest.get(1..).unwrap_or_default(),
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'"' => break,
                b'\\' => {
                    text.extend(self.rest.first());
                    self.rest = self.rest.get(1..).unwrap_or_default();
                }
                b'\n' => {}
                _ => text.push(byte),
            }
        }
        text
    }

    fn plain(&mut self, first: u8) -> Vec<u8> {
        let end = self.rest.iter().position(|&b| is_special(b) || b.is_ascii_whitespace() || b == b';');
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        [&[first], token].concat()
    }
}

fn is_special(byte: u8) -> bool {
    b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(value: &str) -> Mime {
        let mut mime = Mime::new();
        assert!(mime.content_type(value.as_bytes(), 100, 2048));
        mime
    }

    #[test]
    fn content_types_are_read_leniently() {
        use Media::{Message, Multipart, Other};
        for (value, media, boundary) in [
            ("text/plain; boundary=a", Other, None),
            ("multipart/mixed; boundary=\"a b\"", Multipart, Some("a b")),
            (
                "(c) multipart (x) / mixed (y) ; foo=\"bar\\\"; boundary=no\" ; boundary = \"a b\" ; boundary=second",
                Multipart,
                Some("a b"),
            ),
            ("MULTIPART/mixed ; BOUNDARY=AbC", Multipart, Some("AbC")),
            ("multipart/mixed; boundary=a\n ; boundary=b", Multipart, Some("a")),
            ("multipart/mixed; boundary=\"\"", Multipart, None),
            ("multipart/mixed; boundary*0=foo; boundary*1=bar", Multipart, None),
            ("multipart/mixed; boundary=foo bar", Multipart, Some("foo")),
            ("multipart/mixed boundary=foo", Multipart, None),
            ("multipart; boundary=foo", Multipart, Some("foo")),
            ("multipart/mixed; boundary=foo.bar", Multipart, Some("foo.bar")),
            ("message/rfc822", Message, None),
            ("Message/Global", Message, None),
            ("message/partial", Other, None),
            ("message/delivery-status", Other, None),
            ("(never closed", Other, None),
            ("multipart/mixed; boundary=\"never closed", Multipart, Some("never closed")),
            ("", Other, None),
        ] {
            let mime = typed(value);
            assert_eq!(mime.media, media, "{value}");
            let found = mime.stack.last().map(|b| String::from_utf8_lossy(&b.text).into_owned());
            assert_eq!(found.as_deref(), boundary, "{value}");
        }
    }

    #[test]
    fn boundaries_are_prefixes_and_the_innermost_wins() {
        let mut mime = typed("multipart/mixed; boundary=a");
        mime.end_header();
        for (line, block, depth) in [
            ("text", Block::Body, 1),
            ("--b", Block::Body, 1),
            ("--abc", Block::Multipart, 1),
            ("--a", Block::Multipart, 1),
        ] {
            mime.boundary(line.as_bytes());
            assert_eq!((mime.block, mime.stack.len()), (block, depth), "{line}");
        }
        mime.content_type(b"multipart/digest; boundary=inner", 100, 2048);
        mime.end_header();
        mime.boundary(b"--inner");
        assert_eq!((mime.block, mime.media, mime.stack.len()), (Block::Multipart, Media::Message, 2));
        mime.end_header();
        assert_eq!(mime.block, Block::Nested);
        mime.boundary(b"--a--xyz");
        assert_eq!((mime.block, mime.stack.len(), mime.nesting), (Block::Body, 0, -1));
    }

    #[test]
    fn the_nesting_limit_counts_from_the_second_multipart() {
        let mut mime = Mime::new();
        let within = (0..10).take_while(|_| mime.content_type(b"multipart/mixed; boundary=a", 3, 2048)).count();
        assert_eq!(within, 5);
        assert_eq!(mime.stack.len(), 5);
        assert!(typed("multipart/mixed; boundary=abc").stack[0].text.len() == 3);
        assert!(mime.content_type(b"text/plain", 3, 2048));
    }

    #[test]
    fn encodings_have_domains() {
        for (kind, encoding, bad) in [
            ("multipart/mixed", "base64", true),
            ("multipart/mixed", "QUOTED-printable (comment)", true),
            ("multipart/mixed", "8bit", false),
            ("multipart/mixed", "x-foo", false),
            ("message/rfc822", "base64", true),
            ("message/partial", "base64", false),
            ("text/plain", "base64", false),
        ] {
            let mut mime = typed(kind);
            mime.content_transfer_encoding(encoding.as_bytes());
            assert_eq!(mime.has_bad_encoding_domain(), bad, "{kind} {encoding}");
        }
    }
}
