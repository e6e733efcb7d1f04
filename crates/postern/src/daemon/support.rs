//! What a configuration asks for that postern doesn't do: named at start, with file and line.

use super::site::{SaslSettings, ServiceSettings};
use crate::dns::ResolverConfig;
use crate::sasl::{AuthService, SecurityOptions};
use crate::tls::{Level, smtpd_level};
use config::registry::{self, Honour};
use config::{Diagnostic, MasterCf, Parameters, Service, ServiceType, Severity};
use policy::{ListKind, MatchList, TableRegistry};
use smtp::server::ErrorClasses;
use std::sync::Arc;

/// Services of master.cf that are built in, or that postern has no use for.
const BUILT_IN: &[&str] = &[
    "anvil",
    "bounce",
    "cleanup",
    "defer",
    "discard",
    "dnsblog",
    "error",
    "flush",
    "lmtp",
    "local",
    "pickup",
    "postlogd",
    "proxymap",
    "qmgr",
    "oqmgr",
    "nqmgr",
    "retry",
    "scache",
    "showq",
    "smtp",
    "tlsmgr",
    "tlsproxy",
    "trivial-rewrite",
    "verify",
    "virtual",
];

/// Each service that doesn't act yet, at its line. One that no setting names is only noted: Debian's master.cf has
/// lines for UUCP, fax and the like.
pub fn check_services(master: &MasterCf, parameters: &Parameters) -> Vec<Diagnostic> {
    let main = parameters.main().effective().map(|definition| definition.value.as_str());
    let overrides = master.effective().flat_map(|service| &service.overrides).map(|setting| setting.value.as_str());
    let values: Vec<&str> = main.chain(overrides).collect();
    let judge = |service: &Service| {
        let problem = check_service(service)?;
        let is_optional = service.kind != ServiceType::Inet;
        let is_named = || values.iter().any(|value| names_service(value, &service.name));
        Some(if is_optional && !is_named() { Diagnostic { severity: Severity::Note, ..problem } } else { problem })
    };
    master.effective().filter_map(judge).collect()
}

/// Is there a transport `name`, `name:nexthop`, or a socket `…/name` in the value?
fn names_service(value: &str, name: &str) -> bool {
    let words = value.split(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | '{' | '}' | '='));
    words.into_iter().any(|word| {
        let is_transport = word.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
        is_transport || word.strip_suffix(name).is_some_and(|path| path.ends_with('/'))
    })
}

fn check_service(service: &Service) -> Option<Diagnostic> {
    let built_in = BUILT_IN.contains(&service.command.as_str());
    let (what, help) = match (service.kind, service.command.as_str()) {
        (ServiceType::Inet, "smtpd") => return None,
        (ServiceType::Pass, "smtpd") | (_, "dnsblog" | "tlsproxy") => return None,
        (ServiceType::Inet, "postscreen") => {
            ("postscreen is not supported yet: this service does not listen", "let smtpd listen here")
        }
        (ServiceType::Inet, "qmqpd") => ("qmqpd is not supported: this service does not listen", "use SMTP"),
        (_, "pipe" | "spawn") => (
            "mail for this transport stays in the queue: pipe and spawn are not supported, as postern runs no programs",
            "deliver to the program by LMTP or SMTP",
        ),
        (_, "postscreen") => return None,
        _ if built_in => return None,
        _ => ("this service is not supported", "remove it, or deliver by LMTP or SMTP"),
    };
    let name = format!("{} {} {}", service.name, service.kind, service.command);
    Some(
        Diagnostic::warning("unsupported-service", format!("{name}: {what}")).at(Some(service.span.clone())).help(help),
    )
}

/// AUTH as a service offers it. What can't be done is an error: nobody could log in, or anybody.
pub fn sasl_settings(
    p: &Parameters,
    registry: &mut TableRegistry,
    problems: &mut Vec<Diagnostic>,
) -> Option<SaslSettings> {
    if !p.bool("smtpd_sasl_auth_enable") {
        return None;
    }
    let mut refuse = |name: &str, text: String, help: &str| {
        let problem = Diagnostic::error("bad-value", text).at(p.origin(name)).help(help);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
        None
    };
    match p.get("smtpd_sasl_type").as_str() {
        "dovecot" => {}
        "cyrus" => {
            let text = "smtpd_sasl_auth_enable = yes with smtpd_sasl_type = cyrus: Cyrus SASL is not supported";
            let help = "let Dovecot authenticate: smtpd_sasl_type = dovecot and smtpd_sasl_path = private/auth";
            let name = if p.is_set("smtpd_sasl_type") { "smtpd_sasl_type" } else { "smtpd_sasl_auth_enable" };
            return refuse(name, text.to_owned(), help);
        }
        other => {
            return refuse(
                "smtpd_sasl_type",
                format!("smtpd_sasl_type = {other}: unknown type"),
                "use smtpd_sasl_type = dovecot",
            );
        }
    }
    let service = AuthService::new(&p.get("smtpd_sasl_path"), &p.get("smtpd_sasl_service"), &p.get("queue_directory"));
    let service = match service {
        Ok(service) => Arc::new(service),
        Err(text) => {
            return refuse("smtpd_sasl_path", text, "name Dovecot's socket: private/auth, or inet:host:port");
        }
    };
    let mut options = Vec::new();
    for name in ["smtpd_sasl_security_options", "smtpd_sasl_tls_security_options"] {
        match SecurityOptions::parse(&p.get(name)) {
            Ok(parsed) => options.push(parsed),
            Err(word) => {
                let help = "use noanonymous, noplaintext, noactive, nodictionary, mutual_auth, forward_secrecy";
                return refuse(name, format!("{name}: {word}: unknown option"), help);
            }
        }
    }
    let [security_options, tls_security_options] = options[..] else { return None };
    let settings = ServiceSettings(p);
    let mut compile = |name: &str, kind: ListKind| {
        let (list, found) = MatchList::compile(name, kind, &settings, registry);
        problems.extend(found);
        list
    };
    let mechanism_filter = compile("smtpd_sasl_mechanism_filter", ListKind::Strings);
    let exceptions = compile("smtpd_sasl_exceptions_networks", ListKind::Hosts { parents: false });
    let tls_first = p.bool("smtpd_tls_auth_only") || smtpd_level(p) == Level::Encrypt;
    Some(SaslSettings { service, security_options, tls_security_options, tls_first, mechanism_filter, exceptions })
}

