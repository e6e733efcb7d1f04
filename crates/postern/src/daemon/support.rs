//! What a configuration asks for that postern doesn't do: named at start, with file and line.

use crate::dns::ResolverConfig;
use config::registry::{self, Honour};
use config::{Diagnostic, MasterCf, Parameters, Service, ServiceType, Severity};
use smtp::server::ErrorClasses;

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

/// Settings that would make mail less safe if they were silently ignored.
pub fn check_parameters(p: &Parameters) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let refused: [(&str, bool, &str); 1] = [(
        "smtp_tls_security_level",
        mandatory(&p.get("smtp_tls_security_level")),
        "mail for this transport stays in the queue",
    )];
    for (name, set, why) in refused {
        if set && matches!(registry::honoured(name), Honour::NotYet(_)) {
            found.push(
                Diagnostic::warning("unsafe-unsupported", format!("{name} is not supported yet: {why}"))
                    .at(p.origin(name))
                    .help("keep this service with Postfix until postern supports it"),
            );
        }
    }
    found.extend(crate::verify::check(p));
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
    use std::sync::Arc;

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
}
