//! A few connections to the servers of a table, shared by the threads that look things up in it.
//!
//! What it decides: which server is asked and how long, how many connections there are, when they are closed, and how
//! long a server that failed is left alone. What it doesn't: what is said on a connection, and how errors are told.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A connection to one of the servers of a table, made and used by one thread at a time.
pub(super) trait Connection: Send + Sized {
    /// Where to connect to, and as whom.
    type Server: Send + Sync;

    /// Connect (and log in); gives up at the deadline. The error is for the log and names the server.
    fn connect(server: &Self::Server, deadline: Instant) -> Result<Self, String>;

    /// Has the server hung up, or spoken out of turn, while the connection was idle? Must not wait.
    fn is_stale(&mut self) -> bool {
        false
    }
}

/// Why something asked on a connection failed. Texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection is of no more use: closed, timed out, or out of step. Another server may do better.
    Broken(String),
    /// The server answered, with an error; the connection is in order.
    Refused(String),
}

/// The bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// No more connections than this, over all servers.
    pub(super) connections: usize,
    /// A look-up ends after this, including its wait for a connection and all servers it tries.
    pub(super) timeout: Duration,
    /// A connection that was idle for so long isn't used again.
    pub(super) idle: Duration,
    /// A connection that is this old isn't used again.
    pub(super) lifetime: Duration,
    /// How long a server that failed is left alone.
    pub(super) rest: Rest,
}

/// How long a server that failed is left alone; look-ups that would need it fail at once meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    /// Always this long (`retry_interval`).
    For(Duration),
    /// As long as the failure took, with a limit; not at all when it took no time. A refused connection is tried again
    /// at once, but look-ups don't wait one after the other for a server that says nothing.
    AsLongAsItTook(Duration),
}

/// A failure that took no longer costs nobody anything.
const BRIEF: Duration = Duration::from_millis(100);

/// While one look-up finds out whether a server is back, others wait for it so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connections to the servers of one table.
pub(super) struct Pool<C: Connection> {
    servers: Vec<Ranked<C::Server>>,
    limits: Limits,
    state: Mutex<State<C>>,
    /// Told when a connection comes free.
    freed: Condvar,
    seed: RandomState,
    clock: fn() -> Instant,
}

/// A server with its rank: those with low ranks are tried first, those of equal rank in random order.
pub(super) struct Ranked<S> {
    pub(super) rank: usize,
    pub(super) server: S,
}

struct State<C> {
    /// The one used last is at the end.
    idle: Vec<Idle<C>>,
    /// Connections that threads use or are making.
    busy: usize,
    /// By server: its last failure, if it hasn't done better since.
    failures: Vec<Option<Failed>>,
    /// Counts choices among equals.
    choices: u64,
}

struct Idle<C> {
    connection: C,
    server: usize,
    born: Instant,
    since: Instant,
}

struct Failed {
    text: String,
    /// Left alone so long.
    rest: Duration,
    /// Left alone until then.
    until: Instant,
    /// Until when others wait for the look-up that tries the server again, if one does.
    patience: Option<Instant>,
}

/// What a look-up has been through.
struct Visit {
    deadline: Instant,
    tried: Vec<bool>,
    /// An idle connection was dead, so the others are probably, too.
    fresh_only: bool,
    error: Option<String>,
}

/// What a look-up does next.
enum Choice<C> {
    Reuse { idle: Idle<C>, until: Instant },
    Connect { server: usize, until: Instant },
    Wait,
    GiveUp(String),
}

/// The right to one connection, given back however its holder ends.
struct Place<'p, C: Connection>(&'p Pool<C>);

impl<C: Connection> Drop for Place<'_, C> {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        // All of them: the one that is woken may have reason to give up.
        self.0.freed.notify_all();
    }
}

impl<C: Connection> Pool<C> {
    /// A pool without connections yet.
    pub(super) fn new(servers: Vec<Ranked<C::Server>>, limits: Limits) -> Self {
        let failures = servers.iter().map(|_| None).collect();
        let state = Mutex::new(State { idle: Vec::new(), busy: 0, failures, choices: 0 });
        Self { servers, limits, state, freed: Condvar::new(), seed: RandomState::new(), clock: Instant::now }
    }

