//! Queue ids, short and long (postconf(5), `enable_long_queue_ids`).
//!
//! Postfix takes the unique part from the queue file's inode number. Here it is a counter that starts at a point
//! derived from the starting time, so that ids of one run don't meet those of the run before.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// The digits of long queue ids: no vowels, so that no words come up.
const BASE52: &[u8; 52] = b"0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
/// Separates time and number in long queue ids; base 51 has no such digit.
const SEPARATOR: u8 = b'z';
const MAX_LEN: usize = 23;

/// A queue id: ASCII letters and digits, at most 23 of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId {
    len: u8,
    bytes: [u8; MAX_LEN],
}

impl QueueId {
    /// The id of an arrival time (Unix microseconds) and a unique number, in Postfix's short or long form.
    pub fn new(long: bool, micros: i64, number: u32) -> Self {
        let micros = u64::try_from(micros).unwrap_or(0);
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let mut id = QueueId { len: 0, bytes: [0; MAX_LEN] };
        if long {
            id.push_base(seconds, 52, 6);
            id.push_base(fraction, 52, 4);
            id.push(SEPARATOR);
            id.push_base(u64::from(number), 51, 1);
        } else {
            id.push_hex(fraction, 5);
            id.push_hex(u64::from(number), 1);
        }
        id
    }

    /// In the long form? Then it is unique for ever.
    pub fn is_long(&self) -> bool {
        self.as_str().as_bytes().contains(&SEPARATOR)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if usize::from(self.len) < MAX_LEN {
            self.bytes[usize::from(self.len)] = byte;
            self.len += 1;
        }
    }

    fn push_base(&mut self, value: u64, base: u64, width: usize) {
        self.push_digits(value, base, width, BASE52);
    }

    fn push_hex(&mut self, value: u64, width: usize) {
        self.push_digits(value, 16, width, b"0123456789ABCDEF");
    }

    fn push_digits(&mut self, mut value: u64, base: u64, width: usize, digits: &[u8]) {
        let mut reversed = [b'0'; 16];
        let mut count = 0;
        while value > 0 && count < reversed.len() {
            reversed[count] = digits[(value % base) as usize];
            value /= base;
            count += 1;
        }
        for at in (0..count.max(width)).rev() {
            self.push(reversed[at]);
        }
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueId({})", self.as_str())
    }
}

/// Not a queue id: empty, too long, or with other characters than ASCII letters and digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a queue id")]
pub struct ParseQueueIdError;

impl FromStr for QueueId {
    type Err = ParseQueueIdError;

    fn from_str(text: &str) -> Result<Self, ParseQueueIdError> {
        let ok = (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if !ok {
            return Err(ParseQueueIdError);
        }
        let mut id = QueueId { len: text.len() as u8, bytes: [0; MAX_LEN] };
        id.bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(id)
    }
}

/// Hands out queue ids; may be shared by threads.
#[derive(Debug)]
pub struct QueueIdSource {
    number: AtomicU32,
}

impl QueueIdSource {
    /// A source for a process that starts at `now` (Unix microseconds).
    pub fn new(now: i64) -> Self {
        // Sixteen numbers a second go by even in a quiet hour, so a restart goes on above what was used before, unless
        // that was busier; then microseconds tell the ids apart, and the spool refuses an id that is in use.
        let start = (now / 1_000_000).wrapping_mul(16) as u32;
        QueueIdSource { number: AtomicU32::new(start) }
    }

    /// The next id, short or long, for a message that arrives `now` (Unix microseconds).
    pub fn next(&self, long: bool, now: i64) -> QueueId {
        QueueId::new(long, now, self.number.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_postfix_form() {
        for (long, micros, number, want) in [
            (false, 1_000_000_060_091, 0xA99C005, "0EABBA99C005"),
            (false, 5_000_000, 0, "000000"),
            (false, 5_999_999, 1, "F423F1"),
            (true, 0, 0, "0000000000z0"),
            (true, 51_000_051, 50, "00000z000zzy"),
            (true, 1_795_350_000_000_000, u32::MAX, "4jXSnX0000zDQqwN0"),
        ] {
            let id = QueueId::new(long, micros, number);
            assert_eq!(id.as_str(), want, "{long} {micros} {number}");
            assert_eq!(want.parse(), Ok(id));
        }
    }

    #[test]
    fn ids_differ_within_a_microsecond() {
        let source = QueueIdSource::new(1_795_350_000_000_000);
        let first = source.next(true, 7);
        assert_ne!(first, source.next(true, 7));
    }

    #[test]
    fn no_path_is_an_id() {
        for bad in ["", "../x", "a/b", "A B", "123456789012345678901234"] {
            assert_eq!(bad.parse::<QueueId>(), Err(ParseQueueIdError), "{bad}");
        }
    }
}
