//! The delivery thread: what qmgr(8) does.
//!
//! One loop owns all state. Address resolution, deliveries and reports run as tasks of the same thread and tell the loop
//! when they are done. What is deferred, or more than the active queue takes, is known here by its id alone.

mod change;
mod completion;
mod probe;
mod routing;

use super::agent::{Attempt, Connection, Request, Transcript, now, serve};
use super::handle::Order;
use super::outcome::{Outcome, Status, Times, active_line};
use super::report::{self, Reports};
use super::{DeliverConfig, Route, Surroundings, Temporary};
use queue::schedule::{Destinations, SECOND, Turn};
use queue::{Content, Message, QueueId, RecipientState};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep_until};

/// `qmgr_message_active_limit`.
const ACTIVE_LIMIT: usize = 20_000;
/// Content of new mail is kept in memory while it waits for its first delivery, up to this many bytes in all.
const CONTENT_LIMIT: usize = 64 << 20;

/// Runs delivery on a thread of its own.
pub(super) fn spawn(
    config: DeliverConfig,
    surroundings: Surroundings,
    orders: mpsc::UnboundedReceiver<Order>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("delivery".into()).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let (events, told) = mpsc::unbounded_channel();
            Runner::new(config, surroundings, events).run(orders, told).await;
        });
    })?;
    Ok(())
}

/// What the loop is told by its tasks.
enum Event {
    /// Recipients of a message were resolved.
    Routed(QueueId, Vec<(usize, Result<Route, Temporary>)>),
    /// A request was served. The worker waits for another one to the same destination.
    Served(Box<(Request, Attempt)>, oneshot::Sender<Option<Request>>),
    /// Reports about recipients in this state were stored, were not due, or could not be stored.
    Reported(QueueId, RecipientState, Result<Reports, String>),
    /// A notice for the postmaster was stored.
    Noticed(Message),
    /// The probe of an address can go on its way, or never will.
    Probing(Arc<str>, Result<Message, String>),
}

/// A message being worked on.
struct Active {
    message: Message,
    since: i64,
    /// Tasks that have to come back before the next step.
    outstanding: usize,
    /// Recipients whose state the spool does not know yet.
    changed: Vec<usize>,
    /// The address that was asked about, if this is a probe: the spool has none of it.
    probe: Option<Arc<str>>,
    /// Somebody wants it gone: it is forgotten as soon as nothing goes on.
    is_removed: bool,
}

struct Runner {
    config: Arc<DeliverConfig>,
    surroundings: Surroundings,
    events: mpsc::UnboundedSender<Event>,
    active: HashMap<QueueId, Active>,
    /// Beyond the limit of the active queue.
    waiting: VecDeque<QueueId>,
    deferred: BTreeSet<(i64, QueueId)>,
    deferred_until: HashMap<QueueId, i64>,
    /// Changed by the postmaster lately while nothing was known of them here: they may be on their way to us.
    touched: VecDeque<QueueId>,
    destinations: Destinations,
    requests: HashMap<Arc<str>, VecDeque<Request>>,
    /// Bytes of content kept in memory.
    content_bytes: usize,
    /// Probes under way.
    probes: usize,
    swept: i64,
    draining: Option<(Instant, SyncSender<bool>)>,
}

impl Runner {
    fn new(config: DeliverConfig, surroundings: Surroundings, events: mpsc::UnboundedSender<Event>) -> Self {
        Runner {
            config: Arc::new(config),
            surroundings,
            events,
            active: HashMap::new(),
            waiting: VecDeque::new(),
            deferred: BTreeSet::new(),
            deferred_until: HashMap::new(),
            touched: VecDeque::new(),
            destinations: Destinations::default(),
            requests: HashMap::new(),
            content_bytes: 0,
            probes: 0,
            swept: 0,
            draining: None,
        }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, mut told: mpsc::UnboundedReceiver<Event>) {
        let mut open = true;
        loop {
            if self.is_drained() {
                return;
            }
            let due = self.next_due();
            tokio::select! {
                biased;
                event = told.recv() => {
                    if let Some(event) = event {
                        self.told(event);
                    }
                }
                order = orders.recv(), if open => match order {
                    Some(order) => self.ordered(order),
                    None => open = false,
                },
                () = sleep_until(due) => self.wake(),
            }
            if !open && self.draining.is_none() && self.active.is_empty() {
                // Nobody is left to hand in mail or to wait for an end.
                return;
            }
        }
    }

    /// Has an ordered end come?
    fn is_drained(&mut self) -> bool {
        let Some((end, _)) = &self.draining else { return false };
        let idle = self.active.is_empty();
        if !idle && Instant::now() < *end {
            return false;
        }
        if let Some((_, tell)) = self.draining.take() {
            // Nobody listening is fine.
            let _ = tell.send(idle);
        }
        true
    }

