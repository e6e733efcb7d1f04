//! Texts that a regular expression matches: a few, made from the expression. What is made is only a guess; the table
//! itself is asked whether it is right.

/// No more texts than this.
const SAMPLES: usize = 24;

/// A text, and whether something may stand before or behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The text.
    pub text: String,
    /// `^` stands before it.
    pub starts: bool,
    /// `$` stands behind it.
    pub ends: bool,
}

const START: char = '\u{2}';
const END: char = '\u{3}';

/// A few texts that the expression may match.
pub fn samples(expression: &str) -> Vec<Sample> {
    let chars: Vec<char> = expression.chars().collect();
    let mut parser = Parser { chars: &chars, at: 0, depth: 0 };
    let mut found = Vec::new();
    for text in parser.alternatives() {
        let (starts, ends) = (text.starts_with(START), text.ends_with(END));
        let inner = text.trim_start_matches(START).trim_end_matches(END).to_owned();
        let sample = Sample { text: inner, starts, ends };
        if !sample.text.contains([START, END]) && !found.contains(&sample) {
            found.push(sample);
        }
    }
    found
}

struct Parser<'a> {
    chars: &'a [char],
    at: usize,
    depth: usize,
}

type Texts = Vec<String>;

fn joined(left: &Texts, right: &Texts) -> Texts {
    let all = left.iter().flat_map(|a| right.iter().map(move |b| format!("{a}{b}")));
    all.take(SAMPLES).collect()
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += 1;
        next
    }

    fn alternatives(&mut self) -> Texts {
        let mut all = self.sequence();
        while self.peek() == Some('|') {
            self.at += 1;
            all.extend(self.sequence());
        }
        all.truncate(SAMPLES);
        all
    }

    fn sequence(&mut self) -> Texts {
        let mut all = vec![String::new()];
        while let Some(c) = self.peek() {
            if c == '|' || (c == ')' && self.depth > 0) {
                break;
            }
            let one = self.atom();
            let (least, most) = self.quantifier();
            let mut repeated = vec![String::new()];
            for _ in 0..least.min(64) {
                repeated = joined(&repeated, &one);
            }
            // What may be left out is there first: a key should look like one.
            if least == 0 && most > 0 {
                let mut with = one.clone();
                with.append(&mut repeated);
                repeated = with;
            }
            all = joined(&all, &repeated);
        }
        all
    }

    fn atom(&mut self) -> Texts {
        let one = |c: char| vec![c.to_string()];
        match self.next() {
            Some('^') => one(START),
            Some('$') => one(END),
            Some('.') => one('x'),
            Some('(') => self.group(),
            Some('[') => one(self.class().unwrap_or('x')),
            Some('\\') => match self.next() {
                Some('d') => one('1'),
                Some('w' | 'S' | 'D' | 'h' | 'H') => one('x'),
                Some('s' | 'W') => one(' '),
                Some('A') => one(START),
                Some('z' | 'Z') => one(END),
                Some('b' | 'B' | 'G' | 'K' | 'Q' | 'E') | None => vec![String::new()],
                Some('t') => one('\t'),
                Some(c) => one(c),
            },
            Some(c) => one(c),
            None => vec![String::new()],
        }
    }

    fn group(&mut self) -> Texts {
        let mut silent = false;
        if self.peek() == Some('?') {
            self.at += 1;
            // (?:…) is like (…); what only looks around has no text of its own.
            loop {
                match self.next() {
                    Some(':' | '>') | None => break,
                    Some('=' | '!') => {
                        silent = true;
                        break;
                    }
                    Some(')') => return vec![String::new()],
                    Some(_) => {}
                }
            }
        }
        self.depth += 1;
        let all = if self.depth > 50 { vec![String::new()] } else { self.alternatives() };
        self.depth -= 1;
        if self.peek() == Some(')') {
            self.at += 1;
        }
        if silent { vec![String::new()] } else { all }
    }

    /// One character of a class.
    fn class(&mut self) -> Option<char> {
        let negated = self.peek() == Some('^');
        self.at += usize::from(negated);
        let mut ranges: Vec<(char, char)> = Vec::new();
        let mut first = true;
        loop {
            let c = self.next()?;
            match c {
                ']' if !first => break,
                '[' if matches!(self.peek(), Some(':')) => {
                    let rest: String = self.chars[self.at..].iter().take(12).collect();
                    let (name, _) = rest[1..].split_once(":]")?;
                    self.at += name.len() + 3;
                    ranges.extend(match name {
                        "digit" | "xdigit" => vec![('0', '9')],
                        "space" | "blank" => vec![(' ', ' ')],
                        "punct" => vec![('.', '.')],
                        _ => vec![('a', 'z'), ('0', '9')],
                    });
                }
                '\\' => match self.next()? {
                    'd' => ranges.push(('0', '9')),
                    'w' => ranges.push(('a', 'z')),
                    's' => ranges.push((' ', ' ')),
                    c => ranges.push((c, c)),
                },
                c => {
                    let is_range = self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']');
                    if is_range {
                        self.at += 1;
                        ranges.push((c, self.next()?));
                    } else {
                        ranges.push((c, c));
                    }
                }
            }
            first = false;
        }
        let inside = |c: char| ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
        let likely = "xa1-._0bcdefghijklmnopqrstuvwyz23456789".chars().find(|c| inside(*c) != negated);
        likely.or_else(|| ranges.first().map(|(from, _)| *from).filter(|_| !negated))
    }

    fn quantifier(&mut self) -> (usize, usize) {
        let counts = match self.peek() {
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('?') => (0, 1),
            Some('{') => match self.braces() {
                Some(counts) => return counts,
                None => return (1, 1),
            },
            _ => return (1, 1),
        };
        self.at += 1;
        // Lazy and possessive ones match the same.
        if matches!(self.peek(), Some('?' | '+')) {
            self.at += 1;
        }
        counts
    }

    fn braces(&mut self) -> Option<(usize, usize)> {
        let end = self.chars[self.at..].iter().position(|c| *c == '}')?;
        let text: String = self.chars[self.at + 1..self.at + end].iter().collect();
        let (least, most) = text.split_once(',').unwrap_or((&text, &text));
        let counts = (least.parse().ok()?, most.parse().unwrap_or(usize::MAX));
        self.at += end + 1;
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_made_of_expressions() {
        for (expression, expected) in [
            ("^friend@example\\.com$", &["friend@example.com"][..]),
            ("a(b|c)d", &["abd", "acd"]),
            ("^mail[0-9]+\\.example$", &["mail1.example"]),
            ("x?y*z", &["xyz", "xz", "yz", "z"]),
            ("[[:alpha:]]{3}-\\d{1,2}", &["xxx-1"]),
            ("(?i)ab(?:c)(?!d)[^a-z]", &["abc1"]),
            ("[]x]", &["x"]),
            ("(", &[""]),
            ("a)", &["a)"]),
            ("a^b", &[]),
            ("[", &["x"]),
            ("(((((a|b)(c|d))(e|f))(g|h))(i|j))", &["acegi"]),
        ] {
            let found = samples(expression);
            let texts: Vec<&str> = found.iter().map(|sample| sample.text.as_str()).collect();
            assert_eq!(&texts[..texts.len().min(expected.len())], expected, "{expression}");
        }
        assert!(samples("^a$").iter().all(|sample| sample.starts && sample.ends));
        assert!(samples("a{1000}b{1000}").iter().all(|sample| sample.text.len() < 200));
    }
}
