//! XFORWARD: the client's attributes for the next hop (XFORWARD_README).

use super::reply::ProxyReply;
use std::fmt::Write;
use std::net::IpAddr;

/// No command line is longer, without its end: as Postfix cuts them.
const LINE_LIMIT: usize = 506;
const UNAVAILABLE: &str = "[UNAVAILABLE]";
/// In the order in which they are sent.
const NAMES: [&str; 7] = ["NAME", "ADDR", "PORT", "HELO", "IDENT", "PROTO", "SOURCE"];

/// The attributes that a next hop announces in its reply to EHLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XforwardNames([bool; NAMES.len()]);

impl XforwardNames {
    /// From the reply to EHLO.
    pub fn announced(reply: &ProxyReply) -> Self {
        let mut found = Self::default();
        for line in reply.lines().skip(1) {
            let mut words = line.get(4..).unwrap_or("").split([' ', '\t']);
            if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("XFORWARD")) {
                continue;
            }
            for word in words {
                if let Some(at) = NAMES.iter().position(|name| name.eq_ignore_ascii_case(word)) {
                    found.0[at] = true;
                }
            }
        }
        found
    }
}

/// Who sent the message, as the next hop is told; `None` is not available.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedClient {
    /// NAME
    pub name: Option<String>,
    /// ADDR
    pub address: Option<IpAddr>,
    /// PORT
    pub port: Option<String>,
    /// HELO
    pub helo: Option<String>,
    /// IDENT: the queue id where there is one.
    pub ident: Option<String>,
    /// PROTO
    pub protocol: Option<String>,
    /// SOURCE: LOCAL or REMOTE.
    pub is_local: bool,
}

impl ForwardedClient {
    /// The commands, without line ends: as few as the length of lines allows, none if nothing was announced.
    pub fn commands(&self, announced: XforwardNames) -> Vec<String> {
        let address = self.address.map(|address| match address {
            IpAddr::V6(v6) => format!("IPv6:{v6}"),
            IpAddr::V4(v4) => v4.to_string(),
        });
        let source = if self.is_local { "LOCAL" } else { "REMOTE" };
        let values = [
            self.name.as_deref(),
            address.as_deref(),
            self.port.as_deref(),
            self.helo.as_deref(),
            self.ident.as_deref(),
            self.protocol.as_deref(),
            Some(source),
        ];
        let mut commands: Vec<String> = Vec::new();
        for ((name, value), _) in NAMES.iter().zip(values).zip(announced.0).filter(|(_, wanted)| *wanted) {
            let value = value.filter(|value| !value.is_empty()).map_or_else(|| UNAVAILABLE.to_owned(), xtext);
            let attribute = format!(" {name}={value}");
            match commands.last_mut() {
                Some(line) if line.len() + attribute.len() <= LINE_LIMIT => line.push_str(&attribute),
                _ => commands.push(format!("XFORWARD{attribute}")),
            }
        }
        commands
    }
}

/// RFC 3461 xtext, with `=` as it is.
fn xtext(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'+' {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "+{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{Piece, ProxyReplyReader};

    fn announced(reply: &str) -> XforwardNames {
        let (_, Piece::Reply(reply)) = ProxyReplyReader::default().read(reply.as_bytes()) else { panic!() };
        XforwardNames::announced(&reply)
    }

    #[test]
    fn what_is_announced_is_sent() {
        let client = ForwardedClient {
            name: Some("client.example.net".to_owned()),
            address: "192.0.2.10".parse().ok(),
            port: Some("4321".to_owned()),
            helo: Some("a+b=c é".to_owned()),
            protocol: Some("ESMTP".to_owned()),
            ..ForwardedClient::default()
        };
        for (reply, want) in [
            ("250 x\r\n", &[] as &[&str]),
            ("250 XFORWARD NAME\r\n", &[]),
            ("250-x\r\n250 XFORWARD\r\n", &[]),
            (
                "250-x\r\n250-SIZE 1\r\n250 xforward name helo FOO\r\n",
                &["XFORWARD NAME=client.example.net HELO=a+2Bb=c+20+C3+A9"],
            ),
            (
                "250-x\r\n250 XFORWARD SOURCE PROTO IDENT HELO PORT ADDR NAME\r\n",
                &["XFORWARD NAME=client.example.net ADDR=192.0.2.10 PORT=4321 HELO=a+2Bb=c+20+C3+A9 \
                 IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=REMOTE"],
            ),
        ] {
            assert_eq!(client.commands(announced(reply)), want, "{reply}");
        }
    }

    #[test]
    fn lines_are_no_longer_than_they_may_be() {
        let long = || Some("x".repeat(255));
        let client = ForwardedClient {
            name: long(),
            helo: long(),
            address: "2001:db8::1".parse().ok(),
            is_local: true,
            ..ForwardedClient::default()
        };
        let all = announced("250-x\r\n250 XFORWARD NAME ADDR HELO SOURCE\r\n");
        let lines = client.commands(all);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with("xx ADDR=IPv6:2001:db8::1") && lines[1].starts_with("XFORWARD HELO=xx"));
        assert!(lines[1].ends_with(" SOURCE=LOCAL") && lines.iter().all(|line| line.len() <= LINE_LIMIT));
    }
}
