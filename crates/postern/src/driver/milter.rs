//! When a session's Milters are told of what, and what their verdicts mean for it.

use super::conversation::Conversation;
use crate::lookup;
use crate::milter::{MacroFacts, Milters, Resolved, Warnings};
use message::milter::{Client, Event, Request, Verdict};
use policy::{Ask, Effect, Suspend};
use smtp::address::quote_local;
use smtp::server::{self, Decide, Moment, ServerSession};
use std::sync::Arc;

impl Conversation {
    /// A client is there, or XCLIENT has made it another one: connect to the filters that it has.
    pub(super) async fn begin_milters(&mut self) {
        self.end_milters();
        let service = Arc::clone(&self.service);
        let Some(settings) = &service.milters else { return };
        let mut chosen = Ok(settings.milters.clone());
        let key = self.client.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        for &table in &settings.maps {
            match lookup::find(&self.site.tables, table, &key).await {
                Ok(None) => {}
                Ok(Some(text)) => {
                    chosen = settings.parse(&text);
                    break;
                }
                Err(error) => {
                    chosen = Err(format!("smtpd_milter_maps: {}", error.text()));
                    break;
                }
            }
        }
        match chosen {
            Ok(milters) if milters.is_empty() => {}
            Ok(milters) => self.milters = Some(Box::new(Milters::new(settings, &milters))),
            // Nobody gets in unlooked at because of a table.
            Err(why) => {
                self.client.line(format!("warning: {why}"));
                self.milters = Some(Box::new(Milters::broken(settings)));
            }
        }
        self.session.set_milters(self.milters.is_some());
    }

    /// The session, or what it was, is over.
    pub(super) fn end_milters(&mut self) {
        if let Some(mut milters) = self.milters.take() {
            milters.quit();
        }
        self.session.set_milters(false);
    }

    /// What the filters say after the lists have decided.
    pub(super) async fn ask_milters(&mut self, decide: &Decide, decided: server::Verdict) -> server::Verdict {
        if self.session.judges_syntax_only() {
            return decided;
        }
        match (&decided, decide.moment) {
            (server::Verdict::Permit, moment) => {
                let Some(event) = event_of(moment) else { return decided };
                match self.milter_event(event, decide, None).await {
                    Some(reply) => server::Verdict::Milter(reply),
                    None => decided,
                }
            }
            (server::Verdict::Reject { reply, .. }, Moment::Rcpt) => {
                let reply = reply.clone();
                self.milter_event(Event::Rcpt, decide, Some(&reply)).await;
                decided
            }
            _ => decided,
        }
    }

    /// What the filters say to a command that is none.
    pub(super) async fn ask_milters_about(&mut self, word: &str) -> Option<String> {
        let mut milters = self.milters.take()?;
        self.client.settle().await;
        let facts = self.macro_facts(Event::Unknown, &milters, None).await;
        let mut warnings = Warnings::default();
        let fill = |request: &mut Request, _| request.strings(Event::Unknown, [word]);
        let verdict = milters.event(Event::Unknown, &|name| facts.value(name), &fill, &mut warnings).await;
        self.log_warnings(warnings);
        self.milters = Some(milters);
        let decide = Decide { moment: Moment::Connect, stage: self.session.stage() };
        // As for every command that can't succeed, only "try again later" tells the client something new.
        self.heed(&decide, verdict?).filter(|reply| reply.starts_with('4'))
    }

    /// Tell the filters of an event of the session; the reply that refuses it, if any. `rejected` is the reply to a
    /// recipient that is refused already.
    async fn milter_event(&mut self, event: Event, decide: &Decide, rejected: Option<&str>) -> Option<String> {
        let mut milters = self.milters.take()?;
        // What an access list or another filter throws away needs no looking at.
        let is_discarded = milters.is_discarded || self.transaction.effects.contains(&Effect::Discard);
        let verdict = if is_discarded && !event.is_of_session() {
            None
        } else {
            self.client.settle().await;
            self.tell(&mut milters, event, rejected).await
        };
        self.session.set_milter_standing(milters.standing().map(str::to_owned));
        milters.is_discarded |= verdict == Some(Verdict::Discard);
        self.milters = Some(milters);
        self.heed(decide, verdict?)
    }

