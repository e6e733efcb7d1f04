//! `-q`, `-d` and `-s`.

use super::options::split_table;
use super::table::{Compiled, Kind, QueryTable, compiled_name, no_name, unsupported, until_nul, warn_if_older};
use super::{Fatal, Run, Tool};
use message::cleanup::{Segment, segments};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use tables::database::{Database, Format, Update};

/// Tables that Postfix opens for writing, although it can't delete from them.
const WRITABLE: [&str; 2] = ["static", "environ"];

/// References, with their tables once they are open.
type Tables = Vec<((String, String), Option<QueryTable>)>;

impl Run {
    /// The tables of the command line, with types.
    fn references(&self) -> Vec<(String, String)> {
        let default = || self.settings.default_type.clone();
        let with_default = |(kind, name): (Option<String>, String)| (kind.unwrap_or_else(default), name);
        self.options.tables.iter().map(|table| with_default(split_table(table))).collect()
    }

    /// `-q`: was anything found?
    pub(super) fn query(&mut self, key: &[u8]) -> Result<bool, Fatal> {
        if key != b"-" {
            return self.query_one(key);
        }
        let mut tables: Tables = self.references().into_iter().map(|reference| (reference, None)).collect();
        let input = read_input()?;
        if self.options.headers || self.options.body {
            return self.query_message(&mut tables, &input);
        }
        let mut found = false;
        for key in lines(&input) {
            found |= self.query_key(&mut tables, key, self.settings.utf8)?;
        }
        Ok(found)
    }

