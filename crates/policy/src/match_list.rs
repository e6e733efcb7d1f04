//! Match lists: `mynetworks`, `relay_domains`, `mydestination` and their like (evaluation from left to right).

use crate::address::syntax::fold;
use crate::ledger::{Ask, Suspend};
use crate::question::{Answer, Question};
use crate::settings::{Settings, bare_address, elements};
use crate::tables::{Table, TableRegistry, is_table};
use config::Diagnostic;
use std::net::IpAddr;
use std::sync::Arc;

/// How deep `/file` patterns may refer to other files.
const FILE_DEPTH: usize = 20;

/// What a list is matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Exact strings (`mydestination`).
    Strings,
    /// Domains, with subdomains by the parent style (`relay_domains`).
    Domains {
        /// `example.com` matches its subdomains too.
        parents: bool,
    },
    /// Host names and addresses (`mynetworks`).
    Hosts {
        /// `example.com` matches its subdomains too.
        parents: bool,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Text(Box<str>),
    Address(IpAddr),
    Network {
        base: u128,
        prefix: u8,
        v6: bool,
    },
    Table(Table),
    /// A file that could not be read: a look-up that reaches it fails.
    Broken(Arc<str>),
}

#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub negated: bool,
    pub pattern: Pattern,
}

impl Pattern {
    /// The first address of a network.
    pub fn base(&self) -> Option<IpAddr> {
        match self {
            Self::Network { base, v6: true, .. } => Some(IpAddr::V6((*base).into())),
            Self::Network { base, .. } => u32::try_from(*base).ok().map(|base| IpAddr::V4(base.into())),
            _ => None,
        }
    }
}

/// A compiled match list.
#[derive(Clone, Debug)]
pub struct MatchList {
    kind: ListKind,
    elements: Vec<Element>,
}

/// What matching came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched {
    /// An element matched.
    Yes,
    /// None did, or a negated one came first.
    No,
    /// A table or file could not be read.
    Failed(Arc<str>),
}

/// Does `parent_domain_matches_subdomains` name this list?
pub(crate) fn parent_style(settings: &dyn Settings, name: &str) -> bool {
    let elements = settings.elements("parent_domain_matches_subdomains");
    let first = elements.iter().find(|word| word.trim_start_matches('!').eq_ignore_ascii_case(name));
    first.is_some_and(|word| word.chars().take_while(|c| *c == '!').count() % 2 == 0)
}

impl MatchList {
    /// Compile the value of a parameter.
    pub fn compile(
        name: &str,
        kind: ListKind,
        settings: &dyn Settings,
        tables: &mut TableRegistry,
    ) -> (Self, Vec<Diagnostic>) {
        Self::from_text(&settings.get(name), name, kind, settings, tables)
    }

    /// Compile a list that is not the value of the parameter itself; `name` is for diagnostics.
    pub fn from_text(
        text: &str,
        name: &str,
        kind: ListKind,
        settings: &dyn Settings,
        tables: &mut TableRegistry,
    ) -> (Self, Vec<Diagnostic>) {
        let mut compiler = Compiler { name, kind, settings, tables, found: Vec::new(), problems: Vec::new() };
        compiler.add(text, false, 0);
        (Self { kind, elements: compiler.found }, compiler.problems)
    }

    /// Has the list no elements?
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The elements in their order.
    pub(crate) fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// Does `example.com` stand for its subdomains too?
    pub(crate) fn takes_parents(&self) -> bool {
        matches!(self.kind, ListKind::Domains { parents: true } | ListKind::Hosts { parents: true })
    }

    /// Does a match depend on the host's name (and not on its address alone)?
    pub fn needs_name(&self) -> bool {
        self.elements.iter().any(|element| matches!(element.pattern, Pattern::Text(_) | Pattern::Table(_)))
    }

    /// Match a string or domain.
    pub fn matches(&self, text: &str, ask: &mut Ask<'_>) -> Result<Matched, Suspend> {
        self.matches_host(text, None, ask)
    }

    /// Match a client: its name (`unknown` matches like any other word) and its address.
    pub fn matches_host(&self, name: &str, address: Option<IpAddr>, ask: &mut Ask<'_>) -> Result<Matched, Suspend> {
        let name = fold(name);
        for element in &self.elements {
            match self.matches_one(&element.pattern, &name, address, ask)? {
                Matched::Yes if element.negated => return Ok(Matched::No),
                Matched::No => {}
                other => return Ok(other),
            }
        }
        Ok(Matched::No)
    }

    fn matches_one(
        &self,
        pattern: &Pattern,
        name: &str,
        address: Option<IpAddr>,
        ask: &mut Ask<'_>,
    ) -> Result<Matched, Suspend> {
        let hit = match pattern {
            Pattern::Text(text) => self.matches_text(text, name),
            Pattern::Address(wanted) => address == Some(*wanted),
            Pattern::Network { base, prefix, v6 } => address.is_some_and(|it| in_network(it, *base, *prefix, *v6)),
            Pattern::Broken(why) => return Ok(Matched::Failed(why.clone())),
            Pattern::Table(table) => return self.matches_table(table, name, address, ask),
        };
        Ok(if hit { Matched::Yes } else { Matched::No })
    }

