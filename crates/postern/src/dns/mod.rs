//! The DNS client: a TTL cache first, identical questions in flight merged, temporary failures told from absence.
//!
//! No search list is applied. A [`Resolver`] belongs to one event loop; what they have [`Learnt`] is common.

mod cache;
mod exchange;
mod hosts;
mod peer;
mod wire;

pub use hosts::{Hosts, ResolverConfig};
pub use peer::{Peer, reverse_name};
pub use wire::failure_text;

use crate::clock;
use cache::Cache;
use exchange::Server;
use policy::{DnsAnswer, DnsStatus, RecordType};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use wire::Reply;

/// More questions in flight than this are answered "try again" at once.
const IN_FLIGHT_LIMIT: usize = 20_000;
/// CNAMEs followed, as in Postfix.
const ALIAS_LIMIT: usize = 10;

type Key = (Arc<str>, RecordType);
type Waiters = Vec<oneshot::Sender<Arc<DnsAnswer>>>;

/// What all event loops have learnt: one of them asks, all know.
#[derive(Default)]
pub struct Learnt {
    cache: Mutex<Cache>,
    peers: Mutex<peer::PeerCache>,
}

/// The DNS client of one event loop.
pub struct Resolver {
    servers: Vec<Server>,
    config: ResolverConfig,
    hosts: Hosts,
    learnt: Arc<Learnt>,
    in_flight: Mutex<HashMap<Key, Waiters>>,
}

impl Resolver {
    /// A client of these servers.
    pub fn new(config: ResolverConfig, hosts: Hosts, learnt: Arc<Learnt>) -> Arc<Self> {
        Arc::new(Self {
            servers: config.servers.iter().copied().map(Server::new).collect(),
            config,
            hosts,
            learnt,
            in_flight: Mutex::default(),
        })
    }

    /// Names and addresses that need no DNS.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// A cached answer.
    pub fn cached(&self, name: &Arc<str>, rtype: RecordType) -> Option<Arc<DnsAnswer>> {
        self.learnt.cache.lock().unwrap_or_else(PoisonError::into_inner).get(name, rtype, clock::now_ms())
    }

    /// Ask, or join those who already ask the same.
    pub async fn query(self: &Arc<Self>, name: &Arc<str>, rtype: RecordType) -> Arc<DnsAnswer> {
        if let Some(answer) = self.cached(name, rtype) {
            return answer;
        }
        let answer = {
            let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
            let full = in_flight.len() >= IN_FLIGHT_LIMIT;
            let key = (Arc::clone(name), rtype);
            let (done, answer) = oneshot::channel();
            if let Some(waiters) = in_flight.get_mut(&key) {
                waiters.push(done);
            } else if full {
                return Arc::new(wire::retry(name, rtype));
            } else {
                in_flight.insert(key.clone(), vec![done]);
                tokio::spawn(Arc::clone(self).fetch(key));
            }
            answer
        };
        // The fetching task only vanishes with the event loop.
        answer.await.unwrap_or_else(|_| Arc::new(wire::retry(name, rtype)))
    }

    async fn fetch(self: Arc<Self>, key: Key) {
        let (answer, ttl) = self.ask_servers(&key.0, key.1).await;
        let answer = Arc::new(answer);
        self.learnt.cache.lock().unwrap_or_else(PoisonError::into_inner).put(
            Arc::clone(&key.0),
            key.1,
            Arc::clone(&answer),
            ttl,
            clock::now_ms(),
        );
        let waiters = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        for waiter in waiters.unwrap_or_default() {
            // Somebody who gave up is fine.
            let _ = waiter.send(Arc::clone(&answer));
        }
    }

    async fn ask_servers(&self, asked: &Arc<str>, rtype: RecordType) -> (DnsAnswer, u32) {
        let mut name = Arc::clone(asked);
        let mut longest = u32::MAX;
        if wire::encode(0, &name, rtype).is_none() {
            return (wire::failure(asked, rtype, DnsStatus::NotFound, "Host not found"), 0);
        }
        for _ in 0..=ALIAS_LIMIT {
            match self.ask_in_turn(&name, asked, rtype).await {
                Reply::Answer(answer, ttl) => return (answer, ttl.min(longest)),
                Reply::Alias(target, ttl) => {
                    name = target;
                    longest = longest.min(ttl);
                }
                Reply::Truncated | Reply::Unusable => return (wire::retry(asked, rtype), 0),
            }
        }
        (wire::retry(asked, rtype), 0)
    }

    /// Each server in order, as often as configured; one that answers without being able to help isn't asked again.
    async fn ask_in_turn(&self, name: &Arc<str>, asked: &Arc<str>, rtype: RecordType) -> Reply {
        for _ in 0..self.config.attempts {
            let before = clock::now_ms();
            for server in &self.servers {
                let reply = server.ask(name, asked, rtype, self.config.timeout).await;
                if !matches!(reply, Reply::Unusable | Reply::Truncated) {
                    return reply;
                }
            }
            // All of them answered at once that they can't tell: so would they again.
            if u128::from(clock::now_ms() - before) < self.config.timeout.as_millis() / 2 {
                break;
            }
        }
        Reply::Unusable
    }
}

#[cfg(test)]
mod tests;
