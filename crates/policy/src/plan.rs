//! The compiled access policy of one smtpd service: lists, classes, codes, maps, and what is wrong with them.

mod judge;

pub(crate) use judge::{RELAY_CLOSERS, distance, nearest_restriction};

use crate::address::{AddressMaps, Routing};
use crate::match_list::{ListKind, MatchList, parent_style};
use crate::policy_service::{PolicyService, PolicyServices};
use crate::question::TableId;
use crate::restriction::{
    Argument, DnsblReplies, Input, Item, Kind, List, NEED_MESSAGE, Origin, PermErrorAction, SpfActions, VerifySettings,
    Words, is_reply_template, parse,
};
use crate::settings::Settings;
use crate::tables::TableRegistry;
use config::Diagnostic;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The lists, in the order of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    pub client: Arc<List>,
    pub helo: Arc<List>,
    pub sender: Arc<List>,
    pub relay: Arc<List>,
    pub recipient: Arc<List>,
    pub data: Arc<List>,
    pub end_of_data: Arc<List>,
    pub etrn: Arc<List>,
}

/// Reply codes.
#[derive(Clone, Debug)]
pub(crate) struct Codes {
    pub access_reject: u16,
    pub access_defer: u16,
    pub reject: u16,
    pub defer: u16,
    pub relay_domains: u16,
    pub maps_rbl: u16,
    pub invalid_hostname: u16,
    pub non_fqdn: u16,
    pub unknown_address: u16,
    pub unknown_client: u16,
    pub unknown_hostname: u16,
    pub multi_recipient_bounce: u16,
    pub plaintext: u16,
    pub unknown_local: u16,
    pub unknown_relay: u16,
    pub unknown_alias: u16,
    pub unknown_mailbox: u16,
}

/// Maps that make an address known.
#[derive(Clone, Debug)]
pub(crate) struct KnownMaps {
    pub recipient_canonical: AddressMaps,
    pub sender_canonical: AddressMaps,
    pub canonical: AddressMaps,
    pub virtual_alias: AddressMaps,
    pub local: AddressMaps,
    pub mailbox: AddressMaps,
    pub relay: AddressMaps,
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) lists: Lists,
    pub(crate) classes: Vec<Arc<List>>,
    pub(crate) class_names: HashMap<Arc<str>, usize>,
    pub(crate) codes: Codes,
    pub(crate) known: KnownMaps,
    pub(crate) login_maps: AddressMaps,
    pub(crate) relay_clientcerts: AddressMaps,
    pub(crate) dns_filter: AddressMaps,
    pub(crate) dnsbl: DnsblReplies,
    pub(crate) spf: SpfActions,
    pub(crate) mynetworks: MatchList,
    /// With `postern_distrust_gateways`: addresses of `mynetworks` that turned out to be no client's.
    pub(crate) distrusted: Option<TableId>,
    pub(crate) mx_backup_networks: MatchList,
    pub(crate) permit_log: MatchList,
    pub(crate) interfaces: Vec<IpAddr>,
    pub(crate) null_access_key: String,
    pub(crate) server_name: String,
    pub(crate) rr_limit: usize,
    pub(crate) inet_v4: bool,
    pub(crate) inet_v6: bool,
    pub(crate) delay_reject: bool,
    pub(crate) relay_first: bool,
    pub(crate) reject_unlisted_sender: bool,
    pub(crate) reject_unlisted_recipient: bool,
    pub(crate) check_unlisted: bool,
    pub(crate) soft_bounce: bool,
    pub(crate) smtputf8: bool,
    pub(crate) untrusted_routing: bool,
    pub(crate) access_parents: bool,
    pub(crate) sasl_enabled: bool,
    pub(crate) asks_for_certificates: bool,
    /// Level 0: there is no relay list by default.
    pub(crate) legacy_relay: bool,
    /// Before level 2: the whole subnet is trusted by default.
    pub(crate) legacy_networks: bool,
    /// Before level 3.6: the recipient list comes first by default.
    pub(crate) legacy_order: bool,
    pub(crate) proxy_filter: bool,
    pub(crate) client_port_logging: bool,
    pub(crate) defer_unknown_address: bool,
    pub(crate) defer_unknown_helo: bool,
    pub(crate) compatibility_level: String,
    pub(crate) mail_version: String,
    pub(crate) stress: String,
    pub(crate) policy_services: Vec<Arc<PolicyService>>,
    pub(crate) verify: VerifySettings,
    pub(crate) routing: Routing,
}

