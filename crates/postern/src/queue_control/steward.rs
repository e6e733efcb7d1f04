//! Doing what is asked, whoever has asked.

use super::{Deed, Listed, Logins, QUEUES, Queue, Queues, Request};
use crate::clock;
use crate::daemon::limits;
use crate::deliver::{Change, DeliverHandle, InHand, Temporary};
use crate::maillog::Log;
use config::Parameters;
use queue::{Content, ContentSource, Message, QueueId, QueueIdSource, Recipient, RecipientState, Spool};
use std::io::Read;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// A message that is to be requeued may be in delivery for so long.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(20);
const NO_ANSWER: &str = "delivery does not answer: it is ending, or overloaded; try again";
const DOWN: &str = "mail system is down";
const TAG: &str = "postfix/postern";

/// Whoever has the spool.
pub struct Steward {
    /// The mail.
    pub spool: Spool,
    /// Ids for what is requeued.
    pub ids: Arc<QueueIdSource>,
    /// Who delivers, if anybody does.
    pub delivery: Option<DeliverHandle>,
    /// The settings of the moment.
    pub parameters: Box<dyn Fn() -> Parameters + Send>,
    /// What is held against logins: a server knows.
    pub logins: Option<Logins>,
    /// The log, if there is one.
    pub log: Option<Log>,
}

/// Where an answer goes, a line at a time.
pub type Tell<'a> = &'a mut dyn FnMut(&str) -> Result<(), String>;

impl Steward {
    /// Does it, and tells line by line what came of it.
    ///
    /// # Errors
    /// Why it can't be done, for the postmaster.
    pub fn perform(&self, request: Request, tell: Tell<'_>) -> Result<(), String> {
        match request {
            Request::List => self.list(tell),
            Request::Flush => self.delivery.as_ref().map(DeliverHandle::flush).ok_or_else(|| DOWN.to_owned()),
            Request::Commit => self.spool.sync().map_err(|error| error.to_string()),
            Request::Logins => self.logins.as_ref().ok_or_else(|| DOWN.to_owned())?.list(tell),
            Request::ReleaseLogin(name, address) => {
                let logins = self.logins.as_ref().ok_or_else(|| DOWN.to_owned())?;
                let prefixes = limits::prefixes(&(self.parameters)(), &mut Vec::new());
                if let Some(log) = &self.log {
                    let shown: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
                    log.line(TAG, &format!("login {shown}: released by the postmaster"));
                }
                logins.release((&name, address), prefixes, tell)
            }
            Request::Do(Deed::Try, ..) if self.delivery.is_none() => Err(DOWN.to_owned()),
            Request::Do(deed, id, queues) => {
                let in_hand = self.in_hand()?;
                for id in id.map_or_else(|| self.spool.queue_ids(), |id| vec![id]) {
                    self.to_one(deed, id, (queues.and(deed.queues()), &in_hand), tell)?;
                }
                Ok(())
            }
        }
    }

    fn in_hand(&self) -> Result<InHand, String> {
        let Some(delivery) = &self.delivery else { return Ok(InHand::default()) };
        delivery.in_hand().ok_or_else(|| NO_ANSWER.to_owned())
    }

    fn list(&self, tell: Tell<'_>) -> Result<(), String> {
        let in_hand = self.in_hand()?;
        let ids = self.spool.queue_ids();
        for queue in QUEUES {
            for id in &ids {
                let Some(message) = self.spool.message(*id) else { continue };
                if queue_of(&message, &in_hand) == queue {
                    let line = serde_json::to_string(&Listed::of(&message.envelope, queue));
                    tell(&line.map_err(|error| error.to_string())?)?;
                }
            }
        }
        Ok(())
    }

    fn to_one(
        &self,
        deed: Deed,
        id: QueueId,
        (queues, in_hand): (Queues, &InHand),
        tell: Tell<'_>,
    ) -> Result<(), String> {
        let Some(message) = self.spool.message(id) else { return Ok(()) };
        if !queues.has(queue_of(&message, in_hand)) {
            return Ok(());
        }
        let done = match deed {
            Deed::Delete => self.change(id, Change::Remove),
            Deed::Hold => self.change(id, Change::Hold),
            Deed::Release => self.change(id, Change::Release),
            Deed::Try => self.change(id, Change::Try),
            Deed::Requeue => self.requeue(id, message.envelope.hold),
        };
        match done {
            Ok(true) => {
                if deed != Deed::Try {
                    self.note(id, deed);
                }
                tell(&format!("done {id}"))
            }
            Ok(false) => Ok(()),
            Err(problem) => tell(&format!("failed {id} {problem}")),
        }
    }

