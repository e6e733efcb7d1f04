//! The world in which an attack is rehearsed: the real tables, the stranger's DNS, and policy services without an opinion.

use crate::rehearsal::Zone;
use policy::prove::{Keys, TableContents, TableEntry};
use policy::{
    AddressStatus, Answer, DnsAnswer, DnsStatus, PeerName, PeerStatus, Question, TableId, Verification, World,
};
use std::collections::HashMap;
use std::sync::Arc;
use tables::{KeyForm, TableSet};

/// What tables hold.
pub struct Listed<'a> {
    tables: &'a TableSet,
    known: HashMap<TableId, Option<Vec<TableEntry>>>,
}

impl<'a> Listed<'a> {
    /// Of these tables.
    pub fn new(tables: &'a TableSet) -> Self {
        Self { tables, known: HashMap::new() }
    }
}

impl TableContents for Listed<'_> {
    fn contents(&mut self, table: TableId) -> Option<Vec<TableEntry>> {
        let tables = self.tables;
        self.known.entry(table).or_insert_with(|| list(tables, table)).clone()
    }
}

fn list(tables: &TableSet, table: TableId) -> Option<Vec<TableEntry>> {
    let entry = |content: tables::Content| TableEntry {
        keys: match content.key {
            KeyForm::Text(key) => Keys::Text(key),
            KeyForm::Every => Keys::Every,
            KeyForm::Addresses(first, last) => Keys::Addresses(first, last),
            KeyForm::Pattern { expression, negated } => Keys::Pattern { expression, negated },
        },
        value: content.value,
        end: content.end,
    };
    Some(tables.get(table.0)?.contents()?.into_iter().map(entry).collect())
}

/// Everything answers at once.
pub struct Stage<'a> {
    /// The tables as they are.
    pub tables: &'a TableSet,
    /// The DNS; `None`: no name is found.
    pub zone: Option<&'a Zone>,
    /// Policy services that were asked; nobody knows what they answer.
    pub services: Vec<Arc<str>>,
}

impl<'a> Stage<'a> {
    /// With this DNS.
    pub fn new(tables: &'a TableSet, zone: Option<&'a Zone>) -> Self {
        Self { tables, zone, services: Vec::new() }
    }
}

impl World for Stage<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        Some(match question {
            Question::Table { table, key } => {
                Answer::Table(self.tables.lookup(table.0, key).map_err(|error| error.text().clone()))
            }
            Question::Dns { rtype, name } => Answer::Dns(Arc::new(match self.zone {
                Some(zone) => zone.query(*rtype, name),
                None => {
                    let text = crate::dns::failure_text(name, *rtype, "Host not found");
                    DnsAnswer::failed(DnsStatus::NotFound, text)
                }
            })),
            Question::PeerName(address) => Answer::PeerName(match self.zone {
                Some(zone) => zone.peer(*address),
                None => PeerName::unknown(PeerStatus::Permanent),
            }),
            Question::Sleep { .. } => Answer::Done,
            // Of their own address strangers say what they like.
            Question::Verify { .. } => Answer::Verify(Verification::new(AddressStatus::Deliverable, "")),
            Question::PolicyService { service, .. } => {
                if !self.services.contains(&service.name) {
                    self.services.push(service.name.clone());
                }
                Answer::PolicyService(Ok("dunno".into()))
            }
        })
    }
}
