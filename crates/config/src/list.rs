//! Elements of restriction lists, table lists and match lists: commas and blanks separate, braces hold together.

use crate::diagnostic::Diagnostic;
use crate::logical::{is_space, trim};

/// One element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The element as written, braces included.
    pub text: String,
    /// Byte offset in the list text.
    pub offset: usize,
}

impl Element {
    /// The inner text if the whole element is a `{ … }` group.
    pub fn group(&self) -> Option<&str> {
        strip_group(&self.text)
    }
}

/// Splits a list. Braces nest and protect what they hold; an unbalanced one is an error.
pub fn split(text: &str) -> Result<Vec<Element>, Diagnostic> {
    let mut elements = Vec::new();
    let mut start = None;
    let mut depth = 0usize;
    for (offset, c) in text.char_indices() {
        if depth == 0 && (c == ',' || is_space(c)) {
            if let Some(start) = start.take() {
                elements.push(Element { text: text[start..offset].to_owned(), offset: start });
            }
            continue;
        }
        let begin = *start.get_or_insert(offset);
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Err(unbalanced('}', &text[begin..])),
            '}' => depth -= 1,
            _ => {}
        }
    }
    if let Some(start) = start {
        if depth > 0 {
            return Err(unbalanced('{', &text[start..]));
        }
        elements.push(Element { text: text[start..].to_owned(), offset: start });
    }
    Ok(elements)
}

/// Texts of the elements, for lists of plain words.
pub fn words(text: &str) -> Result<Vec<String>, Diagnostic> {
    Ok(split(text)?.into_iter().map(|element| element.text).collect())
}

/// The trimmed inner text of `{ … }` when the first brace is closed by the last character.
pub fn strip_group(text: &str) -> Option<&str> {
    let text = trim(text);
    let end = group_end(text)?;
    (end == text.len()).then(|| trim(&text[1..end - 1]))
}

/// Splits `name = value` (blanks around both are dropped), as inside `{ name = value }`.
pub fn name_value(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = trim(name);
    (!name.is_empty() && !name.contains(is_space)).then(|| (name, trim(value)))
}

/// Offset just past the brace that closes the one at the start.
pub(crate) fn group_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    if !text.starts_with('{') {
        return None;
    }
    for (offset, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn unbalanced(brace: char, rest: &str) -> Diagnostic {
    let excerpt: String = rest.chars().take(40).collect();
    let (message, help) = if brace == '{' {
        (format!("missing '}}' in \"{excerpt}\""), "close the group with '}'")
    } else {
        (format!("'}}' without '{{' in \"{excerpt}\""), "open the group with '{', or remove the '}'")
    };
    Diagnostic::error("unbalanced-braces", message).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Result<Vec<String>, String> {
        words(text).map_err(|d| d.message)
    }

    #[test]
    fn commas_blanks_and_groups() {
        for (text, want) in [
            ("", &[][..]),
            (" , ", &[]),
            ("a,b c\n\td", &["a", "b", "c", "d"]),
            ("a { b, c {d e} } f", &["a", "{ b, c {d e} }", "f"]),
            ("inline:{a=b, c=d}, x", &["inline:{a=b, c=d}", "x"]),
            ("{a}{b c}", &["{a}{b c}"]),
        ] {
            assert_eq!(
                texts(text).as_deref(),
                Ok(want.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
                "{text}"
            );
        }
        assert_eq!(split("ab, cd").map(|e| e[1].offset), Ok(4));
    }

    #[test]
    fn unbalanced_braces_are_errors() {
        assert_eq!(texts("a {b"), Err("missing '}' in \"{b\"".to_owned()));
        assert_eq!(texts("a b} c"), Err("'}' without '{' in \"b} c\"".to_owned()));
    }

    #[test]
    fn groups_and_pairs() {
        assert_eq!(strip_group("{ a {b} }"), Some("a {b}"));
        assert_eq!(strip_group("{a}{b}"), None);
        assert_eq!(strip_group("a"), None);
        assert_eq!(name_value(" a = b c "), Some(("a", "b c")));
        assert_eq!(name_value("a b = c"), None);
    }
}
