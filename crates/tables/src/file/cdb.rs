//! Reads constant databases (cdb) as made by postmap(1) and other cdb tools.
//!
//! Like Berkeley DB files they are read into memory once, which needs no trust in the file's own hash tables.

/// Where records start: after 256 pairs of table place and size.
const HEADER: usize = 2048;

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// The header is cut or points outside.
    #[error("not a cdb file, or truncated")]
    Header,
    /// A record passes the end.
    #[error("record at byte {0} is corrupt")]
    Record(usize),
}

fn number(file: &[u8], at: usize) -> Option<usize> {
    let four: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(four) as usize)
}

/// Hand every key and value to `each`, in file order. NULs at their ends are already gone.
pub(crate) fn read(file: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
    read_raw(file, |key, value| {
        each(key.strip_suffix(&[0]).unwrap_or(key), value.strip_suffix(&[0]).unwrap_or(value));
    })
}

/// As [`read`], with the NULs.
pub(crate) fn read_raw(file: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
    let mut end = usize::MAX;
    for table in 0..256 {
        let place = number(file, table * 8).ok_or(Broken::Header)?;
        let slots = number(file, table * 8 + 4).ok_or(Broken::Header)?;
        if place < HEADER || place + slots * 8 > file.len() {
            return Err(Broken::Header);
        }
        end = end.min(place);
    }
    let mut at = HEADER;
    while at < end {
        let record = |length: usize| (length <= end).then_some(length).ok_or(Broken::Record(at));
        let key = number(file, at).ok_or(Broken::Record(at))?;
        let value = number(file, at + 4).ok_or(Broken::Record(at))?;
        let middle = record(at + 8 + key)?;
        let next = record(middle + value)?;
        let (key, value) = (&file[at + 8..middle], &file[middle..next]);
        each(key, value);
        at = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these pairs and one hash table that isn't filled (it isn't read).
    fn file(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut records = Vec::new();
        for (key, value) in pairs {
            records.extend_from_slice(&(key.len() as u32).to_le_bytes());
            records.extend_from_slice(&(value.len() as u32).to_le_bytes());
            records.extend_from_slice(format!("{key}{value}").as_bytes());
        }
        let end = (HEADER + records.len()) as u32;
        let mut file: Vec<u8> = (0..256).flat_map(|_| [end.to_le_bytes(), 0u32.to_le_bytes()].concat()).collect();
        file.append(&mut records);
        file
    }

    fn pairs(file: &[u8]) -> Result<Vec<(String, String)>, Broken> {
        let mut pairs = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        read(file, |key, value| pairs.push((text(key), text(value)))).map(|()| pairs)
    }

    #[test]
    fn reads_with_and_without_nul() {
        let found = pairs(&file(&[("a", "1"), ("b\0", "2\0"), ("", "")])).unwrap();
        let expected = [("a", "1"), ("b", "2"), ("", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn broken_files_are_errors() {
        let good = file(&[("key", "value"), ("k2", "v2")]);
        for length in 0..good.len() {
            assert_eq!(pairs(&good[..length]), Err(Broken::Header), "cut at {length}");
        }
        let mut long = good.clone();
        long[HEADER] = 200;
        assert_eq!(pairs(&long), Err(Broken::Record(HEADER)));
        let mut huge = good;
        huge[HEADER..HEADER + 8].fill(0xff);
        assert_eq!(pairs(&huge), Err(Broken::Record(HEADER)));
    }
}
