//! What the files mean: every parameter's value, with overrides, defaults and expansion.

mod check;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Span};
use crate::expand::{self, MacroError};
use crate::host::HostFacts;
use crate::main_cf::MainCf;
use crate::places::Places;
use crate::registry::{self, Kind};
use crate::value;

/// Values of all parameters as one service sees them. Cloning is cheap; values are expanded when asked for and kept.
#[derive(Clone, Debug)]
pub struct Parameters {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    main: Arc<MainCf>,
    host: Arc<HostFacts>,
    overrides: HashMap<String, (Arc<str>, Span)>,
    cache: RwLock<HashMap<String, Arc<str>>>,
}

/// Type and unexpanded default of a name: registry, service families, or nothing.
struct Meaning {
    kind: Kind,
    default: &'static str,
}

fn meaning(name: &str) -> Option<Meaning> {
    if let Some(parameter) = registry::find(name) {
        return Some(Meaning { kind: parameter.kind, default: parameter.default });
    }
    registry::service_parameter(name).map(|(_, family)| Meaning { kind: family.kind, default: family.default })
}

impl Parameters {
    /// Values as `main.cf` gives them.
    pub fn new(main: Arc<MainCf>, host: HostFacts) -> Self {
        Self::build(main, Arc::new(host), HashMap::new())
    }

    fn build(main: Arc<MainCf>, host: Arc<HostFacts>, overrides: HashMap<String, (Arc<str>, Span)>) -> Self {
        Self { inner: Arc::new(Inner { main, host, overrides, cache: RwLock::new(HashMap::new()) }) }
    }

    /// The same with `-o name=value` overrides of a master.cf service (and `stress`, `service_name`) on top.
    #[must_use]
    pub fn with_overrides(&self, overrides: &[(String, String, Span)]) -> Self {
        let mut all = self.inner.overrides.clone();
        for (name, value, span) in overrides {
            all.insert(name.clone(), (Arc::from(value.as_str()), span.clone()));
        }
        Self::build(self.inner.main.clone(), self.inner.host.clone(), all)
    }

    /// The file behind the values.
    pub fn main(&self) -> &MainCf {
        &self.inner.main
    }

    /// The facts about the machine behind the defaults.
    pub fn host(&self) -> &HostFacts {
        &self.inner.host
    }

    /// The value, expanded (raw-string parameters are not). Falls back to the default, then to "", when the text
    /// is in error; [`Parameters::check`] tells.
    pub fn get(&self, name: &str) -> String {
        self.text(name).as_ref().to_owned()
    }

    /// Like [`Parameters::get`], shared.
    pub fn text(&self, name: &str) -> Arc<str> {
        if let Ok(cache) = self.inner.cache.read()
            && let Some(text) = cache.get(name)
        {
            return text.clone();
        }
        let text = self.compute(name).unwrap_or_else(|_| self.expanded_default(name));
        if let Ok(mut cache) = self.inner.cache.write() {
            cache.insert(name.to_owned(), text.clone());
        }
        text
    }

    /// The value as written (or the default as registered), not expanded.
    pub fn raw(&self, name: &str) -> String {
        self.lookup(name).as_deref().unwrap_or_default().to_owned()
    }

    /// An integer parameter.
    pub fn int(&self, name: &str) -> i64 {
        // What is too large for an `int` was refused by the check, where it matters.
        value::parse_long(&self.text(name))
            .or_else(|| value::parse_long(&self.expanded_default(name)))
            .unwrap_or_default()
    }

    /// A time parameter.
    pub fn time(&self, name: &str) -> Duration {
        let unit = self.time_unit(name);
        value::parse_time(&self.text(name), unit)
            .or_else(|| value::parse_time(&self.expanded_default(name), unit))
            .unwrap_or_default()
    }

