//! Lists of tags: `v=1; a=rsa-sha256; …` (RFC 6376, section 3.2).

/// The tags in their order; white space around names and values is gone.
pub(super) struct Tags<'t>(Vec<(&'t str, &'t str)>);

/// White space, folded or not.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

impl<'t> Tags<'t> {
    /// Read a list; `None` when it isn't one, or has a tag twice.
    pub fn parse(text: &'t str) -> Option<Self> {
        let mut tags: Vec<(&str, &str)> = Vec::new();
        let mut pieces = text.split(';').peekable();
        while let Some(piece) = pieces.next() {
            let piece = piece.trim_matches(is_blank);
            if piece.is_empty() && pieces.peek().is_none() {
                break;
            }
            let (name, value) = piece.split_once('=')?;
            let (name, value) = (name.trim_end_matches(is_blank), value.trim_start_matches(is_blank));
            let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(named) || tags.len() >= 64 {
                return None;
            }
            if tags.iter().any(|(known, _)| *known == name) {
                return None;
            }
            tags.push((name, value));
        }
        Some(Self(tags))
    }

    /// A tag's value.
    pub fn get(&self, name: &str) -> Option<&'t str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The first tag.
    pub fn first(&self) -> Option<(&'t str, &'t str)> {
        self.0.first().copied()
    }
}

/// The elements of `a : b : c`.
pub(super) fn elements(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(|element| element.trim_matches(is_blank))
}
