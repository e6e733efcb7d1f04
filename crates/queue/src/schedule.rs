//! When to try again, when to give up, and how much at once (qmgr(8)). Pure: time is an argument.

use std::collections::HashMap;

/// One second in the unit of all times here, microseconds.
pub const SECOND: i64 = 1_000_000;

/// What qmgr(8) takes from the configuration; times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// `minimal_backoff_time`.
    pub minimal_backoff_time: i64,
    /// `maximal_backoff_time`.
    pub maximal_backoff_time: i64,
    /// `queue_run_delay`: deferred mail is looked at this often.
    pub queue_run_delay: i64,
    /// `maximal_queue_lifetime`.
    pub maximal_queue_lifetime: i64,
    /// `bounce_queue_lifetime`.
    pub bounce_queue_lifetime: i64,
    /// `default_destination_concurrency_limit`.
    pub concurrency_limit: usize,
    /// `initial_destination_concurrency`.
    pub initial_concurrency: usize,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        ScheduleSettings {
            minimal_backoff_time: 300 * SECOND,
            maximal_backoff_time: 4000 * SECOND,
            queue_run_delay: 300 * SECOND,
            maximal_queue_lifetime: 5 * 86_400 * SECOND,
            bounce_queue_lifetime: 5 * 86_400 * SECOND,
            concurrency_limit: 20,
            initial_concurrency: 5,
        }
    }
}

impl ScheduleSettings {
    /// When to try a deferred message again: after as long as it has been in the queue, within the two limits.
    pub fn next_attempt(&self, arrival: i64, now: i64) -> i64 {
        let maximum = self.maximal_backoff_time.max(self.minimal_backoff_time);
        now + now.saturating_sub(arrival).clamp(self.minimal_backoff_time, maximum)
    }

    /// Has a message that could not be delivered `now` been in the queue for too long?
    pub fn expired(&self, arrival: i64, now: i64, null_sender: bool) -> bool {
        let lifetime = if null_sender { self.bounce_queue_lifetime } else { self.maximal_queue_lifetime };
        now > arrival.saturating_add(lifetime)
    }
}

/// How it stands with one destination (transport and nexthop).
#[derive(Clone, Debug)]
struct State {
    busy: usize,
    window: usize,
    /// Not before; with the reason.
    dead: Option<(i64, String, String)>,
}

/// May a delivery to a destination start?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Yes; it counts until [`Destinations::finished`].
    Go,
    /// Not now: as much goes there as may.
    Wait,
    /// No: it was found dead a short while ago. Defer with this status code and reason.
    Dead {
        /// Enhanced status code.
        dsn: String,
        /// `delivery temporarily suspended: …`.
        reason: String,
    },
}

/// How much goes to each destination, and which are dead.
#[derive(Clone, Debug, Default)]
pub struct Destinations {
    states: HashMap<String, State>,
}

impl Destinations {
    /// Asks for a delivery to `destination`, with a limit of its transport's own if there is one.
    pub fn ask(&mut self, destination: &str, limit: Option<usize>, settings: &ScheduleSettings, now: i64) -> Turn {
        let limit = match limit.unwrap_or(settings.concurrency_limit) {
            0 => usize::MAX,
            limit => limit,
        };
        let initial = settings.initial_concurrency.clamp(1, limit);
        let state = match self.states.get_mut(destination) {
            Some(state) => state,
            None => self.states.entry(destination.to_owned()).or_insert(State { busy: 0, window: initial, dead: None }),
        };
        if let Some((until, dsn, reason)) = &state.dead {
            if now < *until {
                let reason = format!("delivery temporarily suspended: {reason}");
                return Turn::Dead { dsn: dsn.clone(), reason };
            }
            state.dead = None;
            state.window = 1;
        }
        if state.busy >= state.window.min(limit) {
            return Turn::Wait;
        }
        state.busy += 1;
        Turn::Go
    }

    /// A delivery ended well enough: the destination answers.
    pub fn succeeded(&mut self, destination: &str) {
        if let Some(state) = self.states.get_mut(destination) {
            // Grows by one for a full window's worth of good answers, as with Postfix's feedback of 1; starting at
            // the initial concurrency, single steps come close enough.
            state.window = state.window.saturating_add(1).min(state.busy.max(1) + 1).max(state.window);
            state.dead = None;
        }
    }

