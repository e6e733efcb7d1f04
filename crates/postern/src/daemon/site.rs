//! A whole configuration, read, checked and compiled: what serves, or every reason why it can't.

use super::host;
use super::limits::ClientLimits;
use super::listen::Interfaces;
use super::probe_settings::ProbeSettings;
pub use super::reading::{Reading, Source, load, parameters, read};
use super::sasl::SaslSettings;
use super::session_config::session_config;
use crate::deliver::DeliverConfig;
use crate::internal_mail::InternalMailSettings;
use crate::maillog::Log;
use crate::milter::MilterSettings;
use crate::proxy_filter::ProxyFilter;
use crate::tls::{self, TlsServer};
use config::{Diagnostic, HostFacts, MasterCf, Parameters, Places, ServiceType, Span};
use message::CleanupConfig;
use policy::address::Routing;
use policy::{ListKind, MatchList, Plan, Settings, TableId, TableRegistry};
use smtp::server::SessionConfig;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tables::{OpenOptions, TableSet};

/// Who may do what, by match list.
pub struct Authorisation {
    /// `smtpd_authorized_xclient_hosts`.
    pub xclient: MatchList,
    /// `smtpd_authorized_xforward_hosts`.
    pub xforward: MatchList,
    /// `smtpd_authorized_verp_clients`.
    pub verp: MatchList,
    /// `smtpd_forbid_bare_newline_exclusions`.
    pub bare_newline: MatchList,
}

/// One `inet … smtpd` service, compiled.
pub struct Service {
    /// Its name in master.cf.
    pub name: Arc<str>,
    /// `postfix/smtpd`, as log lines have it.
    pub tag: Arc<str>,
    /// `postfix/cleanup`.
    pub cleanup_tag: Arc<str>,
    /// Its parameters, `-o` included.
    pub parameters: Parameters,
    /// The restriction lists.
    pub plan: Plan,
    /// Address resolution as this service sees it.
    pub routing: Arc<Routing>,
    /// What the session needs.
    pub session: Arc<SessionConfig>,
    /// What cleanup needs.
    pub cleanup: Arc<CleanupConfig>,
    /// Who may do what.
    pub authorisation: Authorisation,
    /// `smtpd_discard_ehlo_keyword_address_maps`, `smtpd_command_filter` and their like.
    pub session_maps: SessionMaps,
    /// `local_header_rewrite_clients`.
    pub rewrite_clients: Vec<RewriteClients>,
    /// Less space than this in the spool's file system, and MAIL is refused: `queue_minfree`, and one and a half
    /// messages of `message_size_limit`.
    pub space_wanted: u64,
    /// `fast_flush_domains`.
    pub fast_flush_domains: MatchList,
    /// `smtpd_peername_lookup`.
    pub peername_lookup: bool,
    /// `smtpd_client_port_logging`.
    pub client_port_logging: bool,
    /// `enable_long_queue_ids`.
    pub long_queue_ids: bool,
    /// `smtpd_upstream_proxy_protocol = haproxy`.
    pub proxy_protocol: bool,
    /// `smtpd_upstream_proxy_timeout`.
    pub proxy_timeout: Duration,
    /// `mynetworks`, for the lost-client-address alarm.
    pub mynetworks: MatchList,
    /// `postern_distrust_gateways`.
    pub distrusts_gateways: bool,
    /// `smtpd_proxy_filter`.
    pub proxy_filter: Option<Arc<ProxyFilter>>,
    /// `smtpd_timeout`, for writing.
    pub write_timeout: Duration,
    /// `smtpd_sasl_authenticated_header`.
    pub sasl_authenticated_header: bool,
    /// AUTH: whom to ask, and what to offer; `None` is not enabled.
    pub sasl: Option<SaslSettings>,
    /// TLS; `None` where it isn't offered, or can't be.
    pub tls: Option<TlsServer>,
    /// `smtpd_tls_received_header`.
    pub tls_received_header: bool,
    /// `smtpd_milters` and `smtpd_milter_maps`; `None` where no client has any.
    pub milters: Option<Arc<MilterSettings>>,
    /// How much one client, or one login, may do.
    pub limits: ClientLimits,
    /// `smtpd_hide_client_session`.
    pub hide_client_session: bool,
    /// `myhostname`.
    pub my_hostname: String,
    /// Who tells what was found (`postern_authserv_id`), if that is wanted (`postern_authentication_results`).
    pub results_of: Option<String>,
    /// Somebody may ask for authors and signatures.
    pub looks_at_messages: bool,
    /// `mail_name`.
    pub mail_name: String,
    /// `postern_reject_code_suffix`.
    pub reject_code_suffix: bool,
    /// `content_filter`.
    pub content_filter: String,
    /// Not with `receive_override_options = no_address_mappings`.
    pub address_mappings: bool,
    /// Not with `receive_override_options = no_header_body_checks`.
    pub header_body_checks: bool,
}

