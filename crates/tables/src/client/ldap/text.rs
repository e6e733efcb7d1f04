//! LDAP's texts: quoting in filters and names, filters as people write them, URLs in values, the names of results.

use ldap3::Scope;

/// For use inside a filter (RFC 4515, section 3).
pub(super) fn quote_filter(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '*' => quoted.push_str("\\2a"),
            '(' => quoted.push_str("\\28"),
            ')' => quoted.push_str("\\29"),
            '\\' => quoted.push_str("\\5c"),
            '\0' => quoted.push_str("\\00"),
            letter => quoted.push(letter),
        }
    }
    quoted
}

/// For use as a value inside a distinguished name (RFC 2253, section 2.4).
pub(super) fn quote_name(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let last = text.char_indices().next_back().map(|(at, _)| at);
    for (at, letter) in text.char_indices() {
        let special = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '#' | '=');
        let edge = letter == ' ' && (at == 0 || Some(at) == last);
        if special || edge {
            quoted.push('\\');
        }
        match letter {
            '\0' => quoted.push_str("\\00"),
            letter => quoted.push(letter),
        }
    }
    quoted
}

/// A filter without the liberties that OpenLDAP allows: blanks around parentheses, and none around the whole.
pub(super) fn tidy_filter(text: &str) -> String {
    let text = text.trim_ascii();
    let mut tidy = String::with_capacity(text.len() + 2);
    let mut structural = true;
    for letter in text.chars() {
        if structural && letter.is_ascii_whitespace() {
            continue;
        }
        structural = match letter {
            '(' | ')' => true,
            '&' | '|' | '!' => structural,
            _ => false,
        };
        tidy.push(letter);
    }
    if tidy.starts_with('(') { tidy } else { format!("({tidy})") }
}

/// Is it an LDAP URL (as opposed to a distinguished name)?
pub(super) fn is_url(text: &str) -> bool {
    ["ldap://", "ldaps://", "ldapi://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// A search that a value asks for (RFC 4516); its server part counts for nothing.
#[derive(Debug, PartialEq)]
pub(super) struct SearchUrl {
    pub(super) base: String,
    /// Empty means all.
    pub(super) attributes: Vec<String>,
    pub(super) scope: Scope,
    pub(super) filter: String,
}

impl SearchUrl {
    /// `None` when it is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("://")?;
        let rest = rest.split_once('/').map_or("", |(_, rest)| rest);
        let mut parts = rest.splitn(5, '?');
        let base = decode(parts.next()?)?;
        let attributes = parts.next().unwrap_or_default().split(',').filter(|name| !name.is_empty());
        let attributes = attributes.map(decode).collect::<Option<Vec<_>>>()?;
        let scope = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "base" => Scope::Base,
            "one" | "onelevel" => Scope::OneLevel,
            "sub" | "subtree" => Scope::Subtree,
            _ => return None,
        };
        let filter = decode(parts.next().unwrap_or_default())?;
        let filter = if filter.is_empty() { "(objectclass=*)".to_owned() } else { tidy_filter(&filter) };
        // Extensions marked as critical must be known, and none is.
        if parts.next().is_some_and(|extensions| extensions.split(',').any(|extension| extension.starts_with('!'))) {
            return None;
        }
        Some(Self { base, attributes, scope, filter })
    }
}

/// Undo `%XX`.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
        bytes.push((digit(rest.next())? * 16 + digit(rest.next())?) as u8);
    }
    String::from_utf8(bytes).ok()
}

/// How two attribute descriptions are related (RFC 4512, section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// They are equal, or the second has options besides.
    Covers,
    /// The first has options besides.
    Covered,
    /// They are different.
    None,
}

