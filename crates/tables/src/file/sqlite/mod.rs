//! `sqlite:` tables (sqlite_table(5)).
//!
//! A look-up runs a statement and may wait for the disk; callers put it on a pool for blocking work.

mod expansion;

use crate::fold::fold_if;
use crate::lines::{LogicalLines, Warnings};
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use crate::{Log, LookupError, ParameterLookup, Table};
use config::{Diagnostic, Span};
use expansion::{Template, Values};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// An SQLite database with its query.
struct Sqlite {
    connection: Mutex<Connection>,
    query: Template,
    result_format: Template,
    /// `domain`: only keys in these domains are asked; empty means all.
    domains: Vec<String>,
    expansion_limit: usize,
    fold: bool,
    name: Box<str>,
    spec: Box<str>,
    log: Option<Log>,
}

impl Table for Sqlite {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        let key = fold_if(self.fold, key);
        let values = Values::of(&key);
        if !self.domains.is_empty() && !values.is_user_in(&self.domains) {
            return Ok(None);
        }
        let quote = |text: &str| text.replace('\'', "''");
        let Some(query) = self.query.expand(&values, &values, quote) else { return Ok(None) };
        if query.contains('\0') {
            return Ok(None);
        }
        let connection = self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.run(&connection, &query, &key)
    }
}

impl Sqlite {
    fn run(&self, connection: &Connection, query: &str, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        let failed = |step: &str, error: rusqlite::Error| {
            let text = match &error {
                rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
                rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
                error => error.to_string(),
            };
            LookupError::new(format!("dict_sqlite_lookup: {}: SQL {step} failed: {text}", self.name))
        };
        let mut statement = connection.prepare(query).map_err(|error| failed("prepare", error))?;
        let mut rows = statement.query([]).map_err(|error| failed("step", error))?;
        let (mut result, mut count) = (String::new(), 0usize);
        while let Some(row) = rows.next().map_err(|error| failed("step", error))? {
            let value = text_of(row.get_ref(0).map_err(|error| failed("step", error))?);
            if value.is_empty() {
                self.warn(&format!("table \"{}\": empty lookup result for: \"{key}\" -- ignored", self.spec));
                continue;
            }
            let values = Values::of(&value);
            let Some(text) = self.result_format.expand(&values, &Values::of(key), str::to_owned) else { continue };
            count += 1;
            if self.expansion_limit > 0 && count > self.expansion_limit {
                let text = format!("dict_sqlite_lookup: {}: Expansion limit exceeded for key '{key}'", self.name);
                return Err(LookupError::new(text));
            }
            if !result.is_empty() {
                result.push(',');
            }
            result.push_str(&text);
            if result.len() > RESULT_LIMIT {
                let text = format!("dict_sqlite_lookup: {}: result is too large for key '{key}'", self.name);
                return Err(LookupError::new(text));
            }
        }
        Ok((!result.is_empty()).then(|| result.into()))
    }

    fn warn(&self, text: &str) {
        if let Some(log) = &self.log {
            log(text);
        }
    }
}

/// Longer results are refused.
const RESULT_LIMIT: usize = 1 << 20;

/// A column as SQLite would print it.
fn text_of(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Open a table from its file of attributes, or from `NAME_dbpath` and so on in main.cf.
pub(super) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let (attributes, mut files, mut warnings) = if spec.name.starts_with(['/', '.']) {
        let file = WatchedFile::now(options.path(spec.name));
        let (attributes, warnings) = read(&file)?;
        (attributes, vec![file], warnings)
    } else {
        let attributes = Attributes::MainCf(options.parameter.clone(), spec.name.to_owned());
        (attributes, Vec::new(), Vec::new())
    };
    let dbpath = attributes.get("dbpath").filter(|path| !path.is_empty());
    if let Some(path) = &dbpath {
        files.push(WatchedFile::now(options.path(path)));
    }
    let place = match &attributes {
        Attributes::File(_) => Some(Span::new(options.path(spec.name).display().to_string(), 0)),
        Attributes::MainCf(..) => options.span.clone(),
    };
    match build(spec, options, &attributes, dbpath, &mut warnings) {
        Ok(table) => Ok(Opened { table: Arc::new(table), warnings, files }),
        Err(diagnostic) => Err(OpenFailure { diagnostics: vec![diagnostic.at(place)], files }),
    }
}

