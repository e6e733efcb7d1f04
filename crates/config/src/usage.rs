//! Which names are of use: what refers to what, in `main.cf` and per service.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::expand::{self, MacroError};
use crate::master_cf::{MasterCf, Override, Service};
use crate::parameters::Parameters;
use crate::registry::{self, Kind, SERVICE_SUFFIXES, ServiceParameter};
use crate::table_attributes::table_attributes;

/// Programs whose services have parameters for the queue manager.
const DELIVERY_AGENTS: [&str; 6] = ["error", "lmtp", "local", "pipe", "smtp", "virtual"];

/// Why a name is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// In the registry.
    Builtin,
    /// Made of the name of a service.
    Service,
    /// Defined by the postmaster, and something refers to it.
    User,
}

/// What the files use.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Names that something refers to, apart from local ones.
    used: HashSet<String>,
    /// The same within one service, for names that its `-o` options define.
    local: Vec<HashSet<String>>,
    /// For each entry of `master.cf` the first one of its name and type: they share their settings.
    twins: Vec<usize>,
    /// Names made of services.
    pub(crate) service_names: BTreeMap<String, &'static ServiceParameter>,
    /// With no `master.cf` to look at, any service is taken to exist.
    any_service: bool,
    /// Names in `main.cf` values that nothing defines, one for each reference.
    pub(crate) undefined_main: Vec<String>,
    /// The same for `-o` values.
    pub(crate) undefined_master: Vec<String>,
    /// Texts that are not well-formed.
    pub(crate) malformed: Vec<MacroError>,
}

/// What is set where a text stands.
struct Scope<'a> {
    parameters: &'a Parameters,
    values: HashMap<&'a str, &'a str>,
    local: HashMap<&'a str, &'a str>,
    index: Option<usize>,
}

impl Usage {
    /// Looks at all values of `main.cf` (with the overrides in `parameters`) and of `master.cf`.
    pub(crate) fn collect(parameters: &Parameters, master: Option<&MasterCf>) -> Self {
        let mut usage = Self { any_service: master.is_none(), ..Self::default() };
        let services = master.map(MasterCf::services).unwrap_or_default();
        usage.service_names = service_names(services);
        for parameter in registry::all() {
            let _ = expand::scan(parameter.default, &mut |name| {
                usage.used.insert(name.to_owned());
            });
        }
        let local_definitions: HashSet<&str> =
            services.iter().flat_map(|s| s.overrides.iter().map(|o| o.name.as_str())).collect();
        let values = parameters.settings();
        let main = Scope { parameters, values, local: HashMap::new(), index: None };
        usage.scan_main(&main, &local_definitions);
        for (index, service) in services.iter().enumerate() {
            usage.local.push(HashSet::new());
            let first = first_twin(services, index);
            usage.twins.push(first);
            let overrides = all_overrides(services, service);
            if overrides.is_empty() {
                continue;
            }
            let mut seen = vec![("service_name".to_owned(), service.name.clone(), service.span.clone())];
            seen.extend(overrides.iter().map(|o| (o.name.clone(), o.value.clone(), o.span.clone())));
            let as_seen = parameters.with_overrides(&seen);
            let local = overrides.iter().map(|o| (o.name.as_str(), o.value.as_str())).collect();
            let scope = Scope { parameters: &as_seen, values: parameters.settings(), local, index: Some(first) };
            usage.scan_service(&scope);
        }
        usage
    }

    /// What kind of name is it, as `main.cf` defines it?
    pub(crate) fn class(&self, name: &str) -> Option<Class> {
        if self.service_names.contains_key(name) {
            Some(Class::Service)
        } else if registry::find(name).is_some() {
            Some(Class::Builtin)
        } else if self.any_service && registry::service_parameter(name).is_some() {
            Some(Class::Service)
        } else {
            self.used.contains(name).then_some(Class::User)
        }
    }

    /// Is the name of use as the service at `index` in `master.cf` defines it?
    pub(crate) fn knows_local(&self, index: usize, name: &str) -> bool {
        let first = self.twins.get(index).copied().unwrap_or(index);
        self.class(name).is_some() || self.local.get(first).is_some_and(|local| local.contains(name))
    }

    /// May tables stand there? What users invent counts where it is used.
    fn has_tables(&self, name: &str) -> bool {
        matches!(self.class(name), Some(Class::Builtin | Class::Service))
    }

    /// Names that something refers to.
    pub(crate) fn used(&self) -> impl Iterator<Item = &str> {
        self.used.iter().map(String::as_str)
    }

    fn scan_main(&mut self, scope: &Scope<'_>, local_definitions: &HashSet<&str>) {
        let mut names = Vec::new();
        for (name, value) in &scope.values {
            self.names_in(name, value, &mut names);
        }
        for name in names {
            let defined = scope.values.contains_key(name.as_str()) || local_definitions.contains(name.as_str());
            if !defined && self.class(&name).is_none_or(|class| class == Class::User) {
                self.undefined_main.push(name.clone());
            }
            self.used.insert(name);
        }
        self.note_classes(scope, scope.values.get("smtpd_restriction_classes").copied(), local_definitions);
        let raw = |name: &str| registry::find(name).is_some_and(|p| p.kind == Kind::RawString);
        let valid = scope.values.iter().filter(|(name, _)| self.has_tables(name) && !raw(name));
        let valid: Vec<&str> = valid.map(|(_, value)| *value).collect();
        valid.into_iter().for_each(|value| self.note_tables(scope, value));
    }