    fn next_due(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(60);
        let deferred = match self.deferred.first() {
            Some((at, _)) if self.draining.is_none() => {
                let wait = u64::try_from(at - now()).unwrap_or(0);
                Instant::now() + Duration::from_micros(wait)
            }
            _ => far,
        };
        let end = self.draining.as_ref().map_or(far, |(end, _)| *end);
        deferred.min(end).min(far)
    }

    fn wake(&mut self) {
        let time = now();
        if time - self.swept > 60 * SECOND {
            self.swept = time;
            self.destinations.sweep(time);
        }
        while self.draining.is_none()
            && let Some((at, id)) = self.deferred.first().copied()
            && at <= time
        {
            self.deferred.remove(&(at, id));
            self.deferred_until.remove(&id);
            self.take_up(id, None);
        }
    }

    fn ordered(&mut self, order: Order) {
        match order {
            Order::Deliver(message) => self.enqueue(message),
            Order::Probe(address) => self.probe(address),
            Order::Flush => {
                self.destinations.revive();
                let all = std::mem::take(&mut self.deferred);
                self.deferred_until.clear();
                for (_, id) in all {
                    self.take_up(id, None);
                }
            }
            // Who has asked may have lost patience.
            Order::Change(id, change, tell) => drop(tell.send(self.change(id, change))),
            Order::InHand(tell) => drop(tell.send(self.in_hand())),
            Order::Expand(message, tell) => self.expand(message, tell),
            Order::Reload(config) => self.config = Arc::new(*config),
            Order::Drain(time, tell) => {
                self.draining = Some((Instant::now() + time, tell));
                // Their mail is in the spool and stays there.
                let requests = std::mem::take(&mut self.requests);
                for request in requests.into_values().flatten() {
                    self.one_less(request.id);
                }
            }
        }
    }

    fn told(&mut self, event: Event) {
        match event {
            Event::Routed(id, routes) => self.routed(id, routes),
            Event::Served(served, next) => self.served(&served.0, &served.1, next),
            Event::Reported(id, state, result) => self.reported(id, state, result),
            Event::Noticed(message) => self.enqueue(message),
            Event::Probing(address, made) => self.probing(address, made),
        }
    }

    fn log(&self, tag: &str, text: String) {
        (self.surroundings.log)(tag, text);
    }

    fn enqueue(&mut self, message: Message) {
        let Some(message) = self.as_it_is_now(message) else { return };
        let envelope = &message.envelope;
        let id = envelope.queue_id;
        if envelope.hold || self.draining.is_some() || self.active.contains_key(&id) {
            return;
        }
        if let Some(at) = self.deferred_until.remove(&id) {
            self.deferred.remove(&(at, id));
        }
        let pending = envelope.recipients.iter().filter(|r| r.state != RecipientState::Done);
        match pending.map(|r| r.next_attempt).min() {
            Some(at) if at > now() => self.defer(id, at),
            _ => self.take_up(id, Some(message)),
        }
    }

    fn defer(&mut self, id: QueueId, until: i64) {
        self.deferred.insert((until, id));
        self.deferred_until.insert(id, until);
    }

    /// Moves a message into the active queue, if there is room.
    fn take_up(&mut self, id: QueueId, message: Option<Message>) {
        if self.active.contains_key(&id) {
            return;
        }
        if self.active.len() >= ACTIVE_LIMIT {
            self.waiting.push_back(id);
            return;
        }
        let Some(mut message) = message.or_else(|| self.surroundings.spool.message(id)) else { return };
        if message.envelope.hold {
            return;
        }
        if let Content::Memory(bytes) = &message.content {
            if self.content_bytes + bytes.len() > CONTENT_LIMIT {
                message.content = Content::Journal;
            } else {
                self.content_bytes += bytes.len();
            }
        }
        self.log(&self.config.qmgr_tag, active_line(&message.envelope));
        let active = Active {
            message: message.clone(),
            since: now(),
            outstanding: 1,
            changed: Vec::new(),
            probe: None,
            is_removed: false,
        };
        self.active.insert(id, active);
        self.route(message, false);
    }

    /// What no agent gets to see is logged as error(8) would, or as done by the queue manager.
    fn unreachable(&mut self, message: &Message, index: usize, since: i64, outcome: &Outcome) {
        let times = Times {
            arrival: message.envelope.arrival,
            active: since,
            agent: now(),
            connected: 0,
            done: now(),
            uses: 0,
        };
        let tag = if outcome.status == Status::Sent { &self.config.qmgr_tag } else { &self.config.error_tag };
        let tag = tag.clone();
        self.became(&tag, (message, index), outcome, &times);
    }

