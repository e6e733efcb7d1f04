//! What delivery takes from main.cf and master.cf.

use crate::daemon::mandatory_tls as mandatory;
use config::{Diagnostic, MasterCf, Parameters, Service, ServiceType};
use policy::address::ProbeSender;
use policy::{TableId, TableRegistry};
use queue::bounce::{Copies, ReportSettings, utc_date};
use queue::schedule::{SECOND, ScheduleSettings};
use smtp::client::ProbeTarget;
use smtp::server::{ErrorClass, ErrorClasses};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How mail leaves: transports, schedule, reports.
#[derive(Clone, Debug)]
pub struct DeliverConfig {
    pub(super) transports: HashMap<String, Arc<Transport>>,
    pub(super) schedule: ScheduleSettings,
    pub(super) report: ReportSettings,
    /// `postfix/qmgr`.
    pub(super) qmgr_tag: String,
    /// `postfix/bounce`.
    pub(super) bounce_tag: String,
    /// Our own addresses: a mail exchanger that has one of them is us.
    pub(super) own_addresses: Vec<IpAddr>,
    /// `enable_long_queue_ids`.
    pub(super) long_queue_ids: bool,
    /// `confirm_delay_cleared`.
    pub(super) confirm_delay_cleared: bool,
    /// Whom probes are from: `address_verify_sender` with its time stamp.
    pub(super) probe_sender: ProbeSender,
    /// `address_verify_pending_request_limit`.
    pub(super) probe_limit: usize,
    /// `address_verify_negative_cache`; without it log lines say so.
    pub(super) keeps_failures: bool,
    /// `error_notice_recipient`, for transcripts.
    pub(super) error_notice_recipient: String,
    /// `postfix/cleanup`.
    pub(super) cleanup_tag: String,
    /// `postfix/error`, for what never reaches an agent.
    pub(super) error_tag: String,
    pub(super) mydomain: String,
    pub(super) myhostname: String,
    /// Relative socket names start here.
    pub(super) queue_directory: PathBuf,
}

/// A service of master.cf that delivers.
#[derive(Debug)]
pub(super) struct Transport {
    /// `postfix/smtp`, as log lines have it.
    pub tag: String,
    /// `NAME_destination_concurrency_limit`.
    pub concurrency_limit: usize,
    /// `NAME_destination_recipient_limit`.
    pub recipient_limit: usize,
    /// `soft_bounce`.
    pub soft_bounce: bool,
    pub agent: Agent,
}

/// What delivers.
#[derive(Debug)]
pub(super) enum Agent {
    /// smtp(8) and lmtp(8).
    Smtp(Box<SmtpSettings>),
    /// local(8).
    Local(LocalSettings),
    /// virtual(8).
    Virtual(VirtualSettings),
    /// discard(8).
    Discard,
    /// error(8): bounce with the nexthop as the reason.
    Error,
    /// error(8) under the name `retry`: defer with the nexthop as the reason.
    Retry,
    /// A program that postern doesn't run.
    Unsupported(String),
}

/// What smtp(8) and lmtp(8) take from the configuration.
#[derive(Clone, Debug)]
pub(super) struct SmtpSettings {
    pub lmtp: bool,
    /// `smtp_tcp_port`.
    pub port: u16,
    pub connect_timeout: Duration,
    pub fallback_relay: Vec<String>,
    pub mx_session_limit: usize,
    pub mx_address_limit: usize,
    pub randomize: bool,
    /// `inet_protocols` and `smtp_address_preference`: Some(false) is IPv4 only, Some(true) IPv6 only.
    pub only_family: Option<bool>,
    pub bind_address: Option<IpAddr>,
    pub bind_address6: Option<IpAddr>,
    pub defer_if_no_mx_address: bool,
    pub host_lookup_dns: bool,
    /// `smtp_address_verify_target`.
    pub probe_target: ProbeTarget,
    pub client: Arc<smtp::client::ClientSettings>,
}

/// What local(8) takes from the configuration.
#[derive(Clone, Debug)]
pub(super) struct LocalSettings {
    /// `mail_spool_directory`.
    pub mail_spool_directory: PathBuf,
    /// Ends in a slash: a Maildir for each user.
    pub spool_is_maildir: bool,
    /// `home_mailbox`.
    pub home_mailbox: String,
    /// `recipient_delimiter`.
    pub recipient_delimiter: String,
    /// `myhostname`, for Maildir file names.
    pub myhostname: String,
    /// `mailbox_size_limit`.
    pub size_limit: u64,
}

