//! Writes hash files. The table grows as the library's grows when pairs are added one by one (linear hashing: a bucket
//! is split whenever one runs over), so that the buckets, and with them the database order, come out as with postmap.

use super::bdb::{HASH_MAGIC, PAGE_HASH};
use super::bdb_write::{HEADER, Header, PAGE, Writer};
use std::cmp::Ordering;

const META: u8 = 8;
/// Longer items go to overflow pages, so that four fit into every page.
const LONG: usize = PAGE / 4;
/// Item types.
const IN_PLACE: u8 = 1;
const OVERFLOW: u8 = 3;
/// What Postfix says it expects; the library begins to count there.
const EXPECTED: u32 = 4096;
/// Its hash is written into the file, so that a library with another hash function sees that it can't read it.
const CHECK: &[u8] = b"%$sniglet^&\0";

/// A pair's place in the list.
type Pair = u32;

/// One page of a bucket: pairs in key order, and how many bytes they take.
#[derive(Default)]
struct Page {
    pairs: Vec<Pair>,
    used: usize,
}

/// A hash table in the making.
struct Table<'p> {
    pairs: &'p [(&'p [u8], &'p [u8])],
    hashes: Vec<u32>,
    buckets: Vec<Vec<Page>>,
    low: u32,
    high: u32,
}

/// The file with these pairs, put in one after the other; no key may come twice.
pub(super) fn file(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut table = Table {
        pairs,
        hashes: pairs.iter().map(|(key, _)| hash(key)).collect(),
        buckets: vec![vec![Page::default()], vec![Page::default()]],
        low: 0,
        high: 1,
    };
    for pair in 0..u32::try_from(pairs.len()).unwrap_or(u32::MAX) {
        let bucket = table.bucket(pair);
        if table.add(bucket, pair, false) {
            table.split();
        }
    }
    table.write()
}

/// The hash function of the library's later versions (FNV-1 without its offset).
fn hash(key: &[u8]) -> u32 {
    key.iter().fold(0u32, |hash, byte| hash.wrapping_mul(16_777_619) ^ u32::from(*byte))
}

/// How many bytes an item takes on a page.
fn size(data: &[u8]) -> usize {
    if data.len() > LONG { 12 } else { 1 + data.len() }
}

/// The library's order of keys on a page: by their bytes, but longer ones before those they start with.
fn precedes(left: &[u8], right: &[u8]) -> bool {
    let common = left.len().min(right.len());
    match left[..common].cmp(&right[..common]) {
        Ordering::Equal => left.len() > right.len(),
        other => other == Ordering::Less,
    }
}

impl Table<'_> {
    fn bucket(&self, pair: Pair) -> usize {
        let hash = self.hashes[pair as usize];
        let bucket = hash & self.high;
        (if bucket as usize >= self.buckets.len() { bucket & self.low } else { bucket }) as usize
    }

    /// Put a pair into a bucket: on the first page with room, or only the last one. True: it took a new page.
    fn add(&mut self, bucket: usize, pair: Pair, at_end: bool) -> bool {
        let (key, value) = self.pairs[pair as usize];
        let size = size(key) + size(value) + 4;
        const ROOM: usize = PAGE - HEADER;
        let pages = &mut self.buckets[bucket];
        let last = pages.len() - 1;
        // A pair that just fits is put on the last page, but not on one before.
        let before = if at_end { None } else { pages[..last].iter().position(|page| page.used + size < ROOM) };
        let at = before.or((pages[last].used + size <= ROOM).then_some(last));
        let is_full = at.is_none();
        if is_full {
            pages.push(Page::default());
        }
        let at = at.unwrap_or(last + 1);
        let page = &mut pages[at];
        page.used += size;
        let place = page.pairs.partition_point(|&other| precedes(self.pairs[other as usize].0, key));
        page.pairs.insert(place, pair);
        is_full
    }

    /// Add a bucket, which takes its share of the one that it is split from.
    fn split(&mut self) {
        let new = self.buckets.len() as u32;
        if new > self.high {
            self.low = self.high;
            self.high |= new;
        }
        let old = (new & self.low) as usize;
        self.buckets.push(vec![Page::default()]);
        let pages = std::mem::replace(&mut self.buckets[old], vec![Page::default()]);
        for pair in pages.into_iter().flat_map(|page| page.pairs) {
            let bucket = self.bucket(pair);
            self.add(bucket, pair, true);
        }
    }

    fn write(self) -> Vec<u8> {
        let mut writer = Writer::new();
        let buckets = self.buckets.len() as u32;
        // Pages come in groups that double; all groups lie together here, at distance one from their buckets.
        let groups = buckets.next_power_of_two();
        let first = writer.reserve(groups);
        for number in first..first + groups {
            writer.items(number, Header { kind: PAGE_HASH, ..Header::default() }, std::iter::empty());
        }
        for (bucket, pages) in (first..).zip(&self.buckets) {
            let mut previous = 0;
            let mut number = bucket;
            for (at, page) in pages.iter().enumerate() {
                let items = self.items(page, &mut writer);
                let next = if at + 1 < pages.len() { writer.reserve(1) } else { 0 };
                let header = Header { previous, next, level: 0, kind: PAGE_HASH };
                writer.items(number, header, items.iter().map(Vec::as_slice));
                (previous, number) = (number, next);
            }
        }
        let count = self.pairs.len() as u32;
        let mut meta = vec![
            (72, buckets - 1),
            (76, self.high),
            (80, self.low),
            (88, EXPECTED.saturating_add(count)),
            (92, hash(CHECK)),
        ];
        meta.extend((0..=groups.trailing_zeros()).map(|group| (96 + 4 * group as usize, first)));
        writer.finish(HASH_MAGIC, META, &meta)
    }

    /// The items of a page: keys and values in turn.
    fn items(&self, page: &Page, writer: &mut Writer) -> Vec<Vec<u8>> {
        let pairs = page.pairs.iter().map(|&pair| self.pairs[pair as usize]);
        pairs.flat_map(|(key, value)| [key, value]).map(|data| item(writer, data)).collect()
    }
}

fn item(writer: &mut Writer, data: &[u8]) -> Vec<u8> {
    if data.len() <= LONG {
        return [&[IN_PLACE], data].concat();
    }
    let page = writer.overflow(data);
    let mut item = vec![OVERFLOW, 0, 0, 0];
    item.extend_from_slice(&page.to_le_bytes());
    item.extend_from_slice(&(data.len() as u32).to_le_bytes());
    item
}
