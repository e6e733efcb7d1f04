//! Content on its way out: CRLF, dot-stuffing, and lines broken where they are too long (RFC 5321 section 4.5.2).

/// Encodes content piece by piece.
#[derive(Debug)]
pub struct ContentEncoder {
    column: usize,
    limit: usize,
}

impl ContentEncoder {
    /// Lines longer than `limit` are broken; 0 is no limit.
    pub fn new(limit: usize) -> Self {
        ContentEncoder { column: 0, limit: if limit == 0 { usize::MAX } else { limit.max(2) } }
    }

    /// Appends content (LF line ends) to what goes out.
    pub fn push(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        out.reserve(content.len() + content.len() / 32);
        while !content.is_empty() {
            let end = memchr::memchr(b'\n', content);
            self.text(&content[..end.unwrap_or(content.len())], out);
            let Some(end) = end else { return };
            out.extend_from_slice(b"\r\n");
            self.column = 0;
            content = &content[end + 1..];
        }
    }

    fn text(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        while !text.is_empty() {
            if self.column == 0 && text[0] == b'.' {
                out.push(b'.');
            }
            let fits = (self.limit - self.column).min(text.len());
            out.extend_from_slice(&text[..fits]);
            self.column += fits;
            text = &text[fits..];
            if self.column == self.limit && !text.is_empty() {
                // As Postfix breaks them: the space keeps a header line a header line.
                out.extend_from_slice(b"\r\n ");
                self.column = 1;
            }
        }
    }

    /// Ends the content.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.column > 0 {
            out.extend_from_slice(b"\r\n");
            self.column = 0;
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_encoded_however_it_is_cut() {
        let cases = [
            ("a\n.b\n..\n\nc", 0, "a\r\n..b\r\n...\r\n\r\nc\r\n.\r\n"),
            ("", 0, ".\r\n"),
            (".", 0, "..\r\n.\r\n"),
            ("abcdefgh\nabcde\n", 5, "abcde\r\n fgh\r\nabcde\r\n.\r\n"),
            ("abcdefghijk\n", 5, "abcde\r\n fghi\r\n jk\r\n.\r\n"),
        ];
        for (content, limit, want) in cases {
            for cut in 0..=content.len() {
                let (mut encoder, mut out) = (ContentEncoder::new(limit), Vec::new());
                encoder.push(&content.as_bytes()[..cut], &mut out);
                encoder.push(&content.as_bytes()[cut..], &mut out);
                encoder.end(&mut out);
                assert_eq!(String::from_utf8(out).unwrap(), want, "cut at {cut}");
            }
        }
    }
}