    /// Ask something on a connection, which must stop at the instant it is given. A broken idle connection is replaced
    /// once; a broken new one counts against its server, and the next server is tried.
    pub(super) fn ask<T>(&self, mut ask: impl FnMut(&mut C, Instant) -> Result<T, Failure>) -> Result<T, String> {
        let begin = (self.clock)();
        let tried = vec![false; self.servers.len()];
        let mut visit = Visit { deadline: begin + self.limits.timeout, tried, fresh_only: false, error: None };
        loop {
            let result = match self.choose(&mut visit) {
                Choice::GiveUp(text) => return Err(text),
                // `choose` has waited itself.
                Choice::Wait => None,
                Choice::Reuse { idle, until } => self.reuse(idle, until, &mut visit, &mut ask),
                Choice::Connect { server, until } => self.connect(server, until, &mut visit, &mut ask),
            };
            if let Some(result) = result {
                return result;
            }
        }
    }

    /// Ask on a connection that was idle; `None`: it was dead.
    fn reuse<T>(
        &self,
        mut idle: Idle<C>,
        until: Instant,
        visit: &mut Visit,
        ask: &mut impl FnMut(&mut C, Instant) -> Result<T, Failure>,
    ) -> Option<Result<T, String>> {
        let place = Place(self);
        let begin = (self.clock)();
        if idle.connection.is_stale() {
            self.forget(idle.server, visit);
            return None;
        }
        match ask(&mut idle.connection, until) {
            Ok(value) => return Some(self.finish(place, idle, Ok(value))),
            Err(Failure::Refused(text)) => return Some(self.finish(place, idle, Err(text))),
            // A server that says nothing is to blame; a closed connection was just idle for too long.
            Err(Failure::Broken(text)) if (self.clock)() >= until => self.blame(idle.server, begin, text, visit),
            Err(Failure::Broken(text)) => {
                self.forget(idle.server, visit);
                visit.error = Some(text);
            }
        }
        None
    }

    /// Ask on a new connection; `None`: the server has failed.
    fn connect<T>(
        &self,
        server: usize,
        until: Instant,
        visit: &mut Visit,
        ask: &mut impl FnMut(&mut C, Instant) -> Result<T, Failure>,
    ) -> Option<Result<T, String>> {
        let place = Place(self);
        let born = (self.clock)();
        let failure = match C::connect(&self.servers[server].server, until) {
            Err(text) => text,
            Ok(mut connection) => match ask(&mut connection, until) {
                Err(Failure::Broken(text)) => text,
                answered => {
                    let idle = Idle { connection, server, born, since: born };
                    let answered = match answered {
                        Ok(value) => Ok(value),
                        Err(Failure::Broken(text) | Failure::Refused(text)) => Err(text),
                    };
                    return Some(self.finish(place, idle, answered));
                }
            },
        };
        self.blame(server, born, failure, visit);
        None
    }

    /// Keep a connection that answered.
    fn finish<T>(&self, place: Place<'_, C>, mut idle: Idle<C>, result: Result<T, String>) -> Result<T, String> {
        idle.since = (self.clock)();
        let mut state = self.lock();
        state.failures[idle.server] = None;
        state.idle.push(idle);
        drop(state);
        drop(place);
        result
    }

    /// Close what is idle to a server, and have this look-up make a connection of its own.
    fn forget(&self, server: usize, visit: &mut Visit) {
        visit.fresh_only = true;
        let closed = self.lock().remove_idle(|idle| idle.server == server);
        // Not under the lock: closing may talk to the server.
        drop(closed);
    }

    /// A server has failed: leave it alone for a while.
    fn blame(&self, server: usize, begin: Instant, text: String, visit: &mut Visit) {
        let now = (self.clock)();
        let rest = match self.limits.rest {
            Rest::For(rest) => rest,
            Rest::AsLongAsItTook(most) => match now.saturating_duration_since(begin) {
                took if took <= BRIEF => Duration::ZERO,
                took => took.min(most),
            },
        };
        visit.tried[server] = true;
        visit.error = Some(text.clone());
        let mut state = self.lock();
        state.failures[server] = Some(Failed { text, rest, until: now + rest, patience: None });
        let closed = state.remove_idle(|idle| idle.server == server);
        drop(state);
        drop(closed);
    }