/// The name under which a decision asks for them. As a table it is empty: whoever watches the gateways answers instead.
const DISTRUSTED: &str = "inline:{distrusted_gateways=here}";

impl Plan {
    /// Addresses of `mynetworks` that turned out to be no client's: the table that is asked for them, if any is. Keys are
    /// addresses, any value means distrust.
    pub fn distrusted(&self) -> Option<TableId> {
        self.distrusted
    }

    /// Compile the policy of a service. All problems are reported at once; with an error among them the plan must
    /// not be used.
    pub fn compile(settings: &dyn Settings, tables: &mut TableRegistry) -> (Self, Vec<Diagnostic>) {
        let mut problems = Vec::new();
        let services = PolicyServices::new(settings, &mut problems);
        Compiler { settings, tables, services, problems, classes: HashMap::new() }.compile()
    }

    /// Rewriting, classes and transports.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// The policy services that `check_policy_service` names, once each.
    pub fn policy_services(&self) -> &[Arc<PolicyService>] {
        &self.policy_services
    }

    /// Are client, helo and sender lists evaluated at RCPT TO only (`smtpd_delay_reject`)?
    pub fn delays_reject(&self) -> bool {
        self.delay_reject
    }

    /// Does a list look at whole messages (DKIM, DMARC)?
    pub fn asks_about_messages(&self) -> bool {
        let asks = |item: &Item| matches!(&item.kind, Kind::Check(entry, _) if NEED_MESSAGE.contains(&entry.name));
        std::iter::once(&self.lists.end_of_data).chain(&self.classes).any(|list| list.items.iter().any(asks))
    }

    /// Could one come to that, through a table's result or a policy service's answer?
    pub fn may_ask_about_messages(&self) -> bool {
        let opens = |item: &Item| match &item.kind {
            Kind::Check(entry, _) => {
                matches!(entry.argument, Argument::Table | Argument::CertificateTable | Argument::PolicyService)
            }
            Kind::Bare(_) | Kind::Class(_) => true,
            Kind::Prefix(_) | Kind::Broken(_) => false,
        };
        self.asks_about_messages() || self.lists.end_of_data.items.iter().any(opens)
    }

    /// Can look-ups be started as soon as this input is known?
    pub fn asks_about(&self, input: Input) -> bool {
        let lists =
            [&self.lists.client, &self.lists.helo, &self.lists.sender, &self.lists.relay, &self.lists.recipient];
        let asks = |item: &Item| match &item.kind {
            Kind::Check(entry, _) => entry.asks_dns && entry.needs.contains(&input),
            _ => false,
        };
        lists.into_iter().chain(&self.classes).any(|list| list.items.iter().any(asks))
    }
}

struct Compiler<'a> {
    settings: &'a dyn Settings,
    tables: &'a mut TableRegistry,
    services: PolicyServices,
    problems: Vec<Diagnostic>,
    classes: HashMap<Arc<str>, usize>,
}

