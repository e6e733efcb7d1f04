//! A Milter: a mail filter of Sendmail's protocol, versions 2 to 6. It does what its rules say, also what no filter should.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Address, HANG, Reader, Server, Writer, rules, serve, unescape};

/// What a filter says of itself at the start.
#[derive(Clone, Debug)]
pub struct Traits {
    /// The version of the protocol.
    pub version: u32,
    /// What it may change.
    pub actions: u32,
    /// What it doesn't want to be told of, or doesn't answer.
    pub protocol: u32,
    /// The macros that it wants, by stage.
    pub symbols: Vec<(u32, String)>,
    /// Are macros told of, too?
    pub macros: bool,
}

impl Default for Traits {
    fn default() -> Self {
        Self { version: 6, actions: 0x1ff, protocol: 0, symbols: Vec::new(), macros: false }
    }
}

impl Traits {
    /// From the words `version=6`, `actions=1ff` and `protocol=0` (hexadecimal), `symbols=STAGE:NAME+NAME,...`, `macros`.
    pub fn parse(words: &[String]) -> Self {
        let mut traits = Self::default();
        let hexadecimal = |text: &str| u32::from_str_radix(text, 16).unwrap_or(0);
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("version", value) => traits.version = value.parse().unwrap_or(0),
                ("actions", value) => traits.actions = hexadecimal(value),
                ("protocol", value) => traits.protocol = hexadecimal(value),
                ("symbols", value) => {
                    let stages = value.split(',').filter_map(|one| one.split_once(':'));
                    traits.symbols.extend(stages.map(|(n, names)| (n.parse().unwrap_or(0), names.replace('+', " "))));
                }
                ("macros", _) => traits.macros = true,
                _ => {}
            }
        }
        traits
    }

    fn offer(&self) -> Vec<u8> {
        let mut out = b"O".to_vec();
        for number in [self.version, self.actions, self.protocol] {
            out.extend(number.to_be_bytes());
        }
        for (stage, names) in &self.symbols {
            out.extend(stage.to_be_bytes());
            out.extend(names.bytes().chain([0]));
        }
        out
    }

    /// Is an event of this kind answered?
    fn answers(&self, command: u8) -> bool {
        let silent = match command {
            b'C' => 0x1000,
            b'H' => 0x2000,
            b'M' => 0x4000,
            b'R' => 0x8000,
            b'T' => 0x1_0000,
            b'U' => 0x2_0000,
            b'N' => 0x4_0000,
            b'B' => 0x8_0000,
            b'L' => 0x80,
            _ => 0,
        };
        self.protocol & silent == 0
    }
}

/// Rules are `EVENT ARGUMENTS => REPLY ; REPLY`: the first whose left side an event begins with answers, else `c`. An
/// event is CONNECT, HELO, MAIL, RCPT, DATA, UNKNOWN, HEADER, EOH, BODY, EOM or NEGOTIATE with its arguments, separated by
/// `|`. A reply is a letter of the protocol with its arguments, separated likewise, or `!close`, `!hang`, `!wait SECONDS`,
/// `!none`, `!raw HEX`.
#[derive(Debug)]
pub struct Milter {
    /// By connection.
    told: Arc<Mutex<Vec<Vec<String>>>>,
    _server: Server,
}

impl Milter {
    /// Starts one.
    pub fn start(address: &Address, traits: Traits, text: &str) -> io::Result<Self> {
        let told = Arc::<Mutex<Vec<Vec<String>>>>::default();
        let (seen, script) = (told.clone(), rules(text));
        let _server = serve(address, move |reader, writer| {
            let number = {
                let mut told = seen.lock().unwrap_or_else(PoisonError::into_inner);
                told.push(Vec::new());
                told.len() - 1
            };
            Conversation { traits: &traits, script: &script, told: &seen, number, reader, writer }.run()
        })?;
        Ok(Self { told, _server })
    }

    /// What it was told so far, connection after connection, an event a line; aborts are left out.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).concat()
    }
}