impl Service {
    /// May clients say SMTPUTF8, as far as that doesn't hinge on who they are?
    pub fn offers_smtputf8(&self) -> bool {
        let discarded = self.parameters.get("smtpd_discard_ehlo_keywords");
        let is_discarded = discarded.split([',', ' ', '\t', '\n']).any(|word| word.eq_ignore_ascii_case("smtputf8"));
        self.session.smtputf8_enable && !is_discarded
    }
}

/// Tables that the session itself consults.
#[derive(Default)]
pub struct SessionMaps {
    /// `smtpd_command_filter`.
    pub command_filter: Vec<u32>,
    /// `smtpd_discard_ehlo_keyword_address_maps`.
    pub discard_keywords: Vec<u32>,
    /// Tables in `smtpd_forbidden_commands`.
    pub forbidden_commands: Vec<u32>,
    /// `relay_clientcerts`.
    pub relay_clientcerts: Vec<u32>,
    /// `smtpd_reject_filter_maps`.
    pub reject_filter: Vec<u32>,
    /// `smtpd_reject_footer_maps`.
    pub reject_footer: Vec<u32>,
    /// `smtpd_reject_footer`, not expanded.
    pub footer: String,
    /// `smtpd_expansion_filter`.
    pub expansion_filter: String,
}

/// One element of `local_header_rewrite_clients`.
pub enum RewriteClients {
    /// `permit_inet_interfaces`.
    InetInterfaces,
    /// `permit_mynetworks`.
    MyNetworks(MatchList),
    /// `permit_sasl_authenticated`.
    SaslAuthenticated,
    /// `permit_tls_clientcerts`, `permit_tls_all_clientcerts`.
    Certificates {
        /// Is any trusted one enough?
        all: bool,
    },
    /// `check_address_map type:table`.
    AddressMap(u32),
}

/// A whole configuration.
pub struct Site {
    /// main.cf's parameters.
    pub parameters: Parameters,
    /// The services that listen.
    pub services: Vec<Arc<Service>>,
    /// All tables of all services.
    pub tables: Arc<TableSet>,
    /// Where tables say what they notice while they serve; set when the log is open.
    pub table_log: Arc<OnceLock<Log>>,
    /// Address resolution for delivery.
    pub routing: Arc<Routing>,
    /// The same for address probes (`address_verify_relayhost` and the like).
    pub probe_routing: Arc<Routing>,
    /// What cleanup does with our own messages.
    pub cleanup: Arc<CleanupConfig>,
    /// Who looks at our own messages (`internal_mail_filter_classes`, `non_smtpd_milters`).
    pub internal_mail: InternalMailSettings,
    /// How mail leaves.
    pub deliver: DeliverConfig,
    /// Addresses to listen on.
    pub interfaces: Interfaces,
}

impl Site {
    /// A service by its name.
    pub fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.services.iter().find(|s| &*s.name == name).cloned()
    }

    /// A path parameter; relative ones start where the program was started.
    pub fn path(&self, name: &str) -> PathBuf {
        let path = PathBuf::from(self.parameters.get(name));
        std::path::absolute(&path).unwrap_or(path)
    }
}

/// Parameters as the policy crate reads them.
pub struct ServiceSettings<'a>(pub &'a Parameters);

