//! Changes to an envelope that was expanded already: what Milters want at the end of a message.

use super::{Envelope, Expansion, InRecipient, OutRecipient, Work};
use crate::addresses::Role;
use crate::config::CleanupConfig;
use crate::lookup::Lookup;

impl Expansion {
    /// One recipient more, mapped and expanded as if the client had named it.
    pub fn add_recipient(
        &mut self,
        config: &CleanupConfig,
        envelope: &Envelope<'_>,
        recipient: &InRecipient,
        lookup: &mut dyn Lookup,
    ) {
        let Some(rules) = &config.addresses else {
            let InRecipient { address, notify, orcpt } = recipient;
            return self.add(usize::MAX, address.clone(), address, *notify, orcpt);
        };
        Work::new(rules, envelope, lookup, self).recipient(recipient);
    }

    /// Recipients more that get no reports.
    pub fn add_bcc(
        &mut self,
        config: &CleanupConfig,
        envelope: &Envelope<'_>,
        addresses: &[String],
        lookup: &mut dyn Lookup,
    ) {
        let Some(rules) = &config.addresses else { return };
        let mut work = Work::new(rules, envelope, lookup, self);
        addresses.iter().for_each(|address| work.bcc(address));
    }

    /// Those recipients less that were named so: what an alias became goes with the alias.
    pub fn remove_recipient(&mut self, address: &str) {
        let named = |recipient: &OutRecipient| {
            let name = if recipient.orig_to.is_empty() { &recipient.address } else { &recipient.orig_to };
            name.eq_ignore_ascii_case(address)
        };
        self.recipients.retain(|recipient| !named(recipient));
        // They may be added again.
        let address = address.to_lowercase();
        self.seen.retain(|(orig_to, target, ..)| {
            let name = if orig_to.is_empty() { target } else { orig_to };
            *name != address
        });
    }

    /// Another sender, mapped as if the client had named it.
    pub fn change_sender(
        &mut self,
        config: &CleanupConfig,
        envelope: &Envelope<'_>,
        address: &str,
        lookup: &mut dyn Lookup,
    ) {
        address.clone_into(&mut self.sender);
        let Some(rules) = config.addresses.as_ref().filter(|_| !address.is_empty()) else { return };
        let mut work = Work::new(rules, envelope, lookup, self);
        let sender = work.standard(address, Role::EnvelopeSender);
        self.sender = sender;
    }

    /// One recipient in place of all.
    pub fn redirect(&mut self, config: &CleanupConfig, target: &str) {
        let Some(rules) = &config.addresses else { return };
        // As in the queue manager, which sorts recipients, the first in order lends its other data.
        let Some(mut first) = std::mem::take(&mut self.recipients).into_iter().min_by(|a, b| a.address.cmp(&b.address))
        else {
            return;
        };
        first.address = rules.internal(target);
        self.recipients.push(first);
    }
}