/// How is `first` related to `second`?
pub(super) fn relation(first: &str, second: &str) -> Relation {
    let covers = |short: &str, long: &str| {
        long.get(..short.len()).is_some_and(|start| start.eq_ignore_ascii_case(short))
            && matches!(long.as_bytes().get(short.len()), None | Some(b';'))
    };
    if covers(first, second) {
        Relation::Covers
    } else if covers(second, first) {
        Relation::Covered
    } else {
        Relation::None
    }
}

/// The name of a result code (RFC 4511, appendix A), in OpenLDAP's words.
pub(super) fn result_name(code: u32) -> &'static str {
    match code {
        0 => "Success",
        1 => "Operations error",
        2 => "Protocol error",
        3 => "Time limit exceeded",
        4 => "Size limit exceeded",
        7 => "Authentication method not supported",
        8 => "Strong(er) authentication required",
        10 => "Referral",
        11 => "Administrative limit exceeded",
        12 => "Critical extension is unavailable",
        13 => "Confidentiality required",
        16 => "No such attribute",
        17 => "Undefined attribute type",
        18 => "Inappropriate matching",
        21 => "Invalid syntax",
        32 => "No such object",
        34 => "Invalid DN syntax",
        48 => "Inappropriate authentication",
        49 => "Invalid credentials",
        50 => "Insufficient access",
        51 => "Server is busy",
        52 => "Server is unavailable",
        53 => "Server is unwilling to perform",
        80 => "Other (e.g., implementation specific) error",
        _ => "Unknown error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes() {
        for (text, filter, name) in [
            ("u@d.com", "u@d.com", "u@d.com"),
            ("*)(uid=*", "\\2a\\29\\28uid=\\2a", "*)(uid\\=*"),
            ("a\\b\0", "a\\5cb\\00", "a\\\\b\\00"),
            (" x,dc=y ", " x,dc=y ", "\\ x\\,dc\\=y\\ "),
            ("#a+b\"<c>;", "#a+b\"<c>;", "\\#a\\+b\\\"\\<c\\>\\;"),
        ] {
            assert_eq!((quote_filter(text).as_str(), quote_name(text).as_str()), (filter, name));
        }
    }

    #[test]
    fn filters_are_tidied() {
        for (text, tidy) in [
            ("mail=%s", "(mail=%s)"),
            ("(mail=%s)", "(mail=%s)"),
            (" ( & (a=b c) ( ! (d= e) ) ) ", "(&(a=b c)(!(d= e)))"),
        ] {
            assert_eq!(tidy_filter(text), tidy);
        }
    }

    #[test]
    fn takes_urls_apart() {
        let url = |base: &str, attributes: &[&str], scope, filter: &str| {
            let attributes = attributes.iter().map(|&name| name.to_owned()).collect();
            Some(SearchUrl { base: base.to_owned(), attributes, scope, filter: filter.to_owned() })
        };
        for (text, parsed) in [
            ("ldap:///dc=x", url("dc=x", &[], Scope::Base, "(objectclass=*)")),
            (
                "ldap://h:1/ou=a%20b,dc=x?mail,cn?sub?(uid=x)",
                url("ou=a b,dc=x", &["mail", "cn"], Scope::Subtree, "(uid=x)"),
            ),
            ("ldap:///dc=x??one?uid=%2a", url("dc=x", &[], Scope::OneLevel, "(uid=*)")),
            ("ldap:///dc=x??up", None),
            ("ldap:///dc=%zz", None),
            ("ldap:///dc=x????!x", None),
        ] {
            assert_eq!(SearchUrl::parse(text), parsed, "{text}");
        }
        assert!(is_url("LDAP://h") && !is_url("cn=ldap://x") && !is_url("ldap"));
    }

    #[test]
    fn attributes_are_related() {
        for (first, second, expected) in [
            ("Mail", "mail", Relation::Covers),
            ("mail", "mail;lang-de", Relation::Covers),
            ("mail;lang-de", "mail", Relation::Covered),
            ("mail", "mailbox", Relation::None),
        ] {
            assert_eq!(relation(first, second), expected, "{first} {second}");
        }
    }
}
