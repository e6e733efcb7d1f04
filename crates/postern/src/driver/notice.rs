//! Copies to the postmaster of sessions that went wrong (`notify_classes`): the transcript, by mail.

use super::conversation::Conversation;
use crate::{clock, lookup};
use message::recipients::{self, InRecipient};
use queue::{Content, Envelope, Message, QueueId, Recipient};
use smtp::server::{Notice, Notify};
use std::fmt::Write;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Text is folded at this width.
const WIDTH: usize = 78;
/// What is left of a folded line begins so far to the right.
const INDENT: usize = 4;

impl Conversation {
    /// Send a transcript. The session does not wait for the disk.
    pub(super) async fn notify(&mut self, notice: Notice) {
        self.client.settle().await;
        let now = i64::try_from(clock::unix_micros()).unwrap_or(i64::MAX);
        let id = self.worker.ids.next(self.service.long_queue_ids, now);
        let p = &self.service.parameters;
        let errors = p.get("error_notice_recipient");
        let to = if notice.bounce { p.get("bounce_notice_recipient") } else { errors.clone() };
        let host = &self.service.my_hostname;
        let letter = Letter {
            id,
            long_id: self.service.long_queue_ids,
            unix: clock::unix_seconds(),
            host,
            mail_name: &self.service.mail_name,
            to: &self.service.routing.rewrite(&errors),
            client: self.client.display(),
        };
        let text = letter.text(&notice);
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

/// What a notice is made of.
struct Letter<'a> {
    id: QueueId,
    long_id: bool,
    unix: u64,
    host: &'a str,
    mail_name: &'a str,
    to: &'a str,
    client: &'a str,
}

impl Letter<'_> {
    fn message_id(&self) -> String {
        match self.long_id {
            true => format!("<{}@{}>", self.id, self.host),
            false => format!("<{}.{}@{}>", message::utc_digits(self.unix), self.id, self.host),
        }
    }

    fn text(&self, notice: &Notice) -> String {
        let Self { id, host, mail_name, to, client, .. } = self;
        let date = clock::mail_date(self.unix);
        let mut text = format!(
            "Received: by {host} ({mail_name})\n\tid {id}; {date}\nDate: {date}\n\
             From: Mail Delivery System <MAILER-DAEMON@{host}>\nTo: Postmaster <{to}>\n\
             Subject: {mail_name} SMTP server: errors from {client}\nMessage-Id: {}\n\n\
             Transcript of session follows.\n\n",
            self.message_id()
        );
        for line in notice.transcript.lines() {
            fold(&mut text, line);
        }
        text.push('\n');
        if let Some(reason) = notice.reason {
            let _ = writeln!(text, "Session aborted, reason: {reason}");
        }
        text.push_str("\nFor other details, see the local mail logfile\n");
        text
    }
}

/// A line of a transcript, folded at blanks.
fn fold(out: &mut String, line: &str) {
    let mut rest = line;
    let mut room = WIDTH;
    let mut indent = 0;
    loop {
        let end = match rest.len() <= room {
            true => rest.len(),
            // A word that is too long by itself stays whole.
            false => {
                let last = rest.bytes().take(room + 1).rposition(|b| b == b' ').filter(|at| *at > 0);
                last.or_else(|| rest.find(' ')).unwrap_or(rest.len())
            }
        };
        let _ = writeln!(out, " {:indent$}{}", "", rest[..end].trim_end());
        rest = rest[end..].trim_start();
        if rest.is_empty() {
            return;
        }
        (indent, room) = (INDENT, WIDTH - INDENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_where_postfix_folds_them() {
        for (line, expected) in [
            ("In:  QUIT", " In:  QUIT\n"),
            (
                "Out: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in local recipient table",
                " Out: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown\n     in local recipient \
                 table\n",
            ),
            (
                "Out: 554-5.7.1 <rej@example.com>: Recipient address rejected: this text is somewhat longer than a line so \
                 that it has to be folded somewhere in the middle of it",
                " Out: 554-5.7.1 <rej@example.com>: Recipient address rejected: this text is\n     somewhat longer than a \
                 line so that it has to be folded somewhere in the\n     middle of it\n",
            ),
            (
                "In:  NOOP ?? aaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ccccccccccccccccccccccc \
                 dddddddddddddddddddddd",
                " In:  NOOP ?? aaaaaaaaaaaaaaaaaaaaaaaa\n     bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb \
                 ccccccccccccccccccccccc\n     dddddddddddddddddddddd\n",
            ),
        ] {
            let mut out = String::new();
            fold(&mut out, line);
            assert_eq!(out, expected);
        }
        let mut out = String::new();
        fold(&mut out, &format!("{} {}", "é".repeat(90), "x".repeat(90)));
        assert_eq!(out, format!(" {}\n     {}\n", "é".repeat(90), "x".repeat(90)));
    }
}
