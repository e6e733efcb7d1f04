//! The answers of the past.

use crate::record::{Ask, Bound, Record, StoredAnswer, TYPES, dns_status, service_name};
use policy::{
    AddressStatus, Answer, DnsAnswer, DnsRecord, DnsStatus, Facts, PeerName, PeerStatus, Question, RecordType, TableId,
    Verification, World,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tables::TableSet;

/// So many gaps are named for one decision.
const GAPS: usize = 20;

/// What the record has; tables are asked anew.
pub struct Recorded<'a> {
    record: &'a Record<Bound>,
    facts: &'a Facts,
    tables: &'a TableSet,
    /// Questions that nobody asked then.
    pub gaps: Vec<String>,
    /// How often each policy service was asked.
    turns: HashMap<Arc<str>, usize>,
}

impl<'a> Recorded<'a> {
    /// The world of one decision.
    pub fn new(record: &'a Record<Bound>, facts: &'a Facts, tables: &'a TableSet) -> Self {
        Self { record, facts, tables, gaps: Vec::new(), turns: HashMap::new() }
    }

    fn gap(&mut self, question: impl FnOnce() -> String) {
        if self.gaps.len() < GAPS {
            self.gaps.push(question());
        }
    }

    fn table(&mut self, id: u32, key: &str) -> Answer {
        if let Some(found) = self.tables.lookup_now(id, key) {
            return Answer::Table(found.map_err(|error| error.text().clone()));
        }
        let spec = self.tables.spec(id).cloned().unwrap_or_else(|| "?".into());
        for ask in &self.record.asked {
            if let Ask::Table(table, known, found) = ask
                && *table == spec
                && known == key
            {
                return Answer::Table(match found {
                    Ok(value) => Ok(value.as_deref().map(Into::into)),
                    Err(reason) => Err(reason.as_str().into()),
                });
            }
        }
        self.gap(|| format!("{spec} \"{key}\""));
        Answer::Table(Ok(None))
    }

    fn dns(&mut self, rtype: RecordType, name: &Arc<str>) -> Answer {
        let known = self.record.asked.iter().find_map(|ask| match ask {
            Ask::Dns(number, known, answer) if **known == **name && TYPES.get(usize::from(*number)) == Some(&rtype) => {
                Some(answer)
            }
            _ => None,
        });
        let missing = |what: &str| DnsAnswer::failed(DnsStatus::NotFound, crate::dns::failure_text(name, rtype, what));
        let answer = match known {
            None => {
                self.gap(|| format!("DNS {} {name}", rtype.word()));
                missing("Host not found")
            }
            Some(StoredAnswer::Missing(false)) => missing("Host not found"),
            Some(StoredAnswer::Missing(true)) => missing("Host found but no data record of requested type"),
            Some(StoredAnswer::Failed(status, reason)) => DnsAnswer::failed(dns_status(*status), reason.clone()),
            Some(StoredAnswer::Addresses(all)) => found(all.iter().map(|address| DnsRecord::Address(*address))),
            Some(StoredAnswer::Mx(all)) => {
                found(all.iter().map(|(preference, host)| DnsRecord::Mx(*preference, host.as_str().into())))
            }
            Some(StoredAnswer::Names(all)) => found(all.iter().map(|name| DnsRecord::Name(name.as_str().into()))),
            Some(StoredAnswer::Texts(all)) => found(all.iter().map(|text| DnsRecord::Txt(text.as_str().into()))),
        };
        Answer::Dns(Arc::new(answer))
    }

    fn verification(&mut self, address: &str) -> Answer {
        let known = self.record.asked.iter().find_map(|ask| match ask {
            Ask::Verify(known, told) if known == address => Verification::parse(told),
            _ => None,
        });
        Answer::Verify(known.unwrap_or_else(|| {
            self.gap(|| format!("verification of <{address}>"));
            Verification::new(AddressStatus::Deliverable, "")
        }))
    }

    fn names(&self, address: IpAddr) -> PeerName {
        match &self.facts.client.name {
            Some(names) if self.facts.client.address == Some(address) => names.clone(),
            _ => PeerName::unknown(PeerStatus::Permanent),
        }
    }
}

fn found(records: impl Iterator<Item = DnsRecord>) -> DnsAnswer {
    let records: Vec<_> = records.collect();
    let ttls = vec![300; records.len()];
    DnsAnswer::found(records, ttls)
}

impl World for Recorded<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        Some(match question {
            Question::Table { table: TableId(id), key } => self.table(*id, key),
            Question::Dns { rtype, name } => self.dns(*rtype, name),
            Question::PeerName(address) => Answer::PeerName(self.names(*address)),
            Question::Sleep { .. } => Answer::Done,
            Question::Verify { address, .. } => self.verification(address),
            Question::PolicyService { service, .. } => {
                let name = service_name(service);
                let known = self.record.asked.iter().filter_map(|ask| match ask {
                    Ask::Policy(known, action) if **known == *name => Some(action),
                    _ => None,
                });
                // Asked more often than then: what it said last.
                let turn = self.turns.entry(name.as_ref().into()).or_default();
                let known = known.clone().nth(*turn).or(known.clone().next_back());
                *turn += 1;
                match known {
                    Some(Ok(action)) => Answer::PolicyService(Ok(action.as_str().into())),
                    Some(Err(reason)) => Answer::PolicyService(Err(reason.as_str().into())),
                    None => {
                        self.gap(|| format!("policy service {}", service.name));
                        Answer::PolicyService(Ok("dunno".into()))
                    }
                }
            }
        })
    }
}