impl Settings for ServiceSettings<'_> {
    fn get(&self, name: &str) -> String {
        self.0.get(name)
    }

    fn origin(&self, name: &str) -> Option<Span> {
        self.0.origin(name)
    }

    fn places(&self, name: &str) -> Places<'_> {
        self.0.places(name)
    }

    fn read_list_file(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| format!("open file {path}: {error}"))
    }

    fn interface_addresses(&self) -> Vec<IpAddr> {
        let interfaces = self.0.get("inet_interfaces");
        let host = self.0.host();
        let mut found = Vec::new();
        for word in interfaces.split([',', ' ', '\t', '\n']).filter(|w| !w.is_empty()) {
            match word {
                "all" => found.extend(&host.interface_addresses),
                "loopback-only" | "localhost" => {
                    found.extend(host.interface_addresses.iter().filter(|a| a.is_loopback()));
                }
                address => found.extend(address.trim_matches(['[', ']']).parse::<IpAddr>()),
            }
        }
        found
    }
}

/// Compile as much as can be.
pub(super) fn compile(parameters: Parameters, master: &MasterCf, problems: &mut Vec<Diagnostic>) -> Option<Site> {
    let mut registry = TableRegistry::new();
    let (routing, found) = Routing::compile(&ServiceSettings(&parameters), &mut registry);
    problems.extend(found);
    let routing = Arc::new(routing);
    let (probe_routing, _) = Routing::compile(&ProbeSettings(ServiceSettings(&parameters)), &mut registry);
    let probe_routing = Arc::new(probe_routing);
    let mut services = Vec::new();
    for entry in master.effective().filter(|s| s.kind == ServiceType::Inet && s.command == "smtpd") {
        let own = parameters.with_overrides(&entry.parameter_overrides());
        services.push(Arc::new(compile_service(&entry.name, own, &mut registry, problems)));
    }
    if services.is_empty() {
        problems.push(
            Diagnostic::error("no-service", "no inet service with the command smtpd")
                .at(Some(Span::new(master.file(), 0)))
                .help("add a line such as: smtp inet n - n - - smtpd"),
        );
    }
    let deliver = DeliverConfig::compile(&parameters, master, &mut registry, problems);
    let cleanup = Arc::new(CleanupConfig::compile(&ServiceSettings(&parameters), &mut registry));
    let internal_mail = InternalMailSettings::compile(&parameters, problems);
    let table_log = Arc::new(OnceLock::new());
    let tables = open_tables(&parameters, &registry, Arc::clone(&table_log), problems);
    let interfaces =
        Interfaces { interfaces: parameters.get("inet_interfaces"), protocols: parameters.get("inet_protocols") };
    for service in &services {
        if let Err(error) = super::listen::endpoints(&service.name, &interfaces) {
            let entry = master.find(&service.name, ServiceType::Inet);
            let place = entry.map_or_else(|| Span::new(master.file(), 0), |entry| entry.span.clone());
            let help = "write a port, a name from /etc/services, host:port or [ipv6]:port";
            problems.push(Diagnostic::error("bad-endpoint", format!("{error:#}")).at(Some(place)).help(help));
        }
    }
    Some(Site {
        parameters,
        services,
        tables: Arc::new(tables),
        table_log,
        routing,
        probe_routing,
        cleanup,
        internal_mail,
        deliver,
        interfaces,
    })
}

