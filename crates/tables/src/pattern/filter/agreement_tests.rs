//! The filter against the truth: random tables and keys, with and without it. `POSTERN_FILTER_TABLES` says how many.

use super::*;
use crate::pattern::pcre::Pcre;
use crate::pattern::regexp::Posix;

/// A small generator of numbers (xorshift), the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// An expression and a text that it might match.
type Sample = (String, String);

const WORDS: [&str; 16] =
    ["a", "b", "ab", "abc", "B", "foo", "Bar", "x1", "@", "é", "É", "ß.", "-", "1", "one two", "subject:"];

/// Parts with what they might match; what a library refuses is skipped by it.
const PERL: [(&str, &str); 62] = [
    (".", "é"),
    ("\\d", "1"),
    ("\\w+", "ab"),
    ("\\s", " "),
    ("\\S*", "q"),
    ("[ab]", "a"),
    ("[^ab]", "c"),
    ("[a-c1]", "b"),
    ("[]a]", "]"),
    ("[^]a]", "b"),
    ("[a\\]b]", "]"),
    ("[[:alpha:]]", "a"),
    ("[[:^alpha:]]", "1"),
    ("[é]+", "é"),
    ("\\b", ""),
    ("\\Bx", "x"),
    ("^", ""),
    ("$", ""),
    ("\\A", ""),
    ("\\z", ""),
    ("\\Z", ""),
    ("\\1", "a"),
    ("\\2", "b"),
    ("(?i)", ""),
    ("(?-i)", ""),
    ("(?x)", ""),
    ("(?-x)", ""),
    ("(?s-m)", ""),
    ("(?^)", ""),
    ("\\Qa.b*\\E", "a.b*"),
    ("\\Q\\E", ""),
    ("\\E", ""),
    ("(?#no) ", " "),
    ("(?=ab)", ""),
    ("(?!ab)", ""),
    ("(?<=a)", ""),
    ("(?<!b)", ""),
    ("\\K", ""),
    ("\\R", "\n"),
    ("\\n", "\n"),
    ("\\t", "\t"),
    ("\\x41", "A"),
    ("\\x{62}", "b"),
    ("\\xc3", ""),
    ("\\xC3\\x89", "É"),
    ("\\x", ""),
    ("\\101", "A"),
    ("\\.", "."),
    ("\\@", "@"),
    ("\\/", "/"),
    ("(*ACCEPT)", ""),
    ("(*FAIL)", ""),
    ("(?1)", "a"),
    ("(?R)?", ""),
    ("(?(1)a|b)", "b"),
    ("[[:<:]]", ""),
    ("\\X", "e"),
    ("#", "#"),
    (" ", " "),
    ("{", "{"),
    ("{,2}", "{,2}"),
    ("[\\E]a]", "]a]"),
];

const ERE: [(&str, &str); 32] = [
    (".", "é"),
    ("\\w+", "ab"),
    ("\\s", " "),
    ("[ab]", "a"),
    ("[^ab]", "c"),
    ("[a-c1]", "b"),
    ("[]a]", "]"),
    ("[^]a]", "b"),
    ("[a\\]b]", "\\b]"),
    ("[[:alpha:]]", "a"),
    ("[^[:alpha:]]", "1"),
    ("[[=a=]]", "a"),
    ("[[.-.]]", "-"),
    ("[é]+", "é"),
    ("\\b", ""),
    ("\\<", ""),
    ("\\>", ""),
    ("\\`", ""),
    ("\\'", ""),
    ("\\B", ""),
    ("^", ""),
    ("$", ""),
    ("\\1", "a"),
    ("\\2", "b"),
    ("\\.", "."),
    ("\\@", "@"),
    (")", ")"),
    ("\\{", "{"),
    ("\\d", "d"),
    ("()", ""),
    ("(|a)", "a"),
    ("a||b", "a"),
];

