//! The envelope on its way in: canonical mapping, masquerading, virtual aliases, automatic BCC and redirection.

use crate::addresses::{AddressRules, Failed, Notes, Role, lookup_problem, unreasonable};
use crate::cleanup::{Effects, RewriteContext, WRITE_ERROR};
use crate::config::CleanupConfig;
use crate::log::LogLine;
use crate::lookup::Lookup;
use policy::AddressMaps;
use smtp::server::Notify;
use std::collections::HashSet;

mod changes;

/// After an alias was expanded, success has been reported.
fn without_success(notify: Notify) -> Notify {
    let rest = Notify::from_bits(notify.bits() & (Notify::FAILURE.bits() | Notify::DELAY.bits()));
    if rest.is_empty() { Notify::NEVER } else { rest }
}

/// A recipient as the session took it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InRecipient {
    /// Address in internal (unquoted) form.
    pub address: String,
    /// `NOTIFY=`.
    pub notify: Notify,
    /// `ORCPT=`, as in `rfc822;user@example.com`; empty when not given.
    pub orcpt: String,
}

/// A recipient to deliver to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutRecipient {
    /// Address in internal form.
    pub address: String,
    /// The address as the client gave it (`orig_to=`).
    pub orig_to: String,
    /// `NOTIFY=`.
    pub notify: Notify,
    /// `ORCPT=`.
    pub orcpt: String,
}

/// The envelope as the session took it.
#[derive(Clone, Debug, Default)]
pub struct Envelope<'a> {
    /// Queue id, for log lines.
    pub queue_id: &'a str,
    /// Sender in internal form; empty: `<>`.
    pub sender: &'a str,
    /// Recipients in order.
    pub recipients: &'a [InRecipient],
    /// Addresses of BCC actions in access tables and policy answers, in order.
    pub bcc: &'a [String],
    /// False with `receive_override_options = no_address_mappings`.
    pub mappings: bool,
    /// The program has made the message: `always_bcc` and its like add nobody.
    pub is_ours: bool,
}

/// The envelope as it goes to the queue.
#[derive(Clone, Debug, Default)]
pub struct Expansion {
    /// Sender in internal form.
    pub sender: String,
    /// Recipients in order.
    pub recipients: Vec<OutRecipient>,
    /// Recipients with `NOTIFY=SUCCESS` whose alias was expanded: they are due a success report (`alias expanded`).
    pub alias_expanded: Vec<OutRecipient>,
    /// The last recipient after canonical mapping, for content log lines.
    pub last_recipient: Option<String>,
    /// Log lines in order.
    pub log: Vec<LogLine>,
    /// The reply at end of data, when the envelope can't be queued.
    pub refusal: Option<String>,
    /// What was seen already: original and final address, NOTIFY and ORCPT.
    seen: HashSet<(String, String, Notify, String)>,
}

/// Map and expand the envelope, before the content is looked at.
pub fn expand(config: &CleanupConfig, envelope: &Envelope<'_>, lookup: &mut dyn Lookup) -> Expansion {
    let mut expansion = Expansion { sender: envelope.sender.to_owned(), ..Expansion::default() };
    let Some(rules) = &config.addresses else {
        for recipient in envelope.recipients {
            expansion.last_recipient = Some(recipient.address.clone());
            expansion.add(
                usize::MAX,
                recipient.address.clone(),
                &recipient.address,
                recipient.notify,
                &recipient.orcpt,
            );
        }
        return expansion;
    };
    let mut work = Work::new(rules, envelope, lookup, &mut expansion);
    work.sender();
    for recipient in envelope.recipients {
        let address = work.recipient(recipient);
        work.to.last_recipient = Some(address);
    }
    for address in envelope.bcc {
        let recipient = InRecipient { address: address.clone(), notify: Notify::NEVER, orcpt: String::new() };
        work.recipient(&recipient);
    }
    expansion
}

