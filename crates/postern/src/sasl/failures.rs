//! Failed logins, counted per account, per client network and per both: first the answers come late, then nothing is
//! looked at any more for a while. Where an account has logged in before, it is given more tries, and strangers'
//! failures don't count against it.
//!
//! One table for all event loops, asked at logins only. Time is an argument.

use super::known::{self, Known};
use crate::anvil::Network;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many counters at most (about 5 MiB).
const LIMIT: usize = 100_000;
/// Where there is no room, so many are looked at to find the one to forget.
const CANDIDATES: usize = 16;
/// The table is cleared of what is over no more often than this (milliseconds).
const SWEEP: u64 = 1000;
/// Who has logged in before has so many times as many tries.
const TRUST: u32 = 10;

/// How many failures within how long; 0 is any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureLimits {
    /// `postern_sasl_failure_time_unit`, milliseconds.
    pub unit: u64,
    /// `postern_sasl_account_failure_limit`.
    pub account: u32,
    /// `postern_sasl_client_failure_limit`.
    pub client: u32,
    /// `postern_sasl_pair_failure_limit`.
    pub pair: u32,
    /// `postern_sasl_failure_delay`, milliseconds.
    pub longest_delay: u64,
}

/// Who tries to log in.
#[derive(Clone, Copy, Debug)]
pub struct Who<'w> {
    /// As which account, in lower case; `None` when that isn't known.
    pub account: Option<&'w str>,
    /// From where.
    pub network: Option<Network>,
    /// Does the address count, or is it that of somebody who stands for many others?
    pub is_counted: bool,
}

/// What follows from a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// So long the answer waits.
    pub delay: Duration,
    /// What the log says of limits that are reached now.
    pub notices: Vec<String>,
}

/// A counter's name.
#[derive(Clone, Copy, Hash)]
enum Key<'k> {
    Account(&'k str),
    Client(Network),
    Pair(&'k str, Network),
}

/// Failures since a moment.
#[derive(Clone, Copy, Debug)]
struct Tally {
    begin: u64,
    count: u32,
}

#[derive(Debug, Default)]
struct State {
    /// By the hashes of their names.
    tallies: HashMap<u64, Tally>,
    swept: u64,
    known: Known,
}

/// The counters.
#[derive(Debug, Default)]
pub struct Failures {
    state: Mutex<State>,
    hasher: RandomState,
}

impl Tally {
    fn is_over(&self, now: u64, unit: u64) -> bool {
        now.saturating_sub(self.begin) > unit
    }
}

impl State {
    fn count(&self, key: u64, now: u64, unit: u64) -> u32 {
        self.tallies.get(&key).filter(|tally| !tally.is_over(now, unit)).map_or(0, |tally| tally.count)
    }

    fn add(&mut self, key: u64, now: u64, unit: u64) -> u32 {
        if !self.tallies.contains_key(&key) {
            self.make_room(now, unit);
        }
        let tally = self.tallies.entry(key).or_insert(Tally { begin: now, count: 0 });
        if tally.is_over(now, unit) {
            *tally = Tally { begin: now, count: 0 };
        }
        tally.count = tally.count.saturating_add(1);
        tally.count
    }

    fn make_room(&mut self, now: u64, unit: u64) {
        if self.tallies.len() < LIMIT {
            return;
        }
        if now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.tallies.retain(|_, tally| !tally.is_over(now, unit));
        }
        if self.tallies.len() >= LIMIT {
            let some = self.tallies.iter().take(CANDIDATES);
            // Those with few failures are the flood.
            if let Some(key) = some.min_by_key(|(_, tally)| (tally.count, tally.begin)).map(|(key, _)| *key) {
                self.tallies.remove(&key);
            }
        }
    }
}

