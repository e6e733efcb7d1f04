//! Reading the record.

use super::segment::{self, HEADER};
use super::stored::{Bound, Record};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The decisions of a record, oldest first, a file at a time in memory.
pub struct Reader {
    files: std::vec::IntoIter<PathBuf>,
    bytes: Vec<u8>,
    at: usize,
    texts: BTreeMap<u32, Arc<str>>,
}

impl Reader {
    /// Those of a directory.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let files = segment::files(directory)?.into_iter();
        Ok(Self { files, bytes: Vec::new(), at: 0, texts: BTreeMap::new() })
    }
}

impl Iterator for Reader {
    type Item = Record<Bound>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(((fresh, record), rest)) = segment::decode(self.bytes.get(self.at..).unwrap_or_default()) {
                self.at = self.bytes.len() - rest.len();
                self.texts.extend(fresh.into_iter().map(|(number, text)| (number, text.into())));
                return Some(record.bind(&self.texts));
            }
            // What can't be read is over: the next file has texts of its own.
            let path = self.files.next()?;
            self.texts.clear();
            self.bytes = std::fs::read(path).unwrap_or_default();
            self.at = if self.bytes.starts_with(HEADER) { HEADER.len() } else { self.bytes.len() };
        }
    }
}
