//! Making tables, and adding to them (`-i`).

use super::options::{Duplicates, split_table};
use super::owner::Owner;
use super::query::read_input;
use super::table::{files, unsupported};
use super::{Fatal, Run, Tool, output};
use crate::base64;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;
use tables::database::{Database, DatabaseError, Existing, Format, Stored, Update};
use tables::source::{self, Item, Syntax};

/// What Postfix says to changes of a cdb table.
pub(super) const CDB_FLAGS: &str =
    "dict_cdb_open: inappropriate open flags for cdb database - specify O_RDONLY or O_WRONLY|O_CREAT|O_TRUNC";

/// Where entries come from, and what the file that they come from says about the new one.
struct Input {
    text: Vec<u8>,
    name: String,
    mode: u32,
    owner: Option<Owner>,
}

/// A table in the making, and how messages name it.
struct Making {
    database: Database,
    format: Format,
    name: String,
    with_nul: bool,
}

/// What is done with a key and its value.
type Each<'e> = &'e mut dyn FnMut(&mut Run, Vec<u8>, Vec<u8>) -> Result<(), Fatal>;

impl Run {
    /// All tables of the command line.
    pub(super) fn create_all(&mut self) -> Result<(), Fatal> {
        // Standard input can be read once; Postfix finds it empty for the tables after the first.
        let mut unread = true;
        for table in self.options.tables.clone() {
            let (kind, name) = split_table(&table);
            let kind = kind.unwrap_or_else(|| self.settings.default_type.clone());
            if kind == "proxy" {
                return Err(Fatal("can't create maps via the proxy service".to_owned()));
            }
            let input = if self.options.incremental { self.standard_input(&mut unread)? } else { self.source(&name)? };
            self.create(&kind, &name, input)?;
        }
        Ok(())
    }

    fn source(&self, name: &str) -> Result<Input, Fatal> {
        let failed = |what: &str, error: std::io::Error| Fatal(format!("{what} {name}: {}", output::io_text(&error)));
        let mut file = std::fs::File::open(name).map_err(|error| failed("open", error))?;
        let meta = file.metadata().map_err(|error| failed("fstat", error))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(|error| failed("read", error))?;
        self.input(text, name.to_owned(), &meta)
    }

    fn standard_input(&self, unread: &mut bool) -> Result<Input, Fatal> {
        let text = if std::mem::take(unread) { read_input()? } else { Vec::new() };
        let file = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        self.input(text, "stdin".to_owned(), &file.metadata()?)
    }

    /// The new file is no more readable than its source, and belongs to the same owner.
    fn input(&self, text: Vec<u8>, name: String, meta: &std::fs::Metadata) -> Result<Input, Fatal> {
        let hidden = if self.options.save_mode && meta.is_file() { !meta.mode() & 0o077 } else { 0 };
        let owner = if self.options.as_owner { Owner::become_owner(meta.uid(), meta.gid())? } else { None };
        Ok(Input { text, name, mode: 0o644 & !hidden, owner })
    }

    fn create(&mut self, kind: &str, name: &str, input: Input) -> Result<(), Fatal> {
        let Some(format) = Format::of(kind) else { return self.create_other(kind, name, &input) };
        if format == Format::Cdb && self.options.incremental {
            return Err(Fatal(CDB_FLAGS.to_owned()));
        }
        let path = format.path(name);
        let update = Update::begin(format, &path).map_err(|error| Fatal(error.to_string()))?;
        let database = if !self.options.incremental {
            Database::new(format)
        } else if update.is_hollow() && matches!(format, Format::Hash | Format::Btree) {
            self.console.warn(&format!("removing zero-length database file: {}", path.display()));
            Database::new(format)
        } else {
            update.contents().map_err(|error| Fatal(error.to_string()))?
        };
        let shown = match format {
            Format::Hash | Format::Btree => path.display().to_string(),
            Format::Lmdb => format!("lmdb:{name}"),
            Format::Cdb => name.to_owned(),
        };
        // Where both would do, cdb files have no NULs, and the others have.
        let (with, without) = (self.options.with_nul, self.options.without_nul);
        let with_nul = if with && without { format != Format::Cdb } else { with };
        let mut making = Making { database, format, name: shown, with_nul };
        self.fill(&mut making, &input)?;
        update.commit(&making.database, input.mode).map_err(|error| Fatal(error.to_string()))?;
        // Only now: the file belongs to the source's owner.
        drop(input.owner);
        Ok(())
    }

