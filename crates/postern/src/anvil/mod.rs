//! anvil(8): who connects how often, for all event loops together.
//!
//! One table, cut into shards with a lock each, which is held for a look-up only. Time is an argument. Nobody is counted
//! where no limit asks for it, and what is over is forgotten: a client that doesn't come again leaves nothing behind.

mod peaks;

pub use peaks::Peaks;

use peaks::Peak;
use smtp::server::Rate;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;
/// So many are counted at most in a shard; a flood of clients pushes out those that have gone.
const SHARD_LIMIT: usize = 14_000;
/// Where there is no room, so many are looked at to find the one to forget.
const CANDIDATES: usize = 16;
/// A shard is cleared of what is over no more often than this (milliseconds).
const SWEEP: u64 = 1000;

/// Whose rates they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ident {
    /// A client of a service.
    Client {
        /// The service's name in master.cf.
        service: Arc<str>,
        /// Its network; `None` is an unknown address.
        network: Option<Network>,
    },
    /// A login, whatever client and service it uses.
    Login(Arc<str>),
}

impl Ident {
    /// A client, with those in the same network.
    pub fn client(service: &Arc<str>, address: Option<IpAddr>, prefixes: Prefixes) -> Self {
        Self::Client { service: Arc::clone(service), network: address.map(|address| prefixes.network(address)) }
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client { service, network: Some(network) } => write!(f, "{service}:{network}"),
            Self::Client { service, network: None } => write!(f, "{service}:unknown"),
            Self::Login(name) => write!(f, "login:{name}"),
        }
    }
}

/// Addresses that are counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.base.is_ipv4() { 32 } else { 128 };
        if self.prefix == whole { write!(f, "{}", self.base) } else { write!(f, "{}/{}", self.base, self.prefix) }
    }
}

/// `smtpd_client_ipv4_prefix_length` and `smtpd_client_ipv6_prefix_length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// Bits of an IPv4 address that count, up to 32.
    pub ipv4: u8,
    /// Bits of an IPv6 address that count, up to 128.
    pub ipv6: u8,
}

impl Prefixes {
    /// The network that an address counts for.
    pub fn network(self, address: IpAddr) -> Network {
        let (base, prefix) = match address {
            IpAddr::V4(address) => {
                let prefix = self.ipv4.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                (IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask)), prefix)
            }
            IpAddr::V6(address) => {
                let prefix = self.ipv6.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                (IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask)), prefix)
            }
        };
        Network { base, prefix }
    }
}

/// What is known of one of them.
#[derive(Clone, Debug, Default)]
struct Remote {
    /// Open connections.
    connections: u32,
    /// When the time unit began that the rates are counted in.
    begin: u64,
    rates: [u32; RATES],
}

const RATES: usize = 5;

impl Remote {
    fn is_over(&self, now: u64, unit: u64) -> bool {
        now.saturating_sub(self.begin) > unit
    }

    /// One more: all rates begin anew together when the time unit is over, as anvil(8) does it.
    fn count(&mut self, rate: Rate, now: u64, unit: u64) -> u32 {
        if self.is_over(now, unit) {
            (self.begin, self.rates) = (now, [0; RATES]);
        }
        let count = &mut self.rates[rate as usize];
        *count = count.saturating_add(1);
        *count
    }
}

#[derive(Debug, Default)]
struct Shard {
    remotes: HashMap<Ident, Remote>,
    swept: u64,
}

impl Shard {
    /// The entry of an ident, made if there is room for it.
    fn remote(&mut self, ident: &Ident, now: u64, unit: u64) -> Option<&mut Remote> {
        if !self.remotes.contains_key(ident) {
            if now.saturating_sub(self.swept) >= SWEEP {
                self.swept = now;
                self.remotes.retain(|_, remote| remote.connections > 0 || !remote.is_over(now, unit));
            }
            if self.remotes.len() >= SHARD_LIMIT {
                let gone = self.remotes.iter().take(CANDIDATES).filter(|(_, remote)| remote.connections == 0);
                let oldest = gone.min_by_key(|(_, remote)| remote.begin).map(|(ident, _)| ident.clone())?;
                self.remotes.remove(&oldest);
            }
            self.remotes.insert(ident.clone(), Remote { begin: now, ..Remote::default() });
        }
        self.remotes.get_mut(ident)
    }
}

