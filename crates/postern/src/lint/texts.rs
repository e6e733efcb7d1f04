//! The entries of tables as they were written, for those who judge them.

use config::{Parameters, Span, TableRef};
use policy::{TableEntry, TableTexts};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tables::database::{Database, Format};
use tables::source::{self, Item, Syntax, TooLongLine};

/// Larger texts aren't judged.
const TEXT_LIMIT: u64 = 16 << 20;

type Entries = Option<Arc<[TableEntry]>>;

/// Reads each table once.
pub struct Texts {
    directory: PathBuf,
    known: RefCell<HashMap<String, Entries>>,
}

impl Texts {
    /// Relative paths start in `$config_directory`.
    pub fn new(parameters: &Parameters) -> Self {
        Self { directory: parameters.get("config_directory").into(), known: RefCell::default() }
    }

    fn read(&self, spec: &str) -> Entries {
        let table = TableRef::parse(spec).ok()?;
        match table.kind.as_str() {
            "proxy" | "debug" => return self.entries(&table.name),
            "static" => {
                let value = table.group().unwrap_or(&table.name);
                return Some(Arc::new([nowhere("", value)]));
            }
            "inline" => {
                let elements = table.inline_elements()?.ok()?;
                let pairs = elements.iter().filter_map(|element| config::list::name_value(element));
                return Some(pairs.map(|(key, value)| nowhere(key, value)).collect());
            }
            _ => {}
        }
        let path = self.directory.join(&table.name);
        let file = path.display().to_string();
        match table.kind.as_str() {
            "regexp" | "pcre" | "cidr" => {
                let is_cidr = table.kind == "cidr";
                Some(rules(&text(&path)?, &file, is_cidr).into())
            }
            "hash" | "btree" | "texthash" | "lmdb" | "cdb" | "dbm" => {
                let mut entries = text(&path).and_then(|text| pairs(&text, &file));
                let compiled = Format::of(&table.kind).filter(|format| matches!(format, Format::Lmdb | Format::Cdb));
                if let Some(stored) = compiled.and_then(|format| stored(format, &table.name, &self.directory)) {
                    entries = Some(with_stored(entries, stored));
                }
                Some(entries?.into())
            }
            _ => None,
        }
    }
}

impl TableTexts for Texts {
    fn entries(&self, spec: &str) -> Entries {
        if let Some(known) = self.known.borrow().get(spec) {
            return known.clone();
        }
        let entries = self.read(spec);
        self.known.borrow_mut().insert(spec.to_owned(), entries.clone());
        entries
    }
}

/// An entry without a place: whoever names the table knows it.
fn nowhere(key: &str, value: &str) -> TableEntry {
    let span = Span::new("", 0);
    TableEntry {
        key: key.to_owned(),
        value: value.to_owned(),
        key_span: span.clone(),
        value_span: span,
        is_unfolded: false,
    }
}

fn text(path: &Path) -> Option<Vec<u8>> {
    let file = std::fs::File::open(path).ok()?;
    let about = file.metadata().ok()?;
    if !about.is_file() || about.len() > TEXT_LIMIT {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(TEXT_LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// `key value` lines, as postmap(1) reads them.
fn pairs(text: &[u8], file: &str) -> Option<Vec<TableEntry>> {
    let mut entries = Vec::new();
    let name: Arc<str> = file.into();
    let lines = Lines::of(text);
    let each = |item: Item| -> Result<(), TooLongLine> {
        if let Item::Entry { line, key, value } = item {
            let key = String::from_utf8_lossy(&key).into_owned();
            let value = String::from_utf8_lossy(&value).into_owned();
            entries.push(lines.entry(&name, line, key, value));
        }
        Ok(())
    };
    source::read(text, file, Syntax::Map, true, each).ok()?;
    Some(entries)
}

/// The physical lines, to find words in.
struct Lines<'a>(Vec<&'a [u8]>);

impl<'a> Lines<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').collect())
    }

    fn entry(&self, file: &Arc<str>, line: u32, key: String, value: String) -> TableEntry {
        let whole = Span::new(file.clone(), line);
        let physical = self.0.get(line as usize - usize::from(line > 0)).copied().unwrap_or_default();
        let physical = String::from_utf8_lossy(physical);
        // Most tables are large and written plainly: a search only where the word isn't what comes first.
        let find = |word: &str, from: usize| {
            let rest = physical.get(from..).filter(|_| !word.is_empty())?;
            let trimmed = rest.trim_start();
            let at = if trimmed.starts_with(word) { rest.len() - trimmed.len() } else { rest.find(word)? };
            Some(from + at)
        };
        let place = |word: &str, from: usize| {
            let start = find(word, from)?;
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let (column, width) = (physical[..start].chars().count() + 1, word.chars().count());
            Some(Span { column: number(column), width: number(width), ..whole.clone() })
        };
        let key_span = place(&key, 0).unwrap_or_else(|| whole.clone());
        let behind = find(&key, 0).map_or(0, |at| at + key.len());
        let value_span = place(&value, behind).unwrap_or_else(|| whole.clone());
        TableEntry { key, value, key_span, value_span, is_unfolded: false }
    }
}

