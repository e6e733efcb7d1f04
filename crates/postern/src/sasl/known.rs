//! From where accounts have logged in before: marks without names, kept in a file.
//!
//! A mark is eight bytes that only this server can make of an account and a network.

use super::secret;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// So many marks are kept (about 6 MiB); the oldest make room.
const LIMIT: usize = 200_000;
/// A mark is forgotten when it wasn't used for so many days.
const DAYS: u16 = 90;
/// First in the file.
const HEADER: &[u8] = b"postern sasl known 1\n";
/// A mark and a day.
const RECORD: usize = 10;

/// All marks, and the day when each was last used.
#[derive(Debug, Default)]
pub struct Known {
    days: HashMap<u64, u16>,
    is_changed: bool,
}

/// The mark of an account in a network.
pub fn mark(account: &str, network: &str) -> u64 {
    let bytes = secret::derive("known", &format!("{account}\0{network}"));
    bytes.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

impl Known {
    /// What the file has; nothing if there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other?,
        };
        let records = bytes.strip_prefix(HEADER).ok_or_else(|| io::Error::other("not such a file"))?;
        let record = |bytes: &[u8]| {
            let number = |bytes: &[u8]| bytes.iter().fold(0, |all: u64, byte| all << 8 | u64::from(*byte));
            (number(&bytes[..8]), u16::try_from(number(&bytes[8..])).unwrap_or(0))
        };
        Ok(Self { days: records.chunks_exact(RECORD).take(LIMIT).map(record).collect(), is_changed: false })
    }

    /// For the file, if anything has changed since it was asked for last. `today` counts days.
    pub fn to_write(&mut self, today: u16) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        self.days.retain(|_, day| today.saturating_sub(*day) <= DAYS);
        let mut bytes = HEADER.to_vec();
        for (mark, day) in &self.days {
            bytes.extend(mark.to_be_bytes());
            bytes.extend(day.to_be_bytes());
        }
        Some(bytes)
    }

    /// Was there a login before?
    pub fn has(&self, mark: u64, today: u16) -> bool {
        self.days.get(&mark).is_some_and(|day| today.saturating_sub(*day) <= DAYS)
    }

    /// There was one today.
    pub fn note(&mut self, mark: u64, today: u16) {
        if self.days.get(&mark) == Some(&today) {
            return;
        }
        if self.days.len() >= LIMIT && !self.days.contains_key(&mark) {
            self.make_room();
        }
        self.days.insert(mark, today);
        self.is_changed = true;
    }

    /// A tenth goes, those that weren't used for longest.
    fn make_room(&mut self) {
        let mut all: Vec<(u16, u64)> = self.days.iter().map(|(mark, day)| (*day, *mark)).collect();
        let (oldest, ..) = all.select_nth_unstable(LIMIT / 10);
        for (_, mark) in oldest {
            self.days.remove(mark);
        }
    }
}

/// Write the file in one step.
///
/// # Errors
/// When it can't be written; the old one stays then.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_outlive_the_program_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sasl_known");
        let mut known = Known::read(&path).unwrap();
        let (here, there) = (mark("jo", "192.0.2.1"), mark("jo", "192.0.2.2"));
        assert_ne!(here, there);
        assert_eq!(known.to_write(100), None);
        known.note(here, 100);
        assert!(known.has(here, 190) && !known.has(here, 191) && !known.has(there, 100));
        write(&path, &known.to_write(100).unwrap()).unwrap();
        assert_eq!(known.to_write(100), None);
        let mut known = Known::read(&path).unwrap();
        assert!(known.has(here, 100) && !known.has(there, 100));
        known.note(there, 191);
        assert_eq!(known.to_write(191).unwrap().len(), HEADER.len() + RECORD);
        fs::write(&path, "something else").unwrap();
        assert!(Known::read(&path).is_err());
    }

    #[test]
    fn the_oldest_make_room() {
        let mut known = Known::default();
        for mark in 0..LIMIT as u64 {
            known.note(mark, if mark % 2 == 0 { 10 } else { 20 });
        }
        known.note(u64::MAX, 21);
        assert_eq!(known.days.len(), LIMIT - LIMIT / 10 + 1);
        assert!(known.has(1, 21) && known.has(u64::MAX, 21));
        assert_eq!(known.days.values().filter(|day| **day == 20).count(), LIMIT / 2);
    }
}
