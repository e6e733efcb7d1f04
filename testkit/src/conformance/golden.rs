//! Recordings: what a run gave, as text in four sections, and the comparison of two of them.

use std::fmt::Write;

/// The parts of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The SMTP dialogue.
    Replies,
    /// Log lines about clients and decisions.
    Log,
    /// What next hops got.
    Mail,
    /// What policy services and filters were asked.
    Helper,
}

impl Section {
    /// All of them, in the order of the file.
    pub const ALL: [Self; 4] = [Self::Replies, Self::Log, Self::Mail, Self::Helper];

    /// The name in the file.
    pub fn name(self) -> &'static str {
        ["replies", "log", "mail", "helper"][self as usize]
    }
}

/// What a run gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    sections: [Vec<String>; 4],
    /// Something went wrong on the way: the program didn't start.
    pub note: String,
}

impl Recording {
    /// Of a run that came to nothing.
    pub fn failed(note: String) -> Self {
        Self { note, ..Self::default() }
    }

    /// The lines of a section.
    pub fn get(&self, section: Section) -> &[String] {
        &self.sections[section as usize]
    }

    /// The lines of a section, to be filled.
    pub fn get_mut(&mut self, section: Section) -> &mut Vec<String> {
        &mut self.sections[section as usize]
    }

    /// Reads the text of a golden file.
    pub fn parse(text: &str) -> Self {
        let mut recording = Self::default();
        let mut current = None;
        for line in text.lines() {
            match line.strip_prefix("%% ").and_then(|name| Section::ALL.into_iter().find(|s| s.name() == name)) {
                Some(section) => current = Some(section),
                None => recording.sections[current.map_or(0, |s| s as usize)].push(line.to_owned()),
            }
        }
        recording
    }

    /// How many recipients the mail has.
    pub fn recipients(&self) -> usize {
        self.get(Section::Mail).iter().filter(|l| l.starts_with("RCPT ")).count()
    }
}

impl std::fmt::Display for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for section in Section::ALL {
            writeln!(f, "%% {}", section.name())?;
            self.get(section).iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

/// The names of the sections that differ, and the differences as text.
pub fn compare(want: &Recording, got: &Recording) -> (Vec<&'static str>, String) {
    let (mut differing, mut text) = (Vec::new(), String::new());
    if !got.note.is_empty() {
        let _ = writeln!(text, "! {}", got.note);
    }
    for section in Section::ALL {
        if want.get(section) != got.get(section) {
            differing.push(section.name());
            let _ = writeln!(text, "--- postfix {0}\n+++ program {0}", section.name());
            text += &difference(want.get(section), got.get(section));
        }
    }
    (differing, text)
}

/// How many equal lines are shown around a difference.
const CONTEXT: usize = 2;

/// The differing lines with some around them: ` ` equal, `-` missing, `+` too much.
fn difference(want: &[String], got: &[String]) -> String {
    let marked = marked(want, got);
    let near = |i: usize| {
        marked[i.saturating_sub(CONTEXT)..(i + CONTEXT + 1).min(marked.len())].iter().any(|(m, _)| *m != ' ')
    };
    let (mut text, mut gap) = (String::new(), false);
    for (i, (mark, line)) in marked.iter().enumerate() {
        if near(i) {
            let _ = writeln!(text, "{}{mark}{line}", if gap { "@@\n" } else { "" });
        }
        gap = !near(i) && !text.is_empty();
    }
    text
}

/// Both texts as one, along a longest common subsequence.
fn marked<'t>(want: &'t [String], got: &'t [String]) -> Vec<(char, &'t str)> {
    let mut length = vec![vec![0u32; got.len() + 1]; want.len() + 1];
    for i in (0..want.len()).rev() {
        for j in (0..got.len()).rev() {
            length[i][j] =
                if want[i] == got[j] { length[i + 1][j + 1] + 1 } else { length[i + 1][j].max(length[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < want.len() || j < got.len() {
        if i < want.len() && j < got.len() && want[i] == got[j] {
            out.push((' ', want[i].as_str()));
            (i, j) = (i + 1, j + 1);
        } else if j == got.len() || i < want.len() && length[i + 1][j] >= length[i][j + 1] {
            out.push(('-', want[i].as_str()));
            i += 1;
        } else {
            out.push(('+', got[j].as_str()));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "%% replies\nS: a\nS: b\n%% log\n%% mail\nRCPT TO:<u>\n%% helper\n";

    #[test]
    fn text_and_back() {
        let recording = Recording::parse(TEXT);
        assert_eq!(recording.get(Section::Replies), ["S: a", "S: b"]);
        assert_eq!((recording.recipients(), recording.to_string()), (1, TEXT.to_owned()));
    }

    #[test]
    fn differences() {
        let (want, mut got) = (Recording::parse("%% replies\n1\n2\n3\n4\n5\n6\n7\n"), Recording::default());
        *got.get_mut(Section::Replies) = ["1", "2", "3", "x", "5", "6", "7"].map(str::to_owned).to_vec();
        let (sections, text) = compare(&want, &got);
        assert_eq!(sections, ["replies"]);
        assert_eq!(text, "--- postfix replies\n+++ program replies\n 2\n 3\n-4\n+x\n 5\n 6\n");
        assert_eq!(compare(&want, &want), (Vec::new(), String::new()));
    }
}
