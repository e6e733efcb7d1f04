//! File operations of the spool, with a hook that lets tests make them fail.

use super::SpoolError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// What the spool is about to do to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOperation {
    /// Make it.
    Create,
    /// Write that many bytes.
    Write(usize),
    /// Sync it (or a directory).
    Sync,
    /// Give it another name.
    Rename,
    /// Remove it.
    Remove,
}

/// How an operation is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With this kind of error, nothing done.
    Error(io::ErrorKind),
    /// Write that many bytes, then fail as on a full disk.
    ShortWrite(usize),
}

/// Asked before each operation; `None` lets it pass.
pub type FaultHook = Arc<dyn Fn(FileOperation, &Path) -> Option<Fault> + Send + Sync>;

/// File operations, with names on their errors.
#[derive(Clone, Default)]
pub(super) struct Files {
    pub hook: Option<FaultHook>,
}

fn failed(what: &'static str, path: &Path, error: io::Error) -> SpoolError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => SpoolError::NoSpace,
        _ => SpoolError::Io { what, path: path.to_owned(), error: Arc::new(error) },
    }
}

impl Files {
    fn check(&self, operation: FileOperation, path: &Path) -> io::Result<()> {
        match self.hook.as_ref().and_then(|hook| hook(operation, path)) {
            None => Ok(()),
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::ShortWrite(_)) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    pub fn make_dir(&self, path: &Path) -> Result<(), SpoolError> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("create directory", path, error)),
            _ => Ok(()),
        }
    }

    /// A new file, readable and writable by its owner only.
    pub fn create(&self, path: &Path) -> Result<File, SpoolError> {
        self.check(FileOperation::Create, path)
            .and_then(|()| OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path))
            .map_err(|error| failed("create", path, error))
    }

    pub fn open(&self, path: &Path) -> Result<File, SpoolError> {
        OpenOptions::new().read(true).write(true).open(path).map_err(|error| failed("open", path, error))
    }

    /// The lock file, locked; nothing if another process has it.
    pub fn lock(&self, path: &Path) -> Result<Option<File>, SpoolError> {
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = open.map_err(|error| failed("create", path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(failed("lock", path, error)),
        }
    }

    /// All of a file.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, SpoolError> {
        fs::read(path).map_err(|error| failed("read", path, error))
    }

    pub fn sync(&self, file: &File, path: &Path) -> Result<(), SpoolError> {
        self.check(FileOperation::Sync, path)
            .and_then(|()| file.sync_data())
            .map_err(|error| failed("sync", path, error))
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&self, path: &Path) -> Result<(), SpoolError> {
        self.check(FileOperation::Sync, path)
            .and_then(|()| File::open(path)?.sync_all())
            .map_err(|error| failed("sync", path, error))
    }

    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), SpoolError> {
        self.check(FileOperation::Rename, from)
            .and_then(|()| fs::rename(from, to))
            .map_err(|error| failed("rename", from, error))
    }

    pub fn remove(&self, path: &Path) -> Result<(), SpoolError> {
        match self.check(FileOperation::Remove, path).and_then(|()| fs::remove_file(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
            _ => Ok(()),
        }
    }

    /// Appends to a file.
    pub fn append(&self, mut file: &File, path: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
        self.check(FileOperation::Write(bytes.len()), path)
            .and_then(|()| file.write_all(bytes))
            .map_err(|error| failed("write", path, error))
    }

    /// Reads as much as there is room for.
    pub fn read_at(&self, file: &File, path: &Path, offset: u64, room: &mut [u8]) -> Result<(), SpoolError> {
        file.read_exact_at(room, offset).map_err(|error| failed("read", path, error))
    }

    /// What is written next comes at the end.
    pub fn seek_end(&self, mut file: &File, path: &Path) -> Result<(), SpoolError> {
        file.seek(SeekFrom::End(0)).map(|_| ()).map_err(|error| failed("seek", path, error))
    }

    /// Writes all slices at `offset`, in as few calls as the system allows.
    pub fn write_at(
        &self,
        mut file: &File,
        path: &Path,
        offset: u64,
        slices: &mut [IoSlice<'_>],
    ) -> Result<(), SpoolError> {
        let total = slices.iter().map(|s| s.len()).sum();
        let mut write = |mut left: &mut [IoSlice<'_>]| {
            file.seek(SeekFrom::Start(offset))?;
            while left.iter().any(|slice| !slice.is_empty()) {
                match file.write_vectored(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(n) => IoSlice::advance_slices(&mut left, n),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        let fault = self.hook.as_ref().and_then(|hook| hook(FileOperation::Write(total), path));
        let result = match fault {
            None => write(slices),
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::ShortWrite(keep)) => {
                let whole: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).take(keep).collect();
                write(&mut [IoSlice::new(&whole)]).and(Err(io::ErrorKind::StorageFull.into()))
            }
        };
        result.map_err(|error| failed("write", path, error))
    }
}

/// Names of the files in a directory.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, SpoolError> {
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    read().map_err(|error| failed("list", dir, error))
}
