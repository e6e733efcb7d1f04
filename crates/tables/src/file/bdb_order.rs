//! Berkeley DB files in database order, as a cursor of the library walks them: a hash bucket by bucket, a btree along
//! its leaves. `postmap -s` prints in this order, and updates keep it.

use super::bdb::{
    self, BTREE_MAGIC, Broken, HASH_MAGIC, PAGE_HASH, PAGE_HASH_UNSORTED, PAGE_IBTREE, PAGE_LBTREE, Pages,
};

/// Offsets in the metadata page, beyond those that all kinds have.
const MAX_BUCKET: usize = 72;
const SPARES: usize = 96;
const ROOT: usize = 88;

/// Which kind of file is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Hash,
    Btree,
}

/// Hand every key and value to `each` as stored, with the NULs that postmap puts behind them.
pub(super) fn walk(file: &[u8], access: Access, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
    let pages = Pages::new(file)?;
    let magic = pages.meta(bdb::offset::MAGIC)?;
    match access {
        Access::Hash if magic == HASH_MAGIC => hash(&pages, &mut each),
        Access::Btree if magic == BTREE_MAGIC => btree(&pages, &mut each),
        _ => Err(Broken::Magic),
    }
}

fn hash(pages: &Pages<'_>, each: &mut impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
    let mut budget = pages.last;
    for bucket in 0..=pages.meta(MAX_BUCKET)? {
        // Buckets come in groups that double; each group has its own distance from its pages.
        let group = (u32::BITS - bucket.leading_zeros()) as usize;
        let first = pages.meta(SPARES + 4 * group)?.checked_add(bucket).ok_or(Broken::Page(0))?;
        chain(pages, first, &[PAGE_HASH, PAGE_HASH_UNSORTED], &mut budget, each)?;
    }
    Ok(())
}

fn btree(pages: &Pages<'_>, each: &mut impl FnMut(&[u8], &[u8])) -> Result<(), Broken> {
    // No tree is deeper than this; a deeper one is a circle.
    const DEPTH: usize = 32;
    let mut next = pages.meta(ROOT)?;
    for _ in 0..DEPTH {
        let page = pages.page(next)?;
        if page.kind() != PAGE_IBTREE {
            return chain(pages, next, &[PAGE_LBTREE], &mut pages.last.clone(), each);
        }
        // Entries of inner pages: length, type, unused byte, page number.
        next = page.word(page.item(0)? + 4)?;
    }
    Err(Broken::Page(next))
}

/// The pairs of a page and of those it leads to. No page comes twice in a sound file, which `budget` holds.
fn chain(
    pages: &Pages<'_>,
    first: u32,
    kinds: &[u8],
    budget: &mut u32,
    each: &mut impl FnMut(&[u8], &[u8]),
) -> Result<(), Broken> {
    let mut next = first;
    while next != 0 {
        let page = pages.page(next)?;
        *budget = budget.checked_sub(1).ok_or(page.broken())?;
        // A bucket that was never used may have a page that was never written.
        if !(kinds.contains(&page.kind()) || page.kind() == 0 && next == first) {
            return Err(page.broken());
        }
        page.leaf_pairs(each)?;
        next = page.word(bdb::offset::NEXT_PAGE)?;
    }
    Ok(())
}
