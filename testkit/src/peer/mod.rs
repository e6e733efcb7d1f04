//! Scripted servers that a mail server talks to: a next hop, a policy service, table servers, Dovecot authentication.
//! Each listens on an [`Address`], is driven by `LEFT => RIGHT` rules, and stops when dropped.

mod milter;
mod policy;
mod sasl;
mod sink;
mod table;

pub use milter::{Milter, Traits as MilterTraits};
pub use policy::Policy;
pub use sasl::Sasl;
pub use sink::{Message, Sink};
pub use table::{Socketmap, TcpTable};

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Where a scripted server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address on loopback.
    Inet(SocketAddr),
    /// A UNIX-domain socket.
    Unix(PathBuf),
}

/// What a connection reads from.
pub type Reader = BufReader<Box<dyn Read + Send>>;
/// What a connection writes to.
pub type Writer = Box<dyn Write + Send>;

/// How long a `!hang` keeps a connection open without an answer.
const HANG: Duration = Duration::from_secs(600);

/// A listening server; ends with its owner.
#[derive(Debug)]
struct Server {
    address: Address,
    stop: Arc<AtomicBool>,
}

/// Runs `handle` for each connection, each in a thread.
fn serve<F>(address: &Address, handle: F) -> io::Result<Server>
where
    F: Fn(Reader, Writer) -> io::Result<()> + Send + Sync + 'static,
{
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, handle) = (stop.clone(), Arc::new(handle));
    let spawn = move |reader: Box<dyn Read + Send>, writer: Writer| {
        let handle = handle.clone();
        // an error is the other side going away
        thread::spawn(move || drop(handle(BufReader::new(reader), writer)));
    };
    match address {
        Address::Inet(at) => {
            let listener = TcpListener::bind(at)?;
            thread::spawn(move || {
                for stream in listener.incoming().flatten().take_while(|_| !stopped.load(Ordering::SeqCst)) {
                    let _ = stream.set_nodelay(true);
                    if let Ok(copy) = stream.try_clone() {
                        spawn(Box::new(copy), Box::new(stream));
                    }
                }
            });
        }
        Address::Unix(path) => {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let listener = UnixListener::bind(path)?;
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
            thread::spawn(move || {
                for stream in listener.incoming().flatten().take_while(|_| !stopped.load(Ordering::SeqCst)) {
                    if let Ok(copy) = stream.try_clone() {
                        spawn(Box::new(copy), Box::new(stream));
                    }
                }
            });
        }
    }
    Ok(Server { address: address.clone(), stop })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // one connection wakes the thread that waits for one
        match &self.address {
            Address::Inet(at) => drop(TcpStream::connect_timeout(at, Duration::from_millis(200))),
            Address::Unix(path) => drop(UnixStream::connect(path)),
        }
    }
}

/// `LEFT => RIGHT` lines.
fn rules(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    lines
        .map(|l| l.split_once("=>").unwrap_or((l, "")))
        .map(|(left, right)| (left.trim().to_owned(), right.trim().to_owned()))
        .collect()
}

/// Text with `\r`, `\n`, `\t`, `\xHH` and octal escapes as bytes; characters are bytes, too (Latin-1).
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    let digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, first: u32, radix: u32, most: usize| {
        let mut value = first;
        for _ in 0..most {
            let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
            value = value * radix + digit;
            chars.next();
        }
        value as u8
    };
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', Some(escape)) => {
                chars.next();
                match escape {
                    'r' => out.push(b'\r'),
                    'n' => out.push(b'\n'),
                    't' => out.push(b'\t'),
                    'x' => out.push(digits(&mut chars, 0, 16, 2)),
                    '0'..='7' => out.push(digits(&mut chars, escape as u32 - '0' as u32, 8, 2)),
                    other => out.push(other as u8),
                }
            }
            _ => out.push(c as u8),
        }
    }
    out
}

/// Shell patterns with `*`, `?` and `[...]`.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    matches(&pattern, &text)
}

fn matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, first) => first.is_none(),
        (Some('*'), _) => (0..=text.len()).any(|skip| matches(&pattern[1..], &text[skip..])),
        (Some('?'), Some(_)) => matches(&pattern[1..], &text[1..]),
        (Some('['), Some(&c)) => match pattern.iter().skip(2).position(|&p| p == ']') {
            Some(end) => {
                let set = &pattern[1..end + 2];
                let (negated, set) = if set[0] == '!' { (true, &set[1..]) } else { (false, set) };
                in_set(set, c) != negated && matches(&pattern[end + 3..], &text[1..])
            }
            None => c == '[' && matches(&pattern[1..], &text[1..]),
        },
        (Some(p), Some(c)) => p == c && matches(&pattern[1..], &text[1..]),
        (Some(_), None) => false,
    }
}

fn in_set(set: &[char], c: char) -> bool {
    match set {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&c) || in_set(rest, c),
        [one, rest @ ..] => *one == c || in_set(rest, c),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let cases = [
            ("relay*", "relay-default", true),
            ("relay*", "a-relay", false),
            ("*@example.com", "u@example.com", true),
            ("u?er", "user", true),
            ("u?er", "uer", false),
            ("[ab]x", "bx", true),
            ("[!ab]x", "bx", false),
            ("[0-9]", "5", true),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, text, want) in cases {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn rule_lines() {
        let want = [("a b".to_owned(), "c => d".to_owned()), ("e".to_owned(), String::new())];
        assert_eq!(rules("a b => c => d\n\n# no => rule\ne\n"), want);
    }
}
