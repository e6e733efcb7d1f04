//! Lookup tables: `type:name` references as in DATABASE_README(5), each opened once and asked by key.
//!
//! What it decides: how a table is found, read, indexed, matched and kept fresh. What it doesn't: which partial keys
//! are tried, what a result means, and what a failed look-up means for the mail (that is `policy`'s).
//!
//! Tables in files are read through memory. Look-ups in tables that somebody else serves may wait ([`Table::waits`]).

mod client;
mod contents;
mod error;
mod file;
mod fold;
mod lines;
mod live;
mod open;
mod pattern;
mod places;
mod set;
mod small;
mod spec;
mod watch;

pub use contents::{Content, Contents, KeyForm};
pub use error::LookupError;
pub use file::{database, source};
pub use fold::fold_bytes as fold_key;
pub use lines::printable_as as printable;
pub use open::{OpenOptions, Opened, open};
pub use places::{Entry, EntryPlaces};
pub use set::TableSet;
pub use spec::{TableSpec, TableType, TypeStatus, table_types};
pub use watch::WatchedFile;

use std::sync::Arc;

/// Keys and values of a table, in its order.
pub type Pairs = Vec<(Arc<str>, Arc<str>)>;

/// One lookup table, opened.
pub trait Table: Send + Sync {
    /// The value of a key, `None` when the table has none.
    ///
    /// Fixed-key tables fold the key's case themselves (unless opened with `fold: false`); pattern tables see it as it is.
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError>;

    /// The value of a key that need not be UTF-8, without a check of the value either: for tools that are asked to go
    /// without. Tables that can't have such keys have none.
    fn get_bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        match std::str::from_utf8(key) {
            Ok(key) => Ok(self.get(key)?.map(|value| value.as_bytes().to_vec())),
            Err(_) => Ok(None),
        }
    }

    /// All pairs, of tables that have such a list.
    fn pairs(&self) -> Option<Pairs> {
        None
    }

    /// Everything that a look-up could find; `None` where that can't be listed. A look-up that fails is no part of it.
    fn contents(&self) -> Contents {
        contents::of_pairs(self)
    }

    /// Is this a pattern table (regexp, pcre, cidr, tcp, socketmap, or a compound whose first member is one)? Callers then ask for the
    /// whole key only and don't try partial keys.
    fn is_pattern(&self) -> bool {
        false
    }

    /// May a look-up wait for a network, a disk or another process? Then it belongs on a pool for blocking work; its
    /// wait is bounded.
    fn waits(&self) -> bool {
        false
    }
}

/// Where run-time warnings go (a value that isn't UTF-8, a PCRE match limit, `debug:` traces): text without `warning:`.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// The value of a main.cf parameter, expanded; `None` when it isn't set.
pub type ParameterLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;
