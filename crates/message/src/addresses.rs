//! Rules for addresses in envelopes and headers: standard form, canonical(5) maps, masquerading, and the parameters
//! of alias expansion and automatic BCC.

use crate::cleanup::RewriteContext;
use crate::log::LogLine;
use crate::lookup::Lookup;
use policy::{AddressMaps, Answer, Ask, Ledger, Question, Routing, Settings, Suspend, TableRegistry, World};
use smtp::address::{header, quote_local, split_domain, unquote_local};
use std::sync::Arc;

/// How often canonical maps are applied to their own result.
const CANONICAL_DEPTH: usize = 10;

/// Which addresses a mapping applies to (`canonical_classes`, `masquerade_classes` and the like).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// `envelope_sender`.
    pub envelope_sender: bool,
    /// `envelope_recipient`.
    pub envelope_recipient: bool,
    /// `header_sender`.
    pub header_sender: bool,
    /// `header_recipient`.
    pub header_recipient: bool,
}

impl Classes {
    /// The classes that a parameter names; unknown words are left to the configuration's own diagnostics.
    fn read(settings: &dyn Settings, name: &str) -> Self {
        let mut classes = Self::default();
        for word in settings.elements(name) {
            match word.as_str() {
                "envelope_sender" => classes.envelope_sender = true,
                "envelope_recipient" => classes.envelope_recipient = true,
                "header_sender" => classes.header_sender = true,
                "header_recipient" => classes.header_recipient = true,
                _ => {}
            }
        }
        classes
    }
}

/// Address masquerading: hosts hidden behind their domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masquerade {
    /// `masquerade_domains`, as written (`!domain` is left alone).
    pub domains: Vec<String>,
    /// `masquerade_exceptions`: user names left alone, in lower case.
    pub exceptions: Vec<String>,
    /// `masquerade_classes`.
    pub classes: Classes,
}

/// A map and the addresses it applies to.
#[derive(Clone, Debug)]
struct Mapping {
    maps: AddressMaps,
    classes: Classes,
}

/// What an address is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    EnvelopeSender,
    EnvelopeRecipient,
    HeaderSender,
    HeaderRecipient,
}

impl Classes {
    fn has(self, role: Role) -> bool {
        match role {
            Role::EnvelopeSender => self.envelope_sender,
            Role::EnvelopeRecipient => self.envelope_recipient,
            Role::HeaderSender => self.header_sender,
            Role::HeaderRecipient => self.header_recipient,
        }
    }
}

/// An entry of an address map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub value: Arc<str>,
    /// The extension that was left out to find it.
    pub extension: Option<String>,
}

/// A table could not be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed;

/// What a mapping leaves besides its result.
#[derive(Debug)]
pub(crate) struct Notes<'a> {
    /// For log lines.
    pub queue_id: &'a str,
    /// Log lines.
    pub log: Vec<LogLine>,
    /// A table failed: the message can't be accepted now.
    pub failed: bool,
}

impl<'a> Notes<'a> {
    pub fn new(queue_id: &'a str) -> Self {
        Self { queue_id, log: Vec::new(), failed: false }
    }
}

/// Limits of alias expansion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExpansionLimits {
    /// `virtual_alias_recursion_limit`.
    pub recursion: usize,
    /// `virtual_alias_expansion_limit`.
    pub expansion: usize,
    /// `virtual_alias_address_length_limit`.
    pub address_length: usize,
}

/// Rewriting and mapping of addresses, as one service has it configured.
#[derive(Clone, Debug)]
pub struct AddressRules {
    routing: Routing,
    remote: RemoteForm,
    sender_canonical: Mapping,
    recipient_canonical: Mapping,
    canonical: Mapping,
    propagate_canonical: bool,
    masquerade: Masquerade,
    pub(crate) propagate_virtual: bool,
    pub(crate) virtual_alias_maps: AddressMaps,
    pub(crate) limits: ExpansionLimits,
    pub(crate) always_bcc: String,
    pub(crate) sender_bcc_maps: AddressMaps,
    pub(crate) recipient_bcc_maps: AddressMaps,
    pub(crate) duplicate_filter_limit: usize,
    pub(crate) enable_original_recipient: bool,
    pub(crate) empty_address_recipient: String,
}

/// What is incomplete in headers of remote clients is completed with another domain than our own.
#[derive(Clone, Debug)]
struct RemoteForm {
    /// `remote_header_rewrite_domain`.
    domain: String,
    mydomain: String,
    append_at_myorigin: bool,
    append_dot_mydomain: bool,
}

