//! Text maps: `key whitespace value` (postmap(1), TABLE FORMAT), as `texthash:` reads them and postmap compiles them.

use super::index::{Added, Index};
use crate::lines::{LogicalLines, Warnings, is_space, printable, trim_end, trim_start};
use crate::open::{OpenFailure, OpenOptions};
use config::Diagnostic;
use std::path::Path;
use std::sync::Arc;

/// Whose words the warnings have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wording {
    /// texthash: tables.
    Texthash,
    /// postmap(1).
    Postmap,
}

/// A text, read into memory.
pub(crate) fn read(
    text: &[u8],
    path: &Path,
    options: &OpenOptions,
    wording: Wording,
) -> Result<(Arc<Index>, Vec<Diagnostic>), OpenFailure> {
    let mut index = Index::new(options.fold, text.len());
    // A line a pair; a file of nothing but line ends must not cost memory.
    index.reserve(memchr::memchr_iter(b'\n', text).count().min(text.len() / 8));
    let mut warnings = Warnings::new(path);
    for line in LogicalLines::new(text) {
        let line = line.map_err(|long| warnings.too_long(long))?;
        let Some(text) = warnings.usable(&line) else { continue };
        let (key, value) = split_text(text);
        if value.is_empty() {
            let ending = if wording == Wording::Texthash { " -- ignoring this line" } else { "" };
            let unbalanced = key.len() == text.len() && is_unbalanced(text.as_bytes());
            warnings.add(
                line.number,
                "table-line",
                "write the key, whitespace and the value",
                |file| match unbalanced {
                    true => {
                        let shown = printable(&text.as_bytes()[..text.len().min(100)]);
                        format!("{file}, line {}: unbalanced '\"' in '{shown}' -- ignoring this line", line.number)
                    }
                    false => format!("{file}, line {}: expected format: key whitespace value{ending}", line.number),
                },
            );
            continue;
        }
        if key.ends_with(':') {
            warnings.add(line.number, "table-alias-format", "drop the colon after the key", |file| {
                format!("{file}, line {}: record is in \"key: value\" format; is this an alias file?", line.number)
            });
        }
        let number = options.numbered.then(|| line.number.to_string());
        let value = number.as_deref().unwrap_or(value);
        add(&mut index, key, value, line.number, wording, &mut warnings)?;
    }
    if index.len() == 0 && looks_binary(text) {
        let text = format!("{}: this is not a text table", warnings.file());
        let help = "name the source file of the table; a compiled file is named without its suffix, as in hash:/etc/x";
        return Err(Diagnostic::error("table-not-text", text).at(warnings.at(0)).help(help).into());
    }
    index.shrink();
    Ok((Arc::new(index), warnings.finish()))
}

fn add(
    index: &mut Index,
    key: &str,
    value: &str,
    line: u32,
    wording: Wording,
    warnings: &mut Warnings,
) -> Result<(), Diagnostic> {
    match index.add_folded(key, value) {
        Added::New => {}
        Added::Duplicate => {
            warnings.add(line, "table-duplicate", "keep one of the entries; the first is used", |file| match wording {
                Wording::Texthash => format!("{file}, line {line}: duplicate entry: \"{key}\""),
                Wording::Postmap => format!("{file}: duplicate entry: \"{}\"", crate::fold::fold(key)),
            })
        }
        Added::Full => {
            let text = format!("{}, line {line}: the table is larger than 4 GiB", warnings.file());
            return Err(Diagnostic::error("table-too-large", text).at(warnings.at(line)).help("split the table"));
        }
    }
    Ok(())
}

/// Bytes that no text has, near the start.
fn looks_binary(text: &[u8]) -> bool {
    let head = &text[..text.len().min(8192)];
    head.contains(&0)
        || (!head.is_empty() && std::str::from_utf8(head).is_err_and(|e| e.valid_up_to() + 4 < head.len()))
}

/// Key and value. Quotes and backslashes stay in the key; whitespace inside quotes or after a backslash doesn't end it.
pub(super) fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let (mut at, mut quoted) = (0, false);
    while at < text.len() {
        match text[at] {
            b'"' => quoted = !quoted,
            b'\\' => at += 1,
            byte if !quoted && is_space(byte) => break,
            _ => {}
        }
        at += 1;
    }
    let (key, value) = text.split_at(at.min(text.len()));
    (key, trim_end(trim_start(value)))
}

/// The key of a line with both key and value.
pub(crate) fn pair_key(text: &str) -> Option<&str> {
    let (key, value) = split_text(text);
    (!value.is_empty()).then_some(key)
}