/// Settings that would make mail less safe if they were silently ignored.
pub fn check_parameters(p: &Parameters) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let refused: [(&str, bool, &str); 3] = [
        ("smtpd_proxy_filter", !p.get("smtpd_proxy_filter").is_empty(), "mail would pass without the filter"),
        ("smtpd_milters", !p.get("smtpd_milters").is_empty(), "mail would pass without the milters"),
        (
            "smtp_tls_security_level",
            mandatory(&p.get("smtp_tls_security_level")),
            "mail for this transport stays in the queue",
        ),
    ];
    for (name, set, why) in refused {
        if set && matches!(registry::honoured(name), Honour::NotYet(_)) {
            found.push(
                Diagnostic::warning("unsafe-unsupported", format!("{name} is not supported yet: {why}"))
                    .at(p.origin(name))
                    .help("keep this service with Postfix until postern supports it"),
            );
        }
    }
    let system = ResolverConfig::parse("");
    if let Err(word) = ResolverConfig::from_list(&p.get("postern_dns_servers"), system) {
        found.push(
            Diagnostic::error("bad-value", format!("postern_dns_servers: {word}: not an address"))
                .at(p.origin("postern_dns_servers"))
                .help("write ip, ip:port or [ipv6]:port, separated by blanks: 192.0.2.53 [2001:db8::53]:5353"),
        );
    }
    if let Some(word) = ErrorClasses::parse(&p.get("notify_classes")).1.first() {
        found.push(
            Diagnostic::error("bad-value", format!("notify_classes: {word}: unknown class"))
                .at(p.origin("notify_classes"))
                .help("use bounce, 2bounce, data, delay, policy, protocol, resource, software"),
        );
    }
    let protocol = p.get("smtpd_upstream_proxy_protocol");
    if !protocol.is_empty() && protocol != "haproxy" {
        found.push(
            Diagnostic::error("bad-value", format!("smtpd_upstream_proxy_protocol = {protocol}: unknown protocol"))
                .at(p.origin("smtpd_upstream_proxy_protocol"))
                .help("use haproxy, or leave it empty"),
        );
    }
    found
}

/// Is TLS more than an opportunity at this level?
pub fn mandatory(level: &str) -> bool {
    matches!(level, "encrypt" | "dane-only" | "fingerprint" | "verify" | "secure")
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{HostFacts, MainCf};

    #[test]
    fn a_program_that_nobody_calls_is_only_noted() {
        let text = "smtp inet n - n - - smtpd\nuucp unix - n n - - pipe argv=uux\nspf unix - n n - 0 spawn argv=/x\n";
        let (master, _) = MasterCf::parse("master.cf", text);
        let told = |main: &str| -> Vec<_> {
            let parameters = Parameters::new(Arc::new(MainCf::parse("main.cf", main).0), HostFacts::default());
            check_services(&master, &parameters).iter().map(|problem| problem.severity).collect()
        };
        let (note, warning) = (Severity::Note, Severity::Warning);
        for (main, want) in [
            ("relayhost = uucphost\n", [note, note]),
            ("default_transport = uucp:host\n", [warning, note]),
            ("smtpd_recipient_restrictions = check_policy_service unix:private/spf, reject\n", [note, warning]),
        ] {
            assert_eq!(told(main), want, "{main}");
        }
    }

    #[test]
    fn auth_is_offered_or_refused_aloud() {
        let dovecot = "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\n";
        for (text, is_offered, problem) in [
            (String::new(), false, None),
            (dovecot.to_owned(), true, None),
            (format!("{dovecot}smtpd_sasl_tls_security_options = nopain\n"), false, Some("nopain: unknown option")),
            (format!("{dovecot}smtpd_sasl_security_options = nopain\n"), false, Some("nopain: unknown option")),
            (format!("{dovecot}smtpd_sasl_path =\n"), false, Some("smtpd_sasl_path is empty")),
            (format!("{dovecot}smtpd_sasl_type = moon\n"), false, Some("smtpd_sasl_type = moon: unknown type")),
            ("smtpd_sasl_auth_enable = yes\n".to_owned(), false, Some("Cyrus SASL is not supported")),
        ] {
            let parameters = Parameters::new(Arc::new(MainCf::parse("main.cf", &text).0), HostFacts::default());
            let mut problems = Vec::new();
            let settings = sasl_settings(&parameters, &mut TableRegistry::new(), &mut problems);
            assert_eq!(settings.is_some(), is_offered, "{text}");
            match problem {
                Some(problem) => {
                    assert!(problems.len() == 1 && problems[0].is_error(), "{text}: {problems:?}");
                    assert!(problems[0].to_string().contains(problem), "{}", problems[0]);
                }
                None => assert!(problems.is_empty(), "{text}: {problems:?}"),
            }
        }
    }
}