const BRE: [(&str, &str); 20] = [
    (".", "é"),
    ("\\w\\+", "ab"),
    ("[ab]*", "a"),
    ("[]a]", "]"),
    ("\\b", ""),
    ("^", ""),
    ("$", ""),
    ("a^b", "a^b"),
    ("a$b", "a$b"),
    ("\\1", "a"),
    ("(", "("),
    (")", ")"),
    ("{2}", "{2}"),
    ("|", "|"),
    ("+", "+"),
    ("?", "?"),
    ("\\(*a\\)", "*a"),
    ("a\\{2\\}", "aa"),
    ("a\\?b", "b"),
    ("\\.", "."),
];

#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Perl,
    Extended,
    Basic,
}

impl Dialect {
    fn part(self, dice: &mut Dice) -> Sample {
        let list: &[(&str, &str)] = match self {
            Self::Perl => &PERL,
            Self::Extended => &ERE,
            Self::Basic => &BRE,
        };
        if dice.roll(3) > 0 {
            let word = dice.one(&WORDS).to_owned();
            let word = if dice.roll(2) == 0 { word + dice.one(&WORDS) } else { word };
            return (word.clone(), word);
        }
        let (expression, text) = list[dice.roll(list.len())];
        (expression.to_owned(), text.to_owned())
    }

    fn group(self, inner: Sample, dice: &mut Dice) -> Sample {
        let (expression, text) = inner;
        let open = match self {
            Self::Basic => return (format!("\\({expression}\\)"), text),
            Self::Extended => "(",
            Self::Perl => dice.one(&[
                "(", "(?:", "(", "(?:", "(?i:", "(?x:", "(?>", "(?|", "(?<n>", "(?=", "(?!", "(?<=", "(?^:", "(?'k'",
                "(?P<m>", "( ",
            ]),
        };
        let text = if open.ends_with(['=', '!']) { String::new() } else { text };
        (format!("{open}{expression})"), text)
    }

    fn quantified(self, (expression, text): Sample, dice: &mut Dice) -> Sample {
        let quantifier = match self {
            Self::Basic => dice.one(&["*", "\\?", "\\+", "\\{2\\}", "\\{1,2\\}"]),
            Self::Extended => dice.one(&["*", "?", "+", "{2}", "{1,}", "{0,2}", "{,2}", "+?", "**", "{0}"]),
            Self::Perl => dice.one(&[
                "*", "?", "+", "*?", "++", "??", "{2}", "{1,}", "{0,2}?", "{,2}", "{ 2 }", " +", "+ ?", "{0}", "{2}{2}",
            ]),
        };
        let times = if quantifier.contains('2') { 2 } else { dice.roll(3) };
        (expression + quantifier, text.repeat(times))
    }

    fn expression(self, depth: usize, dice: &mut Dice) -> Sample {
        let mut branches = Vec::new();
        for _ in 0..[1, 1, 1, 2, 3][dice.roll(5)] {
            let (mut expression, mut text) = (String::new(), String::new());
            for _ in 0..1 + dice.roll(4) {
                let mut part = if depth > 0 && dice.roll(3) == 0 {
                    let inner = self.expression(depth - 1, dice);
                    self.group(inner, dice)
                } else {
                    self.part(dice)
                };
                if dice.roll(4) == 0 {
                    part = self.quantified(part, dice);
                }
                expression += &part.0;
                text += &part.1;
            }
            branches.push((expression, text));
        }
        let text = branches[dice.roll(branches.len())].1.clone();
        let or = if self == Self::Basic { "\\|" } else { "|" };
        (branches.into_iter().map(|branch| branch.0).collect::<Vec<_>>().join(or), text)
    }

    fn flags(self, dice: &mut Dice) -> &'static str {
        match self {
            Self::Perl => dice.one(&["", "", "i", "m", "s", "x", "A", "E", "U", "xA", "mE", "xim", "AEU"]),
            Self::Extended => dice.one(&["", "", "i", "m", "im"]),
            Self::Basic => dice.one(&["x", "xi", "xm"]),
        }
    }
}

