use super::*;
use std::collections::BTreeMap;

const HASH: &[u8] = include_bytes!("../../tests/fixtures/hash.db");
const BTREE: &[u8] = include_bytes!("../../tests/fixtures/btree.db");

fn pairs(file: &[u8]) -> Result<BTreeMap<String, String>, Broken> {
    let mut pairs = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    read(file, |key, value| drop(pairs.insert(text(key), text(value)))).map(|()| pairs)
}

/// What is in both fixtures (tests/fixtures/source.txt).
fn expected() -> BTreeMap<String, String> {
    let mut pairs: BTreeMap<String, String> = [
        ("a@example.com", "OK"),
        ("example.net", "REJECT go away"),
        ("upp\u{e9}r", "x"),
        ("\"quo ted\"@example.com", "  v".trim()),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    pairs.insert("long".to_owned(), "0123456789".repeat(2000));
    for n in 0..60 {
        pairs.insert(format!("key{n}"), format!("value {n}"));
    }
    pairs
}

#[test]
fn reads_what_postmap_made() {
    assert_eq!(pairs(HASH).unwrap(), expected());
    assert_eq!(pairs(BTREE).unwrap(), expected());
}

/// The same file as a machine of the other byte order writes it.
fn swapped(file: &[u8]) -> Vec<u8> {
    let mut out = file.to_vec();
    let size = u32::from_le_bytes(file[20..24].try_into().unwrap()) as usize;
    for (n, page) in out.chunks_mut(size).enumerate() {
        let kind = page[25];
        for at in [8, 12, 16, 20] {
            if n == 0 || at < 20 {
                page[at..at + 4].reverse();
            }
        }
        if n == 0 {
            page[32..36].reverse();
            continue;
        }
        let entries = usize::from(u16::from_le_bytes(page[20..22].try_into().unwrap()));
        page[20..22].reverse();
        page[22..24].reverse();
        if !matches!(kind, PAGE_HASH | PAGE_HASH_UNSORTED | PAGE_LBTREE) {
            continue;
        }
        for index in 0..entries {
            let at = offset::ITEMS + 2 * index;
            let start = usize::from(u16::from_le_bytes(page[at..at + 2].try_into().unwrap()));
            page[at..at + 2].reverse();
            let big = if kind == PAGE_LBTREE { page[start + 2] == 3 } else { page[start] == 3 };
            if kind == PAGE_LBTREE && !big {
                page[start..start + 2].reverse();
            }
            if big {
                page[start + 4..start + 8].reverse();
                page[start + 8..start + 12].reverse();
            }
        }
    }
    out
}

#[test]
fn reads_the_other_byte_order() {
    assert_eq!(pairs(&swapped(HASH)).unwrap(), expected());
    assert_eq!(pairs(&swapped(BTREE)).unwrap(), expected());
}

/// A hash page with items written by hand, behind a metadata page.
fn hand_made(kind: u8, magic: u32, items: &[Vec<u8>], more: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut file = vec![0; 512];
    file[12..16].copy_from_slice(&magic.to_le_bytes());
    file[16..20].copy_from_slice(&9u32.to_le_bytes());
    file[20..24].copy_from_slice(&512u32.to_le_bytes());
    file[32..36].copy_from_slice(&(1 + more.len() as u32).to_le_bytes());
    let mut page = |kind: u8, items: &[Vec<u8>]| {
        let mut page = vec![0; 512];
        page[20..22].copy_from_slice(&(items.len() as u16).to_le_bytes());
        page[25] = kind;
        let mut end = 512;
        for (index, item) in items.iter().enumerate() {
            end -= item.len();
            page[end..end + item.len()].copy_from_slice(item);
            page[26 + 2 * index..28 + 2 * index].copy_from_slice(&(end as u16).to_le_bytes());
        }
        file.append(&mut page);
    };
    page(kind, items);
    for (kind, item) in more {
        page(*kind, std::slice::from_ref(item));
    }
    file
}

#[test]
fn takes_the_first_of_duplicates() {
    let key = b"\x01k".to_vec();
    let on_page = b"\x02\x02\x00v1\x02\x00\x02\x00v2\x02\x00".to_vec();
    let off_page = b"\x04\0\0\0\x02\0\0\0".to_vec();
    let inner = b"\0\0\x01\0\x03\0\0\0".to_vec();
    let leaf = b"\x02\x00\x01v1".to_vec();
    let found = |file: &[u8]| pairs(file).map(|pairs| pairs["k"].clone());
    assert_eq!(found(&hand_made(13, HASH_MAGIC, &[key.clone(), on_page], &[])), Ok("v1".to_owned()));
    let tree = hand_made(13, HASH_MAGIC, &[key.clone(), off_page.clone()], &[(3, inner.clone()), (12, leaf.clone())]);
    assert_eq!(found(&tree), Ok("v1".to_owned()));
    let items = [b"\x02\x00\x01k\0".to_vec(), b"\0\0\x02\0\x02\0\0\0".to_vec()];
    assert_eq!(found(&hand_made(5, BTREE_MAGIC, &items, &[(12, leaf)])), Ok("v1".to_owned()));
    let circle = hand_made(13, HASH_MAGIC, &[key, off_page], &[(3, b"\0\0\x01\0\x02\0\0\0".to_vec())]);
    assert_eq!(found(&circle), Err(Broken::Page(1)));
}

#[test]
fn deleted_btree_items_are_gone() {
    let items = [b"\x01\x00\x01k".to_vec(), b"\x01\x00\x81v".to_vec()];
    assert_eq!(pairs(&hand_made(5, BTREE_MAGIC, &items, &[])), Ok(BTreeMap::new()));
}

#[test]
fn refuses_other_files() {
    assert_eq!(pairs(b""), Err(Broken::Magic));
    assert_eq!(pairs(&[7; 5000]), Err(Broken::Magic));
    let mut old = HASH.to_vec();
    old[16] = 7;
    assert_eq!(pairs(&old), Err(Broken::Version(7)));
    let mut checksums = HASH.to_vec();
    checksums[26] |= 1;
    assert_eq!(pairs(&checksums), Err(Broken::Protected));
    let (expected, found) = (HASH.len() as u64, HASH.len() as u64 - 1);
    assert_eq!(pairs(&HASH[..HASH.len() - 1]), Err(Broken::Truncated { expected, found }));
}

/// Broken bytes anywhere must end in an answer or an error, never in a panic or a circle.
#[test]
fn survives_corruption() {
    for file in [HASH, BTREE] {
        let mut errors = 0;
        let mut state = 1u64;
        for _ in 0..3000 {
            let mut broken = file.to_vec();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Mostly the bytes that steer: page headers, item places, item heads.
                let at = (state >> 33) as usize % broken.len();
                let at = if state & 1 == 0 { at - at % 4096 + at % 200 } else { at };
                let last = broken.len() - 1;
                broken[at.min(last)] = (state >> 24) as u8;
            }
            errors += usize::from(pairs(&broken).is_err());
        }
        assert!(errors > 100, "only {errors} errors: the corruption misses");
    }
}