fn compile_service(name: &str, p: Parameters, registry: &mut TableRegistry, problems: &mut Vec<Diagnostic>) -> Service {
    let settings = ServiceSettings(&p);
    let (plan, found) = Plan::compile(&settings, registry);
    // The same finding in several services is one finding.
    problems.extend(found.into_iter().filter(|f| !problems.contains(f)).collect::<Vec<_>>());
    let (routing, _) = Routing::compile(&settings, registry);
    let hosts = |name: &str, registry: &mut TableRegistry, problems: &mut Vec<Diagnostic>| {
        let (list, found) = MatchList::compile(name, ListKind::Hosts { parents: false }, &settings, registry);
        problems.extend(found);
        list
    };
    // The plan has told what is wrong with it.
    let mynetworks = hosts("mynetworks", registry, &mut Vec::new());
    let authorisation = Authorisation {
        xclient: hosts("smtpd_authorized_xclient_hosts", registry, problems),
        xforward: hosts("smtpd_authorized_xforward_hosts", registry, problems),
        verp: hosts("smtpd_authorized_verp_clients", registry, problems),
        bare_newline: hosts("smtpd_forbid_bare_newline_exclusions", registry, problems),
    };
    let parents = p.get("parent_domain_matches_subdomains").contains("fast_flush_domains");
    let (fast_flush_domains, found) =
        MatchList::compile("fast_flush_domains", ListKind::Domains { parents }, &settings, registry);
    problems.extend(found);
    let session_maps = session_maps(&p, registry);
    let rewrite_clients = rewrite_clients(&p, registry, problems);
    let cleanup = Arc::new(CleanupConfig::compile(&settings, registry));
    let sasl = SaslSettings::compile(&p, registry, problems);
    let tls = tls::server(&p, registry, problems);
    let limits = ClientLimits::compile(&p, registry, problems);
    let milters = MilterSettings::compile(&p, registry, problems);
    let session = Arc::new(session_config(&p, &limits, tls.is_some()));
    let overrides = p.get("receive_override_options");
    let has_override = |word: &str| overrides.split([',', ' ', '\t', '\n']).any(|w| w == word);
    let syslog_name = p.get("syslog_name");
    let results_of = p.bool("postern_authentication_results").then(|| p.get("postern_authserv_id"));
    let looks_at_messages = plan.may_ask_about_messages() || results_of.is_some();
    Service {
        name: name.into(),
        tag: format!("{syslog_name}/smtpd").into(),
        cleanup_tag: format!("{}/cleanup", base_syslog_name(&p)).into(),
        plan,
        routing: Arc::new(routing),
        session,
        cleanup,
        authorisation,
        session_maps,
        rewrite_clients,
        space_wanted: space_wanted(&p),
        fast_flush_domains,
        peername_lookup: p.bool("smtpd_peername_lookup"),
        client_port_logging: p.bool("smtpd_client_port_logging"),
        long_queue_ids: p.bool("enable_long_queue_ids"),
        proxy_protocol: p.get("smtpd_upstream_proxy_protocol") == "haproxy",
        proxy_timeout: p.time("smtpd_upstream_proxy_timeout"),
        mynetworks,
        distrusts_gateways: p.bool("postern_distrust_gateways"),
        proxy_filter: ProxyFilter::compile(&p, problems),
        write_timeout: p.time("smtpd_timeout"),
        sasl_authenticated_header: p.bool("smtpd_sasl_authenticated_header"),
        sasl,
        tls,
        tls_received_header: p.bool("smtpd_tls_received_header"),
        milters,
        limits,
        hide_client_session: p.bool("smtpd_hide_client_session"),
        my_hostname: p.get("myhostname"),
        looks_at_messages,
        results_of,
        mail_name: p.get("mail_name"),
        reject_code_suffix: p.bool("postern_reject_code_suffix"),
        content_filter: p.get("content_filter"),
        address_mappings: !has_override("no_address_mappings"),
        header_body_checks: !has_override("no_header_body_checks"),
        parameters: p,
    }
}

fn space_wanted(p: &Parameters) -> u64 {
    let bytes = |name: &str| u64::try_from(p.int(name)).unwrap_or(0);
    bytes("queue_minfree").max(bytes("message_size_limit").saturating_mul(3) / 2)
}

/// cleanup(8) is one service for all: `-o syslog_name` of a submission service doesn't reach it.
fn base_syslog_name(p: &Parameters) -> String {
    Parameters::new(Arc::new(p.main().clone()), p.host().clone()).get("syslog_name")
}

fn table_ids(p: &Parameters, name: &str, mut number: impl FnMut(&str, Option<Span>) -> TableId) -> Vec<u32> {
    let span = p.origin(name);
    let elements = config::list::split(&p.get(name)).unwrap_or_default();
    elements.iter().map(|e| number(&e.text, span.clone()).0).collect()
}

/// The elements of `smtpd_forbidden_commands` that are tables; the default's own pattern is built in.
fn forbidden_tables(p: &Parameters, registry: &mut TableRegistry) -> Vec<u32> {
    let name = "smtpd_forbidden_commands";
    if !p.is_set(name) {
        return Vec::new();
    }
    let elements = config::list::split(&p.get(name)).unwrap_or_default();
    let tables = elements.iter().filter(|e| e.text.contains(':'));
    tables.map(|e| registry.intern(&e.text, p.origin(name)).0).collect()
}

