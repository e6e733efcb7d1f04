//! Outlines of POSIX expressions, basic and extended, as glibc reads them in the "C" locale: bytes, and some operators
//! that POSIX doesn't have (`\|`, `\+`, `\w`, `\<`).
//!
//! Only the GNU library is known well enough; with others nothing is outlined.

use super::outline::{Branch, Outline};

/// Deeper expressions are not outlined.
const DEPTH: usize = 50;

/// The outline of an expression that regcomp(3) has accepted; `None` when it can't be told.
pub(super) fn outline(expression: &str, extended: bool) -> Option<Outline> {
    if !cfg!(target_env = "gnu") {
        return None;
    }
    let mut parser = Parser { text: expression.as_bytes(), at: 0, extended };
    let outline = parser.alternation(0)?;
    (parser.at == parser.text.len()).then_some(outline)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    extended: bool,
}

enum Token {
    Byte(u8),
    /// A class that is left open to mean any byte.
    Any,
    Bracket,
    Open,
    Close,
    Or,
    Repeat(u32, Option<u32>),
    Interval,
    /// `^`, `$`, `\b` and the like.
    Place,
}

impl Parser<'_> {
    fn alternation(&mut self, depth: usize) -> Option<Outline> {
        if depth > DEPTH {
            return None;
        }
        let mut branches = Vec::new();
        loop {
            let (branch, more) = self.branch(depth)?;
            branches.push(branch.finish());
            if !more {
                return Some(if branches.len() == 1 { branches.pop()? } else { Outline::Alternation(branches) });
            }
        }
    }

    /// A branch, and does another one follow? A closing parenthesis is left where it is.
    fn branch(&mut self, depth: usize) -> Option<(Branch, bool)> {
        let mut branch = Branch::default();
        let mut first = true;
        while self.at < self.text.len() {
            let start = self.at;
            match self.token(first)? {
                Token::Or => return Some((branch, true)),
                Token::Close if depth > 0 => {
                    self.at = start;
                    return Some((branch, false));
                }
                // On its own it stands for itself in extended expressions, and is an error in basic ones.
                Token::Close if self.extended => branch.byte(b')'),
                Token::Close => return None,
                Token::Byte(byte) => branch.byte(byte),
                Token::Any => branch.class(None),
                Token::Bracket => {
                    let members = self.bracket()?;
                    branch.class(members);
                }
                Token::Open => {
                    let inner = self.alternation(depth + 1)?;
                    matches!(self.token(false)?, Token::Close).then_some(())?;
                    branch.part(inner);
                }
                Token::Repeat(least, most) => branch.quantify(least, most)?,
                Token::Interval => {
                    let (least, most) = self.interval()?;
                    branch.quantify(least, most)?;
                }
                Token::Place => self.place(start, first, &mut branch),
            }
            first = false;
        }
        Some((branch, false))
    }

    /// In basic expressions `^` and `$` may stand for themselves, by rules that are not repeated here.
    fn place(&self, start: usize, first: bool, branch: &mut Branch) {
        let byte = self.text[start];
        if self.extended || byte == b'\\' {
            return branch.assertion();
        }
        let itself = Outline::Concat(vec![Outline::Class(vec![byte])]);
        branch.part(Outline::Alternation(vec![Outline::Concat(Vec::new()), itself]));
        if first {
            branch.assertion();
        }
    }

    fn token(&mut self, first: bool) -> Option<Token> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        Some(match byte {
            b'\\' => return self.escaped(),
            b'[' => Token::Bracket,
            b'.' => Token::Any,
            b'^' | b'$' => Token::Place,
            b'*' if first && !self.extended => return None,
            b'*' => Token::Repeat(0, None),
            b'+' if self.extended => Token::Repeat(1, None),
            b'?' if self.extended => Token::Repeat(0, Some(1)),
            b'{' if self.extended => Token::Interval,
            b'(' if self.extended => Token::Open,
            b')' if self.extended => Token::Close,
            b'|' if self.extended => Token::Or,
            byte => Token::Byte(byte),
        })
    }

    /// Behind a backslash. Back-references are left to the library altogether.
    fn escaped(&mut self) -> Option<Token> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        let basic = !self.extended;
        Some(match byte {
            b'1'..=b'9' => return None,
            b'w' | b'W' | b's' | b'S' => Token::Any,
            b'<' | b'>' | b'b' | b'B' | b'`' | b'\'' => Token::Place,
            b'|' if basic => Token::Or,
            b'(' if basic => Token::Open,
            b')' if basic => Token::Close,
            b'{' if basic => Token::Interval,
            b'+' if basic => Token::Repeat(1, None),
            b'?' if basic => Token::Repeat(0, Some(1)),
            b'}' if basic => return None,
            byte => Token::Byte(byte),
        })
    }

    /// `n}`, `n,}`, `n,m}` or `,m}` behind the opening brace.
    fn interval(&mut self) -> Option<(u32, Option<u32>)> {
        let rest = &self.text[self.at..];
        let closing: &[u8] = if self.extended { b"}" } else { b"\\}" };
        let length = memchr::memmem::find(rest, closing)?;
        self.at += length + closing.len();
        interval(std::str::from_utf8(&rest[..length]).ok()?)
    }

    /// Behind the opening bracket: its members if they are few and plain, else any byte.
    fn bracket(&mut self) -> Option<Option<Vec<u8>>> {
        let negated = self.text.get(self.at) == Some(&b'^');
        self.at += usize::from(negated);
        let (start, mut plain) = (self.at, !negated);
        loop {
            let byte = *self.text.get(self.at)?;
            let next = self.text.get(self.at + 1).copied();
            match byte {
                // In the first place it is a member.
                b']' if self.at > start => break,
                b'[' if matches!(next, Some(b':' | b'=' | b'.')) => {
                    let end = memchr::memmem::find(&self.text[self.at + 2..], &[next?, b']'])?;
                    self.at += 2 + end + 2;
                    plain = false;
                    continue;
                }
                b'-' => plain = false,
                _ => {}
            }
            self.at += 1;
        }
        let members = &self.text[start..self.at];
        self.at += 1;
        Some(plain.then(|| members.to_vec()))
    }
}

