//! The words of Dovecot's auth-client protocol, version 1: lines of fields between tabs.

use std::net::IpAddr;

/// The protocol's version that this is.
const MAJOR: &str = "1";
const MINOR: &str = "1";
/// Mechanisms of one server.
const MECHANISM_LIMIT: usize = 64;

/// What a mechanism is like, as its server says; also what `smtpd_sasl_security_options` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties(u8);

impl Properties {
    const PLAINTEXT: u8 = 1;
    const ACTIVE: u8 = 2;
    const DICTIONARY: u8 = 4;
    const ANONYMOUS: u8 = 8;
    const MUTUAL: u8 = 16;
    const FORWARD_SECRECY: u8 = 32;
    const PRIVATE: u8 = 64;

    /// Those that these words name, as Dovecot writes them.
    pub fn of_words<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        Self(words.into_iter().fold(0, |all, word| all | Self::of_mechanism(word)))
    }

    fn of_mechanism(word: &str) -> u8 {
        match word {
            "plaintext" => Self::PLAINTEXT,
            "active" => Self::ACTIVE,
            "dictionary" => Self::DICTIONARY,
            "anonymous" => Self::ANONYMOUS,
            "mutual-auth" => Self::MUTUAL,
            "forward-secrecy" => Self::FORWARD_SECRECY,
            "private" => Self::PRIVATE,
            _ => 0,
        }
    }
}

/// `smtpd_sasl_security_options`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecurityOptions {
    forbidden: u8,
    required: u8,
}

impl SecurityOptions {
    /// The parameter's words.
    ///
    /// # Errors
    /// The word that is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self { forbidden: Properties::PRIVATE, required: 0 };
        for word in text.split([' ', ',', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "noplaintext" => options.forbidden |= Properties::PLAINTEXT,
                "noactive" => options.forbidden |= Properties::ACTIVE,
                "nodictionary" => options.forbidden |= Properties::DICTIONARY,
                "noanonymous" => options.forbidden |= Properties::ANONYMOUS,
                "mutual_auth" => options.required |= Properties::MUTUAL,
                "forward_secrecy" => options.required |= Properties::FORWARD_SECRECY,
                _ => return Err(word.to_owned()),
            }
        }
        Ok(options)
    }

    /// May a mechanism like this be used?
    pub const fn admits(self, properties: Properties) -> bool {
        properties.0 & self.forbidden == 0 && properties.0 & self.required == self.required
    }
}

/// A mechanism that the server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mechanism {
    /// `PLAIN`, …
    pub name: String,
    /// What it is like.
    pub properties: Properties,
}

/// What the server says of itself before anything else.
#[derive(Debug, Default)]
pub struct Handshake {
    /// In the server's order.
    pub mechanisms: Vec<Mechanism>,
    has_version: bool,
}

impl Handshake {
    /// Take a line; true at the last one.
    pub fn line(&mut self, line: &[u8]) -> Result<bool, String> {
        let line = std::str::from_utf8(line).map_err(|_| "malformed handshake".to_owned())?;
        let mut fields = line.split('\t');
        match fields.next() {
            Some("VERSION") => match fields.next() {
                Some(MAJOR) => self.has_version = true,
                other => {
                    return Err(format!("protocol version mismatch ({} vs. {MAJOR})", other.unwrap_or("none")));
                }
            },
            Some("MECH") if self.mechanisms.len() < MECHANISM_LIMIT => {
                let name = fields.next().unwrap_or_default();
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                // What is not a name could not be announced.
                if !name.is_empty() && name.bytes().all(is_name) {
                    self.mechanisms.push(Mechanism { name: name.to_owned(), properties: Properties::of_words(fields) });
                }
            }
            Some("DONE") if !self.has_version => return Err("handshake without version".to_owned()),
            Some("DONE") => return Ok(true),
            // SPID, CUID, COOKIE and what later versions may add.
            _ => {}
        }
        Ok(false)
    }
}

/// Our part of the handshake. Servers refuse a second connection with the same number.
pub fn greeting(number: u32) -> String {
    format!("VERSION\t{MAJOR}\t{MINOR}\nCPID\t{number}\n")
}

/// Who wants to log in, and how.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// Mechanism.
    pub mechanism: &'a str,
    /// Initial response, in base64.
    pub response: Option<&'a str>,
    /// The address the client is connected to.
    pub local: Option<IpAddr>,
    /// The client's address.
    pub remote: Option<IpAddr>,
    /// Is the session encrypted?
    pub is_secured: bool,
}

impl Attempt<'_> {
    /// The request. `service` is from the configuration, the mechanism is one of the server's.
    pub fn request(&self, id: u32, service: &str) -> String {
        let mut line = format!("AUTH\t{id}\t{}\tservice={service}\tnologin", self.mechanism);
        for (name, address) in [("lip", self.local), ("rip", self.remote)] {
            if let Some(address) = address {
                line.push_str(&format!("\t{name}={address}"));
            }
        }
        if self.is_secured {
            line.push_str("\tsecured");
        }
        // The response is the last field, or it would hide the others.
        if let Some(response) = self.response {
            line.push_str("\tresp=");
            line.push_str(response);
        }
        line.push('\n');
        line
    }
}

/// The client's line goes on.
pub fn continuation(id: u32, response: &str) -> String {
    format!("CONT\t{id}\t{response}\n")
}

