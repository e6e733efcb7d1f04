//! Problems in rustc's manner: the line as written, a mark under the words, the remedy below.

use crate::explain::Style;
use config::{Diagnostic, Severity, Span};
use std::collections::HashMap;
use std::fmt::Write;
use std::io::Read;
use std::sync::Arc;

/// Longer files are shown without their lines.
const FILE_LIMIT: u64 = 16 << 20;
/// Longer lines are cut.
const LINE_LIMIT: usize = 160;

/// The texts behind the places.
#[derive(Debug, Default)]
pub struct Snippets {
    files: HashMap<Arc<str>, Vec<String>>,
}

impl Snippets {
    /// A file whose text is known already.
    pub fn know(&mut self, file: &str, text: &str) {
        self.files.insert(file.into(), text.lines().map(str::to_owned).collect());
    }

    fn line(&mut self, span: &Span) -> Option<String> {
        let lines = self.files.entry(span.file.clone()).or_insert_with(|| read(&span.file));
        lines.get((span.line as usize).checked_sub(1)?).cloned()
    }
}

fn read(file: &str) -> Vec<String> {
    let Ok(open) = std::fs::File::open(file) else { return Vec::new() };
    // Anything but an ordinary file could go on for ever.
    if !open.metadata().is_ok_and(|about| about.is_file() && about.len() <= FILE_LIMIT) {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    match open.take(FILE_LIMIT).read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}

/// One problem.
pub fn print(problem: &Diagnostic, snippets: &mut Snippets, style: Style) -> String {
    let colour = match problem.severity {
        Severity::Error => Style::RED,
        Severity::Warning => Style::YELLOW,
        Severity::Note => Style::GREEN,
    };
    let mut out = style.paint(colour, &format!("{}[{}]", problem.severity.word(), problem.code));
    let _ = writeln!(out, "{}", style.paint(Style::BOLD, &format!(": {}", visible(&problem.message))));
    let gutter = problem.span.as_ref().map_or(0, |span| span.line.to_string().len());
    let bar = |text: &str| style.paint(Style::DIM, &format!("{:gutter$} {text}", ""));
    if let Some(span) = &problem.span {
        let column = if span.column > 0 { format!(":{}", span.column) } else { String::new() };
        let arrow = style.paint(Style::DIM, &format!("{:gutter$}-->", ""));
        let _ = writeln!(out, "{arrow} {span}{column}");
        if let Some(line) = snippets.line(span) {
            let (shown, from, width) = window(&line, span);
            let _ = writeln!(out, "{}", bar("|"));
            let number = style.paint(Style::DIM, &format!("{:gutter$} |", span.line));
            let _ = writeln!(out, "{number} {shown}");
            let mark = style.paint(colour, &"^".repeat(width.max(1)));
            let _ = writeln!(out, "{} {:from$}{mark}", bar("|"), "");
        }
    }
    if let Some(help) = &problem.help {
        let _ = writeln!(out, "{} {}: {}", bar("="), style.paint(Style::BOLD, "help"), visible(help));
    }
    out
}

/// The part of a line that is shown, and where the mark goes in it.
fn window(line: &str, span: &Span) -> (String, usize, usize) {
    let letters: Vec<char> = line.trim_end().chars().collect();
    let indent = letters.iter().take_while(|c| c.is_whitespace()).count();
    let (start, width) = match span.column as usize {
        0 => (indent, letters.len() - indent),
        column => ((column - 1).min(letters.len()), span.width as usize),
    };
    let width = width.min(letters.len() - start);
    let first = if start > LINE_LIMIT / 2 { start - 20 } else { 0 };
    let last = letters.len().min(first + LINE_LIMIT);
    let dots = |cut: bool| if cut { "…" } else { "" };
    let text: String = letters[first..last].iter().collect();
    let shown = format!("{}{}{}", dots(first > 0), visible(&text), dots(last < letters.len()));
    (shown, start - first + usize::from(first > 0), width.min(last - start))
}

/// Control characters must not reach a terminal; a tab is one blank wide, so that the mark fits.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(problem: &Diagnostic, text: &str) -> String {
        let mut snippets = Snippets::default();
        snippets.know("main.cf", text);
        print(problem, &mut snippets, Style::Plain)
    }

    fn at(line: u32, column: u32, width: u32) -> Option<Span> {
        Some(Span { file: "main.cf".into(), line, column, width })
    }

    #[test]
    fn the_word_is_marked() {
        let problem = Diagnostic::error("unknown-x", "no such word").at(at(10, 5, 3)).help("write foo");
        let text = "\n".repeat(9) + "\tab fox jumps\n";
        assert_eq!(
            shown(&problem, &text),
            "error[unknown-x]: no such word\n  --> main.cf:10:5\n   |\n10 |  ab fox jumps\n   |     ^^^\n   = help: write foo\n"
        );
    }

    #[test]
    fn a_whole_line_or_none() {
        let problem = Diagnostic::warning("x", "odd").at(at(1, 0, 0));
        assert_eq!(shown(&problem, "  a = b  \n"), "warning[x]: odd\n --> main.cf:1\n  |\n1 |   a = b\n  |   ^^^^^\n");
        let problem = Diagnostic::note("x", "odd").at(at(0, 0, 0)).help("h");
        assert_eq!(shown(&problem, "a\n"), "note[x]: odd\n --> main.cf\n  = help: h\n");
        let problem = Diagnostic::note("x", "odd");
        assert_eq!(shown(&problem, ""), "note[x]: odd\n");
    }

    #[test]
    fn any_place_can_be_shown() {
        let text = "é\tx\u{1}".repeat(120);
        for line in [0, 1, 2] {
            for column in [0, 1, 80, 81, 100, 240, 400, 600, u32::MAX] {
                for width in [0, 1, 200, u32::MAX] {
                    let shown = shown(&Diagnostic::warning("x", "odd").at(at(line, column, width)), &text);
                    assert!(shown.lines().all(|line| line.chars().count() < 240), "{line}:{column}+{width}\n{shown}");
                }
            }
        }
    }

    #[test]
    fn long_lines_are_cut_and_control_characters_hidden() {
        let text = format!("{}word{}\u{1b}[2J\n", "x".repeat(200), "y".repeat(300));
        let problem = Diagnostic::warning("x", "bad \u{7}").at(at(1, 201, 4));
        let out = shown(&problem, &text);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "warning[x]: bad \u{fffd}");
        assert_eq!(lines[3], format!("1 | …{}word{}…", "x".repeat(20), "y".repeat(136)));
        assert_eq!(lines[4], format!("  | {}^^^^", " ".repeat(21)));
        assert!(!out.contains('\u{1b}'));
        // A place that isn't there any more.
        let problem = Diagnostic::warning("x", "gone").at(at(1, 900, 4));
        assert!(shown(&problem, "short\n").contains("     ^"));
    }
}
