//! Copies to the postmaster of sessions that went wrong (`notify_classes`): the transcript, by mail.

use super::conversation::Conversation;
use crate::notice::Letter;
use crate::{clock, lookup};
use message::recipients::{self, InRecipient};
use queue::{Content, Envelope, Message, Recipient};
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
        let sender = format!("{}@{host}", p.get("double_bounce_sender"));
        let config = Arc::clone(&self.service.cleanup);
        let expand = move |tables: &mut dyn message::Lookup| {
            let recipients = [InRecipient { address: to, notify: Notify::NEVER, orcpt: String::new() }];
            let envelope = recipients::Envelope {
                queue_id: id.as_str(),
                sender: &sender,
                recipients: &recipients,
                bcc: &[],
                mappings: true,
            };
            recipients::expand(&config, &envelope, tables)
        };
        let Some(expansion) = lookup::with_tables(&self.site.tables, expand).await else { return };
        for line in &expansion.log {
            self.worker.log.line(&self.service.cleanup_tag, &line.text);
        }
        if expansion.recipients.is_empty() || expansion.refusal.is_some() {
            return;
        }
        let stamp = letter.message_id();
        self.worker.log.line(&self.service.cleanup_tag, &format!("{id}: message-id={stamp}"));
        let mut envelope = Envelope::new(id, now, expansion.sender);
        for out in expansion.recipients {
            let mut recipient = Recipient::new(out.address.clone());
            recipient.orig_to = Some(out.orig_to).filter(|orig| !orig.is_empty() && *orig != out.address);
            recipient.notify = queue::Notify(out.notify.bits());
            envelope.recipients.push(recipient);
        }
        envelope.size = text.len() as u64;
        self.submit_notice(Message {
            envelope: Arc::new(envelope),
            content: Content::Memory(text.into_bytes().into()),
        });
    }

    fn submit_notice(&self, message: Message) {
        let (done, stored) = oneshot::channel();
        self.worker.spool.submit(message.clone(), Box::new(move |result| drop(done.send(result))));
        let worker = Arc::clone(&self.worker);
        let tag = Arc::clone(&self.service.cleanup_tag);
        tokio::spawn(async move {
            match stored.await {
                Ok(Ok(())) => worker.deliver.enqueue(message),
                Ok(Err(error)) => worker.log.warning(&tag, &format!("notice to the postmaster is lost: {error}")),
                Err(_) => {}
            }
        });
    }
}