impl Failures {
    /// Nobody has failed yet, and from where accounts have logged in is known.
    pub fn new(known: Known) -> Self {
        Self { state: Mutex::new(State { known, ..State::default() }), hasher: RandomState::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters that concern somebody, each with its limit and what the log calls it.
    fn counters(&self, who: Who<'_>, limits: FailureLimits, is_known: bool) -> Vec<(u64, u32, String)> {
        let trust = if is_known { TRUST } else { 1 };
        let mut counters = Vec::with_capacity(3);
        let mut add = |key: Key<'_>, limit: u32, name: String| {
            if limit > 0 {
                counters.push((self.hasher.hash_one(key), limit.saturating_mul(trust), name));
            }
        };
        // A name could look like a log line about somebody else, which fail2ban would believe.
        let shown = who.account.unwrap_or_default().replace(['[', ']'], "?");
        if let Some(account) = who.account {
            add(Key::Account(account), limits.account, format!("as {shown}"));
        }
        if let Some(network) = who.network.filter(|_| who.is_counted) {
            add(Key::Client(network), limits.client, format!("from {network}"));
            if let Some(account) = who.account {
                add(Key::Pair(account, network), limits.pair, format!("as {shown} from {network}"));
            }
        }
        counters
    }

    fn is_known(&self, who: Who<'_>, today: u16) -> bool {
        let (Some(account), Some(network)) = (who.account, who.network) else { return false };
        let mark = known::mark(account, &network.to_string());
        self.state().known.has(mark, today)
    }

    /// Were there so many failures that nothing is looked at? `now` is in milliseconds, `today` in days.
    pub fn refuses(&self, who: Who<'_>, limits: FailureLimits, (now, today): (u64, u16)) -> bool {
        let is_known = self.is_known(who, today);
        let counters = self.counters(who, limits, is_known);
        let state = self.state();
        counters.iter().any(|(key, limit, _)| state.count(*key, now, limits.unit) >= *limit)
    }

    /// One more failure.
    pub fn failed(&self, who: Who<'_>, limits: FailureLimits, (now, today): (u64, u16)) -> Consequences {
        let is_known = self.is_known(who, today);
        let mut consequences = Consequences::default();
        // What is tried from where the account was at home says nothing about strangers.
        let spared =
            who.account.filter(|_| is_known && who.is_counted).map(|name| self.hasher.hash_one(Key::Account(name)));
        for (key, limit, name) in self.counters(who, limits, is_known) {
            if spared == Some(key) {
                continue;
            }
            let count = self.state().add(key, now, limits.unit);
            if count == limit {
                let minutes = limits.unit.div_ceil(60_000);
                consequences.notices.push(format!(
                    "too many failed logins: {count} {name}: more are not looked at, for {minutes} minutes at most"
                ));
            }
            // Doubled with each failure beyond half of what is allowed.
            if let Some(beyond) = count.checked_sub(limit.div_ceil(2)) {
                let delay = 1000u64.checked_shl(beyond).unwrap_or(u64::MAX).min(limits.longest_delay);
                consequences.delay = consequences.delay.max(Duration::from_millis(delay));
            }
        }
        consequences
    }

    /// A login that was right: failures of this account from there don't count any more, and it is at home there.
    pub fn succeeded(&self, account: &str, network: Option<Network>, today: u16) {
        let Some(network) = network else { return };
        let mark = known::mark(account, &network.to_string());
        let pair = self.hasher.hash_one(Key::Pair(account, network));
        let mut state = self.state();
        state.tallies.remove(&pair);
        state.known.note(mark, today);
    }

    /// Failures of an account, from a network, and of the account from there don't count any more. Were there any?
    pub fn forgive(&self, account: &str, network: Option<Network>) -> bool {
        let mut keys = vec![self.hasher.hash_one(Key::Account(account))];
        if let Some(network) = network {
            keys.push(self.hasher.hash_one(Key::Client(network)));
            keys.push(self.hasher.hash_one(Key::Pair(account, network)));
        }
        let mut state = self.state();
        keys.iter().filter(|key| state.tallies.remove(key).is_some()).count() > 0
    }

    /// What is to be kept of the places where accounts have logged in, if that has changed.
    pub fn to_write(&self, today: u16) -> Option<Vec<u8>> {
        self.state().known.to_write(today)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anvil::Prefixes;

    const LIMITS: FailureLimits =
        FailureLimits { unit: 3_600_000, account: 8, client: 6, pair: 4, longest_delay: 3000 };

    fn who(account: &'static str, address: &str) -> Who<'static> {
        let network = Prefixes { ipv4: 32, ipv6: 64 }.network(address.parse().unwrap());
        Who { account: Some(account), network: Some(network), is_counted: true }
    }

    /// After how many failures nothing is looked at any more, and the delays until then.
    fn tries(failures: &Failures, who: Who<'_>, at: (u64, u16)) -> (usize, Vec<u64>) {
        let mut delays = Vec::new();
        while !failures.refuses(who, LIMITS, at) {
            delays.push(failures.failed(who, LIMITS, at).delay.as_millis() as u64);
            assert!(delays.len() < 1000);
        }
        (delays.len(), delays)
    }

    #[test]
    fn a_pair_a_client_and_an_account_have_limits() {
        let failures = Failures::default();
        let at = (0, 1);
        assert_eq!(tries(&failures, who("jo", "192.0.2.1"), at), (4, vec![0, 1000, 2000, 3000]));
        // the client has two left, for anybody
        assert!(!failures.refuses(who("al", "192.0.2.1"), LIMITS, at));
        assert_eq!(tries(&failures, who("al", "192.0.2.1"), at).0, 2);
        assert!(failures.refuses(Who { account: None, ..who("", "192.0.2.1") }, LIMITS, at));
        assert!(!failures.refuses(who("bo", "192.0.2.2"), LIMITS, at));
        // and the account four, from anywhere
        assert_eq!(tries(&failures, who("jo", "192.0.2.2"), at).0, 4);
        assert!(failures.refuses(who("jo", "192.0.2.3"), LIMITS, at));
        assert!(!failures.refuses(who("al", "192.0.2.3"), LIMITS, at));
        // until the time is over
        assert!(failures.refuses(who("jo", "192.0.2.3"), LIMITS, (3_600_000, 1)));
        assert!(!failures.refuses(who("jo", "192.0.2.1"), LIMITS, (3_600_001, 1)));
    }

    #[test]
    fn limits_that_are_reached_are_told_once() {
        let failures = Failures::default();
        let told: Vec<String> =
            (0..9).flat_map(|_| failures.failed(who("jo", "192.0.2.1"), LIMITS, (0, 1)).notices).collect();
        let text =
            |what: &str| format!("too many failed logins: {what}: more are not looked at, for 60 minutes at most");
        assert_eq!(told, [text("4 as jo from 192.0.2.1"), text("6 from 192.0.2.1"), text("8 as jo")]);
    }

    #[test]
    fn names_are_no_log_lines() {
        let failures = Failures::default();
        let forged = who("x[198.51.100.1]: SASL LOGIN authentication failed: y", "192.0.2.1");
        let told: Vec<String> = (0..9).flat_map(|_| failures.failed(forged, LIMITS, (0, 1)).notices).collect();
        assert_eq!(told.len(), 3);
        assert!(told.iter().all(|text| !text.contains(['[', ']'])), "{told:?}");
    }

    #[test]
    fn who_was_there_before_is_spared() {
        let failures = Failures::default();
        let (home, at) = (who("jo", "192.0.2.1"), (0, 1));
        failures.succeeded("jo", home.network, 1);
        assert_eq!(tries(&failures, who("jo", "192.0.2.2"), at).0, 4);
        assert_eq!(tries(&failures, who("jo", "192.0.2.3"), at).0, 4);
        assert!(failures.refuses(who("jo", "192.0.2.4"), LIMITS, at) && !failures.refuses(home, LIMITS, at));
        // ten times as often, but not for ever
        assert_eq!(tries(&failures, home, at).0, 40);
        // what went wrong at home is not held against the account elsewhere
        let failures = Failures::default();
        failures.succeeded("jo", home.network, 1);
        for _ in 0..20 {
            failures.failed(home, LIMITS, at);
        }
        assert!(!failures.refuses(who("jo", "192.0.2.4"), LIMITS, at));
        // a login that is right makes good for the pair
        failures.succeeded("jo", home.network, 1);
        assert_eq!(tries(&failures, home, at).0, 40);
        assert!(!failures.is_known(home, 92) && failures.is_known(home, 91));
    }

    #[test]
    fn what_is_forgiven_does_not_count() {
        let failures = Failures::default();
        let (here, there) = (who("jo", "192.0.2.1"), who("jo", "192.0.2.2"));
        assert_eq!((tries(&failures, here, (0, 1)).0, tries(&failures, there, (0, 1)).0), (4, 4));
        assert!(failures.forgive("jo", None) && !failures.forgive("jo", None) && !failures.forgive("al", None));
        // the pairs still count
        assert!(failures.refuses(here, LIMITS, (0, 1)) && failures.refuses(there, LIMITS, (0, 1)));
        assert!(failures.forgive("jo", here.network));
        assert!(!failures.refuses(here, LIMITS, (0, 1)) && failures.refuses(there, LIMITS, (0, 1)));
        assert_eq!(tries(&failures, here, (0, 1)).0, 4);
    }

    #[test]
    fn a_proxy_is_not_to_blame() {
        let failures = Failures::default();
        let proxy = |account| Who { is_counted: false, ..who(account, "192.0.2.1") };
        for account in ["a", "b", "c", "d", "e", "f", "g"] {
            failures.failed(proxy(account), LIMITS, (0, 1));
        }
        assert_eq!(tries(&failures, proxy("jo"), (0, 1)).0, 8);
        assert!(!failures.refuses(who("al", "192.0.2.1"), LIMITS, (0, 1)));
    }

    #[test]
    fn nothing_is_limited_by_zero_and_nothing_grows_for_ever() {
        let failures = Failures::default();
        let off = FailureLimits { account: 0, client: 0, pair: 0, ..LIMITS };
        assert_eq!(failures.failed(who("jo", "192.0.2.1"), off, (0, 1)), Consequences::default());
        assert!(failures.state().tallies.is_empty());
        let many = FailureLimits { account: 1, client: 0, pair: 0, ..LIMITS };
        failures.failed(who("jo", "192.0.2.1"), many, (0, 1));
        let mut state = failures.state();
        for key in 0..2 * LIMIT as u64 {
            state.add(key, 0, LIMITS.unit);
        }
        assert_eq!(state.tallies.len(), LIMIT);
    }
}
