//! `smtpd_milters`, `smtpd_milter_maps`, `non_smtpd_milters` and `milter_*`: which filters there are, and how each is
//! talked to.

use crate::daemon::site::ServiceSettings;
use config::list::{name_value, split, strip_group};
use config::{Diagnostic, Parameters};
use message::milter::{DefaultAction, Macros, Offer, Settings};
use policy::{ServiceEndpoint, TableRegistry};
use std::sync::Arc;
use std::time::Duration;

/// One filter, as configured.
#[derive(Clone, Debug)]
pub struct Milter {
    /// What the protocol needs of it.
    pub filter: Arc<Settings>,
    /// Where it listens.
    pub endpoint: ServiceEndpoint,
    /// `milter_connect_timeout`: to connect and negotiate.
    pub connect_timeout: Duration,
    /// `milter_command_timeout`: for an answer to a command.
    pub command_timeout: Duration,
    /// `milter_content_timeout`: for an answer to content.
    pub content_timeout: Duration,
}

/// All filters of a service, or of mail that no client brings.
#[derive(Debug)]
pub struct MilterSettings {
    /// `smtpd_milters`, or `non_smtpd_milters`.
    pub milters: Vec<Arc<Milter>>,
    /// `smtpd_milter_maps`.
    pub maps: Vec<u32>,
    /// `milter_*_macros` and `milter_macro_defaults`.
    pub macros: Macros,
    /// `milter_macro_daemon_name`.
    pub daemon_name: String,
    /// `milter_macro_v`.
    pub v: String,
    defaults: Milter,
    queue_directory: String,
}

impl MilterSettings {
    /// Those of a service; `None` when no client has any.
    pub fn compile(p: &Parameters, registry: &mut TableRegistry, problems: &mut Vec<Diagnostic>) -> Option<Arc<Self>> {
        let overrides = p.get("receive_override_options");
        if overrides.split([',', ' ', '\t', '\n']).any(|word| word == "no_milters") {
            return None;
        }
        let (list, maps) = (p.get("smtpd_milters"), p.get("smtpd_milter_maps"));
        if list.trim().is_empty() && maps.trim().is_empty() {
            return None;
        }
        let mut settings = Self::without_filters(p, problems);
        settings.read(p, "smtpd_milters", problems);
        for element in split(&maps).unwrap_or_default() {
            settings.maps.push(registry.intern(&element.text, p.origin("smtpd_milter_maps")).0);
        }
        Some(Arc::new(settings))
    }

    /// Those of mail that no client brings; `None` when there are none.
    pub fn compile_for_own_mail(p: &Parameters, problems: &mut Vec<Diagnostic>) -> Option<Arc<Self>> {
        if p.get("non_smtpd_milters").trim().is_empty() {
            return None;
        }
        let mut settings = Self::without_filters(p, problems);
        settings.read(p, "non_smtpd_milters", problems);
        Some(Arc::new(settings))
    }

    /// What they have in common.
    fn without_filters(p: &Parameters, problems: &mut Vec<Diagnostic>) -> Self {
        let mut wrong = |name: &str, why: String, help: &str| tell(problems, p, name, why, help);
        let offer = Offer::parse(&p.get("milter_protocol")).unwrap_or_else(|why| {
            wrong("milter_protocol", why, "write 6 (2, 3, 4 for filters that know no other), or 6, no_header_reply");
            Offer::default()
        });
        let default_action = DefaultAction::parse(&p.get("milter_default_action")).unwrap_or_else(|| {
            let why = format!("{}: unknown action", p.get("milter_default_action"));
            wrong("milter_default_action", why, "use accept, reject, tempfail, quarantine or shutdown");
            DefaultAction::default()
        });
        let macros = Macros::compile(&ServiceSettings(p)).unwrap_or_else(|why| {
            let why = why.strip_prefix("milter_macro_defaults: ").unwrap_or(&why).to_owned();
            wrong("milter_macro_defaults", why, "write name=value, separated by commas");
            Macros::default()
        });
        Self {
            milters: Vec::new(),
            maps: Vec::new(),
            macros,
            daemon_name: p.get("milter_macro_daemon_name"),
            v: p.get("milter_macro_v"),
            defaults: Milter {
                filter: Arc::new(Settings { name: "".into(), offer, default_action }),
                endpoint: ServiceEndpoint::Unix("".into()),
                connect_timeout: p.time("milter_connect_timeout"),
                command_timeout: p.time("milter_command_timeout"),
                content_timeout: p.time("milter_content_timeout"),
            },
            queue_directory: p.get("queue_directory"),
        }
    }

