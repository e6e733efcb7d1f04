//! Tables that somebody else serves: databases, directories, caches, and programs that speak a table protocol.
//!
//! Their look-ups wait (`Table::waits`), so callers put them on a pool for blocking work.

// Some of what these offer is of use to types only that are features.
#[cfg_attr(not(all(feature = "ldap", feature = "mysql", feature = "pgsql")), allow(dead_code))]
mod attributes;
mod domains;
#[cfg_attr(not(all(feature = "ldap", feature = "mysql", feature = "pgsql")), allow(dead_code))]
#[cfg(feature = "client-tls")]
mod exchange;
#[cfg_attr(not(all(feature = "ldap", feature = "mysql", feature = "pgsql")), allow(dead_code))]
mod expansion;
#[cfg(feature = "ldap")]
mod ldap;
mod memcache;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "pgsql")]
mod pgsql;
#[cfg_attr(not(all(feature = "ldap", feature = "mysql", feature = "pgsql")), allow(dead_code))]
mod pool;
#[cfg_attr(not(all(feature = "ldap", feature = "mysql", feature = "pgsql")), allow(dead_code))]
mod query;
#[cfg(feature = "redis")]
mod redis;
mod server;
mod socketmap;
#[cfg_attr(not(all(feature = "ldap", feature = "mysql", feature = "pgsql")), allow(dead_code))]
#[cfg(any(feature = "mysql", feature = "pgsql"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod stream;
#[cfg(test)]
mod stub;
mod tcp;
#[cfg_attr(not(all(feature = "ldap", feature = "mysql", feature = "pgsql")), allow(dead_code))]
#[cfg(feature = "client-tls")]
mod tls;

use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;

/// `memcache:`, inside so many compounds.
pub(crate) fn memcache(spec: &TableSpec<'_>, options: &OpenOptions, depth: usize) -> Result<Opened, OpenFailure> {
    memcache::open(spec, options, depth)
}

/// `redis:`.
#[cfg(feature = "redis")]
pub(crate) fn redis(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    redis::open(spec, options)
}

/// `socketmap:`.
pub(crate) fn socketmap(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    socketmap::open(spec, options)
}

/// `tcp:`.
pub(crate) fn tcp(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    tcp::open(spec, options)
}

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

/// `ldap:`.
#[cfg(feature = "ldap")]
pub(crate) fn ldap(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    ldap::open(spec, options)
}

/// `mysql:`.
#[cfg(feature = "mysql")]
pub(crate) fn mysql(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    mysql::open(spec, options)
}

/// `pgsql:`.
#[cfg(feature = "pgsql")]
pub(crate) fn pgsql(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    pgsql::open(spec, options)
}

/// The error for a type that this program was built without.
#[allow(dead_code, reason = "used when a feature is off")]
fn not_built_in(kind: &str, options: &OpenOptions) -> OpenFailure {
    let text = format!("table type \"{kind}\" is not built into this program");
    options.error("table-type-unsupported", text).help(format!("build with the feature \"{kind}\"")).into()
}
