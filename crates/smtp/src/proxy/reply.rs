//! Replies of a before-queue filter. Unlike those of a server that mail is delivered to, they go to the client as they are.

/// Of a line, this much is kept; the rest of it is dropped.
const LINE_LIMIT: usize = 2048;
/// Lines of a reply beyond this much text are dropped, but for the last one.
const TEXT_LIMIT: usize = 8 * 1024;
/// Of garbage, the log shows this much.
const SHOWN: usize = 100;

/// A whole reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyReply {
    /// Lines with their codes, without line ends; control characters replaced.
    lines: Vec<String>,
    /// Something that is no reply came before its end, or its lines don't agree on the class.
    is_odd: bool,
}

impl ProxyReply {
    /// Its first digit, if it is one that SMTP knows and nothing is odd about the reply.
    pub fn class(&self) -> Option<u8> {
        let first = self.lines.first()?.bytes().next()?;
        (!self.is_odd && (b'2'..=b'5').contains(&first)).then_some(first - b'0')
    }

    /// As a client gets it: lines separated by LF, the last one with a space behind its code.
    pub fn for_client(&self) -> String {
        let last = self.lines.len().saturating_sub(1);
        let lines = self.lines.iter().enumerate().map(|(index, line)| {
            let (code, text) = line.split_at(3.min(line.len()));
            let text = text.get(1..).unwrap_or("");
            match (index < last, text.is_empty()) {
                (true, _) => format!("{code}-{text}"),
                (false, true) => code.to_owned(),
                (false, false) => format!("{code} {text}"),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// As the log has it: line ends are two characters that can't be printed.
    pub fn for_log(&self) -> String {
        self.lines.join("??")
    }

    /// The lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// What came of reading on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// More bytes are needed.
    Incomplete,
    /// A line that is none of a reply; the reply is still due.
    Garbage(String),
    /// The reply.
    Reply(ProxyReply),
}

/// Takes bytes, gives replies.
#[derive(Debug, Default)]
pub struct ProxyReplyReader {
    line: Vec<u8>,
    reply: ProxyReply,
    kept: usize,
}

impl ProxyReplyReader {
    /// Take bytes up to the end of a line of interest: how many, and what that came to.
    pub fn read(&mut self, bytes: &[u8]) -> (usize, Piece) {
        let mut taken = 0;
        while let Some(end) = memchr::memchr(b'\n', &bytes[taken..]) {
            self.keep(&bytes[taken..taken + end]);
            taken += end + 1;
            match self.end_line() {
                Piece::Incomplete => {}
                piece => return (taken, piece),
            }
        }
        self.keep(&bytes[taken..]);
        (bytes.len(), Piece::Incomplete)
    }

    /// Has part of a reply come?
    pub fn is_in_the_middle(&self) -> bool {
        !self.line.is_empty() || !self.reply.lines.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_LIMIT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) -> Piece {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let text: String =
            String::from_utf8_lossy(line).chars().map(|c| if c.is_ascii_control() { '?' } else { c }).collect();
        let has_code = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit);
        let is_last = match line.get(3) {
            None | Some(b' ') if has_code => true,
            Some(b'-') if has_code => false,
            _ => {
                self.reply.is_odd = true;
                return Piece::Garbage(text.chars().take(SHOWN).collect());
            }
        };
        self.reply.is_odd |= self.reply.lines.first().is_some_and(|first| first.as_bytes()[0] != line[0]);
        self.kept += text.len();
        if is_last || self.kept <= TEXT_LIMIT {
            self.reply.lines.push(text);
        }
        if !is_last {
            return Piece::Incomplete;
        }
        self.kept = 0;
        Piece::Reply(std::mem::take(&mut self.reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pieces but the incomplete ones; replies as class and text for the client.
    fn read(bytes: &[u8], step: usize) -> Vec<String> {
        let mut reader = ProxyReplyReader::default();
        let mut found = Vec::new();
        for mut chunk in bytes.chunks(step) {
            while !chunk.is_empty() {
                let (taken, piece) = reader.read(chunk);
                chunk = &chunk[taken..];
                match piece {
                    Piece::Incomplete => {}
                    Piece::Garbage(text) => found.push(format!("garbage {text}")),
                    Piece::Reply(reply) => found.push(format!("{:?} {}", reply.class(), reply.for_client())),
                }
            }
        }
        found
    }

    #[test]
    fn replies_however_they_are_cut() {
        for (bytes, want) in [
            ("250 2.1.0 Ok\r\n", &["Some(2) 250 2.1.0 Ok"] as &[&str]),
            ("250\r\n550\n", &["Some(2) 250", "Some(5) 550"]),
            ("550-one\r\n550-\r\n550 three\r\n", &["Some(5) 550-one\n550-\n550 three"]),
            ("450-x\r\n450\r\n", &["Some(4) 450-x\n450"]),
            // What a client would take for a reply of its own must not reach it, nor count as yes.
            ("hello\r\n250 fine\r\n", &["garbage hello", "None 250 fine"]),
            ("250-x\r\n550 y\r\n", &["None 250-x\n550 y"]),
            ("25 x\r\n250ok\r\n\r\n", &["garbage 25 x", "garbage 250ok", "garbage "]),
            ("150 early\r\n999 x\r\n", &["None 150 early", "None 999 x"]),
            ("550 a\tb\x1b[0m\r\n", &["Some(5) 550 a?b?[0m"]),
        ] {
            for step in 1..=bytes.len() {
                assert_eq!(read(bytes.as_bytes(), step), want, "{bytes:?} by {step}");
            }
        }
    }

    #[test]
    fn the_log_shows_line_ends() {
        let mut reader = ProxyReplyReader::default();
        let (_, Piece::Reply(reply)) = reader.read(b"452-4.2.2 full\r\n452 4.2.2 later\r\n") else { panic!() };
        assert_eq!(reply.for_log(), "452-4.2.2 full??452 4.2.2 later");
        assert!(!reader.is_in_the_middle());
    }

    #[test]
    fn nothing_grows_without_bound_and_the_end_is_kept() {
        let mut reader = ProxyReplyReader::default();
        for _ in 0..10_000 {
            assert_eq!(reader.read(b"550-xxxxxxxxxxxxxxxx\r\n").1, Piece::Incomplete);
        }
        let long = [b"550 ".as_slice(), &[b'y'; 10_000], b"\r\n"].concat();
        let (_, Piece::Reply(reply)) = reader.read(&long) else { panic!() };
        let text = reply.for_client();
        assert!(text.len() < TEXT_LIMIT + LINE_LIMIT + 500, "{}", text.len());
        assert!(text.lines().last().is_some_and(|last| last.starts_with("550 yyy") && last.len() == LINE_LIMIT));
    }
}
