//! Opening a table by its `type:name`.

use crate::spec::{self, TableSpec};
use crate::watch::WatchedFile;
use crate::{Log, LookupError, ParameterLookup, Table, client, file, live, pattern, small};
use config::{Diagnostic, Span};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Compound tables (`unionmap:{…}`, `proxy:…`) nest no deeper than this.
const NESTING: usize = 16;

/// How tables are opened. Cheap to clone; a [`crate::TableSet`] keeps it for its refreshes.
#[derive(Clone)]
pub struct OpenOptions {
    /// Relative table names start here (a daemon's queue directory, a command's working directory).
    pub directory: PathBuf,
    /// Fold the case of fixed keys, at load and at look-up (`postmap -f` switches it off).
    pub fold: bool,
    /// `sqlite:name` with `name_dbpath`, `name_query`… in main.cf; `None`: no parameters.
    pub parameter: Option<ParameterLookup>,
    /// Members of `proxy_read_maps`, expanded; `None` allows every `proxy:` table.
    pub proxy_read_maps: Option<Arc<[String]>>,
    /// Where run-time warnings go.
    pub log: Option<Log>,
    /// Where the reference is written, for diagnostics about the reference itself.
    pub span: Option<Span>,
    /// Every value is the number of the line that its entry is written in.
    pub(crate) numbered: bool,
}

impl OpenOptions {
    /// The usual ones, with relative names starting at `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { directory, fold: true, parameter: None, proxy_read_maps: None, log: None, span: None, numbered: false }
    }

    /// A table's file, made absolute.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// An error about the reference itself.
    pub(crate) fn error(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message).at(self.span.clone())
    }
}

/// An open table and what was noticed on the way.
#[derive(Clone)]
pub struct Opened {
    /// The table.
    pub table: Arc<dyn Table>,
    /// Skipped lines, duplicates and the like.
    pub warnings: Vec<Diagnostic>,
    /// The files it was read from, as they were then.
    pub files: Vec<WatchedFile>,
}

impl Opened {
    /// A table with no file behind it.
    pub(crate) fn plain(table: impl Table + 'static) -> Self {
        Self { table: Arc::new(table), warnings: Vec::new(), files: Vec::new() }
    }
}

/// Why a table could not be opened. The files are watched, so that a refresh can try again.
pub(crate) struct OpenFailure {
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) files: Vec<WatchedFile>,
}

impl From<Diagnostic> for OpenFailure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic], files: Vec::new() }
    }
}

impl OpenFailure {
    /// A failure to read a file that may come right later.
    pub(crate) fn watching(diagnostic: Diagnostic, file: WatchedFile) -> Self {
        Self { diagnostics: vec![diagnostic], files: vec![file] }
    }
}

/// Open a table. Errors come all at once, with the place and the remedy.
pub fn open(spec: &str, options: &OpenOptions) -> Result<Opened, Vec<Diagnostic>> {
    open_nested(spec, options, 0).map_err(|failure| failure.diagnostics)
}

/// As [`open`], inside `depth` compound tables.
pub(crate) fn open_nested(spec: &str, options: &OpenOptions, depth: usize) -> Result<Opened, OpenFailure> {
    if depth > NESTING {
        return Err(options.error("table-nesting", format!("table \"{spec}\" is nested too deeply")).into());
    }
    let parsed = TableSpec::parse(spec).map_err(|message| {
        options.error("table-syntax", message).help("write type:name, for example hash:/etc/postfix/access")
    })?;
    let name = parsed.name;
    match parsed.kind {
        "hash" | "btree" => file::bdb_or_text(&parsed, options),
        "texthash" => file::texthash(&parsed, options),
        "lmdb" => file::lmdb(&parsed, options),
        "cdb" => file::cdb(&parsed, options),
        "sqlite" => client::sqlite(&parsed, options),
        #[cfg(feature = "ldap")]
        "ldap" => client::ldap(&parsed, options),
        #[cfg(feature = "mysql")]
        "mysql" => client::mysql(&parsed, options),
        #[cfg(feature = "pgsql")]
        "pgsql" => client::pgsql(&parsed, options),
        #[cfg(feature = "redis")]
        "redis" => client::redis(&parsed, options),
        "tcp" => client::tcp(&parsed, options),
        "socketmap" => client::socketmap(&parsed, options),
        "memcache" => client::memcache(&parsed, options, depth),
        "regexp" => pattern::regexp(&parsed, options),
        "pcre" => pattern::pcre(&parsed, options),
        "cidr" => pattern::cidr(&parsed, options),
        "inline" => small::inline(&parsed, options),
        "static" => small::constant(&parsed, options),
        "randmap" => small::randmap(&parsed, options),
        "fail" => Ok(Opened::plain(small::Fail::new(spec))),
        "environ" => Ok(Opened::plain(small::Environ { fold: options.fold })),
        "unix" => live::unix(&parsed, options),
        "unionmap" => small::unionmap(&parsed, options, depth),
        "pipemap" => small::pipemap(&parsed, options, depth),
        "proxy" => small::proxy(name, options, depth),
        "debug" => small::debug(name, options, depth),
        kind => Err(spec::unsupported(kind, options).into()),
    }
}

/// The error for a file that can't be opened, in Postfix's words.
pub(crate) fn cannot_open(what: &str, path: &Path, error: &std::io::Error) -> Diagnostic {
    let file = path.display().to_string();
    let diagnostic = Diagnostic::error("table-unreadable", format!("open {what}{file}: {}", io_text(error)));
    let help = match error.kind() {
        std::io::ErrorKind::NotFound => "create the file, or correct its name in the table reference",
        std::io::ErrorKind::PermissionDenied => "let the user that postern runs as read the file",
        _ => "make the file a readable regular file",
    };
    diagnostic.at(Some(Span::new(file, 0))).help(help)
}

/// An operating system error without Rust's "(os error N)".
pub(crate) fn io_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The table that stands in for one that couldn't be opened: every look-up fails, as in Postfix.
pub(crate) struct Unavailable {
    pub(crate) error: LookupError,
}

impl Unavailable {
    /// `TYPE:NAME is unavailable. REASON`.
    pub(crate) fn new(spec: &str, reason: &str) -> Self {
        Self { error: LookupError::new(format!("{spec} is unavailable. {reason}")) }
    }
}

impl Table for Unavailable {
    fn get(&self, _key: &str) -> Result<Option<Arc<str>>, LookupError> {
        Err(self.error.clone())
    }
}
