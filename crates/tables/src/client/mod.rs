//! Tables that somebody else serves: databases, directories, caches, and programs that speak a table protocol.
//!
//! Their look-ups wait (`Table::waits`), so callers put them on a pool for blocking work.

mod attributes;
mod expansion;
#[allow(dead_code, reason = "its users come next")]
mod pool;
mod query;
#[cfg(feature = "sqlite")]
mod sqlite;

use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;

/// `sqlite:`.
#[cfg(feature = "sqlite")]
pub(crate) fn sqlite(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    sqlite::open(spec, options)
}

/// `sqlite:`, in a program built without it.
#[cfg(not(feature = "sqlite"))]
pub(crate) fn sqlite(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    Err(not_built_in(spec.kind, options))
}

/// The error for a type that this program was built without.
#[allow(dead_code, reason = "used when a feature is off")]
fn not_built_in(kind: &str, options: &OpenOptions) -> OpenFailure {
    let text = format!("table type \"{kind}\" is not built into this program");
    options.error("table-type-unsupported", text).help(format!("build with the feature \"{kind}\"")).into()
}
