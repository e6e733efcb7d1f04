//! Look-ups in tables from an event loop: at once in memory, on the pool for blocking work where a table may wait.

use message::{Lookup, LookupFailed};
use policy::TableId;
use std::sync::Arc;
use std::time::Duration;
use tables::{LookupError, TableSet};

/// So many threads of each event loop may wait for tables (and for mailbox files) at once; others queue.
pub const POOL: usize = 32;

/// Nobody waits longer for a look-up, its time in the queue included. Tables have shorter limits of their own.
const LIMIT: Duration = Duration::from_secs(120);

/// Ask one table.
pub async fn find(tables: &Arc<TableSet>, table: u32, key: &str) -> Result<Option<Arc<str>>, LookupError> {
    if let Some(found) = tables.lookup_now(table, key) {
        return found;
    }
    let (set, key) = (Arc::clone(tables), key.to_owned());
    let waiting = tokio::task::spawn_blocking(move || set.lookup(table, &key));
    match tokio::time::timeout(LIMIT, waiting).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => Err(LookupError::new(format!("look-up ended early: {error}"))),
        Err(_) => Err(LookupError::new(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

/// Do work that asks tables in between: here, or on the pool if any of them may wait. `None`: it ended early.
pub async fn with_tables<T, W>(tables: &Arc<TableSet>, work: W) -> Option<T>
where
    T: Send + 'static,
    W: FnOnce(&mut dyn Lookup) -> T + Send + 'static,
{
    if !tables.any_waits() {
        return Some(work(&mut Tables(tables)));
    }
    let set = Arc::clone(tables);
    // Its look-ups have limits of their own.
    tokio::task::spawn_blocking(move || work(&mut Tables(&set))).await.ok()
}

/// Tables as cleanup asks them.
struct Tables<'a>(&'a TableSet);

impl Lookup for Tables<'_> {
    fn find(&mut self, table: TableId, key: &str) -> Result<Option<Arc<str>>, LookupFailed> {
        self.0.lookup(table.0, key).map_err(|error| LookupFailed(error.text().clone()))
    }
}
