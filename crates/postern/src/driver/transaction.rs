//! One message: queue id, effects of access rules, content on its way through cleanup into the spool.

use super::conversation::Conversation;
use super::proxied::Proxied;
use crate::clock;
use crate::lookup;
use crate::milter::{Taken, Unfiltered};
use message::cleanup::{Cleanup, MessageContext, RewriteContext, Verdict};
use message::milter::SenderOptions;
use message::received::{ReceivedFacts, received_header};
use message::recipients::{self, Expansion, InRecipient};
use policy::Effect;
use queue::{Content, Envelope, LargeWriter, Message, Notify, QueueId, Recipient, Ret, SpoolError};
use smtp::Body;
use smtp::address::quote_local;
use smtp::server::{MessageEnd, ServerSession};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;

const WRITE_ERROR: &str = "451 4.3.0 Error: queue file write error";
const NO_SPACE: &str = "452 4.3.1 Insufficient system storage";

/// The message that a session is busy with.
#[derive(Default)]
pub struct Transaction {
    id: Option<(QueueId, i64)>,
    /// Effects of access rules, in order of firing.
    pub effects: Vec<Effect>,
    /// The headers are ours to complete (`local_header_rewrite_clients`).
    pub local_rewrite: bool,
    intake: Option<Box<Intake>>,
    /// The lost-client-address alarm has seen it.
    pub(super) is_watched: bool,
    /// A before-queue filter takes it.
    pub(super) proxied: Option<Box<Proxied>>,
    /// The content as the client sends it, if anybody asks who has signed it.
    pub(super) dkim: Option<Box<message::dkim::Intake>>,
    /// What was found in it.
    pub(super) message: Option<Arc<policy::MessageFacts>>,
    /// Content was lost on its way in: the message can't be accepted any more.
    lost: bool,
    instance: OnceLock<String>,
}

/// Content that has begun to arrive.
struct Intake {
    cleanup: Cleanup,
    expansion: Expansion,
    taken: Taken,
    /// So many effects of access rules were known when it began.
    begun_with: usize,
    raw: Vec<u8>,
    ready: Vec<u8>,
    large: Option<LargeWriter>,
    failed: Option<SpoolError>,
}

impl Transaction {
    /// The queue id, once the message has one.
    pub fn queue_id(&self) -> Option<QueueId> {
        self.id.map(|(id, _)| id)
    }

    /// A name for the message before it has a queue id: `pid.sec.usec.seq` in hexadecimal.
    pub fn instance(&self) -> &str {
        static SEQUENCE: AtomicU32 = AtomicU32::new(0);
        self.instance.get_or_init(|| {
            let now = clock::unix_micros();
            let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
            format!("{:x}.{:x}.{:x}.{sequence:x}", std::process::id(), now / 1_000_000, now % 1_000_000)
        })
    }

    /// Drop everything; nothing of it was promised to anybody.
    pub fn abandon(&mut self) {
        *self = Self::default();
    }
}

/// An address as headers show it.
fn header_address(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V6(v6)) => format!("IPv6:{v6}"),
        Some(v4) => v4.to_string(),
        None => "unknown".to_owned(),
    }
}

impl Conversation {
    /// The first recipient was accepted: a queue id, and the line that ties it to the client.
    pub(super) fn open_message(&mut self) {
        let now = i64::try_from(clock::unix_micros()).unwrap_or(i64::MAX);
        let id = self.worker.ids.next(self.service.long_queue_ids, now);
        self.transaction.id = Some((id, now));
        if let Some(made) = &mut self.decided {
            made.facts.queue_id = Some(id.to_string());
        }
        self.log_client(id.as_str());
        self.session.opened(Ok(id.to_string()));
    }

    /// Whose message it is, for the log.
    pub(super) fn log_client(&mut self, id: &str) {
        let mut line = format!("{id}: client={}", ServerSession::CLIENT);
        if let Some(login) = self.session.login() {
            line.push_str(&format!(", sasl_method={}, sasl_username={}", login.method, login.username));
        }
        // Said by anybody, logged in or not.
        if let Some(sender) = &self.session.mail_options().auth {
            line.push_str(&format!(", sasl_sender={sender}"));
        }
        if let Some(forwarded) = self.session.forwarded() {
            if let Some(ident) = &forwarded.ident {
                line.push_str(&format!(", orig_queue_id={ident}"));
            }
            if let Some(client) = forwarded.orig_client() {
                line.push_str(&format!(", orig_client={client}"));
            }
        }
        self.client.line(line);
    }

