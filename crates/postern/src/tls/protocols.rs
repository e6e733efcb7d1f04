//! `smtpd_tls_protocols` and `smtpd_tls_mandatory_protocols`.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

/// Names with their numbers on the wire, old ones first.
const NAMES: [(&str, u16); 6] = [
    ("SSLv2", 0x0002),
    ("SSLv3", 0x0300),
    ("TLSv1", 0x0301),
    ("TLSv1.1", 0x0302),
    ("TLSv1.2", 0x0303),
    ("TLSv1.3", 0x0304),
];

/// The versions of a list that there are; `None` is a list that can't be read.
pub(super) fn parse(list: &str) -> Option<Vec<&'static SupportedProtocolVersion>> {
    let (mut lowest, mut highest) = (0, u16::MAX);
    let (mut included, mut excluded) = (Vec::new(), Vec::new());
    for word in list.split([' ', '\t', '\r', '\n', ',', ':']).filter(|word| !word.is_empty()) {
        if let Some(bound) = word.strip_prefix(">=") {
            lowest = number(bound)?;
        } else if let Some(bound) = word.strip_prefix("<=") {
            highest = number(bound)?;
        } else if let Some(name) = word.strip_prefix('!') {
            excluded.push(named(name)?);
        } else {
            included.push(named(word)?);
        }
    }
    let wanted = |version: u16| {
        (lowest..=highest).contains(&version)
            && !excluded.contains(&version)
            && (included.is_empty() || included.contains(&version))
    };
    Some([&TLS13, &TLS12].into_iter().filter(|version| wanted(u16::from(version.version))).collect())
}

fn named(word: &str) -> Option<u16> {
    NAMES.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}

/// A bound: a name, or hexadecimal digits.
fn number(word: &str) -> Option<u16> {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    named(word).or_else(|| u16::from_str_radix(digits, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (list, want) in [
            ("", Some("1.3 1.2")),
            (">=TLSv1", Some("1.3 1.2")),
            (">=TLSv1.2", Some("1.3 1.2")),
            (">=tlsv1.3", Some("1.3")),
            ("<=TLSv1.2", Some("1.2")),
            (">=0303, <=0x0303", Some("1.2")),
            (">=304", Some("1.3")),
            ("!SSLv2, !SSLv3, !TLSv1:!TLSv1.1", Some("1.3 1.2")),
            ("!TLSv1.3", Some("1.2")),
            ("TLSv1.2", Some("1.2")),
            ("TLSv1, TLSv1.1", Some("")),
            ("TLSv1.9", None),
            (">= TLSv1.2", None),
            (">=x", None),
        ] {
            let names = parse(list).map(|versions| {
                let name = |version: &&SupportedProtocolVersion| match u16::from(version.version) {
                    0x0304 => "1.3",
                    _ => "1.2",
                };
                versions.iter().map(name).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(names.as_deref(), want, "{list}");
        }
    }
}