/// The numbers of `n`, `n,`, `n,m` or `,m`.
pub(super) fn interval(text: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    match text.split_once(',') {
        None => number(text).map(|times| (times, Some(times))),
        Some(("", "")) => None,
        Some((least, "")) => Some((number(least)?, None)),
        Some(("", most)) => Some((0, Some(number(most)?))),
        Some((least, most)) => Some((number(least)?, Some(number(most)?))),
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::super::outline::literals;
    use super::*;

    fn sets(expression: &str, extended: bool) -> Option<Vec<Vec<String>>> {
        let text = |set: Vec<Vec<u8>>| set.into_iter().map(|s| String::from_utf8_lossy(&s).into_owned()).collect();
        Some(literals(&outline(expression, extended)?).into_iter().map(text).collect())
    }

    #[test]
    fn reads_extended_expressions() {
        for (expression, expected) in [
            ("^User@Example\\.COM$", &[&["user@example.com"][..]][..]),
            ("ab+c", &[&["ab"], &["bc"]]),
            ("(ab)+c", &[&["ab"], &["abc"]]),
            ("ab|c[de]", &[&["ab", "cd", "ce"]]),
            ("a(b|)c", &[&["abc", "ac"]]),
            ("ab{2}c", &[&["abbc"]]),
            ("ab{,2}c", &[&["a"], &["c"]]),
            ("a)b", &[&["a)b"]]),
            ("a[])]b", &[&["a)b", "a]b"]]),
            ("ab[^]x]cd", &[&["ab"], &["cd"]]),
            ("ab[[:alpha:]]cd", &[&["ab"], &["cd"]]),
            ("ab[a-c]cd", &[&["ab"], &["cd"]]),
            ("a\\{b\\wc\\bd", &[&["a{b"], &["cd"]]),
            ("x.*", &[&["x"]]),
            ("", &[]),
        ] {
            let expected = expected.iter().map(|set| set.iter().map(|&s| s.to_owned()).collect()).collect();
            assert_eq!(sets(expression, true), Some(expected), "{expression}");
        }
        for expression in ["(a)\\1", "^*a", "a{x}", "a{,}", "[a", "(a"] {
            assert_eq!(sets(expression, true), None, "{expression}");
        }
        assert_eq!(sets(&format!("{}a{}", "(".repeat(60), ")".repeat(60)), true), None);
    }

    #[test]
    fn reads_basic_expressions() {
        for (expression, expected) in [
            ("a+b(c)|{2}", &[&["a+b(c)|{2}"][..]][..]),
            ("a\\(bc\\)*d", &[&["a"], &["d"]]),
            ("ab\\|cd", &[&["ab", "cd"]]),
            ("ab\\{2\\}c", &[&["abbc"]]),
            ("a\\+b\\?c", &[&["a"], &["a", "ab"], &["abc", "ac"]]),
            ("a^b$c", &[&["a^b$c", "a^bc", "ab$c", "abc"]]),
        ] {
            let expected = expected.iter().map(|set| set.iter().map(|&s| s.to_owned()).collect()).collect();
            assert_eq!(sets(expression, false), Some(expected), "{expression}");
        }
        for expression in ["*a", "\\(*a\\)", "^*a", "\\(a\\)\\1", "a\\)"] {
            assert_eq!(sets(expression, false), None, "{expression}");
        }
    }
}
