//! `smtpd_upstream_proxy_protocol = haproxy`: what a load balancer puts before the session (PROXY protocol, versions 1 and 2).
//!
//! Whoever is not named as a client over TCP is not let in: an address of the balancer's own may be trusted. Only its own
//! connections (LOCAL of version 2, health checks) are taken for what they are.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1 that is looked at, line end included. The protocol allows 107 bytes.
pub const LONGEST_LINE: usize = 256;
/// What version 2 may have behind its fixed part: addresses and TLVs (certificates of clients, checksums and the like).
const LONGEST_REST: usize = 4096;
/// The fixed part of version 2: signature, version and command, family, length.
pub const FIXED_PART: usize = 16;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const LINE_START: &[u8; 6] = b"PROXY ";
/// How much of a bad header the log shows.
const SHOWN: usize = 120;

/// The two ends as the proxy saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who connected to the proxy.
    pub client: SocketAddr,
    /// Where to.
    pub server: SocketAddr,
}

/// What the bytes so far come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Header {
    /// More is needed to know.
    Incomplete,
    /// A header of version 1, so many bytes long.
    Line(usize, Ends),
    /// A header of version 2, so many bytes long: give all of it to [`parse_binary`].
    Binary(usize),
    /// No such header: the connection is refused.
    Malformed(&'static str),
}

/// Look at the start of a connection.
pub fn look(bytes: &[u8]) -> Header {
    let begins = |start: &[u8]| {
        let known = bytes.len().min(start.len());
        bytes[..known] == start[..known]
    };
    if begins(SIGNATURE) {
        if bytes.len() < FIXED_PART {
            return Header::Incomplete;
        }
        let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        return if rest > LONGEST_REST {
            Header::Malformed("too long version 2 protocol header")
        } else {
            Header::Binary(FIXED_PART + rest)
        };
    }
    if !begins(LINE_START) {
        return Header::Malformed("unrecognized protocol header");
    }
    match memchr::memchr(b'\n', &bytes[..bytes.len().min(LONGEST_LINE)]) {
        Some(end) => match parse_line(&bytes[..end]) {
            Ok(ends) => Header::Line(end + 1, ends),
            Err(problem) => Header::Malformed(problem),
        },
        None if bytes.len() >= LONGEST_LINE => Header::Malformed("missing protocol header terminator"),
        None => Header::Incomplete,
    }
}

/// `PROXY TCP4 source destination port port`.
fn parse_line(line: &[u8]) -> Result<Ends, &'static str> {
    let line = std::str::from_utf8(line).unwrap_or("");
    let mut words = line.split([' ', '\r']).filter(|word| !word.is_empty()).skip(1);
    let is_six = match words.next() {
        Some(family) if family.eq_ignore_ascii_case("TCP4") => false,
        Some(family) if family.eq_ignore_ascii_case("TCP6") => true,
        _ => return Err("bad or missing protocol type"),
    };
    let address = |word: Option<&str>| {
        let address = word?.parse::<IpAddr>().ok()?;
        (address.is_ipv6() == is_six).then(|| address.to_canonical())
    };
    let port = |word: Option<&str>| {
        let word = word?;
        let plain = word == "0" || !word.starts_with(['0', '+']);
        word.parse::<u16>().ok().filter(|_| plain)
    };
    let client = address(words.next()).ok_or("bad or missing client address")?;
    let server = address(words.next()).ok_or("bad or missing server address")?;
    let client_port = port(words.next()).ok_or("bad or missing client port")?;
    let server_port = port(words.next()).ok_or("bad or missing server port")?;
    Ok(Ends { client: SocketAddr::new(client, client_port), server: SocketAddr::new(server, server_port) })
}

/// A whole header of version 2; `None`: the proxy speaks for itself. TLVs are skipped.
///
/// # Errors
/// What is wrong with it.
pub fn parse_binary(header: &[u8]) -> Result<Option<Ends>, &'static str> {
    let (Some([kind, family]), Some(rest)) = (header.get(12..14), header.get(FIXED_PART..)) else {
        return Err("short version 2 protocol header");
    };
    if kind >> 4 != 2 {
        return Err("unrecognized protocol version");
    }
    match kind & 15 {
        0 => return Ok(None),
        1 => {}
        _ => return Err("bad command in proxy header"),
    }
    let port = |at: usize| rest.get(at..at + 2).map_or(0, |p| u16::from_be_bytes([p[0], p[1]]));
    match family {
        0x11 => {
            let (Some(client), Some(server), Some(_)) =
                (rest.first_chunk::<4>(), rest.get(4..).and_then(<[u8]>::first_chunk::<4>), rest.get(..12))
            else {
                return Err("short address field");
            };
            let address = |bytes: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*bytes));
            Ok(Some(ends(address(client), port(8), address(server), port(10))))
        }
        0x21 => {
            let (Some(client), Some(server), Some(_)) =
                (rest.first_chunk::<16>(), rest.get(16..).and_then(<[u8]>::first_chunk::<16>), rest.get(..36))
            else {
                return Err("short address field");
            };
            let address = |bytes: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical();
            Ok(Some(ends(address(client), port(32), address(server), port(34))))
        }
        _ => Err("unsupported network protocol"),
    }
}

fn ends(client: IpAddr, client_port: u16, server: IpAddr, server_port: u16) -> Ends {
    Ends { client: SocketAddr::new(client, client_port), server: SocketAddr::new(server, server_port) }
}

