//! The text of a policy: terms and modifiers (RFC 7208, sections 4.6.1 and 12).

use super::SpfResult;
use super::macros::{MacroText, Place};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longer records are a mistake, or an attack: no answer over UDP is as long.
const LENGTH_LIMIT: usize = 16_384;

/// A policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub directives: Vec<Directive>,
    pub redirect: Option<MacroText>,
    pub explanation: Option<MacroText>,
}

/// One mechanism with what it comes to.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    /// As written.
    pub text: String,
    pub result: SpfResult,
    pub mechanism: Mechanism,
}

/// What a client is compared with. A missing domain is the one whose policy it is.
#[derive(Clone, Debug)]
pub(super) enum Mechanism {
    All,
    Include(MacroText),
    A(Option<MacroText>, Prefixes),
    Mx(Option<MacroText>, Prefixes),
    Ptr(Option<MacroText>),
    Network(IpAddr, u8),
    Exists(MacroText),
}

/// Prefix lengths for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub v4: u8,
    pub v6: u8,
}

impl Prefixes {
    /// Is the client in the network of this address?
    pub fn cover(self, network: IpAddr, client: IpAddr) -> bool {
        match network {
            IpAddr::V4(_) => covers(network, self.v4, client),
            IpAddr::V6(_) => covers(network, self.v6, client),
        }
    }
}

/// Is the client in this network?
pub(super) fn covers(network: IpAddr, prefix: u8, client: IpAddr) -> bool {
    match (network, client) {
        (IpAddr::V4(network), IpAddr::V4(client)) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - prefix.min(32))).unwrap_or(0);
            u32::from(network) & mask == u32::from(client) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(client)) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - prefix.min(128))).unwrap_or(0);
            u128::from(network) & mask == u128::from(client) & mask
        }
        _ => false,
    }
}

/// Is this text a policy at all? The version ends at a blank or at the end.
pub(super) fn is_policy(text: &str) -> bool {
    let version = text.as_bytes().get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"v=spf1"));
    version && matches!(text.as_bytes().get(6), None | Some(b' '))
}

impl Record {
    /// Read a policy; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LENGTH_LIMIT {
            return Err("the policy is too long".into());
        }
        let mut record = Self::default();
        for term in text.get(6..).unwrap_or_default().split(' ').filter(|term| !term.is_empty()) {
            if !term.bytes().all(|b| b.is_ascii_graphic()) {
                return Err("there are characters that no policy may have".into());
            }
            record.add(term)?;
        }
        Ok(record)
    }

    fn add(&mut self, term: &str) -> Result<(), String> {
        let bad = || format!("bad term {term}");
        let name_end = term.find(['=', ':', '/']);
        if let Some(at) = name_end.filter(|at| term[*at..].starts_with('=')) {
            let (name, value) = (&term[..at], &term[at + 1..]);
            return self.add_modifier(name, value).ok_or_else(bad);
        }
        let (result, rest) = match term.split_at(1) {
            ("+", rest) => (SpfResult::Pass, rest),
            ("-", rest) => (SpfResult::Fail, rest),
            ("~", rest) => (SpfResult::SoftFail, rest),
            ("?", rest) => (SpfResult::Neutral, rest),
            _ => (SpfResult::Pass, term),
        };
        let mechanism = mechanism(rest).ok_or_else(bad)?;
        self.directives.push(Directive { text: term.into(), result, mechanism });
        Ok(())
    }

    fn add_modifier(&mut self, name: &str, value: &str) -> Option<()> {
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(named) {
            return None;
        }
        let known = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.explanation,
            _ => return MacroText::parse(value, Place::Modifier).map(|_| ()),
        };
        if known.is_some() {
            return None;
        }
        *known = Some(MacroText::parse(value, Place::Domain)?);
        Some(())
    }
}

fn mechanism(text: &str) -> Option<Mechanism> {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let domain = |text: &str| MacroText::parse(text, Place::Domain);
    let argument = rest.strip_prefix(':');
    Some(match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(domain(argument?)?),
        "exists" => Mechanism::Exists(domain(argument?)?),
        "ptr" if rest.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(domain(argument?)?)),
        "a" => {
            let (domain, prefixes) = hosts(rest)?;
            Mechanism::A(domain, prefixes)
        }
        "mx" => {
            let (domain, prefixes) = hosts(rest)?;
            Mechanism::Mx(domain, prefixes)
        }
        "ip4" => {
            let (address, prefix) = network(argument?, 32)?;
            Mechanism::Network(address.parse::<Ipv4Addr>().ok()?.into(), prefix)
        }
        "ip6" => {
            let (address, prefix) = network(argument?, 128)?;
            Mechanism::Network(address.parse::<Ipv6Addr>().ok()?.into(), prefix)
        }
        _ => return None,
    })
}

fn network(text: &str, longest: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((address, length)) => Some((address, prefix_length(length, longest)?)),
        None => Some((text, longest)),
    }
}

/// `[:domain][/n][//n]`.
fn hosts(text: &str) -> Option<(Option<MacroText>, Prefixes)> {
    let mut prefixes = Prefixes { v4: 32, v6: 128 };
    let mut rest = text;
    if let Some((before, length)) = last_number(rest)
        && let Some(before) = before.strip_suffix('/')
    {
        prefixes.v6 = prefix_length(length, 128)?;
        rest = before;
    }
    if let Some((before, length)) = last_number(rest) {
        prefixes.v4 = prefix_length(length, 32)?;
        rest = before;
    }
    match rest.strip_prefix(':') {
        Some(domain) => Some((Some(MacroText::parse(domain, Place::Domain)?), prefixes)),
        None => rest.is_empty().then_some((None, prefixes)),
    }
}

/// What stands before and after the last slash, if the latter is a number.
fn last_number(text: &str) -> Option<(&str, &str)> {
    let (before, number) = text.rsplit_once('/')?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some((before, number))
}

fn prefix_length(text: &str, longest: u8) -> Option<u8> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|length| plain && *length <= longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_end_at_a_blank() {
        for (text, expected) in [
            ("v=spf1", true),
            ("V=SPF1 -all", true),
            ("v=spf10", false),
            ("v=spf1\t-all", false),
            ("v=spf", false),
            (" v=spf1", false),
        ] {
            assert_eq!(is_policy(text), expected, "{text}");
        }
    }

    #[test]
    fn prefixes_stand_at_the_end() {
        for (text, expected) in [
            ("", Some((false, 32, 128))),
            ("/24", Some((false, 24, 128))),
            ("//64", Some((false, 32, 64))),
            ("/24//64", Some((false, 24, 64))),
            (":example.com/0", Some((true, 0, 128))),
            (":foo:bar/baz.example.com", Some((true, 32, 128))),
            (":%{l2/}.example.com//0", Some((true, 32, 0))),
            ("/24/64", None),
            ("/33", None),
            ("//129", None),
            ("/024", None),
            (":", None),
            ("/", None),
        ] {
            let found = hosts(text).map(|(domain, lengths)| (domain.is_some(), lengths.v4, lengths.v6));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn networks_of_one_family_hold_no_clients_of_the_other() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for (network, prefix, client, expected) in [
            ("192.0.2.0", 24, "192.0.2.77", true),
            ("192.0.2.0", 25, "192.0.2.200", false),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("2001:db8::", 32, "2001:db8:ff::1", true),
            ("::", 0, "192.0.2.1", false),
            ("192.0.2.1", 32, "192.0.2.1", true),
        ] {
            assert_eq!(covers(address(network), prefix, address(client)), expected, "{network}/{prefix} {client}");
        }
    }
}
