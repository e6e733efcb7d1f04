//! `cidr:` tables (cidr_table(5)): the first rule whose network holds the address decides, not the most specific one.

use super::Source;
use super::rule::{keyword, trimmed};
use crate::lines::{Warnings, is_space};
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::{LookupError, Table};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Runs of more plain rules than this get an index; up to it, trying one after the other is as fast.
const INDEX_FROM: usize = 1000;

/// An address as a number, IPv4 and IPv6 kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Number {
    is_v6: bool,
    bits: u128,
}

impl Number {
    fn new(address: IpAddr) -> Self {
        match address {
            // IPv4 in the upper bits, so that prefix lengths count from the same end.
            IpAddr::V4(v4) => Self { is_v6: false, bits: u128::from(v4.to_bits()) << 96 },
            IpAddr::V6(v6) => Self { is_v6: true, bits: v6.to_bits() },
        }
    }

    fn address(self) -> IpAddr {
        match self.is_v6 {
            false => IpAddr::V4(((self.bits >> 96) as u32).into()),
            true => IpAddr::V6(Ipv6Addr::from_bits(self.bits)),
        }
    }

    /// The address with all but its first bits cleared.
    fn masked(self, prefix: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Self { bits: self.bits & mask, ..self }
    }
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Network {
    number: Number,
    prefix: u8,
}

impl Network {
    /// Parse `address`, `[address]`, `network/prefix`, `[network/prefix]` or `[network]/prefix`; the error is
    /// Postfix's text after `line N: `.
    fn parse(pattern: &str) -> Result<Self, String> {
        let (shown, address, mask) = split(pattern)?;
        let Some(mask) = mask else {
            let address =
                address.parse().map_err(|_| format!("bad address pattern: \"{shown}\": skipping this rule"))?;
            let number = Number::new(address);
            return Ok(Self { number, prefix: if number.is_v6 { 128 } else { 32 } });
        };
        if mask.is_empty() || !mask.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("bad mask value in \"{shown}\": skipping this rule"));
        }
        let most = if address.contains(':') { 128 } else { 32 };
        let prefix = mask.parse().ok().filter(|&prefix: &u8| prefix <= most);
        let prefix = prefix.ok_or_else(|| format!("bad mask length in \"{shown}\": skipping this rule"))?;
        let address = address.parse().map_err(|_| format!("bad network value in \"{shown}\": skipping this rule"))?;
        let number = Number::new(address);
        let network = Self { number: number.masked(prefix), prefix };
        if network.number != number {
            return Err(format!(
                "non-null host address bits in \"{shown}\", perhaps you should use \"{}/{prefix}\" instead: \
                 skipping this rule",
                network.number.address()
            ));
        }
        Ok(network)
    }
}

/// The pattern without brackets, as warnings show it; the address; the mask.
fn split(pattern: &str) -> Result<(String, &str, Option<&str>), String> {
    if let Some(inner) = pattern.strip_prefix('[') {
        let (inside, after) = inner
            .split_once(']')
            .ok_or_else(|| format!("missing ']' character after \"{pattern}\": skipping this rule"))?;
        if let Some(mask) = after.strip_prefix('/') {
            return Ok((format!("{inside}{after}"), inside, Some(mask)));
        }
        if !after.is_empty() {
            return Err(format!("garbage after \"[{inside}]\": skipping this rule"));
        }
        return Ok(plain(inside));
    }
    Ok(plain(pattern))
}

fn plain(pattern: &str) -> (String, &str, Option<&str>) {
    match pattern.split_once('/') {
        Some((address, mask)) => (pattern.to_owned(), address, Some(mask)),
        None => (pattern.to_owned(), pattern, None),
    }
}

struct Rule {
    network: Network,
    negated: bool,
    action: Action,
}

enum Action {
    /// Where to go on when the condition doesn't hold.
    If(usize),
    Result(Arc<str>),
}

impl Rule {
    /// An address of the other family is neither inside nor outside: `!` doesn't hold for it.
    fn holds(&self, address: Number) -> bool {
        let network = &self.network;
        network.number.is_v6 == address.is_v6 && (address.masked(network.prefix) == network.number) != self.negated
    }

    fn is_plain(&self) -> bool {
        !self.negated && matches!(self.action, Action::Result(_))
    }
}

/// An index over a run of plain rules: each network with its lowest rule number.
struct Run {
    end: usize,
    networks: HashMap<Network, usize>,
    /// The prefix lengths that occur, for IPv4 and IPv6.
    prefixes: [Vec<u8>; 2],
}

impl Run {
    fn new(rules: &[Rule], start: usize, end: usize) -> Self {
        let mut run = Self { end, networks: HashMap::new(), prefixes: [Vec::new(), Vec::new()] };
        for (number, rule) in rules.iter().enumerate().take(end).skip(start) {
            run.networks.entry(rule.network).or_insert(number);
            let prefixes = &mut run.prefixes[usize::from(rule.network.number.is_v6)];
            if !prefixes.contains(&rule.network.prefix) {
                prefixes.push(rule.network.prefix);
            }
        }
        run
    }

