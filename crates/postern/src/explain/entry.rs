//! Where a table's entry was written.

use std::cell::RefCell;
use std::collections::HashMap;
use tables::{EntryPlaces, OpenOptions, TableSet};

/// `FILE:LINE` of a key in a table with a text.
pub fn place(spec: &str, key: &str) -> Option<String> {
    told(&EntryPlaces::open(spec, &OpenOptions::new("."))?, key)
}

fn told(places: &EntryPlaces, key: &str) -> Option<String> {
    Some(format!("{}:{}", places.path().display(), places.line(key)?))
}

/// The places of a configuration's tables, each text read once.
#[derive(Default)]
pub struct Entries {
    known: RefCell<HashMap<u32, Option<EntryPlaces>>>,
}

impl Entries {
    /// `FILE:LINE` of a key.
    pub fn place(&self, tables: &TableSet, id: u32, key: &str) -> Option<String> {
        let mut known = self.known.borrow_mut();
        told(known.entry(id).or_insert_with(|| tables.entry_places(id)).as_ref()?, key)
    }
}
