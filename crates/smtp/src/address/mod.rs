//! Mail addresses: internal and external form, MAIL and RCPT arguments, address lists in headers, host names.
//!
//! The *internal* form is what tables, policy and the queue work with: no quotes, no comments (`a b@example.com`).
//! The *external* form is what goes over the wire and into log lines (`"a b"@example.com`).

pub mod header;
pub mod host;
mod path;
mod token;

pub use host::{valid_hostaddr, valid_hostname, valid_ipv4_hostaddr, valid_ipv6_hostaddr, valid_mailhost_literal};
pub use path::{PathRules, SyntaxError, parse_path};

use std::borrow::Cow;

/// The external form of an internal address: the local part is put in quotes where it has to be.
/// The empty address stays empty.
pub fn quote_local(address: &str) -> Cow<'_, str> {
    if address.is_empty() {
        return Cow::Borrowed(address);
    }
    let start = route_end(address);
    let end = address.as_bytes()[start..].iter().rposition(|&b| b == b'@').map_or(address.len(), |at| start + at);
    let local = &address[start..end];
    if is_dot_string(local) {
        return Cow::Borrowed(address);
    }
    let mut quoted = String::with_capacity(address.len() + 4);
    quoted.push_str(&address[..start]);
    quoted.push('"');
    for c in local.chars() {
        if matches!(c, '"' | '\\' | '\r') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted.push_str(&address[end..]);
    Cow::Owned(quoted)
}

/// The internal form of an external address: quotes and backslashes of the local part are taken off.
pub fn unquote_local(address: &str) -> String {
    let start = route_end(address);
    let end = address.as_bytes()[start..].iter().rposition(|&b| b == b'@').map_or(address.len(), |at| start + at);
    let mut plain = String::with_capacity(address.len());
    plain.push_str(&address[..start]);
    let mut chars = address[start..end].chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {}
            '\\' => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    plain.push_str(&address[end..]);
    plain
}

/// Local part and domain of an internal address, cut at the last `@`.
pub fn split_domain(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once('@') {
        Some((local, domain)) => (local, Some(domain)),
        None => (address, None),
    }
}

/// Where the local part begins: after a source route, if there is one.
fn route_end(address: &str) -> usize {
    if address.starts_with('@') { address.find(':').map_or(0, |colon| colon + 1) } else { 0 }
}

/// May this local part stand without quotes? Bytes above 127 may.
pub(crate) fn is_dot_string(local: &str) -> bool {
    let bytes = local.as_bytes();
    if bytes.is_empty() || bytes[0] == b'.' || bytes[bytes.len() - 1] == b'.' {
        return false;
    }
    let mut previous = 0;
    for &byte in bytes {
        if byte == b'.' && previous == b'.' {
            return false;
        }
        if byte <= b' ' || byte == 127 || b"()<>[]:;@\\,\"".contains(&byte) {
            return false;
        }
        previous = byte;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_and_internal_forms() {
        for (internal, external) in [
            ("", ""),
            ("a@example.com", "a@example.com"),
            ("a b@example.com", "\"a b\"@example.com"),
            ("a.b@example.com", "a.b@example.com"),
            (".a@example.com", "\".a\"@example.com"),
            ("a.@example.com", "\"a.\"@example.com"),
            ("a..b@example.com", "\"a..b\"@example.com"),
            ("a\"b@example.com", "\"a\\\"b\"@example.com"),
            ("a\\b@example.com", "\"a\\\\b\"@example.com"),
            ("a@b@example.com", "\"a@b\"@example.com"),
            ("@example.com", "\"\"@example.com"),
            ("user", "user"),
            ("two words", "\"two words\""),
            ("é@example.com", "é@example.com"),
            ("@a.example:b c@d.example", "@a.example:\"b c\"@d.example"),
        ] {
            assert_eq!(quote_local(internal), external, "{internal}");
            assert_eq!(unquote_local(external), internal, "{external}");
        }
    }

    #[test]
    fn domain_is_after_the_last_at() {
        assert_eq!(split_domain("a@b@c.example"), ("a@b", Some("c.example")));
        assert_eq!(split_domain("user"), ("user", None));
        assert_eq!(split_domain("user@"), ("user", Some("")));
    }
}