/// As [`split`]. The key ends at an ASCII byte or with the text: a byte skipped inside a character is followed by its
/// rest.
fn split_text(text: &str) -> (&str, &str) {
    let (key, value) = split(text.as_bytes());
    (std::str::from_utf8(key).unwrap_or(text), std::str::from_utf8(value).unwrap_or_default())
}

pub(super) fn is_unbalanced(text: &[u8]) -> bool {
    let (mut quoted, mut bytes) = (false, text.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &[u8], wording: Wording) -> (Arc<Index>, Vec<String>) {
        let (index, warnings) = read(text, Path::new("F"), &OpenOptions::new("/"), wording).map_err(|_| ()).unwrap();
        (index, warnings.into_iter().map(|w| w.message).collect())
    }

    const SAMPLE: &[u8] = b"a@b.c  ok value  \n  continued\there  \nplain\n\"quo ted\" val\n\"esc\\\"q\" v2\n\
        \"Q1\"junk v\nKey: value\n\tA  \n# comment\nA@B.C dup\nkey2    \nx\ty\n\n  cont after blank\n\
        \"unclosed val\nUPP\xc3\x89R x\nnul\tabc  \0 def\nbackslash \"v1\" \"v2\"\nlast nonl";

    #[test]
    fn reads_what_postmap_reads() {
        let (index, _) = load(SAMPLE, Wording::Postmap);
        for (key, value) in [
            ("a@b.c", Some("ok value    continued\there")),
            ("plain", None),
            ("quo ted", None),
            ("\"Quo ted\"", Some("val")),
            ("\"esc\\\"q\"", Some("v2")),
            ("\"Q1\"junk", Some("v")),
            ("key:", Some("value\tA")),
            ("key2", None),
            ("x", Some("y  cont after blank")),
            ("unclosed", None),
            ("upp\u{e9}r", Some("x")),
            ("UPP\u{c9}R", Some("x")),
            ("nul", Some("abc")),
            ("backslash", Some("\"v1\" \"v2\"")),
            ("last", Some("nonl")),
        ] {
            assert_eq!(index.value(key), value, "{key}");
        }
    }

    #[test]
    fn warns_in_postfix_words() {
        let expected = |ending: &str, duplicate: &str| {
            [
                format!("F, line 3: expected format: key whitespace value{ending}"),
                "F, line 7: record is in \"key: value\" format; is this an alias file?".to_owned(),
                duplicate.to_owned(),
                format!("F, line 11: expected format: key whitespace value{ending}"),
                "F, line 15: unbalanced '\"' in '\"unclosed val' -- ignoring this line".to_owned(),
            ]
        };
        assert_eq!(load(SAMPLE, Wording::Postmap).1, expected("", "F: duplicate entry: \"a@b.c\""));
        let texthash = expected(" -- ignoring this line", "F, line 10: duplicate entry: \"A@B.C\"");
        assert_eq!(load(SAMPLE, Wording::Texthash).1, texthash);
        let (_, warnings) = load(b"   lead x\n   a b\n#\n   c d\nb\t\xff\n", Wording::Postmap);
        assert_eq!(
            warnings,
            [
                "F: logical line must not start with whitespace: \"   lead x   a b   c d\"",
                "F, line 5: non-UTF-8 input \"b??\" -- ignoring this line",
            ]
        );
    }

    #[test]
    fn splits_keys() {
        for (text, key, value) in [
            ("a b c ", "a", "b c"),
            ("q\"x y\"z w", "q\"x y\"z", "w"),
            ("e\\ f g", "e\\ f", "g"),
            ("bs\\\"x y\" z", "bs\\\"x", "y\" z"),
            ("foo\u{b}bar  baz\u{b}", "foo", "bar  baz"),
            ("\u{a0} a", "\u{a0}", "a"),
            ("end\\", "end\\", ""),
            ("k\\\u{e9} v", "k\\\u{e9}", "v"),
        ] {
            assert_eq!(split_text(text), (key, value), "{text}");
        }
    }

    #[test]
    fn garbage_is_an_error_and_warnings_are_bounded() {
        let options = OpenOptions::new("/");
        let failure = read(&[0; 9000], Path::new("F"), &options, Wording::Texthash).err().unwrap();
        assert_eq!(failure.diagnostics[0].message, "F: this is not a text table");
        let (_, warnings) = load(&b"x\n".repeat(1000), Wording::Texthash);
        assert_eq!((warnings.len(), warnings[100].as_str()), (101, "F: 900 more warnings"));
    }
}
