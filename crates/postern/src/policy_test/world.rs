//! Who answers when a case is played: what the case gives, then the configuration's tables.

use super::file::{Entries, Given, Says};
use crate::daemon::site::Site;
use crate::record::service_name;
use crate::rehearsal::Zone;
use policy::{Answer, PolicyService, Question, TableId, Verification, World};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tables::TableSet;

/// A value, or `None` for what fails.
type Value = Option<Arc<str>>;

/// What stands in for tables and policy services.
#[derive(Clone, Default)]
pub struct Overrides {
    tables: HashMap<u32, BTreeMap<String, Value>>,
    policy: BTreeMap<String, Vec<Value>>,
    verify: BTreeMap<String, Verification>,
}

impl Overrides {
    /// With more tables and answers.
    ///
    /// # Errors
    /// A table that the configuration doesn't have, or what is neither a value nor a failure.
    pub fn with(
        mut self,
        site: &Site,
        tables: &BTreeMap<String, Entries>,
        policy: &BTreeMap<String, Says>,
        verify: &BTreeMap<String, Given>,
    ) -> Result<Self, String> {
        for (spec, entries) in tables {
            let ids = [true, false].map(|fold| site.tables.id(spec, fold));
            if ids.iter().all(Option::is_none) {
                return Err(format!("the configuration names no table \"{spec}\""));
            }
            for id in ids.into_iter().flatten() {
                let own = self.tables.entry(id).or_default();
                for (key, given) in entries {
                    own.insert(key.clone(), value(spec, given)?);
                }
            }
        }
        for (name, says) in policy {
            let actions = match says {
                Says::Always(given) => std::slice::from_ref(given),
                Says::InTurn(all) => all.as_slice(),
            };
            let actions = actions.iter().map(|given| value(name, given)).collect::<Result<Vec<_>, _>>()?;
            self.policy.insert(name.clone(), actions);
        }
        for (address, given) in verify {
            let found = match value(address, given)? {
                None => Verification::unavailable(),
                Some(told) => Verification::parse(&told).ok_or_else(|| {
                    format!(
                        "{address}: \"{told}\": write deliverable, undeliverable: why, deferred: why, or in progress"
                    )
                })?,
            };
            self.verify.insert(address.clone(), found);
        }
        Ok(self)
    }
}

fn value(of: &str, given: &Given) -> Result<Value, String> {
    match given {
        Given::Text(text) => Ok(Some(text.as_str().into())),
        Given::Works(false) => Ok(None),
        Given::Works(true) => Err(format!("{of}: true says nothing: write a text, or false for what fails")),
    }
}

/// The world of one case.
pub struct CaseWorld<'a> {
    tables: &'a TableSet,
    pub(super) zone: &'a Zone,
    overrides: &'a Overrides,
    /// How often each policy service was asked.
    turns: HashMap<Arc<str>, usize>,
}

impl<'a> CaseWorld<'a> {
    /// With these tables, DNS records and answers.
    pub fn new(tables: &'a TableSet, zone: &'a Zone, overrides: &'a Overrides) -> Self {
        Self { tables, zone, overrides, turns: HashMap::new() }
    }

    fn table(&self, id: u32, key: &str) -> Option<Answer> {
        let found = match self.overrides.tables.get(&id) {
            Some(entries) => match entries.get(key) {
                Some(None) => Err(format!("{}: the case lets it fail", self.spec(id)).into()),
                found => Ok(found.cloned().flatten()),
            },
            None => self.tables.lookup_now(id, key)?.map_err(|error| error.text().clone()),
        };
        Some(Answer::Table(found))
    }

    fn spec(&self, id: u32) -> &str {
        self.tables.spec(id).map_or("table", |spec| spec)
    }

    fn policy(&mut self, service: &PolicyService) -> Option<Answer> {
        let name = service_name(service);
        let actions = self.overrides.policy.get(&*name).or_else(|| self.overrides.policy.get(&*service.name))?;
        let turn = self.turns.entry(name.as_ref().into()).or_default();
        let action = actions.get(*turn).or(actions.last())?;
        *turn += 1;
        Some(Answer::PolicyService(
            action
                .clone()
                .ok_or_else(|| format!("problem talking to server {}: the case lets it fail", service.server()).into()),
        ))
    }
}

impl World for CaseWorld<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        match question {
            Question::Table { table: TableId(id), key } => self.table(*id, key),
            Question::Dns { rtype, name } => Some(Answer::Dns(Arc::new(self.zone.query(*rtype, name)))),
            Question::PeerName(address) => Some(Answer::PeerName(self.zone.peer(*address))),
            Question::Sleep { .. } => Some(Answer::Done),
            Question::PolicyService { service, .. } => self.policy(service),
            Question::Verify { address, .. } => self.overrides.verify.get(&**address).cloned().map(Answer::Verify),
        }
    }
}