    /// Take content from the session, through cleanup, towards the spool.
    pub(super) async fn take_content(&mut self) {
        let mut intake = match self.transaction.intake.take() {
            Some(intake) => intake,
            None => {
                // Our Received header has the client's name.
                self.client.settle().await;
                match self.begin_intake().await {
                    Some(intake) => intake,
                    None => return self.lose_content(),
                }
            }
        };
        intake.raw.clear();
        self.session.take_content(&mut intake.raw);
        self.see_content(&intake.raw);
        if intake.failed.is_some() || intake.cleanup.is_stopped() {
            self.transaction.intake = Some(intake);
            return;
        }
        let clean = |tables: &mut dyn message::Lookup| {
            let Intake { cleanup, raw, ready, .. } = &mut *intake;
            cleanup.feed(raw, tables, ready);
            intake
        };
        let Some(mut intake) = lookup::with_tables(&self.site.tables, clean).await else {
            return self.lose_content();
        };
        self.spill(&mut intake);
        self.transaction.intake = Some(intake);
    }

    /// What is too much for memory goes to a spool file.
    fn spill(&self, intake: &mut Intake) {
        if intake.ready.len() <= queue::INLINE_LIMIT && intake.large.is_none() {
            return;
        }
        let Some((id, _)) = self.transaction.id else { return };
        if intake.large.is_none() {
            match self.worker.spool.large_writer(id) {
                Ok(writer) => intake.large = Some(writer),
                Err(error) => intake.failed = Some(error),
            }
        }
        if let Some(writer) = &mut intake.large
            && let Err(error) = writer.write(&intake.ready)
        {
            intake.failed = Some(error);
        }
        intake.ready.clear();
    }

    /// The rest is read and dropped, and the end of it refused.
    fn lose_content(&mut self) {
        self.transaction.lost = true;
        self.session.take_content(&mut Vec::new());
    }

    async fn begin_intake(&mut self) -> Option<Box<Intake>> {
        if self.transaction.lost {
            return None;
        }
        // What answers our address probes has an address without time stamp.
        let (probes, now) = (self.service.plan.routing().probe_sender(), crate::clock::unix_seconds());
        let plain = |address: &str| probes.recognise(address, now).unwrap_or(address).to_owned();
        let recipients: Vec<InRecipient> = self
            .session
            .recipients()
            .iter()
            .map(|r| InRecipient {
                address: plain(&r.address),
                notify: r.notify,
                orcpt: r.orcpt.clone().unwrap_or_default(),
            })
            .collect();
        let bcc: Vec<String> = self
            .transaction
            .effects
            .iter()
            .filter_map(|e| if let Effect::Bcc(address) = e { Some(address.clone()) } else { None })
            .collect();
        let (id, _) = self.transaction.id.unwrap_or_else(|| (QueueId::new(false, 0, 0), 0));
        let config = Arc::clone(&self.service.cleanup);
        let sender = plain(self.session.sender().unwrap_or_default());
        let taken = Taken { id, sender, recipients, bcc, mappings: self.service.address_mappings, is_ours: false };
        let rules = Arc::clone(&config);
        let expand =
            move |tables: &mut dyn message::Lookup| (recipients::expand(&rules, &taken.envelope(), tables), taken);
        let (mut expansion, taken) = lookup::with_tables(&self.site.tables, expand).await?;
        let cleanup = Cleanup::new(config, self.message_context(id, &mut expansion));
        Some(Box::new(Intake {
            cleanup,
            expansion,
            taken,
            begun_with: self.transaction.effects.len(),
            raw: Vec::new(),
            ready: Vec::new(),
            large: None,
            failed: None,
        }))
    }

    /// Our own Received header.
    pub(super) fn received(&self, id: Option<&str>, now: &message::Timestamp) -> String {
        let session = &self.session;
        let accepted = session.recipients();
        let name = self.client.name.as_ref().map_or("unknown", |n| &n.name);
        let recipient = (accepted.len() == 1).then(|| quote_local(&accepted[0].address).into_owned());
        received_header(&ReceivedFacts {
            helo: session.helo_name(),
            client_name: name,
            client_address: &header_address(self.client.address),
            protocol: session.protocol(),
            smtputf8: session.mail_options().smtputf8,
            encrypted: self.tls.is_some(),
            authenticated: self.session.login().is_some(),
            tls: self.tls.as_deref().filter(|_| self.service.tls_received_header).map(|tls| &tls.received),
            sasl_username: self
                .session
                .login()
                .filter(|_| self.service.sasl_authenticated_header)
                .map(|s| s.username.as_str()),
            my_hostname: &self.service.my_hostname,
            mail_name: &self.service.mail_name,
            queue_id: id,
            recipient: recipient.as_deref(),
            time: now,
            hide_client_session: self.service.hide_client_session,
        })
    }

