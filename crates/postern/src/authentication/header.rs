//! `Authentication-Results:` (RFC 8601).

use policy::dmarc::{DmarcResult, DmarcVerdict};
use policy::spf::SpfVerdict;
use policy::{Authentication, DkimVerdict};
use std::fmt::Write as _;

/// The header, with its line ends.
pub fn authentication_results(server: &str, found: &Authentication) -> String {
    let mut text = format!("Authentication-Results: {server}");
    if let Some((verdict, from_helo)) = &found.spf {
        spf(&mut text, verdict, *from_helo);
    }
    if found.dkim.is_empty() {
        text.push_str(";\n\tdkim=none");
    }
    found.dkim.iter().for_each(|verdict| dkim(&mut text, verdict));
    if let Some(verdict) = &found.dmarc {
        dmarc(&mut text, verdict);
    }
    text.push('\n');
    text
}

fn spf(text: &mut String, verdict: &SpfVerdict, from_helo: bool) {
    let property = if from_helo { "smtp.helo" } else { "smtp.mailfrom" };
    let _ = write!(text, ";\n\tspf={}", verdict.result.word());
    reason(text, &verdict.reason);
    let _ = write!(text, " {property}={}", value(&verdict.domain));
}

fn dkim(text: &mut String, verdict: &DkimVerdict) {
    let _ = write!(text, ";\n\tdkim={}", verdict.result.word());
    reason(text, &verdict.reason);
    for (property, found) in [
        ("header.d", &verdict.domain),
        ("header.s", &verdict.selector),
        ("header.a", &verdict.algorithm),
        ("header.b", &verdict.signature),
    ] {
        if !found.is_empty() {
            let _ = write!(text, " {property}={}", value(found));
        }
    }
}

fn dmarc(text: &mut String, verdict: &DmarcVerdict) {
    let _ = write!(text, ";\n\tdmarc={}", verdict.result.word());
    if matches!(verdict.result, DmarcResult::Pass | DmarcResult::Fail) {
        let _ = write!(text, " (p={})", verdict.published.word());
    }
    reason(text, &verdict.reason);
    if !verdict.domain.is_empty() {
        let _ = write!(text, " header.from={}", value(&verdict.domain));
    }
}

fn reason(text: &mut String, why: &str) {
    if !why.is_empty() {
        let _ = write!(text, " reason={}", quoted(why));
    }
}

/// A word as it is, anything else in quotes: much of it was written by strangers.
fn value(text: &str) -> String {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"-._+!#$&*^`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(is_word) { text.to_owned() } else { quoted(text) }
}

/// A quoted string of printable ASCII, not too long.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().take(200) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::DkimResult;
    use policy::dmarc::DmarcPolicy;
    use policy::spf::SpfResult;

    #[test]
    fn results_are_told() {
        let nothing = authentication_results("mx.example.com", &Authentication::default());
        assert_eq!(nothing, "Authentication-Results: mx.example.com;\n\tdkim=none\n");
        let spf = SpfVerdict {
            result: SpfResult::Fail,
            domain: "bank.example".into(),
            reason: "bank.example: -all".into(),
            explanation: None,
        };
        let pass = DkimVerdict {
            result: DkimResult::Pass,
            domain: "bank.example".into(),
            selector: "s1".into(),
            algorithm: "rsa-sha256".into(),
            signature: "Ab/+=x".into(),
            reason: String::new(),
        };
        let broken = DkimVerdict {
            result: DkimResult::PermError,
            reason: "b= is \"odd\"\n\u{e9}".into(),
            ..DkimVerdict::default()
        };
        let dmarc = DmarcVerdict {
            result: DmarcResult::Pass,
            domain: "bank.example".into(),
            published: DmarcPolicy::Reject,
            policy: DmarcPolicy::None,
            reason: String::new(),
        };
        let found = Authentication { spf: Some((spf, true)), dkim: vec![pass, broken], dmarc: Some(dmarc) };
        assert_eq!(
            authentication_results("mx.example.com", &found),
            "Authentication-Results: mx.example.com;\n\
             \tspf=fail reason=\"bank.example: -all\" smtp.helo=bank.example;\n\
             \tdkim=pass header.d=bank.example header.s=s1 header.a=rsa-sha256 header.b=\"Ab/+=x\";\n\
             \tdkim=permerror reason=\"b= is \\\"odd\\\"??\";\n\
             \tdmarc=pass (p=reject) header.from=bank.example\n"
        );
    }
}
