//! What a postmaster does to mail on its way: hold, release, remove, try now.

use super::super::{Change, InHand, Temporary};
use super::Runner;
use queue::{Message, QueueId, Recipient, RecipientState};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use tokio::task::spawn_local;

/// So many of the last changes are remembered; the way here takes no time worth the name.
const TOUCHED: usize = 256;

impl Runner {
    /// Does it; false if there is no such message, or it is about to go.
    pub(super) fn change(&mut self, id: QueueId, change: Change) -> bool {
        if self.active.get(&id).is_some_and(|active| active.probe.is_some() || active.is_removed) {
            return false;
        }
        if !self.active.contains_key(&id) && !self.deferred_until.contains_key(&id) {
            self.touched.truncate(TOUCHED - 1);
            self.touched.push_front(id);
        }
        match change {
            Change::Hold => self.hold(id),
            Change::Release => self.release(id),
            Change::Remove => self.remove(id),
            Change::Try => {
                let is_deferred = self.forget_deferred(id);
                if is_deferred {
                    self.destinations.revive();
                    self.take_up(id, None);
                }
                is_deferred
            }
        }
    }

    /// A message that is handed in: what was done to it on its way here, between the spool and us, counts.
    pub(super) fn as_it_is_now(&self, message: Message) -> Option<Message> {
        if self.touched.is_empty() || !self.touched.contains(&message.envelope.queue_id) {
            return Some(message);
        }
        self.surroundings.spool.message(message.envelope.queue_id)
    }

    /// What is being delivered, probes aside.
    pub(super) fn in_hand(&self) -> InHand {
        let mail = self.active.iter().filter(|(_, active)| active.probe.is_none());
        InHand { active: mail.map(|(id, _)| *id).collect(), waiting: self.waiting.iter().copied().collect() }
    }

    /// Must no more be started of this message?
    pub(super) fn is_stopped(&self, id: QueueId) -> bool {
        self.active.get(&id).is_some_and(|active| active.is_removed || active.message.envelope.hold)
    }

    fn hold(&mut self, id: QueueId) -> bool {
        if self.surroundings.spool.set_hold(id, true).is_err() {
            return false;
        }
        self.forget_deferred(id);
        if let Some(active) = self.active.get_mut(&id) {
            Arc::make_mut(&mut active.message.envelope).hold = true;
            self.withdraw(id);
        }
        true
    }

    fn release(&mut self, id: QueueId) -> bool {
        if self.surroundings.spool.set_hold(id, false).is_err() {
            return false;
        }
        match self.active.get_mut(&id) {
            // What was withdrawn is due at once, when what goes on is over.
            Some(active) => Arc::make_mut(&mut active.message.envelope).hold = false,
            None => {
                if let Some(message) = self.surroundings.spool.message(id) {
                    self.enqueue(message);
                }
            }
        }
        true
    }

    fn remove(&mut self, id: QueueId) -> bool {
        self.forget_deferred(id);
        let Some(active) = self.active.get_mut(&id) else { return self.surroundings.spool.finish(id).is_ok() };
        // A crash before the end of what goes on leaves it on hold, not on its way.
        active.is_removed = true;
        let is_known = self.surroundings.spool.set_hold(id, true).is_ok();
        self.withdraw(id);
        is_known
    }

    fn forget_deferred(&mut self, id: QueueId) -> bool {
        let Some(at) = self.deferred_until.remove(&id) else { return false };
        self.deferred.remove(&(at, id))
    }

    /// Deliveries of a message that have not begun never will.
    fn withdraw(&mut self, id: QueueId) {
        let mut withdrawn = 0;
        for requests in self.requests.values_mut() {
            let before = requests.len();
            requests.retain(|request| request.id != id);
            withdrawn += before - requests.len();
        }
        self.requests.retain(|_, requests| !requests.is_empty());
        for _ in 0..withdrawn {
            self.one_less(id);
        }
    }

    /// Tells whom a message reaches whose aliases are expanded anew. Recipients that are done with are left out.
    pub(super) fn expand(&self, message: Message, tell: SyncSender<Result<Vec<Recipient>, Temporary>>) {
        let (router, log, tag) =
            (self.surroundings.router.clone(), self.surroundings.log.clone(), self.config.cleanup_tag.clone());
        spawn_local(async move {
            let mut recipients = Vec::new();
            let mut seen = HashSet::new();
            for given in message.envelope.recipients.iter().filter(|r| r.state != RecipientState::Done) {
                if given.state != RecipientState::Pending {
                    recipients.push(given.clone());
                    continue;
                }
                let expanded = match router.expand(message.envelope.queue_id, &given.address).await {
                    Ok(expanded) => expanded,
                    Err(problem) => return drop(tell.send(Err(problem))),
                };
                expanded.log.into_iter().for_each(|line| log(&tag, line));
                for found in expanded.recipients {
                    if !seen.insert(found.address.clone()) {
                        continue;
                    }
                    let mut recipient = Recipient { address: found.address, ..given.clone() };
                    if recipient.orig_to.is_none() && recipient.address != given.address {
                        recipient.orig_to = Some(given.address.clone());
                    }
                    recipients.push(recipient);
                }
            }
            // Who has asked may have lost patience.
            drop(tell.send(Ok(recipients)));
        });
    }
}
