//! A message taken apart into headers and body lines, for tools that only want to see what checks would see
//! (`postmap -q - -h -b -m`). Nothing is limited, changed or refused on the way.

use super::header::{Kind, Known, is_header, value};
use super::mime::{Block, Mime};
use std::ops::ControlFlow;

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A header, its lines joined by newlines. `primary` ones belong to the message itself, others to its parts.
    Header {
        /// The header.
        text: &'a [u8],
        /// Is it the message's own?
        primary: bool,
    },
    /// A line of a body, without its newline.
    Body(&'a [u8]),
}

/// Limits of Postfix's defaults.
const NESTING: usize = 100;
const BOUNDARY: usize = 2048;

/// Hand each piece to `each`, until it breaks. With `mime`, the headers of parts and of attached messages are found.
pub fn segments(message: &[u8], mime: bool, each: &mut dyn FnMut(Segment<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut walk = Walk { state: Mime::new(), header: Vec::new(), mime };
    let text = message.strip_suffix(b"\n").unwrap_or(message);
    if !message.is_empty() {
        for line in text.split(|&byte| byte == b'\n') {
            walk.line(line, each)?;
        }
    }
    walk.flush(each)
}

struct Walk {
    state: Mime,
    header: Vec<u8>,
    mime: bool,
}

impl Walk {
    fn line(&mut self, line: &[u8], each: &mut dyn FnMut(Segment<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        if self.state.block != Block::Body {
            if !self.header.is_empty() && matches!(line.first(), Some(b' ' | b'\t')) {
                self.header.push(b'\n');
                self.header.extend_from_slice(line);
                return ControlFlow::Continue(());
            }
            self.flush(each)?;
            if let Some((name, colon)) = is_header(line) {
                self.header.extend_from_slice(&line[..name]);
                self.header.extend_from_slice(&line[colon..]);
                return ControlFlow::Continue(());
            }
            let primary = self.state.block == Block::Primary;
            if line.is_empty() && self.mime {
                self.state.end_header();
            } else {
                self.state.enter_body();
            }
            if primary && !line.is_empty() {
                // The empty line that should have been there.
                each(Segment::Body(b""))?;
            }
        }
        if self.mime && self.state.has_boundaries() && line.starts_with(b"--") {
            self.state.boundary(line);
        }
        each(Segment::Body(line))
    }

    fn flush(&mut self, each: &mut dyn FnMut(Segment<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        if self.header.is_empty() {
            return ControlFlow::Continue(());
        }
        let header = std::mem::take(&mut self.header);
        if self.mime {
            let name = memchr::memchr(b':', &header).unwrap_or(0);
            match Known::find(&header[..name]).map(|known| known.kind) {
                Some(Kind::ContentType) => drop(self.state.content_type(value(&header), NESTING, BOUNDARY)),
                Some(Kind::ContentTransferEncoding) => self.state.content_transfer_encoding(value(&header)),
                _ => {}
            }
        }
        each(Segment::Header { text: &header, primary: self.state.block == Block::Primary })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(message: &str, mime: bool) -> Vec<String> {
        let mut pieces = Vec::new();
        let _ = segments(message.as_bytes(), mime, &mut |segment| {
            pieces.push(match segment {
                Segment::Header { text, primary: true } => format!("h {}", String::from_utf8_lossy(text)),
                Segment::Header { text, primary: false } => format!("p {}", String::from_utf8_lossy(text)),
                Segment::Body(text) => format!("b {}", String::from_utf8_lossy(text)),
            });
            ControlFlow::Continue(())
        });
        pieces
    }

    const NESTED: &str = "A: b\n c\nContent-Type: multipart/mixed; boundary=X\n\npre\n--X\nContent-Type: message/rfc822\n\nS: in\n\nbody\n--X--\npost";

    /// As postmap(1) shows them.
    #[test]
    fn messages_come_apart() {
        let plain = [
            "h A: b\n c",
            "h Content-Type: multipart/mixed; boundary=X",
            "b ",
            "b pre",
            "b --X",
            "b Content-Type: message/rfc822",
            "b ",
            "b S: in",
            "b ",
            "b body",
            "b --X--",
            "b post",
        ];
        assert_eq!(pieces(NESTED, false), plain);
        let mime = [
            "h A: b\n c",
            "h Content-Type: multipart/mixed; boundary=X",
            "b ",
            "b pre",
            "b --X",
            "p Content-Type: message/rfc822",
            "b ",
            "p S: in",
            "b ",
            "b body",
            "b --X--",
            "b post",
        ];
        assert_eq!(pieces(NESTED, true), mime);
    }

    #[test]
    fn a_header_may_end_badly() {
        for (message, expected) in [
            ("", &[][..]),
            ("a : b", &["h a: b"]),
            ("a: b\n\n", &["h a: b", "b "]),
            ("no\nb: c\n", &["b ", "b no", "b b: c"]),
            (" x: y\n", &["b ", "b  x: y"]),
            ("a: b\r\n\r\n", &["h a: b\r", "b ", "b \r"]),
        ] {
            assert_eq!(pieces(message, true), expected, "{message:?}");
        }
    }

    #[test]
    fn stops_when_told() {
        let mut count = 0;
        let flow = segments(b"a: b\n\nx\ny\n", false, &mut |segment| {
            count += 1;
            if matches!(segment, Segment::Body(_)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((count, flow), (2, ControlFlow::Break(())));
    }
}
