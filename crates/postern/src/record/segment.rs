//! Files of the record: `data_directory/decisions/SECONDS-NUMBER.rec`, a header and then a frame a decision: length, checksum,
//! the texts that are new with it and their numbers, and the decision. A frame that was cut short ends the file for its readers.

use super::stored::{Record, Unbound};
use super::texts::TEXTS;
use serde::Serialize;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How every file begins.
pub const HEADER: &[u8] = b"postern decisions 4\n";
/// Longer frames aren't written, and not believed when read.
pub const FRAME_LIMIT: usize = 1 << 20;

/// A text and its number.
pub type Fresh = (Unbound, String);
/// One frame's content.
pub type Frame = (Vec<Fresh>, Record<Unbound>);

/// The file that is written to.
pub struct Segment {
    file: File,
    size: u64,
    begun: SystemTime,
    /// Whose numbers the file has.
    pub edition: u32,
    /// Which texts the file has, by their numbers.
    texts: Vec<bool>,
}

impl Segment {
    /// Begin a new file.
    pub fn begin(directory: &Path, edition: u32) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let begun = SystemTime::now();
        let seconds = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut number = 0;
        let mut file = loop {
            let path = directory.join(format!("{seconds:010}-{number:03}.rec"));
            match OpenOptions::new().create_new(true).append(true).mode(0o600).open(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 999 => number += 1,
                opened => break opened?,
            }
        };
        file.write_all(HEADER)?;
        Ok(Self { file, size: HEADER.len() as u64, begun, edition, texts: Vec::new() })
    }

    /// Add encoded frames.
    pub fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.write_all(frames)?;
        self.size += frames.len() as u64;
        Ok(())
    }

    /// Is this text new to the file? From now on it has it.
    pub fn is_new(&mut self, number: Unbound) -> bool {
        let at = number as usize;
        if at >= self.texts.len() {
            // Numbers end at [`TEXTS`], but for what decisions under way still name.
            if at > 2 * TEXTS {
                return false;
            }
            self.texts.resize(at + 1, false);
        }
        !std::mem::replace(&mut self.texts[at], true)
    }

    /// Is it time for another file?
    pub fn is_done(&self, size: u64, age: Duration) -> bool {
        self.size >= size || self.begun.elapsed().is_ok_and(|past| past >= age)
    }
}

/// Encode a decision into room that is kept for the next one; nothing, if it is longer than any frame.
pub fn encode<'a, S: Serialize>(record: &Record<Unbound, S>, room: &'a mut Vec<u8>) -> &'a [u8] {
    loop {
        // A slice is filled much faster than something that may have to grow at every byte.
        match postcard::to_slice(record, room).map(|encoded| encoded.len()) {
            Ok(length) => return &room[..length],
            Err(postcard::Error::SerializeBufferFull) if room.len() < FRAME_LIMIT => {
                room.resize((room.len() * 2).max(2048), 0);
            }
            Err(_) => return &[],
        }
    }
}

/// Append the frame of an encoded decision to a buffer, with the texts that are new with it.
pub fn frame(fresh: &[Fresh], record: &[u8], buffer: &mut Vec<u8>) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 8]);
    let Ok(rest) = postcard::to_extend(fresh, std::mem::take(buffer)) else { return };
    *buffer = rest;
    buffer.extend_from_slice(record);
    let length = buffer.len() - start - 8;
    let checksum = crc32fast::hash(&buffer[start + 8..]);
    buffer[start..start + 4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    buffer[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// The next frame of a file's bytes, and what comes after it; `None` at the end, or where it is broken.
pub fn decode(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (payload, rest) = rest.split_at_checked(length).filter(|_| length <= FRAME_LIMIT)?;
    if crc32fast::hash(payload) != u32::from_le_bytes(*checksum) {
        return None;
    }
    Some((postcard::from_bytes(payload).ok()?, rest))
}

/// The files of a record, oldest first.
pub fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rec") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Remove what is too old or too much; the newest file always stays.
pub fn prune(directory: &Path, size: u64, age: Duration) -> io::Result<()> {
    let mut sum = 0;
    for (number, path) in files(directory)?.into_iter().rev().enumerate() {
        let meta = std::fs::metadata(&path)?;
        sum += meta.len();
        let old = meta.modified()?.elapsed().is_ok_and(|past| past > age);
        if number > 0 && (old || sum > size) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}