    /// What became of a recipient: for the log, and for whoever wants to know.
    fn became(&mut self, tag: &str, (message, index): (&Message, usize), outcome: &Outcome, times: &Times) {
        let id = message.envelope.queue_id;
        let is_probe = self.active.get(&id).is_some_and(|active| active.probe.is_some());
        if let Some(recipient) = message.envelope.recipients.get(index) {
            let word = if is_probe { self.probe_word(outcome) } else { outcome.word() };
            self.log(tag, outcome.log_line(word, id, recipient, times));
        }
        if is_probe { self.probed(id, index, outcome) } else { self.note(id, index, outcome) }
    }

    /// Starts what may start to a destination.
    fn pump(&mut self, destination: &Arc<str>) {
        while let Some(request) = self.next_request(destination) {
            match self.turn(&request) {
                Turn::Go => self.start(request),
                Turn::Wait => {
                    self.requests.entry(destination.clone()).or_default().push_front(request);
                    return;
                }
                Turn::Dead { dsn, reason } => self.suspend(&request, &dsn, &reason),
            }
        }
        self.requests.remove(destination);
    }

    fn next_request(&mut self, destination: &Arc<str>) -> Option<Request> {
        self.requests.get_mut(destination)?.pop_front()
    }

    fn turn(&mut self, request: &Request) -> Turn {
        let limit = Some(request.transport.concurrency_limit);
        self.destinations.ask(&request.destination, limit, &self.config.schedule, now())
    }

    fn suspend(&mut self, request: &Request, dsn: &str, reason: &str) {
        let outcome = Outcome::deferred(dsn, reason, "none");
        for (index, _) in &request.recipients {
            self.unreachable(&request.message, *index, request.active, &outcome);
        }
        self.one_less(request.id);
    }

    /// A worker serves the request, and then others to the same destination over the same connection.
    fn start(&self, request: Request) {
        let (config, surroundings, events) = (self.config.clone(), self.surroundings.clone(), self.events.clone());
        spawn_local(async move {
            let mut connection: Option<Connection> = None;
            let mut current = Some(request);
            while let Some(request) = current {
                let mut attempt = serve(&config, &surroundings, &request, &mut connection).await;
                attempt.times.done = now();
                let (next, answer) = oneshot::channel();
                if events.send(Event::Served(Box::new((request, attempt)), next)).is_err() {
                    return;
                }
                current = answer.await.ok().flatten();
            }
            if let Some(connection) = connection
                && let Some(transcript) = connection.quit().await
            {
                tell_postmaster(&transcript, &config, &surroundings, &events).await;
            }
        });
    }

    fn served(&mut self, request: &Request, attempt: &Attempt, next: oneshot::Sender<Option<Request>>) {
        for ((index, _), outcome) in request.recipients.iter().zip(attempt.outcomes()) {
            let missing = || Outcome::deferred("4.3.0", "mail system error", "none");
            let softens = request.transport.soft_bounce && !request.is_probe;
            let outcome = outcome.cloned().unwrap_or_else(missing).softened(softens);
            self.became(&request.transport.tag, (&request.message, *index), &outcome, &attempt.times);
        }
        if !attempt.transcripts.is_empty() {
            let transcripts = attempt.transcripts.clone();
            let (config, surroundings, events) = (self.config.clone(), self.surroundings.clone(), self.events.clone());
            spawn_local(async move {
                for transcript in &transcripts {
                    tell_postmaster(transcript, &config, &surroundings, &events).await;
                }
            });
        }
        let destination = &request.destination;
        match &attempt.dead {
            // A probe that meets nobody is not what mail is to wait for.
            Some(_) if request.is_probe => {}
            Some((dsn, reason)) => {
                self.destinations.failed(destination, dsn, reason, &self.config.schedule, now());
            }
            None => self.destinations.succeeded(destination),
        }
        self.one_less(request.id);
        let following = match attempt.dead {
            None => self.next_request(destination),
            Some(_) => None,
        };
        let taken = following.is_some();
        // A worker that is gone gives its request back.
        if let Err(Some(request)) = next.send(following) {
            self.requests.entry(destination.clone()).or_default().push_front(request);
        } else if taken {
            return self.pump(destination);
        }
        self.destinations.finished(destination, now());
        self.pump(destination);
    }
}

/// Sends the transcript of a session; a message about it isn't worth more than a warning.
async fn tell_postmaster(
    transcript: &Transcript,
    config: &DeliverConfig,
    surroundings: &Surroundings,
    events: &mpsc::UnboundedSender<Event>,
) {
    match report::send_transcript(transcript, config, surroundings).await {
        Ok(Some(message)) => drop(events.send(Event::Noticed(message))),
        Ok(None) => {}
        Err(error) => (surroundings.log)(&config.qmgr_tag, format!("warning: postmaster notice failed: {error}")),
    }
}

#[cfg(test)]
mod tests;
