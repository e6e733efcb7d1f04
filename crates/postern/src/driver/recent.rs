//! Who was asked about a moment ago, with every answer known already.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, PoisonError};

/// How long "nothing left to ask" is believed; an answer that expires meanwhile is asked for when it is wanted.
const BELIEVED_MS: u64 = 5_000;
/// Entries kept.
const LIMIT: usize = 8_192;

/// Facts for which a run ahead of the client found every answer known. Spam comes in bursts from the same client, and
/// each run costs as much as a decision.
#[derive(Default)]
pub struct RecentlyKnown {
    hasher: RandomState,
    until: Mutex<HashMap<u64, u64>>,
}

impl RecentlyKnown {
    /// The key of some facts.
    pub fn key(&self, facts: impl Hash) -> u64 {
        self.hasher.hash_one(facts)
    }

    /// Was nothing left to ask, a moment ago?
    pub fn contains(&self, key: u64, now_ms: u64) -> bool {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).get(&key).is_some_and(|until| *until > now_ms)
    }

    /// Nothing is left to ask.
    pub fn insert(&self, key: u64, now_ms: u64) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= LIMIT {
            until.clear();
        }
        until.insert(key, now_ms + BELIEVED_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn believed_for_a_while() {
        let recent = RecentlyKnown::default();
        let key = recent.key(("a", 1));
        assert_eq!(key, recent.key(("a", 1)));
        assert!(!recent.contains(key, 0));
        recent.insert(key, 1_000);
        assert!(recent.contains(key, 5_999));
        assert!(!recent.contains(key, 6_000));
        assert!(!recent.contains(recent.key(("b", 1)), 1_000));
    }

    #[test]
    fn stays_bounded() {
        let recent = RecentlyKnown::default();
        for n in 0..LIMIT * 2 + 10 {
            recent.insert(recent.key(n), 0);
        }
        assert!(recent.until.lock().unwrap().len() <= LIMIT);
    }
}