    /// The destination could not be reached at all: leave it alone for a while.
    pub fn failed(&mut self, destination: &str, dsn: &str, reason: &str, settings: &ScheduleSettings, now: i64) {
        if let Some(state) = self.states.get_mut(destination) {
            state.window = 1;
            state.dead = Some((now + settings.minimal_backoff_time, dsn.to_owned(), reason.to_owned()));
        }
    }

    /// A delivery that [`Turn::Go`] allowed is over.
    pub fn finished(&mut self, destination: &str, now: i64) {
        if let Some(state) = self.states.get_mut(destination) {
            state.busy = state.busy.saturating_sub(1);
            if state.busy == 0 && state.dead.as_ref().is_none_or(|(until, ..)| *until <= now) {
                self.states.remove(destination);
            }
        }
    }

    /// Forgets who is dead: try everything (a flush).
    pub fn revive(&mut self) {
        self.states.retain(|_, state| state.busy > 0);
        self.states.values_mut().for_each(|state| state.dead = None);
    }

    /// Forgets what lies in the past, so that this doesn't grow.
    pub fn sweep(&mut self, now: i64) {
        self.states.retain(|_, s| s.busy > 0 || s.dead.as_ref().is_some_and(|(until, ..)| *until > now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_between_its_limits() {
        let settings = ScheduleSettings::default();
        for (age, pause) in [(0, 300), (299, 300), (600, 600), (4000, 4000), (90_000, 4000), (-5, 300)] {
            let now = 1_000_000 * SECOND;
            let next = settings.next_attempt(now - age * SECOND, now);
            assert_eq!(next - now, pause * SECOND, "age {age}");
        }
    }

    #[test]
    fn mail_expires_after_its_lifetime() {
        let settings = ScheduleSettings { bounce_queue_lifetime: 10 * SECOND, ..Default::default() };
        let day = 86_400 * SECOND;
        for (age, null, want) in [(5 * day, false, false), (5 * day + 1, false, true), (11 * SECOND, true, true)] {
            assert_eq!(settings.expired(7, 7 + age, null), want);
        }
    }

    #[test]
    fn concurrency_is_limited_and_grows_with_success() {
        let settings = ScheduleSettings::default();
        let mut destinations = Destinations::default();
        let ask = |d: &mut Destinations| d.ask("smtp:x", Some(7), &settings, 0) == Turn::Go;
        assert_eq!((0..10).filter(|_| ask(&mut destinations)).count(), 5);
        for _ in 0..5 {
            destinations.succeeded("smtp:x");
        }
        assert_eq!((0..10).filter(|_| ask(&mut destinations)).count(), 1);
        destinations.succeeded("smtp:x");
        destinations.succeeded("smtp:x");
        assert_eq!((0..10).filter(|_| ask(&mut destinations)).count(), 1, "the limit is 7");
        assert_eq!(destinations.ask("smtp:y", Some(7), &settings, 0), Turn::Go);
    }

    #[test]
    fn a_dead_destination_rests() {
        let settings = ScheduleSettings::default();
        let mut destinations = Destinations::default();
        assert_eq!(destinations.ask("smtp:x", None, &settings, 0), Turn::Go);
        destinations.failed("smtp:x", "4.4.1", "connect to x[192.0.2.1]:25: Connection refused", &settings, 0);
        destinations.finished("smtp:x", 0);
        let dead = Turn::Dead {
            dsn: "4.4.1".into(),
            reason: "delivery temporarily suspended: connect to x[192.0.2.1]:25: Connection refused".into(),
        };
        assert_eq!(destinations.ask("smtp:x", None, &settings, 299 * SECOND), dead);
        assert_eq!(destinations.ask("smtp:x", None, &settings, 300 * SECOND), Turn::Go);
        assert_eq!(destinations.ask("smtp:x", None, &settings, 300 * SECOND), Turn::Wait);
        destinations.failed("smtp:x", "4.4.1", "again", &settings, 300 * SECOND);
        destinations.revive();
        destinations.finished("smtp:x", 301 * SECOND);
        assert_eq!(destinations.ask("smtp:x", None, &settings, 301 * SECOND), Turn::Go);
    }
}
