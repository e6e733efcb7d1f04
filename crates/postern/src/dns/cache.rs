//! Answers kept for their TTL, negative ones too, within a fixed bound.

use policy::{DnsAnswer, RecordType};
use std::collections::HashMap;
use std::sync::Arc;

/// Entries of one generation; two are kept.
const GENERATION: usize = 32_768;
/// An answer is never kept longer than this, however long its owner allows.
const LONGEST_S: u32 = 86_400;

type Key = (Arc<str>, RecordType);

#[derive(Clone, Debug)]
struct Entry {
    answer: Arc<DnsAnswer>,
    until_ms: u64,
}

/// A two-generation cache: when the young one is full it becomes the old one, and the old one goes.
#[derive(Debug, Default)]
pub struct Cache {
    young: HashMap<Key, Entry>,
    old: HashMap<Key, Entry>,
}

impl Cache {
    /// The answer, if it still holds.
    pub fn get(&mut self, name: &Arc<str>, rtype: RecordType, now_ms: u64) -> Option<Arc<DnsAnswer>> {
        let key = (Arc::clone(name), rtype);
        if let Some(entry) = self.young.get(&key) {
            return (entry.until_ms > now_ms).then(|| Arc::clone(&entry.answer));
        }
        let entry = self.old.remove(&key).filter(|e| e.until_ms > now_ms)?;
        let answer = Arc::clone(&entry.answer);
        self.insert(key, entry);
        Some(answer)
    }

    /// Keep an answer for `ttl` seconds.
    pub fn put(&mut self, name: Arc<str>, rtype: RecordType, answer: Arc<DnsAnswer>, ttl: u32, now_ms: u64) {
        if ttl > 0 {
            let until_ms = now_ms + u64::from(ttl.min(LONGEST_S)) * 1000;
            self.insert((name, rtype), Entry { answer, until_ms });
        }
    }

    fn insert(&mut self, key: Key, entry: Entry) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::DnsStatus;

    fn answer(text: &str) -> Arc<DnsAnswer> {
        Arc::new(DnsAnswer::failed(DnsStatus::NotFound, text))
    }

    #[test]
    fn holds_for_its_ttl_and_no_longer() {
        let mut cache = Cache::default();
        let name: Arc<str> = "a.example".into();
        cache.put(Arc::clone(&name), RecordType::A, answer("x"), 10, 1000);
        assert_eq!(cache.get(&name, RecordType::A, 10_999).map(|a| a.reason.clone()), Some("x".into()));
        assert!(cache.get(&name, RecordType::Mx, 1000).is_none());
        assert!(cache.get(&name, RecordType::A, 11_000).is_none());
    }

    #[test]
    fn a_zero_ttl_is_not_kept() {
        let mut cache = Cache::default();
        let name: Arc<str> = "a.example".into();
        cache.put(Arc::clone(&name), RecordType::A, answer("x"), 0, 0);
        assert!(cache.get(&name, RecordType::A, 0).is_none());
    }

    #[test]
    fn stays_within_two_generations() {
        let mut cache = Cache::default();
        for i in 0..GENERATION * 3 {
            cache.put(format!("n{i}.example").into(), RecordType::A, answer(""), 60, 0);
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION);
        let last: Arc<str> = format!("n{}.example", GENERATION * 3 - 1).into();
        assert!(cache.get(&last, RecordType::A, 0).is_some());
    }
}
