//! What becomes of a message after its deliveries: noted, reported, removed or deferred.

use super::super::DeliverConfig;
use super::super::agent::now;
use super::super::outcome::{Outcome, Status};
use super::super::report::{self, Reports};
use super::{Event, Runner};
use queue::bounce::{self, DELAYED};
use queue::schedule::SECOND;
use queue::{Content, Envelope, Notify, QueueId, Recipient, RecipientState, RecipientUpdate};
use smtp::address::quote_local;
use std::sync::Arc;
use tokio::task::spawn_local;

impl Runner {
    /// Keeps what became of a recipient.
    pub(super) fn note(&mut self, id: QueueId, index: usize, outcome: &Outcome) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let envelope = Arc::make_mut(&mut active.message.envelope);
        let Some(recipient) = envelope.recipients.get(index) else { return };
        let state = self.config.state_after(outcome, envelope, recipient);
        let late = bounce::was_late(envelope);
        let next_attempt = self.config.schedule.next_attempt(envelope.arrival, now());
        let Some(recipient) = envelope.recipients.get_mut(index) else { return };
        recipient.attempts = recipient.attempts.saturating_add(1);
        recipient.state = state;
        recipient.next_attempt = if state == RecipientState::Pending { next_attempt } else { 0 };
        let mut status = outcome.delivery_status();
        match state {
            // What was reported once stays reported.
            RecipientState::Pending if late => status.action = DELAYED.into(),
            RecipientState::Notify if status.action.is_empty() => status.action = "delivered".into(),
            _ => {}
        }
        recipient.status = (state != RecipientState::Done).then(|| Box::new(status));
        active.changed.push(index);
    }

    /// One task of a message is done; after the last one, the message takes its next step.
    pub(super) fn one_less(&mut self, id: QueueId) {
        let Some(active) = self.active.get_mut(&id) else { return };
        active.outstanding = active.outstanding.saturating_sub(1);
        if active.outstanding == 0 {
            self.complete(id);
        } else {
            self.save(id);
        }
    }

    /// Tells the spool what changed.
    fn save(&mut self, id: QueueId) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let changed = std::mem::take(&mut active.changed);
        if changed.is_empty() {
            return;
        }
        let recipients = &active.message.envelope.recipients;
        let updates = changed.iter().filter_map(|index| {
            recipients.get(*index).map(|r| RecipientUpdate {
                index: *index,
                state: r.state,
                attempts: r.attempts,
                next_attempt: r.next_attempt,
                status: r.status.clone(),
            })
        });
        if let Err(error) = self.surroundings.spool.update(id, updates.collect()) {
            self.log(&self.config.qmgr_tag, format!("warning: {id}: {error}"));
        }
    }

    /// All deliveries of this round are over: give up on what is too old, report, and file away.
    fn complete(&mut self, id: QueueId) {
        if self.active.get(&id).is_some_and(|active| active.probe.is_some()) {
            return self.end_probe(id);
        }
        if self.active.get(&id).is_some_and(|active| active.is_removed) {
            return self.settle(id);
        }
        self.expire(id);
        self.forget_untold(id);
        let Some(active) = self.active.get_mut(&id) else { return };
        let envelope = &active.message.envelope;
        let settings = &self.config.report;
        let mut states = vec![RecipientState::Failed, RecipientState::Notify];
        if bounce::is_late(envelope, settings, now()) {
            states.push(RecipientState::Pending);
        }
        states.retain(|state| !bounce::due(*state, envelope, settings).is_empty());
        if states.is_empty() || self.draining.is_some() {
            return self.settle(id);
        }
        active.outstanding = states.len();
        let message = active.message.clone();
        self.save(id);
        for state in states {
            let (message, events) = (message.clone(), self.events.clone());
            let (config, surroundings) = (self.config.clone(), self.surroundings.clone());
            spawn_local(async move {
                let result = report::send(state, &message, &config, &surroundings).await;
                let _ = events.send(Event::Reported(message.envelope.queue_id, state, result));
            });
        }
    }

    /// Mail that could not be delivered for too long becomes undeliverable.
    fn expire(&mut self, id: QueueId) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let envelope = &active.message.envelope;
        let silent = bounce::is_bounce(envelope, &self.config.report);
        let tried = |r: &Recipient| r.state == RecipientState::Pending && r.attempts > 0;
        let late = !envelope.hold && self.config.schedule.expired(envelope.arrival, now(), silent);
        if !late || !envelope.recipients.iter().any(tried) {
            return;
        }
        let line = format!("{id}: from=<{}>, status=expired, returned to sender", quote_local(&envelope.sender));
        for (index, recipient) in Arc::make_mut(&mut active.message.envelope).recipients.iter_mut().enumerate() {
            if tried(recipient) {
                recipient.state = RecipientState::Failed;
                active.changed.push(index);
            }
        }
        self.log(&self.config.qmgr_tag, line);
    }

    /// What nobody is to be told of is done.
    fn forget_untold(&mut self, id: QueueId) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let (envelope, settings) = (&active.message.envelope, &self.config.report);
        let untold = |r: &Recipient| match r.state {
            RecipientState::Failed => !bounce::failure_is_told(envelope, r, settings),
            RecipientState::Notify => bounce::is_bounce(envelope, settings),
            RecipientState::Pending | RecipientState::Done => false,
        };
        let untold: Vec<usize> =
            envelope.recipients.iter().enumerate().filter(|(_, r)| untold(r)).map(|(index, _)| index).collect();
        if untold.is_empty() {
            return;
        }
        let discarded = bounce::is_double_bounce(envelope, settings);
        let recipients = &mut Arc::make_mut(&mut active.message.envelope).recipients;
        for index in untold {
            (recipients[index].state, recipients[index].status) = (RecipientState::Done, None);
            active.changed.push(index);
        }
        if discarded {
            let text = format!("warning: {id}: undeliverable postmaster notification discarded");
            self.log(&self.config.bounce_tag, text);
        }
    }

    pub(super) fn reported(&mut self, id: QueueId, state: RecipientState, result: Result<Reports, String>) {
        match result {
            Ok(reports) => {
                if let Some(active) = self.active.get_mut(&id) {
                    let recipients = &mut Arc::make_mut(&mut active.message.envelope).recipients;
                    for (index, recipient) in recipients.iter_mut().enumerate().filter(|(_, r)| r.state == state) {
                        match (&mut recipient.status, state) {
                            (Some(status), RecipientState::Pending) => status.action = DELAYED.into(),
                            (_, RecipientState::Pending) => continue,
                            _ => recipient.state = RecipientState::Done,
                        }
                        active.changed.push(index);
                    }
                }
                for (kind, report) in reports {
                    self.log(&self.config.bounce_tag, format!("{id}: {}: {}", kind.name(), report.id));
                    if let Some(message) = report.message {
                        self.enqueue(message);
                    }
                }
            }
            // They stay as they are and are reported in the next round.
            Err(error) => {
                self.log(&self.config.bounce_tag, format!("warning: {id}: {error}"));
                let failed = match state {
                    RecipientState::Failed => Some("bounce failed"),
                    RecipientState::Notify => Some("trace failed"),
                    RecipientState::Pending | RecipientState::Done => None,
                };
                if let Some(failed) = failed {
                    self.log(&self.config.qmgr_tag, format!("{id}: status=deferred ({failed})"));
                }
            }
        }
        let Some(active) = self.active.get_mut(&id) else { return };
        active.outstanding = active.outstanding.saturating_sub(1);
        if active.outstanding == 0 {
            self.settle(id);
        }
    }

    /// The message leaves the active queue: removed, or deferred.
    fn settle(&mut self, id: QueueId) {
        let Some(active) = self.active.get(&id) else { return };
        let done = active.message.envelope.is_done() || active.is_removed;
        if !done {
            self.save(id);
        }
        let Some(active) = self.active.remove(&id) else { return };
        if let Content::Memory(bytes) = &active.message.content {
            self.content_bytes = self.content_bytes.saturating_sub(bytes.len());
        }
        if done {
            match self.surroundings.spool.finish(id) {
                Ok(()) => self.log(&self.config.qmgr_tag, format!("{id}: removed")),
                Err(error) => self.log(&self.config.qmgr_tag, format!("warning: {id}: {error}")),
            }
        } else if self.draining.is_none() && !active.message.envelope.hold {
            let (schedule, envelope) = (&self.config.schedule, &active.message.envelope);
            // Nothing pending means that a report could not be stored, or that a filter refuses it: tried again soon,
            // and then as seldom as mail of that age.
            let soon = schedule.minimal_backoff_time.min(60 * SECOND);
            let wait = (now() - envelope.arrival).min(schedule.maximal_backoff_time).max(soon);
            let pending = envelope.recipients.iter().filter(|r| r.state == RecipientState::Pending);
            let next = pending.map(|r| r.next_attempt).min().unwrap_or(now() + wait);
            self.defer(id, next);
        }
        if self.draining.is_none()
            && let Some(waiting) = self.waiting.pop_front()
        {
            self.take_up(waiting, None);
        }
    }
}

impl DeliverConfig {
    /// Where a recipient stands after a delivery.
    fn state_after(&self, outcome: &Outcome, envelope: &Envelope, recipient: &Recipient) -> RecipientState {
        let cleared = || {
            let late = recipient.status.as_deref().is_some_and(|status| status.action == DELAYED);
            self.confirm_delay_cleared && late && recipient.notify.wants_delay()
        };
        let asked = || !outcome.action.is_empty() && recipient.notify.contains(Notify::SUCCESS);
        match outcome.status {
            Status::Deferred | Status::SoftBounced => RecipientState::Pending,
            Status::Bounced => RecipientState::Failed,
            Status::Sent if bounce::is_bounce(envelope, &self.report) => RecipientState::Done,
            Status::Sent if asked() || cleared() => RecipientState::Notify,
            Status::Sent => RecipientState::Done,
        }
    }
}
