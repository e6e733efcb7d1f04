//! Writes constant databases (cdb): a header of 256 hash tables' places, the records, the hash tables.

/// Where records start.
const HEADER: usize = 2048;

/// The file would pass the 4 GiB that its numbers can say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// The file with these pairs, in this order.
pub(super) fn file(pairs: &[(&[u8], &[u8])]) -> Result<Vec<u8>, TooLarge> {
    let texts: usize = pairs.iter().map(|(key, value)| 8 + key.len() + value.len()).sum();
    if u32::try_from(HEADER + texts + 16 * pairs.len()).is_err() {
        return Err(TooLarge);
    }
    let mut file = vec![0; HEADER];
    let mut tables: Vec<Vec<(u32, u32)>> = vec![Vec::new(); 256];
    for (key, value) in pairs {
        let hash = hash(key);
        tables[(hash & 0xff) as usize].push((hash, file.len() as u32));
        file.extend_from_slice(&(key.len() as u32).to_le_bytes());
        file.extend_from_slice(&(value.len() as u32).to_le_bytes());
        file.extend_from_slice(key);
        file.extend_from_slice(value);
    }
    for (number, table) in tables.iter().enumerate() {
        let start = file.len() as u32;
        let slots = 2 * table.len();
        file[8 * number..8 * number + 4].copy_from_slice(&start.to_le_bytes());
        file[8 * number + 4..8 * number + 8].copy_from_slice(&(slots as u32).to_le_bytes());
        for (hash, place) in arranged(table, slots) {
            file.extend_from_slice(&hash.to_le_bytes());
            file.extend_from_slice(&place.to_le_bytes());
        }
    }
    Ok(file)
}

/// The slots of a hash table: each entry at its hash, or at the next free slot.
fn arranged(table: &[(u32, u32)], slots: usize) -> Vec<(u32, u32)> {
    let mut arranged = vec![(0, 0); slots];
    for &(hash, place) in table {
        let mut at = (hash >> 8) as usize % slots;
        // A record's place is never 0: the header is there.
        while arranged[at].1 != 0 {
            at = (at + 1) % slots;
        }
        arranged[at] = (hash, place);
    }
    arranged
}

fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5381u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(*byte))
}
