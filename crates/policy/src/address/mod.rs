//! Addresses: how they are rewritten, where they go, and how address maps are read (ADDRESS_CLASS_README,
//! ADDRESS_REWRITING_README). Independent of restriction lists; delivery and message intake use it too.

mod map;
mod probe;
mod resolve;
mod rewrite;
pub(crate) mod syntax;

pub use map::{AddressMaps, Lookup};
pub use probe::ProbeSender;
pub use resolve::{AddressClass, Resolved, ResolvedFlags};

use crate::match_list::{ListKind, MatchList, parent_style};
use crate::settings::{Settings, bare_address};
use crate::tables::TableRegistry;
use config::Diagnostic;
use std::net::IpAddr;

/// Everything about addresses that the configuration says: rewriting, classes, transports.
#[derive(Clone, Debug)]
pub struct Routing {
    pub(crate) myhostname: String,
    pub(crate) myorigin: String,
    pub(crate) mydomain: String,
    pub(crate) append_at_myorigin: bool,
    pub(crate) append_dot_mydomain: bool,
    pub(crate) swap_bangpath: bool,
    pub(crate) percent_hack: bool,
    pub(crate) resolve_dequoted: bool,
    pub(crate) resolve_null_domain: bool,
    pub(crate) resolve_numeric_domain: bool,
    pub(crate) allow_min_user: bool,
    pub(crate) show_table_name: bool,
    pub(crate) own_addresses: Vec<IpAddr>,
    pub(crate) delimiters: String,
    pub(crate) owner_request_special: bool,
    pub(crate) probe_sender: ProbeSender,
    pub(crate) empty_recipient: String,
    pub(crate) double_bounce_sender: String,
    pub(crate) mydestination: MatchList,
    pub(crate) virtual_alias_domains: MatchList,
    pub(crate) virtual_mailbox_domains: MatchList,
    pub(crate) relay_domains: MatchList,
    pub(crate) transport_parents: bool,
    pub(crate) transport_maps: AddressMaps,
    pub(crate) relocated_maps: AddressMaps,
    pub(crate) relocated_prefix: bool,
    pub(crate) sender_transport_maps: AddressMaps,
    pub(crate) sender_relayhost_maps: AddressMaps,
    pub(crate) null_transport_key: String,
    pub(crate) null_relayhost_key: String,
    pub(crate) local_transport: String,
    pub(crate) virtual_transport: String,
    pub(crate) relay_transport: String,
    pub(crate) default_transport: String,
    pub(crate) relayhost: String,
}

impl Routing {
    /// Compile the address parameters of a service.
    pub fn compile(settings: &dyn Settings, tables: &mut TableRegistry) -> (Self, Vec<Diagnostic>) {
        let mut problems = Vec::new();
        let mut list = |name: &str, kind, tables: &mut TableRegistry| {
            let (list, found) = MatchList::compile(name, kind, settings, tables);
            problems.extend(found);
            list
        };
        let relay_kind = ListKind::Domains { parents: parent_style(settings, "relay_domains") };
        let get = |name: &str| settings.get(name).trim().to_owned();
        let routing = Self {
            myhostname: get("myhostname"),
            myorigin: get("myorigin"),
            mydomain: get("mydomain"),
            append_at_myorigin: settings.bool("append_at_myorigin"),
            append_dot_mydomain: settings.bool("append_dot_mydomain"),
            swap_bangpath: settings.bool("swap_bangpath"),
            percent_hack: settings.bool("allow_percent_hack"),
            resolve_dequoted: settings.bool("resolve_dequoted_address"),
            resolve_null_domain: settings.bool("resolve_null_domain"),
            resolve_numeric_domain: settings.bool("resolve_numeric_domain"),
            allow_min_user: settings.bool("allow_min_user"),
            show_table_name: settings.bool("show_user_unknown_table_name"),
            own_addresses: own_addresses(settings),
            delimiters: get("recipient_delimiter"),
            owner_request_special: settings.bool("owner_request_special"),
            double_bounce_sender: get("double_bounce_sender"),
            probe_sender: ProbeSender::new(
                &get("address_verify_sender"),
                &get("myorigin"),
                config::value::parse_time(&get("address_verify_sender_ttl"), 's').map_or(0, |ttl| ttl.as_secs()),
            ),
            empty_recipient: empty_recipient(get("empty_address_recipient")),
            mydestination: list("mydestination", ListKind::Strings, tables),
            virtual_alias_domains: list("virtual_alias_domains", ListKind::Strings, tables),
            virtual_mailbox_domains: list("virtual_mailbox_domains", ListKind::Strings, tables),
            relay_domains: list("relay_domains", relay_kind, tables),
            transport_parents: parent_style(settings, "transport_maps"),
            transport_maps: AddressMaps::compile("transport_maps", settings, tables),
            relocated_prefix: !get("relocated_prefix_enable").eq_ignore_ascii_case("no"),
            relocated_maps: AddressMaps::compile("relocated_maps", settings, tables),
            sender_transport_maps: AddressMaps::compile("sender_dependent_default_transport_maps", settings, tables),
            sender_relayhost_maps: AddressMaps::compile("sender_dependent_relayhost_maps", settings, tables),
            null_transport_key: get("empty_address_default_transport_maps_lookup_key"),
            null_relayhost_key: get("empty_address_relayhost_maps_lookup_key"),
            local_transport: get("local_transport"),
            virtual_transport: get("virtual_transport"),
            relay_transport: get("relay_transport"),
            default_transport: get("default_transport"),
            relayhost: get("relayhost"),
        };
        (routing, problems)
    }

    /// Whom address probes are from.
    pub fn probe_sender(&self) -> &ProbeSender {
        &self.probe_sender
    }

    /// Is this one of our own addresses (`inet_interfaces`, `proxy_interfaces`)?
    pub fn is_own_address(&self, address: IpAddr) -> bool {
        self.own_addresses.contains(&address)
    }
}

/// `empty_address_recipient`, which must not be empty itself.
fn empty_recipient(address: String) -> String {
    if address.is_empty() { "MAILER-DAEMON".to_owned() } else { address }
}

fn own_addresses(settings: &dyn Settings) -> Vec<IpAddr> {
    let mut found = settings.interface_addresses();
    for word in settings.elements("proxy_interfaces") {
        if let Ok(address) = bare_address(&word).parse() {
            found.push(address);
        }
    }
    found
}