    fn matches_text(&self, pattern: &str, name: &str) -> bool {
        if pattern == name {
            return true;
        }
        let parents = match self.kind {
            ListKind::Strings => return false,
            ListKind::Domains { parents } | ListKind::Hosts { parents } => parents,
        };
        let Some(rest) = name.strip_suffix(pattern) else { return false };
        match pattern.starts_with('.') {
            true => !parents && !rest.is_empty(),
            false => parents && rest.ends_with('.'),
        }
    }

    fn matches_table(
        &self,
        table: &Table,
        name: &str,
        address: Option<IpAddr>,
        ask: &mut Ask<'_>,
    ) -> Result<Matched, Suspend> {
        let mut key = Some(name).filter(|name| !name.is_empty());
        while let Some(wanted) = key {
            match lookup(table, wanted, ask)? {
                Ok(Some(_)) => return Ok(Matched::Yes),
                Ok(None) => {}
                Err(why) => return Ok(Matched::Failed(why)),
            }
            if table.pattern {
                break;
            }
            key = match self.kind {
                ListKind::Strings => None,
                ListKind::Domains { parents } | ListKind::Hosts { parents } => parent(wanted, parents),
            };
        }
        let (ListKind::Hosts { .. }, Some(address)) = (self.kind, address) else { return Ok(Matched::No) };
        Ok(match lookup(table, &address.to_string(), ask)? {
            Ok(Some(_)) => Matched::Yes,
            Ok(None) => Matched::No,
            Err(why) => Matched::Failed(why),
        })
    }
}

/// The next key on the way from a name to its top-level domain.
pub(crate) fn parent(name: &str, parents: bool) -> Option<&str> {
    let from = usize::from(name.starts_with('.'));
    let dot = name[from..].find('.')? + from;
    let next = if parents { &name[dot + 1..] } else { &name[dot..] };
    Some(next).filter(|next| !next.is_empty() && *next != ".")
}

/// What is logged when a look-up fails: the table's reason, if it has one, and Postfix's line.
pub(crate) fn lookup_error(table: &Table, key: &str, why: &str) -> String {
    let end = if why.is_empty() { "" } else { "\n" };
    let key: String = key.chars().take(100).collect();
    format!("{why}{end}{} lookup error for \"{key}\"", table.spec)
}

/// Ask for one key of one table; keys of tables without patterns are folded.
pub(crate) fn lookup(
    table: &Table,
    key: &str,
    ask: &mut Ask<'_>,
) -> Result<Result<Option<Arc<str>>, Arc<str>>, Suspend> {
    let key = if table.pattern { key.to_owned() } else { fold(key).into_owned() };
    match ask.get(Question::Table { table: table.id, key })? {
        Answer::Table(answer) => Ok(answer),
        _ => Ok(Err("a table was answered with something else".into())),
    }
}

fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), false),
        IpAddr::V6(v6) => (u128::from(v6), true),
    }
}

fn mask(prefix: u8, v6: bool) -> u128 {
    let width: u32 = if v6 { 128 } else { 32 };
    let host = width.saturating_sub(u32::from(prefix));
    let all = if v6 { u128::MAX } else { u128::from(u32::MAX) };
    if host >= 128 { 0 } else { (all >> host) << host }
}

fn in_network(address: IpAddr, base: u128, prefix: u8, v6: bool) -> bool {
    let (address, is_v6) = bits(address);
    is_v6 == v6 && address & mask(prefix, v6) == base
}

struct Compiler<'a> {
    name: &'a str,
    kind: ListKind,
    settings: &'a dyn Settings,
    tables: &'a mut TableRegistry,
    found: Vec<Element>,
    problems: Vec<Diagnostic>,
}

