//! Writes Berkeley DB files whole: the pages that hash and btree files have in common. The library isn't needed; what
//! comes out is what it reads, updates and verifies.
//!
//! Format: hash and btree version 9, little endian, pages of 4 KiB, no transactions, no duplicates.

use std::hash::{BuildHasher, RandomState};

/// The page size; that of the library on common file systems.
pub(super) const PAGE: usize = 4096;
/// Where the items' places begin in a page.
pub(super) const HEADER: usize = 26;

const PAGE_OVERFLOW: u8 = 7;

/// What stands in the header of a page.
#[derive(Clone, Copy, Default)]
pub(super) struct Header {
    pub(super) previous: u32,
    pub(super) next: u32,
    pub(super) level: u8,
    pub(super) kind: u8,
}

/// A file that grows page by page.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// With an empty metadata page.
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; PAGE] }
    }

    /// How many pages there are; the next one has this number.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.bytes.len() / PAGE).unwrap_or(u32::MAX)
    }

    /// Add so many pages; the number of the first.
    pub(super) fn reserve(&mut self, pages: u32) -> u32 {
        let first = self.len();
        self.bytes.resize(self.bytes.len() + pages as usize * PAGE, 0);
        first
    }

    fn page(&mut self, number: u32) -> &mut [u8] {
        let start = number as usize * PAGE;
        &mut self.bytes[start..start + PAGE]
    }

    /// Write a page's header. `entries` and `edge` mean different things on overflow pages.
    fn header(&mut self, number: u32, header: Header, entries: usize, edge: usize) {
        let page = self.page(number);
        // The log sequence number of pages that no log knows.
        put(page, 4, 1);
        put(page, 8, number);
        put(page, 12, header.previous);
        put(page, 16, header.next);
        page[20..22].copy_from_slice(&(entries as u16).to_le_bytes());
        page[22..24].copy_from_slice(&(edge as u16).to_le_bytes());
        page[24] = header.level;
        page[25] = header.kind;
    }

    /// Fill a page with items: their places from the front, the items themselves from the end. They must fit.
    pub(super) fn items<'i>(&mut self, number: u32, header: Header, items: impl Iterator<Item = &'i [u8]>) {
        let (mut edge, mut count) = (PAGE, 0);
        for item in items {
            edge -= item.len();
            let page = self.page(number);
            page[edge..edge + item.len()].copy_from_slice(item);
            let place = HEADER + 2 * count;
            page[place..place + 2].copy_from_slice(&(edge as u16).to_le_bytes());
            count += 1;
        }
        self.header(number, header, count, edge);
    }

    /// A long item on pages of its own; the number of the first.
    pub(super) fn overflow(&mut self, data: &[u8]) -> u32 {
        const ROOM: usize = PAGE - HEADER;
        let first = self.len();
        let mut chunks = data.chunks(ROOM).peekable();
        let mut previous = 0;
        while let Some(chunk) = chunks.next() {
            let number = self.reserve(1);
            self.page(number)[HEADER..HEADER + chunk.len()].copy_from_slice(chunk);
            let next = if chunks.peek().is_some() { number + 1 } else { 0 };
            // One item refers to the chain.
            self.header(number, Header { previous, next, level: 0, kind: PAGE_OVERFLOW }, 1, chunk.len());
            previous = number;
        }
        first
    }

    /// Write the metadata page's common part and its own numbers, and give the file.
    pub(super) fn finish(mut self, magic: u32, kind: u8, own: &[(usize, u32)]) -> Vec<u8> {
        let last = self.len() - 1;
        let meta = self.page(0);
        for (at, number) in [(4, 1), (12, magic), (16, 9), (20, PAGE as u32), (32, last)] {
            put(meta, at, number);
        }
        meta[25] = kind;
        for &(at, number) in own {
            put(meta, at, number);
        }
        meta[52..72].copy_from_slice(&identifier());
        self.bytes
    }
}

/// Twenty bytes that no other file has.
fn identifier() -> [u8; 20] {
    let mut id = [0; 20];
    for part in id.chunks_mut(8) {
        let random = RandomState::new().hash_one(std::process::id());
        part.copy_from_slice(&random.to_le_bytes()[..part.len()]);
    }
    id
}

/// A 32-bit number into a page.
fn put(page: &mut [u8], at: usize, number: u32) {
    page[at..at + 4].copy_from_slice(&number.to_le_bytes());
}
