//! A table as the command asks it: a compiled one byte for byte, any other through the look-ups that the server has.

use super::Fatal;
use super::output::Console;
use super::{Run, output};
use config::Diagnostic;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tables::database::{Database, DatabaseError, Format};
use tables::{OpenOptions, Table};

/// A compiled table.
pub(super) struct Compiled {
    /// What is in it.
    pub(super) database: Database,
    /// Keys with a NUL are tried; once a key was found without, no more (and the other way round).
    with_nul: Cell<bool>,
    without_nul: Cell<bool>,
}

impl Compiled {
    pub(super) fn new(database: Database, with_nul: bool, without_nul: bool) -> Self {
        Self { database, with_nul: Cell::new(with_nul), without_nul: Cell::new(without_nul) }
    }

    /// A key as it stands in the file, if it is there.
    pub(super) fn stored_key(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        if self.with_nul.get() {
            let stored = [key, &[0]].concat();
            if self.database.find(&stored)?.is_some() {
                self.without_nul.set(false);
                return Ok(Some(stored));
            }
        }
        if self.without_nul.get() && self.database.find(key)?.is_some() {
            self.with_nul.set(false);
            return Ok(Some(key.to_vec()));
        }
        Ok(None)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        let Some(stored) = self.stored_key(key)? else { return Ok(None) };
        Ok(self.database.find(&stored)?.map(|value| until_nul(value).to_vec()))
    }
}

/// A text as C sees it.
pub(super) fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// What stands behind a reference.
pub(super) enum Kind {
    Compiled(Compiled),
    Other(Arc<dyn Table>),
}

/// An open table.
pub(super) struct QueryTable {
    /// `type:name`, as messages have it: compiled tables with their file's name.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Messages of the table itself wait here.
    log: Arc<Mutex<Vec<String>>>,
}

impl Run {
    /// Open a table to ask it. `kind` and `name` are its reference taken apart.
    pub(super) fn open(&mut self, kind: &str, name: &str) -> Result<QueryTable, Fatal> {
        match Format::of(kind) {
            Some(_) if name.is_empty() => Err(no_name(kind, name)),
            Some(format) => self.open_compiled(kind, format, name),
            None => self.open_other(kind, name),
        }
    }

    fn open_compiled(&mut self, kind: &str, format: Format, name: &str) -> Result<QueryTable, Fatal> {
        let path = format.path(name);
        let database = Database::read(format, &path).map_err(|error| Fatal(error.to_string()))?;
        warn_if_older(&path, Path::new(name), &mut self.console);
        let compiled = Compiled::new(database, self.options.with_nul, self.options.without_nul);
        Ok(QueryTable { name: compiled_name(kind, format, name), kind: Kind::Compiled(compiled), log: Arc::default() })
    }

    fn open_other(&mut self, kind: &str, name: &str) -> Result<QueryTable, Fatal> {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = log.clone();
        let parameters = self.settings.parameters.clone();
        let mut options = OpenOptions::new(PathBuf::new());
        options.fold = self.options.fold;
        options.parameter = Some(Arc::new(move |name: &str| Some(parameters.get(name)).filter(|v| !v.is_empty())));
        options.log = Some(Arc::new(move |text: &str| {
            sink.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(text.to_owned());
        }));
        let spec = format!("{kind}:{name}");
        if matches!(kind, "dbm" | "sdbm") {
            return Err(Fatal(unsupported(kind)));
        }
        let opened = tables::open(&spec, &options).map_err(|problems| self.first_error(&problems))?;
        self.warnings(&opened.warnings)?;
        Ok(QueryTable { name: spec, kind: Kind::Other(opened.table), log })
    }

    /// Say what is noticed about a table. What only costs a server its look-ups is fatal here.
    fn warnings(&mut self, warnings: &[Diagnostic]) -> Result<(), Fatal> {
        for warning in warnings {
            match warning.message.strip_suffix("; every look-up in this table fails") {
                Some(fatal) => return Err(Fatal(fatal.to_owned())),
                None => self.console.warn(&warning.message),
            }
        }
        Ok(())
    }

    /// Say what comes before the first error, which is the fatal one.
    fn first_error(&mut self, problems: &[Diagnostic]) -> Fatal {
        let first = problems.iter().position(Diagnostic::is_error).unwrap_or(problems.len());
        match (self.warnings(&problems[..first]), problems.get(first)) {
            (Err(fatal), _) => fatal,
            (Ok(()), Some(problem)) => Fatal(problem.message.clone()),
            (Ok(()), None) => Fatal("open failed".to_owned()),
        }
    }

