//! Replacing a file in one step: the new one is written beside it, synced, and renamed over it.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that will be replaced. Postfix's tools and ours lock the file itself, so whoever writes waits here.
pub(super) struct Replacement {
    path: PathBuf,
    target: PathBuf,
    old: Option<File>,
    temporary: Temporary,
}

/// A file on its way; it is removed if it doesn't arrive.
struct Temporary {
    file: File,
    path: PathBuf,
    arrived: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.arrived {
            // Nothing can be done about a leftover, and nobody reads it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Temporary {
    /// Beside the target. Nobody else reads it before it has its mode, and nobody's link is followed.
    fn new(target: &Path) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".{}.{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let path = PathBuf::from(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path, arrived: false })
    }
}

/// The file, locked; it must be the one that has the name when the lock is granted.
fn lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let old = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        old.lock()?;
        let (locked, now) = (old.metadata()?, std::fs::metadata(path));
        if now.is_ok_and(|now| (now.dev(), now.ino()) == (locked.dev(), locked.ino())) {
            return Ok(Some(old));
        }
    }
}

impl Replacement {
    /// Lock the file, if there is one, and see that it can be replaced.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let old = lock(path)?;
        // A link is followed, as by those who write in place.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let temporary = Temporary::new(&target)?;
        Ok(Self { path: path.to_owned(), target, old, temporary })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file as it is.
    pub(super) fn old(&self) -> Option<&File> {
        self.old.as_ref()
    }

    /// Let `build` write the new file, and put it in place. An old file's mode and owner are kept if so wanted.
    pub(super) fn commit(
        mut self,
        mode: u32,
        keep: bool,
        build: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        build(&self.temporary.path)?;
        let file = &self.temporary.file;
        match self.old.as_ref().filter(|_| keep).map(File::metadata).transpose()? {
            Some(old) => {
                let new = file.metadata()?;
                if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
                    fchown(file, Some(old.uid()), Some(old.gid()))?;
                }
                file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
            }
            None => file.set_permissions(Permissions::from_mode(mode))?,
        }
        file.sync_all()?;
        std::fs::rename(&self.temporary.path, &self.target)?;
        self.temporary.arrived = true;
        Ok(())
    }
}