    /// The first rule that holds.
    fn first(&self, address: Number) -> Option<usize> {
        let prefixes = &self.prefixes[usize::from(address.is_v6)];
        let network = |&prefix: &u8| Network { number: address.masked(prefix), prefix };
        prefixes.iter().filter_map(|prefix| self.networks.get(&network(prefix))).min().copied()
    }
}

/// A table of networks.
struct Cidr {
    rules: Vec<Rule>,
    /// By the number of their first rule, in order.
    runs: Vec<(usize, Run)>,
}

impl Cidr {
    fn new(rules: Vec<Rule>, index_from: usize) -> Self {
        let mut runs = Vec::new();
        let mut start = 0;
        while start < rules.len() {
            let length = rules[start..].iter().take_while(|rule| rule.is_plain()).count();
            if length > index_from {
                runs.push((start, Run::new(&rules, start, start + length)));
            }
            start += length.max(1);
        }
        Self { rules, runs }
    }

    fn find(&self, address: Number) -> Option<&Arc<str>> {
        let mut at = 0;
        while let Some(rule) = self.rules.get(at) {
            // The number of rules tried so far says nothing about runs: an `if` may have skipped some.
            if let Ok(run) = self.runs.binary_search_by_key(&at, |(start, _)| *start) {
                let run = &self.runs[run].1;
                match run.first(address).and_then(|number| self.rules.get(number)) {
                    Some(Rule { action: Action::Result(value), .. }) => return Some(value),
                    _ => at = run.end,
                }
                continue;
            }
            let holds = rule.holds(address);
            at = match &rule.action {
                Action::If(end) if !holds => *end,
                Action::Result(value) if holds => return Some(value),
                _ => at + 1,
            };
        }
        None
    }
}

impl Table for Cidr {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        // What isn't an address matches nothing, not even `!`.
        let Ok(address) = key.parse() else { return Ok(None) };
        Ok(self.find(Number::new(address)).cloned())
    }

    fn is_pattern(&self) -> bool {
        true
    }
}

/// Open a cidr table.
pub(crate) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let mut source = Source::open(spec, options)?;
    let mut compiler = Compiler { rules: Vec::new(), open: Vec::new() };
    source.each_line(|line, text, warnings| {
        if let Err(text) = compiler.line(line, trimmed(text)) {
            warn(warnings, line, &text);
        }
    })?;
    for (_, line) in compiler.open.iter().rev() {
        warn(&mut source.warnings, *line, "IF has no matching ENDIF");
    }
    let table = Arc::new(Cidr::new(compiler.rules, INDEX_FROM));
    Ok(Opened { table, warnings: source.warnings.finish(), files: source.files })
}

fn warn(warnings: &mut Warnings, line: u32, text: &str) {
    warnings.add(line, "table-rule", "", |file| format!("cidr map {file}, line {line}: {text}"));
}

struct Compiler {
    rules: Vec<Rule>,
    /// The rules of the `if`s that wait for their endif, with their lines.
    open: Vec<(usize, u32)>,
}

impl Compiler {
    fn line(&mut self, line: u32, text: &str) -> Result<(), String> {
        if let Some(pattern) = keyword(text, "if") {
            let (negated, pattern) = negation(pattern)?;
            let network = Network::parse(pattern)?;
            self.open.push((self.rules.len(), line));
            self.rules.push(Rule { network, negated, action: Action::If(usize::MAX) });
            return Ok(());
        }
        if let Some(extra) = keyword(text, "endif") {
            if !extra.is_empty() {
                return Err("garbage after ENDIF: skipping this rule".to_owned());
            }
            let (start, _) = self.open.pop().ok_or("ENDIF without IF: skipping this rule")?;
            self.rules[start].action = Action::If(self.rules.len());
            return Ok(());
        }
        let (negated, text) = negation(text)?;
        let end = text.bytes().position(is_space).unwrap_or(text.len());
        let (pattern, value) = text.split_at(end);
        let network = Network::parse(pattern)?;
        let value = trimmed(value);
        if value.is_empty() {
            return Err("no lookup result: skipping this rule".to_owned());
        }
        self.rules.push(Rule { network, negated, action: Action::Result(value.into()) });
        Ok(())
    }
}

/// Take `!` off, as often as it stands there.
fn negation(text: &str) -> Result<(bool, &str), String> {
    let (mut text, mut negated) = (text, false);
    while let Some(rest) = text.strip_prefix('!') {
        negated = !negated;
        text = trimmed(rest);
    }
    if text.is_empty() { Err("no address pattern: skipping this rule".to_owned()) } else { Ok((negated, text)) }
}

#[cfg(test)]
#[path = "cidr_tests.rs"]
mod tests;
