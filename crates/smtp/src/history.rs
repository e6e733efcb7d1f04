//! What was said in a session, kept for those who have to find out what went wrong.

/// Kept text; beyond it the oldest lines go.
const LIMIT: usize = 32 * 1024;

/// The lines of a session, both ways.
#[derive(Debug, Default)]
pub(crate) struct History {
    text: String,
    lines: usize,
    left_out: usize,
}

impl History {
    /// A line and who said it. Octets that are not printable become `?`.
    pub fn add(&mut self, direction: &str, line: &[u8], utf8: bool) {
        self.text.push_str(direction);
        for chunk in line.utf8_chunks() {
            let plain = |c: char| !c.is_ascii_control() && (utf8 || c.is_ascii());
            if chunk.valid().chars().all(plain) {
                self.text.push_str(chunk.valid());
            } else {
                for c in chunk.valid().chars() {
                    let count = if plain(c) { 0 } else { c.len_utf8() };
                    self.text.extend(std::iter::repeat_n('?', count));
                    self.text.extend((count == 0).then_some(c));
                }
            }
            self.text.extend(chunk.invalid().iter().map(|_| '?'));
        }
        self.text.push('\n');
        self.lines += 1;
        if self.text.len() > LIMIT {
            let from = self.text.floor_char_boundary(LIMIT / 4);
            let cut = self.text[from..].find('\n').map_or(self.text.len(), |at| from + at + 1);
            self.left_out += self.text[..cut].lines().count();
            self.text.drain(..cut);
        }
    }

    /// Something more in the last line.
    pub fn append(&mut self, text: &str) {
        if self.text.pop().is_some() {
            self.text.push_str(text);
            self.text.push('\n');
        }
    }

    /// Lines so far.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// What was kept; begins anew.
    pub fn take(&mut self) -> String {
        let Self { mut text, left_out, .. } = std::mem::take(self);
        if left_out > 0 {
            text.insert_str(0, &format!("({left_out} lines are left out)\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_shown_is_not_shown() {
        let shown = |utf8| {
            let mut history = History::default();
            history.add("In:  ", "NOOP é\u{7}".as_bytes(), utf8);
            history.add("In:  ", b"NOOP \xff", utf8);
            history.take()
        };
        assert_eq!(shown(true), "In:  NOOP é?\nIn:  NOOP ?\n");
        assert_eq!(shown(false), "In:  NOOP ???\nIn:  NOOP ?\n");
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut history = History::default();
        for number in 0..10_000 {
            history.add("In:  ", format!("NOOP {number}").as_bytes(), true);
        }
        assert!(history.text.len() <= LIMIT);
        let text = history.take();
        assert!(text.starts_with('(') && text.ends_with("In:  NOOP 9999\n"));
        assert!(history.text.is_empty() && history.lines() == 0);
    }
}