/// What came, as log lines show it.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in &bytes[..bytes.len().min(SHOWN)] {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            11 => text.push_str("\\v"),
            12 => text.push_str("\\f"),
            b'\\' => text.push_str("\\\\"),
            32..=126 => text.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(text, "\\{byte:03o}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(client: &str, server: &str) -> Ends {
        Ends { client: client.parse().unwrap(), server: server.parse().unwrap() }
    }

    #[test]
    fn lines() {
        use Header::{Incomplete, Line, Malformed};
        let mapped = both("192.0.2.1:4000", "127.0.0.1:25");
        let long = [b"PROXY ".as_slice(), &[b'x'; 300]].concat();
        for (bytes, want) in [
            (&b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 25\r\nEHLO x\r\n"[..], Line(40, mapped)),
            (b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 25\n", Line(39, mapped)),
            (b"PROXY  tcp4 192.0.2.1 127.0.0.1 4000 25 more\r\n", Line(46, mapped)),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:127.0.0.1 4000 25\r\n", Line(54, mapped)),
            (b"PROXY TCP6 2001:db8::1 ::1 4000 25\r\n", Line(36, both("[2001:db8::1]:4000", "[::1]:25"))),
            (b"PROXY TCP4 192.0.2.1 127.0.0.1 0 0\r\n", Line(36, both("192.0.2.1:0", "127.0.0.1:0"))),
            (b"PRO", Incomplete),
            (b"", Incomplete),
            (b"PROXY TCP4 192.0.2.1", Incomplete),
            (b"EHLO x\r\n", Malformed("unrecognized protocol header")),
            (b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Malformed("unrecognized protocol header")),
            (b"PROXY \r\n", Malformed("bad or missing protocol type")),
            (b"PROXY UNKNOWN\r\n", Malformed("bad or missing protocol type")),
            (b"PROXY UDP4 x\r\n", Malformed("bad or missing protocol type")),
            (b"PROXY \xff\xff\r\n", Malformed("bad or missing protocol type")),
            (b"PROXY TCP4 2001:db8::1 127.0.0.1 1 2\r\n", Malformed("bad or missing client address")),
            (b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n", Malformed("bad or missing server address")),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4\r\n", Malformed("bad or missing client port")),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Malformed("bad or missing client port")),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 001 2\r\n", Malformed("bad or missing client port")),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n", Malformed("bad or missing server port")),
            (&long, Malformed("missing protocol header terminator")),
        ] {
            assert_eq!(look(bytes), want, "{}", shown(bytes));
        }
    }

    fn binary(kind: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[kind, family][..], &length, rest].concat()
    }

    #[test]
    fn binaries() {
        let four = [192, 0, 2, 99, 127, 0, 0, 9, 0x10, 0xe1, 0, 25];
        let tlvs = [&four[..], &[4, 0, 5, b'h', b'e', b'l', b'l', b'o'], &[0xee; 1000]].concat();
        let client6: Ipv6Addr = "2001:db8::5".parse().unwrap();
        let mapped: Ipv6Addr = "::ffff:192.0.2.99".parse().unwrap();
        let six = |client: Ipv6Addr| [&client.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &four[8..]].concat();
        let plain = both("192.0.2.99:4321", "127.0.0.9:25");
        for (kind, family, rest, want) in [
            (0x21, 0x11, &four[..], Ok(Some(plain))),
            (0x21, 0x11, &tlvs, Ok(Some(plain))),
            (0x21, 0x21, &six(client6), Ok(Some(both("[2001:db8::5]:4321", "[::1]:25")))),
            (0x21, 0x21, &six(mapped), Ok(Some(both("192.0.2.99:4321", "[::1]:25")))),
            (0x20, 0, &[], Ok(None)),
            (0x20, 0x11, &tlvs, Ok(None)),
            (0x20, 0x77, &[], Ok(None)),
            (0x21, 0, &[], Err("unsupported network protocol")),
            (0x21, 0x31, &[0; 216], Err("unsupported network protocol")),
            (0x21, 0x12, &four, Err("unsupported network protocol")),
            (0x22, 0x11, &four, Err("bad command in proxy header")),
            (0x11, 0x11, &four, Err("unrecognized protocol version")),
            (0x21, 0x11, &four[..11], Err("short address field")),
            (0x21, 0x21, &six(client6)[..35], Err("short address field")),
        ] {
            let header = binary(kind, family, rest);
            let more = [&header[..], b"EHLO x\r\n"].concat();
            assert_eq!(look(&more), Header::Binary(header.len()));
            assert_eq!(parse_binary(&header), want, "{kind:x} {family:x}");
            for cut in 0..FIXED_PART {
                assert_eq!(look(&header[..cut]), Header::Incomplete);
                assert!(parse_binary(&header[..cut]).is_err());
            }
        }
        let long = binary(0x21, 0x11, &[0; LONGEST_REST + 1]);
        assert_eq!(look(&long), Header::Malformed("too long version 2 protocol header"));
    }

    #[test]
    fn what_the_log_shows() {
        assert_eq!(shown(b"\r\n\0\r\nQUIT\n\x21\x11\"\xc0"), "\\r\\n\\000\\r\\nQUIT\\n!\\021\"\\300");
        assert_eq!(shown(&[b'x'; 5000]).len(), SHOWN);
    }
}
