//! Match lists (`mynetworks`, `relay_domains`, `mydestination`, …): syntax only; who matches what is policy's.

use std::net::IpAddr;

use crate::diagnostic::Diagnostic;
use crate::list;
use crate::logical::{logical_lines, trim};
use crate::table_ref::TableRef;

/// Deepest nesting of `/file` in files.
const MAX_FILE_NESTING: usize = 100;
/// Most elements in a list, files included.
const MAX_ELEMENTS: usize = 1_000_000;

/// What one element matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// A host or domain name (or any string), folded to lower case.
    Name(String),
    /// `.example.com`: subdomains only; folded to lower case, with the dot.
    Subdomains(String),
    /// An address.
    Address(IpAddr),
    /// A network: its first address and the length of its prefix.
    Network(IpAddr, u8),
    /// A lookup table; a key that is found matches.
    Table(TableRef),
    /// A file that cannot be read: reaching this element is a lookup error. Path and reason.
    Unreadable(String, String),
}

/// One element: a pattern, possibly negated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchElement {
    /// Was it written with an odd number of `!`? Then a match ends the search with "no".
    pub negated: bool,
    /// What it matches.
    pub pattern: Pattern,
}

/// The elements in order; the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchList {
    /// The elements, files included.
    pub elements: Vec<MatchElement>,
}

/// Reads a file named in a list: its text, or the reason why not.
pub type ReadFile<'a> = dyn FnMut(&str) -> Result<String, String> + 'a;

impl MatchList {
    /// Reads a list that is already expanded. `read` supplies the text of `/file` elements. Elements in error are
    /// left out, and told.
    pub fn parse(text: &str, read: &mut ReadFile<'_>) -> (Self, Vec<Diagnostic>) {
        let mut parser = Parser { read, elements: Vec::new(), problems: Vec::new(), full: false };
        parser.list(text, false, 0);
        (Self { elements: parser.elements }, parser.problems)
    }

