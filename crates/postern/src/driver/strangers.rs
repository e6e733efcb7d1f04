//! Transactions as the lost-client-address alarm sees them.

use super::conversation::Conversation;
use crate::clock::now_ms;
use crate::gateway::Stranger;
use policy::{Ask, Ledger};
use std::sync::Arc;

impl Conversation {
    /// A recipient was decided on: the first one of a transaction tells where strangers come from.
    pub(super) async fn watch_strangers(&mut self) {
        let (Some(address), false) = (self.client.address, self.transaction.is_watched) else { return };
        self.transaction.is_watched = true;
        if self.session.login().is_some() || self.session.forwarded().is_some() {
            return;
        }
        let service = Arc::clone(&self.service);
        if service.mynetworks.needs_name() && self.client.name.is_none() {
            return;
        }
        if !self.matches(&service.mynetworks).await {
            return self.worker.gateways.outsider(now_ms());
        }
        let facts = self.facts();
        let (Some(sender), Some(recipient)) = (&facts.sender, &facts.recipient) else { return };
        let Some((_, domain)) = sender.rsplit_once('@') else { return };
        if self.is_ours(sender) != Some(false) || self.is_ours(recipient) != Some(true) {
            return;
        }
        let stranger = Stranger { address, helo: facts.helo.as_deref().unwrap_or_default(), domain };
        if let Some(told) = self.worker.gateways.stranger(stranger, service.distrusts_gateways, now_ms()) {
            self.worker.log.warning(&service.tag, &told);
        }
    }

    /// Is mail for this address taken from anybody? Nothing where a table would have to be waited for.
    fn is_ours(&mut self, address: &str) -> Option<bool> {
        let service = Arc::clone(&self.service);
        // What is asked here is no part of any decision.
        let mut ledger = Ledger::default();
        let mut ask = Ask { ledger: &mut ledger, world: &mut self.answerer };
        service.routing.resolve("", address, &mut ask).ok().map(|resolved| resolved.class.is_authorized())
    }

    /// Has the client an address that turned out to be no client's?
    pub(super) fn is_distrusted(&self) -> bool {
        let distrusts = self.service.distrusts_gateways;
        distrusts && self.client.address.is_some_and(|address| self.worker.gateways.is_distrusted(address))
    }
}