/// The server's word on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A challenge in base64.
    Continue(String),
    /// Logged in.
    Success {
        /// As whom, if the server says.
        username: Option<String>,
    },
    /// Refused.
    Failure {
        /// Who tried.
        username: Option<String>,
        /// `reason=`, or nothing.
        reason: String,
    },
}

/// A line after the handshake: which request, and what about it; `None` for lines of no interest.
pub fn reply(line: &[u8]) -> Option<(u32, Reply)> {
    let line = String::from_utf8_lossy(line);
    let mut fields = line.split('\t');
    let word = fields.next()?;
    let id = fields.next()?.parse().ok()?;
    let value = |name: &str| fields.clone().find_map(|field| field.strip_prefix(name)).map(unescape);
    let reply = match word {
        "OK" => Reply::Success { username: value("user=") },
        "FAIL" => Reply::Failure { username: value("user="), reason: value("reason=").unwrap_or_default() },
        "CONT" => Reply::Continue(fields.next().unwrap_or_default().to_owned()),
        _ => return None,
    };
    Some((id, reply))
}

/// Fields have their tabs and line ends as two bytes.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1}' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('0') => plain.push('\0'),
            Some('1') => plain.push('\u{1}'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some('n') => plain.push('\n'),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(lines: &[&str]) -> Result<Vec<Mechanism>, String> {
        let mut handshake = Handshake::default();
        for line in lines {
            if handshake.line(line.as_bytes())? {
                return Ok(handshake.mechanisms);
            }
        }
        Err("not done".to_owned())
    }

    #[test]
    fn mechanisms_and_options() {
        let all = handshake(&[
            "VERSION\t1\t2",
            "MECH\tPLAIN\tplaintext",
            "MECH\tCRAM-MD5\tdictionary\tactive",
            "MECH\tANONYMOUS\tanonymous",
            "MECH\tGSSAPI\tmutual-auth",
            "MECH\tDOVECOT-TOKEN\tprivate",
            "MECH\tA B\tplaintext",
            "SPID\t1",
            "COOKIE\t00",
            "DONE",
        ])
        .unwrap();
        let admitted = |options: &str| {
            let options = SecurityOptions::parse(options).unwrap();
            let names = all.iter().filter(|m| options.admits(m.properties)).map(|m| m.name.as_str());
            names.collect::<Vec<_>>().join(" ")
        };
        for (options, names) in [
            ("", "PLAIN CRAM-MD5 ANONYMOUS GSSAPI"),
            ("noanonymous", "PLAIN CRAM-MD5 GSSAPI"),
            ("noanonymous, NOPLAINTEXT", "CRAM-MD5 GSSAPI"),
            ("noactive noanonymous", "PLAIN GSSAPI"),
            ("nodictionary", "PLAIN ANONYMOUS GSSAPI"),
            ("mutual_auth", "GSSAPI"),
            ("forward_secrecy", ""),
        ] {
            assert_eq!(admitted(options), names, "{options}");
        }
        assert_eq!(SecurityOptions::parse("noplain"), Err("noplain".to_owned()));
    }

    #[test]
    fn bad_handshakes() {
        for (lines, why) in [
            (&["VERSION\t2\t0"] as &[&str], "protocol version mismatch (2 vs. 1)"),
            (&["VERSION"], "protocol version mismatch (none vs. 1)"),
            (&["MECH\tPLAIN", "DONE"], "handshake without version"),
            (&["VERSION\t1\t1", "MECH\tPLAIN"], "not done"),
        ] {
            assert_eq!(handshake(lines), Err(why.to_owned()));
        }
        assert_eq!(Handshake::default().line(b"\xff"), Err("malformed handshake".to_owned()));
    }

    #[test]
    fn requests() {
        let attempt = Attempt {
            mechanism: "PLAIN",
            response: Some("AHU="),
            local: "192.0.2.1".parse().ok(),
            remote: "2001:db8::1".parse().ok(),
            is_secured: true,
        };
        assert_eq!(
            attempt.request(7, "smtp"),
            "AUTH\t7\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.1\trip=2001:db8::1\tsecured\tresp=AHU=\n"
        );
        let bare = Attempt { response: None, local: None, remote: None, is_secured: false, ..attempt };
        assert_eq!(bare.request(7, "smtp"), "AUTH\t7\tPLAIN\tservice=smtp\tnologin\n");
        assert_eq!(continuation(7, ""), "CONT\t7\t\n");
        assert_eq!(greeting(9), "VERSION\t1\t1\nCPID\t9\n");
    }

    #[test]
    fn replies() {
        let user = |name: &str| Some(name.to_owned());
        for (line, expected) in [
            ("OK\t1\tuser=a\u{1}tb", Some((1, Reply::Success { username: user("a\tb") }))),
            ("OK\t1", Some((1, Reply::Success { username: None }))),
            ("FAIL\t2\tuser=u\ttemp", Some((2, Reply::Failure { username: user("u"), reason: String::new() }))),
            ("FAIL\t2\treason=No", Some((2, Reply::Failure { username: None, reason: "No".to_owned() }))),
            ("CONT\t3\tVXNl", Some((3, Reply::Continue("VXNl".to_owned())))),
            ("CONT\t3", Some((3, Reply::Continue(String::new())))),
            ("CONT\tx", None),
            ("MECH\tPLAIN", None),
            ("", None),
        ] {
            assert_eq!(reply(line.as_bytes()), expected, "{line}");
        }
    }
}
