//! `$name` expansion: the macro language of `main.cf` and of `-o` values.
//!
//! Text is only looked at when it is evaluated, so a branch that is not taken may hold anything, as in Postfix.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::logical::is_space;
use crate::names;

/// Deepest nesting of references; more is taken for a loop.
const MAX_NESTING: usize = 100;
/// Longest result. Only definitions that double themselves get there.
const MAX_RESULT: usize = 1 << 20;
/// Most references in one expansion.
const MAX_STEPS: usize = 200_000;

/// Why an expansion failed, in Postfix's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MacroError(pub(crate) String);

/// Finds the unexpanded value of a name.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<Arc<str>> + 'a;

/// Expands a text; values found on the way are expanded too.
pub(crate) fn expand(text: &str, lookup: &Lookup<'_>) -> Result<String, MacroError> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    let mut expansion = Expansion { lookup, depth: 0, steps: 0, out: String::with_capacity(text.len() + 32) };
    expansion.text(text)?;
    Ok(expansion.out)
}

/// Calls `found` for every name that the text refers to, in every branch. What is in error is skipped, and told.
pub(crate) fn scan(text: &str, found: &mut dyn FnMut(&str)) -> Vec<MacroError> {
    let mut errors = Vec::new();
    scan_text(text, found, &mut errors);
    errors
}

fn scan_text(text: &str, found: &mut dyn FnMut(&str), errors: &mut Vec<MacroError>) {
    let mut rest = text;
    loop {
        match next_token(rest, text) {
            Ok(None) => return,
            Ok(Some((token, after))) => {
                rest = after;
                match token {
                    Token::Text(_) => {}
                    Token::Name(name) => found(name),
                    Token::Group(content) => match parse_expression(content, text) {
                        Ok(expression) => scan_expression(&expression, found, errors),
                        Err(error) => errors.push(error),
                    },
                }
            }
            Err(error) => {
                errors.push(error);
                return;
            }
        }
    }
}

fn scan_expression(expression: &Expression<'_>, found: &mut dyn FnMut(&str), errors: &mut Vec<MacroError>) {
    match expression.subject {
        Subject::Name(name) => found(name),
        Subject::Relation { left, right, .. } => {
            scan_text(left, found, errors);
            scan_text(right, found, errors);
        }
        Subject::Function { text, .. } => scan_text(text, found, errors),
    }
    for branch in [expression.then, expression.otherwise].into_iter().flatten() {
        scan_text(branch, found, errors);
    }
}

enum Token<'a> {
    Text(&'a str),
    Name(&'a str),
    Group(&'a str),
}

/// The next piece of a text and what follows it. `whole` is for messages.
fn next_token<'a>(rest: &'a str, whole: &str) -> Result<Option<(Token<'a>, &'a str)>, MacroError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let Some(dollar) = rest.find('$') else { return Ok(Some((Token::Text(rest), ""))) };
    if dollar > 0 {
        return Ok(Some((Token::Text(&rest[..dollar]), &rest[dollar..])));
    }
    let after = &rest[1..];
    match after.as_bytes().first() {
        Some(b'$') => Ok(Some((Token::Text("$"), &after[1..]))),
        Some(&open @ (b'{' | b'(')) => {
            let close = if open == b'{' { b'}' } else { b')' };
            let end = balanced_end(after.as_bytes(), open, close)
                .ok_or_else(|| MacroError(format!("truncated macro reference: \"{whole}\"")))?;
            Ok(Some((Token::Group(&after[1..end - 1]), &after[end..])))
        }
        _ => {
            let end = name_end(after);
            if end == 0 {
                return Err(MacroError(format!("empty macro name: \"{whole}\"")));
            }
            Ok(Some((Token::Name(&after[..end]), &after[end..])))
        }
    }
}

fn name_end(text: &str) -> usize {
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

/// Offset just past the bracket that closes the first one.
fn balanced_end(text: &[u8], open: u8, close: u8) -> Option<usize> {
    let mut depth = 0usize;
    for (offset, &b) in text.iter().enumerate() {
        if b == open {
            depth += 1;
        } else if b == close {
            depth -= 1;
            if depth == 0 {
                return Some(offset + 1);
            }
        }
    }
    None
}

/// What stands between `${` and `}`.
struct Expression<'a> {
    subject: Subject<'a>,
    then: Option<&'a str>,
    otherwise: Option<&'a str>,
}

enum Subject<'a> {
    Name(&'a str),
    Relation { left: &'a str, operator: Operator, right: &'a str },
    Function { name: &'a str, text: &'a str },
}

#[derive(Clone, Copy)]
struct Operator {
    accepts: fn(Ordering) -> bool,
    level: bool,
}