fn session_maps(p: &Parameters, registry: &mut TableRegistry) -> SessionMaps {
    SessionMaps {
        command_filter: table_ids(p, "smtpd_command_filter", |spec, span| registry.intern(spec, span)),
        discard_keywords: table_ids(p, "smtpd_discard_ehlo_keyword_address_maps", |s, span| registry.intern(s, span)),
        forbidden_commands: forbidden_tables(p, registry),
        relay_clientcerts: table_ids(p, "relay_clientcerts", |spec, span| registry.intern(spec, span)),
        reject_filter: table_ids(p, "smtpd_reject_filter_maps", |s, span| registry.intern_for_texts(s, span)),
        reject_footer: table_ids(p, "smtpd_reject_footer_maps", |s, span| registry.intern_for_texts(s, span)),
        footer: p.get("smtpd_reject_footer"),
        expansion_filter: p.get("smtpd_expansion_filter"),
    }
}

fn rewrite_clients(
    p: &Parameters,
    registry: &mut TableRegistry,
    problems: &mut Vec<Diagnostic>,
) -> Vec<RewriteClients> {
    let name = "local_header_rewrite_clients";
    let elements = config::list::split(&p.get(name)).unwrap_or_default();
    let mut words = elements.iter().map(|e| e.text.as_str());
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        match word.to_ascii_lowercase().as_str() {
            "permit_inet_interfaces" => found.push(RewriteClients::InetInterfaces),
            "permit_mynetworks" => {
                let kind = ListKind::Hosts { parents: false };
                let (list, mut more) = MatchList::compile("mynetworks", kind, &ServiceSettings(p), registry);
                problems.append(&mut more);
                found.push(RewriteClients::MyNetworks(list));
            }
            "permit_sasl_authenticated" => found.push(RewriteClients::SaslAuthenticated),
            "permit_tls_clientcerts" => found.push(RewriteClients::Certificates { all: false }),
            "permit_tls_all_clientcerts" => found.push(RewriteClients::Certificates { all: true }),
            "check_address_map" => match words.next() {
                Some(table) => found.push(RewriteClients::AddressMap(registry.intern(table, p.origin(name)).0)),
                None => problems.push(
                    Diagnostic::error("bad-argument", "check_address_map needs type:table").at(p.origin(name)),
                ),
            },
            // As in Postfix, a table may stand by itself.
            _ if word.contains(':') => found.push(RewriteClients::AddressMap(registry.intern(word, p.origin(name)).0)),
            _ => problems.push(
                Diagnostic::error("unknown-restriction", format!("unknown element in {name}: {word}"))
                    .at(p.origin(name))
                    .help("use permit_inet_interfaces, permit_mynetworks, permit_sasl_authenticated or check_address_map type:table"),
            ),
        }
    }
    found
}

fn open_tables(
    p: &Parameters,
    registry: &TableRegistry,
    log: Arc<OnceLock<Log>>,
    problems: &mut Vec<Diagnostic>,
) -> TableSet {
    // Where a daemon of Postfix is when it opens them.
    let directory = PathBuf::from(p.get("queue_directory"));
    let mut options = OpenOptions::new(if directory.as_os_str().is_empty() { ".".into() } else { directory });
    let own = p.clone();
    options.parameter = Some(Arc::new(move |name: &str| own.is_set(name).then(|| own.get(name))));
    options.log = Some(Arc::new(move |text: &str| {
        if let Some(log) = log.get() {
            log.warning("postfix/smtpd", text);
        }
    }));
    let specs = registry.specs().iter().map(|used| (&*used.spec, used.fold, used.span.clone()));
    let (set, found) = TableSet::open_at(specs, options);
    problems.extend(found);
    set
}

/// Facts for commands that only print: defaults are shown as Postfix shows them.
pub fn host_facts(directory: Option<&Path>) -> HostFacts {
    HostFacts { has_nis: true, ..host::facts(directory) }
}
