//! What verify(8) takes from main.cf.

use config::{Diagnostic, Parameters};
use std::path::PathBuf;

/// Table types that Postfix could keep its own cache in.
const KINDS: [&str; 5] = ["lmdb", "btree", "hash", "sdbm", "dbm"];

/// What the cache takes from the configuration; times in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `address_verify_map` as written; empty: memory only.
    pub map: String,
    /// The file of ours that stands for it.
    pub path: Option<PathBuf>,
    /// `address_verify_positive_expire_time`.
    pub positive_expire: u64,
    /// `address_verify_positive_refresh_time`.
    pub positive_refresh: u64,
    /// `address_verify_negative_expire_time`.
    pub negative_expire: u64,
    /// `address_verify_negative_refresh_time`.
    pub negative_refresh: u64,
    /// `address_verify_negative_cache`.
    pub keeps_failures: bool,
    /// `postern_address_verify_answer_early`.
    pub answers_early: bool,
    /// `address_verify_cache_cleanup_interval`; 0: never.
    pub cleanup_interval: u64,
    /// `postfix/verify`.
    pub tag: String,
}

impl Settings {
    /// As a checked configuration has them.
    pub fn of(p: &Parameters) -> Self {
        let seconds = |name: &str| p.time(&format!("address_verify_{name}")).as_secs();
        let map = p.get("address_verify_map").trim().to_owned();
        Self {
            path: file_of(&map).ok().flatten(),
            map,
            positive_expire: seconds("positive_expire_time"),
            positive_refresh: seconds("positive_refresh_time"),
            negative_expire: seconds("negative_expire_time"),
            negative_refresh: seconds("negative_refresh_time"),
            keeps_failures: p.bool("address_verify_negative_cache"),
            answers_early: p.bool("postern_address_verify_answer_early"),
            cleanup_interval: seconds("cache_cleanup_interval"),
            tag: format!("{}/verify", p.get("syslog_name")),
        }
    }
}

/// What can't be kept.
pub fn check(p: &Parameters) -> Option<Diagnostic> {
    let name = "address_verify_map";
    let why = file_of(p.get(name).trim()).err()?;
    let problem = Diagnostic::error("bad-value", format!("{name}: {why}")).at(p.origin(name));
    Some(
        problem
            .help(format!("write {name} = lmdb:$data_directory/verify_cache, or nothing: then it is kept in memory")),
    )
}

/// `TYPE:PATH` is the file `PATH.postern`.
fn file_of(map: &str) -> Result<Option<PathBuf>, String> {
    let bare = map.strip_prefix("proxy:").unwrap_or(map);
    match bare.split_once(':') {
        None if bare.is_empty() => Ok(None),
        Some((kind, path)) if KINDS.contains(&kind) && path.starts_with('/') => {
            Ok(Some(PathBuf::from(format!("{path}.postern"))))
        }
        Some((kind, path)) if KINDS.contains(&kind) => {
            let path = std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
            Ok(Some(PathBuf::from(format!("{}.postern", path.display()))))
        }
        Some((kind, _)) => Err(format!("{kind}: results can't be kept in a table of this type")),
        None => Err(format!("\"{map}\" is not type:name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_names_a_file() {
        for (map, file) in [
            ("", Ok(None)),
            ("lmdb:/var/lib/postfix/verify_cache", Ok(Some("/var/lib/postfix/verify_cache.postern"))),
            ("proxy:btree:/v/c", Ok(Some("/v/c.postern"))),
            ("memcache:/etc/x", Err("memcache: results can't be kept in a table of this type")),
            ("/v/c", Err("\"/v/c\" is not type:name")),
        ] {
            let file = file.map(|file| file.map(PathBuf::from)).map_err(str::to_owned);
            assert_eq!(file_of(map), file, "{map}");
        }
    }
}
