//! Who answers when a session is explained: the real tables, and for the rest the network, a text, or nobody.

use crate::answer::Answerer;
use crate::daemon::server;
use crate::daemon::site::{Service, Site};
use crate::dns::Learnt;
use crate::rehearsal::Zone;
use crate::verify;
use policy::{
    AddressStatus, Answer, DnsAnswer, DnsRecord, DnsStatus, PeerName, PeerStatus, Question, RecordType, TableId,
    Verification, World,
};
use std::collections::HashMap;
use std::sync::Arc;
use tables::TableSet;
use tokio::runtime::Runtime;

/// The world as it is: DNS and policy services are asked. Of addresses it is known what the server's file says: nobody
/// is visited for an explanation.
pub struct Live {
    runtime: Runtime,
    answerer: Answerer,
    addresses: verify::Settings,
}

impl Live {
    /// For a service of a configuration.
    ///
    /// # Errors
    /// When the system gives no event loop.
    pub fn new(site: &Site, service: &Service) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let resolver = {
            let _entered = runtime.enter();
            server::resolver(site, &Arc::new(Learnt::default()))
        };
        let tables = Arc::clone(&site.tables);
        let answerer = Answerer {
            tables,
            resolver,
            peername_lookup: service.peername_lookup,
            log: None,
            verifier: None,
            gateways: None,
        };
        Ok(Self { runtime, answerer, addresses: verify::Settings::of(&site.parameters) })
    }
}

impl World for Live {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        if matches!(question, Question::Sleep { .. }) {
            return Some(Answer::Done);
        }
        if let Question::Verify { address, .. } = question {
            let known = verify::on_file(&self.addresses, address);
            return Some(Answer::Verify(known.unwrap_or_else(Verification::in_progress)));
        }
        if let Some(answer) = self.answerer.answer(question) {
            return Some(answer);
        }
        Some(self.runtime.block_on(self.answerer.fetch(question)))
    }
}

/// Tables in memory, and DNS as a text has it. What neither knows is assumed, and remembered as such.
pub struct Fixed<'a> {
    /// The tables.
    pub tables: &'a TableSet,
    /// The DNS; `None`: nothing is known of it.
    pub zone: Option<&'a Zone>,
    /// What is assumed of questions that nobody can answer here.
    pub assumed: HashMap<Question, Answer>,
    /// The questions that had to be answered by an assumption.
    pub met: Vec<Question>,
}

impl<'a> Fixed<'a> {
    /// Nothing is assumed but that the world is quiet: names aren't found, policy services have no opinion.
    pub fn new(tables: &'a TableSet, zone: Option<&'a Zone>) -> Self {
        Self { tables, zone, assumed: HashMap::new(), met: Vec::new() }
    }

    /// What is answered where nobody knows.
    pub fn assumption(&self, question: &Question) -> Answer {
        self.assumed.get(question).cloned().unwrap_or_else(|| quiet(question))
    }

    fn known(&self, question: &Question) -> Option<Answer> {
        match (question, self.zone) {
            (Question::Table { table: TableId(id), key }, _) => {
                self.tables.lookup_now(*id, key).map(|found| Answer::Table(found.map_err(|e| e.text().clone())))
            }
            (Question::Dns { rtype, name }, Some(zone)) => Some(Answer::Dns(Arc::new(zone.query(*rtype, name)))),
            (Question::PeerName(address), Some(zone)) => Some(Answer::PeerName(zone.peer(*address))),
            (Question::Sleep { .. }, _) => Some(Answer::Done),
            (
                Question::Dns { .. } | Question::PeerName(_) | Question::PolicyService { .. } | Question::Verify { .. },
                _,
            ) => None,
        }
    }
}

impl World for Fixed<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        if let Some(answer) = self.known(question) {
            return Some(answer);
        }
        if !self.met.contains(question) {
            self.met.push(question.clone());
        }
        Some(self.assumption(question))
    }
}

/// What is assumed first.
fn quiet(question: &Question) -> Answer {
    match question {
        Question::Table { .. } => Answer::Table(Ok(None)),
        Question::Dns { rtype, name } => {
            let text = crate::dns::failure_text(name, *rtype, "Host not found");
            Answer::Dns(Arc::new(DnsAnswer::failed(DnsStatus::NotFound, text)))
        }
        Question::PeerName(_) => Answer::PeerName(PeerName::unknown(PeerStatus::Permanent)),
        Question::Sleep { .. } => Answer::Done,
        Question::PolicyService { .. } => Answer::PolicyService(Ok("dunno".into())),
        Question::Verify { .. } => Answer::Verify(Verification::new(AddressStatus::Deliverable, "")),
    }
}

/// What else the answer could be, in words and as an answer.
pub fn alternatives(question: &Question) -> Vec<(String, Answer)> {
    let found = |record: DnsRecord| Answer::Dns(Arc::new(DnsAnswer::found(vec![record], vec![300])));
    match question {
        Question::Table { .. } => ["OK", "REJECT"]
            .map(|value| (format!("the value is {value}"), Answer::Table(Ok(Some(value.into())))))
            .into_iter()
            .chain([("the look-up fails".to_owned(), Answer::Table(Err("look-up failed".into())))])
            .collect(),
        Question::Dns { rtype, name } => {
            let record = match rtype {
                RecordType::A => DnsRecord::Address([127, 0, 0, 2].into()),
                RecordType::Aaaa => DnsRecord::Address("2001:db8::2".parse().unwrap_or([127, 0, 0, 2].into())),
                RecordType::Mx => DnsRecord::Mx(10, format!("mail.{name}").into()),
                RecordType::Ns | RecordType::Ptr => DnsRecord::Name(format!("host.{name}").into()),
                RecordType::Txt => DnsRecord::Txt("a text".into()),
            };
            let shown = super::story::record(&record);
            let text = crate::dns::failure_text(name, *rtype, "Host not found, try again");
            let failed = Answer::Dns(Arc::new(DnsAnswer::failed(DnsStatus::Retry, text)));
            vec![(format!("it is {shown}"), found(record)), ("DNS fails for the moment".to_owned(), failed)]
        }
        Question::PeerName(_) => {
            let name: Arc<str> = "host.example".into();
            let status = PeerStatus::Ok;
            let named = PeerName { name: name.clone(), reverse: name, name_status: status, reverse_status: status };
            vec![
                ("it has a name that leads back to the address".to_owned(), Answer::PeerName(named)),
                ("DNS fails for the moment".to_owned(), Answer::PeerName(PeerName::unknown(PeerStatus::Temporary))),
            ]
        }
        Question::PolicyService { .. } => ["OK", "REJECT", "DEFER_IF_PERMIT"]
            .map(|value| (format!("it answers {value}"), Answer::PolicyService(Ok(value.into()))))
            .into_iter()
            .chain([("it doesn't answer".to_owned(), Answer::PolicyService(Err("no answer".into())))])
            .collect(),
        Question::Verify { .. } => {
            let refused = "host mail.example[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)";
            [
                ("the address is refused", Verification::new(AddressStatus::Undeliverable, refused)),
                ("nobody knows yet", Verification::in_progress()),
            ]
            .map(|(words, found)| (words.to_owned(), Answer::Verify(found)))
            .into()
        }
        Question::Sleep { .. } => Vec::new(),
    }
}