    /// The value of a key. `utf8`: keys and values must be UTF-8.
    pub(super) fn get(&mut self, table: &QueryTable, key: &[u8], utf8: bool) -> Result<Option<Vec<u8>>, Fatal> {
        let name = &table.name;
        if utf8 && std::str::from_utf8(key).is_err() {
            let shown = self.console.shown(key);
            self.console.warn(&format!("{name}: non-UTF-8 key \"{shown}\": malformed UTF-8 or invalid codepoint"));
            return Ok(None);
        }
        let found = match &table.kind {
            Kind::Compiled(compiled) => {
                let folded = if self.options.fold { tables::fold_key(key, utf8) } else { key.to_vec() };
                compiled.get(&folded).map_err(|error| Fatal(format!("error reading {name}: {error}")))?
            }
            Kind::Other(other) => {
                let found = match std::str::from_utf8(key) {
                    Ok(key) if utf8 => other.get(key).map(|value| value.map(|v| v.as_bytes().to_vec())),
                    _ => other.get_bytes(key),
                };
                for text in table.log.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).drain(..) {
                    self.console.warn(&text);
                }
                found.map_err(|error| self.failed(name, &error.to_string()))?
            }
        };
        match found {
            Some(value) if utf8 && std::str::from_utf8(&value).is_err() => {
                let (key, value) = (self.console.shown(key), self.console.shown(&value));
                let text = format!("{name}: key \"{key}\": non-UTF-8 value \"{value}\"");
                self.console.warn(&format!("{text}: malformed UTF-8 or invalid codepoint"));
                Err(Fatal(format!("table {name}: query error")))
            }
            Some(value) if self.options.files => self.file_value(table, key, value).map(Some),
            found => Ok(found),
        }
    }

    /// A failed look-up: a warning with its reason, unless that says no more.
    fn failed(&mut self, name: &str, reason: &str) -> Fatal {
        if reason.starts_with("table fail:") || reason.ends_with(": query error") {
            return Fatal(format!("table {name}: query error: Application error"));
        }
        self.console.warn(reason);
        Fatal(format!("table {name}: query error"))
    }

    /// With `-F`, values of compiled tables are Base64, those of others are names of files.
    pub(super) fn file_value(&mut self, table: &QueryTable, key: &[u8], value: Vec<u8>) -> Result<Vec<u8>, Fatal> {
        let name = &table.name;
        if let Kind::Other(_) = table.kind {
            return files(&value).map_err(Fatal);
        }
        crate::base64::decode(&value).ok_or_else(|| {
            let start = &value[..value.len().min(30)];
            let (key, value) = (self.console.shown(key), self.console.shown(start));
            self.console.warn(&format!("table {name}: key {key}: malformed BASE64 value: {value}"));
            Fatal(format!("table {name}: query error"))
        })
    }
}

/// The contents of files, named in a list, with a newline between them. The error is Postfix's text.
pub(super) fn files(list: &[u8]) -> Result<Vec<u8>, String> {
    use std::os::unix::ffi::OsStrExt;
    let names = list.split(|byte| matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n')).filter(|name| !name.is_empty());
    let mut text = Vec::new();
    let mut any = false;
    for name in names {
        let path = Path::new(std::ffi::OsStr::from_bytes(name));
        let failed =
            |what: &str, error: std::io::Error| format!("{what} {}: {}", path.display(), output::io_text(&error));
        let mut file = std::fs::File::open(path).map_err(|error| failed("open", error))?;
        if any {
            text.push(b'\n');
        }
        any = true;
        std::io::Read::read_to_end(&mut file, &mut text).map_err(|error| failed("read", error))?;
    }
    if any { Ok(text) } else { Err("empty pathname list".to_owned()) }
}

/// A reference without a name.
pub(super) fn no_name(kind: &str, name: &str) -> Fatal {
    Fatal(format!("open dictionary: expecting \"type:name\" form instead of \"{kind}:{name}\""))
}

/// How messages name a compiled table.
pub(super) fn compiled_name(kind: &str, format: Format, name: &str) -> String {
    match format {
        Format::Lmdb => format!("{kind}:{name}"),
        _ => format!("{kind}:{}", format.path(name).display()),
    }
}

/// Why a table type can't be had at all.
pub(super) fn unsupported(kind: &str) -> String {
    format!("unsupported dictionary type: {kind}; use hash, btree, lmdb or cdb in its place")
}

/// Postfix's reminder to run postmap again. A source that was changed this minute may be on its way.
pub(super) fn warn_if_older(path: &Path, source: &Path, console: &mut Console) {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok().map(whole_seconds);
    let (Some(table), Some(text)) = (modified(path), modified(source)) else { return };
    let settled =
        SystemTime::now().checked_sub(Duration::from_secs(100)).is_some_and(|then| text < whole_seconds(then));
    if text > table && settled {
        console.warn(&format!("database {} is older than source file {}", path.display(), source.display()));
    }
}

fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
