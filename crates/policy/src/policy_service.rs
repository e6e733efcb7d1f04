//! Policy services (SMTPD_POLICY_README): where one listens and how patiently to talk to it.
//!
//! Decides what `check_policy_service` arguments mean. Talking to the service is the program's work.

use crate::settings::Settings;
use config::Diagnostic;
use config::list::{name_value, split, strip_group};
use std::sync::Arc;
use std::time::Duration;

/// The action when a service fails, and the last resort when that action fails too.
pub(crate) const DEFAULT_ACTION: &str = "451 4.3.5 Server configuration problem";

/// The parameter of the circuit breaker.
const BREAKER: &str = "postern_policy_service_breaker";

/// Where a policy service listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServiceEndpoint {
    /// `inet:host:port`.
    Inet {
        /// Name or address, without brackets.
        host: Arc<str>,
        /// Number or service name.
        port: Arc<str>,
    },
    /// `unix:path` or `local:path`, below the queue directory.
    Unix(Arc<str>),
}

/// A policy service with all that has to be known to talk to it. Equal ones share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyService {
    /// `type:endpoint` as written.
    pub name: Arc<str>,
    /// Where it listens.
    pub endpoint: ServiceEndpoint,
    /// `smtpd_policy_service_default_action`: what counts when it gives no usable answer.
    pub default_action: Arc<str>,
    /// `smtpd_policy_service_policy_context`, sent along with each request.
    pub policy_context: Arc<str>,
    /// `smtpd_policy_service_timeout`: for connecting, sending and receiving.
    pub timeout: Duration,
    /// `smtpd_policy_service_max_idle`: an unused connection is closed after this.
    pub max_idle: Duration,
    /// `smtpd_policy_service_max_ttl`: a connection is closed after this in any case.
    pub max_ttl: Duration,
    /// `smtpd_policy_service_request_limit`: requests a connection, 0 for any number.
    pub request_limit: u32,
    /// `smtpd_policy_service_retry_delay`: the pause before another try.
    pub retry_delay: Duration,
    /// `smtpd_policy_service_try_limit`: how often to try, 0 for ever.
    pub try_limit: u32,
    /// `postern_policy_service_breaker`: when to leave it alone; `None`: never.
    pub breaker: Option<BreakerLimits>,
}

/// When a service that fails is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BreakerLimits {
    /// After so many failures in a row.
    pub failures: u32,
    /// The longest time between two probes.
    pub pause: Duration,
}

impl BreakerLimits {
    /// `N, TIME`; nothing for never.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let words: Vec<&str> = text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty()).collect();
        let [failures, pause] = words[..] else {
            return if words.is_empty() { Ok(None) } else { Err(format!("need two values instead of \"{text}\"")) };
        };
        let failures = failures.parse().ok().filter(|number| *number > 0);
        let failures = failures.ok_or_else(|| format!("bad number of failures in \"{text}\""))?;
        let pause = config::value::parse_time(pause, 's').filter(|pause| !pause.is_zero());
        let pause = pause.ok_or_else(|| format!("bad time in \"{text}\""))?;
        Ok(Some(Self { failures, pause }))
    }
}

impl PolicyService {
    /// Why there is no action when the service was not even asked. It is part of the explanation, but no warning: the
    /// log had one when the service was given up.
    pub const PASSED_OVER: &str = "not asked, as it failed too often";

    /// The endpoint without its type: the name in `problem talking to server NAME`.
    pub fn server(&self) -> &str {
        self.name.split_once(':').map_or(&*self.name, |(_, endpoint)| endpoint)
    }
}

/// Reads arguments of `check_policy_service`; equal ones become one service.
#[derive(Clone, Debug)]
pub(crate) struct PolicyServices {
    defaults: PolicyService,
    queue_directory: String,
    /// All that were named, once each.
    pub known: Vec<Arc<PolicyService>>,
}

