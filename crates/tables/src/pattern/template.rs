//! The result of a rule, with `$1`, `${1}` and `$(1)` for what the pattern's groups matched.

use std::sync::Arc;

/// A result text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Template {
    /// No groups in it.
    Fixed(Arc<str>),
    /// Literals and groups in turn.
    Parts(Vec<Part>),
}

/// A piece of a result text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it stands.
    Literal(Box<str>),
    /// What this group matched; nothing if it took no part.
    Group(usize),
}

/// Warnings of a text that can't be used, in Postfix's words; those that name the map and line begin with a colon.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad(pub(super) Vec<String>);

impl Template {
    /// Take a result text apart. `range` is how the engine spells "out of range".
    pub(super) fn parse(text: &str, range: &str) -> Result<Self, Bad> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$$") {
                literal.push('$');
                rest = after;
                continue;
            }
            let (name, after) = reference(rest, text)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::Group(number(name, range)?));
            rest = after;
        }
        literal.push_str(rest);
        if parts.is_empty() {
            return Ok(Self::Fixed(literal.into()));
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self::Parts(parts))
    }

    /// The highest group, 0 when there is none.
    pub(super) fn highest(&self) -> usize {
        let Self::Parts(parts) = self else { return 0 };
        parts.iter().map(|part| if let Part::Group(number) = part { *number } else { 0 }).max().unwrap_or(0)
    }
}

/// Split `$name…`, `${name}…` or `$(name)…` after the name. Warnings show the whole result text.
fn reference<'a>(rest: &'a str, text: &str) -> Result<(&'a str, &'a str), Bad> {
    let inner = &rest[1..];
    let (name, after) = match inner.as_bytes().first() {
        Some(open @ (b'{' | b'(')) => {
            let close = if *open == b'{' { b'}' } else { b')' };
            let end = closing(inner.as_bytes(), *open, close)
                .ok_or_else(|| Bad(vec![format!("truncated macro reference: \"{text}\""), SYNTAX.to_owned()]))?;
            (&inner[1..end], &inner[end + 1..])
        }
        _ => {
            let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
            inner.split_at(end)
        }
    };
    if name.is_empty() {
        return Err(Bad(vec![format!("empty macro name: \"{text}\""), SYNTAX.to_owned()]));
    }
    Ok((name, after))
}

const SYNTAX: &str = ": bad replacement syntax: skipping this rule";

/// Where the bracket that opens the text is closed.
fn closing(text: &[u8], open: u8, close: u8) -> Option<usize> {
    let mut level = 0usize;
    for (at, &byte) in text.iter().enumerate() {
        if byte == open {
            level += 1;
        } else if byte == close {
            level = level.saturating_sub(1);
            if level == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// A group's number.
fn number(name: &str, range: &str) -> Result<usize, Bad> {
    let bad = |what: &str| Bad(vec![format!(": {what} replacement index \"{name}\""), SYNTAX.to_owned()]);
    if !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("non-numeric"));
    }
    name.parse().ok().filter(|&number: &usize| number > 0 && number < 1 << 20).ok_or_else(|| bad(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        let literal = |text: &str| Part::Literal(text.into());
        for (text, parts) in [
            ("a $1-$$1", vec![literal("a "), Part::Group(1), literal("-$1")]),
            ("${2}$(10)", vec![Part::Group(2), Part::Group(10)]),
        ] {
            assert_eq!(Template::parse(text, "x"), Ok(Template::Parts(parts)), "{text}");
        }
        assert_eq!(Template::parse("$$ a{}", "x"), Ok(Template::Fixed("$ a{}".into())));
        assert_eq!(Template::parse("$3$1", "x").unwrap().highest(), 3);
    }

    #[test]
    fn refuses_in_postfix_words() {
        for (text, first) in [
            ("$", "empty macro name: \"$\""),
            ("x$ {1}", "empty macro name: \"x$ {1}\""),
            ("${1x}", ": non-numeric replacement index \"1x\""),
            ("$1abc", ": non-numeric replacement index \"1abc\""),
            ("${1?y}", ": non-numeric replacement index \"1?y\""),
            ("${1", "truncated macro reference: \"${1\""),
            ("$0", ": out of range replacement index \"0\""),
        ] {
            let bad = Template::parse(text, "out of range").unwrap_err();
            assert_eq!(bad.0, [first, ": bad replacement syntax: skipping this rule"], "{text}");
        }
    }
}