impl Expansion {
    /// Add what is known only after the content: `always_bcc`, BCC and REDIRECT actions.
    pub fn complete(
        &mut self,
        config: &CleanupConfig,
        envelope: &Envelope<'_>,
        effects: &Effects,
        lookup: &mut dyn Lookup,
    ) {
        let Some(rules) = &config.addresses else { return };
        let mut work = Work::new(rules, envelope, lookup, self);
        if work.mappings && !work.is_ours && !rules.always_bcc.is_empty() && work.to.last_recipient.is_some() {
            work.bcc(&rules.always_bcc);
        }
        for address in &effects.bcc {
            work.bcc(address);
        }
        if let Some(target) = effects.redirect.as_deref().filter(|_| self.refusal.is_none()) {
            self.redirect(config, target);
        }
    }

    fn add(&mut self, limit: usize, address: String, orig_to: &str, notify: Notify, orcpt: &str) {
        let key = (orig_to.to_lowercase(), address.to_lowercase(), notify, orcpt.to_owned());
        if self.seen.contains(&key) {
            return;
        }
        if self.seen.len() < limit {
            self.seen.insert(key);
        }
        self.recipients.push(OutRecipient { address, orig_to: orig_to.to_owned(), notify, orcpt: orcpt.to_owned() });
    }
}

/// One envelope under work.
struct Work<'a> {
    rules: &'a AddressRules,
    queue_id: &'a str,
    mappings: bool,
    is_ours: bool,
    lookup: &'a mut dyn Lookup,
    to: &'a mut Expansion,
}

impl<'a> Work<'a> {
    fn new(
        rules: &'a AddressRules,
        envelope: &Envelope<'a>,
        lookup: &'a mut dyn Lookup,
        to: &'a mut Expansion,
    ) -> Self {
        let Envelope { queue_id, mappings, is_ours, .. } = *envelope;
        Self { rules, queue_id, mappings, is_ours, lookup, to }
    }
}