/// What virtual(8) takes from the configuration.
#[derive(Clone, Debug)]
pub(super) struct VirtualSettings {
    /// `virtual_mailbox_base`.
    pub base: PathBuf,
    /// `virtual_mailbox_maps`.
    pub maps: Vec<TableId>,
    /// `myhostname`, for Maildir file names.
    pub myhostname: String,
    /// `virtual_mailbox_limit`.
    pub size_limit: u64,
    /// `recipient_delimiter`.
    pub recipient_delimiter: String,
}

/// Directories that mailboxes of this configuration are made in: `mail_spool_directory` if it holds Maildirs.
pub fn maildir_roots(parameters: &Parameters) -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for name in ["mail_spool_directory", "virtual_mailbox_base"] {
        let value = parameters.get(name);
        if value.ends_with('/') && value.len() > 1 {
            roots.push(absolute(&value));
        }
    }
    roots
}

fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

impl DeliverConfig {
    /// From a checked configuration. Tables are interned for [`super::Router::lookup`].
    pub fn compile(
        parameters: &Parameters,
        master: &MasterCf,
        registry: &mut TableRegistry,
        problems: &mut Vec<Diagnostic>,
    ) -> Self {
        let p = parameters;
        let mut transports = HashMap::new();
        for service in master.effective().filter(|s| s.kind != ServiceType::Inet) {
            if let Some(agent) = Agent::compile(service, p, registry, problems) {
                transports.insert(service.name.clone(), Arc::new(agent));
            }
        }
        let syslog_name = p.get("syslog_name");
        let mut own_addresses = own_addresses(p);
        own_addresses.extend(addresses(&p.get("proxy_interfaces")));
        DeliverConfig {
            transports,
            schedule: ScheduleSettings {
                minimal_backoff_time: micros(p.time("minimal_backoff_time")),
                maximal_backoff_time: micros(p.time("maximal_backoff_time")),
                queue_run_delay: micros(p.time("queue_run_delay")),
                maximal_queue_lifetime: micros(p.time("maximal_queue_lifetime")),
                bounce_queue_lifetime: micros(p.time("bounce_queue_lifetime")),
                concurrency_limit: count(p, "default_destination_concurrency_limit"),
                initial_concurrency: count(p, "initial_destination_concurrency"),
            },
            report: ReportSettings {
                myhostname: p.get("myhostname"),
                myorigin: p.get("myorigin"),
                mail_name: p.get("mail_name"),
                bounce_size_limit: u64::try_from(p.int("bounce_size_limit")).unwrap_or(0),
                double_bounce_sender: p.get("double_bounce_sender"),
                date: utc_date,
                delay_warning_time: micros(p.time("delay_warning_time")),
                maximal_queue_lifetime: micros(p.time("maximal_queue_lifetime")),
                copies: copies(p),
                eight_bit: p.bool("smtputf8_enable"),
            },
            qmgr_tag: format!("{syslog_name}/qmgr"),
            bounce_tag: format!("{syslog_name}/bounce"),
            own_addresses,
            long_queue_ids: p.bool("enable_long_queue_ids"),
            confirm_delay_cleared: p.bool("confirm_delay_cleared"),
            probe_sender: ProbeSender::new(
                &p.get("address_verify_sender"),
                &p.get("myorigin"),
                p.time("address_verify_sender_ttl").as_secs(),
            ),
            probe_limit: count(p, "address_verify_pending_request_limit").max(1),
            keeps_failures: p.bool("address_verify_negative_cache"),
            error_notice_recipient: p.get("error_notice_recipient"),
            cleanup_tag: format!("{syslog_name}/cleanup"),
            error_tag: format!("{syslog_name}/error"),
            mydomain: p.get("mydomain"),
            myhostname: p.get("myhostname"),
            queue_directory: absolute(&p.get("queue_directory")),
        }
    }

    /// Reports render times with this instead of in UTC.
    #[must_use]
    pub fn with_dates(mut self, date: fn(i64) -> String) -> Self {
        self.report.date = date;
        self
    }
}

/// Who gets copies of reports: those whose class is on.
fn copies(p: &Parameters) -> Copies {
    let (classes, _) = ErrorClasses::parse(&p.get("notify_classes"));
    let copy = |class, name: &str| classes.contains(class).then(|| p.get(name));
    Copies {
        bounce: copy(ErrorClass::Bounce, "bounce_notice_recipient"),
        double_bounce: copy(ErrorClass::DoubleBounce, "2bounce_notice_recipient"),
        delay: copy(ErrorClass::Delay, "delay_notice_recipient"),
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4).min(SECOND * 86_400 * 36_500)
}

