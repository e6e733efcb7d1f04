//! What an expression can match, told roughly: a set of strings that holds at least those of the exact expression. From
//! it follow the *literals* one of which must stand in a key for the expression to match at all.
//!
//! An outline knows no case (all ASCII letters are small), no anchors and no look-around: these only ever make an
//! expression match less. What a parser doesn't know for sure it calls [`Outline::Unknown`], or it gives up.

/// Alternatives, each of them some bytes; sorted, none twice.
pub(super) type Strings = Vec<Vec<u8>>;

/// An outline of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outline {
    /// Any string whatsoever.
    Unknown,
    /// These bytes.
    Literal(Vec<u8>),
    /// One of these bytes.
    Class(Vec<u8>),
    /// One after the other.
    Concat(Vec<Outline>),
    /// One of these.
    Alternation(Vec<Outline>),
    /// So many times, or more.
    Repeat(Box<Outline>, u32, Option<u32>),
}

/// A branch of an expression while it is parsed: what stands one after the other.
#[derive(Default)]
pub(super) struct Branch {
    parts: Vec<Outline>,
    /// Can a quantifier follow?
    is_atom: bool,
}

impl Branch {
    /// One byte as it stands.
    pub(super) fn byte(&mut self, byte: u8) {
        let byte = byte.to_ascii_lowercase();
        match self.parts.last_mut() {
            // Groups come as concatenations, so this is a run of single bytes.
            Some(Outline::Literal(run)) => run.push(byte),
            _ => self.parts.push(Outline::Literal(vec![byte])),
        }
        self.is_atom = true;
    }

    /// One of a few bytes; `None` stands for any one.
    pub(super) fn class(&mut self, members: Option<Vec<u8>>) {
        self.parts.push(members.map_or(Outline::Unknown, |mut bytes| {
            bytes.make_ascii_lowercase();
            bytes.sort_unstable();
            bytes.dedup();
            if bytes.len() > CLASS { Outline::Unknown } else { Outline::Class(bytes) }
        }));
        self.is_atom = true;
    }

    /// Something not understood, or a part of its own.
    pub(super) fn part(&mut self, outline: Outline) {
        debug_assert!(!matches!(outline, Outline::Literal(_)), "would be taken for a run of bytes");
        self.parts.push(outline);
        self.is_atom = true;
    }

    /// A place, not a text; quantifiers behind it are not understood.
    pub(super) fn assertion(&mut self) {
        self.is_atom = false;
    }

    /// A quantifier for what came last; `None` when there is nothing it can be for.
    pub(super) fn quantify(&mut self, least: u32, most: Option<u32>) -> Option<()> {
        if !self.is_atom {
            return None;
        }
        let last = match self.parts.last_mut()? {
            Outline::Literal(run) if run.len() > 1 => Outline::Literal(vec![run.pop()?]),
            _ => self.parts.pop()?,
        };
        self.parts.push(Outline::Repeat(Box::new(last), least, most));
        Some(())
    }

    /// The whole.
    pub(super) fn finish(self) -> Outline {
        Outline::Concat(self.parts)
    }
}

/// Larger classes are any byte.
const CLASS: usize = 4;
/// So many strings are told one from another.
const MANY: usize = 16;
/// So many strings a set of needed ones may have: long alternations stay useful.
const NEEDED: usize = 512;
/// Longer strings are cut.
const LONG: usize = 64;
/// What remains at the ends of strings that were cut.
const REST: usize = 32;
/// Powers up to this are written out.
const POWER: u32 = 8;
/// So many sets are kept.
const SETS: usize = 16;

/// What is known of the strings an outline stands for.
#[derive(Clone, Default)]
struct Language {
    /// All of them.
    exact: Option<Strings>,
    /// Each begins with one of these.
    prefix: Strings,
    /// Each ends with one of these.
    suffix: Strings,
    /// Each contains one string of each set.
    needed: Vec<Strings>,
}

/// Sets of strings: a text that the expression matches contains one string of each set, in small ASCII letters. None
/// of the strings is empty. No sets: nothing is known.
pub(super) fn literals(outline: &Outline) -> Vec<Strings> {
    language(outline).into_sets()
}

