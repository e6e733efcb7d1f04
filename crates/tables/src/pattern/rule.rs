//! One line of a regexp or pcre table: `/pattern/flags result`, `if /pattern/flags`, `endif`, each pattern perhaps
//! with `!` before it.

use crate::lines::{is_space, trim_end, trim_start};

/// A pattern as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern<'a> {
    /// Match when the expression doesn't.
    pub(super) negated: bool,
    /// The expression, its escaped delimiters still escaped.
    pub(super) expression: &'a str,
    /// The letters after the closing delimiter.
    pub(super) flags: &'a str,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rule<'a> {
    /// A pattern and its result.
    Match(Pattern<'a>, &'a str),
    /// The start of a conditional part, and what stands behind the pattern by mistake.
    If(Pattern<'a>, &'a str),
    /// Its end, and what stands behind it by mistake.
    EndIf(&'a str),
}

/// Take a line apart; the error is Postfix's text after `line N: `. `unclosed` ends the one about a missing delimiter.
pub(super) fn parse<'a>(line: &'a str, unclosed: &str) -> Result<Rule<'a>, String> {
    let line = trimmed(line);
    if !line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let (pattern, rest) = pattern(line, unclosed)?;
        return Ok(Rule::Match(pattern, rest));
    }
    if let Some(rest) = keyword(line, "if") {
        let (pattern, rest) = pattern(rest, unclosed)?;
        return Ok(Rule::If(pattern, rest));
    }
    if let Some(rest) = keyword(line, "endif") {
        return Ok(Rule::EndIf(rest));
    }
    Err("ignoring unrecognized request".to_owned())
}

/// The pattern of a line with a result, as written.
pub(crate) fn key(line: &str) -> Option<&str> {
    let line = trimmed(line);
    match parse(line, "") {
        Ok(Rule::Match(_, result)) => Some(trimmed(&line[..line.len() - result.len()])),
        _ => None,
    }
}

/// The text without blanks around it (C's idea of blanks).
pub(super) fn trimmed(text: &str) -> &str {
    // Blanks are ASCII, so what remains is UTF-8 still.
    std::str::from_utf8(trim_end(trim_start(text.as_bytes()))).unwrap_or_default()
}

/// What follows a keyword, if the line starts with it.
pub(super) fn keyword<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let (head, rest) = line.split_at_checked(word.len())?;
    let whole = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    (whole && head.eq_ignore_ascii_case(word)).then(|| trimmed(rest))
}

/// A pattern at the start of the text, and what follows it.
fn pattern<'a>(text: &'a str, unclosed: &str) -> Result<(Pattern<'a>, &'a str), String> {
    let (mut rest, mut negated) = (text, false);
    while let Some(after) = rest.strip_prefix('!') {
        negated = !negated;
        rest = trimmed(after);
    }
    let Some(delimiter) = rest.bytes().next() else {
        return Err("no regexp: skipping this rule".to_owned());
    };
    let missing = || format!("no closing regexp delimiter \"{}\": {unclosed}", printed(delimiter));
    let body = rest.get(1..).ok_or_else(missing)?;
    let end = closing(body.as_bytes(), delimiter).ok_or_else(missing)?;
    let after = &body[end + 1..];
    let flags = after.bytes().position(is_space).unwrap_or(after.len());
    let (flags, result) = after.split_at(flags);
    Ok((Pattern { negated, expression: &body[..end], flags }, trimmed(result)))
}

/// A delimiter for a message.
fn printed(byte: u8) -> char {
    if byte.is_ascii_graphic() { char::from(byte) } else { '?' }
}

/// Where the delimiter stands for the first time without a backslash before it.
fn closing(text: &[u8], delimiter: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            // Comes first: a backslash as delimiter never closes.
            b'\\' => at += 2,
            byte if byte == delimiter => return Some(at),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_lines_apart() {
        let pattern = |negated, expression, flags| Pattern { negated, expression, flags };
        for (line, rule) in [
            ("/a\\/b/ix  c d ", Rule::Match(pattern(false, "a\\/b", "ix"), "c d")),
            ("! ! !|x|\tr", Rule::Match(pattern(true, "x", ""), "r")),
            ("/x/", Rule::Match(pattern(false, "x", ""), "")),
            ("IF !/x/m junk", Rule::If(pattern(true, "x", "m"), "junk")),
            ("if/x/", Rule::If(pattern(false, "x", ""), "")),
            ("EndIf  x", Rule::EndIf("x")),
        ] {
            assert_eq!(parse(line, "z"), Ok(rule), "{line}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, text) in [
            ("nopat x", "ignoring unrecognized request"),
            ("ifx /x/", "ignoring unrecognized request"),
            ("!  ", "no regexp: skipping this rule"),
            ("if", "no regexp: skipping this rule"),
            ("/open\\/ x", "no closing regexp delimiter \"/\": z"),
            ("\u{e9}x\u{e9} y", "no closing regexp delimiter \"?\": z"),
        ] {
            assert_eq!(parse(line, "z"), Err(text.to_owned()), "{line}");
        }
    }
}
