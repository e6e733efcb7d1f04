//! Key-value pairs in memory: one buffer for all texts and one compact index of places in it.

use crate::fold::fold;
use crate::{LookupError, Pairs, Table};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;

/// Where a key lies in the buffer; its value follows it.
struct Place {
    start: u32,
    key: u32,
    value: u32,
}

/// All pairs of a table, looked up by exact key.
pub(crate) struct Index {
    texts: String,
    places: HashTable<Place>,
    hasher: DefaultHashBuilder,
    fold: bool,
}

/// What became of a pair.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is in.
    New,
    /// The key was there already; the first value stays.
    Duplicate,
    /// The table passes 4 GiB.
    Full,
}

impl Index {
    /// An empty one; `size` is about how many bytes of text will come.
    pub(crate) fn new(fold: bool, size: usize) -> Self {
        Self {
            texts: String::with_capacity(size),
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            fold,
        }
    }

    /// Add a pair, with the key's case folded if the table folds.
    pub(crate) fn add_folded(&mut self, key: &str, value: &str) -> Added {
        if self.fold { self.add(&fold(key), value) } else { self.add(key, value) }
    }

    /// Add a pair as it is.
    pub(crate) fn add(&mut self, key: &str, value: &str) -> Added {
        let hash = self.hasher.hash_one(key);
        if self.find(hash, key).is_some() {
            return Added::Duplicate;
        }
        let end = self.texts.len() + key.len() + value.len();
        if u32::try_from(end).is_err() {
            return Added::Full;
        }
        let place = Place { start: self.texts.len() as u32, key: key.len() as u32, value: value.len() as u32 };
        self.texts.push_str(key);
        self.texts.push_str(value);
        let (texts, hasher) = (&self.texts, &self.hasher);
        self.places.insert_unique(hash, place, |place| hasher.hash_one(key_at(texts, place)));
        Added::New
    }

    /// How many pairs there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// About so many pairs will come.
    pub(crate) fn reserve(&mut self, pairs: usize) {
        let (texts, hasher) = (&self.texts, &self.hasher);
        self.places.reserve(pairs, |place| hasher.hash_one(key_at(texts, place)));
    }

    /// Give back what was reserved too much.
    pub(crate) fn shrink(&mut self) {
        self.texts.shrink_to_fit();
        if self.places.capacity() > 2 * self.places.len() {
            let (texts, hasher) = (&self.texts, &self.hasher);
            self.places.shrink_to_fit(|place| hasher.hash_one(key_at(texts, place)));
        }
    }

    fn find(&self, hash: u64, key: &str) -> Option<&Place> {
        self.places.find(hash, |place| key_at(&self.texts, place) == key)
    }

    /// The value of a key, with the key's case folded if the table folds.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        if !self.fold {
            return self.exact(key);
        }
        // Capitals are common in mail; most keys fit here, and cost no allocation.
        let mut small = [0; 256];
        match small.get_mut(..key.len()) {
            Some(small) if key.is_ascii() => {
                small.copy_from_slice(key.as_bytes());
                small.make_ascii_lowercase();
                self.exact(std::str::from_utf8(small).ok()?)
            }
            _ => self.exact(&fold(key)),
        }
    }

    fn exact(&self, key: &str) -> Option<&str> {
        let place = self.find(self.hasher.hash_one(key), key)?;
        let start = place.start as usize + place.key as usize;
        self.texts.get(start..start + place.value as usize)
    }
}

fn key_at<'a>(texts: &'a str, place: &Place) -> &'a str {
    texts.get(place.start as usize..place.start as usize + place.key as usize).unwrap_or_default()
}

impl Table for Index {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        Ok(self.value(key).map(Arc::from))
    }

    fn pairs(&self) -> Option<Pairs> {
        let mut places: Vec<&Place> = self.places.iter().collect();
        places.sort_unstable_by_key(|place| place.start);
        let value = |place: &Place| {
            let start = place.start as usize + place.key as usize;
            self.texts.get(start..start + place.value as usize).unwrap_or_default()
        };
        Some(places.into_iter().map(|place| (key_at(&self.texts, place).into(), value(place).into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_value_stays() {
        let mut index = Index::new(true, 0);
        for (key, value, added) in
            [("A", "1", Added::New), ("a", "2", Added::Duplicate), ("", "none", Added::New), ("ab", "", Added::New)]
        {
            assert_eq!(index.add_folded(key, value), added, "{key}");
        }
        assert_eq!((index.value("A"), index.value(""), index.value("ab")), (Some("1"), Some("none"), Some("")));
        assert_eq!((index.value("b"), index.len()), (None, 3));
    }

    #[test]
    fn folds_keys_of_any_length() {
        let mut index = Index::new(true, 0);
        for length in [0, 1, 255, 256, 257, 1000] {
            index.add_folded(&"Ab".repeat(length), &length.to_string());
        }
        index.add_folded("STRASSE", "ss");
        index.reserve(1000);
        index.shrink();
        for length in [0, 1, 255, 256, 257, 1000] {
            assert_eq!(index.value(&"aB".repeat(length)), Some(length.to_string().as_str()), "{length}");
        }
        assert_eq!(index.value("Stra\u{df}e"), Some("ss"));
        assert_eq!(index.value(&"x".repeat(300)), None);
    }

    #[test]
    fn without_folding_case_counts() {
        let mut index = Index::new(false, 0);
        index.add_folded("A", "1");
        assert_eq!((index.value("A"), index.value("a")), (Some("1"), None));
    }
}
