//! Where the entries of a table are written: the lines of its text, for programs that explain an answer or count which
//! entries were used. Off the way of mail: the text is read again.

use crate::file::{TEXT_LIMIT, from_source};
use crate::lines::LogicalLines;
use crate::open::{OpenOptions, open};
use crate::pattern::{cidr_key, rule_key};
use crate::spec::TableSpec;
use crate::{Table, file};
use std::path::PathBuf;
use std::sync::Arc;

/// The lines of a table's text.
pub struct EntryPlaces {
    path: PathBuf,
    kind: Kind,
    /// The same table, with the numbers of lines for values.
    numbered: Arc<dyn Table>,
}

/// How entries are written.
#[derive(Clone, Copy)]
enum Kind {
    Pairs,
    Rules,
    Networks,
}

/// An entry: its line, and its key or pattern as written.
pub type Entry = (u32, String);

impl EntryPlaces {
    /// Those of a table with a text: `hash:`, `btree:`, `lmdb:`, `cdb:`, `texthash:`, `regexp:`, `pcre:` and `cidr:` in
    /// files, also behind `proxy:` and `debug:`. `None`: another one, or a text that can't be read.
    pub fn open(spec: &str, options: &OpenOptions) -> Option<Self> {
        let spec = ["proxy:", "debug:"].iter().fold(spec, |spec, prefix| spec.strip_prefix(prefix).unwrap_or(spec));
        let parsed = TableSpec::parse(spec).ok()?;
        if parsed.name.starts_with('{') {
            return None;
        }
        let options = OpenOptions { numbered: true, log: None, ..options.clone() };
        let (kind, numbered) = match parsed.kind {
            "hash" | "btree" | "lmdb" | "cdb" | "texthash" => (Kind::Pairs, from_source(&parsed, &options).ok()?.table),
            "regexp" | "pcre" => (Kind::Rules, open(spec, &options).ok()?.table),
            "cidr" => (Kind::Networks, open(spec, &options).ok()?.table),
            _ => return None,
        };
        Some(Self { path: options.path(parsed.name), kind, numbered })
    }

    /// The file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The line of the entry that answers a key.
    pub fn line(&self, key: &str) -> Option<u32> {
        self.numbered.get(key).ok()??.parse().ok()
    }

    /// All entries in the order of the file, conditions (`if`, `endif`) left out.
    pub fn entries(&self) -> Vec<Entry> {
        let Some(bytes) = std::fs::read(&self.path).ok().filter(|b| b.len() as u64 <= TEXT_LIMIT) else {
            return Vec::new();
        };
        let lines = LogicalLines::new(&bytes).map_while(Result::ok);
        let entries = lines.filter_map(|line| {
            let text = std::str::from_utf8(&line.text).ok()?;
            let key = match self.kind {
                Kind::Pairs => file::pair_key(text),
                Kind::Rules => rule_key(text),
                Kind::Networks => cidr_key(text),
            };
            Some((line.number, key?.to_owned()))
        });
        entries.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// File name, table type, text; keys with their lines; entries.
    type Row = (&'static str, &'static str, &'static [(&'static str, Option<u32>)], &'static [(u32, &'static str)]);

    const ROWS: &[Row] = &[
        (
            "hash",
            "# x\nA@b.example  OK\n\nb.example\n  REJECT $1 no\n\"q x\"@c 1\nlonely\n",
            &[("a@b.example", Some(2)), ("b.example", Some(4)), ("\"q x\"@c", Some(6)), ("c", None)],
            &[(2, "A@b.example"), (4, "b.example"), (6, "\"q x\"@c")],
        ),
        ("proxy:texthash", "a 1\na 2\n", &[("A", Some(1))], &[(1, "a"), (2, "a")]),
        (
            "pcre",
            "# rules\nif /^a/\n/^(a)b/i  550 $1\n!/c/ OK\nendif\n/./\n  DUNNO\n",
            &[("abc", Some(3)), ("a", Some(4)), ("ac", Some(6)), ("", None)],
            &[(3, "/^(a)b/i"), (4, "!/c/"), (6, "/./")],
        ),
        ("regexp", "/^x/ 1\n/y$/ 1\n", &[("ay", Some(2)), ("xy", Some(1)), ("z", None)], &[(1, "/^x/"), (2, "/y$/")]),
        (
            "cidr",
            "192.0.2.0/28 OK\nif 10.0.0.0/8\n10.1.0.0/16 OK\n! 10.2.0.0/16  REJECT\nendif\n2001:db8::/32 OK\n",
            &[("192.0.2.9", Some(1)), ("10.1.2.3", Some(3)), ("10.3.0.1", Some(4)), ("10.2.0.1", None), ("x", None)],
            &[(1, "192.0.2.0/28"), (3, "10.1.0.0/16"), (4, "! 10.2.0.0/16"), (6, "2001:db8::/32")],
        ),
    ];

    #[test]
    fn entries_have_lines() {
        let dir = tempfile::tempdir().unwrap();
        for (kind, text, keys, entries) in ROWS {
            std::fs::write(dir.path().join("t"), text).unwrap();
            let places = EntryPlaces::open(&format!("{kind}:t"), &OpenOptions::new(dir.path())).unwrap();
            assert_eq!(places.path(), dir.path().join("t"));
            for (key, line) in *keys {
                assert_eq!(places.line(key), *line, "{kind} {key}");
            }
            let expected: Vec<Entry> = entries.iter().map(|(line, key)| (*line, (*key).to_owned())).collect();
            assert_eq!(places.entries(), expected, "{kind}");
        }
        for none in ["inline:{a=b}", "pcre:{ {/a/ b} }", "hash:missing", "static:x", "nonsense"] {
            assert!(EntryPlaces::open(none, &OpenOptions::new(dir.path())).is_none(), "{none}");
        }
    }
}
