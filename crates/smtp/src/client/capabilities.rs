//! What a server offers.

use super::reply::ServerReply;

/// Extensions from a reply to EHLO or LHLO that matter to a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870; with the limit, 0 for none.
    pub size: Option<u64>,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3207.
    pub starttls: bool,
}

impl Capabilities {
    /// From the reply; keywords in `discard` (upper case) don't count.
    pub fn parse(reply: &ServerReply, discard: &[String]) -> Self {
        let mut found = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.get(4..).unwrap_or("").split([' ', '=']);
            let keyword = words.next().unwrap_or("").to_ascii_uppercase();
            if discard.contains(&keyword) {
                continue;
            }
            match keyword.as_str() {
                "PIPELINING" => found.pipelining = true,
                "SIZE" => found.size = Some(words.next().and_then(|w| w.parse().ok()).unwrap_or(0)),
                "8BITMIME" => found.eight_bit_mime = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "DSN" => found.dsn = true,
                "STARTTLS" => found.starttls = true,
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_taken_from_all_lines_but_the_first() {
        let lines = ["250-DSN", "250-pipelining", "250-SIZE 1000", "250-8BITMIME", "250 STARTTLS"];
        let reply = ServerReply { code: 250, lines: lines.map(str::to_owned).to_vec() };
        let found = Capabilities::parse(&reply, &["8BITMIME".to_owned()]);
        let want = Capabilities { pipelining: true, size: Some(1000), starttls: true, ..Default::default() };
        assert_eq!(found, want);
    }
}
