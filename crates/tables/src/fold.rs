//! Case folding of fixed keys: full Unicode folding as Postfix does with ICU, free of cost for keys that need none.

use std::borrow::Cow;
use unicase::UniCase;

/// The key with its case folded.
pub(crate) fn fold(key: &str) -> Cow<'_, str> {
    if !key.is_ascii() {
        return Cow::Owned(UniCase::unicode(key).to_folded_case());
    }
    if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(key.to_ascii_lowercase());
    }
    Cow::Borrowed(key)
}

/// A key of bytes with its case folded: as [`fold`] does if it is UTF-8 and may be, else ASCII letters only.
pub fn fold_bytes(key: &[u8], utf8: bool) -> Vec<u8> {
    match std::str::from_utf8(key) {
        Ok(key) if utf8 => fold(key).as_bytes().to_vec(),
        _ => key.to_ascii_lowercase(),
    }
}

/// As [`fold`], or the key itself when folding is off.
pub(crate) fn fold_if(folding: bool, key: &str) -> Cow<'_, str> {
    if folding { fold(key) } else { Cow::Borrowed(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_bytes() {
        assert_eq!(fold_bytes("UPP\u{c9}R".as_bytes(), true), "upp\u{e9}r".as_bytes());
        assert_eq!(fold_bytes("UPP\u{c9}R".as_bytes(), false), "upp\u{c9}r".as_bytes());
        assert_eq!(fold_bytes(b"A\xc9", true), b"a\xc9");
    }

    #[test]
    fn folds_ascii_and_unicode() {
        for (key, folded) in
            [("a@b.c", "a@b.c"), ("A@B.c", "a@b.c"), ("UPPÉR", "uppér"), ("Straße", "strasse"), ("", "")]
        {
            assert_eq!(fold(key), folded, "{key}");
        }
        assert!(matches!(fold("lower.example"), Cow::Borrowed(_)));
    }
}