impl Work<'_> {
    fn refuse(&mut self, reply: &str) {
        self.to.refusal.get_or_insert_with(|| reply.to_owned());
    }

    fn standard(&mut self, address: &str, role: Role) -> String {
        let address = self.rules.rewrite(address, RewriteContext::Local);
        if !self.mappings {
            return address;
        }
        let mut notes = Notes::new(self.queue_id);
        let address = self.rules.canonical(address, role, self.lookup, &mut notes);
        self.to.log.append(&mut notes.log);
        if notes.failed {
            self.refuse(WRITE_ERROR);
        }
        address
    }

    fn sender(&mut self) {
        if self.to.sender.is_empty() {
            return;
        }
        let given = std::mem::take(&mut self.to.sender);
        self.to.sender = self.standard(&given, Role::EnvelopeSender);
        // replies to what autoresponders and other mailers call the mailer daemon go nowhere
        let daemon = self.rules.rewrite("MAILER-DAEMON", RewriteContext::Local);
        if daemon.contains('@') && self.to.sender.eq_ignore_ascii_case(&daemon) {
            self.to.sender.clear();
        }
        let sender = self.to.sender.clone();
        self.automatic_bcc(&self.rules.sender_bcc_maps, &sender);
    }

    /// One recipient; its address after canonical mapping comes back.
    fn recipient(&mut self, given: &InRecipient) -> String {
        if self.to.refusal.is_some() {
            return given.address.clone();
        }
        let wanted = match given.address.as_str() {
            "" => self.rules.empty_address_recipient.as_str(),
            address => address,
        };
        let address = self.standard(wanted, Role::EnvelopeRecipient);
        self.deliver(&address, &given.address, given.notify, &given.orcpt);
        self.automatic_bcc(&self.rules.recipient_bcc_maps, &address);
        address
    }

    /// `sender_bcc_maps` or `recipient_bcc_maps`.
    fn automatic_bcc(&mut self, maps: &AddressMaps, address: &str) {
        if !self.mappings || self.is_ours || self.to.refusal.is_some() {
            return;
        }
        match self.rules.find(maps, address, self.lookup) {
            Ok(Some(found)) => self.bcc(&found.value),
            Ok(None) => {}
            Err(Failed) => {
                let text = "map lookup problem -- message not accepted, try again later";
                self.to.log.push(LogLine::warning(format!("{}: {} {text}", self.queue_id, maps.name())));
                self.refuse(WRITE_ERROR);
            }
        }
    }

    /// A recipient that we add: it gets no delivery reports, and no BCC of its own.
    fn bcc(&mut self, target: &str) {
        if self.to.refusal.is_some() {
            return;
        }
        let address = self.standard(&smtp::address::unquote_local(target.trim()), Role::EnvelopeRecipient);
        self.deliver(&address, &address, Notify::NEVER, "");
    }

    /// Expand aliases and note down what comes out.
    fn deliver(&mut self, address: &str, orig_to: &str, notify: Notify, orcpt: &str) {
        let orig_to = if self.rules.enable_original_recipient { orig_to } else { "" };
        let limit = self.rules.duplicate_filter_limit;
        if !self.mappings || self.rules.virtual_alias_maps.is_empty() {
            return self.to.add(limit, address.to_owned(), orig_to, notify, orcpt);
        }
        let targets = self.aliases(address);
        let mut notify = notify;
        if notify.contains(Notify::SUCCESS) && targets.iter().any(|target| target != address) {
            let original = OutRecipient {
                address: address.to_owned(),
                orig_to: orig_to.to_owned(),
                notify,
                orcpt: orcpt.to_owned(),
            };
            self.to.alias_expanded.push(original);
            notify = without_success(notify);
        }
        for target in targets {
            self.to.add(limit, target, orig_to, notify, orcpt);
        }
    }

    /// The addresses an alias stands for, the address itself if it is none (virtual(5)).
    fn aliases(&mut self, address: &str) -> Vec<String> {
        let (rules, maps) = (self.rules, &self.rules.virtual_alias_maps);
        let mut found = vec![address.to_owned()];
        // Addresses that expanded to themselves are not expanded again.
        let mut final_addresses: HashSet<String> = HashSet::new();
        let mut index = 0;
        while index < found.len() {
            if found.len() > rules.limits.expansion {
                return self.give_up(unreasonable(self.queue_id, maps.name(), "expansion size", address), address);
            }
            let mut depth = 0;
            while !final_addresses.contains(&found[index].to_lowercase()) {
                if depth >= rules.limits.recursion {
                    return self.give_up(unreasonable(self.queue_id, maps.name(), "nesting", address), address);
                }
                depth += 1;
                let targets = match rules.map(maps, &found[index], rules.propagate_virtual, self.lookup) {
                    Ok(Some(targets)) => targets,
                    Ok(None) => break,
                    Err(Failed) => {
                        self.to.log.push(lookup_problem(self.queue_id, maps.name(), &found[index]));
                        self.refuse(WRITE_ERROR);
                        return vec![address.to_owned()];
                    }
                };
                if let Some(long) = targets.iter().find(|target| target.len() > rules.limits.address_length) {
                    let start: String = long.chars().take(300).collect();
                    let title = maps.name();
                    let text =
                        format!("unreasonable {title} result {start}... -- message not accepted, try again later");
                    return self.give_up(LogLine::warning(format!("{}: {text}", self.queue_id)), address);
                }
                let current = found[index].to_lowercase();
                if targets.iter().any(|target| target.to_lowercase() == current) {
                    final_addresses.insert(current);
                }
                let mut targets = targets.into_iter();
                found[index] = targets.next().unwrap_or_default();
                found.extend(targets);
            }
            index += 1;
        }
        found
    }

    fn give_up(&mut self, line: LogLine, address: &str) -> Vec<String> {
        self.to.log.push(line);
        self.refuse("451 4.6.0 Alias expansion error");
        vec![address.to_owned()]
    }
}

#[cfg(test)]
mod tests;