    /// In the log, as from postsuper(1).
    fn note(&self, id: QueueId, deed: Deed) {
        let Some(log) = &self.log else { return };
        let tag = format!("{}/postsuper", (self.parameters)().get("syslog_name"));
        log.line(&tag, &format!("{id}: {}", deed.done()));
    }

    fn change(&self, id: QueueId, change: Change) -> Result<bool, String> {
        if let Some(delivery) = &self.delivery {
            return delivery.change(id, change).ok_or_else(|| NO_ANSWER.to_owned());
        }
        match change {
            Change::Hold => Ok(self.spool.set_hold(id, true).is_ok()),
            Change::Release => Ok(self.spool.set_hold(id, false).is_ok()),
            Change::Remove => Ok(self.spool.finish(id).is_ok()),
            Change::Try => Err(DOWN.to_owned()),
        }
    }

    /// A new message with what is left of an old one. Until the new one is on stable storage, the old one stays.
    fn requeue(&self, id: QueueId, was_held: bool) -> Result<bool, String> {
        if !self.change(id, Change::Hold)? {
            return Ok(false);
        }
        let renewed = self.wait_until_idle(id).and_then(|()| match self.spool.message(id) {
            Some(message) => self.renew(&message).map(Some),
            // It was delivered meanwhile.
            None => Ok(None),
        });
        match renewed {
            Ok(Some(message)) => {
                self.change(id, Change::Remove)?;
                if let Some(delivery) = &self.delivery {
                    delivery.enqueue(message);
                }
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(problem) => {
                if !was_held {
                    self.change(id, Change::Release)?;
                }
                Err(problem)
            }
        }
    }

    fn wait_until_idle(&self, id: QueueId) -> Result<(), String> {
        let mut waited = Duration::ZERO;
        while self.in_hand()?.active.contains(&id) {
            if waited >= PATIENCE {
                return Err("it is being delivered: try again later".to_owned());
            }
            sleep(STEP);
            waited += STEP;
        }
        Ok(())
    }

    /// Stores the new message: its id, its age and its filter are new, and its aliases are expanded anew.
    fn renew(&self, old: &Message) -> Result<Message, String> {
        let parameters = (self.parameters)();
        let now = i64::try_from(clock::unix_micros()).unwrap_or(i64::MAX);
        let id = self.ids.next(parameters.bool("enable_long_queue_ids"), now);
        let mut envelope = (*old.envelope).clone();
        envelope.recipients = self.recipients(old)?;
        if envelope.recipients.is_empty() {
            return Err("nobody is left to deliver it to".to_owned());
        }
        for recipient in envelope.recipients.iter_mut().filter(|r| r.state == RecipientState::Pending) {
            (recipient.attempts, recipient.next_attempt, recipient.status) = (0, 0, None);
        }
        (envelope.queue_id, envelope.arrival, envelope.hold) = (id, now, false);
        envelope.content_filter = Some(parameters.get("content_filter")).filter(|filter| !filter.is_empty());
        let content = self.copy_content(old.envelope.queue_id, id).map_err(|error| error.to_string())?;
        let message = Message { envelope: Arc::new(envelope), content };
        self.spool.submit_and_wait(message.clone()).map_err(|error| error.to_string())?;
        Ok(message)
    }

    fn recipients(&self, old: &Message) -> Result<Vec<Recipient>, String> {
        let Some(delivery) = &self.delivery else {
            let left = old.envelope.recipients.iter().filter(|r| r.state != RecipientState::Done);
            return Ok(left.cloned().collect());
        };
        let expanded = delivery.expand(old.clone()).ok_or(NO_ANSWER)?;
        expanded.map_err(|Temporary(reason)| format!("aliases can't be expanded: {reason}"))
    }

    fn copy_content(&self, old: QueueId, new: QueueId) -> anyhow::Result<Content> {
        match self.spool.content(old)? {
            ContentSource::Memory(bytes) => Ok(Content::Memory(bytes)),
            ContentSource::File(mut file, _) => {
                let mut writer = self.spool.large_writer(new)?;
                let mut block = vec![0; 64 * 1024];
                loop {
                    match file.read(&mut block)? {
                        0 => return Ok(writer.seal()?),
                        n => writer.write(&block[..n])?,
                    }
                }
            }
        }
    }
}

fn queue_of(message: &Message, in_hand: &InHand) -> Queue {
    let id = &message.envelope.queue_id;
    match () {
        () if message.envelope.hold => Queue::Hold,
        () if in_hand.active.contains(id) => Queue::Active,
        () if in_hand.waiting.contains(id) => Queue::Incoming,
        () => Queue::Deferred,
    }
}
