//! Reads Berkeley DB files of the hash and btree kind, as postmap(1) makes them, without the library.
//!
//! All pairs are read once into memory; nothing here looks up a key in the file. Pages are visited in file order, not
//! by the tree or the buckets: every leaf page tells by itself what it holds, which keeps a broken file from leading
//! the reader in circles. Only what the pages promise within the file's bounds is believed.

use std::cell::Cell;

/// Page and metadata offsets, from the format of Berkeley DB 4.2 and later (hash 8–10, btree 9–10).
pub(super) mod offset {
    pub(in crate::file) const MAGIC: usize = 12;
    pub(in crate::file) const VERSION: usize = 16;
    pub(in crate::file) const PAGE_SIZE: usize = 20;
    pub(in crate::file) const ENCRYPTION: usize = 24;
    pub(in crate::file) const META_FLAGS: usize = 26;
    pub(in crate::file) const LAST_PAGE: usize = 32;
    pub(in crate::file) const NEXT_PAGE: usize = 16;
    pub(in crate::file) const ENTRIES: usize = 20;
    pub(in crate::file) const DATA_LENGTH: usize = 22;
    pub(in crate::file) const PAGE_TYPE: usize = 25;
    pub(in crate::file) const ITEMS: usize = 26;
}

pub(super) const HASH_MAGIC: u32 = 0x06_1561;
pub(super) const BTREE_MAGIC: u32 = 0x05_3162;

pub(super) const PAGE_HASH_UNSORTED: u8 = 2;
pub(super) const PAGE_IBTREE: u8 = 3;
pub(super) const PAGE_LBTREE: u8 = 5;
pub(super) const PAGE_OVERFLOW: u8 = 7;
const PAGE_LDUP: u8 = 12;
pub(super) const PAGE_HASH: u8 = 13;

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// Not a Berkeley DB file.
    #[error("not a Berkeley DB hash or btree file")]
    Magic,
    /// Another format.
    #[error("unsupported Berkeley DB format version {0}")]
    Version(u32),
    /// Encrypted or with checksums; Postfix makes neither.
    #[error("encrypted Berkeley DB files and files with checksums are not supported")]
    Protected,
    /// The file ends early.
    #[error("file is truncated: {found} bytes instead of {expected}")]
    Truncated {
        /// How long it should be.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// A page contradicts itself.
    #[error("page {0} is corrupt")]
    Page(u32),
}

/// A whole file, seen as pages.
pub(super) struct Pages<'a> {
    file: &'a [u8],
    size: usize,
    pub(super) last: u32,
    big_endian: bool,
    /// How many more bytes of items are believed: items that share bytes could else swell without end.
    budget: Cell<usize>,
}

