//! A decision as it is kept. Texts that come again and again (lists, restrictions, tables) are numbers: a segment of the
//! record has each of them once.

use super::message::StoredMessage;
use super::texts::Dictionary;
use super::{Code, Made};
use policy::{
    Answer, Certificate, DnsRecord, DnsStatus, Outcome, PeerStatus, PolicyService, Protocol, Question, RecordType,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A text by its number in the segment.
pub type Unbound = u32;
/// A text.
pub type Bound = Arc<str>;

/// A decision. `T` is [`Unbound`] in a file and [`Bound`] in memory; `S` is borrowed from the session while one is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<T, S = String> {
    /// Its name.
    pub code: Code,
    /// When, in milliseconds since the epoch.
    pub at: u64,
    /// The session, as a number of its own.
    pub session: u64,
    /// Which MAIL of the session it belongs to, from 1.
    pub transaction: u32,
    /// The service in master.cf.
    pub service: T,
    /// The command word.
    pub stage: T,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Its verified name.
    pub name: S,
    /// Its PTR name, where that is another.
    pub reverse: Option<S>,
    /// What the look-ups of both came to: 0 found, 1 temporary, 2 none, 3 forged.
    pub statuses: (u8, u8),
    /// HELO or EHLO argument.
    pub helo: Option<S>,
    /// It said EHLO.
    pub esmtp: bool,
    /// Envelope sender.
    pub sender: Option<S>,
    /// Envelope recipient; ETRN's domain.
    pub recipient: Option<S>,
    /// Recipients accepted so far.
    pub recipients: u32,
    /// SIZE= or size.
    pub size: u64,
    /// The queue id.
    pub queue_id: Option<S>,
    /// Login: method and name.
    pub login: Option<(T, S)>,
    /// TLS: protocol and cipher.
    pub tls: Option<(T, T)>,
    /// The certificate that it has shown.
    pub certificate: Option<Box<StoredCertificate>>,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// Improper pipelining was seen.
    pub pipelining: bool,
    /// The reply of a refusal.
    pub reply: Option<S>,
    /// What ran.
    pub steps: Vec<Step<T, S>>,
    /// What was found, or could not be. A key that isn't here was not in the table, unless that is one that waits for
    /// somebody: of those, what they don't have is here, too.
    pub asked: Vec<Ask<T, S>>,
}

/// One step of the evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step<T, S = String> {
    /// The list, `file:line:column` and the restriction in one text, as [`what`] has them.
    pub what: T,
    /// How deep it is nested.
    pub depth: u8,
    /// A number for what it came to, as in [`outcome_word`].
    pub outcome: u8,
    /// The reply, where that isn't the record's; the list that was entered.
    pub detail: Option<S>,
}

/// List, place and restriction as one text: a step is one number.
pub fn what(list: &str, place: &str, restriction: &str) -> String {
    [list, place, restriction].join("\0")
}

impl<S> Step<Bound, S> {
    fn part(&self, number: usize) -> &str {
        self.what.splitn(3, '\0').nth(number).unwrap_or_default()
    }

    /// The list.
    pub fn list(&self) -> &str {
        self.part(0)
    }

    /// `file:line:column`.
    pub fn place(&self) -> Option<&str> {
        Some(self.part(1)).filter(|place| !place.is_empty())
    }

    /// The restriction.
    pub fn restriction(&self) -> &str {
        self.part(2)
    }

