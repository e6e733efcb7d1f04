//! Compiled tables as postmap(1) keeps them: hash, btree, lmdb and cdb files, read whole, changed in memory, and
//! written anew.
//!
//! Keys and values are bytes as they are in the file, with the NUL that postmap puts behind them (or not). A file is
//! replaced in one step: whatever goes wrong before, the old one stays.

use super::bdb_order::{self, Access};
use super::replace::Replacement;
use super::{FILE_LIMIT, bdb_btree, bdb_hash, cdb, cdb_write, lmdb, with_suffix};
use crate::open::io_text;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::fs::File;
use std::hash::BuildHasher;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A kind of compiled table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Berkeley DB, hash.
    Hash,
    /// Berkeley DB, btree.
    Btree,
    /// LMDB.
    Lmdb,
    /// A constant database.
    Cdb,
}

impl Format {
    /// The format of a table type.
    pub fn of(kind: &str) -> Option<Self> {
        match kind {
            "hash" => Some(Self::Hash),
            "btree" => Some(Self::Btree),
            "lmdb" => Some(Self::Lmdb),
            "cdb" => Some(Self::Cdb),
            _ => None,
        }
    }

    /// The file that belongs to a table name.
    pub fn path(self, name: &str) -> PathBuf {
        let suffix = match self {
            Self::Hash | Self::Btree => ".db",
            Self::Lmdb => ".lmdb",
            Self::Cdb => ".cdb",
        };
        with_suffix(Path::new(name), suffix)
    }

    /// Do keys come in order?
    fn is_sorted(self) -> bool {
        matches!(self, Self::Btree | Self::Lmdb)
    }
}

/// The text of an error, in Postfix's words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DatabaseError(String);

/// What to do with a key that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Keep the first value.
    Keep,
    /// Take the new one.
    Replace,
}

/// What became of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is in, or took the place of the old one.
    Yes,
    /// The key was there already, and the old value stays.
    Duplicate,
}

type Pair = (Box<[u8]>, Box<[u8]>);

/// The contents of a compiled table.
pub struct Database {
    format: Format,
    /// In the order of the file; what is deleted leaves a gap.
    pairs: Vec<Option<Pair>>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// LMDB's limit for keys.
const LMDB_KEY: usize = 511;

impl Database {
    /// An empty one.
    pub fn new(format: Format) -> Self {
        Self { format, pairs: Vec::new(), index: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }

    /// Read a file, under the lock that its writers respect.
    pub fn read(format: Format, path: &Path) -> Result<Self, DatabaseError> {
        let failed = |error: std::io::Error| open_error(path, &error);
        let file = File::open(path).map_err(failed)?;
        file.lock_shared().map_err(failed)?;
        Self::read_locked(format, path, file)
    }

    /// Read a file that is locked already.
    fn read_locked(format: Format, path: &Path, file: File) -> Result<Self, DatabaseError> {
        let mut database = Self::new(format);
        let mut add = |key: &[u8], value: &[u8]| database.add(key, value);
        if format == Format::Lmdb {
            lmdb::read_raw(path, &mut add).map_err(|text| corrupt(path, &text))?;
            return Ok(database);
        }
        let mut bytes = Vec::new();
        file.take(FILE_LIMIT).read_to_end(&mut bytes).map_err(|error| open_error(path, &error))?;
        match format {
            Format::Cdb => cdb::read_raw(&bytes, add).map_err(|_| {
                DatabaseError(format!("dict_cdbq_open: unable to init {}: Protocol error", path.display()))
            })?,
            _ => {
                let access = if format == Format::Hash { Access::Hash } else { Access::Btree };
                bdb_order::walk(&bytes, access, add).map_err(|_| corrupt(path, "Invalid argument"))?;
            }
        }
        Ok(database)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        // A file may have a key twice (cdb); the first is what a look-up finds.
        let hash = self.hasher.hash_one(key);
        if self.place(hash, key).is_none() {
            self.insert(hash, key, value);
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8], value: &[u8]) {
        let Ok(place) = u32::try_from(self.pairs.len()) else { return };
        self.pairs.push(Some((key.into(), value.into())));
        let (pairs, hasher) = (&self.pairs, &self.hasher);
        self.index.insert_unique(hash, place, |&place| hasher.hash_one(key_at(pairs, place)));
    }

    fn place(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(hash, |&place| key_at(&self.pairs, place) == key).copied()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let place = self.place(self.hasher.hash_one(key), key)?;
        self.pairs.get(place as usize)?.as_ref().map(|(_, value)| &**value)
    }

    /// As [`Database::get`]; a key that can't be in such a table is an error.
    pub fn find(&self, key: &[u8]) -> Result<Option<&[u8]>, DatabaseError> {
        self.check(key)?;
        Ok(self.get(key))
    }

    fn check(&self, key: &[u8]) -> Result<(), DatabaseError> {
        if self.format == Format::Lmdb && !(1..=LMDB_KEY).contains(&key.len()) {
            let text = "MDB_BAD_VALSIZE: Unsupported size of key/DB name/data, or wrong DUPFIXED size";
            return Err(DatabaseError(text.to_owned()));
        }
        Ok(())
    }

    /// Put a pair in.
    pub fn put(&mut self, key: &[u8], value: &[u8], existing: Existing) -> Result<Stored, DatabaseError> {
        self.check(key)?;
        let hash = self.hasher.hash_one(key);
        match self.place(hash, key).and_then(|place| self.pairs.get_mut(place as usize)) {
            Some(_) if existing == Existing::Keep => return Ok(Stored::Duplicate),
            Some(pair) => *pair = Some((key.into(), value.into())),
            None => self.insert(hash, key, value),
        }
        Ok(Stored::Yes)
    }

    /// Take a key out; was it there?
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let hash = self.hasher.hash_one(key);
        let found = self.index.find_entry(hash, |&place| key_at(&self.pairs, place) == key);
        let Ok(entry) = found else { return false };
        let (place, _) = entry.remove();
        self.pairs[place as usize] = None;
        true
    }

