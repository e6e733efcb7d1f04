//! The contents of tables by value: most tables have few values, however many keys.

use super::{Keys, TableContents, TableEntry};
use crate::question::TableId;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// A value and all keys that find it.
pub(super) struct Group {
    pub value: Arc<str>,
    pub varies: bool,
    pub keys: Vec<Keys>,
}

impl Group {
    /// Is it found with any key?
    pub fn every(&self) -> bool {
        self.keys.contains(&Keys::Every)
    }
}

/// The groups of a table in the order of their first entries.
pub(super) struct Digest {
    pub groups: Vec<Group>,
    /// Every key finds something.
    pub total: bool,
}

/// Digests of tables, each made once.
pub(super) struct Digests<'a> {
    contents: &'a mut dyn TableContents,
    known: HashMap<TableId, Option<Rc<Digest>>>,
}

impl<'a> Digests<'a> {
    pub fn new(contents: &'a mut dyn TableContents) -> Self {
        Self { contents, known: HashMap::new() }
    }

    /// The contents by value.
    pub fn of(&mut self, table: TableId) -> Option<Rc<Digest>> {
        if let Some(known) = self.known.get(&table) {
            return known.clone();
        }
        let found = self.contents.contents(table).map(|entries| Rc::new(digest(entries)));
        self.known.insert(table, found.clone());
        found
    }

    /// The contents as they are.
    pub fn entries(&mut self, table: TableId) -> Option<Vec<TableEntry>> {
        self.contents.contents(table)
    }
}

fn digest(entries: Vec<TableEntry>) -> Digest {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<(Arc<str>, bool), usize> = HashMap::new();
    let mut total = false;
    for TableEntry { keys, value, end } in entries {
        total |= keys == Keys::Every;
        let varies = end.is_some();
        let place = *places.entry((value.clone(), varies)).or_insert_with(|| {
            groups.push(Group { value, varies, keys: Vec::new() });
            groups.len() - 1
        });
        groups[place].keys.push(keys);
    }
    Digest { groups, total }
}