    /// `RESTRICTION (LIST, file:line:column)`.
    pub fn shown(&self) -> String {
        let (restriction, list) = (self.restriction(), self.list());
        match self.place() {
            Some(place) => format!("{restriction} ({list}, {place})"),
            None => format!("{restriction} ({list})"),
        }
    }
}

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask<T, S = String> {
    /// A table, a key, and the value, nothing, or why nothing can be said.
    Table(T, S, Result<Option<S>, S>),
    /// A record type, a name, a status and what came.
    Dns(u8, S, StoredAnswer<S>),
    /// A policy service and its action, or why there is none.
    Policy(T, Result<S, S>),
    /// An address, and what is known of it, as [`policy::Verification::told`] has it.
    Verify(S, S),
    /// What was found in the message.
    Message(StoredMessage),
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCertificate {
    /// Common names of subject and issuer.
    pub names: (String, String),
    /// Fingerprints of the certificate and of its key.
    pub fingerprints: (String, String),
    /// It can be believed.
    pub is_trusted: bool,
}

impl From<&Certificate> for StoredCertificate {
    fn from(shown: &Certificate) -> Self {
        Self {
            names: (shown.subject_cn.clone(), shown.issuer_cn.clone()),
            fingerprints: (shown.fingerprint.clone(), shown.public_key_fingerprint.clone()),
            is_trusted: shown.is_trusted,
        }
    }
}

impl From<&StoredCertificate> for Certificate {
    fn from(kept: &StoredCertificate) -> Self {
        Self {
            subject_cn: kept.names.0.clone(),
            issuer_cn: kept.names.1.clone(),
            fingerprint: kept.fingerprints.0.clone(),
            public_key_fingerprint: kept.fingerprints.1.clone(),
            is_trusted: kept.is_trusted,
        }
    }
}

/// What came from DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredAnswer<S = String> {
    /// Nothing by that name, or no such record.
    Missing(bool),
    /// Another failure: its kind and its text.
    Failed(u8, S),
    /// Addresses.
    Addresses(Vec<IpAddr>),
    /// Preferences and hosts.
    Mx(Vec<(u16, S)>),
    /// Names.
    Names(Vec<S>),
    /// Texts.
    Texts(Vec<S>),
}

/// Words for outcomes, by their numbers.
pub const OUTCOMES: [&str; 9] = [
    "no opinion",
    "permit",
    "discard",
    "reject",
    "would reject",
    "defer if permit",
    "defer if reject",
    "look into",
    "hang up",
];

const STATUSES: [DnsStatus; 7] = [
    DnsStatus::Ok,
    DnsStatus::NotFound,
    DnsStatus::NullMx,
    DnsStatus::Retry,
    DnsStatus::Policy,
    DnsStatus::Invalid,
    DnsStatus::Fail,
];

/// Record types by their numbers.
pub const TYPES: [RecordType; 6] =
    [RecordType::A, RecordType::Aaaa, RecordType::Mx, RecordType::Ns, RecordType::Txt, RecordType::Ptr];

const PEERS: [PeerStatus; 4] = [PeerStatus::Ok, PeerStatus::Temporary, PeerStatus::Permanent, PeerStatus::Forged];

fn place<T: PartialEq + Copy>(all: &[T], one: T) -> u8 {
    all.iter().position(|known| *known == one).unwrap_or_default() as u8
}

/// The status of a client's name.
pub fn peer_status(number: u8) -> PeerStatus {
    PEERS.get(usize::from(number)).copied().unwrap_or(PeerStatus::Temporary)
}

/// The status of a DNS answer.
pub fn dns_status(number: u8) -> DnsStatus {
    STATUSES.get(usize::from(number)).copied().unwrap_or(DnsStatus::Retry)
}

impl<'a> Record<Unbound, Cow<'a, str>> {
    /// A decision as it is kept.
    pub fn of(made: &'a Made, texts: &mut Dictionary) -> Self {
        let Made { facts, decision, .. } = made;
        texts.begin(&made.site);
        // Where the name wasn't known yet, it was asked for, if anything hinged on it.
        let answered = made.asked.iter().rev().find_map(|(_, answer)| match answer {
            Answer::PeerName(names) => Some(names),
            _ => None,
        });
        let names = answered.or(facts.client.name.as_ref());
        let reply = decision.rejection.as_ref().map(|rejection| match made.service.reject_code_suffix {
            true => rejection.reply.strip_suffix(&made.code.suffix()).unwrap_or(&rejection.reply),
            false => &rejection.reply,
        });
        let steps = decision.trace.steps.iter().map(|step| {
            let (outcome, detail) = outcome(&step.outcome, reply);
            Step { what: texts.step(step), depth: u8::try_from(step.depth).unwrap_or(u8::MAX), outcome, detail }
        });
        let steps = steps.collect();
        Self {
            code: made.code,
            at: made.at,
            session: made.session,
            transaction: made.transaction,
            service: texts.lasting(&made.service.name),
            stage: texts.lasting(made.stage),
            address: facts.client.address,
            port: facts.client.port,
            name: names.map_or("unknown", |names| &names.name).into(),
            reverse: names.filter(|names| names.reverse != names.name).map(|names| (*names.reverse).into()),
            statuses: names.map_or((2, 2), |n| (place(&PEERS, n.name_status), place(&PEERS, n.reverse_status))),
            helo: facts.helo.as_deref().map(Cow::from),
            esmtp: facts.protocol == Protocol::Esmtp,
            sender: facts.sender.as_deref().map(Cow::from),
            recipient: facts.recipient.as_deref().or(facts.etrn_domain.as_deref()).map(Cow::from),
            recipients: u32::try_from(facts.recipient_count).unwrap_or(u32::MAX),
            size: facts.size,
            queue_id: facts.queue_id.as_deref().map(Cow::from),
            login: facts.sasl.as_ref().map(|login| (texts.number(&login.method), (*login.username).into())),
            tls: facts.tls.as_ref().map(|tls| (texts.number(&tls.protocol), texts.number(&tls.cipher))),
            certificate: facts.tls.as_ref().and_then(|tls| Some(Box::new(tls.certificate.as_ref()?.into()))),
            smtputf8: facts.smtputf8,
            pipelining: facts.improper_pipelining,
            reply: reply.map(Cow::from),
            steps,
            asked: asked(made, texts),
        }
    }
}