    fn query_one(&mut self, key: &[u8]) -> Result<bool, Fatal> {
        for (kind, name) in self.references() {
            let table = self.open(&kind, &name)?;
            if let Some(value) = self.get(&table, key, self.settings.utf8)? {
                self.warn_if_empty(&format!("{kind}:{name}"), key, &value);
                match self.options.json {
                    true => self.print_json(key, &value)?,
                    false => self.console.print(&[&value, b"\n"])?,
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first value of a key, printed with it.
    fn query_key(&mut self, tables: &mut Tables, key: &[u8], utf8: bool) -> Result<bool, Fatal> {
        for ((kind, name), table) in tables {
            // A table that no key comes to isn't opened.
            let table = match table {
                Some(table) => table,
                None => table.insert(self.open(kind, name)?),
            };
            if let Some(value) = self.get(table, key, utf8)? {
                self.warn_if_empty(&table.name, key, &value);
                self.print_pair(key, &value)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn query_message(&mut self, tables: &mut Tables, message: &[u8]) -> Result<bool, Fatal> {
        // UTF-8 isn't asked of messages, unless it is forced.
        let utf8 = self.settings.utf8 && self.options.force_utf8;
        let (headers, body, mime) = (self.options.headers, self.options.body, self.options.mime);
        let (mut found, mut failure) = (false, None);
        let _ = segments(message, mime, &mut |segment| {
            let key = match segment {
                Segment::Header { text, .. } if headers => text,
                Segment::Body(line) if body => line,
                // The rest can't have headers.
                Segment::Body(_) if !mime => return ControlFlow::Break(()),
                _ => return ControlFlow::Continue(()),
            };
            match self.query_key(tables, until_nul(key), utf8) {
                Ok(hit) => {
                    found |= hit;
                    ControlFlow::Continue(())
                }
                Err(fatal) => {
                    failure = Some(fatal);
                    ControlFlow::Break(())
                }
            }
        });
        failure.map_or(Ok(found), Err)
    }

    fn warn_if_empty(&mut self, name: &str, key: &[u8], value: &[u8]) {
        if value.is_empty() {
            let key = self.console.shown(key);
            self.console.warn(&format!("table {name}: key {key}: empty string result is not allowed"));
            self.console.warn(&format!("table {name} should return NO RESULT in case of NOT FOUND"));
        }
    }

    fn print_pair(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fatal> {
        if self.options.json {
            return self.print_json(key, value);
        }
        let between: &[u8] = if self.tool == Tool::Postalias { b":\t" } else { b"\t" };
        Ok(self.console.print(&[key, between, value, b"\n"])?)
    }

    fn print_json(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fatal> {
        let line = config::postconf::json_line(&String::from_utf8_lossy(key), &String::from_utf8_lossy(value));
        Ok(self.console.print(&[line.as_bytes()])?)
    }

    /// `-s`: the first table only, as in Postfix.
    pub(super) fn list(&mut self) -> Result<(), Fatal> {
        if let Some((kind, name)) = self.references().into_iter().next() {
            if kind == "fail" {
                return Err(Fatal(format!("table {kind}:{name}: sequence error: Application error")));
            }
            let table = self.open(&kind, &name)?;
            let unsupported = || Fatal(format!("table {}: sequence operation is not supported", table.name));
            let pairs: Vec<(Vec<u8>, Vec<u8>)> = match &table.kind {
                // Constant databases could be listed, but Postfix doesn't.
                Kind::Compiled(_) if kind == "cdb" => return Err(unsupported()),
                Kind::Compiled(compiled) => {
                    let pairs = compiled.database.pairs().into_iter();
                    pairs.map(|(key, value)| (until_nul(key).to_vec(), until_nul(value).to_vec())).collect()
                }
                Kind::Other(other) => {
                    let pairs = other.pairs().ok_or_else(unsupported)?.into_iter();
                    pairs.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
                }
            };
            for (key, value) in pairs {
                self.list_pair(&format!("{kind}:{name}"), &table, &key, value)?;
            }
        }
        Ok(())
    }

    /// What can't be decoded is left out.
    fn list_pair(&mut self, name: &str, table: &QueryTable, key: &[u8], value: Vec<u8>) -> Result<(), Fatal> {
        let value = match self.options.files.then(|| self.file_value(table, key, value.clone())) {
            Some(Err(_)) => return Ok(()),
            Some(Ok(value)) => until_nul(&value).to_vec(),
            None => value,
        };
        self.warn_if_empty(name, key, &value);
        self.print_pair(key, &value)
    }

    /// `-d`: was anything deleted?
    pub(super) fn delete(&mut self, key: &[u8]) -> Result<bool, Fatal> {
        if key != b"-" {
            return self.delete_keys(&[key]);
        }
        let input = read_input()?;
        self.delete_keys(&lines(&input).collect::<Vec<_>>())
    }

    fn delete_keys(&mut self, keys: &[&[u8]]) -> Result<bool, Fatal> {
        let mut found = false;
        for (kind, name) in self.references() {
            if kind.is_empty() || name.is_empty() {
                return Err(no_name(&kind, &name));
            }
            let Some(format) = Format::of(&kind) else {
                found |= self.cannot_delete(&kind, &name, keys)?;
                continue;
            };
            if format == Format::Cdb {
                return Err(Fatal(super::create::CDB_FLAGS.to_owned()));
            }
            found |= self.delete_from(&kind, format, &name, keys)?;
        }
        Ok(found)
    }

    /// Types that aren't compiled are not even opened.
    fn cannot_delete(&mut self, kind: &str, name: &str, keys: &[&[u8]]) -> Result<bool, Fatal> {
        if kind == "static" {
            drop(self.open(kind, name)?);
        }
        let known = tables::table_types().iter().any(|known| known.name == kind);
        let text = match kind {
            "dbm" | "sdbm" => unsupported(kind),
            "fail" => format!("table {kind}:{name}: delete error: Application error"),
            kind if WRITABLE.contains(&kind) => format!("table {kind}:{name}: delete operation is not supported"),
            kind if known => format!("{kind}:{name} map requires O_RDONLY access mode"),
            _ => format!("unsupported dictionary type: {kind}"),
        };
        let tried = kind == "fail" || WRITABLE.contains(&kind);
        if tried && keys.iter().all(|key| self.is_refused(&format!("{kind}:{name}"), key)) {
            return Ok(!keys.is_empty());
        }
        Err(Fatal(text))
    }

    /// Must a key that isn't UTF-8 be left out? Postfix counts its deletion as a success.
    fn is_refused(&mut self, name: &str, key: &[u8]) -> bool {
        let refused = self.settings.utf8 && std::str::from_utf8(key).is_err();
        if refused {
            let shown = self.console.shown(key);
            self.console.warn(&format!("{name}: non-UTF-8 key \"{shown}\": malformed UTF-8 or invalid codepoint"));
        }
        refused
    }

    fn delete_from(&mut self, kind: &str, format: Format, name: &str, keys: &[&[u8]]) -> Result<bool, Fatal> {
        let path = format.path(name);
        let fatal = |error: tables::database::DatabaseError| Fatal(error.to_string());
        // LMDB makes the file if it isn't there.
        if format != Format::Lmdb {
            drop(Database::read(format, &path).map_err(fatal)?);
        }
        let update = Update::begin(format, &path).map_err(fatal)?;
        let is_new = !update.exists();
        if !is_new {
            warn_if_older(&path, Path::new(name), &mut self.console);
        }
        let contents = update.contents().map_err(fatal)?;
        let mut table = Compiled::new(contents, self.options.with_nul, self.options.without_nul);
        let (mut found, mut changed) = (false, is_new);
        for key in keys {
            if self.is_refused(&compiled_name(kind, format, name), key) {
                found = true;
                continue;
            }
            let folded = if self.options.fold { tables::fold_key(key, self.settings.utf8) } else { key.to_vec() };
            let deleting = |error| Fatal(format!("error deleting from {}: {error}", compiled_name(kind, format, name)));
            if let Some(stored) = table.stored_key(&folded).map_err(deleting)? {
                changed |= table.database.remove(&stored);
                found = true;
            }
        }
        if changed {
            update.commit(&table.database, 0o644).map_err(fatal)?;
        }
        Ok(found)
    }
}

/// All of standard input.
pub(super) fn read_input() -> Result<Vec<u8>, Fatal> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    Ok(input)
}

/// Keys, one a line.
fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = input.strip_suffix(b"\n").unwrap_or(input);
    let lines = if input.is_empty() { None } else { Some(text.split(|&byte| byte == b'\n')) };
    lines.into_iter().flatten().map(until_nul)
}