impl RemoteForm {
    fn rewrite(&self, address: &str, routing: &Routing) -> String {
        if self.append_at_myorigin && !address.contains(['@', '!', '%']) {
            return format!("{address}@{}", self.domain);
        }
        let local = routing.rewrite(address);
        if !self.append_dot_mydomain || address.trim_end_matches('.').ends_with(&self.mydomain) {
            return local;
        }
        match local.strip_suffix(&self.mydomain) {
            Some(host) if host.ends_with('.') => format!("{host}{}", self.domain),
            _ => local,
        }
    }
}

impl AddressRules {
    /// Read the parameters of a service.
    pub fn compile(settings: &dyn Settings, tables: &mut TableRegistry) -> Self {
        let mapping = |name: &str, tables: &mut TableRegistry| Mapping {
            maps: AddressMaps::compile(&format!("{name}_maps"), settings, tables),
            classes: Classes::read(settings, &format!("{name}_classes")),
        };
        let size = |name: &str| settings.int(name).and_then(|value| usize::try_from(value).ok()).unwrap_or(1000);
        let propagate = settings.elements("propagate_unmatched_extensions");
        let text = |name: &str| settings.get(name).trim().to_owned();
        Self {
            routing: Routing::compile(settings, tables).0,
            remote: RemoteForm {
                domain: text("remote_header_rewrite_domain"),
                mydomain: text("mydomain"),
                append_at_myorigin: settings.bool("append_at_myorigin"),
                append_dot_mydomain: settings.bool("append_dot_mydomain"),
            },
            sender_canonical: mapping("sender_canonical", tables),
            recipient_canonical: mapping("recipient_canonical", tables),
            canonical: mapping("canonical", tables),
            propagate_canonical: propagate.iter().any(|word| word == "canonical"),
            masquerade: Masquerade {
                domains: settings.elements("masquerade_domains"),
                exceptions: settings.elements("masquerade_exceptions").iter().map(|name| name.to_lowercase()).collect(),
                classes: Classes::read(settings, "masquerade_classes"),
            },
            propagate_virtual: propagate.iter().any(|word| word == "virtual"),
            virtual_alias_maps: AddressMaps::compile("virtual_alias_maps", settings, tables),
            limits: ExpansionLimits {
                recursion: size("virtual_alias_recursion_limit"),
                expansion: size("virtual_alias_expansion_limit"),
                address_length: size("virtual_alias_address_length_limit"),
            },
            always_bcc: text("always_bcc"),
            sender_bcc_maps: AddressMaps::compile("sender_bcc_maps", settings, tables),
            recipient_bcc_maps: AddressMaps::compile("recipient_bcc_maps", settings, tables),
            duplicate_filter_limit: size("duplicate_filter_limit"),
            enable_original_recipient: settings.bool("enable_original_recipient"),
            empty_address_recipient: text("empty_address_recipient"),
        }
    }

    /// The standard form of an address (internal form, before and after).
    pub(crate) fn rewrite(&self, address: &str, context: RewriteContext) -> String {
        match context {
            RewriteContext::Local => self.routing.rewrite(address),
            RewriteContext::Remote => self.remote.rewrite(address, &self.routing),
        }
    }

    /// The entry of an address in a map.
    pub(crate) fn find(
        &self,
        maps: &AddressMaps,
        address: &str,
        lookup: &mut dyn Lookup,
    ) -> Result<Option<Entry>, Failed> {
        self.found(maps, address, lookup, Routing::find_address)
    }