    async fn tell(&mut self, milters: &mut Milters, event: Event, rejected: Option<&str>) -> Option<Verdict> {
        let mut warnings = Warnings::default();
        if event == Event::Connect {
            milters.connect(&self.worker.resolver, &mut warnings).await;
        }
        let facts = self.macro_facts(event, milters, rejected).await;
        let values = |name: &str| facts.value(name);
        let arguments = match event {
            Event::Helo => vec![self.session.helo_name().unwrap_or_default().to_owned()],
            Event::Mail => self.told(self.session.pending_sender()),
            Event::Rcpt => self.told(self.session.pending_recipient()),
            _ => Vec::new(),
        };
        let name = self.client.name.as_ref().map_or_else(|| Arc::from("unknown"), |name| Arc::clone(&name.name));
        let (address, port) = (self.client.address, self.client.port);
        let fill = move |request: &mut Request, _| match event {
            Event::Connect => request.connect(&Client { name: &name, address, port }),
            _ => request.strings(event, arguments.iter().map(String::as_str)),
        };
        let verdict = match rejected {
            None => milters.event(event, &values, &fill, &mut warnings).await,
            Some(_) => {
                milters.rejected_recipient(&values, &fill, &mut warnings).await;
                None
            }
        };
        self.log_warnings(warnings);
        verdict
    }

    /// The address as the client wrote it, and the ESMTP arguments.
    fn told(&self, address: Option<&str>) -> Vec<String> {
        let written = self.session.argument().map(str::to_owned);
        let mut told = vec![written.unwrap_or_else(|| format!("<{}>", quote_local(address.unwrap_or_default())))];
        told.extend_from_slice(self.session.command_arguments());
        told
    }

    fn log_warnings(&mut self, warnings: Warnings) {
        for text in warnings.0 {
            self.client.line(format!("warning: {text}"));
        }
    }

    /// Log a verdict and act on it; the reply, if it has one.
    fn heed(&mut self, decide: &Decide, verdict: Verdict) -> Option<String> {
        // Also at DATA, the first of several recipients is shown.
        let context = self.session.message_context();
        let id = self.transaction.queue_id().map_or_else(|| "NOQUEUE".to_owned(), |id| id.to_string());
        let (word, client) = (verdict.word(), ServerSession::CLIENT);
        self.client.line(format!("{id}: {word}: {} from {client}: {};{context}", decide.stage, verdict.text()));
        match &verdict {
            Verdict::Hold(_) => self.transaction.effects.push(Effect::Hold),
            Verdict::Discard => self.transaction.effects.push(Effect::Discard),
            Verdict::Shutdown | Verdict::Refuse(_) if decide.moment == Moment::Mail => self.transaction.effects.clear(),
            Verdict::Shutdown | Verdict::Refuse(_) => {}
        }
        verdict.reply().map(str::to_owned)
    }

    /// What macros are made of now; addresses are only resolved for those who ask.
    pub(super) async fn macro_facts(&mut self, event: Event, milters: &Milters, rejected: Option<&str>) -> MacroFacts {
        let settings = Arc::clone(milters.settings());
        let is_content = event.is_of_content();
        let mut facts = MacroFacts {
            my_hostname: self.service.my_hostname.clone(),
            v: settings.v.clone(),
            daemon_name: settings.daemon_name.clone(),
            server: self.server_address.map(|address| (address, self.server_port)),
            client: self.client.address,
            client_port: self.client.port,
            names: self.client.name.clone(),
            connections: if is_content { None } else { self.connections },
            is_content,
            queue_id: self.transaction.queue_id().map(|id| id.to_string()),
            sasl: self.sasl(),
            tls: self.tls.as_deref().filter(|_| !is_content).map(crate::tls::TlsSession::facts),
            sender: None,
            recipient: None,
        };
        if is_content || event.is_of_session() {
            return facts;
        }
        let sender = self.session.sender().map(str::to_owned);
        if let Some(sender) = &sender
            && milters.wants_macro(event, &["{mail_addr}", "{mail_host}", "{mail_mailer}"])
        {
            facts.sender = Some(self.resolved("", sender).await);
        }
        if let Some(reply) = rejected {
            facts.recipient = Some(Resolved::refused(reply));
        } else if let Some(recipient) = self.session.recipient().map(str::to_owned)
            && milters.wants_macro(event, &["{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"])
        {
            facts.recipient = Some(self.resolved(sender.as_deref().unwrap_or_default(), &recipient).await);
        }
        facts
    }

    async fn resolved(&mut self, sender: &str, address: &str) -> Resolved {
        let service = Arc::clone(&self.service);
        let found = loop {
            let found = {
                let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.answerer };
                service.routing.resolve(sender, address, &mut ask)
            };
            match found {
                Ok(found) => break found,
                Err(Suspend) => self.answer_pending().await,
            }
        };
        let shown = if address.is_empty() { "" } else { &found.recipient };
        Resolved { address: quote_local(shown).into_owned(), host: Some(found.nexthop), mailer: Some(found.transport) }
    }
}

fn event_of(moment: Moment) -> Option<Event> {
    Some(match moment {
        Moment::Connect => Event::Connect,
        Moment::Helo => Event::Helo,
        Moment::Mail => Event::Mail,
        Moment::Rcpt => Event::Rcpt,
        Moment::Data => Event::Data,
        Moment::Vrfy | Moment::Etrn | Moment::EndOfData => return None,
    })
}