    fn message_context(&self, id: QueueId, expansion: &mut Expansion) -> MessageContext {
        let now = clock::timestamp(clock::unix_seconds());
        let session = &self.session;
        let protocol = session.protocol();
        let received = self.received(Some(id.as_str()), &now);
        let effects = &self.transaction.effects;
        MessageContext {
            queue_id: id.to_string(),
            now,
            origin: self.client.display().to_owned(),
            sender: expansion.sender.clone(),
            last_recipient: expansion.last_recipient.clone(),
            protocol: Some(protocol.to_owned()),
            helo: session.helo_name().map(str::to_owned),
            rewrite: if self.transaction.local_rewrite { RewriteContext::Local } else { RewriteContext::Remote },
            prepended: effects
                .iter()
                .filter_map(|e| if let Effect::Prepend(header) = e { Some(header.clone()) } else { None })
                .collect(),
            received: Some(received),
            checks: self.service.header_body_checks,
            mappings: self.service.address_mappings,
            effects: effects.iter().filter(|e| !matches!(e, Effect::Prepend(_) | Effect::Bcc(_))).cloned().collect(),
            refusal: expansion.refusal.clone(),
        }
    }

    /// The whole content is here: on stable storage with it, then the 250.
    pub(super) async fn commit(&mut self) -> MessageEnd {
        self.client.settle().await;
        if self.transaction.intake.is_none() {
            // Not a single byte of content: the headers of ours are there all the same.
            self.transaction.intake = self.begin_intake().await;
        }
        self.hold_after_takeover().await;
        let id = self.transaction.id;
        let (Some(intake), Some((id, arrival))) = (self.transaction.intake.take(), id) else {
            self.forget_transaction();
            return MessageEnd::Refused(WRITE_ERROR.to_owned());
        };
        let results = self.results_header().await;
        let end = self.store(*intake, id, arrival, results).await;
        self.forget_transaction();
        end
    }

    /// The next message begins with a clean slate, whatever became of the last one.
    pub(super) fn forget_transaction(&mut self) {
        self.transaction.abandon();
        if let Some(milters) = &mut self.milters {
            milters.abort();
        }
        self.policy_state.reset_transaction();
        self.ledger.clear();
    }

