//! Address probes (verify(8), ADDRESS_VERIFICATION_README): messages that go the way of mail but for its end.
//!
//! They are kept in memory only, are never tried again, and nobody gets a report about them: who asked is told.

use super::super::agent::now;
use super::super::outcome::{Outcome, Status, Times, active_line};
use super::{Active, Event, Runner};
use policy::{AddressStatus, Verification};
use queue::{Content, Envelope, Message, Notify, QueueId, Recipient, bounce};
use std::sync::Arc;
use tokio::task::spawn_local;

/// What Postfix says when too many are under way.
const TOO_MANY: &str = "Too many address verification requests";
/// About what the headers of such a message come to, if anybody were to see them.
const NOMINAL_SIZE: u64 = 234;

impl Runner {
    /// Starts a probe: a queue id, and whom mail for the address would reach.
    pub(super) fn probe(&mut self, address: Arc<str>) {
        if self.draining.is_some() {
            return;
        }
        let (config, surroundings, events) = (self.config.clone(), self.surroundings.clone(), self.events.clone());
        let arrival = now();
        let id = surroundings.ids.next(config.long_queue_ids, arrival);
        let sender = config.probe_sender.at(u64::try_from(arrival / 1_000_000).unwrap_or(0));
        let mut envelope = Envelope::new(id, arrival, sender);
        envelope.size = NOMINAL_SIZE;
        envelope.smtputf8 = !address.is_ascii();
        envelope.recipients = vec![Recipient::new(&*address)];
        if self.probes >= config.probe_limit {
            let outcome = Outcome::deferred("4.3.3", TOO_MANY, "none");
            let times = Times { arrival, active: arrival, agent: arrival, done: now(), ..Times::default() };
            let line = outcome.log_line(self.probe_word(&outcome), id, &envelope.recipients[0], &times);
            self.log(&config.error_tag, line);
            return (surroundings.probed)(&address, Verification::new(AddressStatus::Deferred, TOO_MANY));
        }
        self.probes += 1;
        spawn_local(async move {
            let made = match surroundings.router.expand(id, &address).await {
                Ok(expanded) => {
                    envelope.recipients = expanded.recipients;
                    envelope.recipients.iter_mut().for_each(|recipient| recipient.notify = Notify::default());
                    Ok(Message { envelope: Arc::new(envelope), content: Content::Memory(Arc::default()) })
                }
                Err(why) => Err(why.0),
            };
            // The loop is only gone with the thread.
            let _ = events.send(Event::Probing(address, made));
        });
    }

    /// A probe is ready to go.
    pub(super) fn probing(&mut self, address: Arc<str>, made: Result<Message, String>) {
        let message = match made {
            Ok(message) => message,
            Err(why) => {
                self.probes -= 1;
                self.log(&self.config.cleanup_tag, format!("warning: address verification of <{address}>: {why}"));
                return self.tell(&address, Verification::new(AddressStatus::Deferred, "mail system error"));
            }
        };
        let envelope = message.envelope.clone();
        let id = envelope.queue_id;
        let message_id = bounce::message_id(id, envelope.arrival, &self.config.report.myhostname);
        self.log(&self.config.cleanup_tag, format!("{id}: message-id={message_id}"));
        if self.active.contains_key(&id) {
            // The id was used in the same microsecond.
            self.probes -= 1;
            return self.probe(address);
        }
        self.log(&self.config.qmgr_tag, active_line(&envelope));
        let active = Active {
            message: message.clone(),
            since: now(),
            outstanding: 1,
            changed: Vec::new(),
            probe: Some(address.clone()),
            is_removed: false,
        };
        self.active.insert(id, active);
        if envelope.recipients.len() == 1 {
            return self.route(message, true);
        }
        // An alias of several is there, whatever becomes of each.
        let outcome = Outcome::delivered("aliased to multiple recipients", "none");
        let times = Times {
            arrival: envelope.arrival,
            active: envelope.arrival,
            agent: now(),
            done: now(),
            ..Times::default()
        };
        let line = outcome.log_line(self.probe_word(&outcome), id, &Recipient::new(&*address), &times);
        self.log(&self.config.cleanup_tag, line);
        self.tell(&address, verification(&outcome));
        self.one_less(id);
    }

    /// The status of a probe in log lines.
    pub(super) fn probe_word(&self, outcome: &Outcome) -> &'static str {
        match outcome.status {
            Status::Sent => "deliverable",
            _ if self.config.keeps_failures => "undeliverable",
            _ => "undeliverable-but-not-cached",
        }
    }

    /// What a probe came to.
    pub(super) fn probed(&mut self, id: QueueId, index: usize, outcome: &Outcome) {
        let Some(active) = self.active.get(&id) else { return };
        let Some(address) = active.probe.clone() else { return };
        let found = verification(outcome);
        // Whoever asks about what the address stands for has asked about the same.
        if let Some(final_address) = active.message.envelope.recipients.get(index).map(|r| r.address.clone())
            && *final_address != *address
        {
            self.tell(&final_address, found.clone());
        }
        self.tell(&address, found);
    }

    fn tell(&self, address: &str, found: Verification) {
        (self.surroundings.probed)(address, found);
    }

    /// Nothing of it stays.
    pub(super) fn end_probe(&mut self, id: QueueId) {
        if self.active.remove(&id).is_some() {
            self.probes = self.probes.saturating_sub(1);
            self.log(&self.config.qmgr_tag, format!("{id}: removed"));
        }
    }
}

fn verification(outcome: &Outcome) -> Verification {
    let status = match outcome.status {
        Status::Sent => AddressStatus::Deliverable,
        Status::Deferred => AddressStatus::Deferred,
        Status::Bounced | Status::SoftBounced => AddressStatus::Undeliverable,
    };
    Verification::new(status, outcome.reason.as_str())
}
