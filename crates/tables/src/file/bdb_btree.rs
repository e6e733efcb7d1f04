//! Writes btree files: leaves filled in key order, then inner pages above them until one is the root.

use super::bdb::{BTREE_MAGIC, PAGE_IBTREE, PAGE_LBTREE};
use super::bdb_write::{HEADER, Header, PAGE, Writer};

const META: u8 = 9;
/// Longer items go to overflow pages, so that two pairs fit into every leaf.
const LONG: usize = 1007;
/// Item types.
const IN_PLACE: u8 = 1;
const OVERFLOW: u8 = 3;

/// The file with these pairs, which must be sorted by key and have no key twice.
pub(super) fn file(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new();
    // The root stays where the library puts it.
    let root = writer.reserve(1);
    let mut level = Level { pages: Vec::new(), height: 1 };
    level.pages.push(Built::default());
    let mut before: &[u8] = &[];
    for &(key, value) in pairs {
        let (key_item, value_item) = (leaf_item(&mut writer, key), leaf_item(&mut writer, value));
        if !level.fits(key_item.len() + value_item.len() + 4) {
            level.begin(separator(before, key));
        }
        level.push(key_item);
        level.push(value_item);
        before = key;
    }
    while level.pages.len() > 1 {
        level = level.write(&mut writer);
    }
    if let Some(top) = level.pages.pop() {
        let kind = if level.height == 1 { PAGE_LBTREE } else { PAGE_IBTREE };
        let header = Header { level: level.height, kind, ..Header::default() };
        writer.items(root, header, top.items.iter().map(Vec::as_slice));
    }
    // Two keys a page at least, no record length but the blank that fills records, and the root.
    writer.finish(BTREE_MAGIC, META, &[(76, 2), (84, 0x20), (88, root)])
}

/// A page in the making.
#[derive(Default)]
struct Built {
    items: Vec<Vec<u8>>,
    used: usize,
    /// A key that is above all of the page before and not above any of this one.
    separator: Vec<u8>,
}

/// Pages of the same height, from left to right.
struct Level {
    pages: Vec<Built>,
    height: u8,
}

impl Level {
    /// Is there room for so many bytes more?
    fn fits(&self, size: usize) -> bool {
        self.pages.last().is_some_and(|page| page.used + size <= PAGE - HEADER)
    }

    /// Another page, whose keys are not below the separator.
    fn begin(&mut self, separator: Vec<u8>) {
        self.pages.push(Built { separator, ..Built::default() });
    }

    fn push(&mut self, item: Vec<u8>) {
        if let Some(page) = self.pages.last_mut() {
            page.used += item.len() + 2;
            page.items.push(item);
        }
    }

    /// Put the pages into the file; the level above them.
    fn write(self, writer: &mut Writer) -> Self {
        let count = u32::try_from(self.pages.len()).unwrap_or(u32::MAX);
        let first = writer.reserve(count);
        let kind = if self.height == 1 { PAGE_LBTREE } else { PAGE_IBTREE };
        let mut above = Self { pages: vec![Built::default()], height: self.height + 1 };
        for (number, page) in (first..).zip(self.pages) {
            // Only leaves know their neighbours.
            let previous = if self.height > 1 || number == first { 0 } else { number - 1 };
            let next = if self.height > 1 || number + 1 == first + count { 0 } else { number + 1 };
            let header = Header { previous, next, level: self.height, kind };
            writer.items(number, header, page.items.iter().map(Vec::as_slice));
            if !above.fits(inner_size(&page.separator) + 2) {
                // What separates the pages below separates the ones above them too.
                above.begin(page.separator.clone());
            }
            // The first key of an inner page is never looked at, and the library leaves it out.
            let leftmost = above.pages.last().is_none_or(|page| page.items.is_empty());
            let item = inner_item(writer, if leftmost { &[] } else { &page.separator }, number);
            above.push(item);
        }
        above
    }
}

/// The shortest start of `key` that is above `before`.
fn separator(before: &[u8], key: &[u8]) -> Vec<u8> {
    let common = before.iter().zip(key).take_while(|(a, b)| a == b).count();
    key[..key.len().min(common + 1)].to_vec()
}

/// Items begin at multiples of four.
fn aligned(mut item: Vec<u8>) -> Vec<u8> {
    item.resize(item.len().next_multiple_of(4), 0);
    item
}

/// Length, type and data; or type, page and length of what is elsewhere.
fn leaf_item(writer: &mut Writer, data: &[u8]) -> Vec<u8> {
    if data.len() > LONG {
        return overflow_item(writer, data);
    }
    let mut item = (data.len() as u16).to_le_bytes().to_vec();
    item.push(IN_PLACE);
    item.extend_from_slice(data);
    aligned(item)
}

fn overflow_item(writer: &mut Writer, data: &[u8]) -> Vec<u8> {
    let page = writer.overflow(data);
    let mut item = vec![0, 0, OVERFLOW, 0];
    item.extend_from_slice(&page.to_le_bytes());
    item.extend_from_slice(&(data.len() as u32).to_le_bytes());
    item
}

/// How many bytes [`inner_item`] makes.
fn inner_size(key: &[u8]) -> usize {
    12 + if key.len() > LONG { 12 } else { key.len().next_multiple_of(4) }
}

/// Length, type, page, number of records (not kept), and the key.
fn inner_item(writer: &mut Writer, key: &[u8], page: u32) -> Vec<u8> {
    let long = key.len() > LONG;
    let key = if long { overflow_item(writer, key) } else { key.to_vec() };
    let mut item = (key.len() as u16).to_le_bytes().to_vec();
    item.extend_from_slice(&[if long { OVERFLOW } else { IN_PLACE }, 0]);
    item.extend_from_slice(&page.to_le_bytes());
    item.extend_from_slice(&[0; 4]);
    item.extend_from_slice(&key);
    aligned(item)
}
