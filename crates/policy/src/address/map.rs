//! Address maps: keys in order (canonical(5), virtual(5)), one-to-one mapping and alias expansion.

use super::Routing;
use super::syntax::{quoted, split_at_domain, unquoted};
use crate::match_list::{Matched, lookup};
use crate::question::{Ask, Suspend, TableId};
use crate::settings::{Settings, elements};
use crate::tables::{Table, TableRegistry};
use config::Span;
use std::collections::HashSet;
use std::sync::Arc;

/// How often a canonical mapping may be applied to its own result.
const CANONICAL_DEPTH: usize = 10;

/// A list of tables, the first one with an entry winning (`canonical_maps`, `relay_recipient_maps`, …).
#[derive(Clone, Debug, Default)]
pub struct AddressMaps {
    /// The parameter.
    name: Arc<str>,
    tables: Vec<Table>,
}

/// What a look-up came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// An entry.
    Found {
        /// Its value.
        value: Arc<str>,
        /// Where it was.
        table: TableId,
        /// What the address had after its user name when the entry was found without it (`+ext`).
        extension: Option<String>,
    },
    /// No entry.
    NotFound,
    /// A table could not be read; the text is for the log.
    Failed(Arc<str>),
}

/// What expanding an address came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// The resulting addresses, internal form, no doubles; the address itself if it has no entry.
    Addresses(Vec<String>),
    /// The tables nest too deeply or yield too much, or could not be read: refuse temporarily. The text is for the
    /// log.
    Problem(String),
}

/// Which keys are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    /// `user` alone where the domain is ours.
    pub local_part: bool,
    /// `@domain`.
    pub at_domain: bool,
}

impl AddressMaps {
    /// Compile a `…_maps` parameter.
    pub fn compile(name: &str, settings: &dyn Settings, tables: &mut TableRegistry) -> Self {
        Self::from_text(name, &settings.get(name), settings.origin(name), tables)
    }

    /// Compile a list of tables; `name` is for log texts.
    pub fn from_text(name: &str, text: &str, span: Option<Span>, tables: &mut TableRegistry) -> Self {
        let tables = elements(text).iter().map(|spec| tables.handle(spec, span.clone())).collect();
        Self { name: name.into(), tables }
    }

    /// Are there no tables?
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The parameter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Look up one key; `partial` keys are not tried in pattern tables.
    pub fn get(&self, key: &str, partial: bool, ask: &mut Ask<'_>) -> Result<Lookup, Suspend> {
        for table in self.tables.iter().filter(|table| !(partial && table.pattern)) {
            match lookup(table, key, ask)? {
                Ok(Some(value)) if value.trim().is_empty() => {
                    let why = format!("{} lookup of {key} returns an empty string result", self.name);
                    return Ok(Lookup::Failed(why.into()));
                }
                Ok(Some(value)) => return Ok(Lookup::Found { value, table: table.id, extension: None }),
                Ok(None) => {}
                Err(why) => return Ok(Lookup::Failed(why)),
            }
        }
        Ok(Lookup::NotFound)
    }
}

/// The first thing that is not "not found".
macro_rules! first {
    ($lookup:expr) => {
        match $lookup {
            Lookup::NotFound => {}
            other => return Ok(other),
        }
    };
}