    /// What to do next; waits when all connections are in use. The chosen connection counts as busy.
    fn choose(&self, visit: &mut Visit) -> Choice<C> {
        let now = (self.clock)();
        let mut state = self.lock();
        let limits = self.limits;
        let closed = state.remove_idle(|idle| {
            now.saturating_duration_since(idle.since) >= limits.idle
                || now.saturating_duration_since(idle.born) >= limits.lifetime
        });
        if !closed.is_empty() {
            drop(state);
            drop(closed);
            state = self.lock();
        }
        if now >= visit.deadline && visit.error.is_some() {
            return Choice::GiveUp(visit.error.take().unwrap_or_default());
        }
        let at = state.idle.iter().rposition(|idle| !visit.fresh_only && !visit.tried[idle.server]);
        if let Some(at) = at {
            state.busy += 1;
            return Choice::Reuse { idle: state.idle.remove(at), until: visit.share(&state, now) };
        }
        let Some(server) = self.pick(&mut state, visit, now) else {
            if let Some(patience) = state.patience(visit, now) {
                return self.wait(state, visit, now, patience);
            }
            let resting = || state.failures.iter().flatten().map(|failed| failed.text.clone()).next();
            return Choice::GiveUp(visit.error.take().or_else(resting).unwrap_or_else(|| "no server".to_owned()));
        };
        if state.busy + state.idle.len() < limits.connections {
            return state.start(server, visit, now);
        }
        if state.idle.is_empty() {
            return self.wait(state, visit, now, visit.deadline);
        }
        let closed = state.idle.remove(0);
        let choice = state.start(server, visit, now);
        drop(state);
        drop(closed);
        choice
    }

    fn wait(&self, state: MutexGuard<'_, State<C>>, visit: &mut Visit, now: Instant, end: Instant) -> Choice<C> {
        let left = visit.deadline.min(end).saturating_duration_since(now);
        if left.is_zero() {
            let busy = || format!("all {} connections are in use", self.limits.connections);
            return Choice::GiveUp(visit.error.take().unwrap_or_else(busy));
        }
        drop(self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner));
        Choice::Wait
    }

    /// The best server that wasn't tried and isn't left alone.
    fn pick(&self, state: &mut State<C>, visit: &Visit, now: Instant) -> Option<usize> {
        let usable: Vec<usize> = state.usable(visit, now).collect();
        let rank = usable.iter().map(|&at| self.servers[at].rank).min()?;
        let equals: Vec<usize> = usable.into_iter().filter(|&at| self.servers[at].rank == rank).collect();
        state.choices = state.choices.wrapping_add(1);
        let number = self.seed.hash_one(state.choices) % equals.len().max(1) as u64;
        equals.get(number as usize).copied()
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> State<C> {
    fn remove_idle(&mut self, condition: impl Fn(&Idle<C>) -> bool) -> Vec<Idle<C>> {
        self.idle.extract_if(.., |idle| condition(idle)).collect()
    }

    /// The servers that this look-up may try.
    fn usable(&self, visit: &Visit, now: Instant) -> impl Iterator<Item = usize> {
        let resting = move |at: usize| self.failures[at].as_ref().is_some_and(|failed| now < failed.until);
        (0..self.failures.len()).filter(move |&at| !visit.tried[at] && !resting(at))
    }

    /// Until when to wait for what another look-up finds out about a server.
    fn patience(&self, visit: &Visit, now: Instant) -> Option<Instant> {
        let untried = self.failures.iter().zip(&visit.tried).filter(|(_, tried)| !**tried);
        untried.filter_map(|(failed, _)| failed.as_ref()?.patience).filter(|patience| now < *patience).min()
    }

    fn start(&mut self, server: usize, visit: &Visit, now: Instant) -> Choice<C> {
        self.busy += 1;
        let until = visit.share(self, now);
        // One look-up tries a server that was left alone; until it knows more, others don't join it.
        if let Some(failed) = self.failures[server].as_mut().filter(|failed| failed.rest > Duration::ZERO) {
            failed.until = until;
            failed.patience = Some(now + PATIENCE);
        }
        Choice::Connect { server, until }
    }
}

impl Visit {
    /// Until when one server may take, so that there is time left for the others.
    fn share<C>(&self, state: &State<C>, now: Instant) -> Instant {
        let servers = u32::try_from(state.usable(self, now).count()).unwrap_or(u32::MAX).max(1);
        now + self.deadline.saturating_duration_since(now) / servers
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
