//! Server replies, as they come in.

/// Of a line of a reply, this much is kept.
const LINE_LIMIT: usize = 2048;
/// Of a whole reply, this much is kept.
const TEXT_LIMIT: usize = 16 * 1024;
/// More lines than this make no reply.
const LINE_COUNT_LIMIT: usize = 1000;

/// A reply of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReply {
    /// Its code.
    pub code: u16,
    /// Its lines with code, control characters replaced.
    pub lines: Vec<String>,
}

impl ServerReply {
    /// First digit of the code.
    pub fn class(&self) -> u16 {
        self.code / 100
    }

    /// All lines in one, as log lines and reports have it.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// The enhanced status code, or one made up from the reply code.
    pub fn dsn(&self) -> String {
        let last = self.lines.last().map_or("", |l| l.get(4..).unwrap_or(""));
        let word = last.split(' ').next().unwrap_or("");
        let mut parts = word.split('.');
        let numbers = [parts.next(), parts.next(), parts.next()];
        let ok = parts.next().is_none()
            && numbers
                .iter()
                .all(|p| p.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit())))
            && word.as_bytes().first() == Some(&(b'0' + self.class() as u8))
            && word.as_bytes().get(1) == Some(&b'.');
        if ok { word.to_owned() } else { format!("{}.0.0", self.class()) }
    }
}

/// Not a reply in SMTP: the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nonsense(pub String);

/// Takes bytes, gives replies.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    line: Vec<u8>,
    lines: Vec<String>,
    kept: usize,
    count: usize,
}

impl ReplyReader {
    /// Takes bytes up to the end of a reply. Gives how many were taken, and the reply if that's complete.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<ServerReply>), Nonsense> {
        let mut taken = 0;
        while let Some(end) = memchr::memchr(b'\n', &bytes[taken..]) {
            self.keep(&bytes[taken..taken + end]);
            taken += end + 1;
            if let Some(reply) = self.end_line()? {
                return Ok((taken, Some(reply)));
            }
        }
        self.keep(&bytes[taken..]);
        Ok((bytes.len(), None))
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_LIMIT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) -> Result<Option<ServerReply>, Nonsense> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let nonsense = || Nonsense(String::from_utf8_lossy(line).into_owned());
        let code = line.get(..3).filter(|c| c.iter().all(u8::is_ascii_digit)).ok_or_else(nonsense)?;
        let code = code.iter().fold(0u16, |n, digit| n * 10 + u16::from(digit - b'0'));
        let last = match line.get(3) {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(nonsense()),
        };
        self.count += 1;
        if !(100..600).contains(&code) || self.count > LINE_COUNT_LIMIT {
            return Err(nonsense());
        }
        let text: String =
            String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.kept += text.len();
        if self.kept <= TEXT_LIMIT || last {
            self.lines.push(text.trim_end().to_owned());
        }
        if !last {
            return Ok(None);
        }
        (self.kept, self.count) = (0, 0);
        Ok(Some(ServerReply { code, lines: std::mem::take(&mut self.lines) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &str) -> Result<Option<ServerReply>, Nonsense> {
        ReplyReader::default().read(bytes.as_bytes()).map(|(_, reply)| reply)
    }

    #[test]
    fn replies_come_whole() {
        let reply = read("250-mail\r\n250-SIZE 10\r\n250 DSN\r\n").unwrap().unwrap();
        assert_eq!((reply.code, reply.text()), (250, "250-mail 250-SIZE 10 250 DSN".into()));
        assert_eq!(read("250").unwrap(), None);
        assert_eq!(read("250\n").unwrap().unwrap().text(), "250");
        assert_eq!(read("550 a\tb\r\n").unwrap().unwrap().text(), "550 a?b");
        for nonsense in ["hello", "", "25 x", "250x", "999 x", "HTTP/1.0 400 Bad"] {
            assert_eq!(read(&format!("{nonsense}\r\n")), Err(Nonsense(nonsense.into())));
        }
    }

    #[test]
    fn nothing_grows_without_bound() {
        let mut reader = ReplyReader::default();
        assert_eq!(reader.read("250 ".as_bytes()), Ok((4, None)));
        for _ in 0..100 {
            assert!(reader.read(&[b'x'; 1000]).is_ok());
        }
        assert_eq!(reader.line.len(), LINE_LIMIT);
        let (taken, reply) = reader.read(b"\r\n220 next\r\n").unwrap();
        assert_eq!((taken, reply.unwrap().lines[0].len()), (2, LINE_LIMIT));
        let many = "250-x\r\n".repeat(LINE_COUNT_LIMIT + 1);
        assert_eq!(ReplyReader::default().read(many.as_bytes()), Err(Nonsense("250-x".into())));
    }

    #[test]
    fn enhanced_codes() {
        for (line, want) in [
            ("550 5.1.1 no", "5.1.1"),
            ("550 5.1.1", "5.1.1"),
            ("550 no such user", "5.0.0"),
            ("450 5.1.1 mixed", "4.0.0"),
            ("550 5.1 short", "5.0.0"),
            ("550 5.1.1.1 long", "5.0.0"),
            ("550 55.1.1 x", "5.0.0"),
            ("250", "2.0.0"),
        ] {
            assert_eq!(read(&format!("{line}\r\n")).unwrap().unwrap().dsn(), want, "{line}");
        }
    }
}