fn count(p: &Parameters, name: &str) -> usize {
    usize::try_from(p.int(name)).unwrap_or(0)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\t', '\r', '\n']).filter(|w| !w.is_empty())
}

fn addresses(text: &str) -> Vec<IpAddr> {
    words(text).filter_map(|w| w.trim_matches(['[', ']']).parse().ok()).collect()
}

/// Addresses we receive mail at. `all` stands for those of the machine.
fn own_addresses(p: &Parameters) -> Vec<IpAddr> {
    let interfaces = p.get("inet_interfaces");
    let all = &p.host().interface_addresses;
    match interfaces.trim() {
        "all" => all.clone(),
        "loopback-only" => all.iter().copied().filter(IpAddr::is_loopback).collect(),
        list => {
            let mut found = addresses(list);
            if words(list).any(|w| w == "localhost") {
                found.extend(all.iter().copied().filter(IpAddr::is_loopback));
            }
            found
        }
    }
}

impl Agent {
    fn compile(
        service: &Service,
        parameters: &Parameters,
        registry: &mut TableRegistry,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<Transport> {
        let p = &parameters.with_overrides(&service.parameter_overrides());
        let agent = match service.command.as_str() {
            // Mail that must not leave unencrypted waits for TLS.
            "smtp" if mandatory(&p.get("smtp_tls_security_level")) => {
                Agent::Unsupported("smtp with mandatory TLS".into())
            }
            "smtp" => Agent::Smtp(Box::new(SmtpSettings::compile(p, false, problems))),
            "lmtp" => Agent::Smtp(Box::new(SmtpSettings::compile(p, true, problems))),
            "local" => Agent::Local(LocalSettings::compile(p)),
            "virtual" => Agent::Virtual(VirtualSettings::compile(p, registry)),
            "discard" => Agent::Discard,
            "error" if service.name == "retry" => Agent::Retry,
            "error" => Agent::Error,
            "pipe" | "spawn" => Agent::Unsupported(service.command.clone()),
            _ => return None,
        };
        let limit = |suffix: &str| {
            let name = format!("{}_{suffix}", service.name);
            let own = p.get(&name);
            let value = if own.is_empty() { p.get(&format!("default_{suffix}")) } else { own };
            value.trim().parse().unwrap_or(0)
        };
        Some(Transport {
            tag: format!("{}/{}", p.get("syslog_name"), service.command),
            concurrency_limit: limit("destination_concurrency_limit"),
            recipient_limit: limit("destination_recipient_limit"),
            soft_bounce: p.bool("soft_bounce"),
            agent,
        })
    }
}

impl SmtpSettings {
    fn compile(p: &Parameters, lmtp: bool, problems: &mut Vec<Diagnostic>) -> Self {
        let prefix = if lmtp { "lmtp" } else { "smtp" };
        let name = |suffix: &str| format!("{prefix}_{suffix}");
        let time = |suffix: &str| p.time(&name(suffix));
        let port = p.get(&name("tcp_port"));
        let port = port_number(&port).unwrap_or_else(|| {
            problems.push(
                Diagnostic::error("bad-port", format!("{}: unknown service: {port}", name("tcp_port")))
                    .at(p.origin(&name("tcp_port"))),
            );
            25
        });
        let helo_name = p.get(&name(if lmtp { "lhlo_name" } else { "helo_name" }));
        let protocols = p.get("inet_protocols");
        let only_family = match (words(&protocols).any(|w| w == "ipv4"), words(&protocols).any(|w| w == "ipv6")) {
            (true, false) => Some(false),
            (false, true) => Some(true),
            _ => None,
        };
        let client = smtp::client::ClientSettings {
            lmtp,
            helo_name,
            always_send_ehlo: lmtp || p.bool("smtp_always_send_ehlo"),
            never_send_ehlo: !lmtp && p.bool("smtp_never_send_ehlo"),
            skip_5xx_greeting: p.bool(&name("skip_5xx_greeting")),
            discard_keywords: words(&p.get(&name(if lmtp {
                "discard_lhlo_keywords"
            } else {
                "discard_ehlo_keywords"
            })))
            .map(str::to_ascii_uppercase)
            .collect(),
            line_length_limit: count(p, &name("line_length_limit")),
            helo_timeout: time(if lmtp { "lhlo_timeout" } else { "helo_timeout" }),
            mail_timeout: time("mail_timeout"),
            rcpt_timeout: time("rcpt_timeout"),
            data_init_timeout: time("data_init_timeout"),
            data_xfer_timeout: time("data_xfer_timeout"),
            data_done_timeout: time("data_done_timeout"),
            rset_timeout: time("rset_timeout"),
            quit_timeout: time("quit_timeout"),
            keep_history: ErrorClasses::parse(&p.get("notify_classes")).0.contains(ErrorClass::Protocol),
        };
        SmtpSettings {
            lmtp,
            port,
            connect_timeout: time("connect_timeout"),
            fallback_relay: words(&p.get(&name("fallback_relay"))).map(str::to_owned).collect(),
            mx_session_limit: count(p, &name("mx_session_limit")),
            mx_address_limit: count(p, &name("mx_address_limit")),
            randomize: p.bool(&name("randomize_addresses")),
            only_family,
            bind_address: p.get(&name("bind_address")).parse().ok(),
            bind_address6: p.get(&name("bind_address6")).trim_matches(['[', ']']).parse().ok(),
            defer_if_no_mx_address: p.bool(&name("defer_if_no_mx_address_found")),
            host_lookup_dns: words(&p.get(&name("host_lookup"))).any(|w| w == "dns"),
            probe_target: probe_target(p, &name("address_verify_target"), problems),
            client: Arc::new(client),
        }
    }
}

fn probe_target(p: &Parameters, name: &str, problems: &mut Vec<Diagnostic>) -> ProbeTarget {
    match p.get(name).trim() {
        "data" => ProbeTarget::Data,
        "rcpt" => ProbeTarget::Rcpt,
        other => {
            let text = format!("{name} = {other}: unknown target");
            problems.push(Diagnostic::error("bad-value", text).at(p.origin(name)).help("write rcpt or data"));
            ProbeTarget::Rcpt
        }
    }
}

#[cfg(test)]
impl SmtpSettings {
    pub fn for_tests(lmtp: bool) -> Self {
        SmtpSettings {
            lmtp,
            port: if lmtp { 24 } else { 25 },
            connect_timeout: Duration::from_secs(5),
            fallback_relay: Vec::new(),
            mx_session_limit: 2,
            mx_address_limit: 5,
            randomize: false,
            only_family: None,
            bind_address: None,
            bind_address6: None,
            defer_if_no_mx_address: false,
            host_lookup_dns: true,
            probe_target: ProbeTarget::Rcpt,
            client: Arc::new(smtp::client::ClientSettings::new("mail.example.com", lmtp)),
        }
    }
}

/// A port number, or one of the service names that mail uses.
pub(super) fn port_number(text: &str) -> Option<u16> {
    match text {
        "smtp" => Some(25),
        "smtps" | "submissions" | "ssmtp" | "urd" => Some(465),
        "submission" => Some(587),
        "lmtp" => Some(24),
        number => number.parse().ok().filter(|n| *n > 0),
    }
}

impl LocalSettings {
    fn compile(p: &Parameters) -> Self {
        let directory = p.get("mail_spool_directory");
        LocalSettings {
            spool_is_maildir: directory.ends_with('/'),
            mail_spool_directory: absolute(&directory),
            home_mailbox: p.get("home_mailbox"),
            recipient_delimiter: p.get("recipient_delimiter"),
            myhostname: p.get("myhostname"),
            size_limit: u64::try_from(p.int("mailbox_size_limit")).unwrap_or(0),
        }
    }
}

impl VirtualSettings {
    fn compile(p: &Parameters, registry: &mut TableRegistry) -> Self {
        VirtualSettings {
            base: absolute(&p.get("virtual_mailbox_base")),
            maps: tables(p, "virtual_mailbox_maps", registry),
            myhostname: p.get("myhostname"),
            size_limit: u64::try_from(p.int("virtual_mailbox_limit")).unwrap_or(0),
            recipient_delimiter: p.get("recipient_delimiter"),
        }
    }
}

fn tables(p: &Parameters, name: &str, registry: &mut TableRegistry) -> Vec<TableId> {
    let elements = config::list::split(&p.get(name)).unwrap_or_default();
    elements.iter().map(|e| registry.intern(&e.text, p.origin(name))).collect()
}
