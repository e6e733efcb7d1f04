//! Physical lines to logical lines, the same way for both files.

/// One logical line: its text with continuations joined, and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogicalLine {
    /// Number of the first physical line, from 1.
    pub(crate) line: u32,
    /// Index (from 0) one past the last physical line that holds text of this one.
    pub(crate) end: usize,
    /// Where each physical line begins in the text, and its number.
    pub(crate) joints: Vec<(usize, u32)>,
    /// The joined text, without line ends; blanks at the joints are kept.
    pub(crate) text: String,
}

/// Comments (also indented ones) and blank lines vanish, even in the middle of a logical line.
pub(crate) fn logical_lines(text: &str) -> Vec<LogicalLine> {
    let mut lines: Vec<LogicalLine> = Vec::new();
    for (index, physical) in text.lines().enumerate() {
        let trimmed = physical.trim_start_matches(is_space);
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        match lines.last_mut() {
            Some(last) if physical.starts_with(is_space) => {
                last.joints.push((last.text.len(), number));
                last.text.push_str(physical);
                last.end = index + 1;
            }
            _ => lines.push(LogicalLine {
                line: number,
                end: index + 1,
                joints: vec![(0, number)],
                text: physical.to_owned(),
            }),
        }
    }
    lines
}

/// Is this white space to C (in the POSIX locale)?
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0b' | '\x0c')
}

/// Trims what C takes for white space.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_do_not_end_a_logical_line() {
        let lines = logical_lines("# c\na = b,\n# c\n\n\tc\n   # c\n  d\n \ne = f\n");
        let got: Vec<_> = lines.iter().map(|l| (l.line, l.end, l.text.as_str())).collect();
        assert_eq!(got, [(2, 7, "a = b,\tc  d"), (9, 9, "e = f")]);
    }
}
