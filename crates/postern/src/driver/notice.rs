//! Copies to the postmaster of sessions that went wrong (`notify_classes`): the transcript, by mail.

use super::Worker;
use super::conversation::Conversation;
use crate::clock;
use crate::internal_mail::{self, Cleaned, Inspector, MailClass, OwnMail};
use crate::notice::Letter;
use message::recipients::InRecipient;
use queue::{Content, Envelope, Message, SpoolError};
use smtp::server::{Notice, Notify};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Conversation {
    /// Send a transcript. The session does not wait for the disk.
    pub(super) async fn notify(&mut self, notice: Notice) {
        self.client.settle().await;
        let p = &self.service.parameters;
        let to = p.get(if notice.bounce { "bounce_notice_recipient" } else { "error_notice_recipient" });
        let client = self.client.display().to_owned();
        self.tell_postmaster(to, |letter| letter.about_client(&client, &notice)).await;
    }

    /// Tell of a login that looks taken over.
    pub(super) async fn notify_of_takeover(&mut self, login: &str, sign: &str, until: u64) {
        let to = self.service.parameters.get("error_notice_recipient");
        let is_refused = self.service.proxy_filter.is_some();
        self.tell_postmaster(to, |letter| letter.about_login(login, sign, until, is_refused)).await;
    }

    async fn tell_postmaster(&mut self, to: String, write: impl FnOnce(&Letter<'_>) -> String) {
        let now = i64::try_from(clock::unix_micros()).unwrap_or(i64::MAX);
        let id = self.worker.ids.next(self.service.long_queue_ids, now);
        let p = &self.service.parameters;
        let errors = p.get("error_notice_recipient");
        let host = &self.service.my_hostname;
        let letter = Letter {
            id,
            long_id: self.service.long_queue_ids,
            unix: clock::unix_seconds(),
            host,
            mail_name: &self.service.mail_name,
            to: &self.service.routing.rewrite(&errors),
        };
        let text = write(&letter);
        let stamp = letter.message_id();
        let mut envelope = Envelope::new(id, now, format!("{}@{host}", p.get("double_bounce_sender")));
        envelope.size = text.len() as u64;
        let message = Message { envelope: Arc::new(envelope), content: Content::Memory(text.into_bytes().into()) };
        if self.site.internal_mail.inspects(MailClass::Notify) {
            return self.inspect_notice(OwnMail { message, to, notify: Notify::NEVER });
        }
        let given = InRecipient { address: to, notify: Notify::NEVER, orcpt: String::new() };
        let expanded = internal_mail::expand((&self.site, id), &message.envelope.sender, given).await;
        let Some((expansion, _)) = expanded else { return };
        for line in &expansion.log {
            self.worker.log.line(&self.service.cleanup_tag, &line.text);
        }
        if expansion.recipients.is_empty() || expansion.refusal.is_some() {
            return;
        }
        self.worker.log.line(&self.service.cleanup_tag, &format!("{id}: message-id={stamp}"));
        let Message { mut envelope, content } = message;
        let kept = Arc::make_mut(&mut envelope);
        kept.recipients = internal_mail::queued(&expansion);
        kept.sender = expansion.sender;
        let (worker, tag) = (Arc::clone(&self.worker), Arc::clone(&self.service.cleanup_tag));
        let storing = submit(&worker, Message { envelope, content });
        tokio::spawn(async move { storing.finish(&worker, &tag).await });
    }

    /// Checks and filters look at it before it is stored. The session doesn't wait for them.
    fn inspect_notice(&self, mail: OwnMail) {
        let (worker, site) = (Arc::clone(&self.worker), Arc::clone(&self.site));
        let tag = Arc::clone(&self.service.cleanup_tag);
        if internal_mail::is_crowded() {
            return lost(&worker, &tag, "too many messages of ours are with filters already");
        }
        tokio::spawn(async move {
            let inspector = Inspector {
                log: worker.log.clone(),
                spool: worker.spool.clone(),
                resolver: Arc::clone(&worker.resolver),
            };
            match inspector.inspect(&site, mail).await {
                Ok(Cleaned::Ready(message)) => submit(&worker, message).finish(&worker, &tag).await,
                Ok(Cleaned::Discarded) => {}
                Err(why) => lost(&worker, &tag, &why),
            }
        });
    }
}

/// A notice on its way to the disk.
struct Storing {
    message: Message,
    stored: oneshot::Receiver<Result<(), SpoolError>>,
}

fn submit(worker: &Worker, message: Message) -> Storing {
    let (done, stored) = oneshot::channel();
    worker.spool.submit(message.clone(), Box::new(move |result| drop(done.send(result))));
    Storing { message, stored }
}

impl Storing {
    /// When it is there, it goes on.
    async fn finish(self, worker: &Worker, tag: &str) {
        match self.stored.await {
            Ok(Ok(())) => worker.deliver.enqueue(self.message),
            Ok(Err(error)) => lost(worker, tag, &error.to_string()),
            Err(_) => {}
        }
    }
}

fn lost(worker: &Worker, tag: &str, why: &str) {
    worker.log.warning(tag, &format!("notice to the postmaster is lost: {why}"));
}
