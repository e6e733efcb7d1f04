//! Log lines with whatever a client wrote made harmless.

/// One line for the mail log, without its time stamp and `name[pid]:` prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The Postfix program that logs such a line.
    pub program: &'static str,
    /// The text, with its `warning: ` where there is one.
    pub text: String,
}

impl LogLine {
    /// A line of cleanup(8).
    pub fn cleanup(text: impl Into<String>) -> Self {
        Self { program: "cleanup", text: text.into() }
    }

    /// A warning of cleanup(8).
    pub fn warning(text: impl std::fmt::Display) -> Self {
        Self { program: "cleanup", text: format!("warning: {text}") }
    }
}

/// Bytes as Postfix logs them: a question mark for each control character and each byte that isn't valid UTF-8.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|c| if c.is_ascii_control() { '?' } else { c }));
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_a_question_mark() {
        assert_eq!(printable(b"multi\n line\n\theader"), "multi? line??header");
        assert_eq!(printable("café\u{7f}".as_bytes()), "café?");
        assert_eq!(printable(b"a\xc3\xff\x80b"), "a???b");
    }
}
