//! Large content in a file of its own: written while it arrives, synced before its commit record.

use super::SpoolError;
use super::file::Files;
use crate::envelope::{Content, LargeContent};
use crate::id::QueueId;
use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A content file. Goes away when dropped, unless its message was committed.
#[derive(Debug)]
pub(crate) struct LargeFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    len: u64,
    keep: AtomicBool,
}

impl LargeFile {
    /// One found at start, that belongs to a committed message.
    pub(super) fn kept(path: PathBuf, file: File, len: u64) -> Self {
        LargeFile { path, file, len, keep: AtomicBool::new(true) }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, SpoolError> {
        let failed = |error| SpoolError::Io { what: "read", path: self.path.clone(), error: Arc::new(error) };
        self.file.read_at(buffer, offset).map_err(failed)
    }

    /// Its message is finished: the file goes with the last reader.
    pub(super) fn drop_file(&self) {
        self.keep.store(false, Ordering::Release);
    }

    /// Its message is committed: the file stays.
    pub(super) fn keep(&self) {
        self.keep.store(true, Ordering::Release);
    }
}

impl Drop for LargeFile {
    fn drop(&mut self) {
        if !self.keep.load(Ordering::Acquire) {
            // Nothing to do if this fails: the next start removes files that no message owns.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Takes large content while it arrives. Dropped without [`LargeWriter::seal`], it leaves nothing.
pub struct LargeWriter {
    files: Files,
    inner: LargeFile,
    buffer: Vec<u8>,
}

/// Small pieces are gathered up to this size before they are written.
const BUFFER_SIZE: usize = 64 * 1024;

impl LargeWriter {
    pub(super) fn new(files: Files, path: PathBuf) -> Result<Self, SpoolError> {
        let file = files.create(&path)?;
        let inner = LargeFile { path, file, len: 0, keep: AtomicBool::new(false) };
        Ok(LargeWriter { files, inner, buffer: Vec::with_capacity(BUFFER_SIZE) })
    }

    /// Appends content (LF line ends, dots unstuffed).
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.inner.len += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > BUFFER_SIZE {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_SIZE {
            return self.files.append(&self.inner.file, &self.inner.path, bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Puts content before what is written already, which moves: for what is known only in the end.
    pub fn prepend(&mut self, head: &[u8]) -> Result<(), SpoolError> {
        self.flush()?;
        let mut block = vec![0; BUFFER_SIZE];
        let shift = head.len() as u64;
        let mut end = self.inner.len;
        let Self { files, inner, .. } = self;
        while end > 0 {
            let start = end.saturating_sub(BUFFER_SIZE as u64);
            let part = &mut block[..usize::try_from(end - start).unwrap_or(BUFFER_SIZE)];
            files.read_at(&inner.file, &inner.path, start, part)?;
            files.write_at(&inner.file, &inner.path, start + shift, &mut [IoSlice::new(part)])?;
            end = start;
        }
        files.write_at(&inner.file, &inner.path, 0, &mut [IoSlice::new(head)])?;
        inner.len += shift;
        files.seek_end(&inner.file, &inner.path)
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.inner.len
    }

    /// Nothing written yet?
    pub fn is_empty(&self) -> bool {
        self.inner.len == 0
    }

    /// Ends the content. It is synced when its message is submitted.
    pub fn seal(mut self) -> Result<Content, SpoolError> {
        self.flush()?;
        Ok(Content::Large(LargeContent(Arc::new(self.inner))))
    }

    /// Ends the content, which then takes the place of this message's content so far. Nobody else may hold that.
    pub fn seal_in_place_of(mut self, old: Content, queue_id: QueueId) -> Result<Content, SpoolError> {
        self.flush()?;
        // Its file, if it has one, goes now, before another one gets its name.
        drop(old);
        let path = self.inner.path.with_file_name(queue_id.as_str());
        self.files.rename(&self.inner.path, &path)?;
        self.inner.path = path;
        Ok(Content::Large(LargeContent(Arc::new(self.inner))))
    }

    fn flush(&mut self) -> Result<(), SpoolError> {
        if !self.buffer.is_empty() {
            self.files.append(&self.inner.file, &self.inner.path, &self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}