struct Conversation<'s> {
    traits: &'s Traits,
    script: &'s [(String, String)],
    told: &'s Mutex<Vec<Vec<String>>>,
    /// Of the connection.
    number: usize,
    reader: Reader,
    writer: Writer,
}

impl Conversation<'_> {
    fn note(&self, text: &str) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)[self.number].push(text.to_owned());
    }

    fn packet(&mut self, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.writer.write_all(&[&length.to_be_bytes(), data].concat())
    }

    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let mut data = Vec::new();
        self.reader.by_ref().take(u32::from_be_bytes(length).into()).read_to_end(&mut data)?;
        Ok(data)
    }

    fn run(mut self) -> io::Result<()> {
        loop {
            let Ok(packet) = self.next() else {
                self.note("(closed)");
                return Ok(());
            };
            let Some((&command, data)) = packet.split_first() else { continue };
            let shown = shown(command, data);
            match command {
                b'A' => continue,
                b'D' => {
                    if self.traits.macros {
                        self.note(&shown);
                    }
                    continue;
                }
                _ => self.note(&shown),
            }
            if command == b'Q' {
                return Ok(());
            }
            let rule = self.script.iter().find(|(left, _)| shown.starts_with(left.as_str()));
            match rule {
                None if command == b'O' => self.packet(&self.traits.offer())?,
                None if self.traits.answers(command) => self.packet(b"c")?,
                None => {}
                Some((_, replies)) => {
                    for reply in replies.split(" ; ") {
                        self.reply(reply.trim())?;
                    }
                }
            }
        }
    }

    fn reply(&mut self, text: &str) -> io::Result<()> {
        let (letter, rest) = text.split_at_checked(1).unwrap_or_default();
        match text.split_once(' ').unwrap_or((text, "")) {
            ("!close", _) => return Err(io::ErrorKind::ConnectionAborted.into()),
            ("!none", _) => return Ok(()),
            ("!hang", _) => std::thread::sleep(HANG),
            ("!wait", seconds) => {
                std::thread::sleep(Duration::from_secs_f64(seconds.parse().unwrap_or(0.0)));
            }
            ("!raw", digits) => {
                let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
                let bytes: Vec<u8> = (0..digits.len()).step_by(2).filter_map(byte).collect();
                self.writer.write_all(&bytes)?;
            }
            _ => {
                let rest = rest.strip_prefix(' ').unwrap_or("");
                let strings = |text: &str| text.split('|').map(bytes).collect::<Vec<_>>().join(&0);
                let data = match letter {
                    "i" | "m" => {
                        let (index, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                        let index: u32 = index.parse().unwrap_or(0);
                        [&index.to_be_bytes()[..], &strings(rest), b"\0"].concat()
                    }
                    "h" | "+" | "-" | "2" | "e" | "q" | "y" => [&strings(rest), &b"\0"[..]].concat(),
                    _ => bytes(rest),
                };
                self.packet(&[letter.as_bytes(), &data].concat())?;
            }
        }
        Ok(())
    }
}

/// Text with escapes as bytes; what isn't ASCII is UTF-8.
fn bytes(text: &str) -> Vec<u8> {
    unescape(&text.bytes().map(char::from).collect::<String>())
}

/// What a packet says.
fn shown(command: u8, data: &[u8]) -> String {
    let number = |at: usize| data.get(at..at + 4).map_or(0, |b| u32::from_be_bytes(b.try_into().unwrap_or_default()));
    let strings = || strings(data).join("|");
    match command {
        b'O' => format!("NEGOTIATE {} {:x} {:x}", number(0), number(4), number(8)),
        b'D' => {
            let (stage, rest) = data.split_first().map_or((b'?', data), |(stage, rest)| (*stage, rest));
            let parts = self::strings(rest);
            let pairs: Vec<String> = parts.chunks(2).map(|pair| pair.join("=")).collect();
            format!("MACROS {} {}", name(stage), pairs.join(", "))
        }
        b'C' => {
            let end = data.iter().position(|&b| b == 0).unwrap_or(data.len());
            let (host, rest) = (text(&data[..end]), data.get(end + 1..).unwrap_or_default());
            match rest.split_first() {
                Some((b'U', _)) | None => format!("CONNECT {host} U"),
                Some((&family, rest)) => {
                    let address = text(rest.get(2..).unwrap_or_default());
                    format!("CONNECT {host} {} {}", char::from(family), address.trim_end_matches('\0'))
                }
            }
        }
        b'B' => format!("BODY {}:{}", data.len(), text(&data[..data.len().min(200)])),
        _ => format!("{} {}", name(command), strings()).trim_end_matches(' ').to_owned(),
    }
}

