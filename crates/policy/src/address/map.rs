//! Address maps and the order of their keys (canonical(5), virtual(5)).

use super::Routing;
use super::syntax::{quoted, split_at_domain};
use crate::ledger::{Ask, Suspend};
use crate::match_list::{Matched, lookup, lookup_error};
use crate::question::TableId;
use crate::settings::{Settings, elements};
use crate::tables::{Table, TableRegistry};
use config::Span;
use std::sync::Arc;

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
    /// What a table says makes no sense, and won't by itself; the text is for the log.
    Broken(Arc<str>),
}

/// Which keys are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    /// `user` alone where the domain is ours.
    pub local_part: bool,
    /// `@domain`.
    pub at_domain: bool,
    /// The internal form of each key, too, after the external one.
    pub internal: bool,
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

    /// The tables in their order.
    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
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
                    let why = format!(
                        "{0} lookup of {key} returns an empty string result\n\
                         {0} should return NO RESULT in case of NOT FOUND",
                        self.name
                    );
                    return Ok(Lookup::Broken(why.into()));
                }
                Ok(Some(value)) => return Ok(Lookup::Found { value, table: table.id, extension: None }),
                Ok(None) => {}
                Err(why) => return Ok(Lookup::Failed(lookup_error(table, key, &why).into())),
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
        self.find_with(maps, address, Keys { local_part: true, at_domain: true, internal: true }, ask)
    }

    /// The same for rewriting, where only the external form is a key: `"a,b"@domain`, never `a,b@domain`.
    pub fn find_external(&self, maps: &AddressMaps, address: &str, ask: &mut Ask<'_>) -> Result<Lookup, Suspend> {
        self.find_with(maps, address, Keys { local_part: true, at_domain: true, internal: false }, ask)
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
        first!(find_form(maps, address, false, keys, ask)?);
        if let (Some(extension), Some(domain)) = (extension, domain) {
            let key = format!("{user}@{domain}");
            first!(with_extension(find_form(maps, &key, true, keys, ask)?, extension));
        }
        let Some(domain) = domain else {
            if let Some(extension) = extension {
                first!(with_extension(find_form(maps, user, true, keys, ask)?, extension));
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
                    first!(find_bare(maps, local, keys, ask)?);
                    if let Some(extension) = extension {
                        first!(with_extension(find_bare(maps, user, keys, ask)?, extension));
                    }
                }
            }
        }
        if keys.at_domain {
            return maps.get(&format!("@{domain}"), true, ask);
        }
        Ok(Lookup::NotFound)
    }
}

/// The same for a local part by itself, which is quoted even if it looks like an address.
fn find_bare(maps: &AddressMaps, local: &str, keys: Keys, ask: &mut Ask<'_>) -> Result<Lookup, Suspend> {
    if !local.contains('@') {
        return find_form(maps, local, true, keys, ask);
    }
    let address = format!("{local}@x");
    let external = quoted(&address);
    first!(maps.get(external.strip_suffix("@x").unwrap_or(&external), true, ask)?);
    if keys.internal { maps.get(local, true, ask) } else { Ok(Lookup::NotFound) }
}

/// Look up the external form, then the internal one if it differs and is asked for.
fn find_form(maps: &AddressMaps, key: &str, partial: bool, keys: Keys, ask: &mut Ask<'_>) -> Result<Lookup, Suspend> {
    let external = quoted(key);
    first!(maps.get(&external, partial, ask)?);
    if !keys.internal || external == key { Ok(Lookup::NotFound) } else { maps.get(key, partial, ask) }
}

fn with_extension(found: Lookup, extension: &str) -> Lookup {
    match found {
        Lookup::Found { value, table, .. } => Lookup::Found { value, table, extension: Some(extension.to_owned()) },
        other => other,
    }
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
