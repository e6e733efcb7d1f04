//! `cidr:` tables (cidr_table(5)): the first rule whose network holds the address decides, not the most specific one.

mod network;
mod ranges;

use super::Source;
use super::rule::{keyword, trimmed};
use crate::contents::{Content, Contents, KeyForm};
use crate::lines::{Warnings, is_space};
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::{LookupError, Table};
use hashbrown::{DefaultHashBuilder, HashTable};
use network::{Network, Number};
use ranges::{Bits, Ranges};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

/// A rule while the table is read.
struct Rule {
    network: Network,
    negated: bool,
    action: Action,
}

#[derive(Clone, Copy)]
enum Action {
    /// Where to go on when the condition doesn't hold.
    If(usize),
    /// The number of the value.
    Result(u32),
}

impl Rule {
    /// An address of the other family is neither inside nor outside: `!` doesn't hold for it.
    fn holds(&self, address: Number) -> bool {
        let network = &self.network;
        network.number.is_v6 == address.is_v6 && (address.masked(network.prefix) == network.number) != self.negated
    }
}

/// A table of networks.
struct Cidr {
    values: Vec<Arc<str>>,
    places: Places,
}

enum Places {
    /// Every address's answer.
    Ranges(Ranges<u32>, Ranges<u128>),
    /// The rules themselves, where conditions are nested without measure.
    Rules(Vec<Rule>),
}

impl Places {
    fn new(rules: Vec<Rule>) -> Self {
        match (Ranges::new(&rules), Ranges::new(&rules)) {
            (Some(v4), Some(v6)) => Self::Ranges(v4, v6),
            _ => Self::Rules(rules),
        }
    }

    /// The number of the value of the first rule that holds.
    fn find(&self, address: Number) -> Option<u32> {
        match self {
            Self::Ranges(v4, v6) => match u32::of(address) {
                Some(address) => v4.find(address),
                None => v6.find(address.bits),
            },
            Self::Rules(rules) => first(rules, address),
        }
    }
}

fn first(rules: &[Rule], address: Number) -> Option<u32> {
    let mut at = 0;
    while let Some(rule) = rules.get(at) {
        let holds = rule.holds(address);
        at = match rule.action {
            Action::If(end) if !holds => end,
            Action::Result(value) if holds => return Some(value),
            _ => at + 1,
        };
    }
    None
}

impl Table for Cidr {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        // What isn't an address matches nothing, not even `!`.
        let Ok(address) = key.parse() else { return Ok(None) };
        let value = self.places.find(Number::new(address));
        Ok(value.and_then(|value| self.values.get(value as usize)).cloned())
    }

    fn contents(&self) -> Contents {
        let Places::Ranges(v4, v6) = &self.places else { return None };
        let ranges = v4.pieces().map(|(first, last, value)| (IpAddr::V4(first.into()), IpAddr::V4(last.into()), value));
        let wide = v6.pieces().map(|(first, last, value)| (IpAddr::V6(first.into()), IpAddr::V6(last.into()), value));
        let content = |(first, last, value): (IpAddr, IpAddr, u32)| {
            let value = self.values.get(value as usize)?;
            Some(Content::new(KeyForm::Addresses(first, last), value.clone()))
        };
        Some(ranges.chain(wide).filter_map(content).collect())
    }

    fn is_pattern(&self) -> bool {
        true
    }
}

/// Open a cidr table.
pub(crate) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let mut source = Source::open(spec, options)?;
    let mut compiler = Compiler { numbered: options.numbered, ..Compiler::default() };
    source.each_line(|line, text, warnings| {
        if let Err(text) = compiler.line(line, trimmed(text)) {
            warn(warnings, line, &text);
        }
    })?;
    for (_, line) in compiler.open.iter().rev() {
        warn(&mut source.warnings, *line, "IF has no matching ENDIF");
    }
    let table = Arc::new(Cidr { places: Places::new(compiler.rules), values: compiler.values.finish() });
    Ok(Opened { table, warnings: source.warnings.finish(), files: source.files })
}

fn warn(warnings: &mut Warnings, line: u32, text: &str) {
    warnings.add(line, "table-rule", "", |file| format!("cidr map {file}, line {line}: {text}"));
}

#[derive(Default)]
struct Compiler {
    rules: Vec<Rule>,
    values: Values,
    /// The rules of the `if`s that wait for their endif, with their lines.
    open: Vec<(usize, u32)>,
    /// The numbers of lines stand for the values.
    numbered: bool,
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
        let number = self.numbered.then(|| line.to_string());
        let action = Action::Result(self.values.number(number.as_deref().unwrap_or(value)));
        self.rules.push(Rule { network, negated, action });
        Ok(())
    }
}

/// The values, each kept once: most tables have few.
#[derive(Default)]
struct Values {
    list: Vec<Arc<str>>,
    /// Half of each value's hash, and its number: with the hash at hand, few texts are looked at.
    numbers: HashTable<(u32, u32)>,
    hasher: DefaultHashBuilder,
    /// How many were asked for.
    asked: usize,
}

/// When so many values have come of which most are different, the search for equal ones costs more than it saves.
const DIFFERENT: usize = 1 << 16;

impl Values {
    /// The number of a value.
    fn number(&mut self, value: &str) -> u32 {
        self.asked += 1;
        if self.list.len() >= DIFFERENT && self.asked < 2 * self.list.len() {
            return self.push(value);
        }
        let half = (self.hasher.hash_one(value) >> 32) as u32;
        let whole = |half: u32| u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let same = |&(other, number): &(u32, u32)| other == half && *self.list[number as usize] == *value;
        if let Some(&(_, number)) = self.numbers.find(whole(half), same) {
            return number;
        }
        let number = self.push(value);
        self.numbers.insert_unique(whole(half), (half, number), |&(half, _)| whole(half));
        number
    }

    fn push(&mut self, value: &str) -> u32 {
        // A text has fewer lines than 2³².
        let number = self.list.len() as u32;
        self.list.push(value.into());
        number
    }

    fn finish(mut self) -> Vec<Arc<str>> {
        self.list.shrink_to_fit();
        self.list
    }
}

/// The network of a line with a value, as written.
pub(crate) fn key(line: &str) -> Option<&str> {
    let line = trimmed(line);
    if keyword(line, "if").is_some() || keyword(line, "endif").is_some() {
        return None;
    }
    let (_, text) = negation(line).ok()?;
    let end = text.bytes().position(is_space)?;
    Some(&line[..line.len() - text.len() + end])
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
