//! Outlines of Perl-compatible expressions as PCRE2 reads them, byte by byte (without `(*UTF)`).
//!
//! Verbs, conditions, subroutine calls, named references and what else is rare are left to the library altogether.

use super::outline::{Branch, Outline};
use super::posix::interval;

/// Deeper expressions are not outlined.
const DEPTH: usize = 50;

/// The outline of an expression that PCRE2 has accepted; `None` when it can't be told.
pub(super) fn outline(expression: &str, extended: bool) -> Option<Outline> {
    let mut parser = Parser { text: expression.as_bytes(), at: 0 };
    let outline = parser.alternation(0, extended)?;
    (parser.at == parser.text.len()).then_some(outline)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

/// What an opening parenthesis begins.
enum Group {
    /// A group that matches what is in it.
    Plain,
    /// A look around.
    Look,
    /// A comment, which is over.
    Comment,
    /// Options from here to the end of the group around, which are read: is the expression extended?
    Options(bool),
    /// Options for what is inside.
    Scoped(bool),
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, text: &[u8]) -> bool {
        let there = self.text[self.at..].starts_with(text);
        self.at += if there { text.len() } else { 0 };
        there
    }

    /// Up to a closing parenthesis, which is left where it is, or the end.
    fn alternation(&mut self, depth: usize, mut extended: bool) -> Option<Outline> {
        if depth > DEPTH {
            return None;
        }
        let mut branches = Vec::new();
        let mut branch = Branch::default();
        while let Some(byte) = self.peek().filter(|&byte| byte != b')') {
            self.at += 1;
            match byte {
                b'|' => branches.push(std::mem::take(&mut branch).finish()),
                b'(' => self.group(depth, &mut extended, &mut branch)?,
                b'\\' => self.escape(&mut branch)?,
                b'[' => {
                    let members = self.class()?;
                    branch.class(members);
                }
                b'.' => branch.class(None),
                b'^' | b'$' => branch.assertion(),
                b'*' => self.quantify(0, None, &mut branch)?,
                b'+' => self.quantify(1, None, &mut branch)?,
                b'?' => self.quantify(0, Some(1), &mut branch)?,
                b'{' => self.brace(&mut branch)?,
                b' ' | b'\t'..=b'\r' if extended => {}
                b'#' if extended => self.comment()?,
                byte => branch.byte(byte),
            }
        }
        branches.push(branch.finish());
        Some(if branches.len() == 1 { branches.pop()? } else { Outline::Alternation(branches) })
    }

    /// To the end: an expression is one line. Which characters end a line otherwise depends on how PCRE2 was built.
    fn comment(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        self.at = self.text.len();
        (!rest.contains(&b'\n') && !rest.contains(&b'\r')).then_some(())
    }

    fn quantify(&mut self, least: u32, most: Option<u32>, branch: &mut Branch) -> Option<()> {
        // Lazy or possessive.
        let _ = self.take(b"?") || self.take(b"+");
        branch.quantify(least, most)
    }

    /// Behind an opening brace: a quantifier, or the brace itself.
    fn brace(&mut self, branch: &mut Branch) -> Option<()> {
        let rest = &self.text[self.at..];
        let length = memchr::memchr(b'}', rest).unwrap_or(0);
        let inner = std::str::from_utf8(&rest[..length]).unwrap_or("-");
        let digits = inner.starts_with(|c: char| c.is_ascii_digit());
        if let Some((least, most)) = interval(inner).filter(|_| digits) {
            self.at += length + 1;
            return self.quantify(least, most, branch);
        }
        // Whether `{,3}` and `{ 3 }` are quantifiers depends on the version.
        if rest.get(length) == Some(&b'}') && inner.bytes().all(|b| b.is_ascii_digit() || b" \t,".contains(&b)) {
            return None;
        }
        branch.byte(b'{');
        Some(())
    }

    fn group(&mut self, depth: usize, extended: &mut bool, branch: &mut Branch) -> Option<()> {
        let group = self.kind(*extended)?;
        let inside = match group {
            Group::Comment => return Some(()),
            Group::Options(now) => {
                *extended = now;
                branch.assertion();
                return Some(());
            }
            Group::Scoped(inside) => inside,
            Group::Plain | Group::Look => *extended,
        };
        let inner = self.alternation(depth + 1, inside)?;
        self.take(b")").then_some(())?;
        match group {
            Group::Look => branch.assertion(),
            _ => branch.part(inner),
        }
        Some(())
    }

    /// What begins behind the parenthesis.
    fn kind(&mut self, extended: bool) -> Option<Group> {
        if self.peek() == Some(b'*') {
            return None;
        }
        if !self.take(b"?") {
            return Some(Group::Plain);
        }
        match self.peek()? {
            b':' | b'|' | b'>' => {
                self.at += 1;
                Some(Group::Plain)
            }
            b'=' | b'!' => {
                self.at += 1;
                Some(Group::Look)
            }
            b'#' => {
                self.at += memchr::memchr(b')', &self.text[self.at..])? + 1;
                Some(Group::Comment)
            }
            b'<' if matches!(self.text.get(self.at + 1), Some(b'=' | b'!')) => {
                self.at += 2;
                Some(Group::Look)
            }
            b'<' | b'\'' => self.name(),
            b'P' if self.text.get(self.at + 1) == Some(&b'<') => {
                self.at += 1;
                self.name()
            }
            _ => self.options(extended),
        }
    }

    /// `<name>` or `'name'`.
    fn name(&mut self) -> Option<Group> {
        let end = if self.next()? == b'<' { b'>' } else { b'\'' };
        while self.peek()?.is_ascii_alphanumeric() || self.peek()? == b'_' {
            self.at += 1;
        }
        (self.next()? == end).then_some(Group::Plain)
    }

    /// `i-x)` or `i-x:`.
    fn options(&mut self, mut extended: bool) -> Option<Group> {
        let mut on = true;
        loop {
            match self.next()? {
                b')' => return Some(Group::Options(extended)),
                b':' => return Some(Group::Scoped(extended)),
                b'-' => on = false,
                b'^' => extended = false,
                // Twice it goes for classes too.
                b'x' if self.peek() == Some(b'x') => return None,
                b'x' => extended = on,
                b'i' | b'm' | b's' | b'n' | b'J' | b'U' => {}
                _ => return None,
            }
        }
    }

    /// Behind a backslash.
    fn escape(&mut self, branch: &mut Branch) -> Option<()> {
        match self.next()? {
            b'Q' => {
                let rest = &self.text[self.at..];
                let end = memchr::memmem::find(rest, b"\\E");
                let literal = &rest[..end.unwrap_or(rest.len())];
                literal.iter().for_each(|&byte| branch.byte(byte));
                self.at += end.map_or(rest.len(), |end| end + 2);
            }
            b'E' => {}
            b'N' if self.peek() == Some(b'{') => return None,
            b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'h' | b'H' | b'v' | b'V' | b'N' | b'R' | b'X' => {
                branch.class(None);
            }
            b'b' | b'B' | b'A' | b'Z' | b'z' | b'G' => branch.assertion(),
            b'a' => branch.byte(7),
            b'e' => branch.byte(27),
            b'f' => branch.byte(12),
            b'n' => branch.byte(b'\n'),
            b'r' => branch.byte(b'\r'),
            b't' => branch.byte(b'\t'),
            b'x' => branch.byte(self.hexadecimal()?),
            // A back-reference; more digits may be an octal number.
            b'1'..=b'9' if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) => branch.class(None),
            byte if byte.is_ascii_alphanumeric() => return None,
            byte => branch.byte(byte),
        }
        Some(())
    }

    /// `{…}`, or up to two digits.
    fn hexadecimal(&mut self) -> Option<u8> {
        let braces = self.take(b"{");
        let rest = &self.text[self.at..];
        let most = if braces { 8 } else { 2 };
        let digits = rest.iter().take(most).take_while(|byte| byte.is_ascii_hexdigit()).count();
        self.at += digits;
        if braces && (digits == 0 || !self.take(b"}")) {
            return None;
        }
        let text = std::str::from_utf8(&rest[..digits]).ok()?;
        if text.is_empty() { Some(0) } else { u8::from_str_radix(text, 16).ok() }
    }

    /// Behind an opening bracket: its members if they are few and plain, else any byte.
    fn class(&mut self) -> Option<Option<Vec<u8>>> {
        let negated = self.take(b"^");
        let (start, mut plain) = (self.at, !negated);
        loop {
            match self.next()? {
                // In the first place it is a member.
                b']' if self.at - 1 > start => break,
                b'[' if matches!(self.peek(), Some(b':' | b'.' | b'=')) => {
                    self.named_class()?;
                    plain = false;
                }
                b'\\' => {
                    // These may hide a bracket, or be nothing.
                    if matches!(self.next()?, b'c' | b'E' | b'Q') {
                        return None;
                    }
                    plain = false;
                }
                b'-' => plain = false,
                _ => {}
            }
        }
        Some(plain.then(|| self.text[start..self.at - 1].to_vec()))
    }

    /// `:alpha:]` or `:^alpha:]`; `[:<:]` is a word boundary, which no class is.
    fn named_class(&mut self) -> Option<()> {
        self.take(b":").then_some(())?;
        self.take(b"^");
        while self.peek()?.is_ascii_lowercase() {
            self.at += 1;
        }
        self.take(b":]").then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::outline::literals;
    use super::*;

    fn sets(expression: &str, extended: bool) -> Option<Vec<Vec<String>>> {
        let text = |set: Vec<Vec<u8>>| set.into_iter().map(|s| String::from_utf8_lossy(&s).into_owned()).collect();
        Some(literals(&outline(expression, extended)?).into_iter().map(text).collect())
    }

    #[test]
    fn reads_expressions() {
        for (expression, extended, expected) in [
            ("^User@Example\\.COM$", false, &[&["user@example.com"][..]][..]),
            ("(?i)a(?:b|c)+?d", false, &[&["ab", "ac"], &["bd", "cd"]]),
            ("\\Qa.b*\\Ec+", false, &[&["a.b*c"], &["c"]]),
            ("a\\Q\\E+bc", false, &[&["a"], &["abc"]]),
            ("ab(?=xy)(?<!q)cd", false, &[&["abcd"]]),
            ("ab(?#x)c # d", false, &[&["abc # d"]]),
            ("a b # c", true, &[&["ab"]]),
            ("a b(?-x) c", true, &[&["ab c"]]),
            ("a (?x: b c ) d", false, &[&["a bc d"]]),
            ("a(?x) b | c d", false, &[&["ab", "cd"]]),
            ("a{2}b{x}", false, &[&["aab{x}"]]),
            ("(?<n>ab)(?P<m>c)(?'k'd)", false, &[&["abcd"]]),
            ("ab\\1cd", false, &[&["ab"], &["cd"]]),
            ("a\\x41\\x{62}\\xz", false, &[&["aab\0z"]]),
            ("a[]b]c", false, &[&["a]c", "abc"]]),
            ("ab[^\\]]cd", false, &[&["ab"], &["cd"]]),
            ("ab[[:^alpha:]x]cd", false, &[&["ab"], &["cd"]]),
            ("ab\\dcd", false, &[&["ab"], &["cd"]]),
        ] {
            let expected = expected.iter().map(|set| set.iter().map(|&s| s.to_owned()).collect()).collect();
            assert_eq!(sets(expression, extended), Some(expected), "{expression}");
        }
    }

    #[test]
    fn leaves_the_rest() {
        for expression in [
            "(*UTF)a",
            "a(*ACCEPT)b",
            "(?R)",
            "(?1)",
            "(?&n)",
            "(?(1)a|b)",
            "(?P=n)",
            "\\g1",
            "\\k<n>",
            "\\12",
            "\\cA",
            "a{,3}",
            "a{ 3 }",
            "[\\E]a]",
            "[\\c]]",
            "[[:<:]]a",
            "(?xx)a",
            "(?C)",
            "\\pL",
            "^*a",
            "a)b",
            "[a",
            "(?[a])",
            "\\N{U+1}",
        ] {
            assert_eq!(sets(expression, false), None, "{expression}");
        }
        assert_eq!(sets("a # b\nc", true), None);
        assert_eq!(sets(&format!("{}a{}", "(".repeat(60), ")".repeat(60)), false), None);
    }
}
