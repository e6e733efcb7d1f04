//! Mail that no client brings, on its way through cleanup(8): reports and notices that the program makes itself.
//!
//! `internal_mail_filter_classes` says which of it is looked at: by header and body checks, and by the filters in
//! `non_smtpd_milters`, which are told of a session that never was ([`pretence`]). Address probes never are.

mod pretence;

use crate::clock;
use crate::daemon::site::Site;
use crate::dns::Resolver;
use crate::lookup;
use crate::maillog::Log;
use crate::milter::{Ended, Filtered, Filtering, MilterSettings, Milters, Taken, Unfiltered};
use config::{Diagnostic, Parameters};
use message::cleanup::{Cleanup, Effects, Finished, MessageContext, RewriteContext, Verdict};
use message::milter::SenderOptions;
use message::recipients::{self, Expansion, InRecipient};
use pretence::Pretence;
use queue::{Content, Message, QueueId, Recipient, Ret, Spool};
use smtp::server::Notify;
use std::sync::Arc;
use tables::TableSet;
use tokio::sync::Semaphore;

/// What of our own mail `internal_mail_filter_classes` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailClass {
    /// Delivery reports, and the postmaster's copies of them.
    Bounce,
    /// Transcripts of sessions, for the postmaster.
    Notify,
}

/// What main.cf says about mail that no client brings.
#[derive(Debug)]
pub struct InternalMailSettings {
    /// `non_smtpd_milters`; `None` where there are none.
    pub milters: Option<Arc<MilterSettings>>,
    classes: Vec<MailClass>,
    my_hostname: String,
    message_size_limit: u64,
    cleanup_tag: String,
}

impl InternalMailSettings {
    /// From main.cf alone: services have no say here.
    pub fn compile(p: &Parameters, problems: &mut Vec<Diagnostic>) -> Self {
        let mut classes = Vec::new();
        let value = p.get("internal_mail_filter_classes");
        for word in value.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
            match word {
                "bounce" => classes.push(MailClass::Bounce),
                "notify" => classes.push(MailClass::Notify),
                _ => problems.push(
                    Diagnostic::error("bad-value", format!("internal_mail_filter_classes: unknown class: {word}"))
                        .at(p.origin("internal_mail_filter_classes"))
                        .help("write bounce (delivery reports), notify (notices to the postmaster), or both"),
                ),
            }
        }
        Self {
            milters: MilterSettings::compile_for_own_mail(p, problems),
            classes,
            my_hostname: p.get("myhostname"),
            message_size_limit: u64::try_from(p.int("message_size_limit")).unwrap_or(0),
            cleanup_tag: format!("{}/cleanup", p.get("syslog_name")),
        }
    }

    /// Is mail of this class looked at?
    pub fn inspects(&self, class: MailClass) -> bool {
        self.classes.contains(&class)
    }
}

