//! The name of a decision: short enough for a reply, and for a telephone.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Digits and letters that aren't mistaken for others when they are read out (Crockford's base 32).
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Codes count from this moment (2025-01-01).
const EPOCH: u64 = 1_735_689_600;

/// Bits of the counter within a second.
const COUNTER: u32 = 15;

/// How many letters a code has: 30 bits of seconds (34 years) and the counter.
const LENGTH: usize = 9;

/// A decision's name: the second it was made in, and a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Code(u64);

impl Code {
    /// The next one, for a decision in this second.
    pub fn next(now: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let counter = NEXT.fetch_add(1, Ordering::Relaxed) & ((1 << COUNTER) - 1);
        Self(now.saturating_sub(EPOCH) << COUNTER | counter)
    }

    /// The second it was made in.
    pub fn seconds(self) -> u64 {
        (self.0 >> COUNTER) + EPOCH
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..LENGTH).rev() {
            let letter = LETTERS[(self.0 >> (5 * place)) as usize & 31];
            fmt::Write::write_char(f, char::from(letter))?;
        }
        Ok(())
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != LENGTH {
            return Err(());
        }
        text.bytes().try_fold(Self(0), |Self(sum), letter| {
            // What is easily misread is taken for what it looks like.
            let letter = match letter.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                letter => letter,
            };
            let value = LETTERS.iter().position(|known| *known == letter).ok_or(())?;
            Ok(Self(sum << 5 | value as u64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_back() {
        let (first, second) = (Code::next(1_790_000_000), Code::next(1_790_000_000));
        assert_ne!(first, second);
        assert_eq!(first.seconds(), 1_790_000_000);
        let text = first.to_string();
        assert_eq!(text.len(), LENGTH);
        assert_eq!(text.to_lowercase().parse(), Ok(first));
        assert_eq!(text.replace('0', "o").replace('1', "l").parse(), Ok(first));
        for bad in ["", "12345678", "1234567890", "U23456789", "12345678é"] {
            assert_eq!(bad.parse::<Code>(), Err(()), "{bad}");
        }
    }
}
