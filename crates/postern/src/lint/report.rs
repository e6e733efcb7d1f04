//! The findings for people and for programs.

use super::{Snippets, print};
use crate::explain::Style;
use config::{Diagnostic, Severity};
use serde::Serialize;
use std::fmt::Write;

/// How many of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// They keep the server from starting, or were denied.
    pub errors: usize,
    /// Worth a look.
    pub warnings: usize,
    /// Worth knowing.
    pub notes: usize,
}

impl Counts {
    /// Of these problems.
    pub fn of(problems: &[Diagnostic]) -> Self {
        let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
        Self { errors: count(Severity::Error), warnings: count(Severity::Warning), notes: count(Severity::Note) }
    }

    /// 0 clean (there may be notes), 1 warnings only, 2 errors.
    pub fn status(self) -> u8 {
        match self {
            Self { errors: 1.., .. } => 2,
            Self { warnings: 1.., .. } => 1,
            _ => 0,
        }
    }

    /// `1 error, 2 warnings, 1 note`.
    pub fn text(self) -> String {
        let some = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let mut text = format!("{}, {}", some(self.errors, "error"), some(self.warnings, "warning"));
        if self.notes > 0 {
            let _ = write!(text, ", {}", some(self.notes, "note"));
        }
        text
    }
}

/// One finding, for programs.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    severity: &'static str,
    code: &'static str,
    message: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
    width: Option<u32>,
    help: Option<&'a str>,
}

impl<'a> Finding<'a> {
    fn of(problem: &'a Diagnostic) -> Self {
        let known = |number: u32| (number > 0).then_some(number);
        let span = problem.span.as_ref();
        Self {
            severity: problem.severity.word(),
            code: problem.code,
            message: &problem.message,
            file: span.map(|span| &*span.file),
            line: span.and_then(|span| known(span.line)),
            column: span.and_then(|span| known(span.column)),
            width: span.and_then(|span| known(span.width)),
            help: problem.help.as_deref(),
        }
    }
}

/// All that was found.
#[derive(Debug)]
pub struct Report<'a> {
    /// In the order of the files.
    pub problems: &'a [Diagnostic],
}

impl Report<'_> {
    /// For people.
    pub fn text(&self, snippets: &mut Snippets, style: Style) -> String {
        let mut out = String::new();
        for problem in self.problems {
            out.push_str(&print(problem, snippets, style));
            out.push('\n');
        }
        let _ = writeln!(out, "{}", Counts::of(self.problems).text());
        out
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let problems: Vec<Finding<'_>> = self.problems.iter().map(Finding::of).collect();
        serde_json::json!({ "problems": problems, "counts": Counts::of(self.problems) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_the_worst() {
        let (note, warning, error) =
            (Diagnostic::note("n", ""), Diagnostic::warning("w", ""), Diagnostic::error("e", ""));
        for (problems, status, text) in [
            (vec![], 0, "0 errors, 0 warnings"),
            (vec![note.clone()], 0, "0 errors, 0 warnings, 1 note"),
            (vec![note, warning.clone()], 1, "0 errors, 1 warning, 1 note"),
            (vec![error, warning.clone(), warning], 2, "1 error, 2 warnings"),
        ] {
            let counts = Counts::of(&problems);
            assert_eq!((counts.status(), counts.text().as_str()), (status, text));
        }
    }
}