fn parse_expression<'a>(content: &'a str, whole: &str) -> Result<Expression<'a>, MacroError> {
    let start = skip_spaces(content);
    if start.is_empty() {
        return Err(MacroError(format!("empty macro name: \"{whole}\"")));
    }
    if start.starts_with('{') {
        return parse_relation(start);
    }
    let (name, after) = start.split_at(name_end(start));
    if !name.is_empty() && after.starts_with('{') && is_function(name) {
        let (text, tail) = payload(after, start, "{expression}")?;
        if !skip_spaces(tail).is_empty() {
            return Err(syntax_error("unexpected input", text, tail));
        }
        return Ok(Expression { subject: Subject::Function { name, text }, then: None, otherwise: None });
    }
    let tail = skip_spaces(after);
    if name.is_empty() || !(tail.is_empty() || tail.starts_with(['?', ':'])) {
        return Err(syntax_error("attribute name syntax error", name, after));
    }
    let (then, otherwise) = parse_branches(tail)?;
    Ok(Expression { subject: Subject::Name(name), then, otherwise })
}

fn is_function(name: &str) -> bool {
    matches!(name, "domain_to_ascii" | "domain_to_utf8")
}

fn parse_relation(start: &str) -> Result<Expression<'_>, MacroError> {
    const EXPECTED: &str = r#""==" or "!="" or "<"" or "<="" or ">="" or ">" expected"#;
    let (left, after) = payload(start, start, "\"{expression}\" expected")?;
    let at_operator = skip_spaces(after);
    let spelled: usize = at_operator.bytes().take_while(|b| matches!(b, b'=' | b'!' | b'<' | b'>')).count();
    let accepts: fn(Ordering) -> bool = match &at_operator[..spelled] {
        "==" => Ordering::is_eq,
        "!=" => Ordering::is_ne,
        "<" => Ordering::is_lt,
        "<=" => Ordering::is_le,
        ">=" => Ordering::is_ge,
        ">" => Ordering::is_gt,
        _ => return Err(syntax_error(EXPECTED, &start[1..start.len() - after.len()], at_operator)),
    };
    let mut after = &at_operator[spelled..];
    let suffix: usize = after.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let level = match &after[..suffix] {
        "" => false,
        "level" => true,
        bad => return Err(syntax_error("bad operator suffix", &at_operator[..spelled], bad)),
    };
    after = &after[suffix..];
    let (right, tail) = payload(skip_spaces(after), start, "\"{expression}\" expected")
        .map_err(|_| syntax_error("\"{expression}\" expected", &start[..start.len() - after.len()], after))?;
    let tail = skip_spaces(tail);
    if !(tail.is_empty() || tail.starts_with(['?', ':'])) {
        return Err(syntax_error("\"?\" expected", right, tail));
    }
    let (then, otherwise) = parse_branches(tail)?;
    Ok(Expression {
        subject: Subject::Relation { left, operator: Operator { accepts, level }, right },
        then,
        otherwise,
    })
}

/// Reads `?text`, `?{text}`, `?{text}:text`, `:text` and the like.
fn parse_branches(tail: &str) -> Result<(Option<&str>, Option<&str>), MacroError> {
    let Some(mark) = tail.bytes().next() else { return Ok((None, None)) };
    // Blanks are skipped before a group only; elsewhere they are part of the text.
    let text = skip_spaces(&tail[1..]);
    if !text.starts_with('{') {
        let text = &tail[1..];
        return Ok(if mark == b'?' { (Some(text), None) } else { (None, Some(text)) });
    }
    let (inner, after) = payload(text, text, "\"}\" expected")?;
    let after = skip_spaces(after);
    if mark == b':' {
        return if after.is_empty() { Ok((None, Some(inner))) } else { Err(unexpected(text, after)) };
    }
    let Some(rest) = after.strip_prefix(':') else {
        return if after.is_empty() {
            Ok((Some(inner), None))
        } else {
            Err(syntax_error("\":\" expected", before(&text[1..], after), after))
        };
    };
    let other = skip_spaces(rest);
    if !other.starts_with('{') {
        return Ok((Some(inner), Some(rest)));
    }
    let (otherwise, end) = payload(other, other, "\"}\" expected")?;
    let end = skip_spaces(end);
    if end.is_empty() { Ok((Some(inner), Some(otherwise))) } else { Err(unexpected(other, end)) }
}

fn unexpected(group: &str, at: &str) -> MacroError {
    syntax_error("unexpected input", before(&group[1..], at), at)
}

/// The part of `text` before its tail `at`.
fn before<'a>(text: &'a str, at: &str) -> &'a str {
    text[..text.len().saturating_sub(at.len())].trim_end_matches(is_space)
}

