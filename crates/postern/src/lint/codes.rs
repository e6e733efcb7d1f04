//! Every code that a problem can have: what it says, why it matters, an example, the remedy.

use std::fmt::Write;
use std::sync::OnceLock;

/// One code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The stable name.
    pub name: &'static str,
    /// `error`, `warning` or `note`; some are an error in one place and a warning in another.
    pub severity: &'static str,
    /// What was found.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// How it looks.
    pub example: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

static TEXT: &str = include_str!("codes.txt");

/// All codes by name.
pub fn all() -> &'static [Code] {
    static ALL: OnceLock<Vec<Code>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<Code> = TEXT.split("\n\n").filter_map(parse).collect();
        all.sort_unstable_by_key(|code| code.name);
        all
    })
}

/// The code of this name.
pub fn find(name: &str) -> Option<&'static Code> {
    all().iter().find(|code| code.name == name)
}

fn parse(block: &'static str) -> Option<Code> {
    let mut lines = block.trim().lines();
    let (name, severity) = lines.next()?.split_once(' ')?;
    let mut next = || lines.next().unwrap_or_default();
    Some(Code { name, severity, what: next(), why: next(), example: next(), remedy: next() })
}

impl Code {
    /// For a terminal.
    pub fn text(&self) -> String {
        let Self { name, severity, what, why, example, remedy } = self;
        format!(
            "{name} ({severity})\n\n{what}\n\nWhy it matters: {why}\n\nExample:\n    {example}\n\nRemedy: {remedy}\n"
        )
    }
}

/// The codes as docs/lint.md has them.
pub fn page() -> String {
    let mut out = String::new();
    for Code { name, severity, what, why, example, remedy } in all() {
        let _ = writeln!(out, "### {name}\n\n*{severity}.* {what} {why}\n\n```\n{example}\n```\n\n{remedy}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_told_in_full_and_once() {
        let blocks = TEXT.split("\n\n").filter(|block| !block.trim().is_empty()).count();
        assert_eq!(all().len(), blocks, "a block without a name");
        for code in all() {
            assert_eq!(all().iter().filter(|other| other.name == code.name).count(), 1, "{}", code.name);
            for text in [code.what, code.why, code.example, code.remedy] {
                assert!(!text.is_empty(), "{}: five lines", code.name);
            }
            for text in [code.what, code.why, code.remedy] {
                assert!(text.ends_with('.'), "{}: sentences end with a full stop: {text}", code.name);
            }
            let severities = ["error", "warning", "note", "error or warning", "warning or note"];
            assert!(severities.contains(&code.severity), "{}: {}", code.name, code.severity);
        }
        for block in TEXT.split("\n\n") {
            assert_eq!(block.trim().lines().count(), 5, "{block}");
        }
        assert!(find("open-relay").is_some() && find("nonesuch").is_none());
    }
}