    fn scan_service(&mut self, scope: &Scope<'_>) {
        let mut names = Vec::new();
        for (name, value) in &scope.local {
            self.names_in(name, value, &mut names);
        }
        for name in names {
            self.refer(scope, name);
        }
        self.note_classes(scope, scope.local.get("smtpd_restriction_classes").copied(), &HashSet::new());
        for (name, value) in &scope.local {
            if self.has_tables(name) {
                self.note_tables(scope, value);
            }
        }
    }

    /// Notes a reference from an `-o` value: to a local definition, or else to one in `main.cf`.
    fn refer(&mut self, scope: &Scope<'_>, name: String) {
        if scope.local.contains_key(name.as_str()) {
            if let Some(local) = scope.index.and_then(|index| self.local.get_mut(index)) {
                local.insert(name);
            }
        } else if scope.values.contains_key(name.as_str()) {
            self.used.insert(name);
        } else if self.class(&name).is_none_or(|class| class == Class::User) {
            self.undefined_master.push(name);
        }
    }

    fn names_in(&mut self, parameter: &str, value: &str, names: &mut Vec<String>) {
        let raw = registry::find(parameter).is_some_and(|p| p.kind == Kind::RawString);
        if !raw && value.contains('$') {
            self.malformed.extend(expand::scan(value, &mut |name| names.push(name.to_owned())));
        }
    }

    /// Restriction classes are parameters that are named without `$`. Those of main.cf may be in `services`.
    fn note_classes(&mut self, scope: &Scope<'_>, value: Option<&str>, services: &HashSet<&str>) {
        // Only what the files say is looked at here, no default.
        let written =
            |name: &str| scope.local.get(name).or_else(|| scope.values.get(name)).map(|value| Arc::from(*value));
        let Some(Ok(value)) = value.map(|value| expand::expand(value, &written)) else { return };
        for class in value.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|class| !class.is_empty()) {
            let main_only = scope.index.is_none();
            if main_only && (scope.values.contains_key(class) || services.contains(class)) {
                self.used.insert(class.to_owned());
            } else if main_only {
                self.undefined_main.push(class.to_owned());
            } else {
                self.refer(scope, class.to_owned());
            }
        }
    }

    /// `ldap:name` and its like take attributes from `name_attribute` parameters.
    fn note_tables(&mut self, scope: &Scope<'_>, value: &str) {
        if !value.contains([':', '$']) {
            return;
        }
        let Ok(value) = scope.parameters.expand(value) else { return };
        for word in value.split(|c: char| matches!(c, ',' | '{' | '}') || c.is_ascii_whitespace()) {
            let word = word.trim_start_matches("proxy:").trim_start_matches("debug:");
            let Some((kind, prefix)) = word.split_once(':') else { continue };
            let attributes = table_attributes(kind);
            if attributes.is_empty() || prefix.is_empty() || prefix.starts_with(['/', '.']) {
                continue;
            }
            for attribute in attributes {
                let name = format!("{prefix}_{attribute}");
                if scope.local.contains_key(name.as_str()) || scope.values.contains_key(name.as_str()) {
                    self.use_defined(scope, name);
                }
            }
        }
    }

    fn use_defined(&mut self, scope: &Scope<'_>, name: String) {
        if scope.index.is_some() {
            self.refer(scope, name);
        } else {
            self.used.insert(name);
        }
    }
}

fn service_names(services: &[Service]) -> BTreeMap<String, &'static ServiceParameter> {
    let mut names = BTreeMap::new();
    for service in services {
        let command = service.command.as_str();
        let agent = DELIVERY_AGENTS.contains(&command);
        let timed = matches!(command, "pipe" | "spawn");
        for family in SERVICE_SUFFIXES {
            let wanted = if family.suffix == "_time_limit" { timed } else { agent };
            if wanted {
                names.insert(format!("{}{}", service.name, family.suffix), family);
            }
        }
    }
    names
}

/// Position of the first entry of the same name and type.
fn first_twin(services: &[Service], index: usize) -> usize {
    let service = &services[index];
    services.iter().position(|other| other.name == service.name && other.kind == service.kind).unwrap_or(index)
}

/// The `-o` settings of all entries of one name and type. An entry has none before the first of them that has any.
pub(crate) fn all_overrides<'a>(services: &'a [Service], service: &Service) -> Vec<&'a Override> {
    let twin = |other: &&Service| other.name == service.name && other.kind == service.kind;
    let upto = services.iter().position(|other| std::ptr::eq(other, service)).map_or(services.len(), |at| at + 1);
    if services[..upto].iter().filter(twin).all(|other| other.overrides.is_empty()) {
        return Vec::new();
    }
    services.iter().filter(twin).flat_map(|twin| &twin.overrides).collect()
}

impl Usage {
    /// Names and values of `-o` settings that nothing uses; shared ones once for each entry.
    pub(crate) fn unused_local<'a>(&self, master: &'a MasterCf) -> Vec<(&'a str, &'a str)> {
        let services = master.services();
        let mut unused = Vec::new();
        for (index, service) in services.iter().enumerate() {
            let all: BTreeMap<&str, &str> =
                all_overrides(services, service).into_iter().map(|o| (o.name.as_str(), o.value.as_str())).collect();
            unused.extend(all.into_iter().filter(|(name, _)| !self.knows_local(index, name)));
        }
        unused
    }
}
