//! Host names and address literals as Postfix takes them (valid_hostname, valid_hostaddr, valid_mailhost_literal).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest host name.
const HOSTNAME_LENGTH: usize = 255;
/// Longest label.
const LABEL_LENGTH: usize = 63;

/// A host name: labels of letters, digits, `_` and inner `-`, not all of it digits and dots, no empty label.
/// Bytes above 127 (an internationalised name before its conversion) count as letters.
pub fn valid_hostname(name: &str) -> bool {
    if name.is_empty() || name.len() > HOSTNAME_LENGTH {
        return false;
    }
    let mut non_numeric = false;
    for label in name.split('.') {
        let bytes = label.as_bytes();
        if bytes.is_empty() || bytes.len() > LABEL_LENGTH || bytes[0] == b'-' || bytes[bytes.len() - 1] == b'-' {
            return false;
        }
        for &byte in bytes {
            match byte {
                b'0'..=b'9' => {}
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'-' | 128.. => non_numeric = true,
                _ => return false,
            }
        }
    }
    non_numeric
}

/// An IPv4 address in four decimal fields, as Postfix reads it: leading zeros are fine, `0.x.x.x` is not
/// (`0.0.0.0` is).
pub fn valid_ipv4_hostaddr(text: &str) -> bool {
    parse_ipv4(text).is_some()
}

/// An IPv6 address, without brackets, prefix or scope.
pub fn valid_ipv6_hostaddr(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

/// An IPv4 or IPv6 address.
pub fn valid_hostaddr(text: &str) -> bool {
    if text.contains(':') { valid_ipv6_hostaddr(text) } else { valid_ipv4_hostaddr(text) }
}

/// `[1.2.3.4]` or `[IPv6:2001:db8::1]`.
pub fn valid_mailhost_literal(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) else { return false };
    match strip_ipv6_prefix(inner) {
        Some(address) => valid_ipv6_hostaddr(address),
        None => valid_ipv4_hostaddr(inner),
    }
}

/// The address in a mail host form: `1.2.3.4` or `IPv6:2001:db8::1` (XCLIENT, XFORWARD, Received).
pub(crate) fn parse_mailhost_address(text: &str) -> Option<IpAddr> {
    match strip_ipv6_prefix(text) {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => parse_ipv4(text).map(IpAddr::V4),
    }
}

fn strip_ipv6_prefix(text: &str) -> Option<&str> {
    let (head, rest) = text.split_at_checked(5)?;
    head.eq_ignore_ascii_case("IPv6:").then_some(rest)
}

fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut fields = text.split('.');
    for octet in &mut octets {
        let field = fields.next()?;
        if field.is_empty() || !field.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let significant = field.trim_start_matches('0');
        *octet = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    }
    if fields.next().is_some() || (octets[0] == 0 && octets != [0; 4]) {
        return None;
    }
    Some(Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames() {
        for name in ["a", "mail.example.com", "exa_mple.org", "example.123", "1-2", "é.example", "3com.example"] {
            assert!(valid_hostname(name), "{name}");
        }
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(128) + "a";
        for name in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "123", "1.2.3.4", "a b", "ex+ample.org", "*.x"] {
            assert!(!valid_hostname(name), "{name}");
        }
        assert!(!valid_hostname(&long_label));
        assert!(!valid_hostname(&long_name));
    }

    #[test]
    fn addresses() {
        for text in ["1.2.3.4", "0.0.0.0", "001.2.3.255", "::", "2001:db8::1", "::ffff:1.2.3.4"] {
            assert!(valid_hostaddr(text), "{text}");
        }
        for text in ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "0.2.3.4", "1.2.3.x", "+1.2.3.4", "1:2", "fe80::1%eth0"] {
            assert!(!valid_hostaddr(text), "{text}");
        }
    }

    #[test]
    fn literals() {
        for text in ["[1.2.3.4]", "[IPv6:2001:db8::1]", "[ipv6:::1]"] {
            assert!(valid_mailhost_literal(text), "{text}");
        }
        for text in ["1.2.3.4", "[1.2.3]", "[2001:db8::1]", "[IPv6:1.2.3.4]", "[foo]", "[]", "[ 1.2.3.4 ]"] {
            assert!(!valid_mailhost_literal(text), "{text}");
        }
        assert_eq!(parse_mailhost_address("IPV6:2001:db8::7"), Some("2001:db8::7".parse().unwrap()));
        assert_eq!(parse_mailhost_address("2001:db8::7"), None);
    }
}
