//! The circuit breaker of a policy service (`postern_policy_service_breaker`): a service that fails again and again is
//! left alone, and its default action counts at once; one request at a time finds out whether it is back.
//!
//! One breaker serves all event loops. While the service works, a request costs it two loads.

use policy::{BreakerLimits, PolicyService};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// The first probe comes after this, each further one after twice the time: a restart is over soon, an outage isn't.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// By service, for all event loops.
static BREAKERS: LazyLock<Mutex<HashMap<Arc<PolicyService>, Weak<Breaker>>>> = LazyLock::new(Mutex::default);

/// How a service has done lately.
pub struct Breaker {
    limits: BreakerLimits,
    /// In a row.
    failures: AtomicU32,
    is_open: AtomicBool,
    outage: Mutex<Outage>,
}

struct Outage {
    since: Instant,
    next_probe: Instant,
    pause: Duration,
    is_probed: bool,
}

/// What a request may do.
pub enum Admission<'a> {
    /// Ask, as ever.
    Ask,
    /// Ask once: nobody else does.
    Probe(Probe<'a>),
    /// Don't ask.
    Pass,
}

/// The one request that is under way to a service that failed. A session that ends meanwhile makes room for another.
pub struct Probe<'a>(&'a Breaker);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.outage().is_probed = false;
    }
}

/// The breaker of a service, unless it has none: who is to try for ever has no default action.
pub fn of(service: &Arc<PolicyService>) -> Option<Arc<Breaker>> {
    let limits = service.breaker.filter(|_| service.try_limit > 0)?;
    let mut breakers = BREAKERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(breaker) = breakers.get(service).and_then(Weak::upgrade) {
        return Some(breaker);
    }
    breakers.retain(|_, breaker| breaker.strong_count() > 0);
    let breaker = Arc::new(Breaker::new(limits));
    breakers.insert(Arc::clone(service), Arc::downgrade(&breaker));
    Some(breaker)
}

impl Breaker {
    fn new(limits: BreakerLimits) -> Self {
        let now = Instant::now();
        let outage = Outage { since: now, next_probe: now, pause: FIRST_PAUSE, is_probed: false };
        Self { limits, failures: AtomicU32::new(0), is_open: AtomicBool::new(false), outage: Mutex::new(outage) }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is the service left alone?
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// May a request go out?
    pub fn admit(&self, now: Instant) -> Admission<'_> {
        if !self.is_open() {
            return Admission::Ask;
        }
        let mut outage = self.outage();
        if outage.is_probed || now < outage.next_probe {
            return Admission::Pass;
        }
        outage.is_probed = true;
        Admission::Probe(Probe(self))
    }

    /// An answer came. How long the service was left alone, if it was.
    pub fn succeeded(&self, now: Instant) -> Option<Duration> {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if !self.is_open() {
            return None;
        }
        let outage = self.outage();
        self.is_open.swap(false, Ordering::AcqRel).then(|| now - outage.since)
    }

    /// No answer came. How many there were in a row, if that is the last straw.
    pub fn failed(&self, now: Instant) -> Option<u32> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < self.limits.failures {
            return None;
        }
        let mut outage = self.outage();
        if self.is_open.swap(true, Ordering::AcqRel) {
            return None;
        }
        let pause = FIRST_PAUSE.min(self.limits.pause);
        *outage = Outage { since: now, next_probe: now + pause, pause, is_probed: false };
        Some(failures)
    }

    /// A probe failed.
    pub fn probe_failed(&self, now: Instant) {
        let mut outage = self.outage();
        outage.pause = (outage.pause * 2).min(self.limits.pause);
        outage.next_probe = now + outage.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(failures: u32, pause: u64) -> Breaker {
        Breaker::new(BreakerLimits { failures, pause: Duration::from_secs(pause) })
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let (breaker, now) = (breaker(3, 30), Instant::now());
        assert_eq!([breaker.failed(now), breaker.failed(now), breaker.succeeded(now).map(|_| 0)], [None; 3]);
        assert_eq!([breaker.failed(now), breaker.failed(now)], [None; 2]);
        assert!(matches!(breaker.admit(now), Admission::Ask));
        assert_eq!(breaker.failed(now), Some(3));
        // Those that were under way fail as well: no news.
        assert_eq!(breaker.failed(now), None);
        assert!(breaker.is_open() && matches!(breaker.admit(now), Admission::Pass));
        // One of them got an answer after all.
        assert_eq!(breaker.succeeded(now + Duration::from_secs(2)), Some(Duration::from_secs(2)));
        assert_eq!(breaker.succeeded(now), None);
        assert!(matches!(breaker.admit(now), Admission::Ask));
    }

    #[test]
    fn one_probe_at_a_time_and_ever_fewer() {
        let (breaker, begin) = (breaker(1, 5), Instant::now());
        assert_eq!(breaker.failed(begin), Some(1));
        let mut now = begin;
        for pause in [1, 2, 4, 5, 5] {
            let early = now + Duration::from_secs(pause) - Duration::from_millis(1);
            assert!(matches!(breaker.admit(early), Admission::Pass), "{pause}");
            now += Duration::from_secs(pause);
            let probe = breaker.admit(now);
            assert!(matches!(probe, Admission::Probe(_)), "{pause}");
            assert!(matches!(breaker.admit(now), Admission::Pass), "{pause}");
            breaker.probe_failed(now);
        }
        // A probe whose session ended tells nothing: the next request is one.
        now += Duration::from_secs(5);
        drop(breaker.admit(now));
        assert!(matches!(breaker.admit(now), Admission::Probe(_)));
        assert_eq!(breaker.succeeded(now), Some(now - begin));
        // The next outage begins with short pauses again.
        assert_eq!(breaker.failed(now), Some(1));
        assert!(matches!(breaker.admit(now + Duration::from_secs(1)), Admission::Probe(_)));
    }

    #[test]
    fn a_short_limit_is_the_first_pause() {
        let (breaker, now) =
            (Breaker::new(BreakerLimits { failures: 1, pause: Duration::from_millis(10) }), Instant::now());
        assert_eq!(breaker.failed(now), Some(1));
        assert!(matches!(breaker.admit(now + Duration::from_millis(10)), Admission::Probe(_)));
    }
}