    /// The list of filters in this parameter.
    fn read(&mut self, p: &Parameters, name: &str, problems: &mut Vec<Diagnostic>) {
        match self.parse(&p.get(name)) {
            Ok(milters) => self.milters = milters,
            Err(why) => tell(
                problems,
                p,
                name,
                why,
                "write inet:host:port, unix:path, or { inet:host:port, name=value, … } with connect_timeout, \
                 command_timeout, content_timeout, default_action, protocol",
            ),
        }
    }

    /// A list of filters: the value of a parameter, or what a table says of a client. `DISABLE` is none.
    pub fn parse(&self, text: &str) -> Result<Vec<Arc<Milter>>, String> {
        if text.trim().eq_ignore_ascii_case("DISABLE") {
            return Ok(Vec::new());
        }
        let elements = split(text).map_err(|problem| problem.message)?;
        elements.iter().map(|element| self.milter(&element.text).map(Arc::new)).collect()
    }

    /// Stands for filters that can't be known.
    pub fn unknown(&self) -> Arc<Milter> {
        Arc::new(self.defaults.clone())
    }

    fn milter(&self, text: &str) -> Result<Milter, String> {
        let mut milter = self.defaults.clone();
        let mut filter = Settings::clone(&milter.filter);
        match strip_group(text) {
            None => self.place(&mut milter, &mut filter, text)?,
            Some(group) => {
                let elements = split(group).map_err(|problem| problem.message)?;
                let mut elements = elements.iter();
                let endpoint = elements.next().ok_or_else(|| "empty group".to_owned())?;
                self.place(&mut milter, &mut filter, &endpoint.text)?;
                for element in elements {
                    let text = element.group().unwrap_or(&element.text);
                    let (name, value) =
                        name_value(text).ok_or_else(|| format!("missing '=' after attribute name: \"{text}\""))?;
                    set(&mut milter, &mut filter, name, value)?;
                }
            }
        }
        milter.filter = Arc::new(filter);
        Ok(milter)
    }

    fn place(&self, milter: &mut Milter, filter: &mut Settings, text: &str) -> Result<(), String> {
        let needs = || format!("Milter service needs transport:endpoint instead of \"{text}\"");
        let (kind, place) = text.split_once(':').filter(|(_, place)| !place.is_empty()).ok_or_else(needs)?;
        milter.endpoint = match kind {
            "inet" => {
                let (host, port) = place.rsplit_once(':').unwrap_or(("localhost", place));
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                if port.is_empty() {
                    return Err(format!("no port in Milter service: {text}"));
                }
                let host = if host.is_empty() { "localhost" } else { host };
                ServiceEndpoint::Inet { host: host.into(), port: port.into() }
            }
            "unix" | "local" if place.starts_with('/') || self.queue_directory.is_empty() => {
                ServiceEndpoint::Unix(place.into())
            }
            "unix" | "local" => ServiceEndpoint::Unix(format!("{}/{place}", self.queue_directory).into()),
            _ => return Err(format!("invalid transport name: {kind} in Milter service: {text}")),
        };
        filter.name = text.into();
        Ok(())
    }
}

