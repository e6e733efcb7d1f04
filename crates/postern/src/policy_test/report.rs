//! Results for people, for TAP readers and as JUnit's XML.

use super::run::{Failure, Outcome};
use std::fmt::Write;

/// The outcomes of one file.
pub struct Report {
    /// The file.
    pub file: String,
    /// Its cases in order.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// How many failed.
    pub fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some()).count()
    }

    /// A block for each failed case.
    pub fn failures(&self) -> String {
        let mut out = String::new();
        for outcome in &self.outcomes {
            let Some(failure) = &outcome.failure else { continue };
            let _ = writeln!(out, "FAILED {}:{}: {}", self.file, outcome.line, outcome.name);
            out.push_str(&failure.text());
        }
        out
    }
}

impl Failure {
    /// The block of lines under the case's name.
    pub fn text(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Broken(problem) => {
                let _ = writeln!(out, "  {problem}");
            }
            Self::Different(lines) => {
                for (what, expected, found) in lines {
                    let _ = writeln!(out, "  {what}\n    expected: {expected}\n    found:    {found}");
                }
            }
        }
        out
    }
}

/// The Test Anything Protocol.
pub fn tap(reports: &[Report]) -> String {
    let count: usize = reports.iter().map(|report| report.outcomes.len()).sum();
    let mut out = format!("TAP version 13\n1..{count}\n");
    let outcomes = reports.iter().flat_map(|report| report.outcomes.iter().map(move |outcome| (report, outcome)));
    for (number, (report, outcome)) in (1..).zip(outcomes) {
        let word = if outcome.failure.is_some() { "not ok" } else { "ok" };
        // A # would begin a directive.
        let _ = writeln!(out, "{word} {number} - {}: {}", report.file, outcome.name.replace('#', "\\#"));
        let Some(failure) = &outcome.failure else { continue };
        failure.text().lines().for_each(|line| {
            let _ = writeln!(out, "# {line}");
        });
    }
    out
}

/// JUnit's XML, as CI servers read it.
pub fn junit(reports: &[Report]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for report in reports {
        let (name, count, failed) = (escaped(&report.file), report.outcomes.len(), report.failed());
        let _ = writeln!(out, "  <testsuite name=\"{name}\" tests=\"{count}\" failures=\"{failed}\">");
        for outcome in &report.outcomes {
            let case = format!("    <testcase classname=\"{name}\" name=\"{}\"", escaped(&outcome.name));
            match &outcome.failure {
                None => {
                    let _ = writeln!(out, "{case}/>");
                }
                Some(failure) => {
                    let text = escaped(&failure.text());
                    let _ = writeln!(out, "{case}>\n      <failure>{text}</failure>\n    </testcase>");
                }
            }
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(letter),
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}