impl Compiler<'_> {
    fn add(&mut self, text: &str, negated: bool, depth: usize) {
        for word in elements(text) {
            let flips = word.bytes().take_while(|b| *b == b'!').count();
            let negated = negated ^ (flips % 2 == 1);
            let word = &word[flips..];
            if word.starts_with('/') {
                self.add_file(word, negated, depth);
            } else if !word.is_empty() {
                let pattern = self.pattern(word);
                self.found.push(Element { negated, pattern });
            }
        }
    }

    fn add_file(&mut self, path: &str, negated: bool, depth: usize) {
        let text = if depth < FILE_DEPTH {
            self.settings.read_list_file(path)
        } else {
            Err(format!("open file {path}: files refer to each other"))
        };
        match text {
            Ok(text) => {
                for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
                    self.add(line, negated, depth + 1);
                }
            }
            Err(why) => {
                let message = format!("{}: {why}", self.name);
                self.problems.push(Diagnostic::warning("unreadable-list-file", message).at(self.origin()));
                self.found.push(Element { negated, pattern: Pattern::Broken(why.into()) });
            }
        }
    }

    fn origin(&self) -> Option<config::Span> {
        self.settings.origin(self.name)
    }

    fn pattern(&mut self, word: &str) -> Pattern {
        let hosts = matches!(self.kind, ListKind::Hosts { .. });
        if hosts {
            if let Ok(address) = bare_address(word).parse() {
                return Pattern::Address(address);
            }
            if let Some(network) = self.network(word) {
                return network;
            }
        }
        let tablelike = is_table(word) && !word.starts_with('[');
        if tablelike {
            return Pattern::Table(self.tables.handle(word, self.settings.origin(self.name)));
        }
        Pattern::Text(fold(word).into_owned().into())
    }

    fn network(&mut self, word: &str) -> Option<Pattern> {
        let (base, prefix) = word.rsplit_once('/')?;
        let address: IpAddr = bare_address(base).parse().ok()?;
        let (base, v6) = bits(address);
        let width = if v6 { 128 } else { 32 };
        let (message, help) = match prefix.parse::<u8>() {
            Ok(prefix) if prefix <= width && base & mask(prefix, v6) == base => {
                return Some(Pattern::Network { base, prefix, v6 });
            }
            Ok(prefix) if prefix <= width => {
                let masked = base & mask(prefix, v6);
                let net = if v6 {
                    format!("[{}]/{prefix}", std::net::Ipv6Addr::from(masked))
                } else {
                    format!("{}/{prefix}", std::net::Ipv4Addr::from(u32::try_from(masked).unwrap_or(0)))
                };
                let message = format!("{}: non-null host address bits in \"{word}\"", self.name);
                (message, Some(format!("write \"{net}\"")))
            }
            _ => (format!("{}: bad network prefix in \"{word}\"", self.name), None),
        };
        let mut problem = Diagnostic::error("bad-network", message.clone()).at(self.origin());
        problem.help = help;
        self.problems.push(problem);
        Some(Pattern::Broken(message.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::testing::{Config, Script};

    fn matched(text: &str, kind: ListKind, name: &str, address: Option<&str>) -> Matched {
        let mut tables = TableRegistry::new();
        let config = Config::new(&[]).file("/more", "# a comment\none.example, 198.51.100.1\n!two.example\n");
        let (list, _) = MatchList::from_text(text, "mynetworks", kind, &config, &mut tables);
        let script = Script::default().entry("hash:/t", "tab.example", "x").entry("hash:/t", "203.0.113.7", "x");
        let mut world = script.failure("hash:/t", "bad.example", "down").opened(&tables);
        let mut ledger = Ledger::default();
        let mut ask = Ask { ledger: &mut ledger, world: &mut world };
        list.matches_host(name, address.map(|address| address.parse().unwrap()), &mut ask).unwrap()
    }

    #[test]
    fn names_are_matched_by_the_kind_of_list() {
        let (exact, parents, dots) =
            (ListKind::Strings, ListKind::Domains { parents: true }, ListKind::Domains { parents: false });
        for (text, kind, name, expected) in [
            ("a.example", exact, "A.Example", true),
            ("a.example", exact, "b.a.example", false),
            ("a.example", parents, "b.a.example", true),
            ("a.example", parents, "ba.example", false),
            (".a.example", parents, "b.a.example", false),
            ("a.example", dots, "b.a.example", false),
            (".a.example", dots, "b.a.example", true),
            (".a.example", dots, "a.example", false),
            ("!b.a.example, a.example", parents, "b.a.example", false),
            ("!b.a.example, a.example", parents, "c.a.example", true),
            ("hash:/t", exact, "tab.example", true),
            ("hash:/t", exact, "sub.tab.example", false),
            ("hash:/t", parents, "sub.tab.example", true),
            ("/more", exact, "one.example", true),
            ("!/more, one.example", exact, "one.example", false),
            ("!/more, two.example", exact, "two.example", true),
        ] {
            let expected = if expected { Matched::Yes } else { Matched::No };
            assert_eq!(matched(text, kind, name, None), expected, "{text} {name}");
        }
        assert_eq!(matched("hash:/t", exact, "bad.example", None), Matched::Failed("down".into()));
        let why = "open file /none: No such file or directory";
        assert_eq!(matched("/none", exact, "bad.example", None), Matched::Failed(why.into()));
        assert_eq!(matched("bad.example /none", exact, "bad.example", None), Matched::Yes);
    }

    #[test]
    fn addresses_are_matched_in_networks() {
        let hosts = ListKind::Hosts { parents: true };
        for (text, address, expected) in [
            ("10.1.0.0/16", "10.1.200.3", true),
            ("10.1.0.0/16", "10.2.0.1", false),
            ("0.0.0.0/0", "10.2.0.1", true),
            ("0.0.0.0/0", "::1", false),
            ("[2001:db8::]/32", "2001:db8::9", true),
            ("2001:db8::/32", "2001:db9::9", false),
            ("[::1]/128 127.0.0.1/32", "::1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("[2001:db8::1]", "2001:db8::1", true),
            ("!192.0.2.70 192.0.2.64/28", "192.0.2.70", false),
            ("hash:/t", "203.0.113.7", true),
            ("/more", "198.51.100.1", true),
        ] {
            let expected = if expected { Matched::Yes } else { Matched::No };
            assert_eq!(matched(text, hosts, "unknown", Some(address)), expected, "{text} {address}");
        }
    }
}
