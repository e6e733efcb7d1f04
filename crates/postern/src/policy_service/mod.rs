//! The client of policy services (SMTPD_POLICY_README): kept connections, tries, time limits.
//!
//! What is asked, and what an answer means, is decided in `policy`; here a request goes out and an action comes back,
//! or the warnings that Postfix would log.

mod connection;
#[cfg(test)]
mod tests;

pub use connection::{Stream, connect};

use crate::dns::Resolver;
use connection::{Connection, Failure};
use policy::PolicyService;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

/// Connections in use to one service, from one event loop; who comes later waits.
const CONNECTION_LIMIT: usize = 100;
/// Bytes of warnings kept while trying again and again.
const WARNING_LIMIT: usize = 4096;
/// The shortest pause between tries, so that a wrong configuration does not keep a processor busy.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

thread_local! {
    /// An event loop is a thread, and its connections are of no use to another one. Services with equal settings
    /// share connections, through reloads as well.
    static POOLS: RefCell<HashMap<Arc<PolicyService>, Arc<Pool>>> = RefCell::default();
}

/// Ask a service: its action, or why there is none, one line for each warning.
pub async fn ask(service: &Arc<PolicyService>, request: &str, resolver: &Arc<Resolver>) -> Result<Arc<str>, Arc<str>> {
    let pool = pool(service);
    let mut warnings = String::new();
    let mut tries = 0_u32;
    loop {
        tries = tries.saturating_add(1);
        let failure = match pool.ask(request, resolver).await {
            Ok(action) => return Ok(action),
            Err(failure) => failure,
        };
        let last = service.try_limit > 0 && tries >= service.try_limit;
        let mut warn = |text: &str| {
            if warnings.len() + text.len() <= WARNING_LIMIT {
                warnings.push_str(text);
                warnings.push('\n');
            }
        };
        if let Some(text) = &failure.warning {
            warn(text);
        }
        if last || failure.is_notable {
            warn(&format!("problem talking to server {}: {}", service.server(), failure.why));
        }
        if last {
            return Err(warnings.trim_end().into());
        }
        sleep(service.retry_delay.max(SHORTEST_PAUSE)).await;
    }
}

fn pool(service: &Arc<PolicyService>) -> Arc<Pool> {
    POOLS.with_borrow_mut(|pools| {
        if let Some(pool) = pools.get(service) {
            return Arc::clone(pool);
        }
        // Services that a reload has removed.
        pools.retain(|_, pool| Arc::strong_count(pool) > 1 || !pool.idle().connections.is_empty());
        let pool = Arc::new(Pool::new(Arc::clone(service)));
        pools.insert(Arc::clone(service), Arc::clone(&pool));
        pool
    })
}

/// The connections of one event loop to one service.
struct Pool {
    service: Arc<PolicyService>,
    in_use: Semaphore,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    connections: Vec<Connection>,
    /// A task closes what has been idle for too long.
    is_watched: bool,
}

impl Pool {
    fn new(service: Arc<PolicyService>) -> Self {
        Self { service, in_use: Semaphore::new(CONNECTION_LIMIT), idle: Mutex::default() }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One try.
    async fn ask(self: &Arc<Self>, request: &str, resolver: &Arc<Resolver>) -> Result<Arc<str>, Failure> {
        let permit = timeout(self.service.timeout, self.in_use.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(Failure::timed_out()) };
        while let Some(mut kept) = self.take() {
            match kept.exchange(&self.service, request).await {
                // The service closed it while the request was on its way: that says nothing about the service.
                Err(failure) if failure.is_disconnect => {}
                Err(failure) => return Err(failure),
                Ok(action) => {
                    self.keep(kept);
                    return Ok(action);
                }
            }
        }
        let mut fresh = Connection::open(&self.service, resolver).await?;
        let action = fresh.exchange(&self.service, request).await?;
        self.keep(fresh);
        Ok(action)
    }

    /// A kept connection that can still be used.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some(connection) = idle.connections.pop() {
            if connection.is_usable(&self.service, Instant::now()) {
                return Some(connection);
            }
        }
        None
    }

    fn keep(self: &Arc<Self>, mut connection: Connection) {
        connection.idle_since = Instant::now();
        if !connection.is_usable(&self.service, connection.idle_since) {
            return;
        }
        let mut idle = self.idle();
        if idle.connections.len() >= CONNECTION_LIMIT {
            return;
        }
        idle.connections.push(connection);
        if !idle.is_watched {
            idle.is_watched = true;
            tokio::spawn(Arc::clone(self).watch());
        }
    }

    /// Close connections when their time is over, until none is left.
    async fn watch(self: Arc<Self>) {
        loop {
            let next = {
                let mut idle = self.idle();
                let now = Instant::now();
                idle.connections.retain(|connection| connection.is_usable(&self.service, now));
                let next = idle.connections.iter().map(|connection| connection.end(&self.service)).min();
                idle.is_watched = next.is_some();
                next
            };
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => return,
            }
        }
    }
}