fn language(outline: &Outline) -> Language {
    match outline {
        Outline::Unknown => Language::unknown(),
        Outline::Literal(bytes) => bytes
            .chunks(LONG)
            .fold(Language::exactly(vec![Vec::new()]), |l, c| l.then(&Language::exactly(vec![c.into()]))),
        Outline::Class(bytes) => Language::exactly(bytes.iter().map(|&byte| vec![byte]).collect()),
        Outline::Concat(parts) => {
            parts.iter().fold(Language::exactly(vec![Vec::new()]), |before, part| before.then(&language(part)))
        }
        Outline::Alternation(branches) => Language::any_of(branches.iter().map(language).collect()),
        Outline::Repeat(inner, least, most) => language(inner).times(*least, *most),
    }
}

impl Language {
    fn exactly(strings: Strings) -> Self {
        Self { exact: Some(strings), ..Self::default() }
    }

    fn unknown() -> Self {
        Self { exact: None, prefix: vec![Vec::new()], suffix: vec![Vec::new()], needed: Vec::new() }
    }

    /// The same, known by its ends only.
    fn loose(mut self) -> Self {
        if let Some(exact) = self.exact.take() {
            (self.prefix, self.suffix) = (exact.clone(), exact);
        }
        self
    }

    fn ends(&self) -> (&Strings, &Strings) {
        match &self.exact {
            Some(exact) => (exact, exact),
            None => (&self.prefix, &self.suffix),
        }
    }

    /// This and then that.
    fn then(mut self, next: &Self) -> Self {
        let joint = cross(self.ends().1, next.ends().0);
        let (left, right) = (self.exact.is_some(), next.exact.is_some());
        if let (true, true, Some(joint)) = (left, right, &joint)
            && joint.iter().all(|string| string.len() <= LONG)
        {
            return Self::exactly(joint.clone());
        }
        for set in &next.needed {
            self.need(set.clone());
        }
        match joint {
            // All that is known of the middle; what is at an end is kept there as well.
            Some(joint) => {
                self.need(joint.clone());
                let prefix = if left { joint.clone() } else { std::mem::take(&mut self.prefix) };
                let suffix = if right { joint } else { next.suffix.clone() };
                (self.prefix, self.suffix) = (prefix, suffix);
            }
            None => {
                let (end, start) = (self.ends().1.clone(), next.ends().0.clone());
                self.need(end);
                self.need(start);
                let suffix = next.ends().1.clone();
                self = self.loose();
                self.suffix = suffix;
            }
        }
        self.exact = None;
        cut(&mut self.prefix, |string| string.truncate(REST));
        cut(&mut self.suffix, |string| drop(string.drain(..string.len().saturating_sub(REST))));
        self
    }

    fn any_of(branches: Vec<Self>) -> Self {
        let exact: Option<Vec<&Strings>> = branches.iter().map(|branch| branch.exact.as_ref()).collect();
        if let Some(set) = exact.and_then(|sets| union(sets.into_iter(), MANY)) {
            return Self::exactly(set);
        }
        let ends = |set: Option<Strings>| set.unwrap_or_else(|| vec![Vec::new()]);
        let prefix = ends(union(branches.iter().map(|branch| branch.ends().0), MANY));
        let suffix = ends(union(branches.iter().map(|branch| branch.ends().1), MANY));
        let best: Option<Vec<Strings>> = branches.into_iter().map(|branch| best(branch.into_sets())).collect();
        let needed = best.and_then(|sets| union(sets.iter(), NEEDED)).into_iter().collect();
        Self { exact: None, prefix, suffix, needed }
    }

    fn times(self, least: u32, most: Option<u32>) -> Self {
        if least == 0 {
            let none = Self::exactly(vec![Vec::new()]);
            return if most == Some(1) { Self::any_of(vec![self, none]) } else { Self::unknown() };
        }
        let mut power = self.clone();
        for _ in 1..least.min(POWER) {
            power = power.then(&self);
        }
        if most == Some(least) && least <= POWER { power } else { power.loose() }
    }

    fn need(&mut self, set: Strings) {
        if !set.is_empty() && set.iter().all(|string| !string.is_empty()) && !self.needed.contains(&set) {
            self.needed.push(set);
            if self.needed.len() > SETS {
                let weight = |(_, set): &(usize, &Strings)| bits(set);
                let worst = self.needed.iter().enumerate().min_by_key(weight).map_or(0, |(at, _)| at);
                self.needed.remove(worst);
            }
        }
    }

    fn into_sets(mut self) -> Vec<Strings> {
        let (start, end) = self.ends();
        let (start, end) = (start.clone(), end.clone());
        self.need(start);
        self.need(end);
        self.needed
    }
}

