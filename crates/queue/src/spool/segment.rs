//! Journal segments: their files, laid out ahead and used again.
//!
//! A segment's name holds its sequence number and its nonce. Blocks that were written once can be overwritten without
//! touching metadata, which makes a sync several times cheaper; so segments that are done are kept as spares, and a
//! thread of its own fills new ones with zeros before they are needed.

use super::SpoolError;
use super::file::Files;
use nix::fcntl::{FallocateFlags, fallocate};
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Spares kept beyond those options ask for are removed.
const MAX_SPARES: usize = 2;
/// Zeros are written in pieces of this size.
const PIECE: usize = 1 << 20;

/// One segment.
pub(super) struct Segment {
    pub sequence: u64,
    pub nonce: u64,
    pub path: Arc<Path>,
    pub file: Arc<File>,
    /// How much may be written.
    pub size: u64,
    /// How much is.
    pub used: u64,
    /// Messages whose record stands here and that aren't finished.
    pub live: u64,
    /// Bytes their records take.
    pub live_bytes: u64,
    /// Are its blocks written already, so that a sync is cheap?
    pub laid_out: bool,
}

/// A segment's file name.
pub(super) fn file_name(sequence: u64, nonce: u64) -> String {
    format!("{sequence:016x}-{nonce:016x}.seg")
}

/// Sequence number and nonce from a file name.
pub(super) fn parse_file_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, nonce) = name.strip_suffix(".seg")?.split_once('-')?;
    let hex = |text: &str| (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
    Some((hex(sequence)?, hex(nonce)?))
}

/// A number no mail client can know.
pub(super) fn new_nonce() -> u64 {
    // The standard library keys its hash maps from the system's random source.
    RandomState::new().hash_one(0u8)
}

/// Segment files waiting to be used.
pub(super) struct Spares {
    dir: PathBuf,
    files: Files,
    size: u64,
    ready: Mutex<Ready>,
}

#[derive(Default)]
struct Ready {
    spares: Vec<(PathBuf, File)>,
    next_name: u64,
}

impl Spares {
    pub fn new(dir: PathBuf, files: Files, size: u64) -> Self {
        Spares { dir, files, size, ready: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are ready.
    pub fn count(&self) -> usize {
        self.lock().spares.len()
    }

    fn next_path(&self) -> PathBuf {
        let mut ready = self.lock();
        ready.next_name += 1;
        self.dir.join(format!("spare-{}", ready.next_name))
    }

    /// Takes over a file with this name that was laid out in an earlier run, if it has the right size.
    pub fn adopt(&self, name: &str) -> Result<(), SpoolError> {
        let path = self.dir.join(name);
        let file = self.files.open(&path)?;
        let fit = file.metadata().is_ok_and(|m| m.len() == self.size) && self.count() < MAX_SPARES;
        if !fit {
            return self.files.remove(&path);
        }
        let kept = self.next_path();
        if kept != path {
            self.files.rename(&path, &kept)?;
        }
        self.lock().spares.push((kept, file));
        Ok(())
    }

    /// Takes over the file of a segment that nothing needs any more. It is renamed or removed before this returns, so
    /// that its records can't come back.
    pub fn recycle(&self, segment: &Segment) -> Result<(), SpoolError> {
        if !segment.laid_out || segment.size != self.size || self.count() >= MAX_SPARES {
            self.files.remove(&segment.path)?;
        } else {
            let spare = self.next_path();
            self.files.rename(&segment.path, &spare)?;
            if let Ok(file) = self.files.open(&spare) {
                self.lock().spares.push((spare, file));
            }
        }
        self.files.sync_dir(&self.dir)
    }

    /// Makes a new spare, filled with zeros. Slow: for a thread of its own.
    pub fn prepare(&self) -> Result<(), SpoolError> {
        let path = self.next_path();
        let file = self.files.create(&path)?;
        let zeros = vec![0; PIECE.min(self.size as usize)];
        let mut left = self.size as usize;
        let mut filled = Ok(());
        while left > 0 && filled.is_ok() {
            let piece = left.min(zeros.len());
            filled = self.files.append(&file, &path, &zeros[..piece]);
            left -= piece;
        }
        if let Err(error) = filled.and_then(|()| self.files.sync(&file, &path)) {
            self.files.remove(&path)?;
            return Err(error);
        }
        self.lock().spares.push((path, file));
        Ok(())
    }

    /// A segment to write to, from a spare if there is one and it is large enough.
    pub fn segment(&self, sequence: u64, at_least: u64) -> Result<Segment, SpoolError> {
        let nonce = new_nonce();
        let path = self.dir.join(file_name(sequence, nonce));
        let spare = if at_least <= self.size { self.lock().spares.pop() } else { None };
        let laid_out = spare.is_some();
        let size = self.size.max(at_least);
        let file = match spare {
            Some((old, file)) => {
                self.files.rename(&old, &path)?;
                file
            }
            None => self.allocate(&path, size)?,
        };
        self.files.sync_dir(&self.dir)?;
        let file = Arc::new(file);
        let path = Arc::from(path);
        Ok(Segment { sequence, nonce, path, file, size, used: 0, live: 0, live_bytes: 0, laid_out })
    }

    fn allocate(&self, path: &Path, size: u64) -> Result<File, SpoolError> {
        let file = self.files.create(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, size as i64) {
            // Not every file system can; then space is found (or not) as it is written.
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => Ok(file),
            Err(nix::errno::Errno::ENOSPC | nix::errno::Errno::EDQUOT | nix::errno::Errno::EFBIG) => {
                self.files.remove(path)?;
                Err(SpoolError::NoSpace)
            }
            Err(errno) => {
                self.files.remove(path)?;
                Err(SpoolError::Io { what: "allocate", path: path.to_owned(), error: Arc::new(errno.into()) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        let name = file_name(18, u64::MAX);
        assert_eq!(name, "0000000000000012-ffffffffffffffff.seg");
        assert_eq!(parse_file_name(&name), Some((18, u64::MAX)));
        for bad in ["spare-1", "12-ff.seg", "0000000000000012-ffffffffffffffff", "lock"] {
            assert_eq!(parse_file_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_spare_is_used_before_a_new_file_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let spares = Spares::new(dir.path().to_owned(), Files::default(), 4096);
        assert!(!spares.segment(1, 100).unwrap().laid_out);
        spares.prepare().unwrap();
        let segment = spares.segment(2, 100).unwrap();
        assert!(segment.laid_out);
        assert_eq!(spares.count(), 0);
        let large = spares.segment(3, 10_000).unwrap();
        assert_eq!(large.size, 10_000);
        assert_eq!(std::fs::metadata(&large.path).unwrap().len(), 10_000);
    }
}
