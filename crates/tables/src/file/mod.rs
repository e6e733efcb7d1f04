//! Tables in files: text maps, and the databases postmap(1) makes of them.
//!
//! All are read into memory whole; a look-up touches no file. A changed file is read again by
//! [`crate::TableSet::refresh`].

mod alias;
mod bdb;
mod bdb_btree;
mod bdb_hash;
mod bdb_order;
mod bdb_write;
mod cdb;
mod cdb_write;
pub mod database;
mod index;
mod lmdb;
mod replace;
pub mod source;
mod text;

use crate::open::{OpenFailure, OpenOptions, Opened, cannot_open};
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use config::{Diagnostic, Span};
use index::{Added, Index};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use text::pair_key;

/// Larger files are refused rather than read into memory.
const FILE_LIMIT: u64 = 8 << 30;

/// Longer text files are refused.
pub(crate) const TEXT_LIMIT: u64 = 2 << 30;

/// Read a whole file, or say why not in Postfix's words. With `lock`, a postmap at work is waited for.
pub(crate) fn slurp(file: &WatchedFile, what: &str, lock: bool) -> Result<Vec<u8>, OpenFailure> {
    let path = file.path();
    let failed = |error| OpenFailure::watching(cannot_open(what, path, &error), file.clone());
    let mut open = File::open(path).map_err(failed)?;
    let meta = open.metadata().map_err(failed)?;
    let limit = if lock { FILE_LIMIT } else { TEXT_LIMIT };
    if !meta.is_file() || meta.len() > limit {
        let kind = if meta.is_file() { std::io::ErrorKind::FileTooLarge } else { std::io::ErrorKind::InvalidInput };
        let text = if meta.is_file() { "file too large" } else { "not a regular file" };
        return Err(failed(std::io::Error::new(kind, text)));
    }
    if lock {
        open.lock_shared().map_err(failed)?;
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    // One byte more than allowed: a file that grows while it is read ends here.
    open.by_ref().take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The path with a suffix added, as in `access` and `access.db`.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// `hash:` and `btree:`: from the source text if it is there and not older than the compiled file, else from that.
///
/// Postfix reads only the compiled file and warns when the source is newer; here postmap need not be run at all.
pub(crate) fn bdb_or_text(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let path = options.path(spec.name);
    let source = WatchedFile::now(&path);
    let compiled = WatchedFile::now(with_suffix(&path, ".db"));
    let take_source = source.existed() && (!compiled.existed() || source.modified() >= compiled.modified());
    let result =
        if take_source { from_text(&source, options, text::Wording::Postmap) } else { from_bdb(&compiled, options) };
    watched(result, [source, compiled])
}

fn from_text(source: &WatchedFile, options: &OpenOptions, wording: text::Wording) -> Result<Opened, OpenFailure> {
    let bytes = slurp(source, "database ", false)?;
    let (table, warnings) = text::read(&bytes, source.path(), options, wording)?;
    Ok(Opened { table, warnings, files: Vec::new() })
}

fn from_bdb(compiled: &WatchedFile, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let bytes = slurp(compiled, "database ", true)?;
    let mut pairs = Pairs::new(options, bytes.len());
    let result = bdb::read(&bytes, |key, value| pairs.add(key, value)).map_err(|error| error.to_string());
    pairs.finish(compiled.path(), result)
}

/// A table of pairs from its source text, whatever type it has.
pub(crate) fn from_source(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    from_text(&WatchedFile::now(options.path(spec.name)), options, text::Wording::Postmap)
}

/// Whatever became of it, these files are watched.
fn watched(
    result: Result<Opened, OpenFailure>,
    files: impl IntoIterator<Item = WatchedFile>,
) -> Result<Opened, OpenFailure> {
    let files = files.into_iter().collect();
    match result {
        Ok(opened) => Ok(Opened { files, ..opened }),
        Err(failure) => Err(OpenFailure { files, ..failure }),
    }
}

/// `texthash:`.
pub(crate) fn texthash(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let source = WatchedFile::now(options.path(spec.name));
    let result = from_text(&source, options, text::Wording::Texthash);
    watched(result, [source])
}

/// `cdb:`.
pub(crate) fn cdb(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let file = WatchedFile::now(with_suffix(&options.path(spec.name), ".cdb"));
    let result = slurp(&file, "database ", true).and_then(|bytes| {
        let mut pairs = Pairs::new(options, bytes.len());
        let result = cdb::read(&bytes, |key, value| pairs.add(key, value)).map_err(|error| error.to_string());
        pairs.finish(file.path(), result)
    });
    watched(result, [file])
}

/// `lmdb:`.
pub(crate) fn lmdb(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let file = WatchedFile::now(with_suffix(&options.path(spec.name), ".lmdb"));
    let result = from_lmdb(&file, options);
    watched(result, [file])
}

fn from_lmdb(file: &WatchedFile, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let failed = |error| OpenFailure::from(cannot_open("database ", file.path(), &error));
    let open = File::open(file.path()).map_err(failed)?;
    open.lock_shared().map_err(failed)?;
    let size = open.metadata().map_err(failed)?.len().min(FILE_LIMIT) as usize;
    let mut pairs = Pairs::new(options, size / 2);
    let result = lmdb::read(file.path(), |key, value| pairs.add(key, value));
    pairs.finish(file.path(), result)
}

/// Gathers the pairs of a compiled table.
struct Pairs {
    index: Index,
    not_utf8: usize,
    full: bool,
}

impl Pairs {
    fn new(options: &OpenOptions, size: usize) -> Self {
        Self { index: Index::new(options.fold, size), not_utf8: 0, full: false }
    }

    /// Keys are taken as they are: a key that was made with capitals isn't found in Postfix either.
    fn add(&mut self, key: &[u8], value: &[u8]) {
        match (std::str::from_utf8(key), std::str::from_utf8(value)) {
            (Ok(key), Ok(value)) => self.full |= self.index.add(key, value) == Added::Full,
            _ => self.not_utf8 += 1,
        }
    }

    fn finish(mut self, path: &Path, result: Result<(), String>) -> Result<Opened, OpenFailure> {
        let file: Arc<str> = path.display().to_string().into();
        let place = Some(Span::new(file.clone(), 0));
        let result = if self.full { Err("the table is larger than 4 GiB".to_owned()) } else { result };
        if let Err(text) = result {
            let error = Diagnostic::error("table-corrupt", format!("open database {file}: {text}"));
            return Err(error.at(place).help("make the file anew with postmap").into());
        }
        self.index.shrink();
        let mut warnings = Vec::new();
        if self.not_utf8 > 0 {
            let text = format!("{file}: {} entries are not UTF-8 -- ignoring them", self.not_utf8);
            warnings.push(Diagnostic::warning("table-utf8", text).at(place).help("save the source file in UTF-8"));
        }
        Ok(Opened { table: Arc::new(self.index), warnings, files: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open;
    use std::fs;
    use std::time::{Duration, SystemTime};

    fn age(path: &Path, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn the_newer_of_source_and_compiled_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (source, compiled) = (dir.path().join("t"), dir.path().join("t.db"));
        let value = || {
            let opened = open("hash:t", &OpenOptions::new(dir.path())).map_err(|errors| errors[0].message.clone());
            opened.map(|opened| opened.table.get("key1").unwrap().map(|value| value.to_string()))
        };
        assert_eq!(value(), Err(format!("open database {}: No such file or directory", compiled.display())));
        fs::write(&compiled, include_bytes!("../../tests/fixtures/hash.db")).unwrap();
        age(&compiled, 1000);
        assert_eq!(value(), Ok(Some("value 1".to_owned())));
        fs::write(&source, "key1 text\n").unwrap();
        for (seconds, expected) in [(999, "value 1"), (1000, "text"), (1001, "text")] {
            age(&source, seconds);
            assert_eq!(value(), Ok(Some(expected.to_owned())), "{seconds}");
        }
        fs::remove_file(&compiled).unwrap();
        assert_eq!(value(), Ok(Some("text".to_owned())));
    }

    #[test]
    fn garbage_and_folders_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        for suffix in ["db", "cdb", "lmdb"] {
            fs::write(dir.path().join(format!("t.{suffix}")), [0x5a; 5000]).unwrap();
        }
        fs::create_dir(dir.path().join("folder")).unwrap();
        let message = |spec: &str| open(spec, &OpenOptions::new(dir.path())).err().unwrap().remove(0).message;
        let file = |suffix: &str| format!("open database {}/t.{suffix}: ", dir.path().display());
        assert_eq!(message("hash:t"), file("db") + "not a Berkeley DB hash or btree file");
        assert_eq!(message("cdb:t"), file("cdb") + "not a cdb file, or truncated");
        assert!(message("lmdb:t").starts_with(&file("lmdb")));
        assert_eq!(message("cidr:folder"), format!("open {}/folder: not a regular file", dir.path().display()));
    }
}