fn build(
    spec: &TableSpec<'_>,
    options: &OpenOptions,
    attributes: &Attributes,
    dbpath: Option<String>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Sqlite, Diagnostic> {
    let bad = |code, text: String, help: &str| Diagnostic::error(code, format!("{}: {text}", spec.name)).help(help);
    let empty = |name: &str| format!("bad string length 0 < 1: {name} =");
    let dbpath =
        dbpath.ok_or_else(|| bad("table-attribute", empty("dbpath"), "set dbpath to the name of the database file"))?;
    let query = match attributes.get("query").filter(|query| !query.is_empty()) {
        Some(query) => query,
        None => legacy_query(attributes).map_err(|name| {
            bad("table-attribute", empty(name), "set query to an SQL statement with '%s' for the key")
        })?,
    };
    let template = |text: &str| {
        Template::parse(text).map_err(|()| {
            let text = format!("Invalid query template: {text}");
            bad(
                "table-attribute",
                text,
                "write %s, %u, %d, %1 to %9 or their capitals after %, or %% for a percent sign",
            )
        })
    };
    let limit = attributes.get("expansion_limit").unwrap_or_else(|| "0".to_owned());
    let expansion_limit = limit.parse().map_err(|_| {
        bad(
            "table-attribute",
            format!("bad numerical value: expansion_limit = {limit}"),
            "write a number; 0 is no limit",
        )
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(options.path(&dbpath), flags).map_err(|error| {
        let text = format!("SQLite open failed: {dbpath}: {}", open_text(&error));
        bad("table-unreadable", text, "create the database, or correct dbpath")
    })?;
    Ok(Sqlite {
        connection: Mutex::new(connection),
        query: template(&query)?,
        result_format: template(&attributes.get("result_format").unwrap_or_else(|| "%s".to_owned()))?,
        domains: domains(attributes, spec.name, warnings),
        expansion_limit,
        fold: options.fold,
        name: spec.name.into(),
        spec: spec.spec.into(),
        log: options.log.clone(),
    })
}

fn open_text(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => code.to_string(),
        error => error.to_string(),
    }
}

/// The query of the days before `query`; the error is the attribute that is missing.
fn legacy_query(attributes: &Attributes) -> Result<String, &'static str> {
    let get = |name: &'static str| attributes.get(name).filter(|value| !value.is_empty()).ok_or(name);
    let (table, field, key) = (get("table")?, get("select_field")?, get("where_field")?);
    let more = attributes.get("additional_conditions").unwrap_or_default();
    Ok(format!("SELECT {field} FROM {table} WHERE {key}='%s' {more}"))
}

/// `domain`, as far as it names domains.
fn domains(attributes: &Attributes, name: &str, warnings: &mut Vec<Diagnostic>) -> Vec<String> {
    let list = attributes.get("domain").unwrap_or_default();
    let mut domains = Vec::new();
    for member in crate::spec::members(&list) {
        if member.contains(['/', ':', '!']) {
            let text = format!("{name}: domain = {member}: only plain domain names are supported -- ignoring this one");
            warnings.push(Diagnostic::warning("table-attribute", text).help("list the domains one by one"));
        } else {
            domains.push(crate::fold::fold(member).into_owned());
        }
    }
    // A list of which nothing is left must not turn into "all domains".
    if domains.is_empty() && !list.trim().is_empty() {
        domains.push(String::new());
    }
    domains
}

/// Where attributes come from.
enum Attributes {
    File(HashMap<String, String>),
    MainCf(Option<ParameterLookup>, String),
}

impl Attributes {
    fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::File(values) => values.get(name).cloned(),
            Self::MainCf(parameter, prefix) => parameter.as_ref()?(&format!("{prefix}_{name}")),
        }
    }
}

/// An attribute file: `name = value`, the last one counts.
fn read(file: &WatchedFile) -> Result<(Attributes, Vec<Diagnostic>), OpenFailure> {
    let bytes = super::slurp(file, "", false)?;
    let mut warnings = Warnings::new(Path::new(file.path()));
    let mut values = HashMap::new();
    for line in LogicalLines::new(&bytes) {
        let line = line.map_err(|long| OpenFailure::watching(warnings.too_long(long), file.clone()))?;
        let Some(text) = warnings.usable(&line) else { continue };
        match text.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
                values.insert(name.to_owned(), value.to_owned());
            }
            _ => warnings.add(line.number, "table-line", "write name = value", |file| {
                format!("{file}, line {}: missing '=' after attribute name: \"{text}\"", line.number)
            }),
        }
    }
    Ok((Attributes::File(values), warnings.finish()))
}

#[cfg(test)]
mod tests;
