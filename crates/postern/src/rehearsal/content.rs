//! What cleanup makes of a rehearsed message: the checks of its headers and body that found a rule, and where it would go.

use crate::clock;
use crate::daemon::site::Service;
use message::cleanup::{Cleanup, Effects, MessageContext, RewriteContext, Verdict};
use message::received::{ReceivedFacts, received_header};
use message::recipients::{self, Envelope, InRecipient};
use message::{CleanupConfig, LogLine, Lookup, LookupFailed, Maps};
use policy::{Answer, Effect, Facts, Question, TableId, World};
use std::net::IpAddr;
use std::sync::Arc;

/// A message whose lines end in LF as a client sends it: CRLF, a second dot where a line begins with one, and its end.
pub fn on_the_wire(message: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(message.len() + 64);
    for line in message.strip_suffix(b"\n").unwrap_or(message).split(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            content.push(b'.');
        }
        content.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        content.extend_from_slice(b"\r\n");
    }
    content.extend_from_slice(b".\r\n");
    content
}

/// The queue id of every rehearsed message.
pub(super) const QUEUE_ID: &str = "QID";

/// A rule of header_checks or body_checks that a line has met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The parameter, as in `header_checks`.
    pub parameter: &'static str,
    /// Its table.
    pub table: TableId,
    /// The header or the line of the body.
    pub text: String,
    /// The rule's action, or why there is none.
    pub found: Result<Arc<str>, Arc<str>>,
}

/// A message that cleanup has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Rules that were met, in order.
    pub checks: Vec<Checked>,
    /// The reply, if it is refused.
    pub refusal: Option<String>,
    /// What is to be done with it.
    pub effects: Effects,
    /// Its recipients.
    pub recipients: Vec<String>,
    /// Log lines.
    pub log: Vec<LogLine>,
}

/// A message on its way in.
pub(super) struct Incoming<'a> {
    pub(super) service: &'a Service,
    pub(super) facts: &'a Facts,
    /// `name[address]`.
    pub(super) origin: String,
    pub(super) recipients: Vec<String>,
    /// What access rules want done, and how many of them came before the content.
    pub(super) effects: &'a [Effect],
    pub(super) early: usize,
}

