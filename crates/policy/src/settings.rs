//! How the compiled plan reads its parameters: a small trait the program adapts its configuration to.

use config::{Places, Span};
use std::net::IpAddr;

/// The parameters of one service, expanded, with defaults filled in.
pub trait Settings {
    /// The value of a parameter, after `$name` expansion; empty when there is neither a value nor a default.
    /// Parameters that postconf(5) does not expand (`default_rbl_reply`, `smtpd_expansion_filter`) arrive as written.
    fn get(&self, name: &str) -> String;

    /// Where the value was written; `None` for a built-in default.
    fn origin(&self, name: &str) -> Option<Span>;

    /// Where the words of the value were written.
    fn places(&self, name: &str) -> Places<'_> {
        Places::whole(self.origin(name))
    }

    /// The text of a `/file` pattern in a match list; `Err` holds a text for the log.
    fn read_list_file(&self, path: &str) -> Result<String, String>;

    /// The addresses this system listens on (`inet_interfaces`, with `all` resolved to what the interfaces have).
    /// The default takes the literal addresses of the parameter only.
    fn interface_addresses(&self) -> Vec<IpAddr> {
        self.elements("inet_interfaces").iter().filter_map(|word| bare_address(word).parse().ok()).collect()
    }

    /// A parameter made up by the postmaster (a restriction class); `None` when it is nowhere defined.
    fn user_parameter(&self, name: &str) -> Option<String> {
        Some(self.get(name)).filter(|value| !value.trim().is_empty())
    }

    /// The elements of a list parameter.
    fn elements(&self, name: &str) -> Vec<String> {
        elements(&self.get(name))
    }

    /// A yes/no parameter; anything but `yes` is no.
    fn bool(&self, name: &str) -> bool {
        self.get(name).trim().eq_ignore_ascii_case("yes")
    }

    /// A number, or `None` when the value is not one.
    fn int(&self, name: &str) -> Option<i64> {
        self.get(name).trim().parse().ok()
    }
}

/// An address without its brackets and `IPv6:` tag.
pub(crate) fn bare_address(text: &str) -> &str {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => &inner[5..],
        _ => inner,
    }
}

/// The elements of a list. One whose braces don't match is a single element, so that it is seen to make no sense.
pub(crate) fn elements(text: &str) -> Vec<String> {
    config::list::words(text).unwrap_or_else(|_| vec![text.trim().to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_unbalanced_braces_is_one_element() {
        assert_eq!(elements("a, {b c} d"), ["a", "{b c}", "d"]);
        assert_eq!(elements(" a, {b c "), ["a, {b c"]);
    }

    #[test]
    fn brackets_and_tags_are_no_part_of_an_address() {
        assert_eq!(bare_address("[IPv6:::1]"), "::1");
        assert_eq!(bare_address("[192.0.2.1]"), "192.0.2.1");
        assert_eq!(bare_address("::1"), "::1");
    }
}
