//! XCLIENT and XFORWARD attributes (XCLIENT_README, XFORWARD_README).

use super::event::ClientIdentity;
use super::line::{Word, xtext};
use crate::address::host::parse_mailhost_address;
use crate::address::valid_hostname;
use std::net::IpAddr;

/// Longest value, and longest PROTO.
const VALUE_LENGTH: usize = 255;
const PROTO_LENGTH: usize = 64;
/// What may not stand in a HELO name.
const NEUTERED: [char; 9] = [' ', '<', '>', '(', ')', '\\', '"', ';', '@'];

const UNAVAILABLE: &str = "[UNAVAILABLE]";
const TEMPUNAVAIL: &str = "[TEMPUNAVAIL]";

/// Who sent the message first, as an XFORWARD client tells: for the log and for Received, not for access control.
/// `None` is not mentioned; what was said to be unavailable is `unknown`, or empty for HELO and IDENT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// NAME
    pub name: Option<String>,
    /// ADDR; `Some(None)` is unavailable.
    pub address: Option<Option<IpAddr>>,
    /// PORT
    pub port: Option<String>,
    /// PROTO
    pub protocol: Option<String>,
    /// HELO
    pub helo: Option<String>,
    /// IDENT: the queue id there.
    pub ident: Option<String>,
    /// SOURCE: was it `LOCAL`?
    pub local: Option<bool>,
}

impl Forwarded {
    /// `name[address]` for `orig_client=`, or just the name when the address is not known; `None` when there was
    /// nothing about the client.
    pub fn orig_client(&self) -> Option<String> {
        let texts = [&self.name, &self.port, &self.protocol, &self.helo];
        if self.address.is_none() && texts.iter().all(|text| text.is_none()) {
            return None;
        }
        let name = self.name.as_deref().unwrap_or("unknown");
        Some(match self.address.flatten() {
            Some(address) => format!("{name}[{address}]"),
            None => name.to_owned(),
        })
    }
}

/// What XCLIENT changes besides the client's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Handover {
    pub(super) identity: ClientIdentity,
    /// HELO; `Some(None)` is unavailable.
    pub(super) helo: Option<Option<String>>,
    /// PROTO: ESMTP?
    pub(super) esmtp: Option<bool>,
}

/// What is wrong with an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttributeError {
    /// A fixed reply.
    Reply(&'static str),
    /// `501 5.5.4 Bad … syntax: …`
    Syntax(&'static str, String),
    /// `501 5.5.4 Bad … attribute name: …`
    Name(String),
}

/// Name and decoded value of one `attribute=value`; a bad encoding leaves the value as it came, which no syntax takes.
fn attribute(word: Word<'_>) -> Result<(&str, &str, Option<String>), AttributeError> {
    match word.text.split_once('=') {
        Some((name, raw)) if !raw.is_empty() => {
            let value = xtext(raw);
            if value.as_ref().map_or(raw.len(), String::len) > VALUE_LENGTH {
                return Err(AttributeError::Reply("501 5.5.4 Error: attribute value too long"));
            }
            Ok((name, raw, value))
        }
        _ => Err(AttributeError::Reply("501 5.5.4 Error: attribute=value expected")),
    }
}

/// A HELO or other name with what is not printable, and what could break a header, turned into `?`.
pub(super) fn neutered(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_control() || NEUTERED.contains(&c), "?")
}

/// With `smtputf8_enable = no` octets that are not ASCII are not printable.
pub(super) fn without_unicode(text: String, smtputf8_enable: bool) -> String {
    if smtputf8_enable || text.is_ascii() {
        return text;
    }
    text.bytes().map(|b| if b.is_ascii() { char::from(b) } else { '?' }).collect()
}

fn peer_name(value: &str) -> Option<Result<String, bool>> {
    match value {
        _ if value.eq_ignore_ascii_case(UNAVAILABLE) => Some(Err(false)),
        _ if value.eq_ignore_ascii_case(TEMPUNAVAIL) => Some(Err(true)),
        _ => valid_hostname(value).then(|| Ok(value.to_owned())),
    }
}

fn or_unavailable<T>(value: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if value.eq_ignore_ascii_case(UNAVAILABLE) { Some(None) } else { parse(value).map(Some) }
}

/// Up to five digits; that they may be too large is no matter.
fn port_text(value: &str) -> Option<&str> {
    let digits = value.len() <= 5 && value.bytes().all(|b| b.is_ascii_digit());
    digits.then_some(value)
}