impl Routing {
    /// Split `user+ext` at the first delimiter; names that are no user's are kept whole.
    pub fn split_extension<'a>(&self, local: &'a str) -> (&'a str, Option<&'a str>) {
        let whole = (local, None);
        if self.delimiters.is_empty() || local.eq_ignore_ascii_case("postmaster") {
            return whole;
        }
        if local.eq_ignore_ascii_case("mailer-daemon") || local.eq_ignore_ascii_case(&self.double_bounce_sender) {
            return whole;
        }
        if self.owner_request_special && self.delimiters.contains('-') {
            let lower = local.to_ascii_lowercase();
            if lower.starts_with("owner-") || lower.ends_with("-request") {
                return whole;
            }
        }
        match local.find(|c| self.delimiters.contains(c)) {
            Some(at) if at > 0 => (&local[..at], Some(&local[at..])),
            _ => whole,
        }
    }

    /// Is this domain ours: `mydestination` or one of our addresses in brackets?
    pub fn is_local_domain(&self, domain: &str, ask: &mut Ask<'_>) -> Result<Matched, Suspend> {
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        match self.mydestination.matches(domain, ask)? {
            Matched::No => {}
            other => return Ok(other),
        }
        let own = super::syntax::literal_address(domain).is_some_and(|address| self.is_own_address(address));
        Ok(if own { Matched::Yes } else { Matched::No })
    }

    /// Look up an address: `user+ext@domain`, `user@domain`, `user+ext`, `user` (where the domain is ours), `@domain`.
    pub fn find_address(&self, maps: &AddressMaps, address: &str, ask: &mut Ask<'_>) -> Result<Lookup, Suspend> {
        self.find_with(maps, address, Keys { local_part: true, at_domain: true }, ask)
    }

    pub(crate) fn find_with(
        &self,
        maps: &AddressMaps,
        address: &str,
        keys: Keys,
        ask: &mut Ask<'_>,
    ) -> Result<Lookup, Suspend> {
        if maps.is_empty() {
            return Ok(Lookup::NotFound);
        }
        let (local, domain) = split_at_domain(address);
        let (user, extension) = self.split_extension(local);
        first!(find_form(maps, address, false, ask)?);
        if let (Some(extension), Some(domain)) = (extension, domain) {
            let key = format!("{user}@{domain}");
            first!(with_extension(find_form(maps, &key, true, ask)?, extension));
        }
        let Some(domain) = domain else {
            if let Some(extension) = extension {
                first!(with_extension(find_form(maps, user, true, ask)?, extension));
            }
            return Ok(Lookup::NotFound);
        };
        if keys.local_part {
            let ours = match domain.eq_ignore_ascii_case(&self.myorigin) {
                true => Matched::Yes,
                false => self.is_local_domain(domain, ask)?,
            };
            match ours {
                Matched::Failed(why) => return Ok(Lookup::Failed(why)),
                Matched::No => {}
                Matched::Yes => {
                    first!(find_form(maps, local, true, ask)?);
                    if let Some(extension) = extension {
                        first!(with_extension(find_form(maps, user, true, ask)?, extension));
                    }
                }
            }
        }
        if keys.at_domain {
            return maps.get(&format!("@{domain}"), true, ask);
        }
        Ok(Lookup::NotFound)
    }

    /// Map an address to others, one step: the values of the entry, rewritten, extensions carried over.
    /// `None` when there is no entry.
    fn map_once(
        &self,
        maps: &AddressMaps,
        address: &str,
        propagate: bool,
        ask: &mut Ask<'_>,
    ) -> Result<Result<Option<Vec<String>>, String>, Suspend> {
        let (value, extension) = match self.find_address(maps, address, ask)? {
            Lookup::NotFound => return Ok(Ok(None)),
            Lookup::Failed(why) => return Ok(Err(why.to_string())),
            Lookup::Found { value, extension, .. } => (value, extension),
        };
        let (local, _) = split_at_domain(address);
        let mut results = Vec::new();
        for word in mailboxes(&value) {
            let mut target = match word.strip_prefix('@') {
                Some(domain) => format!("{local}@{domain}"),
                None => self.rewrite(&unquoted(&word)),
            };
            if let (true, Some(extension), false) = (propagate, &extension, word.starts_with('@')) {
                let (user, domain) = split_at_domain(&target);
                target = match domain {
                    Some(domain) => format!("{user}{extension}@{domain}"),
                    None => format!("{user}{extension}"),
                };
            }
            results.push(target);
        }
        Ok(Ok(Some(results)))
    }

    /// Does `propagate_unmatched_extensions` name this (`canonical`, `virtual`, `alias`, …)?
    pub fn propagates(&self, what: &str) -> bool {
        self.propagate.iter().any(|word| word.eq_ignore_ascii_case(what))
    }

    /// Apply a one-to-one map (canonical(5)) until it changes nothing more. `Ok(None)`: no change. The inner error is
    /// a text for the log; the message is to be refused temporarily.
    pub fn canonical(
        &self,
        maps: &AddressMaps,
        address: &str,
        ask: &mut Ask<'_>,
    ) -> Result<Result<Option<String>, String>, Suspend> {
        let propagate = self.propagates("canonical");
        let mut current = address.to_owned();
        let mut changed = false;
        for _ in 0..CANONICAL_DEPTH {
            let found = match self.map_once(maps, &current, propagate, ask)? {
                Err(why) => return Ok(Err(why)),
                Ok(found) => found.and_then(|targets| targets.into_iter().next()),
            };
            match found {
                Some(target) if target != current => {
                    current = target;
                    changed = true;
                }
                _ => return Ok(Ok(changed.then_some(current))),
            }
        }
        let why =
            format!("unreasonable {} map nesting for {address} -- message not accepted, try again later", maps.name);
        Ok(Err(why))
    }

    /// Expand an address by a one-to-many map (virtual(5)), with `limit` results and steps at most
    /// (`virtual_alias_expansion_limit`, `virtual_alias_recursion_limit`, `virtual_alias_address_length_limit`).
    pub fn expand(
        &self,
        maps: &AddressMaps,
        address: &str,
        limits: ExpansionLimits,
        ask: &mut Ask<'_>,
    ) -> Result<Expansion, Suspend> {
        if maps.is_empty() {
            return Ok(Expansion::Addresses(vec![address.to_owned()]));
        }
        let propagate = self.propagates("virtual");
        let mut finished: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        let mut open: Vec<(String, usize)> = vec![(address.to_owned(), 0)];
        while let Some((current, depth)) = open.pop() {
            let problem = |what: &str| {
                let why = format!(
                    "unreasonable {} map {what} for {address} -- message not accepted, try again later",
                    maps.name
                );
                Ok(Expansion::Problem(why))
            };
            if depth > limits.recursion {
                return problem("nesting");
            }
            if current.len() > limits.address_length {
                return problem("result");
            }
            let targets = match self.map_once(maps, &current, propagate, ask)? {
                Err(why) => return Ok(Expansion::Problem(why)),
                Ok(None) => vec![current.clone()],
                Ok(Some(targets)) => targets,
            };
            if finished.len() + open.len() + targets.len() > limits.expansion {
                return problem("expansion size");
            }
            for target in targets.into_iter().rev() {
                if target == current {
                    if seen.insert(target.to_lowercase()) {
                        finished.push(target);
                    }
                } else {
                    open.push((target, depth + 1));
                }
            }
        }
        Ok(Expansion::Addresses(finished))
    }
}