/// Strings that end in NUL; a rest that doesn't is named so.
fn strings(data: &[u8]) -> Vec<String> {
    let mut parts: Vec<String> = data.split(|&b| b == 0).map(text).collect();
    match parts.pop() {
        Some(rest) if !rest.is_empty() => parts.push(rest + "(no NUL)"),
        _ => {}
    }
    parts
}

fn text(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out += &chunk.valid().replace('\r', "\\r").replace('\n', "\\n").replace('\t', "\\t");
        out.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    out
}

fn name(command: u8) -> String {
    let name = match command {
        b'O' => "NEGOTIATE",
        b'D' => "MACROS",
        b'C' => "CONNECT",
        b'H' => "HELO",
        b'M' => "MAIL",
        b'R' => "RCPT",
        b'T' => "DATA",
        b'U' => "UNKNOWN",
        b'L' => "HEADER",
        b'N' => "EOH",
        b'B' => "BODY",
        b'E' => "EOM",
        b'A' => "ABORT",
        b'Q' => "QUIT",
        other => return char::from(other).to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn answers_by_rule() {
        let address = Address::Inet(([127, 0, 0, 1], crate::ports::free_port()).into());
        let traits = Traits::parse(&["protocol=80".into(), "symbols=0:j+{x}".into(), "macros".into()]);
        let rules = "MAIL <a@ => r\nHEADER X|y => h X-One|\\t0 ; i 2 N|v ; y 550 no\\r\\n ; b a|b\nEOM => !raw 00ff\n\
                     BODY 3: => !close";
        let milter = Milter::start(&address, traits, rules).expect("a filter");
        let Address::Inet(at) = address else { unreachable!() };
        let mut stream = TcpStream::connect(at).expect("a connection");
        for (request, want) in [
            (
                b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff".as_slice(),
                b"\0\0\0\x17O\0\0\0\x06\0\0\x01\xff\0\0\0\x80\0\0\0\0j {x}\0".as_slice(),
            ),
            (b"\0\0\0\x06DMi\0q\0\0\0\0\x01A\0\0\0\x0dCn\x004\x04\xd210.0.0\0", b"\0\0\0\x01c"),
            (b"\0\0\0\x0bM<a@b>\0S=1\0", b"\0\0\0\x01r"),
            (b"\0\0\0\x05LA\0b\0\0\0\0\x05LX\0y\0", b"\0\0\0\x0ahX-One\0\t0\0\0\0\0\x09i\0\0\0\x02N\0v\0"),
            (b"", b"\0\0\0\x0ay550 no\r\n\0\0\0\0\x04ba|b"),
            (b"\0\0\0\x01E", b"\x00\xff"),
            (b"\0\0\0\x04Babc", b""),
        ] {
            stream.write_all(request).expect("written");
            let mut got = vec![0; want.len()];
            stream.read_exact(&mut got).expect("read");
            assert_eq!(got.escape_ascii().to_string(), want.escape_ascii().to_string());
        }
        assert_eq!(stream.read(&mut [0]).expect("closed"), 0);
        assert_eq!(
            milter.told(),
            [
                "NEGOTIATE 6 1ff 1fffff",
                "MACROS MAIL i=q",
                "CONNECT n 4 10.0.0",
                "MAIL <a@b>|S=1",
                "HEADER A|b",
                "HEADER X|y",
                "EOM",
                "BODY 3:abc"
            ]
        );
    }
}
