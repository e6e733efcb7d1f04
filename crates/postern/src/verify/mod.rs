//! Address verification (verify(8)): what is known of addresses, and probes for what isn't.
//!
//! What a result means for a client is decided in `policy`, probes go the way of mail through `deliver`; here results
//! are kept, and sessions wait for them.

mod cache;
mod file;
mod settings;

pub use settings::{Settings, check};

use crate::clock;
use crate::maillog::Log;
use cache::Cache;
use file::Journal;
use policy::{AddressStatus, Patience, Verification};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How often somebody looks whether it is time to clean up.
const LOOK: Duration = Duration::from_secs(1);

/// Sends a probe of an address on its way.
pub type SendProbe = Box<dyn Fn(Arc<str>) + Send + Sync>;

/// What is known of addresses; one for all event loops.
pub struct Verifier {
    state: Mutex<State>,
    /// Apart from the state: a slow disk is nothing for sessions to wait for.
    journal: Mutex<Option<Journal>>,
    probe: OnceLock<SendProbe>,
    log: Log,
}

struct State {
    settings: Settings,
    cache: Cache,
    /// Who waits for an address.
    waiting: HashMap<Arc<str>, Arc<Notify>>,
    swept: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Verifier {
    /// With what its file has; probes can be sent after [`Verifier::connect`].
    pub fn new(settings: Settings, log: Log) -> Arc<Self> {
        let mut cache = Cache::default();
        let journal = open(&settings, &mut cache, &log);
        let state = State { settings, cache, waiting: HashMap::new(), swept: 0 };
        Arc::new(Self { state: Mutex::new(state), journal: Mutex::new(journal), probe: OnceLock::new(), log })
    }

    /// From now on, probes go there.
    pub fn connect(&self, probe: SendProbe) {
        // Delivery is started once.
        let _ = self.probe.set(probe);
    }

    /// From now on, other settings. What is known stays known unless it is kept elsewhere.
    pub fn reload(&self, settings: Settings) {
        let moved = lock(&self.state).settings.path != settings.path;
        if !moved {
            lock(&self.state).settings = settings;
            return;
        }
        let mut journal = lock(&self.journal);
        let mut cache = Cache::default();
        *journal = open(&settings, &mut cache, &self.log);
        let mut state = lock(&self.state);
        (state.settings, state.cache) = (settings, cache);
    }

    /// What is known at once, and needs no probe.
    pub fn known(&self, address: &str) -> Option<Verification> {
        let state = lock(&self.state);
        state.cache.peek(address, &state.settings, clock::unix_seconds())
    }

    /// What is known, now or as soon as a client can be let wait for it. Sends a probe if that is due.
    pub async fn verify(&self, address: &Arc<str>, patience: Patience) -> Verification {
        let mut found = self.query(address);
        for _ in 1..patience.polls {
            if found.status != AddressStatus::InProgress {
                break;
            }
            self.wait(address, Instant::now() + patience.delay).await;
            found = self.query(address);
        }
        found
    }

    fn query(&self, address: &Arc<str>) -> Verification {
        let Some(probe) = self.probe.get() else { return Verification::unavailable() };
        let (found, is_due) = {
            let mut state = lock(&self.state);
            let State { settings, cache, .. } = &mut *state;
            cache.query(address, settings, clock::unix_seconds())
        };
        if is_due {
            probe(address.clone());
        }
        found
    }

    /// Until the time is over; or until there is a result that is kept, if clients needn't wait as Postfix lets them.
    async fn wait(&self, address: &Arc<str>, end: Instant) {
        if !lock(&self.state).settings.answers_early {
            return sleep_until(end).await;
        }
        loop {
            let notify = lock(&self.state).waiting.entry(address.clone()).or_default().clone();
            let told = notify.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.known(address).is_some() || timeout_at(end, told).await.is_err() {
                break;
            }
        }
        // The last one turns off the light.
        let mut state = lock(&self.state);
        if state.waiting.get(address).is_some_and(|notify| Arc::strong_count(notify) == 1) {
            state.waiting.remove(address);
        }
    }

    /// What a probe came to.
    pub fn probed(&self, address: &str, found: &Verification) {
        let kept = {
            let mut state = lock(&self.state);
            let State { settings, cache, waiting, .. } = &mut *state;
            let kept = cache.update(address, found, settings, clock::unix_seconds());
            if let Some(notify) = waiting.remove(address) {
                notify.notify_waiters();
            }
            kept
        };
        let mut journal = lock(&self.journal);
        if let (Some(entry), Some(open)) = (kept, journal.as_mut())
            && let Err(error) = open.append(address, &entry)
        {
            let settings = lock(&self.state).settings.clone();
            self.warn(&settings, &format!("{error}: results are kept in memory from now on"));
            *journal = None;
        }
    }

    /// Clean up when it is time to.
    fn look_after(&self) {
        let now = clock::unix_seconds();
        // Always before the state: what is known goes on while the disk is written to.
        let mut journal = lock(&self.journal);
        let (settings, dropped, text, retained) = {
            let mut state = lock(&self.state);
            let State { settings, cache, swept, .. } = &mut *state;
            let interval = settings.cleanup_interval;
            if interval == 0 || now < swept.saturating_add(interval) {
                return;
            }
            *swept = now;
            let dropped = cache.sweep(settings, now);
            let wasteful = journal.as_ref().is_some_and(|journal| journal.is_wasteful(cache.len()));
            let text = (dropped > 0 || wasteful).then(|| file::text(cache));
            (settings.clone(), dropped, text, cache.len())
        };
        if retained + dropped == 0 {
            // Nobody asks for addresses here, as far as is known.
            return;
        }
        if let (Some(text), Some(journal)) = (text, journal.as_mut())
            && let Err(error) = journal.rewrite(&text)
        {
            self.warn(&settings, &error.to_string());
        }
        let map = if settings.map.is_empty() { "internal:verify" } else { &settings.map };
        let line = format!("cache {map} full cleanup: retained={retained} dropped={dropped} entries");
        self.log.line(&settings.tag, &line);
    }

    fn warn(&self, settings: &Settings, text: &str) {
        let path = settings.path.clone().unwrap_or_default();
        self.log.warning(&settings.tag, &format!("address_verify_map {}: {text}", path.display()));
    }
}

fn open(settings: &Settings, cache: &mut Cache, log: &Log) -> Option<Journal> {
    let path = settings.path.as_ref()?;
    match Journal::open(path, cache) {
        Ok(journal) => Some(journal),
        Err(error) => {
            let text = format!("address_verify_map {}: {error}: results are kept in memory only", path.display());
            log.warning(&settings.tag, &text);
            None
        }
    }
}

/// What the file of a configuration has on an address, for those who don't serve.
pub fn on_file(settings: &Settings, address: &str) -> Option<Verification> {
    let mut cache = Cache::default();
    file::read(settings.path.as_ref()?, &mut cache).ok()?;
    let (found, _) = cache.query(address, settings, clock::unix_seconds());
    (found.status != AddressStatus::InProgress).then_some(found)
}

/// Directories that the cache is written to.
pub fn directory(settings: &Settings) -> Option<PathBuf> {
    settings.path.as_ref()?.parent().map(PathBuf::from)
}

/// Cleans up from time to time, as long as there is anything.
pub async fn tend(verifier: std::sync::Weak<Verifier>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(verifier) = verifier.upgrade() else { return };
        // A disk may be slow; a cleanup that is cut short is done the next time.
        let _ = tokio::task::spawn_blocking(move || verifier.look_after()).await;
    }
}

#[cfg(test)]
mod tests;