/// Something is wrong with a parameter. What several services have in common is one finding.
fn tell(problems: &mut Vec<Diagnostic>, p: &Parameters, name: &str, why: String, help: &str) {
    let problem = Diagnostic::error("bad-value", format!("{name}: {why}")).at(p.origin(name)).help(help);
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

/// One setting of one filter.
fn set(milter: &mut Milter, filter: &mut Settings, name: &str, value: &str) -> Result<(), String> {
    let time = || {
        let parsed = config::value::parse_time(value, 's').filter(|time| !time.is_zero());
        parsed.ok_or_else(|| format!("bad time: {name}={value}"))
    };
    match name {
        "connect_timeout" => milter.connect_timeout = time()?,
        "command_timeout" => milter.command_timeout = time()?,
        "content_timeout" => milter.content_timeout = time()?,
        "default_action" => {
            filter.default_action =
                DefaultAction::parse(value).ok_or_else(|| format!("unknown default action: {value}"))?;
        }
        "protocol" => filter.offer = Offer::parse(value)?,
        _ => return Err(format!("unexpected name: \"{name}\" in filter settings")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{HostFacts, MainCf};

    fn compiled(text: &str) -> (Option<Arc<MilterSettings>>, Vec<String>) {
        let parameters = Parameters::new(Arc::new(MainCf::parse("main.cf", text).0), HostFacts::default());
        let mut problems = Vec::new();
        let settings = match text.contains("non_smtpd_milters") {
            true => MilterSettings::compile_for_own_mail(&parameters, &mut problems),
            false => MilterSettings::compile(&parameters, &mut TableRegistry::new(), &mut problems),
        };
        (settings, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn none_without_a_word_about_them() {
        for text in [
            "",
            "milter_default_action = nonsense\n",
            "smtpd_milters = inet:h:1\nreceive_override_options = no_address_mappings, no_milters\n",
        ] {
            let (settings, problems) = compiled(text);
            assert!(settings.is_none() && problems.is_empty(), "{text}");
        }
        assert!(compiled("smtpd_milter_maps = inline:{x=y}\n").0.is_some());
        assert!(compiled("non_smtpd_milters =\n").0.is_none());
        let (own, problems) =
            compiled("receive_override_options = no_milters\nnon_smtpd_milters = inet:h:1, inet:h:2\n");
        assert_eq!((own.unwrap().milters.len(), problems.len()), (2, 0));
    }

    #[test]
    fn filters_have_settings_of_their_own() {
        let (settings, problems) = compiled(
            "queue_directory = /q\nmilter_default_action = accept\nsmtpd_milters = inet:h:1, unix:a/b { local:/c, connect_timeout=1s, { default_action = tempfail }, protocol=2, { content_timeout = 1h } }\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let settings = settings.unwrap();
        let [inet, below, own] = &settings.milters[..] else { panic!("{settings:?}") };
        assert_eq!(&*inet.filter.name, "inet:h:1");
        assert_eq!(inet.endpoint, ServiceEndpoint::Inet { host: "h".into(), port: "1".into() });
        assert_eq!(inet.filter.default_action, DefaultAction::Accept);
        assert_eq!((inet.connect_timeout.as_secs(), inet.content_timeout.as_secs()), (30, 300));
        assert_eq!(below.endpoint, ServiceEndpoint::Unix("/q/a/b".into()));
        assert_eq!(own.endpoint, ServiceEndpoint::Unix("/c".into()));
        assert_eq!((own.filter.default_action, own.filter.offer.version), (DefaultAction::Tempfail, 2));
        assert_eq!((own.connect_timeout.as_secs(), own.content_timeout.as_secs()), (1, 3600));
        assert!(settings.parse(" disable ").unwrap().is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_told_at_start() {
        for (text, want) in [
            ("smtpd_milters = junk\n", "Milter service needs transport:endpoint instead of \"junk\""),
            ("non_smtpd_milters = junk\n", "non_smtpd_milters: Milter service needs transport:endpoint"),
            ("non_smtpd_milters = inet:h:1\nmilter_protocol = 5\n", "milter_protocol: bad protocol version"),
            ("smtpd_milters = tcp:h:1\n", "invalid transport name: tcp in Milter service: tcp:h:1"),
            ("smtpd_milters = inet:h:\n", "no port in Milter service"),
            ("smtpd_milters = { inet:h:1, timeout=1s }\n", "unexpected name: \"timeout\" in filter settings"),
            ("smtpd_milters = { inet:h:1, connect_timeout=x }\n", "bad time: connect_timeout=x"),
            ("smtpd_milters = { inet:h:1, default_action=go }\n", "unknown default action: go"),
            ("smtpd_milters = inet:h:1\nmilter_default_action = go\n", "milter_default_action: go: unknown action"),
            ("smtpd_milters = inet:h:1\nmilter_protocol = 5\n", "milter_protocol: bad protocol version or option: 5"),
            ("smtpd_milters = inet:h:1\nmilter_macro_defaults = x\n", "milter_macro_defaults: missing '='"),
        ] {
            let (_, problems) = compiled(text);
            assert!(problems.len() == 1 && problems[0].contains(want), "{text}: {problems:?}");
        }
    }
}
