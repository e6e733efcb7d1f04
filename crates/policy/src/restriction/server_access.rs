//! Tables for the servers of a domain: its addresses, mail exchangers and name servers (`check_*_{a,mx,ns}_access`).

use super::access::{address_value, domain_value};
use super::{Arg, Argument, Input, Restriction, entry};
use crate::action::interpret;
use crate::address::syntax::{ascii_name, literal_address};
use crate::context::Context;
use crate::question::{DnsRecord, DnsStatus, RecordType, Suspend};
use crate::step::{Guard, Step};
use crate::subject::Subject;
use crate::tables::Table;
use std::net::IpAddr;
use std::sync::Arc;

/// Which servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    Itself,
    Mx,
    Ns,
}

macro_rules! family {
    ($input:ident, $subject:ident, $a:literal, $mx:literal, $ns:literal, $what:literal) => {
        [
            entry(
                $a,
                Argument::Table,
                &[Input::$input],
                concat!("Look up the addresses of ", $what),
                |context, arg| check(context, arg, Subject::$subject, Servers::Itself, $a),
            )
            .dns(),
            entry(
                $mx,
                Argument::Table,
                &[Input::$input],
                concat!("Look up names and addresses of the mail exchangers of ", $what),
                |context, arg| check(context, arg, Subject::$subject, Servers::Mx, $mx),
            )
            .dns(),
            entry(
                $ns,
                Argument::Table,
                &[Input::$input],
                concat!("Look up names and addresses of the name servers of ", $what),
                |context, arg| check(context, arg, Subject::$subject, Servers::Ns, $ns),
            )
            .dns(),
        ]
    };
}

const CLIENT: [Restriction; 3] = family!(
    Client,
    Client,
    "check_client_a_access",
    "check_client_mx_access",
    "check_client_ns_access",
    "the client's name"
);
const REVERSE: [Restriction; 3] = family!(
    Client,
    ReverseClient,
    "check_reverse_client_hostname_a_access",
    "check_reverse_client_hostname_mx_access",
    "check_reverse_client_hostname_ns_access",
    "the client's unverified name"
);
const HELO: [Restriction; 3] =
    family!(Helo, Helo, "check_helo_a_access", "check_helo_mx_access", "check_helo_ns_access", "the HELO name");
const SENDER: [Restriction; 3] = family!(
    Sender,
    Sender,
    "check_sender_a_access",
    "check_sender_mx_access",
    "check_sender_ns_access",
    "the sender's domain"
);
const RECIPIENT: [Restriction; 3] = family!(
    Recipient,
    Recipient,
    "check_recipient_a_access",
    "check_recipient_mx_access",
    "check_recipient_ns_access",
    "the recipient's domain"
);

const fn joined() -> [Restriction; 15] {
    let [a, b, c] = CLIENT;
    let [d, e, f] = REVERSE;
    let [g, h, i] = HELO;
    let [j, k, l] = SENDER;
    let [m, n, o] = RECIPIENT;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o]
}

pub(super) const ENTRIES: &[Restriction] = &joined();

fn check(
    context: &mut Context<'_, '_>,
    arg: &Arg,
    subject: Subject,
    servers: Servers,
    restriction: &'static str,
) -> Result<Step, Suspend> {
    let Arg::Table(table) = arg else { return Ok(Step::Dunno) };
    let facts = context.facts;
    let name: Arc<str> = match subject {
        Subject::Client => context.peer_name()?.name,
        Subject::ReverseClient => context.peer_name()?.reverse,
        Subject::Helo => facts.helo.as_deref().unwrap_or_default().into(),
        Subject::Sender => facts.sender.as_deref().unwrap_or_default().into(),
        _ => facts.recipient.as_deref().unwrap_or_default().into(),
    };
    let is_client = matches!(subject, Subject::Client | Subject::ReverseClient);
    if name.is_empty() || (is_client && &*name == "unknown") {
        return Ok(Step::Dunno);
    }
    let domain = name.rsplit('@').next().unwrap_or_default();
    match search(context, table, domain, servers, subject)? {
        Some(value) => interpret(context, table, &value, subject, Guard::OkForbidden(restriction)),
        None => Ok(Step::Dunno),
    }
}

