//! Has a table's file changed since it was read? One stat(2) a file, no reading.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What stat(2) says; any difference means "read it again".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    changed: (i64, i64),
    length: u64,
    inode: (u64, u64),
}

/// A file as it was when its table was read; `None` when it wasn't there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedFile {
    path: PathBuf,
    stamp: Option<Stamp>,
}

impl WatchedFile {
    /// Remember a file as it is now. To be called before it is read: a change in between is then seen as a change.
    pub fn now(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let stamp = stamp(&path);
        Self { path, stamp }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Was it there?
    pub fn existed(&self) -> bool {
        self.stamp.is_some()
    }

    /// When it was last modified.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        self.stamp.and_then(|stamp| stamp.modified)
    }

    /// Is it another file now, or changed, gone or new?
    pub fn has_changed(&self) -> bool {
        stamp(&self.path) != self.stamp
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: meta.modified().ok(),
        changed: (meta.ctime(), meta.ctime_nsec()),
        length: meta.len(),
        inode: (meta.dev(), meta.ino()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_a_change_a_removal_and_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let absent = WatchedFile::now(&path);
        assert!(!absent.existed() && !absent.has_changed());
        std::fs::write(&path, "a b\n").unwrap();
        assert!(absent.has_changed());
        let seen = WatchedFile::now(&path);
        assert!(!seen.has_changed());
        std::fs::write(&path, "a bc\n").unwrap();
        assert!(seen.has_changed());
        std::fs::remove_file(&path).unwrap();
        assert!(seen.has_changed());
    }
}
