//! What is known of addresses, and when it has to be asked anew (verify(8)). Time is an argument.

use super::settings::Settings;
use policy::{AddressStatus, Verification};
use std::collections::HashMap;
use std::sync::Arc;

/// A probe that hasn't come back for so many seconds is lost.
const PROBE_TTL: u64 = 1000;
/// So many addresses at most; beyond that the ones that were asked about longest ago are forgotten.
const LIMIT: usize = 500_000;
/// Texts are kept up to here: no reply shows more.
const TEXT_LIMIT: usize = 500;

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub status: AddressStatus,
    /// When a probe was sent that hasn't come back; 0: none.
    pub probed: u64,
    /// When the last result came.
    pub updated: u64,
    pub text: Arc<str>,
}

impl Entry {
    fn is_positive(&self) -> bool {
        self.status == AddressStatus::Deliverable
    }

    fn is_expired(&self, settings: &Settings, now: u64) -> bool {
        let time = if self.is_positive() { settings.positive_expire } else { settings.negative_expire };
        self.updated.saturating_add(time) < now
    }

    fn is_stale(&self, settings: &Settings, now: u64) -> bool {
        let time = if self.is_positive() { settings.positive_refresh } else { settings.negative_refresh };
        self.updated.saturating_add(time) < now
    }

    fn is_being_probed(&self, now: u64) -> bool {
        now.saturating_sub(self.probed) <= PROBE_TTL
    }

    fn verification(&self) -> Verification {
        Verification::new(self.status, self.text.clone())
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<Arc<str>, Entry>,
}

impl Cache {
    /// Enter what was kept.
    pub fn load(&mut self, address: &str, entry: Entry) {
        self.make_room();
        self.entries.insert(address.into(), entry);
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All of it that is worth keeping.
    pub fn results(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.status != AddressStatus::InProgress)
    }

    /// What is known, and whether a probe is to be sent.
    pub fn query(&mut self, address: &str, settings: &Settings, now: u64) -> (Verification, bool) {
        let gone = |entry: &Entry| !entry.is_being_probed(now) && entry.is_expired(settings, now);
        let known = self.entries.get(address).filter(|entry| !gone(entry));
        let entry = known.cloned().unwrap_or_else(|| {
            let text = Verification::in_progress().text;
            Entry { status: AddressStatus::InProgress, probed: 0, updated: 0, text }
        });
        let found = entry.verification();
        let probe = !entry.is_being_probed(now) && entry.is_stale(settings, now);
        if probe && (entry.updated != 0 || settings.keeps_failures) {
            self.make_room();
            self.entries.insert(address.into(), Entry { probed: now, ..entry });
        } else if probe {
            self.entries.remove(address);
        }
        (found, probe)
    }

    /// What is known for sure, if nothing needs doing about it.
    pub fn peek(&self, address: &str, settings: &Settings, now: u64) -> Option<Verification> {
        let entry = self.entries.get(address)?;
        let is_fresh = entry.is_being_probed(now) || !entry.is_stale(settings, now);
        (is_fresh && entry.status != AddressStatus::InProgress).then(|| entry.verification())
    }

    /// A probe came back. What is kept of that, if anything is.
    pub fn update(&mut self, address: &str, found: &Verification, settings: &Settings, now: u64) -> Option<Entry> {
        let is_good = found.status == AddressStatus::Deliverable;
        let clobbers = |entry: &Entry| entry.is_positive() && !entry.is_expired(settings, now);
        // A server that has a bad day doesn't make a good address bad: it is asked again the next time.
        if !is_good && (!settings.keeps_failures || self.entries.get(address).is_some_and(clobbers)) {
            return None;
        }
        let end = (0..=found.text.len().min(TEXT_LIMIT)).rev().find(|at| found.text.is_char_boundary(*at)).unwrap_or(0);
        let text = if end == found.text.len() { found.text.clone() } else { found.text[..end].into() };
        let entry = Entry { status: found.status, probed: 0, updated: now, text };
        self.make_room();
        self.entries.insert(address.into(), entry.clone());
        Some(entry)
    }