fn search(
    context: &mut Context<'_, '_>,
    table: &Table,
    domain: &str,
    servers: Servers,
    subject: Subject,
) -> Result<Option<Arc<str>>, Suspend> {
    if domain.starts_with('[') {
        return match literal_address(domain) {
            Some(address) if servers != Servers::Ns => address_value(context, table, address),
            _ => Ok(None),
        };
    }
    let Some(domain) = ascii_name(domain).filter(|domain| !domain.is_empty()) else { return Ok(None) };
    let hosts = match servers {
        Servers::Itself => vec![domain.as_ref().into()],
        Servers::Mx => exchangers(context, &domain)?,
        Servers::Ns => name_servers(context, &domain)?,
    };
    for host in &hosts {
        context.ahead(context.address_types(), host);
    }
    let mut examined = 0;
    for host in &hosts {
        if servers != Servers::Itself && host.parse::<IpAddr>().is_err() {
            if let Some(value) = domain_value(context, table, host)? {
                return Ok(Some(value));
            }
        }
        for address in host_addresses(context, host, servers, subject)? {
            examined += 1;
            if examined > context.plan.rr_limit {
                let limit = context.plan.rr_limit;
                let word = word(servers);
                context.warning(format!("{word} host address list for {domain} has more than {limit} entries"));
                return Ok(None);
            }
            if let Some(value) = address_value(context, table, address)? {
                return Ok(Some(value));
            }
        }
    }
    Ok(None)
}

fn word(servers: Servers) -> &'static str {
    match servers {
        Servers::Itself => "A",
        Servers::Mx => "MX",
        Servers::Ns => "NS",
    }
}

fn exchangers(context: &mut Context<'_, '_>, domain: &str) -> Result<Vec<Arc<str>>, Suspend> {
    let answer = context.dns(RecordType::Mx, domain)?;
    Ok(match answer.status {
        DnsStatus::Ok => {
            let hosts = answer.records.iter().filter_map(|record| match record {
                DnsRecord::Mx(_, host) => Some(host.clone()),
                _ => None,
            });
            hosts.collect()
        }
        DnsStatus::NotFound => vec![domain.into()],
        DnsStatus::NullMx => Vec::new(),
        _ => {
            context.warning(format!("Unable to look up MX host for {domain}: {}", answer.reason));
            Vec::new()
        }
    })
}

fn name_servers(context: &mut Context<'_, '_>, domain: &str) -> Result<Vec<Arc<str>>, Suspend> {
    let mut name = domain;
    loop {
        let answer = context.dns(RecordType::Ns, name)?;
        match answer.status {
            DnsStatus::Ok => {
                let hosts = answer.records.iter().filter_map(|record| match record {
                    DnsRecord::Name(host) => Some(host.clone()),
                    _ => None,
                });
                return Ok(hosts.collect());
            }
            DnsStatus::NotFound => match name.split_once('.') {
                Some((_, rest)) if rest.contains('.') || !rest.is_empty() => name = rest,
                _ => return Ok(Vec::new()),
            },
            _ => {
                context.warning(format!("Unable to look up NS host for {domain}: {}", answer.reason));
                return Ok(Vec::new());
            }
        }
    }
}

fn host_addresses(
    context: &mut Context<'_, '_>,
    host: &str,
    servers: Servers,
    subject: Subject,
) -> Result<Vec<IpAddr>, Suspend> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    match context.addresses(host)? {
        Ok(addresses) => Ok(addresses),
        Err(answer) => {
            let (word, class, name) = (word(servers), subject.class(), context.subject_name(subject)?);
            context.warning(format!("Unable to look up {word} host {host} for {class} {name}: {}", answer.reason));
            Ok(Vec::new())
        }
    }
}
