//! Where the words of a value were written: a list may go over many lines, and its words may come from other parameters.

use crate::diagnostic::Span;
use crate::logical::is_space;
use crate::main_cf::Definition;

/// Walks through the words of one parameter's value, in order.
#[derive(Clone, Debug, Default)]
pub struct Places<'a> {
    /// The whole parameter: the place of words that aren't found in its text.
    whole: Option<Span>,
    definition: Option<&'a Definition>,
    at: usize,
}

impl<'a> Places<'a> {
    /// All words have the same place.
    pub fn whole(span: Option<Span>) -> Self {
        Self { whole: span, definition: None, at: 0 }
    }

    /// The words of a definition.
    pub fn of(definition: &'a Definition) -> Self {
        Self { whole: Some(definition.span.clone()), definition: Some(definition), at: 0 }
    }

    /// Where the whole parameter is.
    pub fn parameter(&self) -> Option<Span> {
        self.whole.clone()
    }

    /// Where the next word is. A word that isn't there (it came out of `$name`) has the parameter's place.
    pub fn word(&mut self, word: &str) -> Option<Span> {
        let Some(definition) = self.definition else { return self.whole.clone() };
        let Some(start) = find(&definition.value, self.at, word) else { return self.whole.clone() };
        self.at = start + word.len();
        let joint = definition.joints.iter().rev().find(|joint| joint.offset <= start)?;
        let column = definition.value[joint.offset..start].chars().count();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some(Span {
            line: joint.line,
            column: joint.column.saturating_add(number(column)),
            width: number(word.chars().count()),
            ..definition.span.clone()
        })
    }
}

/// The first place of a word that stands alone.
fn find(text: &str, from: usize, word: &str) -> Option<usize> {
    let is_border = |c: Option<char>| c.is_none_or(|c| is_space(c) || matches!(c, ',' | '{' | '}'));
    let mut at = from;
    while let Some(found) = text.get(at..)?.find(word) {
        let (start, end) = (at + found, at + found + word.len());
        if is_border(text[..start].chars().next_back()) && is_border(text[end..].chars().next()) {
            return Some(start);
        }
        at = end.max(start + 1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MainCf;

    #[test]
    fn words_have_their_own_lines() {
        let text = "x = y\nlist = permit,\n # comment\n  check_x hash:/a/permit, $x\n\n\tpermit\n";
        let (main, _) = MainCf::parse("main.cf", text);
        let mut places = Places::of(main.get("list").unwrap());
        for (word, line, column, width) in [
            ("permit", 2, 8, 6),
            ("check_x", 4, 3, 7),
            ("hash:/a/permit", 4, 11, 14),
            ("y", 2, 0, 0),
            ("permit", 6, 2, 6),
            ("permit", 2, 0, 0),
        ] {
            let span = places.word(word).unwrap();
            assert_eq!((span.line, span.column, span.width), (line, column, width), "{word}");
        }
        assert_eq!(Places::whole(None).word("a"), None);
    }
}
