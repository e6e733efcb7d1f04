//! What a configuration asks for that postern doesn't do: named at start, with file and line.

use crate::dns::ResolverConfig;
use config::registry::{self, Honour};
use config::{Diagnostic, MasterCf, Parameters, Service, ServiceType};

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

/// Each service that doesn't act yet, at its line.
pub fn check_services(master: &MasterCf) -> Vec<Diagnostic> {
    master.effective().filter_map(check_service).collect()
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
    let refused: [(&str, bool, &str); 4] = [
        ("smtpd_proxy_filter", !p.get("smtpd_proxy_filter").is_empty(), "mail would pass without the filter"),
        ("smtpd_milters", !p.get("smtpd_milters").is_empty(), "mail would pass without the milters"),
        ("smtpd_tls_security_level", p.get("smtpd_tls_security_level") == "encrypt", "sessions would not be encrypted"),
        ("smtp_tls_security_level", mandatory(&p.get("smtp_tls_security_level")), "mail would leave unencrypted"),
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

fn mandatory(level: &str) -> bool {
    matches!(level, "encrypt" | "dane-only" | "fingerprint" | "verify" | "secure")
}
