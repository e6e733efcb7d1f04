//! Limits of clients and logins (anvil(8)), compiled.

use super::site::ServiceSettings;
use crate::anvil::Prefixes;
use config::{Diagnostic, Parameters};
use policy::{ListKind, MatchList, Settings, TableRegistry};
use smtp::server::Rate;

/// How much one client, or one login, may do; 0 is no limit.
pub struct ClientLimits {
    /// `smtpd_client_connection_count_limit`.
    pub connection_count: u32,
    connection_rate: u32,
    message_rate: u32,
    recipient_rate: u32,
    new_tls_session_rate: u32,
    auth_rate: u32,
    login_message_rate: u32,
    login_recipient_rate: u32,
    /// Clients in one network are one.
    pub prefixes: Prefixes,
    /// `smtpd_client_event_limit_exceptions`.
    pub exceptions: MatchList,
}

/// `smtpd_client_ipv4_prefix_length` and `smtpd_client_ipv6_prefix_length`.
pub fn prefixes(p: &Parameters, problems: &mut Vec<Diagnostic>) -> Prefixes {
    let mut prefix = |name: &str, most: u8| {
        let length = p.int(name);
        let fits = u8::try_from(length).ok().filter(|length| (1..=most).contains(length));
        fits.unwrap_or_else(|| {
            let text = format!("{name}: {length}: not a prefix length");
            let help = format!("write a number from 1 to {most}");
            let problem = Diagnostic::error("bad-value", text).at(p.origin(name)).help(help);
            // The same finding in several services is one finding.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
            most
        })
    };
    let (ipv4, ipv6) = ("smtpd_client_ipv4_prefix_length", "smtpd_client_ipv6_prefix_length");
    Prefixes { ipv4: prefix(ipv4, 32), ipv6: prefix(ipv6, 128) }
}

impl ClientLimits {
    /// The limits of one service.
    pub fn compile(p: &Parameters, registry: &mut TableRegistry, problems: &mut Vec<Diagnostic>) -> Self {
        let number = |name: &str| u32::try_from(p.int(name)).unwrap_or(0);
        let client = |name: &str| number(&format!("smtpd_client_{name}"));
        let prefixes = prefixes(p, problems);
        let settings = ServiceSettings(p);
        let name = "smtpd_client_event_limit_exceptions";
        let styles = settings.elements("parent_domain_matches_subdomains");
        let parents = styles.iter().any(|word| word.eq_ignore_ascii_case(name));
        let (exceptions, found) = MatchList::compile(name, ListKind::Hosts { parents }, &settings, registry);
        problems.extend(found.into_iter().filter(|f| !problems.contains(f)).collect::<Vec<_>>());
        Self {
            connection_count: client("connection_count_limit"),
            connection_rate: client("connection_rate_limit"),
            message_rate: client("message_rate_limit"),
            recipient_rate: client("recipient_rate_limit"),
            new_tls_session_rate: client("new_tls_session_rate_limit"),
            auth_rate: client("auth_rate_limit"),
            login_message_rate: number("postern_sasl_client_message_rate_limit"),
            login_recipient_rate: number("postern_sasl_client_recipient_rate_limit"),
            prefixes,
            exceptions,
        }
    }

    /// Is there any limit for clients?
    pub fn any(&self) -> bool {
        let rates = [Rate::Connection, Rate::Message, Rate::Recipient, Rate::NewTlsSession, Rate::Auth];
        self.connection_count > 0 || rates.into_iter().any(|rate| self.of_client(rate).is_some())
    }

    /// How often a client may do this in a time unit.
    pub fn of_client(&self, rate: Rate) -> Option<u32> {
        let limit = match rate {
            Rate::Connection => self.connection_rate,
            Rate::Message => self.message_rate,
            Rate::Recipient => self.recipient_rate,
            Rate::NewTlsSession => self.new_tls_session_rate,
            Rate::Auth => self.auth_rate,
        };
        Some(limit).filter(|limit| *limit > 0)
    }

    /// How often a login may do this in a time unit, from wherever.
    pub fn of_login(&self, rate: Rate) -> Option<u32> {
        let limit = match rate {
            Rate::Message => self.login_message_rate,
            Rate::Recipient => self.login_recipient_rate,
            Rate::Connection | Rate::NewTlsSession | Rate::Auth => 0,
        };
        Some(limit).filter(|limit| *limit > 0)
    }
}