/// A message of ours that nobody has looked at.
#[derive(Clone, Debug)]
pub struct OwnMail {
    /// The message; its recipients are yet to come.
    pub message: Message,
    /// Whom it is for, internal form.
    pub to: String,
    /// Which reports on it are wanted.
    pub notify: Notify,
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum Cleaned {
    /// It may be stored.
    Ready(Message),
    /// It was taken, and thrown away, or nobody is left to get it.
    Discarded,
}

/// So many messages of ours are with filters at a time.
static PLACES: Semaphore = Semaphore::const_new(100);

/// Would the next one have to wait for its turn?
pub fn is_crowded() -> bool {
    PLACES.available_permits() == 0
}

/// Whom a message of ours reaches: mapped and expanded, but without the copies that others' mail gets.
pub async fn expand((site, id): (&Site, QueueId), sender: &str, recipient: InRecipient) -> Option<(Expansion, Taken)> {
    let config = Arc::clone(&site.cleanup);
    let (sender, recipients) = (sender.to_owned(), vec![recipient]);
    let taken = Taken { id, sender, recipients, bcc: Vec::new(), mappings: true, is_ours: true };
    let work = move |tables: &mut dyn message::Lookup| (recipients::expand(&config, &taken.envelope(), tables), taken);
    lookup::with_tables(&site.tables, work).await
}

/// Recipients as the queue has them.
pub fn queued(expansion: &Expansion) -> Vec<Recipient> {
    let recipients = expansion.recipients.iter().map(|out| {
        let mut recipient = Recipient::new(out.address.clone());
        recipient.orig_to = Some(out.orig_to.clone()).filter(|orig| !orig.is_empty() && *orig != out.address);
        recipient.notify = queue::Notify(out.notify.bits());
        recipient
    });
    recipients.collect()
}

/// Whoever looks at our own mail, on one event loop.
#[derive(Clone)]
pub struct Inspector {
    /// The log.
    pub log: Log,
    /// Where what is large is written.
    pub spool: Spool,
    /// The loop's DNS client, for filters' names.
    pub resolver: Arc<Resolver>,
}

impl Inspector {
    /// Checks and filters see a message of ours.
    ///
    /// # Errors
    /// It can't be stored now, and why; nothing of it is kept.
    pub async fn inspect(&self, site: &Site, mail: OwnMail) -> Result<Cleaned, String> {
        let own = &site.internal_mail;
        let mut milters = own.milters.as_ref().map(|settings| Milters::new(settings, &settings.milters));
        // Others wait for their turn; nobody closes this door.
        let _place = if milters.is_some() { PLACES.acquire().await.ok() } else { None };
        let id = mail.message.envelope.queue_id;
        let filtering = self.filtering(own, &site.cleanup, &site.tables);
        let cleaned = self.clean_up(site, &filtering, mail, milters.as_mut()).await;
        if let Some(milters) = &mut milters {
            milters.close();
        }
        match cleaned {
            Ok(message) if !message.envelope.recipients.is_empty() => Ok(Cleaned::Ready(message)),
            Ok(_) | Err(Ended::Discarded) => Ok(Cleaned::Discarded),
            // The code is for clients.
            Err(Ended::Refused(reply)) => Err(format!("{id}: message not accepted: {}", without_code(&reply))),
            Err(Ended::Failed(error)) => Err(error.to_string()),
        }
    }

    fn filtering<'a>(
        &'a self,
        own: &'a InternalMailSettings,
        config: &'a Arc<message::CleanupConfig>,
        tables: &'a Arc<TableSet>,
    ) -> Filtering<'a> {
        let (log, spool, limit) = (&self.log, &self.spool, own.message_size_limit);
        Filtering { log, tag: &own.cleanup_tag, spool, tables, config, limit }
    }

    async fn clean_up(
        &self,
        site: &Site,
        filtering: &Filtering<'_>,
        mail: OwnMail,
        milters: Option<&mut Milters>,
    ) -> Result<Message, Ended> {
        let OwnMail { message: Message { mut envelope, content }, to, notify } = mail;
        let (id, arrival) = (envelope.queue_id, envelope.arrival);
        let given = InRecipient { address: to, notify, orcpt: String::new() };
        let (mut expansion, taken) = expand((site, id), &envelope.sender, given).await.ok_or_else(ended_early)?;
        for line in expansion.log.drain(..) {
            self.log.line(filtering.tag, &line.text);
        }
        if let Some(refusal) = expansion.refusal.take() {
            return Err(Ended::Refused(refusal));
        }
        let mut context = context(id, arrival, &expansion);
        let mut effects = Effects::default();
        let mut pretence = Pretence::new(&site.internal_mail, &envelope, id);
        let mut milters = milters;
        if let Some(milters) = milters.as_deref_mut() {
            let recipients = expansion.last_recipient.as_slice();
            effects.hold = pretence.begin(milters, (filtering, &self.resolver), &context, recipients).await?;
        }
        let (finished, expansion, taken, content) =
            checked(filtering, (context.clone(), expansion, taken), content).await?;
        effects.hold |= finished.effects.hold;
        let hold = effects.hold;
        let mut filtered = Filtered {
            content,
            expansion,
            effects: Effects { hold, ..finished.effects },
            options: SenderOptions::default(),
        };
        if let Some(milters) = milters.filter(|_| !filtered.effects.skip_milters) {
            context.origin = pretence.origin();
            let Filtered { content, expansion, effects, .. } = filtered;
            let message = Unfiltered { id, content, expansion, taken, effects, context };
            filtered = filtering.run(milters, message, &|name| pretence.value(name)).await?;
        }
        let Filtered { content, expansion, effects, options } = filtered;
        let kept = Arc::make_mut(&mut envelope);
        kept.recipients = queued(&expansion);
        kept.sender = expansion.sender;
        kept.hold = effects.hold;
        kept.content_filter = effects.filter;
        kept.ret = options.ret.map(ret_out).or(kept.ret);
        kept.envid = options.envid.or(kept.envid.take());
        kept.size = length(&content);
        Ok(Message { envelope, content })
    }
}