    /// All pairs, in database order.
    pub fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        let mut pairs: Vec<_> = self.pairs.iter().flatten().map(|(key, value)| (&**key, &**value)).collect();
        if self.format.is_sorted() {
            pairs.sort_unstable();
        }
        pairs
    }

    /// The file with these contents.
    fn bytes(&self) -> Result<Vec<u8>, DatabaseError> {
        let pairs = self.pairs();
        match self.format {
            Format::Hash => Ok(bdb_hash::file(&pairs)),
            Format::Btree => Ok(bdb_btree::file(&pairs)),
            _ => cdb_write::file(&pairs).map_err(|_| DatabaseError("the table is larger than 4 GiB".to_owned())),
        }
    }
}

fn key_at(pairs: &[Option<Pair>], place: u32) -> &[u8] {
    pairs.get(place as usize).and_then(Option::as_ref).map_or(&[], |(key, _)| key)
}

fn open_error(path: &Path, error: &std::io::Error) -> DatabaseError {
    corrupt(path, &io_text(error))
}

fn corrupt(path: &Path, text: &str) -> DatabaseError {
    DatabaseError(format!("open database {}: {text}", path.display()))
}

/// A table's file that is about to be replaced: other writers wait meanwhile.
pub struct Update {
    replacement: Replacement,
    format: Format,
}

impl Update {
    /// Begin. The file need not exist yet.
    pub fn begin(format: Format, path: &Path) -> Result<Self, DatabaseError> {
        let what = if format == Format::Lmdb { "open database" } else { "open" };
        let replacement = Replacement::begin(path)
            .map_err(|error| DatabaseError(format!("{what} {}: {}", path.display(), io_text(&error))))?;
        Ok(Self { replacement, format })
    }

    /// Is there a file now?
    pub fn exists(&self) -> bool {
        self.replacement.old().is_some()
    }

    /// Is the file there but empty, as a failed tool may leave it?
    pub fn is_hollow(&self) -> bool {
        self.replacement.old().and_then(|file| file.metadata().ok()).is_some_and(|meta| meta.len() == 0)
    }

    /// What is in the file now; nothing if there is none.
    pub fn contents(&self) -> Result<Database, DatabaseError> {
        let path = self.replacement.path();
        match self.replacement.old() {
            None => Ok(Database::new(self.format)),
            Some(old) => {
                let file = old.try_clone().map_err(|error| open_error(path, &error))?;
                Database::read_locked(self.format, path, file)
            }
        }
    }

    /// Replace the file. A new one gets this mode; an old one keeps its mode and owner, except that a cdb file is
    /// always new.
    pub fn commit(self, database: &Database, mode: u32) -> Result<(), DatabaseError> {
        let path = self.replacement.path().to_owned();
        let failed = |error: std::io::Error| DatabaseError(format!("open {}: {}", path.display(), io_text(&error)));
        let keep = self.format != Format::Cdb;
        if self.format == Format::Lmdb {
            let build = |temporary: &Path| lmdb::write(temporary, &database.pairs()).map_err(std::io::Error::other);
            return self.replacement.commit(mode, keep, build).map_err(failed);
        }
        let bytes = database.bytes()?;
        self.replacement.commit(mode, keep, |temporary| std::fs::write(temporary, &bytes)).map_err(failed)
    }
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