/// Hand every key with its first value to `each`. NULs at their ends are already gone.
pub(crate) fn read(file: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
    let pages = Pages::new(file)?;
    for number in 1..=pages.last {
        let page = pages.page(number)?;
        match page.bytes[offset::PAGE_TYPE] {
            PAGE_HASH | PAGE_HASH_UNSORTED | PAGE_LBTREE => {
                page.leaf_pairs(&mut |key, value| each(without_nul(key), without_nul(value)))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Postfix's tables may be made with or without a NUL after keys and values.
fn without_nul(text: &[u8]) -> &[u8] {
    text.strip_suffix(&[0]).unwrap_or(text)
}

impl<'a> Pages<'a> {
    pub(super) fn new(file: &'a [u8]) -> Result<Self, Broken> {
        let word = |at: usize, big_endian| number(file, at, big_endian).ok_or(Broken::Magic);
        let big_endian = !matches!(word(offset::MAGIC, false)?, HASH_MAGIC | BTREE_MAGIC);
        let versions = match word(offset::MAGIC, big_endian)? {
            HASH_MAGIC => 8..=10,
            BTREE_MAGIC => 9..=10,
            _ => return Err(Broken::Magic),
        };
        let version = word(offset::VERSION, big_endian)?;
        if !versions.contains(&version) {
            return Err(Broken::Version(version));
        }
        let size = word(offset::PAGE_SIZE, big_endian)? as usize;
        if !size.is_power_of_two() || !(512..=65536).contains(&size) || file.len() < 512 {
            return Err(Broken::Page(0));
        }
        if file[offset::ENCRYPTION] != 0 || file[offset::META_FLAGS] & 1 != 0 {
            return Err(Broken::Protected);
        }
        let last = word(offset::LAST_PAGE, big_endian)?;
        let expected = (u64::from(last) + 1) * size as u64;
        let found = file.len() as u64;
        if found < expected {
            return Err(Broken::Truncated { expected, found });
        }
        // Every item has its own bytes, except keys that several values on a btree page share.
        let budget = Cell::new(file.len().saturating_mul(4));
        Ok(Self { file, size, last, big_endian, budget })
    }

    /// A number of the metadata page.
    pub(super) fn meta(&self, at: usize) -> Result<u32, Broken> {
        self.file.get(..self.size).and_then(|page| number(page, at, self.big_endian)).ok_or(Broken::Page(0))
    }

    pub(super) fn page(&self, number: u32) -> Result<Page<'_, 'a>, Broken> {
        let start = number as usize * self.size;
        let bytes = self.file.get(start..start + self.size).ok_or(Broken::Page(number))?;
        Ok(Page { pages: self, number, bytes })
    }
}

/// A 32-bit number of the file.
fn number(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
}

#[derive(Clone, Copy)]
pub(super) struct Page<'p, 'a> {
    pages: &'p Pages<'a>,
    number: u32,
    bytes: &'a [u8],
}

/// An item of a leaf page: in place, or gathered from overflow pages.
type Item<'a> = std::borrow::Cow<'a, [u8]>;

impl<'a> Page<'_, 'a> {
    pub(super) fn kind(&self) -> u8 {
        self.bytes[offset::PAGE_TYPE]
    }

    pub(super) fn broken(&self) -> Broken {
        Broken::Page(self.number)
    }

    fn short(&self, at: usize) -> Result<usize, Broken> {
        let two = self.bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).ok_or(self.broken())?;
        Ok(usize::from(if self.pages.big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) }))
    }

    pub(super) fn word(&self, at: usize) -> Result<u32, Broken> {
        number(self.bytes, at, self.pages.big_endian).ok_or(self.broken())
    }

    fn slice(&self, start: usize, length: usize) -> Result<&'a [u8], Broken> {
        self.bytes.get(start..start.saturating_add(length)).ok_or(self.broken())
    }

    /// Where item number `index` starts.
    pub(super) fn item(&self, index: usize) -> Result<usize, Broken> {
        self.short(offset::ITEMS + 2 * index)
    }

    /// The pairs of a leaf page of either kind.
    pub(super) fn leaf_pairs(&self, each: &mut impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
        let is_btree = self.bytes[offset::PAGE_TYPE] == PAGE_LBTREE;
        self.pairs(if is_btree { Page::btree_item } else { Page::hash_item }, each)
    }

    /// The pairs of a leaf page: keys have even, values odd numbers.
    fn pairs(
        &self,
        item: fn(&Self, usize) -> Result<Option<Item<'a>>, Broken>,
        each: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Broken> {
        let entries = self.short(offset::ENTRIES)?;
        for index in (0..entries.saturating_sub(1)).step_by(2) {
            if let (Some(key), Some(value)) = (item(self, index)?, item(self, index + 1)?) {
                let left = self.pages.budget.get().checked_sub(key.len() + value.len());
                self.pages.budget.set(left.ok_or(self.broken())?);
                each(&key, &value);
            }
        }
        Ok(())
    }

    /// An item of a hash page. Its length is the distance to the item before, since items grow from the page's end.
    fn hash_item(&self, index: usize) -> Result<Option<Item<'a>>, Broken> {
        let start = self.item(index)?;
        let end = if index == 0 { self.pages.size } else { self.item(index - 1)? };
        let bytes = self.slice(start, end.checked_sub(start).ok_or(self.broken())?)?;
        match bytes.first() {
            Some(1) => Ok(Some(bytes[1..].into())),
            // Duplicates on the page: each has its length before and after it. The first is what a look-up gets.
            Some(2) => Ok(Some(self.slice(start + 3, self.short(start + 1)?)?.into())),
            Some(3) => self.overflow(self.word(start + 4)?, self.word(start + 8)?).map(Some),
            Some(4) => self.first_duplicate(self.word(start + 4)?),
            _ => Err(self.broken()),
        }
    }

    /// An item of a btree page; `None` when it is deleted.
    fn btree_item(&self, index: usize) -> Result<Option<Item<'a>>, Broken> {
        const DELETED: u8 = 0x80;
        let start = self.item(index)?;
        let kind = *self.bytes.get(start + 2).ok_or(self.broken())?;
        if kind & DELETED != 0 {
            return Ok(None);
        }
        match kind {
            1 => Ok(Some(self.slice(start + 3, self.short(start)?)?.into())),
            2 => self.first_duplicate(self.word(start + 4)?),
            3 => self.overflow(self.word(start + 4)?, self.word(start + 8)?).map(Some),
            _ => Err(self.broken()),
        }
    }

    /// A long item, spread over a chain of pages.
    fn overflow(&self, first: u32, length: u32) -> Result<Item<'a>, Broken> {
        let length = length as usize;
        if length > self.pages.file.len() {
            return Err(self.broken());
        }
        let (mut text, mut next) = (Vec::with_capacity(length), first);
        while text.len() < length {
            let page = self.pages.page(next)?;
            let data = page.slice(offset::ITEMS, page.short(offset::DATA_LENGTH)?)?;
            // An empty page would let a chain go round for ever.
            if next == 0 || page.bytes[offset::PAGE_TYPE] != PAGE_OVERFLOW || data.is_empty() {
                return Err(page.broken());
            }
            text.extend_from_slice(&data[..data.len().min(length - text.len())]);
            next = page.word(offset::NEXT_PAGE)?;
        }
        Ok(text.into())
    }

    /// The first of many duplicates, which have a tree of their own.
    fn first_duplicate(&self, root: u32) -> Result<Option<Item<'a>>, Broken> {
        // No tree is deeper than this; a deeper one is a circle.
        const DEPTH: usize = 32;
        let mut next = root;
        for _ in 0..DEPTH {
            let page = self.pages.page(next)?;
            match page.bytes[offset::PAGE_TYPE] {
                // Entries of inner pages: length, type, unused byte, page number.
                PAGE_IBTREE => next = page.word(page.item(0)? + 4)?,
                PAGE_LDUP => return page.leaf_duplicate(),
                _ => return Err(page.broken()),
            }
        }
        Err(self.broken())
    }

    fn leaf_duplicate(&self) -> Result<Option<Item<'a>>, Broken> {
        for index in 0..self.short(offset::ENTRIES)? {
            let start = self.item(index)?;
            // Duplicates of duplicates don't exist.
            if self.bytes.get(start + 2).is_some_and(|kind| kind & 0x7f == 2) {
                return Err(self.broken());
            }
            if let Some(item) = self.btree_item(index)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "bdb_tests.rs"]
mod tests;