/// Header and body checks, and what else cleanup does to content.
async fn checked(
    filtering: &Filtering<'_>,
    (context, mut expansion, taken): (MessageContext, Expansion, Taken),
    content: Content,
) -> Result<(Finished, Expansion, Taken, Content), Ended> {
    let Content::Memory(bytes) = content else { return Err(ended_early()) };
    let config = Arc::clone(filtering.config);
    let work = move |tables: &mut dyn message::Lookup| {
        let mut out = Vec::with_capacity(bytes.len());
        let mut cleanup = Cleanup::new(Arc::clone(&config), context);
        cleanup.feed(&bytes, tables, &mut out);
        let finished = cleanup.finish(tables, &mut out);
        if finished.verdict == Verdict::Accept && !finished.effects.discard {
            expansion.complete(&config, &taken.envelope(), &finished.effects, tables);
        }
        (finished, expansion, taken, Content::Memory(out.into()))
    };
    let (mut finished, mut expansion, taken, content) =
        lookup::with_tables(filtering.tables, work).await.ok_or_else(ended_early)?;
    for line in finished.log.drain(..).chain(expansion.log.drain(..)) {
        filtering.log.line(filtering.tag, &line.text);
    }
    match (&finished.verdict, expansion.refusal.take()) {
        (Verdict::Refuse(reply), _) => Err(Ended::Refused(reply.clone())),
        (_, Some(reply)) => Err(Ended::Refused(reply)),
        _ if finished.effects.discard => Err(Ended::Discarded),
        _ => Ok((finished, expansion, taken, content)),
    }
}

fn context(id: QueueId, arrival: i64, expansion: &Expansion) -> MessageContext {
    MessageContext {
        queue_id: id.to_string(),
        now: clock::timestamp(u64::try_from(arrival / 1_000_000).unwrap_or(0)),
        origin: "local".to_owned(),
        sender: expansion.sender.clone(),
        last_recipient: expansion.last_recipient.clone(),
        protocol: None,
        helo: None,
        rewrite: RewriteContext::Local,
        prepended: Vec::new(),
        received: None,
        checks: true,
        mappings: true,
        effects: Vec::new(),
        refusal: None,
    }
}

fn ended_early() -> Ended {
    Ended::Refused("451 4.3.0 Error: queue file write error".to_owned())
}

fn without_code(reply: &str) -> &str {
    reply.get(4..).unwrap_or(reply)
}

fn length(content: &Content) -> u64 {
    match content {
        Content::Memory(bytes) => bytes.len() as u64,
        Content::Large(large) => large.len(),
        Content::Journal => 0,
    }
}

fn ret_out(given: smtp::server::Ret) -> Ret {
    match given {
        smtp::server::Ret::Full => Ret::Full,
        smtp::server::Ret::Headers => Ret::Headers,
    }
}

#[cfg(test)]
mod tests;
