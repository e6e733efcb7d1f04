//! `main.cf`: every definition in order, with its place.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Span};
use crate::logical::{LogicalLine, is_space, logical_lines, trim};

/// One `name = value` as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name of the parameter.
    pub name: String,
    /// Value, not expanded; blanks at line joints are kept.
    pub value: String,
    /// Where it stands.
    pub span: Span,
    /// Where the physical lines of the value begin.
    pub joints: Vec<Joint>,
}

/// The part of a value that stands on one physical line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joint {
    /// Where it begins in the value.
    pub offset: usize,
    /// The line's number, from 1.
    pub line: u32,
    /// The column where it begins, from 1.
    pub column: u32,
}

/// What `main.cf` says. The last definition of a name wins.
#[derive(Clone, Debug, Default)]
pub struct MainCf {
    file: String,
    definitions: Vec<Definition>,
    last: HashMap<String, usize>,
    diagnostics: Vec<Diagnostic>,
}

impl MainCf {
    /// Reads the text of a file; problems come with the place. Errors leave the good lines usable.
    pub fn parse(file: &str, text: &str) -> (Self, Vec<Diagnostic>) {
        let mut main = Self { file: file.to_owned(), ..Self::default() };
        let name: std::sync::Arc<str> = file.into();
        for line in logical_lines(text) {
            let span = Span::new(name.clone(), line.line);
            match parse_definition(&line, &span) {
                Ok((name, value)) => {
                    let joints = joints(&line, &value);
                    main.define(Definition { name, value, span, joints });
                }
                Err(problem) => main.diagnostics.push(problem),
            }
        }
        let diagnostics = main.diagnostics.clone();
        (main, diagnostics)
    }

    /// Adds a definition behind the others.
    fn define(&mut self, definition: Definition) {
        let index = self.definitions.len();
        // The same once more is nothing to speak of.
        let earlier = self.last.get(&definition.name).map(|&earlier| &self.definitions[earlier]);
        if let Some(old) = earlier.filter(|old| old.value != definition.value) {
            self.diagnostics.push(
                Diagnostic::warning(
                    "overriding-entry",
                    format!("overriding earlier entry: {}={}", old.name, old.value),
                )
                .at(Some(definition.span.clone()))
                .help(format!("remove one of the two definitions of {} (the other: {})", old.name, old.span)),
            );
        }
        if let Some(comment) = comment_in(&definition.value) {
            self.diagnostics.push(
                Diagnostic::warning(
                    "comment-after-text",
                    format!("#comment after other text is not allowed: {comment}"),
                )
                .at(Some(definition.span.clone()))
                .help("put the comment on a line of its own; here it is part of the value"),
            );
        }
        self.last.insert(definition.name.clone(), index);
        self.definitions.push(definition);
    }

    /// Path of the file as given to [`MainCf::parse`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All definitions in the order of the file, overridden ones included.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// The definition that counts for a name.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.last.get(name).map(|&index| &self.definitions[index])
    }

    /// The definitions that count, in the order of the file.
    pub fn effective(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.iter().enumerate().filter(|(index, d)| self.last.get(&d.name) == Some(index)).map(|(_, d)| d)
    }

    /// What was wrong when the text was read.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

fn parse_definition(line: &LogicalLine, span: &Span) -> Result<(String, String), Diagnostic> {
    if line.text.starts_with(is_space) {
        return Err(Diagnostic::warning(
            "leading-whitespace",
            format!("logical line must not start with whitespace: \"{}\"", excerpt(&line.text)),
        )
        .at(Some(span.clone()))
        .help("start the line in the first column; the line is ignored"));
    }
    split_name_value(&line.text).map_err(|problem| {
        problem.at(Some(span.clone())).help("write: name = value (continuation lines start with a blank)")
    })
}

/// Where the lines of a value begin. The value is the end of the text but for blanks.
fn joints(line: &LogicalLine, value: &str) -> Vec<Joint> {
    let text = line.text.as_str();
    let start = text.rfind(value).filter(|_| !value.is_empty()).unwrap_or(text.len());
    let end = start + value.len();
    let ends = line.joints.iter().skip(1).map(|joint| joint.0).chain([text.len()]);
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    line.joints
        .iter()
        .zip(ends)
        .filter(|((from, _), to)| *to > start && *from < end)
        .map(|(&(from, line), _)| {
            let first = from.max(start);
            let column = text[from..first].chars().count() + 1;
            Joint { offset: first - start, line, column: number(column) }
        })
        .collect()
}

/// Splits `name = value`; the name is one word, both are trimmed.
pub(crate) fn split_name_value(text: &str) -> Result<(String, String), Diagnostic> {
    let text_trimmed = text.trim_start_matches(is_space);
    if text_trimmed.is_empty() || text_trimmed.starts_with('=') {
        return Err(Diagnostic::error("missing-name", format!("missing attribute name: \"{}\"", excerpt(text))));
    }
    let missing =
        || Diagnostic::error("missing-equals", format!("missing '=' after attribute name: \"{}\"", excerpt(text)));
    let (name, value) = text_trimmed.split_once('=').ok_or_else(missing)?;
    let name = name.trim_end_matches(is_space);
    if name.contains(is_space) {
        return Err(missing());
    }
    Ok((name.to_owned(), trim(value).to_owned()))
}

/// The first word that starts with `#` and a little of what follows it, as Postfix shows it.
fn comment_in(value: &str) -> Option<String> {
    let start = if value.starts_with('#') { 0 } else { value.find(" #").or_else(|| value.find("\t#"))? + 1 };
    let (word, rest) = value[start..].split_once(is_space).unwrap_or((&value[start..], ""));
    Some(format!("{word} {}...", rest.chars().take(20).collect::<String>()))
}

/// At most the first 60 characters, for messages.
fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_definition_wins_with_a_warning() {
        let (main, problems) = MainCf::parse("main.cf", "a = 1\n\nb=  x y \na =\n 2\na = 2\n");
        assert_eq!(main.get("a").map(|d| (d.value.as_str(), d.span.line)), Some(("2", 6)));
        assert_eq!(main.get("b").map(|d| d.value.as_str()), Some("x y"));
        let effective: Vec<_> = main.effective().map(|d| d.name.as_str()).collect();
        assert_eq!(effective, ["b", "a"]);
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "main.cf:4: warning: overriding earlier entry: a=1 [overriding-entry]\n    help: remove one of the two definitions of a (the other: main.cf:1)"
            ]
        );
    }

    #[test]
    fn syntax_errors_keep_their_line() {
        for (text, message) in [
            ("x\n", "missing '=' after attribute name: \"x\""),
            ("a b = c\n", "missing '=' after attribute name: \"a b = c\""),
            ("= c\n", "missing attribute name: \"= c\""),
            (" a = c\n", "logical line must not start with whitespace: \" a = c\""),
            ("a = c # d\n", "#comment after other text is not allowed: # d..."),
        ] {
            let (_, problems) = MainCf::parse("f", text);
            assert_eq!(problems.len(), 1, "{text}");
            assert_eq!(problems[0].message, message);
            assert_eq!(problems[0].span, Some(Span::new("f", 1)));
        }
    }
}