impl PolicyServices {
    /// With the global parameters as defaults.
    pub fn new(settings: &dyn Settings, problems: &mut Vec<Diagnostic>) -> Self {
        let text = |name: &str| settings.get(&format!("smtpd_policy_service_{name}"));
        let action = text("default_action");
        let mut defaults = PolicyService {
            name: Arc::default(),
            endpoint: ServiceEndpoint::Unix(Arc::default()),
            default_action: if action.trim().is_empty() { DEFAULT_ACTION.into() } else { action.into() },
            policy_context: text("policy_context").into(),
            timeout: Duration::from_secs(100),
            max_idle: Duration::from_secs(300),
            max_ttl: Duration::from_secs(1000),
            request_limit: 0,
            retry_delay: Duration::from_secs(1),
            try_limit: 2,
            breaker: None,
        };
        match BreakerLimits::parse(&settings.get(BREAKER)) {
            Ok(breaker) => defaults.breaker = breaker,
            Err(why) => {
                let help = "write the number of failures and the longest pause between probes: 10, 30s; or nothing";
                let problem = Diagnostic::error("bad-value", format!("{BREAKER}: {why}"));
                problems.push(problem.at(settings.origin(BREAKER)).help(help));
            }
        }
        for name in ["timeout", "max_idle", "max_ttl", "request_limit", "retry_delay", "try_limit"] {
            let value = text(name);
            if value.trim().is_empty() {
                continue;
            }
            if let Err(why) = defaults.set(name, value.trim()) {
                let name = format!("smtpd_policy_service_{name}");
                let problem = Diagnostic::error("bad-value", format!("{name}: {why}")).at(settings.origin(&name));
                problems.push(problem);
            }
        }
        Self { defaults, queue_directory: settings.get("queue_directory"), known: Vec::new() }
    }

    /// The service of an argument: `type:endpoint` or `{ type:endpoint, name=value, … }`.
    pub fn service(&mut self, argument: &str) -> Result<Arc<PolicyService>, String> {
        let mut service = self.defaults.clone();
        match strip_group(argument) {
            None => service.listens_at(argument)?,
            Some(group) => {
                let elements = split(group).map_err(|problem| problem.message)?;
                let mut elements = elements.iter();
                let Some(endpoint) = elements.next() else { return Err("empty group".into()) };
                service.listens_at(&endpoint.text)?;
                for element in elements {
                    let text = element.group().unwrap_or(&element.text);
                    let Some((name, value)) = name_value(text) else {
                        return Err(format!("missing '=' after attribute name: \"{text}\""));
                    };
                    service.set(name, value)?;
                }
            }
        }
        if let ServiceEndpoint::Unix(path) = &service.endpoint
            && !path.starts_with('/')
            && !self.queue_directory.is_empty()
        {
            service.endpoint = ServiceEndpoint::Unix(format!("{}/{path}", self.queue_directory).into());
        }
        if let Some(known) = self.known.iter().find(|known| ***known == service) {
            return Ok(known.clone());
        }
        let service = Arc::new(service);
        self.known.push(service.clone());
        Ok(service)
    }
}

impl PolicyService {
    fn listens_at(&mut self, text: &str) -> Result<(), String> {
        let endpoint = match text.split_once(':') {
            Some((kind, path)) if !path.is_empty() => match kind {
                "unix" | "local" => ServiceEndpoint::Unix(path.into()),
                "inet" => {
                    let (host, port) = path.rsplit_once(':').unwrap_or(("localhost", path));
                    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                    let host = if host.is_empty() { "localhost" } else { host };
                    if port.is_empty() {
                        return Err(format!("\"{text}\" has no port"));
                    }
                    ServiceEndpoint::Inet { host: host.into(), port: port.into() }
                }
                _ => return Err(format!("invalid transport name: {kind} in service: {text}")),
            },
            _ => return Err(format!("need service transport:endpoint instead of \"{text}\"")),
        };
        self.endpoint = endpoint;
        self.name = text.into();
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let bad = || format!("bad {name} value \"{value}\"");
        let time = || config::value::parse_time(value, 's').ok_or_else(bad);
        let number = || value.parse().map_err(|_| bad());
        match name {
            "default_action" => self.default_action = value.into(),
            "policy_context" => self.policy_context = value.into(),
            "timeout" => self.timeout = time()?,
            "max_idle" => self.max_idle = time()?,
            "max_ttl" => self.max_ttl = time()?,
            "retry_delay" => self.retry_delay = time()?,
            "request_limit" => self.request_limit = number()?,
            "try_limit" => self.try_limit = number()?,
            _ => return Err(format!("unexpected attribute name: \"{name}\"")),
        }
        Ok(())
    }
}