    /// No elements at all?
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

struct Parser<'a, 'b> {
    read: &'a mut ReadFile<'b>,
    elements: Vec<MatchElement>,
    problems: Vec<Diagnostic>,
    full: bool,
}

impl Parser<'_, '_> {
    fn list(&mut self, text: &str, negated: bool, depth: usize) {
        match list::split(text) {
            Ok(elements) => elements.iter().for_each(|element| self.element(&element.text, negated, depth)),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn element(&mut self, text: &str, outer: bool, depth: usize) {
        let pattern = text.trim_start_matches('!');
        let negated = outer ^ ((text.len() - pattern.len()) % 2 == 1);
        if pattern.is_empty() {
            self.problems
                .push(Diagnostic::error("bad-pattern", "no pattern after '!'").help("write !pattern, without a blank"));
        } else if self.elements.len() >= MAX_ELEMENTS {
            if !self.full {
                self.problems.push(
                    Diagnostic::error("list-too-long", format!("more than {MAX_ELEMENTS} patterns in one list"))
                        .help("use a lookup table (type:name) instead of a file"),
                );
            }
            self.full = true;
        } else if pattern.starts_with('/') {
            self.file(pattern, negated, depth);
        } else {
            match parse_pattern(pattern) {
                Ok(pattern) => self.elements.push(MatchElement { negated, pattern }),
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn file(&mut self, path: &str, negated: bool, depth: usize) {
        let text = if depth < MAX_FILE_NESTING { (self.read)(path) } else { Err("nested too deeply".to_owned()) };
        match text {
            Ok(text) => {
                for line in logical_lines(&text) {
                    self.list(trim(&line.text), negated, depth + 1);
                }
            }
            Err(why) => {
                let pattern = Pattern::Unreadable(path.to_owned(), why);
                self.elements.push(MatchElement { negated, pattern });
            }
        }
    }
}

/// Reads one pattern, without `!` and `/file`.
fn parse_pattern(text: &str) -> Result<Pattern, Diagnostic> {
    if let Some(address) = parse_address(text) {
        return Ok(Pattern::Address(address));
    }
    if let Some((net, prefix)) = text.rsplit_once('/')
        && let Some(address) = parse_address(net)
    {
        return parse_network(text, address, prefix);
    }
    if text.starts_with('[') {
        return Err(Diagnostic::error("bad-address", format!("bad address pattern: \"{text}\""))
            .help("write [2001:db8::1] or [2001:db8::]/32"));
    }
    if text.contains(':') {
        return TableRef::parse(text).map(Pattern::Table);
    }
    if looks_numeric(text) {
        return Err(Diagnostic::error("bad-address", format!("bad net/mask pattern: \"{text}\""))
            .help("write all four numbers, such as 192.0.2.0/24"));
    }
    let name = text.to_lowercase();
    Ok(if name.starts_with('.') { Pattern::Subdomains(name) } else { Pattern::Name(name) })
}

/// An address, possibly in brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    inner.parse().ok()
}

/// Digits, dots and a slash only: a network with numbers missing.
fn looks_numeric(text: &str) -> bool {
    text.contains('/') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'/')
}

fn parse_network(text: &str, address: IpAddr, prefix: &str) -> Result<Pattern, Diagnostic> {
    let width: u8 = if address.is_ipv4() { 32 } else { 128 };
    let bad = || {
        Diagnostic::error("bad-network", format!("bad net/mask pattern: \"{text}\""))
            .help(format!("the prefix length is a number from 0 to {width}"))
    };
    if !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let prefix: u8 = prefix.parse().ok().filter(|&prefix| prefix <= width).ok_or_else(bad)?;
    let network = mask(address, prefix);
    if network != address {
        let right = match network {
            IpAddr::V4(v4) => format!("{v4}/{prefix}"),
            IpAddr::V6(v6) if text.starts_with('[') => format!("[{v6}]/{prefix}"),
            IpAddr::V6(v6) => format!("{v6}/{prefix}"),
        };
        return Err(Diagnostic::error(
            "host-bits-set",
            format!("non-null host address bits in \"{text}\", perhaps you should use \"{right}\" instead"),
        )
        .help(format!("write {right}")));
    }
    Ok(Pattern::Network(address, prefix))
}

/// The first address of a network.
pub(crate) fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<MatchElement>, Vec<String>) {
        let mut read = |path: &str| match path {
            "/nets" => Ok("# c\n10.0.0.0/8\n\n!example.org, /more\n".to_owned()),
            "/more" => Ok("hash:/x\n".to_owned()),
            "/loop" => Ok("/loop\n".to_owned()),
            _ => Err("No such file or directory".to_owned()),
        };
        let (list, problems) = MatchList::parse(text, &mut read);
        (list.elements, problems.into_iter().map(|d| d.message).collect())
    }

    fn one(negated: bool, pattern: Pattern) -> MatchElement {
        MatchElement { negated, pattern }
    }

    #[test]
    fn every_kind_of_element() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("address");
        for (text, want) in [
            ("Example.COM", one(false, Pattern::Name("example.com".to_owned()))),
            ("!.example.com", one(true, Pattern::Subdomains(".example.com".to_owned()))),
            ("192.0.2.1", one(false, Pattern::Address(ip("192.0.2.1")))),
            ("[2001:db8::1]", one(false, Pattern::Address(ip("2001:db8::1")))),
            ("2001:DB8::1", one(false, Pattern::Address(ip("2001:db8::1")))),
            ("192.0.2.0/24", one(false, Pattern::Network(ip("192.0.2.0"), 24))),
            ("![2001:db8::]/32", one(true, Pattern::Network(ip("2001:db8::"), 32))),
            ("0.0.0.0/0", one(false, Pattern::Network(ip("0.0.0.0"), 0))),
            ("!!x", one(false, Pattern::Name("x".to_owned()))),
            (
                "cidr:{{192.0.2.0/24 x}}",
                one(false, Pattern::Table(TableRef::parse("cidr:{{192.0.2.0/24 x}}").expect("table"))),
            ),
            ("/none", one(false, Pattern::Unreadable("/none".to_owned(), "No such file or directory".to_owned()))),
        ] {
            assert_eq!(parse(text), (vec![want], vec![]), "{text}");
        }
    }

    #[test]
    fn files_are_read_in_place_and_negated_as_a_whole() {
        let (elements, problems) = parse("a !/nets b");
        let shape: Vec<_> = elements.iter().map(|e| e.negated).collect();
        assert_eq!(shape, [false, true, false, true, false]);
        assert_eq!(problems, [""; 0]);
        let (elements, _) = parse("/loop");
        assert_eq!(elements, [one(false, Pattern::Unreadable("/loop".to_owned(), "nested too deeply".to_owned()))]);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, message) in [
            (
                "192.0.2.5/24",
                "non-null host address bits in \"192.0.2.5/24\", perhaps you should use \"192.0.2.0/24\" instead",
            ),
            (
                "[2001:db8::1]/64",
                "non-null host address bits in \"[2001:db8::1]/64\", perhaps you should use \"[2001:db8::]/64\" instead",
            ),
            ("192.0.2.0/33", "bad net/mask pattern: \"192.0.2.0/33\""),
            ("192.0.2.0/x", "bad net/mask pattern: \"192.0.2.0/x\""),
            ("192.0.2/24", "bad net/mask pattern: \"192.0.2/24\""),
            ("[fe80::zz]", "bad address pattern: \"[fe80::zz]\""),
            ("!", "no pattern after '!'"),
            ("{a", "missing '}' in \"{a\""),
        ] {
            assert_eq!(parse(text), (vec![], vec![message.to_owned()]), "{text}");
        }
    }
}