/// Each string of the first set before each of the second, unless that makes too many.
fn cross(first: &Strings, second: &Strings) -> Option<Strings> {
    if first.len() * second.len() > MANY {
        return None;
    }
    let mut strings = Strings::with_capacity(first.len() * second.len());
    for start in first {
        strings.extend(second.iter().map(|end| [start.as_slice(), end].concat()));
    }
    strings.sort_unstable();
    strings.dedup();
    Some(strings)
}

fn union<'a>(sets: impl Iterator<Item = &'a Strings>, limit: usize) -> Option<Strings> {
    let mut all = Strings::new();
    for set in sets {
        all.extend_from_slice(set);
        if all.len() > 2 * limit {
            return None;
        }
    }
    all.sort_unstable();
    all.dedup();
    (all.len() <= limit).then_some(all)
}

fn cut(set: &mut Strings, shorten: impl Fn(&mut Vec<u8>)) {
    if set.iter().any(|string| string.len() > REST) {
        set.iter_mut().for_each(shorten);
        set.sort_unstable();
        set.dedup();
    }
}

fn best(sets: Vec<Strings>) -> Option<Strings> {
    sets.into_iter().max_by_key(bits)
}

/// About how seldom one of the strings stands in a key by accident: a binary logarithm.
#[allow(clippy::ptr_arg)]
pub(super) fn bits(set: &Strings) -> u32 {
    let rarity = |byte: &u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' => 4,
        b'.' | b'@' | b'-' | b' ' => 2,
        b':' | b'/' | b'_' | b'=' | b'<' | b'>' => 5,
        _ => 6,
    };
    let string = |string: &Vec<u8>| string.iter().map(rarity).sum::<u32>();
    set.iter().map(string).min().unwrap_or(0).saturating_sub(set.len().ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Outline {
        Outline::Literal(text.into())
    }

    fn sets(outline: &Outline) -> Vec<Vec<String>> {
        let text = |strings: Strings| strings.into_iter().map(|s| String::from_utf8(s).unwrap()).collect();
        literals(outline).into_iter().map(text).collect()
    }

    #[test]
    fn finds_what_must_be_there() {
        use Outline::{Alternation, Class, Concat, Repeat, Unknown};
        let repeat = |inner, least, most| Repeat(Box::new(inner), least, most);
        let digit = || Class(b"12".to_vec());
        for (outline, expected) in [
            (word("abc"), &[&["abc"][..]][..]),
            (Unknown, &[]),
            (Concat(vec![]), &[]),
            (Concat(vec![word("ab"), Unknown, word("cd")]), &[&["ab"], &["cd"]]),
            (Concat(vec![word("ab"), digit(), word("c")]), &[&["ab1c", "ab2c"]]),
            (Alternation(vec![word("ab"), word("cd")]), &[&["ab", "cd"]]),
            (Alternation(vec![word("ab"), Concat(vec![])]), &[]),
            (Alternation(vec![Concat(vec![word("ab"), Unknown]), word("cd")]), &[&["ab", "cd"]]),
            (Concat(vec![word("ab"), repeat(word("c"), 0, Some(1)), word("d")]), &[&["abcd", "abd"]]),
            (Concat(vec![word("ab"), repeat(word("c"), 0, None), word("d")]), &[&["ab"], &["d"]]),
            (Concat(vec![word("ab"), repeat(word("c"), 1, None), word("d")]), &[&["abc"], &["cd"]]),
            (repeat(word("ab"), 3, Some(3)), &[&["ababab"]]),
            (repeat(word("ab"), 2, Some(5)), &[&["abab"]]),
            (repeat(word("ab"), 0, Some(0)), &[]),
        ] {
            assert_eq!(sets(&outline), expected, "{outline:?}");
        }
    }

    /// A long text is cut into pieces that overlap or touch; a large product into its factors.
    #[test]
    fn stays_small() {
        let text: String = (0..200).map(|n| char::from(b'a' + n % 26)).collect();
        for set in sets(&word(&text)) {
            assert!(set.len() == 1 && set[0].len() <= 2 * LONG && text.contains(&set[0]), "{set:?}");
        }
        assert!(!sets(&word(&text)).is_empty());
        let wide = Outline::Concat(vec![Outline::Class(b"abcd".to_vec()); 12]);
        let sets = sets(&wide);
        assert!(sets.iter().all(|set| set.len() <= MANY) && sets.iter().any(|set| set[0].len() == 2), "{sets:?}");
    }
}