    /// Drop what is too old; tells how many.
    pub fn sweep(&mut self, settings: &Settings, now: u64) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.is_being_probed(now) || !entry.is_expired(settings, now));
        self.entries.shrink_to(self.entries.len() * 2);
        before - self.entries.len()
    }

    fn make_room(&mut self) {
        if self.entries.len() < LIMIT {
            return;
        }
        let mut times: Vec<u64> = self.entries.values().map(|entry| entry.updated.max(entry.probed)).collect();
        let (_, oldest, _) = times.select_nth_unstable(LIMIT / 10);
        let (oldest, mut surplus) = (*oldest, LIMIT / 10);
        self.entries.retain(|_, entry| {
            let goes = surplus > 0 && entry.updated.max(entry.probed) <= oldest;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressStatus::{Deferred, Deliverable, InProgress, Undeliverable};

    fn settings() -> Settings {
        Settings {
            positive_expire: 1000,
            positive_refresh: 100,
            negative_expire: 500,
            negative_refresh: 50,
            keeps_failures: true,
            ..Settings::default()
        }
    }

    const START: u64 = 1_000_000;

    fn asked(cache: &mut Cache, settings: &Settings, at: u64) -> (AddressStatus, bool) {
        let (found, probe) = cache.query("a@d", settings, START + at);
        (found.status, probe)
    }

    fn found(cache: &mut Cache, settings: &Settings, at: u64, status: AddressStatus) -> bool {
        cache.update("a@d", &Verification::new(status, "text"), settings, START + at).is_some()
    }

    #[test]
    fn an_address_is_probed_once_and_then_known() {
        let (mut cache, settings) = (Cache::default(), settings());
        assert_eq!(asked(&mut cache, &settings, 0), (InProgress, true));
        assert_eq!(asked(&mut cache, &settings, 3), (InProgress, false));
        assert_eq!(cache.peek("a@d", &settings, START + 3), None);
        assert!(found(&mut cache, &settings, 4, Deliverable));
        assert_eq!(asked(&mut cache, &settings, 5), (Deliverable, false));
        assert_eq!(cache.peek("a@d", &settings, START + 5).unwrap().status, Deliverable);
    }

    #[test]
    fn a_result_is_refreshed_behind_the_clients_back_and_expires() {
        for (status, refresh, expire) in [(Deliverable, 100, 1000), (Undeliverable, 50, 500), (Deferred, 50, 500)] {
            let (mut cache, settings) = (Cache::default(), settings());
            assert!(found(&mut cache, &settings, 0, status));
            assert_eq!(asked(&mut cache, &settings, refresh), (status, false));
            assert_eq!(cache.peek("a@d", &settings, START + refresh + 1), None, "a probe is due");
            assert_eq!(asked(&mut cache, &settings, refresh + 1), (status, true));
            assert_eq!(asked(&mut cache, &settings, refresh + 2), (status, false));
            // While the probe is awaited, the old result holds, even if its time is over.
            assert_eq!(asked(&mut cache, &settings, expire + 1), (status, false));

            let mut cache = Cache::default();
            assert!(found(&mut cache, &settings, 0, status));
            assert_eq!(asked(&mut cache, &settings, expire + 1), (InProgress, true));
        }
    }

    #[test]
    fn a_lost_probe_is_sent_again() {
        let (mut cache, settings) = (Cache::default(), settings());
        assert_eq!(asked(&mut cache, &settings, 0), (InProgress, true));
        assert_eq!(asked(&mut cache, &settings, PROBE_TTL), (InProgress, false));
        assert_eq!(asked(&mut cache, &settings, PROBE_TTL + 1), (InProgress, true));
    }

    #[test]
    fn a_failed_probe_leaves_a_good_address_alone() {
        let (mut cache, settings) = (Cache::default(), settings());
        assert!(found(&mut cache, &settings, 0, Deliverable));
        assert!(!found(&mut cache, &settings, 1, Undeliverable));
        assert_eq!(asked(&mut cache, &settings, 2), (Deliverable, false));
        // … until its time is over.
        assert!(found(&mut cache, &settings, 1001, Undeliverable));
        assert_eq!(asked(&mut cache, &settings, 1002), (Undeliverable, false));
        assert!(found(&mut cache, &settings, 1003, Deliverable));
        assert_eq!(asked(&mut cache, &settings, 1004), (Deliverable, false));
    }

    #[test]
    fn without_a_negative_cache_failures_stay_in_progress() {
        let (mut cache, mut settings) = (Cache::default(), settings());
        settings.keeps_failures = false;
        for at in 0..3 {
            assert_eq!(asked(&mut cache, &settings, at), (InProgress, true), "{at}");
            assert!(!found(&mut cache, &settings, at, Undeliverable));
        }
        assert!(found(&mut cache, &settings, 4, Deliverable));
        assert_eq!(asked(&mut cache, &settings, 5), (Deliverable, false));
    }

    #[test]
    fn what_is_too_old_goes() {
        let (mut cache, settings) = (Cache::default(), settings());
        assert!(found(&mut cache, &settings, 0, Undeliverable));
        cache.update("b@d", &Verification::new(Deliverable, "x".repeat(9999)), &settings, START);
        cache.query("c@d", &settings, START + 501);
        assert_eq!(cache.sweep(&settings, START + 501), 1);
        assert_eq!((cache.len(), cache.results().count()), (2, 1));
        assert_eq!(cache.results().next().unwrap().1.text.len(), TEXT_LIMIT);
        assert_eq!(cache.sweep(&settings, START + 501 + PROBE_TTL + 1), 2);
    }

    #[test]
    fn there_is_an_end_to_memory() {
        let mut cache = Cache::default();
        let entry = |updated| Entry { status: Deliverable, probed: 0, updated, text: Arc::default() };
        for number in 0..=LIMIT as u64 {
            cache.load(&number.to_string(), entry(number));
        }
        assert_eq!(cache.len(), LIMIT - LIMIT / 10 + 1);
        assert!(!cache.entries.contains_key("7") && cache.entries.contains_key(&*LIMIT.to_string()));
    }
}