/// A table in the file's words, and texts that its rules might match.
fn table(dialects: &[Dialect], dice: &mut Dice) -> (String, Vec<String>) {
    let (mut rules, mut texts, mut open) = (String::new(), Vec::new(), 0);
    for number in 0..40 {
        let dialect = dialects[dice.roll(dialects.len())];
        let (expression, text) = dialect.expression(2, dice);
        texts.push(text);
        let (not, flags) = (if dice.roll(12) == 0 { "!" } else { "" }, dialect.flags(dice));
        let expression = expression.replace('~', "");
        match dice.roll(10) {
            0 => {
                rules += &format!("if {not}~{expression}~{flags}\n");
                open += 1;
            }
            1 if open > 0 => {
                rules += "endif\n";
                open -= 1;
            }
            _ if not.is_empty() && dice.roll(3) == 0 => rules += &format!("~{expression}~{flags} r{number} $1\n"),
            _ => rules += &format!("{not}~{expression}~{flags} r{number}\n"),
        }
    }
    (rules, texts)
}

fn key(texts: &[String], dice: &mut Dice) -> String {
    let mut key = String::new();
    for _ in 0..dice.roll(4) {
        let text = match dice.roll(4) {
            0 => dice.one(&WORDS),
            1 => dice.one(&["\n", "\0", " ", "\t", "é", "ab\nfoo", "aab", "@x1", "ABC", "]", "\u{212a}"]),
            _ => &texts[dice.roll(texts.len())],
        };
        match dice.roll(4) {
            0 => key += &text.to_uppercase(),
            1 => key += &text.to_ascii_lowercase(),
            _ => key += text,
        }
    }
    key
}

#[derive(Debug, Default)]
struct Tally {
    keys: usize,
    found: usize,
    tried: usize,
    left_out: usize,
}

fn compare<E: Engine>(rules: &str, texts: &[String], dice: &mut Dice, tally: &mut Tally) {
    let mut source = Source {
        bytes: rules.as_bytes().to_vec(),
        warnings: Warnings::new(std::path::Path::new("t")),
        files: Vec::new(),
    };
    let spec = TableSpec::parse("regexp:t").unwrap();
    let Ok(mut with) = program::<E>(&spec, &OpenOptions::new("/"), &mut source) else { panic!("{rules}") };
    let Some(filter) = with.filter.take() else { return };
    let without = with;
    let keys: Vec<String> = (0..40).map(|_| key(texts, dice)).collect();
    let expected: Vec<_> = keys.iter().map(|key| without.get(key)).collect();
    for key in &keys {
        let text = key.split('\0').next().unwrap();
        let (c, mut found) = (std::ffi::CString::new(text).unwrap(), Found::default());
        filter.search(text.to_ascii_lowercase().as_bytes(), &mut found);
        for (number, step) in without.steps.iter().enumerate() {
            if filter.next(number, &found) == Some(number) {
                tally.tried += 1;
                continue;
            }
            tally.left_out += 1;
            let matched = step.engine.is_match(&Key { text: text.as_bytes(), c: &c });
            assert_eq!(matched, Ok(false), "line {} left out for {key:?}:\n{rules}", step.line);
        }
    }
    let with = Program { filter: Some(filter), ..without };
    for (key, expected) in keys.iter().zip(expected) {
        tally.keys += 1;
        tally.found += usize::from(expected != Ok(None));
        assert_eq!(with.get(key), expected, "{key:?}:\n{rules}");
    }
}

fn tables(usual: usize) -> usize {
    std::env::var("POSTERN_FILTER_TABLES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn the_filter_changes_no_answer() {
    let (mut dice, mut perl, mut posix) = (Dice(0x5eed_1234_5678_9abc), Tally::default(), Tally::default());
    for _ in 0..tables(150) {
        let (rules, texts) = table(&[Dialect::Perl], &mut dice);
        compare::<Pcre>(&rules, &texts, &mut dice, &mut perl);
        let (rules, texts) = table(&[Dialect::Extended, Dialect::Extended, Dialect::Basic], &mut dice);
        compare::<Posix>(&rules, &texts, &mut dice, &mut posix);
    }
    // Else it would show nothing.
    for tally in [&perl, &posix] {
        assert!(tally.keys > 1000 && tally.found > tally.keys / 4, "{tally:?}");
        assert!(tally.left_out > tally.tried / 2 && tally.tried > 1000, "{tally:?}");
    }
}
