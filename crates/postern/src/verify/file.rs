//! The cache on disk: a line for each result, the last one of an address counts. It isn't synced: what a crash takes is
//! asked again.
//!
//! `ADDRESS TAB STATUS:PROBED:UPDATED:TEXT`, as Postfix has it in its own tables, after a first line that says so.

use super::cache::{Cache, Entry};
use policy::AddressStatus;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FIRST: &str = "# postern verify cache 1";
/// Longer lines are none of ours.
const LINE_LIMIT: u64 = 8192;

const NUMBERS: [(AddressStatus, u8); 3] =
    [(AddressStatus::Deliverable, 0), (AddressStatus::Deferred, 1), (AddressStatus::Undeliverable, 2)];

/// A file that grows by a line a result, until it is written anew.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    lines: usize,
}

impl Journal {
    /// With what the file holds entered into the cache. No file is an empty one; it comes with the first result.
    ///
    /// # Errors
    /// It is there but can't be read, or is something else: nothing is written then.
    pub fn open(path: &Path, cache: &mut Cache) -> io::Result<Self> {
        let lines = read(path, cache)?;
        Ok(Self { path: path.to_owned(), file: None, lines })
    }

    /// One more result.
    ///
    /// # Errors
    /// It can't be written.
    pub fn append(&mut self, address: &str, entry: &Entry) -> io::Result<()> {
        let Some(line) = line(address, entry) else { return Ok(()) };
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = options().append(true).open(&self.path)?;
                if file.metadata()?.len() == 0 {
                    writeln!(file, "{FIRST}")?;
                }
                self.file.insert(file)
            }
        };
        file.write_all(line.as_bytes())?;
        self.lines += 1;
        Ok(())
    }

    /// Has it many more lines than there are addresses?
    pub fn is_wasteful(&self, addresses: usize) -> bool {
        self.lines > addresses * 2 + 1000
    }

    /// Write it anew: all at once, or not at all.
    ///
    /// # Errors
    /// It can't be written; the old one stays.
    pub fn rewrite(&mut self, text: &str) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut file = BufWriter::new(options().write(true).truncate(true).open(&new)?);
        writeln!(file, "{FIRST}")?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
        drop(file);
        fs::rename(&new, &self.path)?;
        (self.file, self.lines) = (None, text.lines().count());
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    options
}

/// All that is worth keeping, as lines.
pub fn text(cache: &Cache) -> String {
    cache.results().filter_map(|(address, entry)| line(address, entry)).collect()
}

fn line(address: &str, entry: &Entry) -> Option<String> {
    let (_, number) = NUMBERS.iter().find(|(status, _)| *status == entry.status)?;
    if address.is_empty() || address.contains(char::is_control) {
        return None;
    }
    let mut line = String::with_capacity(address.len() + entry.text.len() + 24);
    let _ = write!(line, "{address}\t{number}:0:{}:", entry.updated);
    line.extend(entry.text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    line.push('\n');
    Some(line)
}

/// Reads a file; tells how many lines it has.
///
/// # Errors
/// It can't be read, or isn't one of these.
pub fn read(path: &Path, cache: &mut Cache) -> io::Result<usize> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    let mut lines = 0;
    loop {
        bytes.clear();
        if io::Read::take(&mut reader, LINE_LIMIT).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(lines);
        }
        let line = String::from_utf8_lossy(&bytes);
        if lines == 0 && line.trim_end() != FIRST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a cache of postern's"));
        }
        lines += 1;
        // What isn't whole was cut off by a crash.
        if let Some((address, entry)) = line.strip_suffix('\n').and_then(parse) {
            cache.load(address, entry);
        }
    }
}

fn parse(line: &str) -> Option<(&str, Entry)> {
    let (address, value) = line.split_once('\t')?;
    let mut fields = value.splitn(4, ':');
    let number: u8 = fields.next()?.parse().ok()?;
    let (status, _) = NUMBERS.iter().find(|(_, known)| *known == number)?;
    fields.next()?;
    let updated = fields.next()?.parse().ok()?;
    Some((address, Entry { status: *status, probed: 0, updated, text: fields.next()?.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::settings::Settings;
    use policy::Verification;

    fn result(cache: &mut Cache, address: &str, told: &str, at: u64) -> Option<Entry> {
        let settings = Settings { keeps_failures: true, ..Settings::default() };
        cache.update(address, &Verification::parse(told).unwrap(), &settings, at)
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("verify_cache.postern");
        let mut cache = Cache::default();
        let mut journal = Journal::open(&path, &mut cache).unwrap();
        assert!(!path.exists());
        for (address, told, at) in [
            ("a@d.example", "undeliverable: host x said: 550 no", 5),
            ("b c@d.example", "deferred: bad\nline", 6),
            ("a@d.example", "deliverable", 7),
            ("tab\t@d.example", "deliverable", 8),
        ] {
            let entry = result(&mut cache, address, told, at).unwrap();
            journal.append(address, &entry).unwrap();
        }
        let lines = "# postern verify cache 1\na@d.example\t2:0:5:host x said: 550 no\n\
                     b c@d.example\t1:0:6:bad line\na@d.example\t0:0:7:\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), lines);

        fs::write(&path, format!("{lines}half@d.example\t0:0:")).unwrap();
        let mut again = Cache::default();
        let mut journal = Journal::open(&path, &mut again).unwrap();
        let mut known: Vec<_> = again.results().map(|(a, e)| (a.to_string(), e.status, e.updated)).collect();
        known.sort_by(|a, b| a.0.cmp(&b.0));
        let (good, bad) = (AddressStatus::Deliverable, AddressStatus::Deferred);
        assert_eq!(known, [("a@d.example".to_owned(), good, 7), ("b c@d.example".to_owned(), bad, 6)]);

        journal.rewrite(&text(&again)).unwrap();
        journal.append("c@d.example", &result(&mut again, "c@d.example", "deliverable", 9).unwrap()).unwrap();
        let mut last = Cache::default();
        assert_eq!(read(&path, &mut last).unwrap(), 4);
        assert_eq!(last.len(), 3);
        assert!(!journal.is_wasteful(3));
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.postern");
        fs::write(&path, "binary\0\u{1}\n").unwrap();
        let error = Journal::open(&path, &mut Cache::default()).unwrap_err();
        assert_eq!(error.to_string(), "not a cache of postern's");
    }
}
