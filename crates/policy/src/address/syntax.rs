//! Spelling of addresses and host names (RFC 5321 section 4.1.2, RFC 1123 section 2.1), as the engine needs it.

pub(crate) use smtp::address::{quote_local as quoted, split_domain as split_at_domain};

use smtp::address::valid_hostname;
use std::borrow::Cow;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use unicase::UniCase;

/// The domain of an address in internal form.
pub(crate) fn domain_of(address: &str) -> Option<&str> {
    split_at_domain(address).1
}

/// External to internal form: quotes and backslashes go, wherever they are (local parts may come without domain).
pub(crate) fn unquoted(address: &str) -> String {
    if !address.contains(['"', '\\']) {
        return address.to_owned();
    }
    let mut text = String::with_capacity(address.len());
    let mut chars = address.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {}
            '\\' => text.extend(chars.next()),
            _ => text.push(c),
        }
    }
    text
}

/// Positions of a character outside of quotes.
pub(crate) fn bare_positions(text: &str, wanted: char) -> impl Iterator<Item = usize> + '_ {
    let mut in_quotes = false;
    let mut escaped = false;
    text.char_indices().filter_map(move |(at, c)| {
        if escaped {
            escaped = false;
            return None;
        }
        match c {
            '\\' => escaped = true,
            '"' => in_quotes = !in_quotes,
            _ if c == wanted && !in_quotes => return Some(at),
            _ => {}
        }
        None
    })
}

/// Is this an ASCII host name?
pub(crate) fn is_hostname(name: &str) -> bool {
    name.is_ascii() && valid_hostname(name)
}

/// As [`is_hostname`], where names in Unicode count too.
pub(crate) fn is_utf8_hostname(name: &str) -> bool {
    if name.is_ascii() { is_hostname(name) } else { ascii_name(name).is_some_and(|name| is_hostname(&name)) }
}

/// A name as DNS questions have it: lower case, A-labels, no final dot.
pub(crate) fn ascii_name(name: &str) -> Option<Cow<'_, str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if !name.is_ascii() {
        return idna::domain_to_ascii(name).ok().map(Cow::Owned);
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Some(Cow::Owned(name.to_ascii_lowercase()));
    }
    Some(Cow::Borrowed(name))
}

/// The address within `[…]`, in RFC 5321 form (`IPv6:` before IPv6 addresses, or without it).
pub(crate) fn literal_address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => inner.parse().ok(),
    }
}

/// As [`literal_address`], but IPv6 addresses need their tag (RFC 5321 section 4.1.3).
pub(crate) fn mail_literal(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Case folded, by Unicode's rules where that is needed.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    Cow::Owned(UniCase::unicode(text).to_folded_case())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_parts_are_quoted_where_needed() {
        for (internal, external) in [
            ("user@example.com", "user@example.com"),
            ("a b@example.com", "\"a b\"@example.com"),
            ("at@home@example.org", "\"at@home\"@example.org"),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("a%b!c@example.com", "a%b!c@example.com"),
            ("a..b@example.com", "\"a..b\"@example.com"),
            ("", ""),
            ("@example.com", "\"\"@example.com"),
        ] {
            assert_eq!(quoted(internal), external);
            assert_eq!(unquoted(external), internal);
        }
    }

    #[test]
    fn quoted_characters_are_no_operators() {
        assert_eq!(bare_positions("\"a@b\"@c", '@').collect::<Vec<_>>(), [5]);
        assert_eq!(bare_positions("a\\@b@c", '@').collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn host_names_are_judged() {
        assert_eq!(ascii_name("fa\u{df}.example").as_deref(), Some("xn--fa-hia.example"));
        for name in ["a", "a.b", "a_b.example", "1.example", "xn--a.example", "a-b.c"] {
            assert!(is_hostname(name), "{name}");
        }
        for name in ["", ".", "a..b", "-a.b", "a-.b", "1.2.3.4", "a b", "a.b.", "[1.2.3.4]", "ä.example"] {
            assert!(!is_hostname(name), "{name}");
        }
        assert!(is_utf8_hostname("ä.example"));
        assert_eq!(ascii_name("Ä.Example.").unwrap(), "xn--4ca.example");
    }

    #[test]
    fn literals_hold_addresses() {
        assert_eq!(mail_literal("[192.0.2.1]"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(mail_literal("[IPv6:::1]"), Some("::1".parse().unwrap()));
        assert_eq!(mail_literal("[::1]"), None);
        assert_eq!(literal_address("[::1]"), Some("::1".parse().unwrap()));
        assert_eq!(mail_literal("[example.com]"), None);
    }
}