impl<S: Into<String>> Record<Unbound, S> {
    /// With its texts, and with what was borrowed for its own.
    pub fn bind(self, texts: &BTreeMap<Unbound, Bound>) -> Record<Bound> {
        let text = |number: u32| texts.get(&number).cloned().unwrap_or_else(|| "?".into());
        let steps = self.steps.into_iter().map(|step| Step {
            what: text(step.what),
            depth: step.depth,
            outcome: step.outcome,
            detail: own(step.detail),
        });
        let asked = self.asked.into_iter().map(|ask| match ask {
            Ask::Table(table, key, found) => Ask::Table(text(table), key.into(), found.map(own).map_err(Into::into)),
            Ask::Dns(rtype, name, answer) => Ask::Dns(rtype, name.into(), answer.own()),
            Ask::Policy(service, action) => Ask::Policy(text(service), action.map(Into::into).map_err(Into::into)),
            Ask::Verify(address, found) => Ask::Verify(address.into(), found.into()),
            Ask::Message(found) => Ask::Message(found),
        });
        Record {
            code: self.code,
            at: self.at,
            session: self.session,
            transaction: self.transaction,
            service: text(self.service),
            stage: text(self.stage),
            address: self.address,
            port: self.port,
            name: self.name.into(),
            reverse: own(self.reverse),
            statuses: self.statuses,
            helo: own(self.helo),
            esmtp: self.esmtp,
            sender: own(self.sender),
            recipient: own(self.recipient),
            recipients: self.recipients,
            size: self.size,
            queue_id: own(self.queue_id),
            login: self.login.map(|(method, name)| (text(method), name.into())),
            tls: self.tls.map(|(protocol, cipher)| (text(protocol), text(cipher))),
            certificate: self.certificate,
            smtputf8: self.smtputf8,
            pipelining: self.pipelining,
            reply: own(self.reply),
            steps: steps.collect(),
            asked: asked.collect(),
        }
    }
}

fn own<S: Into<String>>(text: Option<S>) -> Option<String> {
    text.map(Into::into)
}

impl<S: Into<String>> StoredAnswer<S> {
    fn own(self) -> StoredAnswer {
        let owned = |texts: Vec<S>| texts.into_iter().map(Into::into).collect();
        match self {
            Self::Missing(no_data) => StoredAnswer::Missing(no_data),
            Self::Failed(status, reason) => StoredAnswer::Failed(status, reason.into()),
            Self::Addresses(addresses) => StoredAnswer::Addresses(addresses),
            Self::Mx(hosts) => StoredAnswer::Mx(hosts.into_iter().map(|(at, host)| (at, host.into())).collect()),
            Self::Names(names) => StoredAnswer::Names(owned(names)),
            Self::Texts(texts) => StoredAnswer::Texts(owned(texts)),
        }
    }
}

