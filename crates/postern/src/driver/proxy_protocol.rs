//! `smtpd_upstream_proxy_protocol = haproxy`: the line a load balancer puts before the session (PROXY protocol v1).

use std::net::{IpAddr, SocketAddr};

/// The longest line the protocol allows, CRLF included.
pub const LONGEST: usize = 107;

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
    /// The line isn't complete.
    Incomplete,
    /// So many bytes were the header; `None` (UNKNOWN): the proxy speaks for itself, a health check say.
    Complete(usize, Option<Ends>),
    /// No such header: the connection is refused.
    Malformed(&'static str),
}

/// Parse the start of a connection.
pub fn parse(bytes: &[u8]) -> Header {
    let start = b"PROXY ";
    let known = bytes.len().min(start.len());
    if bytes[..known] != start[..known] {
        return Header::Malformed("unexpected protocol header");
    }
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(LONGEST)]) else {
        let long = bytes.len() >= LONGEST;
        return if long { Header::Malformed("protocol header too long") } else { Header::Incomplete };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let Ok(line) = std::str::from_utf8(line) else { return Header::Malformed("protocol header is not ASCII") };
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Header::Complete(end + 1, None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, from_port, to_port] => {
            let address = |text: &str| {
                text.parse::<IpAddr>()
                    .ok()
                    .map(|a| a.to_canonical())
                    .filter(|_| (family == "TCP6") == text.contains(':'))
            };
            match (address(source), address(destination), from_port.parse(), to_port.parse()) {
                (Some(source), Some(destination), Ok(from), Ok(to)) => {
                    let ends = Ends { client: SocketAddr::new(source, from), server: SocketAddr::new(destination, to) };
                    Header::Complete(end + 1, Some(ends))
                }
                _ => Header::Malformed("bad address or port in protocol header"),
            }
        }
        _ => Header::Malformed("bad protocol header"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let ends = |client: &str, server: &str| {
            Some(Ends { client: client.parse().unwrap(), server: server.parse().unwrap() })
        };
        for (bytes, want) in [
            (
                &b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 25\r\nEHLO x\r\n"[..],
                Header::Complete(40, ends("192.0.2.1:4000", "127.0.0.1:25")),
            ),
            (b"PROXY TCP6 2001:db8::1 ::1 4000 25\r\n", Header::Complete(36, ends("[2001:db8::1]:4000", "[::1]:25"))),
            (b"PROXY UNKNOWN\r\n", Header::Complete(15, None)),
            (b"PRO", Header::Incomplete),
            (b"PROXY TCP4 192.0.2.1", Header::Incomplete),
            (b"EHLO x\r\n", Header::Malformed("unexpected protocol header")),
            (b"PROXY TCP4 2001:db8::1 127.0.0.1 1 2\r\n", Header::Malformed("bad address or port in protocol header")),
            (
                b"PROXY TCP4 192.0.2.1 127.0.0.1 70000 25\r\n",
                Header::Malformed("bad address or port in protocol header"),
            ),
            (b"PROXY UDP4 x\r\n", Header::Malformed("bad protocol header")),
            (&[b"PROXY ".as_slice(), &[b'x'; 200]].concat(), Header::Malformed("protocol header too long")),
        ] {
            assert_eq!(parse(bytes), want, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
