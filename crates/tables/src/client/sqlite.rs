//! `sqlite:` tables (sqlite_table(5)).

use super::attributes::{Attributes, Read};
use super::pool::{self, Failure, Limits, Pool, Ranked, Rest};
use super::query::{self, Query};
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use crate::{LookupError, Table};
use config::Diagnostic;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many look-ups at once, each with its own connection. A look-up ends after 10 seconds, also while another process
/// writes.
const LIMITS: Limits = Limits {
    connections: 8,
    timeout: Duration::from_secs(10),
    idle: Duration::from_secs(600),
    lifetime: Duration::from_secs(3600),
    rest: Rest::For(Duration::ZERO),
};

/// The time is checked after so many steps of SQLite's machine.
const STEPS: i32 = 10_000;

/// An SQLite database with its query.
struct Sqlite {
    pool: Pool<Database>,
    query: Query,
}

impl Table for Sqlite {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        let Some(query) = self.query.text(key, |text| text.replace('\'', "''"))? else { return Ok(None) };
        let found = self.pool.ask(|database, deadline| {
            database
                .limit(deadline)
                .and_then(|()| self.run(&database.connection, &query, key))
                .map_err(Failure::Refused)
        });
        found.map_err(LookupError::new)
    }

    /// Another process may be writing.
    fn waits(&self) -> bool {
        true
    }
}

impl Sqlite {
    fn run(&self, connection: &Connection, query: &str, key: &str) -> Result<Option<Arc<str>>, String> {
        let failed = |step: &str, error: rusqlite::Error| {
            let text = match &error {
                rusqlite::Error::SqliteFailure(error, _) if error.code == ErrorCode::OperationInterrupted => {
                    format!("time limit of {} s exceeded", LIMITS.timeout.as_secs())
                }
                rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
                rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
                error => error.to_string(),
            };
            self.query.failure(format_args!("SQL {step} failed: {text}")).text().to_string()
        };
        let mut statement = connection.prepare(query).map_err(|error| failed("prepare", error))?;
        let mut rows = statement.query([]).map_err(|error| failed("step", error))?;
        let mut results = self.query.results(key);
        while let Some(row) = rows.next().map_err(|error| failed("step", error))? {
            if let Some(value) = text_of(row.get_ref(0).map_err(|error| failed("step", error))?) {
                results.add(&value).map_err(|error| error.text().to_string())?;
            }
        }
        Ok(results.finish())
    }
}

/// Where a database is.
struct File {
    path: PathBuf,
    /// As it is written, and stands in errors.
    name: String,
}

/// A connection to the file that had this name then.
struct Database {
    connection: Connection,
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl pool::Connection for Database {
    type Server = File;

    fn connect(file: &File, _deadline: Instant) -> Result<Self, String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let (path, inode) = (file.path.clone(), inode(&file.path));
        match Connection::open_with_flags(&path, flags) {
            Ok(connection) => Ok(Self { connection, path, inode }),
            Err(error) => Err(format!("SQLite open failed: {}: {}", file.name, open_text(&error))),
        }
    }

    /// Has another file taken its place?
    fn is_stale(&mut self) -> bool {
        inode(&self.path) != self.inode
    }
}

impl Database {
    /// What follows ends at the deadline.
    fn limit(&mut self, deadline: Instant) -> Result<(), String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let waits = self.connection.busy_timeout(left);
        waits
            .and_then(|()| self.connection.progress_handler(STEPS, Some(move || Instant::now() >= deadline)))
            .map_err(|error| error.to_string())
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
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
    match build(spec, options, &attributes, dbpath.as_deref(), &mut warnings) {
        Ok(table) => {
            files.extend_from_slice(table.query.files());
            Ok(Opened { table: Arc::new(table), warnings, files })
        }
        Err(diagnostic) => {
            // What changes in an open database is seen without a reload.
            files.extend(dbpath.map(|path| WatchedFile::now(options.path(&path))));
            Err(OpenFailure { diagnostics: vec![diagnostic], files })
        }
    }
}

fn build(
    spec: &TableSpec<'_>,
    options: &OpenOptions,
    attributes: &Attributes,
    dbpath: Option<&str>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Sqlite, Diagnostic> {
    let dbpath = dbpath.ok_or_else(|| attributes.missing("dbpath", "set dbpath to the name of the database file"))?;
    let query = Query::read(spec, options, attributes, &query::sql(attributes)?, warnings)?;
    let server = File { path: options.path(dbpath), name: dbpath.to_owned() };
    let pool = Pool::new(vec![Ranked { rank: 0, server }], LIMITS);
    // The first connection tells whether there is a database.
    pool.ask(|_, _| Ok(()))
        .map_err(|text| attributes.diagnostic("table-unreadable", text, "create the database, or correct dbpath"))?;
    Ok(Sqlite { pool, query })
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