fn outcome<'a>(outcome: &'a Outcome, reply: Option<&str>) -> (u8, Option<Cow<'a, str>>) {
    let other = |text: &'a String| Some(text.as_str()).filter(|text| Some(*text) != reply).map(Cow::from);
    match outcome {
        Outcome::Dunno => (0, None),
        Outcome::Permit => (1, None),
        Outcome::Discard => (2, None),
        Outcome::Reject(rejection) => (3, other(&rejection.reply)),
        Outcome::Warned(text) => (4, other(text)),
        Outcome::DeferIfPermit(text) => (5, other(text)),
        Outcome::DeferIfReject(text) => (6, other(text)),
        Outcome::Enter(list) => (7, Some((**list).into())),
        Outcome::HangUp => (8, None),
    }
}

/// A policy service by its endpoint, and by the context that it is told: with another one it answers otherwise.
pub fn service_name(service: &PolicyService) -> Cow<'_, str> {
    match &*service.policy_context {
        "" => Cow::Borrowed(&service.name),
        context => Cow::Owned(format!("{} policy_context={context}", service.name)),
    }
}

/// Questions with their answers.
fn asked<'a>(made: &'a Made, texts: &mut Dictionary) -> Vec<Ask<Unbound, Cow<'a, str>>> {
    let mut kept = Vec::with_capacity(made.asked.len() + 1);
    kept.extend(made.facts.message.as_deref().map(|found| Ask::Message(found.into())));
    for (at, (question, answer)) in made.asked.iter().enumerate() {
        let ask = match (question, answer) {
            (Question::Table { table, key }, Answer::Table(found)) => {
                let found = match found {
                    Ok(value) => Ok(value.as_deref().map(Cow::from)),
                    Err(reason) => Err(Cow::from(&**reason)),
                };
                let spec = made.site.tables.spec(table.0).map_or("?", |spec| spec);
                Ask::Table(texts.lasting(spec), key.as_str().into(), found)
            }
            (Question::Dns { rtype, name }, Answer::Dns(answer)) => {
                Ask::Dns(place(&TYPES, *rtype), (**name).into(), stored(answer))
            }
            (Question::PolicyService { service, .. }, Answer::PolicyService(action)) => {
                // The same words again are another answer, unless the question is the same, too.
                if made.asked[..at].iter().any(|(earlier, _)| earlier == question) {
                    continue;
                }
                let action = action.as_deref().map(Cow::from).map_err(|reason| Cow::from(&**reason));
                Ask::Policy(texts.number(&service_name(service)), action)
            }
            (Question::Verify { address, .. }, Answer::Verify(found)) => {
                let ask = Ask::Verify((**address).into(), found.told().into());
                // Asked for again until it is known.
                if kept.contains(&ask) {
                    continue;
                }
                ask
            }
            _ => continue,
        };
        kept.push(ask);
    }
    kept
}

fn stored(answer: &policy::DnsAnswer) -> StoredAnswer<Cow<'_, str>> {
    match answer.status {
        DnsStatus::Ok => {}
        DnsStatus::NotFound => return StoredAnswer::Missing(answer.reason.contains("no data record")),
        status => return StoredAnswer::Failed(place(&STATUSES, status), answer.reason.as_str().into()),
    }
    let records = &answer.records;
    match records.first() {
        Some(DnsRecord::Mx(..)) => StoredAnswer::Mx(pick(records, |record| match record {
            DnsRecord::Mx(preference, host) => Some((*preference, (**host).into())),
            _ => None,
        })),
        Some(DnsRecord::Name(_)) => StoredAnswer::Names(pick(records, |record| match record {
            DnsRecord::Name(name) => Some((**name).into()),
            _ => None,
        })),
        Some(DnsRecord::Txt(_)) => StoredAnswer::Texts(pick(records, |record| match record {
            DnsRecord::Txt(text) => Some((**text).into()),
            _ => None,
        })),
        _ => StoredAnswer::Addresses(answer.addresses().collect()),
    }
}

fn pick<'a, T>(records: &'a [DnsRecord], of: impl Fn(&'a DnsRecord) -> Option<T>) -> Vec<T> {
    records.iter().filter_map(of).collect()
}

/// The word for an outcome's number.
pub fn outcome_word(number: u8) -> &'static str {
    OUTCOMES.get(usize::from(number)).copied().unwrap_or("?")
}
