//! Texts with macros: `%{ir}.%{v}._spf.%{d2}` (RFC 7208, section 7).

use std::fmt::Write as _;
use std::net::IpAddr;

/// An expansion longer than this is cut: no name is as long, and no reply.
const EXPANSION_LIMIT: usize = 8192;

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// As the name of a domain.
    Domain,
    /// In a modifier that nobody knows.
    Modifier,
    /// In an explanation: blanks, and macros about the receiver.
    Explanation,
}

/// A text with its macros found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MacroText(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Macro(Macro),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Macro {
    letter: u8,
    escape: bool,
    parts: usize,
    reverse: bool,
    delimiters: String,
}

/// What macros stand for.
pub(super) struct Values<'a> {
    /// The client.
    pub client: IpAddr,
    /// `local@domain`.
    pub sender: &'a str,
    /// The domain whose policy is read.
    pub domain: &'a str,
    /// What the client calls itself.
    pub helo: &'a str,
    /// Our name.
    pub receiver: &'a str,
    /// Seconds since the epoch.
    pub now: u64,
    /// The client's validated name; only where the text asks for it.
    pub name: &'a str,
}

impl MacroText {
    /// Read a text; `None` when it makes no sense.
    pub fn parse(text: &str, place: Place) -> Option<Self> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            let (kind, after) = rest[at + 1..].split_at_checked(1)?;
            rest = after;
            match kind {
                "%" => literal.push('%'),
                "_" => literal.push(' '),
                "-" => literal.push_str("%20"),
                "{" => {
                    let (inner, after) = rest.split_once('}')?;
                    rest = after;
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Macro(Macro::parse(inner, place)?));
                }
                _ => return None,
            }
        }
        let visible = |c: char| c.is_ascii_graphic() || (c == ' ' && place == Place::Explanation);
        if !text.chars().all(visible) {
            return None;
        }
        // a name ends in a macro, or in a label that can be at the top
        if place == Place::Domain && !(rest.is_empty() && text.contains('%')) && !ends_in_top_label(rest) {
            return None;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Some(Self(parts))
    }

    /// Does it ask for the client's validated name?
    pub fn asks_for_name(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Macro(it) if it.letter == b'p'))
    }

    /// The text with values for its macros.
    pub fn expand(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Macro(it) => it.expand(values, &mut text),
            }
            if text.len() > EXPANSION_LIMIT {
                // what counts of a name is its end
                let cut = (text.len() - EXPANSION_LIMIT..).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                text.drain(..cut);
            }
        }
        text
    }
}

/// Does what follows the last macro end in a dot and a label that can be at the top?
fn ends_in_top_label(rest: &str) -> bool {
    let name = rest.strip_suffix('.').unwrap_or(rest);
    let Some((_, label)) = name.rsplit_once('.') else { return false };
    let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let numeric = label.bytes().all(|b| b.is_ascii_digit());
    !label.is_empty() && inner && !numeric && !label.starts_with('-') && !label.ends_with('-')
}

impl Macro {
    fn parse(text: &str, place: Place) -> Option<Self> {
        let letter = text.bytes().next()?;
        let lower = letter.to_ascii_lowercase();
        let letters: &[u8] = if place == Place::Domain { b"slodipvh" } else { b"slodipvhcrt" };
        if !letters.contains(&lower) {
            return None;
        }
        let rest = &text[1..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = rest.split_at(digits);
        let parts = match number {
            "" => usize::MAX,
            // nobody has that many parts
            _ => number.parse().unwrap_or(usize::MAX),
        };
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if parts == 0 || !delimiters.bytes().all(|b| b".-+,/_=".contains(&b)) {
            return None;
        }
        let delimiters = if delimiters.is_empty() { "." } else { delimiters }.to_owned();
        Some(Self { letter: lower, escape: letter.is_ascii_uppercase(), parts, reverse, delimiters })
    }

    fn expand(&self, values: &Values<'_>, text: &mut String) {
        let value = self.value(values);
        let mut parts: Vec<&str> = value.split(|c| self.delimiters.contains(c)).collect();
        if self.reverse {
            parts.reverse();
        }
        let kept = &parts[parts.len().saturating_sub(self.parts)..];
        let value = kept.join(".");
        if !self.escape {
            text.push_str(&value);
            return;
        }
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }

    fn value(&self, values: &Values<'_>) -> String {
        let (local, domain) = values.sender.rsplit_once('@').unwrap_or(("postmaster", values.sender));
        let local = if local.is_empty() { "postmaster" } else { local };
        match self.letter {
            b's' => format!("{local}@{domain}"),
            b'l' => local.into(),
            b'o' => domain.into(),
            b'd' => values.domain.into(),
            b'i' => dotted(values.client),
            b'p' => values.name.into(),
            b'v' => if values.client.is_ipv4() { "in-addr" } else { "ip6" }.into(),
            b'h' => values.helo.into(),
            b'c' => values.client.to_string(),
            b'r' => values.receiver.into(),
            _ => values.now.to_string(),
        }
    }
}

/// An address in dots: octets, or nibbles.
pub(super) fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            let words: Vec<String> = nibbles.map(|nibble| format!("{nibble:X}")).collect();
            words.join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str, place: Place) -> Option<String> {
        let values = Values {
            client: "192.0.2.3".parse().unwrap(),
            sender: "strong-bad@email.example.com",
            domain: "email.example.com",
            helo: "mx.example.org",
            receiver: "mail.example.net",
            now: 12,
            name: "mx.example.org",
        };
        MacroText::parse(text, place).map(|text| text.expand(&values))
    }

    /// The examples of RFC 7208, section 7.4, and what is no text.
    #[test]
    fn macros_are_expanded() {
        for (text, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l-}", "strong.bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{D2}", "bad.strong.lp._spf.example.com"),
            ("a%%b%_c%-d.%{S}", "a%b c%20d.strong-bad%40email.example.com"),
        ] {
            assert_eq!(expanded(text, Place::Domain).as_deref(), Some(expected), "{text}");
        }
        let text = expanded("%{c} at %{r}: %{t}.", Place::Explanation);
        assert_eq!(text.as_deref(), Some("192.0.2.3 at mail.example.net: 12."));
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in [
            "", "com", "com.", "a.123", "a.-b", "a.b-", "a b.com", "%{d", "%(d)", "a.%", "%{d0}", "%{a}", "%{c}",
            "%{dx}", "a.%%com",
        ] {
            assert_eq!(expanded(text, Place::Domain), None, "{text}");
        }
        assert_eq!(expanded("two words", Place::Modifier), None);
        assert_eq!(expanded("dashes\u{2014}", Place::Explanation), None);
    }
}
