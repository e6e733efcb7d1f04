//! Reads and writes LMDB files as made by postmap(1).
#![allow(unsafe_code)]

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags, EnvOpenOptions};
use std::path::Path;
use std::sync::Mutex;

/// Two environments on one file in one process are not allowed; opening is rare, so one at a time is enough.
static OPENING: Mutex<()> = Mutex::new(());

/// Hand every key and value to `each`. NULs at their ends are already gone.
pub(crate) fn read(path: &Path, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), String> {
    read_raw(path, |key, value| {
        each(key.strip_suffix(&[0]).unwrap_or(key), value.strip_suffix(&[0]).unwrap_or(value));
    })
}

/// As [`read`], with the NULs. The file is closed afterwards: nothing stays mapped that another program could truncate
/// under us.
pub(crate) fn read_raw(path: &Path, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), String> {
    let _one = OPENING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut options = EnvOpenOptions::new();
    let flags = EnvFlags::NO_SUB_DIR | EnvFlags::READ_ONLY | EnvFlags::NO_LOCK;
    // SAFETY: the flags are sound for a reader that is protected from writers otherwise: the caller holds the shared
    // lock that Postfix's writers take exclusively. NO_SUB_DIR and READ_ONLY only say what kind of file it is.
    unsafe { options.flags(flags) };
    // SAFETY: the map is only used inside this function, under the caller's lock, and no other environment of this
    // process has the file open (OPENING). Truncation by a program that takes no locks remains possible for the
    // moment of reading, as it does for every reader of LMDB files.
    let env = unsafe { options.open(path) }.map_err(|error| error.to_string())?;
    let result = read_all(&env, &mut each).map_err(|error| error.to_string());
    env.prepare_for_closing().wait();
    result
}

fn read_all(env: &heed::Env, each: &mut impl FnMut(&[u8], &[u8])) -> heed::Result<()> {
    // Reading a mapped page behind the file's end would be a fatal signal, so a cut file must be seen first.
    let page_size = u64::from(env.unnamed_database_stat().page_size);
    let pages = env.info().last_page_number as u64 + 1;
    if env.real_disk_size()? < pages.saturating_mul(page_size) {
        return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "file is truncated").into());
    }
    let txn = env.read_txn()?;
    let databases = env.open_databases_and_commit(txn, |opener, txn| {
        opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    })?;
    let CommitOrAbort::Commit(Some(database)) = databases else { return Ok(()) };
    let txn = env.read_txn()?;
    for pair in database.iter(&txn)? {
        let (key, value) = pair?;
        each(key, value);
    }
    Ok(())
}

/// Fill an empty file with sorted pairs.
pub(crate) fn write(path: &Path, pairs: &[(&[u8], &[u8])]) -> Result<(), String> {
    // Postfix's own size to begin with, and room for large tables: pages may be half empty. Only pages in use count.
    const USUAL: usize = 16 << 20;
    let needed: usize = pairs.iter().map(|(key, value)| key.len() + value.len().next_multiple_of(4096) + 64).sum();
    let _one = OPENING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut options = EnvOpenOptions::new();
    options.map_size((2 * needed).next_multiple_of(4096).max(USUAL));
    let flags = EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK;
    // SAFETY: the file is our own temporary one, which no other process opens before it is renamed, so that nobody
    // needs LMDB's locks; NO_SUB_DIR only says what kind of path it is.
    unsafe { options.flags(flags) };
    // SAFETY: as above; no other environment of this process has the file open (OPENING).
    let env = unsafe { options.open(path) }.map_err(|error| error.to_string())?;
    let result = write_all(&env, pairs).map_err(|error| error.to_string());
    env.prepare_for_closing().wait();
    result
}

fn write_all(env: &heed::Env, pairs: &[(&[u8], &[u8])]) -> heed::Result<()> {
    let txn = env.write_txn()?;
    let databases = env.create_databases_and_commit(txn, |opener, txn| {
        opener.create_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    })?;
    let CommitOrAbort::Commit(database) = databases else { return Ok(()) };
    let mut txn = env.write_txn()?;
    for (key, value) in pairs {
        database.put(&mut txn, key, value)?;
    }
    txn.commit()?;
    env.force_sync()
}