impl Incoming<'_> {
    /// Let cleanup see the message.
    pub(super) fn clean(self, content: &[u8], world: &mut dyn World) -> Cleaned {
        let config = &self.service.cleanup;
        let mut tables = Tables { world, config, checks: Vec::new() };
        let given = |address: &String| InRecipient { address: address.clone(), ..InRecipient::default() };
        let recipients: Vec<InRecipient> = self.recipients.iter().map(given).collect();
        let early = &self.effects[..self.early];
        let bcc: Vec<String> = early
            .iter()
            .filter_map(|effect| if let Effect::Bcc(address) = effect { Some(address.clone()) } else { None })
            .collect();
        let envelope = Envelope {
            queue_id: QUEUE_ID,
            sender: self.facts.sender.as_deref().unwrap_or_default(),
            recipients: &recipients,
            bcc: &bcc,
            mappings: self.service.address_mappings,
            is_ours: false,
        };
        let mut expansion = recipients::expand(config, &envelope, &mut tables);
        let before = expansion.log.len();
        let mut cleanup = Cleanup::new(Arc::clone(config), self.context(&expansion, early));
        let mut out = Vec::new();
        cleanup.feed(content, &mut tables, &mut out);
        let mut finished = cleanup.finish(&mut tables, &mut out);
        finished.effects.add(&self.effects[self.early..]);
        expansion.complete(config, &envelope, &finished.effects, &mut tables);
        let after = expansion.log.split_off(before);
        let refusal = match finished.verdict {
            Verdict::Refuse(reply) => Some(reply),
            Verdict::Accept => expansion.refusal,
        };
        Cleaned {
            checks: tables.checks,
            refusal,
            effects: finished.effects,
            recipients: expansion.recipients.into_iter().map(|recipient| recipient.address).collect(),
            log: expansion.log.into_iter().chain(finished.log).chain(after).collect(),
        }
    }

    fn context(&self, expansion: &recipients::Expansion, effects: &[Effect]) -> MessageContext {
        let facts = self.facts;
        let now = clock::timestamp(facts.now);
        let protocol = if facts.protocol == policy::Protocol::Esmtp { "ESMTP" } else { "SMTP" };
        let address = match facts.client.address {
            Some(IpAddr::V6(v6)) => format!("IPv6:{v6}"),
            Some(v4) => v4.to_string(),
            None => "unknown".to_owned(),
        };
        let recipient = match self.recipients.as_slice() {
            [one] => Some(smtp::address::quote_local(one).into_owned()),
            _ => None,
        };
        let received = received_header(&ReceivedFacts {
            helo: facts.helo.as_deref(),
            client_name: facts.client.name.as_ref().map_or("unknown", |names| &names.name),
            client_address: &address,
            protocol,
            smtputf8: facts.smtputf8,
            encrypted: facts.tls.is_some(),
            authenticated: facts.sasl.is_some(),
            tls: None,
            sasl_username: None,
            my_hostname: &self.service.my_hostname,
            mail_name: &self.service.mail_name,
            queue_id: Some(QUEUE_ID),
            recipient: recipient.as_deref(),
            time: &now,
            hide_client_session: self.service.hide_client_session,
        });
        let prepended = effects
            .iter()
            .filter_map(|effect| if let Effect::Prepend(header) = effect { Some(header.clone()) } else { None });
        let others = effects.iter().filter(|effect| !matches!(effect, Effect::Prepend(_) | Effect::Bcc(_)));
        MessageContext {
            queue_id: QUEUE_ID.to_owned(),
            now,
            origin: self.origin.clone(),
            sender: expansion.sender.clone(),
            last_recipient: expansion.last_recipient.clone(),
            protocol: Some(protocol.to_owned()),
            helo: facts.helo.clone(),
            rewrite: RewriteContext::Remote,
            prepended: prepended.collect(),
            received: Some(received),
            checks: self.service.header_body_checks,
            mappings: self.service.address_mappings,
            effects: others.cloned().collect(),
            refusal: expansion.refusal.clone(),
        }
    }
}

/// Tables as cleanup asks them; what checks find is remembered.
struct Tables<'a> {
    world: &'a mut dyn World,
    config: &'a CleanupConfig,
    checks: Vec<Checked>,
}

impl Tables<'_> {
    /// The parameter that a table of checks belongs to.
    fn parameter(&self, table: TableId, text: &str) -> Option<&'static str> {
        let has = |maps: &Maps| maps.tables.iter().any(|known| known.id == table);
        let config = self.config;
        let is_header = text.split_once(':').is_some_and(|(name, _)| !name.contains([' ', '\t']));
        let mime = is_header && text.to_ascii_lowercase().starts_with("content-");
        let mut candidates = vec![
            ("header_checks", &config.header_checks),
            ("mime_header_checks", &config.mime_header_checks),
            ("nested_header_checks", &config.nested_header_checks),
            ("body_checks", &config.body_checks),
        ];
        if mime {
            candidates.swap(0, 1);
        }
        candidates.into_iter().find(|(_, maps)| has(maps)).map(|(name, _)| name)
    }
}

impl Lookup for Tables<'_> {
    fn find(&mut self, table: TableId, key: &str) -> Result<Option<Arc<str>>, LookupFailed> {
        match self.world.answer(&Question::Table { table, key: key.to_owned() }) {
            Some(Answer::Table(found)) => found.map_err(LookupFailed),
            _ => Err(LookupFailed("nobody answers for this table here".into())),
        }
    }

    fn find_content(&mut self, table: TableId, text: &[u8]) -> Result<Option<Arc<str>>, LookupFailed> {
        let text = String::from_utf8_lossy(text).into_owned();
        let answer = self.find(table, &text);
        let found = match &answer {
            Ok(None) => return answer,
            Ok(Some(value)) => Ok(value.clone()),
            Err(failed) => Err(failed.0.clone()),
        };
        if let Some(parameter) = self.parameter(table, &text) {
            self.checks.push(Checked { parameter, table, text, found });
        }
        answer
    }
}