impl Compiler<'_> {
    fn compile(mut self) -> (Plan, Vec<Diagnostic>) {
        let classes = self.restriction_classes();
        let lists = self.lists();
        let codes = self.codes();
        let settings = self.settings;
        let (routing, found) = Routing::compile(settings, self.tables);
        self.problems.extend(found);
        let dnsbl = self.dnsbl(codes.maps_rbl);
        let hosts = |name| ListKind::Hosts { parents: parent_style(settings, name) };
        let protocols = settings.get("inet_protocols").to_ascii_lowercase();
        let protocol = |name| protocols.contains("all") || protocols.contains(name) || protocols.trim().is_empty();
        let overrides = settings.elements("receive_override_options");
        let mut plan = Plan {
            lists,
            classes,
            class_names: HashMap::new(),
            codes,
            known: self.known_maps(),
            login_maps: self.maps("smtpd_sender_login_maps"),
            relay_clientcerts: self.maps("relay_clientcerts"),
            dns_filter: self.maps("smtpd_dns_reply_filter"),
            dnsbl,
            spf: self.spf(),
            mynetworks: self.match_list("mynetworks", hosts("mynetworks")),
            distrusted: settings
                .bool("postern_distrust_gateways")
                .then(|| self.tables.intern(DISTRUSTED, settings.origin("postern_distrust_gateways"))),
            mx_backup_networks: self.match_list("permit_mx_backup_networks", hosts("permit_mx_backup_networks")),
            permit_log: self.match_list("smtpd_log_access_permit_actions", ListKind::Strings),
            interfaces: settings.interface_addresses(),
            null_access_key: settings.get("smtpd_null_access_lookup_key"),
            server_name: settings.get("myhostname"),
            rr_limit: settings.int("dns_rr_list_limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(100),
            inet_v4: protocol("ipv4"),
            inet_v6: protocol("ipv6"),
            delay_reject: settings.bool("smtpd_delay_reject"),
            relay_first: settings.bool("smtpd_relay_before_recipient_restrictions"),
            reject_unlisted_sender: settings.bool("smtpd_reject_unlisted_sender"),
            reject_unlisted_recipient: settings.bool("smtpd_reject_unlisted_recipient"),
            check_unlisted: !overrides.iter().any(|word| word == "no_unknown_recipient_checks"),
            soft_bounce: settings.bool("soft_bounce"),
            smtputf8: !settings.get("smtputf8_enable").trim().eq_ignore_ascii_case("no"),
            untrusted_routing: settings.bool("allow_untrusted_routing"),
            access_parents: parent_style(settings, "smtpd_access_maps"),
            sasl_enabled: settings.bool("smtpd_sasl_auth_enable"),
            asks_for_certificates: settings.bool("smtpd_tls_ask_ccert"),
            legacy_relay: settings.origin("smtpd_relay_restrictions").is_none()
                && settings.get("smtpd_relay_restrictions").trim().is_empty(),
            legacy_networks: ["mynetworks", "mynetworks_style"].iter().all(|name| settings.origin(name).is_none())
                && settings.get("mynetworks_style") == "subnet",
            legacy_order: settings.origin("smtpd_relay_before_recipient_restrictions").is_none()
                && !settings.bool("smtpd_relay_before_recipient_restrictions"),
            proxy_filter: !settings.get("smtpd_proxy_filter").trim().is_empty(),
            client_port_logging: settings.bool("smtpd_client_port_logging"),
            defer_unknown_address: self.tempfail_action("unknown_address_tempfail_action"),
            defer_unknown_helo: self.tempfail_action("unknown_helo_hostname_tempfail_action"),
            compatibility_level: settings.get("compatibility_level"),
            mail_version: settings.get("mail_version"),
            stress: settings.get("stress"),
            policy_services: std::mem::take(&mut self.services.known),
            verify: VerifySettings::compile(settings, &mut self.problems),
            routing,
        };
        plan.class_names = std::mem::take(&mut self.classes);
        self.check_relay(&plan);
        (plan, self.problems)
    }

    fn maps(&mut self, name: &str) -> AddressMaps {
        AddressMaps::compile(name, self.settings, self.tables)
    }

    fn match_list(&mut self, name: &str, kind: ListKind) -> MatchList {
        let (list, found) = MatchList::compile(name, kind, self.settings, self.tables);
        self.problems.extend(found);
        list
    }

    fn known_maps(&mut self) -> KnownMaps {
        KnownMaps {
            recipient_canonical: self.maps("recipient_canonical_maps"),
            sender_canonical: self.maps("sender_canonical_maps"),
            canonical: self.maps("canonical_maps"),
            virtual_alias: self.maps("virtual_alias_maps"),
            local: self.maps("local_recipient_maps"),
            mailbox: self.maps("virtual_mailbox_maps"),
            relay: self.maps("relay_recipient_maps"),
        }
    }

    fn restriction_classes(&mut self) -> Vec<Arc<List>> {
        let names = self.settings.elements("smtpd_restriction_classes");
        for (number, name) in names.iter().enumerate() {
            self.classes.insert(name.as_str().into(), number);
        }
        let mut lists = Vec::with_capacity(names.len());
        for name in &names {
            let text = self.settings.user_parameter(name).filter(|text| !text.trim().is_empty());
            if text.is_none() {
                let problem =
                    Diagnostic::error("undefined-class", format!("restriction class `{name}' needs a definition"))
                        .at(self.settings.origin("smtpd_restriction_classes"))
                        .help(format!("add a line \"{name} = …\" with the restrictions it stands for"));
                self.problems.push(problem);
            }
            lists.push(self.list(name, &text.unwrap_or_default()));
        }
        lists
    }

    fn lists(&mut self) -> Lists {
        let mut list = |name: &str| {
            let text = self.settings.get(name);
            self.list(name, &text)
        };
        Lists {
            client: list("smtpd_client_restrictions"),
            helo: list("smtpd_helo_restrictions"),
            sender: list("smtpd_sender_restrictions"),
            relay: list("smtpd_relay_restrictions"),
            recipient: list("smtpd_recipient_restrictions"),
            data: list("smtpd_data_restrictions"),
            end_of_data: list("smtpd_end_of_data_restrictions"),
            etrn: list("smtpd_etrn_restrictions"),
        }
    }

    fn list(&mut self, name: &str, text: &str) -> Arc<List> {
        let mut words = Words {
            classes: &self.classes,
            tables: Some(self.tables),
            services: Some(&mut self.services),
            places: self.settings.places(name),
        };
        let items = parse(text, &mut words);
        for item in &items {
            if let Some(problem) = self.judge_item(name, item) {
                self.problems.push(problem.at(item.span.clone()));
            }
        }
        self.judge_order(name, &items);
        Arc::new(List { name: name.into(), items, origin: Origin::Parameter })
    }

    fn codes(&mut self) -> Codes {
        let mut code = |name: &str, default| self.code(name, default);
        Codes {
            access_reject: code("access_map_reject_code", 554),
            access_defer: code("access_map_defer_code", 450),
            reject: code("reject_code", 554),
            defer: code("defer_code", 450),
            relay_domains: code("relay_domains_reject_code", 554),
            maps_rbl: code("maps_rbl_reject_code", 554),
            invalid_hostname: code("invalid_hostname_reject_code", 501),
            non_fqdn: code("non_fqdn_reject_code", 504),
            unknown_address: code("unknown_address_reject_code", 450),
            unknown_client: code("unknown_client_reject_code", 450),
            unknown_hostname: code("unknown_hostname_reject_code", 450),
            multi_recipient_bounce: code("multi_recipient_bounce_reject_code", 550),
            plaintext: code("plaintext_reject_code", 450),
            unknown_local: code("unknown_local_recipient_reject_code", 550),
            unknown_relay: code("unknown_relay_recipient_reject_code", 550),
            unknown_alias: code("unknown_virtual_alias_reject_code", 550),
            unknown_mailbox: code("unknown_virtual_mailbox_reject_code", 550),
        }
    }

    fn code(&mut self, name: &str, default: u16) -> u16 {
        let value = self.settings.get(name);
        match value.trim().parse() {
            Ok(code) if (400..600).contains(&code) => code,
            _ => {
                let message = format!("{name}: \"{}\" is not a reply code between 400 and 599", value.trim());
                let problem = Diagnostic::error("bad-reply-code", message).at(self.settings.origin(name));
                self.problems.push(problem.help(format!("the default is {default}")));
                default
            }
        }
    }

    fn tempfail_action(&mut self, name: &str) -> bool {
        let value = self.settings.get(name);
        match value.trim().to_ascii_lowercase().as_str() {
            "defer" => true,
            "defer_if_permit" => false,
            _ => {
                let message = format!("bad configuration: {name} = {}", value.trim());
                let problem = Diagnostic::error("bad-tempfail-action", message).at(self.settings.origin(name));
                self.problems.push(problem.help("write \"defer\" or \"defer_if_permit\""));
                false
            }
        }
    }

    fn spf(&mut self) -> SpfActions {
        // other words are refused with the parameters
        let permerror = match self.settings.get("postern_spf_permerror_action").trim() {
            word if word.eq_ignore_ascii_case("defer") => PermErrorAction::Defer,
            word if word.eq_ignore_ascii_case("reject") => PermErrorAction::Reject,
            _ => PermErrorAction::Dunno,
        };
        SpfActions { defer_at_once: self.tempfail_action("postern_spf_tempfail_action"), permerror }
    }

    fn dnsbl(&mut self, code: u16) -> DnsblReplies {
        let default = self.settings.get("default_rbl_reply");
        if !is_reply_template(&default) {
            let message = format!("default_rbl_reply: \"{default}\" does not start with a 4xx or 5xx reply code");
            let problem = Diagnostic::error("bad-rbl-reply", message).at(self.settings.origin("default_rbl_reply"));
            self.problems.push(problem.help("start it with $rbl_code"));
        }
        DnsblReplies {
            default,
            maps: self.maps("rbl_reply_maps"),
            filter: self.settings.get("smtpd_expansion_filter"),
            code,
            guardian: self.settings.bool("postern_dnsbl_guardian"),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
