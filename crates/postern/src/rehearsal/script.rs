//! A dialog file, taken apart: docs/dialogs.md has the format.

use std::net::IpAddr;

/// A whole file.
pub struct Script {
    pub file: String,
    pub main_cf: String,
    /// Line of `[main.cf]` in the file.
    pub main_cf_at: usize,
    /// Name and content.
    pub files: Vec<(String, String)>,
    /// With line numbers.
    pub dns: Vec<(usize, String)>,
    pub sessions: Vec<Session>,
}

/// One connection.
pub struct Session {
    pub at: usize,
    pub name: String,
    pub from: IpAddr,
    /// `name=`: the client has this name, and DNS isn't asked.
    pub client_name: Option<String>,
    pub steps: Vec<(usize, Step)>,
}

/// One line of a session.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Bytes that arrive at once.
    Send(Vec<u8>),
    /// The client closes the connection.
    HangUp,
    Reply(String),
    Closed,
    Log(String),
    Content(Vec<u8>),
    /// So many milliseconds pass.
    Pass(u64),
}

impl Script {
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let mut script = Self {
            file: file.to_owned(),
            main_cf: String::new(),
            main_cf_at: 0,
            files: Vec::new(),
            dns: Vec::new(),
            sessions: Vec::new(),
        };
        let mut section = String::new();
        let mut group = Vec::new();
        for (at, line) in (1..).zip(text.lines()) {
            let here = |problem: String| format!("{file}:{at}: {problem}");
            if let Some(head) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                unfinished(&group).map_err(here)?;
                section = head.split(' ').next().unwrap_or_default().to_owned();
                script.begin(at, head).map_err(here)?;
                continue;
            }
            match section.as_str() {
                "main.cf" => script.main_cf += &format!("{line}\n"),
                "file" => script.files.last_mut().expect("begun").1 += &format!("{line}\n"),
                "dns" if !is_blank(line) => script.dns.push((at, line.to_owned())),
                "session" if !is_blank(line) => {
                    let session = script.sessions.last_mut().expect("begun");
                    session.steps.extend(step(line, &mut group).map_err(here)?.map(|step| (at, step)));
                }
                // Free text before the first section, and blank lines.
                _ => {}
            }
        }
        unfinished(&group).map_err(|problem| format!("{file}: {problem}"))?;
        if script.sessions.is_empty() {
            return Err(format!("{file}: there is no [session]"));
        }
        Ok(script)
    }

    fn begin(&mut self, at: usize, head: &str) -> Result<(), String> {
        let mut words = head.split_whitespace();
        match (words.next(), words.next()) {
            (Some("main.cf"), None) => self.main_cf_at = at,
            (Some("dns"), None) => {}
            (Some("file"), Some(name)) if !name.contains('/') => self.files.push((name.to_owned(), String::new())),
            (Some("session"), Some(name)) => {
                let from = [192, 0, 2, 10].into();
                let mut session = Session { at, name: name.to_owned(), from, client_name: None, steps: Vec::new() };
                for word in words {
                    match word.split_once('=') {
                        Some(("from", address)) => {
                            session.from = address.parse().map_err(|_| format!("not an address: {address}"))?;
                        }
                        Some(("name", name)) => session.client_name = Some(name.to_owned()),
                        _ => return Err(format!("unknown word in [session …]: {word}")),
                    }
                }
                self.sessions.push(session);
            }
            _ => return Err(format!("unknown section: [{head}]")),
        }
        Ok(())
    }
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn unfinished(group: &[u8]) -> Result<(), String> {
    if group.is_empty() { Ok(()) } else { Err("`C|` lines need a `C:` or `R:` line after them".to_owned()) }
}