/// The text inside the braces at the start, and what follows them.
fn payload<'a>(text: &'a str, _whole: &str, expected: &str) -> Result<(&'a str, &'a str), MacroError> {
    match balanced_end(text.as_bytes(), b'{', b'}') {
        Some(end) if text.starts_with('{') => Ok((&text[1..end - 1], &text[end..])),
        _ => Err(syntax_error(expected, "", text)),
    }
}

fn skip_spaces(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

fn syntax_error(what: &str, done: &str, rest: &str) -> MacroError {
    let rest: String = rest.chars().take(20).collect();
    MacroError(format!("{what} at: \"...{done}>>>{rest}\""))
}

struct Expansion<'a> {
    lookup: &'a Lookup<'a>,
    depth: usize,
    steps: usize,
    out: String,
}

impl Expansion<'_> {
    fn text(&mut self, text: &str) -> Result<(), MacroError> {
        let mut rest = text;
        while let Some((token, after)) = next_token(rest, text)? {
            rest = after;
            match token {
                Token::Text(literal) => self.out.push_str(literal),
                Token::Name(name) => self.nested(name, |this| this.value(name))?,
                Token::Group(content) => {
                    let expression = parse_expression(content, text)?;
                    self.nested(content, |this| this.expression(&expression))?;
                }
            }
            if self.out.len() > MAX_RESULT {
                return Err(MacroError(format!("unreasonable macro result length: \"{}\"", head(text))));
            }
        }
        Ok(())
    }

    /// One level deeper, with the limits.
    fn nested(
        &mut self,
        what: &str,
        inner: impl FnOnce(&mut Self) -> Result<(), MacroError>,
    ) -> Result<(), MacroError> {
        self.steps += 1;
        if self.depth >= MAX_NESTING || self.steps > MAX_STEPS {
            return Err(MacroError(format!("unreasonable macro call nesting: \"{}\"", head(what))));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn value(&mut self, name: &str) -> Result<(), MacroError> {
        match (self.lookup)(name) {
            Some(value) => self.text(&value),
            None => Ok(()),
        }
    }

    fn expression(&mut self, expression: &Expression<'_>) -> Result<(), MacroError> {
        let Expression { then, otherwise, .. } = *expression;
        let truth = match expression.subject {
            Subject::Name(name) if then.is_none() && otherwise.is_none() => return self.value(name),
            // Postfix looks at the value as it is written: one that expands to nothing is there nevertheless.
            Subject::Name(name) => (self.lookup)(name).is_some_and(|value| !value.is_empty()),
            Subject::Function { name, text } => {
                let domain = self.aside(|this| this.text(text))?;
                self.out.push_str(&names::convert_domain(name, &domain));
                return Ok(());
            }
            Subject::Relation { left, operator, right } => {
                let left = self.aside(|this| this.text(left))?;
                let right = self.aside(|this| this.text(right))?;
                let truth = (operator.accepts)(compare(&left, &right, operator.level)?);
                if truth && then.is_none() && otherwise.is_none() {
                    self.out.push_str("true");
                }
                truth
            }
        };
        match if truth { then } else { otherwise } {
            Some(text) => self.text(text),
            None => Ok(()),
        }
    }

    /// What `inner` would write, without writing it.
    fn aside(&mut self, inner: impl FnOnce(&mut Self) -> Result<(), MacroError>) -> Result<String, MacroError> {
        let keep = std::mem::take(&mut self.out);
        let result = inner(self);
        let text = std::mem::replace(&mut self.out, keep);
        result.map(|()| text)
    }
}

fn head(text: &str) -> String {
    text.chars().take(60).collect()
}

fn compare(left: &str, right: &str, level: bool) -> Result<Ordering, MacroError> {
    if level {
        return Ok(parse_level(left)?.cmp(&parse_level(right)?));
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits(left) && digits(right) {
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| MacroError(format!("bad conversion: {}", head(text))));
        return Ok(number(left)?.cmp(&number(right)?));
    }
    Ok(left.cmp(right))
}

/// Reads `major[.minor[.patch]]`.
pub(crate) fn parse_level(text: &str) -> Result<[u32; 3], MacroError> {
    let malformed = || MacroError(format!("malformed compatibility level syntax: \"{}\"", head(text)));
    let mut level = [0; 3];
    let mut parts = text.split('.');
    for (index, place) in level.iter_mut().enumerate() {
        let Some(part) = parts.next() else { break };
        if index == 0 && part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        *place = part.parse().map_err(|_| malformed())?;
    }
    if parts.next().is_some() { Err(malformed()) } else { Ok(level) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, String> {
        let lookup = |name: &str| -> Option<Arc<str>> {
            Some(Arc::from(match name {
                "host" => "mail.example",
                "ten" => "10",
                "loop" => "x$loop",
                "twice" => "<$host>",
                "level" => "3.6",
                "empty" => "",
                _ => return None,
            }))
        };
        expand(text, &lookup).map_err(|e| e.0)
    }

    #[test]
    fn values_as_the_real_one_expands_them() {
        for (text, want) in [
            ("plain", "plain"),
            ("$host.x ${host} $(host)_ $twice", "mail.example.x mail.example mail.example_ <mail.example>"),
            ("a$$b", "a$b"),
            ("${ host }", "mail.example"),
            ("$nonesuch|${nonesuch}", "|"),
            ("${host?yes}${nonesuch?no}${host:no}${nonesuch:yes}", "yesyes"),
            ("${host?{a}:{b}} ${empty?{a}:{b}} ${host?{b}:c d}", "a b b"),
            ("${host?  {b}  :  {c}  }", "b"),
            ("${host? b }|${host?{ b }}|${nonesuch?{a}: c }", " b | b | c "),
            ("${nonesuch:a:b}|${nonesuch?a:b}", "a:b|"),
            ("${host?${ten?{$twice}:{no}}}", "<mail.example>"),
            ("$(host:{b})x)", "x)"),
            ("$(host?(x))", "(x)"),
            ("${host?{a{b}}}c", "a{b}c"),
            ("${{a}=={a}}|${{a} == {b} }|${{a} == {b} : {x}}", "true||x"),
            ("${{$ten} > {9}?yes:no}", "yes:no"),
            ("${{10a} > {9}?yes}|${{b} > {A}}", "|true"),
            ("${{01} == {1}}", "true"),
            ("${{a}=={ a }?y}", ""),
            ("${{$level} >=level {3.5.1}?{yes}:{no}} ${{3.10} <level {3.9} ? {lt} : {ge}}", "yes ge"),
            ("${{3} ==level {3.0.0}}", "true"),
            ("${{a} == {b} ? {$} : {ok}}", "ok"),
            ("${domain_to_ascii{b\u{fc}cher.example}}", "xn--bcher-kva.example"),
        ] {
            assert_eq!(run(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn errors_in_the_words_of_the_real_one() {
        for (text, want) in [
            ("$.x", "empty macro name: \"$.x\""),
            ("a$", "empty macro name: \"a$\""),
            ("${}", "empty macro name: \"${}\""),
            ("a${b", "truncated macro reference: \"a${b\""),
            ("$loop", "unreasonable macro call nesting: \"loop\""),
            ("${a b}", "attribute name syntax error at: \"...a>>> b\""),
            ("${$x}", "attribute name syntax error at: \"...>>>$x\""),
            ("${a?{b}{c}}", "\":\" expected at: \"...b}>>>{c}\""),
            ("${host?{b}:{c}d}", "unexpected input at: \"...c}>>>d\""),
            ("${empty:{a}:{b}}", "unexpected input at: \"...a}>>>:{b}\""),
            ("${{a} == b ? {x}}", "\"{expression}\" expected at: \"...{a} ==>>> b ? {x}\""),
            ("${{a} ==l {b}}", "bad operator suffix at: \"...==>>>l\""),
            (
                "${{a} <> {b} ? {x}}",
                r#""==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...a}>>><> {b} ? {x}""#,
            ),
            ("${{3.a} <level {3}}", "malformed compatibility level syntax: \"3.a\""),
            ("${{3.} <level {3}}", "malformed compatibility level syntax: \"3.\""),
            ("${{} <level {3}}", "malformed compatibility level syntax: \"\""),
        ] {
            assert_eq!(run(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn expansion_is_bounded() {
        let lookup = |name: &str| -> Option<Arc<str>> {
            let n: u32 = name.trim_start_matches('v').parse().ok()?;
            Some(format!("$v{0}$v{0}$v{0}$v{0}", n + 1).into())
        };
        assert!(expand("$v1", &lookup).is_err());
    }

    #[test]
    fn names_are_found_in_every_branch() {
        let mut found = Vec::new();
        let result = scan("$a ${b?$c} ${{$d} == {$e} ? {$f} : {$g}} $$h ${x y} ${i?$}$j", &mut |name| {
            found.push(name.to_owned());
        });
        let errors: Vec<_> = result.into_iter().map(|error| error.0).collect();
        assert_eq!(errors, ["attribute name syntax error at: \"...x>>> y\"", "empty macro name: \"$\""]);
        assert_eq!(found, ["a", "b", "c", "d", "e", "f", "g", "i", "j"]);
    }
}
