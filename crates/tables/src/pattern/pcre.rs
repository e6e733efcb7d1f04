//! `pcre:` tables (pcre_table(5)): Perl-compatible expressions by PCRE2.

use super::filter::Needs;
use super::program::{Engine, Flag, Key};
use pcre2::bytes::{Regex, RegexBuilder};
use std::ops::Range;

/// A PCRE2 expression.
pub(super) struct Pcre(Regex);

/// Its options.
pub(super) struct Flags {
    caseless: bool,
    multi_line: bool,
    dot_all: bool,
    extended: bool,
    anchored: bool,
    dollar_end_only: bool,
    ungreedy: bool,
}

impl Default for Flags {
    fn default() -> Self {
        let off = false;
        Self {
            caseless: true,
            multi_line: off,
            dot_all: true,
            extended: off,
            anchored: off,
            dollar_end_only: off,
            ungreedy: off,
        }
    }
}

impl Flags {
    fn need_wrapping(&self) -> bool {
        self.anchored || self.ungreedy || self.dollar_end_only
    }
}

impl Engine for Pcre {
    const NAME: &'static str = "pcre";
    const UNCLOSED: &'static str = "ignoring this rule";
    const RANGE: &'static str = "out of range";
    type Flags = Flags;

    fn toggle(flags: &mut Flags, letter: u8) -> Flag {
        let flag = match letter {
            b'i' => &mut flags.caseless,
            b'm' => &mut flags.multi_line,
            b's' => &mut flags.dot_all,
            b'x' => &mut flags.extended,
            b'A' => &mut flags.anchored,
            b'E' => &mut flags.dollar_end_only,
            b'U' => &mut flags.ungreedy,
            b'X' => return Flag::Obsolete,
            _ => return Flag::Unknown,
        };
        *flag = !*flag;
        Flag::Known
    }

    fn compile(expression: &str, flags: &Flags) -> Result<Self, String> {
        let plain = build(expression, flags)?;
        if !flags.need_wrapping() {
            return Ok(Self(plain));
        }
        // The builder has no such options; the expression is known to be good by itself, so it can be wrapped.
        build(&wrapped(expression, flags), flags).map(Self)
    }

    fn needs(expression: &str, flags: &Flags) -> Needs {
        let wrapping = flags.need_wrapping().then(|| wrapped(expression, flags));
        Needs::perl(wrapping.as_deref().unwrap_or(expression), flags.extended)
    }

    fn groups(&self) -> usize {
        self.0.captures_len().saturating_sub(1)
    }

    fn is_match(&self, key: &Key<'_>) -> Result<bool, String> {
        self.0.is_match(key.text).map_err(|error| engine_text(&error))
    }

    fn captures(&self, key: &Key<'_>) -> Result<Vec<Option<Range<usize>>>, String> {
        let mut places = self.0.capture_locations();
        let found = self.0.captures_read(&mut places, key.text).map_err(|error| engine_text(&error))?;
        let range = |number| places.get(number).map(|(start, end)| start..end);
        Ok(if found.is_some() { (1..places.len()).map(range).collect() } else { Vec::new() })
    }
}

fn build(expression: &str, flags: &Flags) -> Result<Regex, String> {
    RegexBuilder::new()
        .caseless(flags.caseless)
        .multi_line(flags.multi_line)
        .dotall(flags.dot_all)
        .extended(flags.extended)
        .jit_if_available(true)
        .build(expression)
        .map_err(|error| {
            let offset = error.offset().unwrap_or(0);
            format!("error in regex at offset {offset}: {}", engine_text(&error))
        })
}

/// The library's own text, without what the Rust wrapper writes before it.
fn engine_text(error: &pcre2::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("PCRE2: ").unwrap_or(&text);
    text.split_once(": ").map_or(text, |(_, text)| text).to_owned()
}

/// The options that the builder lacks, in the expression's own syntax.
fn wrapped(expression: &str, flags: &Flags) -> String {
    let verbs = verbs_length(expression);
    let (verbs, body) = expression.split_at(verbs);
    let body =
        if flags.dollar_end_only && !flags.multi_line { end_only(body, flags.extended) } else { body.to_owned() };
    let ungreedy = if flags.ungreedy { "(?U)" } else { "" };
    if !flags.anchored {
        return format!("{verbs}{ungreedy}{body}");
    }
    // A newline ends a comment that the expression may end with; elsewhere it would be matched.
    let newline = if flags.extended { "\n" } else { "" };
    format!("{verbs}\\G(?:{ungreedy}{body}{newline})")
}

/// The length of `(*UTF)` and the like, which must come first.
fn verbs_length(expression: &str) -> usize {
    let mut length = 0;
    while expression[length..].starts_with("(*") {
        let Some(end) = expression[length..].find(')') else { break };
        let name = &expression[length + 2..length + end];
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"_=".contains(&b))
        {
            break;
        }
        length += end + 1;
    }
    length
}

/// The expression with each `$` that asserts an end turned into `\z`.
fn end_only(expression: &str, extended: bool) -> String {
    let (mut out, mut rest, mut class) = (String::with_capacity(expression.len() + 8), expression, false);
    while let Some(letter) = rest.chars().next() {
        let length = match letter {
            '\\' if rest.starts_with("\\Q") => rest.find("\\E").map_or(rest.len(), |at| at + 2),
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' if class && rest.starts_with("[:") => rest.find(":]").map_or(1, |at| at + 2),
            '[' if !class => {
                class = true;
                // A bracket in the first place is a member of the class.
                let first = if rest.starts_with("[^") { 2 } else { 1 };
                first + usize::from(rest[first..].starts_with(']'))
            }
            ']' => {
                class = false;
                1
            }
            '#' if extended && !class => rest.find('\n').map_or(rest.len(), |at| at + 1),
            '(' if !class && rest.starts_with("(?#") => rest.find(')').map_or(rest.len(), |at| at + 1),
            '$' if !class => {
                out.push_str("\\z");
                rest = &rest[1..];
                continue;
            }
            _ => letter.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_dollars_only_where_they_assert() {
        for (from, to) in [
            ("a$", "a\\z"),
            ("a\\$|[$]|[]$]|[^]$]$", "a\\$|[$]|[]$]|[^]$]\\z"),
            ("\\Qa$\\E$", "\\Qa$\\E\\z"),
            ("[[:alpha:]$]$", "[[:alpha:]$]\\z"),
            ("(?#a$)$", "(?#a$)\\z"),
        ] {
            assert_eq!(end_only(from, false), to, "{from}");
        }
        assert_eq!(end_only("a # b$\n$", true), "a # b$\n\\z");
    }

    #[test]
    fn keeps_verbs_first() {
        let flags = Flags { anchored: true, ungreedy: true, ..Flags::default() };
        assert_eq!(wrapped("(*UTF)(*LIMIT_MATCH=10)a(*FAIL)", &flags), "(*UTF)(*LIMIT_MATCH=10)\\G(?:(?U)a(*FAIL))");
        assert_eq!(wrapped("(*", &flags), "\\G(?:(?U)(*)");
    }
}
