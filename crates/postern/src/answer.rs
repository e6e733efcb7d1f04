//! Who answers the questions of a decision: tables from memory, DNS from the cache or the network, sleeps from the clock.

use crate::dns::Resolver;
use crate::gateway::GatewayWatch;
use crate::maillog::Log;
use crate::verify::Verifier;
use crate::{lookup, policy_service};
use policy::{Answer, PeerName, Question, TableId, Verification, World};
use std::sync::Arc;
use std::time::Duration;
use tables::TableSet;

/// The world as one event loop sees it.
#[derive(Clone)]
pub struct Answerer {
    /// The configuration's tables.
    pub tables: Arc<TableSet>,
    /// The loop's DNS client.
    pub resolver: Arc<Resolver>,
    /// `smtpd_peername_lookup = no`: nobody has a name.
    pub peername_lookup: bool,
    /// Where to log what isn't part of a decision, and under which name.
    pub log: Option<(Log, Arc<str>)>,
    /// Who verifies addresses, if anybody does.
    pub verifier: Option<Arc<Verifier>>,
    /// Who watches the gateways, and as which table that is asked.
    pub gateways: Option<(TableId, Arc<GatewayWatch>)>,
}

impl World for Answerer {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        match question {
            Question::Table { table, key } if self.gateways.as_ref().is_some_and(|(asked, _)| asked == table) => {
                let address = key.parse().ok();
                let is_there = |(_, watch): &(_, Arc<GatewayWatch>)| address.is_some_and(|it| watch.is_distrusted(it));
                let found = self.gateways.as_ref().is_some_and(is_there);
                Some(Answer::Table(Ok(found.then(|| "distrusted".into()))))
            }
            Question::Table { table, key } => {
                let found = self.tables.lookup_now(table.0, key)?;
                Some(Answer::Table(found.map_err(|error| error.text().clone())))
            }
            Question::Dns { rtype, name } => self.resolver.cached(name, *rtype).map(Answer::Dns),
            Question::PeerName(_) if !self.peername_lookup => {
                Some(Answer::PeerName(PeerName::unknown(policy::PeerStatus::Permanent)))
            }
            Question::PeerName(address) => self.resolver.cached_peer(*address).map(|p| Answer::PeerName(p.name)),
            Question::Verify { address, .. } => self.verifier.as_ref()?.known(address).map(Answer::Verify),
            Question::Sleep { .. } | Question::PolicyService { .. } => None,
        }
    }
}

impl Answerer {
    /// Fetch what has to be waited for.
    pub async fn fetch(&self, question: &Question) -> Answer {
        match question {
            Question::Dns { rtype, name } => Answer::Dns(self.resolver.query(name, *rtype).await),
            Question::PeerName(address) => Answer::PeerName(self.resolver.peer(*address).await.name),
            Question::Sleep { seconds, .. } => {
                tokio::time::sleep(Duration::from_secs(u64::from(*seconds))).await;
                Answer::Done
            }
            Question::PolicyService { service, request, .. } => {
                let asked = policy_service::ask(service, request, &self.resolver).await;
                if let Some((log, tag)) = &self.log {
                    asked.notices.iter().for_each(|line| log.line(tag, line));
                }
                Answer::PolicyService(asked.action)
            }
            Question::Verify { address, patience, .. } => Answer::Verify(match &self.verifier {
                Some(verifier) => verifier.verify(address, *patience).await,
                None => Verification::unavailable(),
            }),
            Question::Table { table, key } => {
                let found = lookup::find(&self.tables, table.0, key).await;
                Answer::Table(found.map_err(|error| error.text().clone()))
            }
        }
    }

    /// Fetch all of them at once: the wait is for the slowest, not for the sum.
    pub async fn fetch_all(&self, questions: Vec<Question>) -> Vec<(Question, Answer)> {
        let answers = futures_util::future::join_all(questions.iter().map(|q| self.fetch(q))).await;
        questions.into_iter().zip(answers).collect()
    }
}
