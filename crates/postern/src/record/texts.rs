//! Numbers for texts that come again and again: lists, restrictions, tables, places.
//!
//! All event loops use the same numbers, which they look up in a dictionary of their own; a file of the record has each
//! text once, with its number, ahead of the first decision that names it.

use super::stored::what;
use crate::daemon::site::Site;
use policy::TraceStep;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More texts than this are not numbered in one edition: the next begins with none.
pub const TEXTS: usize = 50_000;

/// The numbers of all event loops.
#[derive(Default)]
pub struct Texts {
    edition: AtomicU32,
    editions: Mutex<Editions>,
}

#[derive(Default)]
struct Editions {
    numbers: HashMap<Arc<str>, u32>,
    current: Vec<Arc<str>>,
    /// What decisions under way still name.
    previous: Vec<Arc<str>>,
}

impl Texts {
    fn lock(&self) -> MutexGuard<'_, Editions> {
        self.editions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many editions there were before the one that new decisions belong to.
    fn edition(&self) -> u32 {
        self.edition.load(Ordering::Relaxed)
    }

    /// The number of a text in an edition; none in one that is long past.
    fn number(&self, edition: u32, text: &str) -> Option<u32> {
        let mut editions = self.lock();
        let age = self.edition().wrapping_sub(edition);
        if age > 1 {
            return None;
        }
        if let Some(number) = editions.numbers.get(text).filter(|_| age == 0) {
            return Some(*number);
        }
        let text: Arc<str> = text.into();
        let texts = if age == 0 { &mut editions.current } else { &mut editions.previous };
        let number = u32::try_from(texts.len()).ok()?;
        texts.push(Arc::clone(&text));
        if age == 0 {
            editions.numbers.insert(text, number);
            if editions.current.len() >= TEXTS {
                editions.numbers.clear();
                editions.previous = std::mem::take(&mut editions.current);
                self.edition.fetch_add(1, Ordering::Relaxed);
            }
        }
        Some(number)
    }

    /// The text of a number.
    pub fn get(&self, edition: u32, number: u32) -> Option<Arc<str>> {
        let editions = self.lock();
        let texts = match self.edition().wrapping_sub(edition) {
            0 => &editions.current,
            1 => &editions.previous,
            _ => return None,
        };
        texts.get(number as usize).cloned()
    }
}

type ByPlace<T> = HashMap<usize, T, BuildHasherDefault<PlaceHasher>>;

/// What one event loop knows of the numbers.
#[derive(Default)]
pub struct Dictionary {
    texts: Arc<Texts>,
    edition: u32,
    numbers: HashMap<Box<str>, u32>,
    /// The configuration whose texts `steps` and `lasting` have: they live as long as it does, so that places in memory
    /// name them.
    site: Option<Arc<Site>>,
    steps: ByPlace<u32>,
    lasting: ByPlace<u32>,
    used: Vec<u32>,
}

impl Dictionary {
    /// One that shares its numbers.
    pub fn new(texts: Arc<Texts>) -> Self {
        Self { texts, ..Self::default() }
    }

    /// Begin with another decision, by this configuration.
    pub fn begin(&mut self, site: &Arc<Site>) {
        if self.site.as_ref().is_none_or(|known| !Arc::ptr_eq(known, site)) {
            self.forget_places();
            self.site = Some(Arc::clone(site));
        }
        self.begin_edition();
    }

    fn begin_edition(&mut self) {
        self.used.clear();
        if self.edition != self.texts.edition() {
            self.numbers.clear();
            self.forget_places();
            self.edition = self.texts.edition();
        }
    }

    fn forget_places(&mut self) {
        self.steps.clear();
        self.lasting.clear();
    }

    /// The edition, and the numbers that the decision names.
    pub fn used(&self) -> (u32, &[u32]) {
        (self.edition, &self.used)
    }

    /// The texts that the decision names.
    pub fn bound(&self) -> BTreeMap<u32, Arc<str>> {
        self.used.iter().filter_map(|number| Some((*number, self.texts.get(self.edition, *number)?))).collect()
    }

    /// The number of a text.
    pub fn number(&mut self, text: &str) -> u32 {
        let number = match self.numbers.get(text) {
            Some(number) => *number,
            None => {
                let number = self.texts.number(self.edition, text).unwrap_or(u32::MAX);
                self.numbers.insert(text.into(), number);
                number
            }
        };
        self.used.push(number);
        number
    }

    /// The number of a text that is the program's, or lives as long as the configuration.
    pub fn lasting(&mut self, text: &str) -> u32 {
        // Another text may begin at the same place.
        let place = text.as_ptr() as usize ^ text.len().rotate_right(16);
        if let Some(&number) = self.lasting.get(&place) {
            self.used.push(number);
            return number;
        }
        let number = self.number(text);
        self.lasting.insert(place, number);
        number
    }

    /// The number of a step's list, restriction and place.
    pub fn step(&mut self, step: &TraceStep) -> u32 {
        // What has no place was made up for this evaluation, and its texts with it.
        let Some(span) = &step.span else {
            return self.number(&what(&step.list, "", &step.restriction));
        };
        let address = Arc::as_ptr(&step.restriction).cast::<u8>() as usize;
        if let Some(&number) = self.steps.get(&address) {
            self.used.push(number);
            return number;
        }
        let number = self.number(&what(&step.list, &crate::explain::place(span), &step.restriction));
        self.steps.insert(address, number);
        number
    }
}

/// A hash for places in memory: they differ enough by themselves.
#[derive(Default)]
struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_usize(&mut self, place: usize) {
        self.0 = (place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_that_is_full_is_followed_by_another() {
        let texts = Arc::new(Texts::default());
        let (mut one, mut other) = (Dictionary::new(Arc::clone(&texts)), Dictionary::new(Arc::clone(&texts)));
        assert_eq!((one.number("a"), other.number("b"), other.number("a")), (0, 1, 0));
        for number in 2..TEXTS {
            one.number(&format!("text {number}"));
        }
        // The other is in the midst of a decision and finishes it in the edition that it began with.
        let late = other.number("late");
        assert_eq!(other.used(), (0, &[1, 0, late][..]));
        assert_eq!(other.bound().values().map(|text| &**text).collect::<Vec<_>>(), ["a", "b", "late"]);
        for dictionary in [&mut one, &mut other] {
            dictionary.begin_edition();
            assert_eq!(dictionary.number("b"), 0);
            assert_eq!(dictionary.used(), (1, &[0][..]));
        }
        assert_eq!(texts.get(1, 0).as_deref(), Some("b"));
        assert_eq!(texts.get(2, 0), None);
    }
}
