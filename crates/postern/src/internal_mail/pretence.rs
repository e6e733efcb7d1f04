//! What filters are told when there was no session: a client `localhost` that says EHLO, MAIL, RCPT and DATA.

use super::InternalMailSettings;
use crate::dns::Resolver;
use crate::milter::{Ended, Filtering, MacroFacts, Milters, Resolved, Warnings, shown};
use message::cleanup::MessageContext;
use message::milter::{Client, Event, Request, Verdict};
use policy::{PeerName, PeerStatus};
use queue::{Envelope, QueueId};
use smtp::address::quote_local;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Filters can't choose among recipients here.
const NO_CHOICE: &str = "451 4.3.5 Server configuration error";

/// A session that never was.
pub(super) struct Pretence {
    facts: MacroFacts,
    name: Arc<str>,
    address: IpAddr,
    sender: String,
}

impl Pretence {
    /// Of a message of ours.
    pub(super) fn new(settings: &InternalMailSettings, envelope: &Envelope, id: QueueId) -> Self {
        let (v, daemon_name) = settings
            .milters
            .as_ref()
            .map(|milters| (milters.v.clone(), milters.daemon_name.clone()))
            .unwrap_or_default();
        let (name, address): (Arc<str>, _) = ("localhost".into(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let facts = MacroFacts {
            my_hostname: settings.my_hostname.clone(),
            v,
            daemon_name,
            server: Some((address, 0)),
            client: Some(address),
            names: Some(PeerName {
                name: Arc::clone(&name),
                reverse: Arc::clone(&name),
                name_status: PeerStatus::Ok,
                reverse_status: PeerStatus::Ok,
            }),
            is_content: true,
            queue_id: Some(id.to_string()),
            ..MacroFacts::default()
        };
        Self { facts, name, address, sender: quote_local(&envelope.sender).into_owned() }
    }

    /// The client, as log lines show it.
    pub(super) fn origin(&self) -> String {
        format!("{}[{}]", self.name, self.address)
    }

    /// The value of a macro.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.facts.value(name)
    }

    /// Everything up to the content. Is the message to be held?
    pub(super) async fn begin(
        &mut self,
        milters: &mut Milters,
        (filtering, resolver): (&Filtering<'_>, &Arc<Resolver>),
        context: &MessageContext,
        recipients: &[String],
    ) -> Result<bool, Ended> {
        let mut warnings = Warnings::default();
        milters.connect(resolver, &mut warnings).await;
        let mut line = MessageContext { origin: self.origin(), last_recipient: None, ..context.clone() };
        let mut hold = false;
        let steps = [(Event::Connect, "CONNECT"), (Event::Helo, "EHLO"), (Event::Mail, "MAIL")];
        let steps = steps.into_iter().map(|(event, name)| (event, name, None));
        let rcpt = recipients.iter().map(|recipient| (Event::Rcpt, "RCPT", Some(recipient)));
        for (event, name, recipient) in steps.chain(rcpt).chain([(Event::Data, "DATA", None)]) {
            match (event, recipient) {
                (Event::Mail, _) => self.facts.sender = Some(Resolved::unresolved(&self.sender)),
                (_, Some(recipient)) => {
                    self.facts.recipient = Some(Resolved::unresolved(&quote_local(recipient)));
                    line.last_recipient = Some(recipient.clone());
                }
                _ => {}
            }
            let said = self.tell(milters, event, &mut warnings).await;
            for text in std::mem::take(&mut warnings.0) {
                filtering.log.warning(filtering.tag, &text);
            }
            if let Some(said) = said {
                self.heed(filtering, &line, (event, name), said, &mut hold)?;
            }
        }
        Ok(hold)
    }

    async fn tell(&self, milters: &mut Milters, event: Event, warnings: &mut Warnings) -> Option<Verdict> {
        let address = |resolved: &Option<Resolved>| resolved.as_ref().map(|it| it.address.clone()).unwrap_or_default();
        let argument = match event {
            Event::Helo => Some(self.name.to_string()),
            Event::Mail => Some(address(&self.facts.sender)),
            Event::Rcpt => Some(address(&self.facts.recipient)),
            _ => None,
        };
        let fill = |request: &mut Request, _| match event {
            Event::Connect => {
                request.connect(&Client {
                    name: &self.name,
                    address: Some(self.address),
                    port: self.facts.client_port,
                });
            }
            _ => request.strings(event, argument.iter().map(String::as_str)),
        };
        milters.event(event, &|name| self.facts.value(name), &fill, warnings).await
    }

    /// Log a verdict; how the message ends, if that ends it.
    fn heed(
        &self,
        filtering: &Filtering<'_>,
        line: &MessageContext,
        (event, name): (Event, &str),
        said: Verdict,
        hold: &mut bool,
    ) -> Result<(), Ended> {
        if matches!(said, Verdict::Hold(_)) && std::mem::replace(hold, true) {
            return Ok(());
        }
        let text = line.event_line(said.word(), name, &shown(&said), &line.sender);
        filtering.log.line(filtering.tag, &text.text);
        let end = match said {
            Verdict::Hold(_) => return Ok(()),
            Verdict::Discard => Ended::Discarded,
            Verdict::Shutdown | Verdict::Refuse(_) if event == Event::Rcpt => {
                let id = &line.queue_id;
                let text = "milter configuration error: can't reject recipient in non-smtpd(8) submission";
                filtering.log.warning(filtering.tag, &format!("{id}: {text}"));
                filtering.log.warning(filtering.tag, &format!("{id}: message not accepted, try again later"));
                Ended::Refused(NO_CHOICE.to_owned())
            }
            Verdict::Shutdown => Ended::Refused(Verdict::SHUTDOWN.to_owned()),
            Verdict::Refuse(reply) => Ended::Refused(reply),
        };
        Err(filtering.removed(&line.queue_id, end))
    }
}
