//! Which rules of a large table can match a key at all, told in one pass over the key.
//!
//! Of each expression some literals are known one of which a matching key must contain (see [`outline`]). One automaton
//! finds the literals of all rules; only rules with a literal in the key, and those of which nothing is known, are
//! tried by the library, in the order of the file. What is left out could not have matched, so the result is the same.

mod outline;
mod perl;
mod posix;

use aho_corasick::{AhoCorasick, MatchKind};
use hashbrown::HashMap;
use outline::{Outline, Strings, bits};

/// With fewer rules that the automaton can leave out, trying them all is as fast.
const RULES: usize = 8;
/// Literals that stand in a key by accident more often than once in 2⁶ times are of no use.
const RARE: u32 = 6;
/// What a literal promises by its length; more than this is not believed.
const BELIEVED: u32 = 24;
/// More literal text than this is not put into an automaton; the rules that remain are always tried.
const TEXT: usize = 32 << 20;

/// Sets of literals of which a matching key contains one each; none when nothing is known.
#[derive(Default)]
pub(super) struct Needs(Vec<Strings>);

impl Needs {
    /// Of a Perl-compatible expression.
    pub(super) fn perl(expression: &str, extended: bool) -> Self {
        Self::of(perl::outline(expression, extended))
    }

    /// Of a POSIX expression.
    pub(super) fn posix(expression: &str, extended: bool) -> Self {
        Self::of(posix::outline(expression, extended))
    }

    fn of(outline: Option<Outline>) -> Self {
        let mut sets = outline.as_ref().map(outline::literals).unwrap_or_default();
        sets.retain(|set| bits(set) >= RARE);
        Self(sets)
    }
}

/// Finds the rules that may match.
pub(super) struct Filter {
    automaton: AhoCorasick,
    /// By the number of the literal: where its rules begin in `rules`; and one more, where the last ones end.
    starts: Vec<u32>,
    rules: Vec<u32>,
    /// Rules that are tried with every key, in order.
    always: Vec<u32>,
}

/// Memory for one look-up after the other.
#[derive(Default)]
pub(super) struct Found {
    /// Rules with a literal in the key, in order.
    rules: Vec<u32>,
    /// The last pass that met a literal, by its number.
    met: Vec<u64>,
    pass: u64,
}

impl Filter {
    /// A filter for rules with these needs, if it's worth the while.
    pub(super) fn new(needs: &[Needs]) -> Option<Self> {
        let (mut literals, mut always, mut text) = (Literals::new(needs), Vec::new(), 0);
        let mut numbers: HashMap<&[u8], Vec<u32>> = HashMap::new();
        for (rule, needs) in (0u32..).zip(needs) {
            let set = literals.best(needs);
            let size: usize = set.map_or(0, |set| set.iter().map(Vec::len).sum());
            let Some(set) = set.filter(|_| text + size <= TEXT) else {
                always.push(rule);
                continue;
            };
            text += size;
            set.iter().for_each(|literal| numbers.entry(literal).or_default().push(rule));
        }
        if needs.len() - always.len() < RULES {
            return None;
        }
        drop(literals);
        let mut numbers: Vec<(&[u8], Vec<u32>)> = numbers.into_iter().collect();
        numbers.sort_unstable();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(numbers.iter().map(|(literal, _)| literal))
            .ok()?;
        let (mut starts, mut rules) = (Vec::with_capacity(numbers.len() + 1), Vec::new());
        for (_, of_literal) in &numbers {
            starts.push(u32::try_from(rules.len()).ok()?);
            rules.extend_from_slice(of_literal);
        }
        starts.push(u32::try_from(rules.len()).ok()?);
        Some(Self { automaton, starts, rules, always })
    }

    /// Find the rules that may match a key, its letters made small.
    pub(super) fn search(&self, key: &[u8], found: &mut Found) {
        found.rules.clear();
        found.pass += 1;
        let literals = self.starts.len() - 1;
        if found.met.len() < literals {
            found.met.resize(literals, 0);
        }
        for hit in self.automaton.find_overlapping_iter(key) {
            let literal = hit.pattern().as_usize();
            if std::mem::replace(&mut found.met[literal], found.pass) != found.pass {
                let rules = self.starts[literal] as usize..self.starts[literal + 1] as usize;
                found.rules.extend_from_slice(&self.rules[rules]);
            }
        }
        found.rules.sort_unstable();
    }

    /// The first rule from `at` on that may match.
    pub(super) fn next(&self, at: usize, found: &Found) -> Option<usize> {
        let next = |rules: &[u32]| rules.get(rules.partition_point(|&rule| (rule as usize) < at)).copied();
        let rule = match (next(&self.always), next(&found.rules)) {
            (Some(always), Some(found)) => always.min(found),
            (always, found) => always.or(found)?,
        };
        Some(rule as usize)
    }
}

/// All literals, and in how many rules they stand.
struct Literals<'a>(HashMap<&'a [u8], u32>);

impl<'a> Literals<'a> {
    fn new(needs: &'a [Needs]) -> Self {
        let mut counts = HashMap::new();
        for literal in needs.iter().flat_map(|needs| &needs.0).flatten() {
            *counts.entry(literal.as_slice()).or_default() += 1;
        }
        Self(counts)
    }

    /// The set to look for: one whose literals are rare in keys and not shared with many rules, such as `Subject:`.
    fn best(&mut self, needs: &'a Needs) -> Option<&'a Strings> {
        let shared = |set: &Strings| set.iter().filter_map(|literal| self.0.get(literal.as_slice())).max().copied();
        let value = |set: &&Strings| {
            let shared = shared(set).unwrap_or(1).ilog2();
            i64::from(bits(set).min(BELIEVED)) - 2 * i64::from(shared)
        };
        needs.0.iter().max_by_key(value)
    }
}