    fn found(
        &self,
        maps: &AddressMaps,
        address: &str,
        lookup: &mut dyn Lookup,
        find: fn(&Routing, &AddressMaps, &str, &mut Ask<'_>) -> Result<policy::Lookup, Suspend>,
    ) -> Result<Option<Entry>, Failed> {
        if maps.is_empty() || address.is_empty() {
            return Ok(None);
        }
        let mut ask = Ask { ledger: &mut Ledger::default(), world: &mut Tables(lookup) };
        match find(&self.routing, maps, address, &mut ask) {
            Ok(policy::Lookup::Found { value, extension, .. }) => Ok(Some(Entry { value, extension })),
            Ok(policy::Lookup::NotFound) => Ok(None),
            Ok(policy::Lookup::Failed(_) | policy::Lookup::Broken(_)) | Err(_) => Err(Failed),
        }
    }

    /// What a map makes of an address, one step: the addresses of its entry in standard form, extensions carried over.
    pub(crate) fn map(
        &self,
        maps: &AddressMaps,
        address: &str,
        propagate: bool,
        lookup: &mut dyn Lookup,
    ) -> Result<Option<Vec<String>>, Failed> {
        let found = self.found(maps, address, lookup, Routing::find_external)?;
        let Some(Entry { value, extension }) = found else { return Ok(None) };
        let extension = extension.unwrap_or_default();
        let targets = match value.strip_prefix('@') {
            Some(domain) => {
                let (local, _) = split_domain(address);
                vec![format!("{}@{domain}", local.strip_suffix(extension.as_str()).unwrap_or(local))]
            }
            None => header::addresses(&value),
        };
        let mut found = Vec::with_capacity(targets.len());
        for target in targets.iter().filter(|target| !target.is_empty()) {
            let target = self.routing.rewrite(target);
            found.push(match split_domain(&target) {
                _ if !propagate || extension.is_empty() => target,
                (user, Some(domain)) => format!("{user}{extension}@{domain}"),
                (user, None) => format!("{user}{extension}"),
            });
        }
        Ok((!found.is_empty()).then_some(found))
    }

    /// Canonical maps and masquerading for an address in standard form.
    pub(crate) fn canonical(
        &self,
        address: String,
        role: Role,
        lookup: &mut dyn Lookup,
        notes: &mut Notes<'_>,
    ) -> String {
        let special = match role {
            Role::EnvelopeSender | Role::HeaderSender => &self.sender_canonical,
            Role::EnvelopeRecipient | Role::HeaderRecipient => &self.recipient_canonical,
        };
        let mut address = address;
        for mapping in [special, &self.canonical] {
            if mapping.classes.has(role) && !mapping.maps.is_empty() && !notes.failed {
                address = self.map_to_one(&mapping.maps, address, lookup, notes);
            }
        }
        match self.masquerade.classes.has(role) {
            true => self.masquerade.apply(&address).unwrap_or(address),
            false => address,
        }
    }

    fn map_to_one(
        &self,
        maps: &AddressMaps,
        mut address: String,
        lookup: &mut dyn Lookup,
        notes: &mut Notes<'_>,
    ) -> String {
        let (title, queue_id) = (maps.name(), notes.queue_id);
        for _ in 0..CANONICAL_DEPTH {
            let found = match self.map(maps, &address, self.propagate_canonical, lookup) {
                Ok(Some(found)) => found,
                Ok(None) => return address,
                Err(Failed) => {
                    notes.failed = true;
                    notes.log.push(lookup_problem(queue_id, title, &address));
                    return address;
                }
            };
            if found.len() > 1 {
                let key = quote_local(&address);
                notes.log.push(LogLine::warning(format!("{queue_id}: multi-valued {title} entry for {key}")));
            }
            let Some(new) = found.into_iter().next() else { return address };
            let same = new.to_lowercase() == address.to_lowercase();
            address = new;
            if same {
                return address;
            }
        }
        // Postfix says so too, and accepts the message all the same.
        notes.log.push(unreasonable(queue_id, title, "nesting", &address));
        address
    }

    /// The internal form of an address from a parameter or table value.
    pub(crate) fn internal(&self, text: &str) -> String {
        self.routing.rewrite(&unquote_local(text.trim()))
    }
}

pub(crate) fn lookup_problem(queue_id: &str, title: &str, address: &str) -> LogLine {
    let address = quote_local(address);
    let text = format!("{queue_id}: {title} map lookup problem for {address} -- message not accepted, try again later");
    LogLine::warning(text)
}

pub(crate) fn unreasonable(queue_id: &str, title: &str, what: &str, address: &str) -> LogLine {
    let address = quote_local(address);
    let text =
        format!("{queue_id}: unreasonable {title} map {what} for {address} -- message not accepted, try again later");
    LogLine::warning(text)
}

impl Masquerade {
    /// The address with its host hidden; `None` if it stays as it is.
    fn apply(&self, address: &str) -> Option<String> {
        let (local, domain) = address.rsplit_once('@')?;
        if self.domains.is_empty() || self.exceptions.iter().any(|name| *name == local.to_lowercase()) {
            return None;
        }
        let lower = domain.to_ascii_lowercase();
        for pattern in &self.domains {
            let parent = pattern.trim_start_matches('!').to_ascii_lowercase();
            if parent.is_empty() {
                continue;
            }
            if lower == parent {
                return None;
            }
            if lower.strip_suffix(&parent).is_some_and(|host| host.ends_with('.')) {
                let kept = (pattern.len() - parent.len()) % 2 == 1;
                return (!kept).then(|| format!("{local}@{}", &domain[domain.len() - parent.len()..]));
            }
        }
        None
    }
}

/// Tables as the policy engine asks them.
struct Tables<'a>(&'a mut dyn Lookup);

impl World for Tables<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        match question {
            Question::Table { table, key } => Some(Answer::Table(self.0.find(*table, key).map_err(|failed| failed.0))),
            _ => None,
        }
    }
}