    /// A boolean parameter.
    pub fn bool(&self, name: &str) -> bool {
        value::parse_bool(&self.text(name))
            .or_else(|| value::parse_bool(&self.expanded_default(name)))
            .unwrap_or_default()
    }

    /// Is it set in `main.cf` or by an override?
    pub fn is_set(&self, name: &str) -> bool {
        self.inner.overrides.contains_key(name) || self.inner.main.get(name).is_some()
    }

    /// Where it is set; `None` for a default.
    pub fn origin(&self, name: &str) -> Option<Span> {
        match self.inner.overrides.get(name) {
            Some((_, span)) => Some(span.clone()),
            None => self.inner.main.get(name).map(|definition| definition.span.clone()),
        }
    }

    /// Where the words of its value are.
    pub fn places(&self, name: &str) -> Places<'_> {
        match (self.inner.overrides.get(name), self.inner.main.get(name)) {
            (Some((_, span)), _) => Places::whole(Some(span.clone())),
            (None, Some(definition)) => Places::of(definition),
            (None, None) => Places::default(),
        }
    }

    /// Expands a text that is not the value of a parameter.
    pub fn expand(&self, text: &str) -> Result<String, Diagnostic> {
        self.expand_raw(text).map_err(|MacroError(message)| expansion_error(message))
    }

    fn expand_raw(&self, text: &str) -> Result<String, MacroError> {
        expand::expand(text, &|name| self.lookup(name))
    }

    /// The unexpanded value: override, `main.cf`, default.
    fn lookup(&self, name: &str) -> Option<Arc<str>> {
        if let Some((value, _)) = self.inner.overrides.get(name) {
            return Some(value.clone());
        }
        if let Some(definition) = self.inner.main.get(name)
            && !registry::is_read_only(name)
        {
            return Some(Arc::from(definition.value.as_str()));
        }
        self.default_text(name)
    }

    /// The unexpanded default, from the machine where it depends on it.
    pub(crate) fn default_text(&self, name: &str) -> Option<Arc<str>> {
        let host = &self.inner.host;
        Some(Arc::from(match name {
            "myhostname" => host.myhostname(),
            "mydomain" => {
                let myhostname = self.lookup_without("myhostname", "mydomain");
                host.mydomain(&myhostname)
            }
            "mynetworks" => host.mynetworks(&self.lookup_without("mynetworks_style", "mynetworks")),
            "process_name" => host.process_name.clone(),
            "process_id" => host.process_id.to_string(),
            "alias_maps" if !host.has_nis => {
                let default = meaning(name)?.default;
                return Some(Arc::from(default.split(", nis:").next().unwrap_or(default)));
            }
            "config_directory" if host.config_directory.is_some() => host.config_directory.clone()?,
            _ => return meaning(name).map(|m| Arc::from(m.default)),
        }))
    }

    /// Expands `name` as if `hidden` did not exist: a default must not depend on itself.
    fn lookup_without(&self, name: &str, hidden: &str) -> String {
        let text = self.lookup(name);
        let lookup = |inner: &str| if inner == hidden { None } else { self.lookup(inner) };
        expand::expand(text.as_deref().unwrap_or_default(), &lookup).unwrap_or_default()
    }

    fn compute(&self, name: &str) -> Result<Arc<str>, MacroError> {
        let Some(text) = self.lookup(name) else { return Ok(Arc::from("")) };
        if !text.contains('$') || meaning(name).is_some_and(|m| m.kind == Kind::RawString) {
            return Ok(text);
        }
        self.expand_raw(&text).map(Arc::from)
    }

    fn expanded_default(&self, name: &str) -> Arc<str> {
        let text = self.default_text(name).unwrap_or_else(|| Arc::from(""));
        if !text.contains('$') || meaning(name).is_some_and(|m| m.kind == Kind::RawString) {
            return text;
        }
        self.expand_raw(&text).map_or_else(|_| Arc::from(""), Arc::from)
    }

    fn time_unit(&self, name: &str) -> char {
        meaning(name).map_or('s', |m| value::default_unit(m.default))
    }
}