/// `/pattern/flags value` or `network value` lines; `if` and `endif` have no value.
fn rules(text: &[u8], file: &str, is_cidr: bool) -> Vec<TableEntry> {
    let name: Arc<str> = file.into();
    let lines = Lines::of(text);
    let shown = String::from_utf8_lossy(text);
    let mut entries = Vec::new();
    for (line, rule) in logical(&shown) {
        let rule = rule.trim();
        let is_block = |word: &str| rule.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if is_block("if ") || is_block("if!") || is_block("endif") || (!is_cidr && is_block("if/")) {
            continue;
        }
        let end = if is_cidr { rule.find([' ', '\t']) } else { pattern_end(rule) };
        let Some(end) = end else { continue };
        let (key, rest) = rule.split_at(end);
        // What touches the pattern are its flags.
        let value = rest.trim_start_matches(|c: char| !c.is_ascii_whitespace()).trim();
        entries.push(lines.entry(&name, line, key.to_owned(), value.to_owned()));
    }
    entries
}

/// Where a pattern ends, its second delimiter included.
fn pattern_end(rule: &str) -> Option<usize> {
    let start = rule.find(|c: char| c != '!' && c != ' ')?;
    let delimiter = rule[start..].chars().next()?;
    let mut escaped = false;
    for (at, c) in rule.char_indices().filter(|(at, _)| *at > start) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == delimiter => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

/// Lines with their continuations.
fn logical(text: &str) -> Vec<(u32, String)> {
    let mut lines: Vec<(u32, String)> = Vec::new();
    for (physical, number) in text.lines().zip(1..) {
        let trimmed = physical.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, line)) if physical.starts_with([' ', '\t']) => line.push_str(physical),
            _ => lines.push((number, physical.to_owned())),
        }
    }
    lines
}

/// What a compiled table holds.
fn stored(format: Format, name: &str, directory: &Path) -> Option<Vec<TableEntry>> {
    let path = format.path(&directory.join(name).display().to_string());
    let is_small = path.metadata().is_ok_and(|about| about.len() <= TEXT_LIMIT);
    let database = is_small.then(|| Database::read(format, &path).ok())??;
    let span = Span::new(path.display().to_string(), 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).into_owned();
    let entry = |(key, value): (&[u8], &[u8])| {
        let key = text(key);
        let is_unfolded = key.bytes().any(|byte| byte.is_ascii_uppercase());
        TableEntry { key, value: text(value), key_span: span.clone(), value_span: span.clone(), is_unfolded }
    };
    Some(database.pairs().into_iter().map(entry).collect())
}

/// The text's entries, or the stored ones without it; keys that are stored with capitals are marked.
fn with_stored(text: Option<Vec<TableEntry>>, stored: Vec<TableEntry>) -> Vec<TableEntry> {
    let Some(mut entries) = text else { return stored };
    let unfolded: HashMap<String, TableEntry> =
        stored.into_iter().filter(|entry| entry.is_unfolded).map(|entry| (entry.key.clone(), entry)).collect();
    for entry in &mut entries {
        entry.is_unfolded = unfolded.contains_key(&entry.key);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_places() {
        let entries = pairs(b"# c\nkey  some value\n  more\nnext 550\n", "t").unwrap();
        let seen: Vec<_> = entries
            .iter()
            .map(|e| (e.key.as_str(), e.key_span.line, e.key_span.column, e.value_span.line, e.value_span.column))
            .collect();
        // A value on two lines has the place of its line.
        assert_eq!(seen, [("key", 2, 1, 2, 0), ("next", 4, 1, 4, 6)]);
    }

    #[test]
    fn rules_of_pattern_tables() {
        let text = b"/^a\\/b/i REJECT x\nif /y/\n!/c/ OK\nendif\n/d/\n  DUNNO\n";
        let entries = rules(text, "t", false);
        let seen: Vec<_> = entries.iter().map(|e| (e.key.as_str(), e.value.as_str(), e.key_span.line)).collect();
        assert_eq!(seen, [("/^a\\/b/", "REJECT x", 1), ("!/c/", "OK", 3), ("/d/", "DUNNO", 5)]);
        let entries = rules(b"192.0.2.0/24 550\n", "t", true);
        assert_eq!((entries[0].key.as_str(), entries[0].value.as_str()), ("192.0.2.0/24", "550"));
        assert_eq!(entries[0].value_span.column, 14);
    }

    #[test]
    fn capitals_in_a_compiled_table_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("t");
        std::fs::write(&name, "Example.COM OK\nother.example OK\n").unwrap();
        let mut database = Database::new(Format::Cdb);
        database.put(b"Example.COM", b"OK", tables::database::Existing::Keep).unwrap();
        let path = Format::Cdb.path(&name.display().to_string());
        tables::database::Update::begin(Format::Cdb, &path).unwrap().commit(&database, 0o644).unwrap();
        let texts = Texts { directory: "/".into(), known: RefCell::default() };
        let entries = texts.entries(&format!("cdb:{}", name.display())).unwrap();
        let seen: Vec<_> = entries.iter().map(|e| (e.key.as_str(), e.is_unfolded)).collect();
        assert_eq!(seen, [("Example.COM", true), ("other.example", false)]);
        assert_eq!(texts.entries("inline:{ {a = 550}, b=OK }").map(|e| e.len()), Some(2));
        assert_eq!(texts.entries("proxy:static:OK").map(|e| e[0].value.clone()).as_deref(), Some("OK"));
        assert!(texts.entries("mysql:/nowhere").is_none());
    }
}