fn port(value: &str) -> Option<u16> {
    port_text(value)?.parse().ok()
}

impl Handover {
    /// Enter one XCLIENT attribute. Addresses are those of `inet_protocols`.
    pub(super) fn attribute(&mut self, word: Word<'_>, inet_ipv6: bool) -> Result<(), AttributeError> {
        const NAMES: [&str; 9] =
            ["NAME", "REVERSE_NAME", "ADDR", "PORT", "DESTADDR", "DESTPORT", "HELO", "PROTO", "LOGIN"];
        let (name, raw, value) = attribute(word)?;
        let Some(name) = NAMES.into_iter().find(|known| name.eq_ignore_ascii_case(known)) else {
            return Err(AttributeError::Name(name.to_owned()));
        };
        let bad = || AttributeError::Syntax(name, raw.to_owned());
        let value = value.ok_or_else(bad)?;
        let address = |value: &str| parse_mailhost_address(value).filter(|address| inet_ipv6 || address.is_ipv4());
        let identity = &mut self.identity;
        match name {
            "NAME" => {
                identity.name = Some(peer_name(&value).ok_or_else(bad)?);
                if identity.reverse_name.is_none() && matches!(identity.name, Some(Ok(_))) {
                    identity.reverse_name.clone_from(&identity.name);
                }
            }
            "REVERSE_NAME" => identity.reverse_name = Some(peer_name(&value).ok_or_else(bad)?),
            "ADDR" => identity.address = Some(or_unavailable(&value, address).ok_or_else(bad)?),
            "PORT" => identity.port = Some(or_unavailable(&value, port).ok_or_else(bad)?),
            "DESTADDR" => {
                identity.server_address = Some(or_unavailable(&value, address).ok_or_else(bad)?);
            }
            "DESTPORT" => identity.server_port = Some(or_unavailable(&value, port).ok_or_else(bad)?),
            "HELO" => self.helo = or_unavailable(&value, |v| Some(neutered(v))),
            "PROTO" => match value.to_ascii_uppercase().as_str() {
                "SMTP" => self.esmtp = Some(false),
                "ESMTP" => self.esmtp = Some(true),
                _ => return Err(bad()),
            },
            _ => {
                identity.login = or_unavailable(&value, |v| Some(super::transaction::printable(v.to_owned())));
            }
        }
        Ok(())
    }
}

