//! Where a table's entry was written.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Longer files aren't searched for the line.
const LIMIT: u64 = 64 << 20;

/// `FILE:LINE` of a key in a table that has a text with `key value` lines.
pub fn place(spec: &str, key: &str) -> Option<String> {
    let spec = spec.strip_prefix("proxy:").unwrap_or(spec);
    let (kind, name) = spec.split_once(':')?;
    if !matches!(kind, "hash" | "btree" | "texthash" | "lmdb" | "cdb") {
        return None;
    }
    let file = File::open(Path::new(name)).ok()?;
    if file.metadata().ok()?.len() > LIMIT {
        return None;
    }
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let found = lines.zip(1..).find(|(line, _)| {
        let word = line.split_ascii_whitespace().next().unwrap_or_default();
        !line.starts_with(['#', ' ', '\t']) && word.to_lowercase() == key.to_lowercase()
    });
    found.map(|(_, number)| format!("{name}:{number}"))
}