    fn create_other(&mut self, kind: &str, name: &str, input: &Input) -> Result<(), Fatal> {
        if kind == "fail" {
            let mut any = false;
            self.entries(input, &mut |_, _, _| {
                any = true;
                Err(Fatal(format!("table {kind}:{name}: write error: Application error")))
            })?;
            return if any || self.tool == Tool::Postmap {
                Ok(())
            } else {
                Err(Fatal(format!("table {kind}:{name}: write error: Application error")))
            };
        }
        Err(Fatal(match kind {
            "dbm" | "sdbm" => unsupported(kind),
            kind if tables::table_types().iter().any(|known| known.name == kind) => {
                format!("unsupported dictionary type: {kind} does not support bulk-mode creation.")
            }
            kind => format!("unsupported dictionary type: {kind}. Is the postfix-{kind} package installed?"),
        }))
    }

    /// Hand each entry to `each`, with the run; say what else is in the text.
    fn entries(&mut self, input: &Input, each: Each<'_>) -> Result<(), Fatal> {
        let syntax = if self.tool == Tool::Postalias { Syntax::Alias } else { Syntax::Map };
        let utf8 = self.settings.utf8;
        source::read(&input.text, &input.name, syntax, utf8, |item| match item {
            Item::Warning(text) => {
                self.console.warn(&text);
                Ok(())
            }
            Item::Entry { line, key, value } if self.options.files => match files(&value) {
                Ok(content) => each(self, key, base64::encode(&content)),
                Err(text) => {
                    self.console.warn(&format!("{}, line {line}: {text}: skipping this entry", input.name));
                    Ok(())
                }
            },
            Item::Entry { key, value, .. } => each(self, key, value),
        })
    }

    fn fill(&mut self, making: &mut Making, input: &Input) -> Result<(), Fatal> {
        self.entries(input, &mut |run, key, value| {
            let key = if run.options.fold { tables::fold_key(&key, run.settings.utf8) } else { key };
            run.store(making, &key, &value)
        })?;
        if self.tool == Tool::Postalias {
            self.store_magic(making)?;
        }
        Ok(())
    }

    fn store(&mut self, making: &mut Making, key: &[u8], value: &[u8]) -> Result<(), Fatal> {
        let duplicates = self.options.duplicates;
        let existing = if duplicates == Duplicates::Replace { Existing::Replace } else { Existing::Keep };
        let stored = making.put(key, value, existing)?;
        if stored == Stored::Duplicate && duplicates == Duplicates::Warn {
            let key = self.console.shown(key);
            self.console.warn(&format!("{}: duplicate entry: \"{key}\"", making.name));
        }
        Ok(())
    }

    /// What Sendmail and NIS expect in an alias table: a mark of completeness, the time, and the host.
    fn store_magic(&mut self, making: &mut Making) -> Result<(), Fatal> {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let host = self.settings.parameters.get("myhostname");
        making.put(b"@", b"@", Existing::Replace)?;
        // NIS wants these without NULs.
        making.with_nul = false;
        for (key, value) in [("YP_LAST_MODIFIED", time.to_string()), ("YP_MASTER_NAME", host)] {
            making.put(key.as_bytes(), value.as_bytes(), Existing::Replace)?;
        }
        Ok(())
    }
}

impl Making {
    fn put(&mut self, key: &[u8], value: &[u8], existing: Existing) -> Result<Stored, Fatal> {
        let end: &[u8] = if self.with_nul { &[0] } else { &[] };
        let stored = self.database.put(&[key, end].concat(), &[value, end].concat(), existing);
        stored.map_err(|error: DatabaseError| match self.format {
            Format::Lmdb => Fatal(format!("error updating {}: {error}", self.name)),
            _ => Fatal(error.to_string()),
        })
    }
}
