//! The client of policy services (SMTPD_POLICY_README): kept connections, tries, time limits, a circuit breaker.
//!
//! What is asked, and what an answer means, is decided in `policy`; here a request goes out and an action comes back,
//! or the warnings that Postfix would log.

mod breaker;
mod connection;
#[cfg(test)]
mod tests;

pub use connection::{Stream, connect};

use crate::dns::Resolver;
use breaker::{Admission, Breaker};
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

/// What came of asking a service.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its action, or why there is none, one line for each warning.
    pub action: Result<Arc<str>, Arc<str>>,
    /// Lines for the log that are no part of the decision.
    pub notices: Vec<String>,
}

/// Ask a service.
pub async fn ask(service: &Arc<PolicyService>, request: &str, resolver: &Arc<Resolver>) -> Asked {
    let pool = pool(service);
    let mut tries = Tries::new(&pool);
    let mut admission = tries.admit();
    loop {
        let probe = match admission {
            Admission::Pass => return tries.passed_over(),
            Admission::Probe(probe) => Some(probe),
            Admission::Ask => None,
        };
        let is_probe = probe.is_some();
        let is_slow = match pool.ask(request, resolver, is_probe).await {
            Ok(Some(action)) => return tries.answered(action),
            Ok(None) => return tries.passed_over(),
            Err(failure) => {
                if let Some(asked) = tries.failed(&failure, is_probe) {
                    return asked;
                }
                failure.is_timeout
            }
        };
        sleep(service.retry_delay.max(SHORTEST_PAUSE)).await;
        // Another try costs next to nothing, unless it means another long wait.
        admission = if is_slow { tries.admit() } else { Admission::Ask };
    }
}

/// The tries of one request.
struct Tries<'a> {
    service: &'a PolicyService,
    breaker: Option<&'a Breaker>,
    count: u32,
    warnings: String,
    notices: Vec<String>,
}

impl<'a> Tries<'a> {
    fn new(pool: &'a Pool) -> Self {
        let breaker = pool.breaker.as_deref();
        Self { service: &pool.service, breaker, count: 0, warnings: String::new(), notices: Vec::new() }
    }

    fn admit(&self) -> Admission<'a> {
        self.breaker.map_or(Admission::Ask, |breaker| breaker.admit(Instant::now()))
    }

    fn warn(&mut self, text: &str) {
        if self.warnings.len() + text.len() <= WARNING_LIMIT {
            self.warnings.push_str(text);
            self.warnings.push('\n');
        }
    }

    /// A try failed; what there is to say if it was the last one.
    fn failed(&mut self, failure: &Failure, is_probe: bool) -> Option<Asked> {
        self.count = self.count.saturating_add(1);
        let is_last = is_probe || (self.service.try_limit > 0 && self.count >= self.service.try_limit);
        if let Some(text) = &failure.warning {
            self.warn(text);
        }
        if is_last || failure.is_notable {
            self.warn(&format!("problem talking to server {}: {}", self.service.server(), failure.why));
        }
        if let Some(breaker) = self.breaker {
            if is_probe {
                breaker.probe_failed(Instant::now());
            } else if (is_last || failure.is_timeout)
                && let Some(failures) = breaker.failed(Instant::now())
            {
                let PolicyService { name, default_action, .. } = self.service;
                self.notices.push(format!(
                    "warning: policy service {name}: {failures} failures in a row: until it answers again its default \
                     action counts: {default_action}"
                ));
            }
        }
        is_last
            .then(|| Asked { action: Err(self.warnings.trim_end().into()), notices: std::mem::take(&mut self.notices) })
    }

    fn answered(mut self, action: Arc<str>) -> Asked {
        self.note_warnings();
        if let Some(outage) = self.breaker.and_then(|breaker| breaker.succeeded(Instant::now())) {
            let (name, seconds) = (&self.service.name, outage.as_secs());
            self.notices.push(format!("policy service {name}: answers again, after {seconds} s"));
        }
        Asked { action: Ok(action), notices: self.notices }
    }

    fn passed_over(mut self) -> Asked {
        self.note_warnings();
        Asked { action: Err(PolicyService::PASSED_OVER.into()), notices: self.notices }
    }

    /// Warnings about tries are logged even if they didn't matter in the end.
    fn note_warnings(&mut self) {
        let lines = self.warnings.lines().map(|line| format!("warning: {line}"));
        self.notices.extend(lines);
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
    breaker: Option<Arc<Breaker>>,
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
        let breaker = breaker::of(&service);
        Self { service, breaker, in_use: Semaphore::new(CONNECTION_LIMIT), idle: Mutex::default() }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One try; nothing if the service was given up while this one waited for its turn. A probe doesn't wait.
    async fn ask(
        self: &Arc<Self>,
        request: &str,
        resolver: &Arc<Resolver>,
        is_probe: bool,
    ) -> Result<Option<Arc<str>>, Failure> {
        let mut permit = self.in_use.try_acquire().ok();
        if permit.is_none() && !is_probe {
            let waited = timeout(self.service.timeout, self.in_use.acquire()).await;
            if self.breaker.as_ref().is_some_and(|breaker| breaker.is_open()) {
                return Ok(None);
            }
            permit = Some(waited.ok().and_then(Result::ok).ok_or_else(Failure::timed_out)?);
        }
        while let Some(mut kept) = self.take() {
            match kept.exchange(&self.service, request).await {
                // The service closed it while the request was on its way: that says nothing about the service.
                Err(failure) if failure.is_disconnect => {}
                Err(failure) => return Err(failure),
                Ok(action) => {
                    self.keep(kept);
                    return Ok(Some(action));
                }
            }
        }
        let mut fresh = Connection::open(&self.service, resolver).await?;
        let action = fresh.exchange(&self.service, request).await?;
        self.keep(fresh);
        drop(permit);
        Ok(Some(action))
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
        // What comes meanwhile is seen when it is taken.
        if !connection.may_be_kept(&self.service, connection.idle_since) {
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