/// A connection that is counted as long as this lives.
#[derive(Debug)]
pub struct Connection {
    anvil: Arc<Anvil>,
    ident: Ident,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(remote) = self.anvil.shard(&self.ident).remotes.get_mut(&self.ident) {
            remote.connections = remote.connections.saturating_sub(1);
        }
    }
}

/// The counters of all clients and logins.
#[derive(Debug)]
pub struct Anvil {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// `anvil_rate_time_unit`, milliseconds.
    unit: AtomicU64,
    /// Entries in all shards.
    size: AtomicUsize,
    peaks: Peaks,
}

impl Anvil {
    /// Rates are per time unit (`anvil_rate_time_unit`, milliseconds).
    pub fn new(unit: u64) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            size: AtomicUsize::new(0),
            unit: AtomicU64::new(unit),
            peaks: Peaks::default(),
        }
    }

    /// Another time unit from now on.
    pub fn set_unit(&self, unit: u64) {
        self.unit.store(unit, Ordering::Relaxed);
    }

    fn shard(&self, ident: &Ident) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(ident) >> 32).unwrap_or(0) % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has connected, `now` (milliseconds): how many connections it has, how many it has made in this time
    /// unit, and what keeps the count as long as the connection lasts. `None`: so many clients that nobody is counted
    /// any more.
    pub fn connect(self: &Arc<Self>, ident: &Ident, now: u64) -> Option<(u32, u32, Connection)> {
        let (connections, rate) = self.with(ident, now, |remote, unit| {
            remote.connections = remote.connections.saturating_add(1);
            (remote.connections, remote.count(Rate::Connection, now, unit))
        })?;
        self.peaks.note(Peak::Rate(Rate::Connection), rate, ident);
        self.peaks.note(Peak::Connections, connections, ident);
        Some((connections, rate, Connection { anvil: Arc::clone(self), ident: ident.clone() }))
    }

    /// One more: how many in this time unit?
    pub fn count(&self, ident: &Ident, rate: Rate, now: u64) -> u32 {
        let counted = self.with(ident, now, |remote, unit| remote.count(rate, now, unit)).unwrap_or(0);
        self.peaks.note(Peak::Rate(rate), counted, ident);
        counted
    }

    /// How many there were in this time unit, without counting another one.
    pub fn rate(&self, ident: &Ident, rate: Rate, now: u64) -> u32 {
        let unit = self.unit.load(Ordering::Relaxed);
        let shard = self.shard(ident);
        let current = shard.remotes.get(ident).filter(|remote| !remote.is_over(now, unit));
        current.map_or(0, |remote| remote.rates[rate as usize])
    }

    fn with<T>(&self, ident: &Ident, now: u64, act: impl FnOnce(&mut Remote, u64) -> T) -> Option<T> {
        let unit = self.unit.load(Ordering::Relaxed);
        let mut shard = self.shard(ident);
        let before = shard.remotes.len();
        let done = shard.remote(ident, now, unit).map(|remote| act(remote, unit));
        let after = shard.remotes.len();
        drop(shard);
        if after != before {
            // Wraps when a shard got smaller, and back.
            let size = self.size.fetch_add(after.wrapping_sub(before), Ordering::Relaxed).wrapping_add(after);
            self.peaks.note(Peak::Size, u32::try_from(size.wrapping_sub(before)).unwrap_or(u32::MAX), ident);
        }
        done
    }

    /// The statistics lines since they were asked for last (`anvil_status_update_time`).
    pub fn statistics(&self) -> Vec<String> {
        self.peaks.take(self.unit.load(Ordering::Relaxed) / 1000)
    }
}

#[cfg(test)]
mod tests;