    async fn store(&mut self, intake: Intake, id: QueueId, arrival: i64, results: Option<String>) -> MessageEnd {
        let Intake { cleanup, mut expansion, taken, mut ready, mut large, failed, begun_with, .. } = intake;
        let logged = expansion.log.len();
        let late = self.transaction.effects.get(begun_with..).unwrap_or_default().to_vec();
        let config = Arc::clone(&self.service.cleanup);
        let finish = move |tables: &mut dyn message::Lookup| {
            let mut finished = cleanup.finish(tables, &mut ready);
            // What the end-of-data list did comes after what the content caused.
            finished.effects.add(&late);
            expansion.complete(&config, &taken.envelope(), &finished.effects, tables);
            (finished, expansion, taken, ready)
        };
        let Some((mut finished, mut expansion, taken, mut ready)) =
            lookup::with_tables(&self.site.tables, finish).await
        else {
            return MessageEnd::Refused(WRITE_ERROR.to_owned());
        };
        let (before, after) = expansion.log.split_at(logged);
        for line in before.iter().chain(&finished.log).chain(after) {
            self.worker.log.line(&self.service.cleanup_tag, &line.text);
        }
        if let Verdict::Refuse(reply) = finished.verdict {
            return MessageEnd::Refused(reply);
        }
        if let Some(reply) = expansion.refusal.take() {
            return MessageEnd::Refused(reply);
        }
        if finished.effects.discard {
            return MessageEnd::Queued;
        }
        if let Some(error) = failed {
            return self.storage_failure(id, &error);
        }
        if let Some(results) = results {
            match &mut large {
                None => drop(ready.splice(0..0, results.bytes())),
                Some(writer) => {
                    if let Err(error) = writer.prepend(results.as_bytes()) {
                        return self.storage_failure(id, &error);
                    }
                }
            }
        }
        let mut content = match large.take() {
            None if ready.len() <= queue::INLINE_LIMIT => Content::Memory(ready.into()),
            writer => {
                let writer = writer.map_or_else(|| self.worker.spool.large_writer(id), Ok);
                match writer.and_then(|mut w| w.write(&ready).and_then(|()| w.seal())) {
                    Ok(content) => content,
                    Err(error) => return self.storage_failure(id, &error),
                }
            }
        };
        let mut options = SenderOptions::default();
        let milters = if finished.effects.skip_milters { None } else { self.milters.take() };
        if let Some(milters) = milters {
            expansion.log.clear();
            let message =
                Unfiltered { id, content, expansion, taken, effects: finished.effects, context: finished.context };
            let (milters, filtered) = self.filter_content(milters, message).await;
            self.milters = Some(milters);
            match filtered {
                Ok(filtered) => {
                    (content, expansion) = (filtered.content, filtered.expansion);
                    (finished.effects, options) = (filtered.effects, filtered.options);
                }
                Err(end) => return end,
            }
        }
        let size = match &content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Large(large) => large.len(),
            Content::Journal => 0,
        };
        let mut envelope = self.envelope(id, arrival, &expansion, &finished.effects, size);
        envelope.ret = options.ret.map(ret_out).or(envelope.ret);
        envelope.envid = options.envid.or(envelope.envid);
        let message = Message { envelope: Arc::new(envelope), content };
        let (done, stored) = oneshot::channel();
        self.worker.spool.submit(
            message.clone(),
            Box::new(move |result| {
                // A session that is gone meanwhile changes nothing: the message is ours now.
                let _ = done.send(result);
            }),
        );
        match stored.await {
            Ok(Ok(())) => {
                self.worker.deliver.enqueue(message);
                MessageEnd::Queued
            }
            Ok(Err(error)) => self.storage_failure(id, &error),
            Err(_) => MessageEnd::Refused(WRITE_ERROR.to_owned()),
        }
    }

    pub(super) fn storage_failure(&mut self, id: QueueId, error: &SpoolError) -> MessageEnd {
        self.worker.log.warning(&self.service.cleanup_tag, &format!("{id}: write queue file: {error}"));
        MessageEnd::Refused(if matches!(error, SpoolError::NoSpace) { NO_SPACE } else { WRITE_ERROR }.to_owned())
    }

    fn envelope(
        &self,
        id: QueueId,
        arrival: i64,
        expansion: &Expansion,
        effects: &message::cleanup::Effects,
        size: u64,
    ) -> Envelope {
        let options = self.session.mail_options();
        let mut envelope = Envelope::new(id, arrival, expansion.sender.clone());
        envelope.recipients = expansion
            .recipients
            .iter()
            .map(|out| {
                let mut recipient = Recipient::new(out.address.clone());
                recipient.orig_to = Some(out.orig_to.clone()).filter(|o| !o.is_empty() && *o != out.address);
                recipient.notify = notify_out(out.notify);
                recipient.orcpt = Some(out.orcpt.clone()).filter(|o| !o.is_empty());
                recipient
            })
            .collect();
        envelope.client = queue::Client {
            name: self.client.name.as_ref().map_or_else(String::new, |n| n.name.to_string()),
            address: self.client.address,
            port: self.client.port,
            helo: self.session.helo_name().unwrap_or_default().to_owned(),
            protocol: self.session.protocol().to_owned(),
            sasl_method: self.session.login().map_or_else(String::new, |login| login.method.clone()),
            sasl_username: self.session.login().map_or_else(String::new, |login| login.username.clone()),
            sasl_sender: self.session.mail_options().auth.clone().unwrap_or_default(),
        };
        envelope.hold = effects.hold;
        envelope.content_filter =
            effects.filter.clone().or_else(|| Some(self.service.content_filter.clone()).filter(|f| !f.is_empty()));
        envelope.smtputf8 = options.smtputf8;
        envelope.requiretls = options.requiretls;
        envelope.utf8_header = effects.utf8_header;
        envelope.body = if effects.eight_bit { Body::EightBitMime } else { options.body };
        envelope.ret = options.ret.map(ret_out);
        envelope.envid = options.envid.clone();
        envelope.size = size;
        envelope.verp = options.verp.clone();
        envelope
    }
}

fn ret_out(given: smtp::server::Ret) -> Ret {
    match given {
        smtp::server::Ret::Full => Ret::Full,
        smtp::server::Ret::Headers => Ret::Headers,
    }
}

/// The session's set and the queue's have the same bits.
fn notify_out(given: smtp::server::Notify) -> Notify {
    Notify(given.bits())
}
