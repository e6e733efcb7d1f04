//! What becomes of a message after its deliveries: noted, reported, removed or deferred.

use super::super::agent::now;
use super::super::outcome::{Outcome, Status};
use super::super::report;
use super::{Event, Runner};
use queue::bounce::{ReportKind, is_bounce, reportable};
use queue::schedule::SECOND;
use queue::{Content, Message, Notify, QueueId, Recipient, RecipientState, RecipientUpdate};
use smtp::address::quote_local;
use std::sync::Arc;
use tokio::task::spawn_local;

impl Runner {
    /// Keeps what became of a recipient.
    pub(super) fn note(&mut self, id: QueueId, index: usize, outcome: &Outcome) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let envelope = Arc::make_mut(&mut active.message.envelope);
        let silent = is_bounce(envelope, &self.config.report);
        let time = now();
        let next_attempt = self.config.schedule.next_attempt(envelope.arrival, time);
        let Some(recipient) = envelope.recipients.get_mut(index) else { return };
        recipient.attempts = recipient.attempts.saturating_add(1);
        let notify = recipient.notify;
        recipient.state = match outcome.status {
            Status::Deferred | Status::SoftBounced => RecipientState::Pending,
            Status::Bounced if silent || !notify.wants_failure() => RecipientState::Done,
            Status::Bounced => RecipientState::Failed,
            Status::Sent if !silent && !outcome.action.is_empty() && notify.contains(Notify::SUCCESS) => {
                RecipientState::Notify
            }
            Status::Sent => RecipientState::Done,
        };
        recipient.next_attempt = if recipient.state == RecipientState::Pending { next_attempt } else { 0 };
        recipient.status = (recipient.state != RecipientState::Done).then(|| Box::new(outcome.delivery_status()));
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
        self.expire(id);
        let Some(active) = self.active.get_mut(&id) else { return };
        let envelope = &active.message.envelope;
        let kinds = [ReportKind::Failure, ReportKind::Success];
        let due = kinds.into_iter().filter(|k| !reportable(*k, envelope, &self.config.report).is_empty());
        let due: Vec<ReportKind> = if self.draining.is_some() { Vec::new() } else { due.collect() };
        if due.is_empty() {
            return self.settle(id);
        }
        active.outstanding = due.len();
        let message = active.message.clone();
        self.save(id);
        for kind in due {
            let (message, events) = (message.clone(), self.events.clone());
            let (config, surroundings) = (self.config.clone(), self.surroundings.clone());
            spawn_local(async move {
                let result = report::send(kind, &message, &config, &surroundings).await;
                let _ = events.send(Event::Reported(message.envelope.queue_id, kind, result));
            });
        }
    }

    /// Mail that could not be delivered for too long becomes undeliverable.
    fn expire(&mut self, id: QueueId) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let envelope = &active.message.envelope;
        let silent = is_bounce(envelope, &self.config.report);
        let tried = |r: &Recipient| r.state == RecipientState::Pending && r.attempts > 0;
        let late = self.config.schedule.expired(envelope.arrival, now(), silent);
        if !late || !envelope.recipients.iter().any(tried) {
            return;
        }
        let line = format!("{id}: from=<{}>, status=expired, returned to sender", quote_local(&envelope.sender));
        for (index, recipient) in Arc::make_mut(&mut active.message.envelope).recipients.iter_mut().enumerate() {
            if tried(recipient) {
                let told = silent || !recipient.notify.wants_failure();
                recipient.state = if told { RecipientState::Done } else { RecipientState::Failed };
                active.changed.push(index);
            }
        }
        self.log(&self.config.qmgr_tag, line);
    }

    pub(super) fn reported(&mut self, id: QueueId, kind: ReportKind, result: Result<Option<Message>, String>) {
        let state = if kind == ReportKind::Failure { RecipientState::Failed } else { RecipientState::Notify };
        match result {
            Ok(stored) => {
                if let Some(active) = self.active.get_mut(&id) {
                    let recipients = &mut Arc::make_mut(&mut active.message.envelope).recipients;
                    for (index, recipient) in recipients.iter_mut().enumerate().filter(|(_, r)| r.state == state) {
                        recipient.state = RecipientState::Done;
                        active.changed.push(index);
                    }
                }
                if let Some(report) = stored {
                    let what = match kind {
                        ReportKind::Failure => "sender non-delivery notification",
                        ReportKind::Success => "sender delivery status notification",
                    };
                    let line = format!("{id}: {what}: {}", report.envelope.queue_id);
                    self.log(&self.config.bounce_tag, line);
                    self.enqueue(report);
                }
            }
            // They stay as they are and are reported in the next round.
            Err(error) => self.log(&self.config.bounce_tag, format!("warning: {id}: {error}")),
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
        let done = active.message.envelope.is_done();
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
        } else if self.draining.is_none() {
            let soonest = now() + self.config.schedule.minimal_backoff_time.min(60 * SECOND);
            let pending = active.message.envelope.recipients.iter().filter(|r| r.state == RecipientState::Pending);
            // Nothing pending means that a report could not be stored.
            let next = pending.map(|r| r.next_attempt).min().unwrap_or(soonest);
            self.defer(id, next);
        }
        if self.draining.is_none()
            && let Some(waiting) = self.waiting.pop_front()
        {
            self.take_up(waiting, None);
        }
    }
}