/// A failed expansion as the postmaster sees it.
fn expansion_error(message: String) -> Diagnostic {
    Diagnostic::error("bad-expansion", message)
        .help("write $name, ${name?{text if set}:{text if empty}}, or $$ for a dollar sign")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn parameters(text: &str) -> Parameters {
        Parameters::new(Arc::new(MainCf::parse("main.cf", text).0), HostFacts::named("mail.example.com"))
    }

    #[test]
    fn values_defaults_and_overrides() {
        let p = parameters(
            "smtpd_banner = $myhostname hi\nfoo = 7\nqueue_run_delay = 5\nmaximal_queue_lifetime = 2\nsmtpd_hard_error_limit = ${foo}\n",
        );
        assert_eq!(p.get("smtpd_banner"), "mail.example.com hi");
        assert_eq!(p.raw("smtpd_banner"), "$myhostname hi");
        assert_eq!(p.get("mydestination"), "mail.example.com, localhost.example.com, localhost");
        assert_eq!(p.time("queue_run_delay"), Duration::from_secs(5));
        assert_eq!(p.time("maximal_queue_lifetime"), Duration::from_secs(2 * 86_400));
        assert_eq!(p.int("smtpd_hard_error_limit"), 7);
        assert_eq!(p.int("smtpd_junk_command_limit"), 100);
        assert_eq!(p.get("smtpd_reject_footer"), "");
        assert!(p.get("default_rbl_reply").starts_with("$rbl_code Service"));
        assert!(!p.bool("smtpd_helo_required"));
        assert!(p.is_set("foo") && !p.is_set("relayhost"));
        assert_eq!(p.origin("foo"), Some(Span::new("main.cf", 2)));
        let span = Span::new("master.cf", 9);
        let stressed = p.with_overrides(&[
            ("stress".to_owned(), "yes".to_owned(), span.clone()),
            ("smtpd_helo_required".to_owned(), "yes".to_owned(), span.clone()),
        ]);
        assert_eq!(stressed.int("smtpd_junk_command_limit"), 1);
        assert_eq!(stressed.time("smtpd_timeout"), Duration::from_secs(10));
        assert!(stressed.bool("smtpd_helo_required"));
        assert_eq!(stressed.origin("smtpd_helo_required"), Some(span));
        assert_eq!(p.int("slow_destination_concurrency_limit"), 20);
    }

    #[test]
    fn defaults_follow_the_compatibility_level() {
        for (level, relay, append) in [
            ("0", "", true),
            ("1", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination", false),
            ("3.12", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination", false),
        ] {
            let p = parameters(&format!("compatibility_level = {level}\n"));
            assert_eq!(p.get("smtpd_relay_restrictions"), relay);
            assert_eq!(p.bool("append_dot_mydomain"), append, "{level}");
        }
        assert_eq!(parameters("compatibility_level=2\n").get("mynetworks"), "127.0.0.1/32");
    }

    #[test]
    fn a_default_does_not_depend_on_itself() {
        let p = parameters("myhostname = mail.$mydomain\n");
        assert_eq!(p.get("mydomain"), "");
        assert_eq!(p.get("myhostname"), "mail.");
    }

    #[test]
    fn getters_fall_back() {
        let p = parameters("smtpd_hard_error_limit = many\nrelayhost = $relayhost\nsmtpd_timeout = $.\n");
        assert_eq!(p.int("smtpd_hard_error_limit"), 20);
        assert_eq!(p.get("relayhost"), "");
        assert_eq!(p.time("smtpd_timeout"), Duration::from_secs(300));
        assert_eq!(p.expand("$.x").map_err(|d| d.message), Err("empty macro name: \"$.x\"".to_owned()));
        assert_eq!(p.expand("x$mail_name"), Ok("xPostfix".to_owned()));
    }
}