impl Forwarded {
    /// Enter one XFORWARD attribute.
    pub(super) fn attribute(&mut self, word: Word<'_>) -> Result<(), AttributeError> {
        const NAMES: [&str; 7] = ["NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"];
        let (name, raw, value) = attribute(word)?;
        let Some(name) = NAMES.into_iter().find(|known| name.eq_ignore_ascii_case(known)) else {
            return Err(AttributeError::Name(name.to_owned()));
        };
        let bad = || AttributeError::Syntax(name, raw.to_owned());
        let value = value.ok_or_else(bad)?;
        let unavailable = value.eq_ignore_ascii_case(UNAVAILABLE);
        let unknown = || "unknown".to_owned();
        match name {
            "NAME" if unavailable => self.name = Some(unknown()),
            "NAME" => self.name = Some(valid_hostname(&value).then_some(value).ok_or_else(bad)?),
            "ADDR" => self.address = Some(or_unavailable(&value, parse_mailhost_address).ok_or_else(bad)?),
            "PORT" if unavailable => self.port = Some(unknown()),
            "PORT" => self.port = Some(port_text(&value).ok_or_else(bad)?.to_owned()),
            "PROTO" if unavailable => self.protocol = Some(unknown()),
            "PROTO" if value.len() > PROTO_LENGTH => return Err(bad()),
            "PROTO" => self.protocol = Some(neutered(&value)),
            "HELO" if unavailable => self.helo = Some(String::new()),
            "HELO" => self.helo = Some(neutered(&value)),
            "IDENT" if unavailable => self.ident = Some(String::new()),
            "IDENT" => self.ident = Some(neutered(&value)),
            _ => match value.to_ascii_uppercase().as_str() {
                "LOCAL" | UNAVAILABLE => self.local = Some(true),
                "REMOTE" => self.local = Some(false),
                _ => return Err(bad()),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xclient(text: &str) -> Result<Handover, String> {
        let mut handover = Handover::default();
        for text in text.split(' ') {
            handover.attribute(Word { text, unclosed: false }, true).map_err(|e| format!("{e:?}"))?;
        }
        Ok(handover)
    }

    #[test]
    fn xclient_attributes() {
        let all = xclient(
            "name=a_b ADDR=IPV6:2001:db8::7 PORT=25 PROTO=esmtp HELO=<a>+20b LOGIN=a+20b DESTADDR=1.2.3.4 DESTPORT=[unavailable]",
        )
        .unwrap();
        assert_eq!(all.identity.name, Some(Ok("a_b".to_owned())));
        assert_eq!(all.identity.reverse_name, Some(Ok("a_b".to_owned())));
        assert_eq!(all.identity.address, Some("2001:db8::7".parse().ok()));
        assert_eq!(all.identity.port, Some(Some(25)));
        assert_eq!(all.identity.server_port, Some(None));
        assert_eq!(all.identity.login, Some(Some("a b".to_owned())));
        assert_eq!(all.helo, Some(Some("?a??b".to_owned())));
        assert_eq!(all.esmtp, Some(true));
        let temporary = xclient("NAME=[TEMPUNAVAIL] REVERSE_NAME=rev.example ADDR=[UNAVAILABLE]").unwrap();
        assert_eq!(temporary.identity.name, Some(Err(true)));
        assert_eq!(temporary.identity.reverse_name, Some(Ok("rev.example".to_owned())));
        assert_eq!(temporary.identity.address, Some(None));
    }

    #[test]
    fn bad_attributes() {
        let expected = "Reply(\"501 5.5.4 Error: attribute=value expected\")";
        for (text, error) in [
            ("FOO", expected),
            ("FOO=", expected),
            ("FOO=bar", "Name(\"FOO\")"),
            ("=bar", "Name(\"\")"),
            ("NAME=-", "Syntax(\"NAME\", \"-\")"),
            ("NAME=a+4", "Syntax(\"NAME\", \"a+4\")"),
            ("ADDR=2001:db8::1", "Syntax(\"ADDR\", \"2001:db8::1\")"),
            ("PORT=123456", "Syntax(\"PORT\", \"123456\")"),
            ("PORT=x", "Syntax(\"PORT\", \"x\")"),
            ("PROTO=FOO", "Syntax(\"PROTO\", \"FOO\")"),
            ("DESTADDR=x", "Syntax(\"DESTADDR\", \"x\")"),
        ] {
            assert_eq!(xclient(text), Err(error.to_owned()), "{text}");
        }
        let six = Word { text: "ADDR=IPV6:2001:db8::1", unclosed: false };
        assert!(Handover::default().attribute(six, false).is_err() && Handover::default().attribute(six, true).is_ok());
        let long = format!("HELO={}", "x".repeat(256));
        assert_eq!(xclient(&long), Err("Reply(\"501 5.5.4 Error: attribute value too long\")".to_owned()));
    }

    #[test]
    fn xforward_attributes() {
        let mut forwarded = Forwarded::default();
        assert_eq!(forwarded.orig_client(), None);
        forwarded.attribute(Word { text: "HELO=x", unclosed: false }).unwrap();
        assert_eq!(forwarded.orig_client().as_deref(), Some("unknown"));
        for text in ["NAME=spike.example", "ADDR=203.0.113.1", "PORT=4321", "IDENT=a+20b", "SOURCE=REMOTE", "PROTO=FTP"]
        {
            forwarded.attribute(Word { text, unclosed: false }).unwrap();
        }
        assert_eq!(forwarded.orig_client().as_deref(), Some("spike.example[203.0.113.1]"));
        assert_eq!(forwarded.ident.as_deref(), Some("a?b"));
        assert_eq!(forwarded.local, Some(false));
        for text in ["NAME=[UNAVAILABLE]", "ADDR=[UNAVAILABLE]", "SOURCE=[UNAVAILABLE]"] {
            forwarded.attribute(Word { text, unclosed: false }).unwrap();
        }
        assert_eq!(forwarded.orig_client().as_deref(), Some("unknown"));
        assert_eq!(forwarded.local, Some(true));
        let long = format!("PROTO={}", "0123456789".repeat(7));
        for text in ["SOURCE=MOON", "ADDR=300.1.1.1", "PORT=x", "NAME=a+4", &long] {
            assert!(forwarded.attribute(Word { text, unclosed: false }).is_err(), "{text}");
        }
    }
}