/// One line; `C|` lines gather in the group until it is sent.
fn step(line: &str, group: &mut Vec<u8>) -> Result<Option<Step>, String> {
    let (kind, text) = line.split_at_checked(2).unwrap_or((line, ""));
    let text = text.strip_prefix(' ').unwrap_or(text);
    if !matches!(kind, "C|" | "C:" | "R:") {
        unfinished(group)?;
    }
    Ok(Some(match kind {
        "C|" => {
            group.extend_from_slice(format!("{text}\r\n").as_bytes());
            return Ok(None);
        }
        "C:" if text == "<closed>" => {
            unfinished(group)?;
            Step::HangUp
        }
        "C:" => {
            group.extend_from_slice(format!("{text}\r\n").as_bytes());
            Step::Send(std::mem::take(group))
        }
        "R:" => {
            group.extend(unquote(text)?);
            Step::Send(std::mem::take(group))
        }
        "S:" if text == "<closed>" => Step::Closed,
        "S:" => Step::Reply(text.to_owned()),
        "L:" => Step::Log(text.to_owned()),
        "M:" => Step::Content(unquote(text)?),
        "T:" => Step::Pass(milliseconds(text)?),
        _ => return Err(format!("a line begins with C: C| R: S: L: M: T: or #, not with: {line}")),
    }))
}

/// `1s`, `250ms`, `5m`.
fn milliseconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(format!("a time is 250ms, 1s or 5m, not: {text}")),
    };
    digits.parse::<u64>().map(|number| number * unit).map_err(|_| format!("not a number: {digits}"))
}

/// `"a\r\n\x00"` as bytes.
fn unquote(text: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("bytes are written \"text\\r\\n\", with \\r \\n \\t \\\\ \\\" \\xHH: {text}");
    let mut rest = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).ok_or_else(bad)?;
    let mut bytes = Vec::new();
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (kind, after) = escaped.split_at_checked(1).ok_or_else(bad)?;
        rest = after;
        bytes.push(match kind {
            "r" => b'\r',
            "n" => b'\n',
            "t" => b'\t',
            "\\" | "\"" => kind.as_bytes()[0],
            "x" => {
                let (digits, after) = after.split_at_checked(2).ok_or_else(bad)?;
                rest = after;
                u8::from_str_radix(digits, 16).map_err(|_| bad())?
            }
            _ => return Err(bad()),
        });
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut group = Vec::new();
        assert_eq!(step("C| EHLO a", &mut group), Ok(None));
        assert_eq!(step("R: \"\\x41\\\\\\n\"", &mut group), Ok(Some(Step::Send(b"EHLO a\r\nA\\\n".to_vec()))));
        assert_eq!(step("C: <closed>", &mut group), Ok(Some(Step::HangUp)));
        for (time, expected) in [("250ms", 250), ("2s", 2000), ("5m", 300_000)] {
            assert_eq!(step(&format!("T: {time}"), &mut group), Ok(Some(Step::Pass(expected))));
        }
    }

    #[test]
    fn mistakes() {
        for (text, problem) in [
            ("words\n", "x: there is no [session]"),
            ("[sessions a]\n", "x:1: unknown section: [sessions a]"),
            ("[session a from=here]\n", "x:1: not an address: here"),
            ("[session a form=::1]\n", "x:1: unknown word in [session …]: form=::1"),
            ("[session a]\nQUIT\n", "x:2: a line begins with C: C| R: S: L: M: T: or #, not with: QUIT"),
            ("[session a]\nC| QUIT\nS: 221\n", "x:3: `C|` lines need a `C:` or `R:` line after them"),
            ("[session a]\nC| QUIT\n", "x: `C|` lines need a `C:` or `R:` line after them"),
            ("[session a]\nT: 5\n", "x:2: a time is 250ms, 1s or 5m, not: 5"),
            ("[session a]\nR: a\n", "x:2: bytes are written \"text\\r\\n\", with \\r \\n \\t \\\\ \\\" \\xHH: a"),
        ] {
            assert_eq!(Script::parse("x", text).err().as_deref(), Some(problem));
        }
    }
}