/// Limits of [`Routing::expand`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpansionLimits {
    /// How deep entries may refer to entries.
    pub recursion: usize,
    /// How many addresses may come of one.
    pub expansion: usize,
    /// How long an address may get.
    pub address_length: usize,
}

impl Default for ExpansionLimits {
    fn default() -> Self {
        Self { recursion: 1000, expansion: 1000, address_length: 1000 }
    }
}

/// Look up the external form, then the internal one if it differs.
pub(crate) fn find_form(maps: &AddressMaps, key: &str, partial: bool, ask: &mut Ask<'_>) -> Result<Lookup, Suspend> {
    let external = quoted(key);
    first!(maps.get(&external, partial, ask)?);
    if external == key { Ok(Lookup::NotFound) } else { maps.get(key, partial, ask) }
}

fn with_extension(found: Lookup, extension: &str) -> Lookup {
    match found {
        Lookup::Found { value, table, .. } => Lookup::Found { value, table, extension: Some(extension.to_owned()) },
        other => other,
    }
}

/// The addresses of a map value, separated by comma or white space outside of quotes.
fn mailboxes(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut current = String::new();
    let mut in_quotes = false;
    let mut escaped = false;
    for c in value.chars() {
        if !in_quotes && !escaped && (c == ',' || c.is_whitespace()) {
            if !current.is_empty() {
                found.push(std::mem::take(&mut current));
            }
            continue;
        }
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '"' {
            in_quotes = !in_quotes;
        }
        current.push(c);
    }
    if !current.is_empty() {
        found.push(current);
    }
    found
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
