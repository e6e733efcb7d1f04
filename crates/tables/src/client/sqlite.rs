//! `sqlite:` tables (sqlite_table(5)).

use super::attributes::{Attributes, Read};
use super::query::{self, Query};
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use crate::{LookupError, Table};
use config::Diagnostic;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::sync::{Arc, Mutex};

/// An SQLite database with its query.
struct Sqlite {
    connection: Mutex<Connection>,
    query: Query,
}

impl Table for Sqlite {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        let Some(query) = self.query.text(key, |text| text.replace('\'', "''"))? else { return Ok(None) };
        let connection = self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.run(&connection, &query, key)
    }

    /// Another process may be writing.
    fn waits(&self) -> bool {
        true
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
            self.query.failure(format_args!("SQL {step} failed: {text}"))
        };
        let mut statement = connection.prepare(query).map_err(|error| failed("prepare", error))?;
        let mut rows = statement.query([]).map_err(|error| failed("step", error))?;
        let mut results = self.query.results(key);
        while let Some(row) = rows.next().map_err(|error| failed("step", error))? {
            if let Some(value) = text_of(row.get_ref(0).map_err(|error| failed("step", error))?) {
                results.add(&value)?;
            }
        }
        Ok(results.finish())
    }
}

/// A column as SQLite would print it; `None` for NULL.
fn text_of(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(format!("{number:?}")),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// Open a table from its file of attributes, or from `NAME_dbpath` and so on in main.cf.
pub(super) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let Read { attributes, mut files, mut warnings } = Attributes::read(spec, options)?;
    let dbpath = attributes.text("dbpath");
    files.extend(dbpath.as_ref().map(|path| WatchedFile::now(options.path(path))));
    match build(spec, options, &attributes, dbpath, &mut warnings) {
        Ok(table) => {
            files.extend_from_slice(table.query.files());
            Ok(Opened { table: Arc::new(table), warnings, files })
        }
        Err(diagnostic) => Err(OpenFailure { diagnostics: vec![diagnostic], files }),
    }
}

fn build(
    spec: &TableSpec<'_>,
    options: &OpenOptions,
    attributes: &Attributes,
    dbpath: Option<String>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Sqlite, Diagnostic> {
    let dbpath = dbpath.ok_or_else(|| attributes.missing("dbpath", "set dbpath to the name of the database file"))?;
    let query = Query::read(spec, options, attributes, &query::sql(attributes)?, warnings)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(options.path(&dbpath), flags).map_err(|error| {
        let text = format!("SQLite open failed: {dbpath}: {}", open_text(&error));
        attributes.diagnostic("table-unreadable", text, "create the database, or correct dbpath")
    })?;
    Ok(Sqlite { connection: Mutex::new(connection), query })
}

fn open_text(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => code.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
