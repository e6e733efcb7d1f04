//! Warnings that one broken thing causes for many clients: said once, then not again for a while.
//!
//! Postfix's smtpd keeps the answers of block lists, failures too, as long as a process lives, and warns once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// So many are kept in mind; smtpd keeps the answers to so many queries.
const LIMIT: usize = 100;

/// For so many seconds; smtpd's `max_idle`.
const SILENCE: u64 = 100;

/// What was said when, oldest first. One for all event loops: failures are rare.
static SAID: Mutex<VecDeque<(String, u64)>> = Mutex::new(VecDeque::new());

/// Was this said lately? If not, it counts as said `now` (seconds).
pub(super) fn is_repeated(text: &str, now: u64) -> bool {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    said.retain(|(_, when)| now < when.saturating_add(SILENCE));
    if said.iter().any(|(known, _)| known == text) {
        return true;
    }
    if said.len() >= LIMIT {
        said.pop_front();
    }
    said.push_back((text.to_owned(), now));
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_repeated_after_a_while() {
        assert!(!is_repeated("a", 1000));
        assert!(!is_repeated("b", 1050));
        assert!(is_repeated("a", 1099));
        assert!(!is_repeated("a", 1100));
        assert!(is_repeated("b", 1149));
        for number in 0..LIMIT {
            assert!(!is_repeated(&number.to_string(), 1150));
        }
        assert!(!is_repeated("a", 1150));
    }
}
