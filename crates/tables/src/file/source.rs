//! Source texts that postmap(1) and postalias(1) compile: entries in file order, with the warnings about what isn't one.

use super::alias;
use super::text::{is_unbalanced, split};
use crate::lines::{LINE_LIMIT, LogicalLines, TooLong, objection, printable};

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// `key whitespace value` (postmap(1), INPUT FILE FORMAT).
    Map,
    /// `name: value` (aliases(5)).
    Alias,
}

/// What a line gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An entry, its key not folded.
    Entry {
        /// The number of its first line.
        line: u32,
        /// As written for maps, in external (quoted) form for aliases.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// What to say about it, in Postfix's words.
    Warning(String),
}

/// A logical line is too long to be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: logical line is longer than {LINE_LIMIT} bytes")]
pub struct TooLongLine {
    file: String,
    line: u32,
}

/// Hand everything that a text holds to `each`, which may stop with an error of its own. `name` is the file's name for
/// messages; with `utf8`, lines that aren't UTF-8 are skipped.
pub fn read<E: From<TooLongLine>>(
    text: &[u8],
    name: &str,
    syntax: Syntax,
    utf8: bool,
    mut each: impl FnMut(Item) -> Result<(), E>,
) -> Result<(), E> {
    for line in LogicalLines::new(text) {
        let line = line.map_err(|TooLong(line)| TooLongLine { file: name.to_owned(), line })?;
        if let Some(text) = objection(&line, name, utf8, LINE_LIMIT) {
            each(Item::Warning(text))?;
            continue;
        }
        let place = format!("{name}, line {}", line.number);
        let warn = |text: &str| Item::Warning(format!("{place}: {text}"));
        match syntax {
            Syntax::Map => map_line(&line.text, line.number, warn, &mut each)?,
            Syntax::Alias => match alias::entry(&line.text) {
                Ok(None) => {}
                Ok(Some((key, value))) => each(Item::Entry { line: line.number, key, value })?,
                Err(text) => each(warn(text))?,
            },
        }
    }
    Ok(())
}

fn map_line<E>(
    text: &[u8],
    line: u32,
    warn: impl Fn(&str) -> Item,
    each: &mut impl FnMut(Item) -> Result<(), E>,
) -> Result<(), E> {
    let (key, value) = split(text);
    if value.is_empty() {
        if key.len() == text.len() && is_unbalanced(text) {
            let shown = printable(text);
            return each(warn(&format!("unbalanced '\"' in '{shown}' -- ignoring this line")));
        }
        return each(warn("expected format: key whitespace value"));
    }
    if key.ends_with(b":") {
        each(warn("record is in \"key: value\" format; is this an alias file?"))?;
    }
    each(Item::Entry { line, key: key.to_vec(), value: value.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &[u8], syntax: Syntax, utf8: bool) -> Vec<String> {
        let mut items = Vec::new();
        let result: Result<(), TooLongLine> = read(text, "F", syntax, utf8, |item| {
            items.push(match item {
                Item::Entry { line, key, value } => {
                    format!("{line} [{}] [{}]", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value))
                }
                Item::Warning(text) => text,
            });
            Ok(())
        });
        result.unwrap();
        items
    }

    #[test]
    fn maps() {
        let text = b"# c\na@B  x y \n  z\nkey: v\nalone\n\"open v\nb\xe9 1\n";
        let expected = [
            "2 [a@B] [x y   z]",
            "F, line 4: record is in \"key: value\" format; is this an alias file?",
            "4 [key:] [v]",
            "F, line 5: expected format: key whitespace value",
            "F, line 6: unbalanced '\"' in '\"open v' -- ignoring this line",
        ];
        let mut with = expected.to_vec();
        with.push("F, line 7: non-UTF-8 input \"b? 1\" -- ignoring this line");
        assert_eq!(items(text, Syntax::Map, true), with);
        let mut without = expected.to_vec();
        without.push("7 [b\u{fffd}] [1]");
        assert_eq!(items(text, Syntax::Map, false), without);
        let indented = ["F: logical line must not start with whitespace: \" a b\""];
        assert_eq!(items(b" a b\n", Syntax::Map, true), indented);
    }

    #[test]
    fn aliases() {
        let text = b"Root: a,b\n \"c d\"\nplain x\na@b: c\n";
        let expected = ["1 [Root] [a, b \"c d\"]", "F, line 3: need name:value pair", "F, line 4: name must be local"];
        assert_eq!(items(text, Syntax::Alias, true), expected);
    }

    #[test]
    fn endless_lines_end() {
        let text = [b"a b".as_slice(), &b"\n xxxxxxx".repeat(LINE_LIMIT / 8)].concat();
        let result: Result<(), TooLongLine> = read(&text, "F", Syntax::Map, true, |_| Ok(()));
        let text = format!("F, line 1: logical line is longer than {LINE_LIMIT} bytes");
        assert_eq!(result.map_err(|error| error.to_string()), Err(text));
    }
}
