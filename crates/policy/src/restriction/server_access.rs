//! Tables for the servers of a domain: its addresses, mail exchangers and name servers (`check_*_{a,mx,ns}_access`).

use super::access::{address_value, domain_value};
use super::hostname::without_final_dot;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::action::{Entry, interpret};
use crate::address::syntax::{ascii_name, fold, literal_address};
use crate::context::Context;
use crate::ledger::Suspend;
use crate::question::{DnsRecord, DnsStatus, RecordType};
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
        Some(entry) => interpret(context, &entry, subject, Guard::OkForbidden(restriction, name.clone())),
        None => Ok(Step::Dunno),
    }
}

fn search(
    context: &mut Context<'_, '_>,
    table: &Table,
    domain: &str,
    servers: Servers,
    subject: Subject,
) -> Result<Option<Entry>, Suspend> {
    if domain.starts_with('[') {
        return match literal_address(domain) {
            Some(address) if servers != Servers::Ns => address_value(context, table, address),
            _ => Ok(None),
        };
    }
    // A final dot stays: such a name is not in the DNS, here as in Postfix.
    let ascii = if domain.is_ascii() { Some(fold(domain)) } else { ascii_name(domain) };
    let Some(domain) = ascii.filter(|domain| !domain.is_empty()) else { return Ok(None) };
    let hosts = match servers {
        Servers::Itself => vec![domain.as_ref().into()],
        Servers::Mx => exchangers(context, &domain, subject)?,
        Servers::Ns => name_servers(context, &domain, subject)?,
    };
    for host in &hosts {
        context.ahead(context.address_types(), host);
    }
    let mut examined = 0;
    for host in &hosts {
        let named = servers != Servers::Itself && host.parse::<IpAddr>().is_err();
        let by_name = if named { domain_value(context, table, host)? } else { None };
        if by_name.is_some() {
            return Ok(by_name);
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

fn exchangers(context: &mut Context<'_, '_>, domain: &str, subject: Subject) -> Result<Vec<Arc<str>>, Suspend> {
    let answer = context.dns(RecordType::Mx, domain)?;
    match answer.status {
        DnsStatus::Ok => {
            let hosts = answer.records.iter().filter_map(|record| match record {
                DnsRecord::Mx(_, host) => Some(host.clone()),
                _ => None,
            });
            Ok(hosts.collect())
        }
        DnsStatus::NotFound => Ok(vec![domain.into()]),
        DnsStatus::NullMx => Ok(Vec::new()),
        _ => no_servers(context, Servers::Mx, (domain, subject), answer.short_reason()),
    }
}

/// Name servers of the domain, or of the nearest parent that has some.
fn name_servers(context: &mut Context<'_, '_>, domain: &str, subject: Subject) -> Result<Vec<Arc<str>>, Suspend> {
    let mut name = domain;
    loop {
        let answer = context.dns(RecordType::Ns, name)?;
        match (answer.status, name.split_once('.')) {
            (DnsStatus::Ok, _) => {
                let hosts = answer.records.iter().filter_map(|record| match record {
                    DnsRecord::Name(host) => Some(host.clone()),
                    _ => None,
                });
                return Ok(hosts.collect());
            }
            (DnsStatus::NotFound, Some((_, rest))) if !rest.is_empty() => name = rest,
            (DnsStatus::NotFound, _) => return no_servers(context, Servers::Ns, ("", subject), answer.short_reason()),
            _ => return no_servers(context, Servers::Ns, (name, subject), answer.short_reason()),
        }
    }
}

/// Without servers there is nothing to judge: fail open, but say so.
fn no_servers(
    context: &mut Context<'_, '_>,
    servers: Servers,
    (domain, subject): (&str, Subject),
    why: &str,
) -> Result<Vec<Arc<str>>, Suspend> {
    // As in Postfix the whole is named when hardly anything is left of the domain.
    let name = if domain.len() > 1 { domain.to_owned() } else { bare_name(context, subject)? };
    let word = word(servers);
    context.warning(format!("Unable to look up {word} host for {name}: {why}"));
    Ok(Vec::new())
}

/// What a check is about, without a client's address.
fn bare_name(context: &mut Context<'_, '_>, subject: Subject) -> Result<String, Suspend> {
    match subject {
        Subject::Client => Ok(context.peer_name()?.name.to_string()),
        _ => context.subject_name(subject),
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
    // Hosts are found with a final dot, names of mail exchangers and name servers aren't asked for with one.
    match context.addresses(without_final_dot(host))? {
        Ok(addresses) => Ok(addresses),
        Err(answer) => {
            let (word, class, name) = (word(servers), subject.class(), bare_name(context, subject)?);
            let why = answer.why_no_address();
            context.warning(format!("Unable to look up {word} host {host} for {class} {name}: {why}"));
            Ok(Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script, log};
    use crate::{PeerName, PeerStatus};

    fn script() -> Script {
        Script::default()
            .dns("usesmx.example", &["MX 10 badmx.example", "MX 20 other.example"])
            .dns("usesmx2.example", &["MX 10 ok.example", "MX 20 other.example"])
            .dns("badmx.example", &["A 192.0.2.70"])
            .dns("ok.example", &["A 192.0.2.71"])
            .dns("other.example", &["A 192.0.2.66"])
            .dns("ns.example", &["NS ns.bad.example"])
            .dns("ns.bad.example", &["A 192.0.2.72"])
            .dns("host.ns.example", &["A 192.0.2.73"])
            .dns("priv.example", &["A 192.0.2.5", "AAAA 2001:db8::66"])
            .dns("numeric.example", &["MX 10 192.0.2.66"])
            .dns("null.example", &["MX NULLMX"])
            .dns("temp.example", &["SERVFAIL"])
            .dns("nohost.example", &["MX 10 lost.example"])
            .entry("hash:/t", "badmx.example", "REJECT by name")
            .entry("hash:/t", "192.0.2.66", "REJECT by address")
            .entry("hash:/t", "2001:db8:", "REJECT by network")
            .entry("hash:/t", "ns.bad.example", "REJECT name server")
    }

    fn helo(kind: &str, name: &str) -> String {
        let list = format!("check_helo_{kind}_access hash:/t");
        Bench::new(&[("smtpd_helo_restrictions", &list)], script()).helo(name).reply()
    }

    #[test]
    fn servers_are_looked_up_by_name_and_address() {
        let refused = |name: &str, why: &str| format!("554 5.7.1 <{name}>: Helo command rejected: {why}");
        for (kind, name, why) in [
            ("mx", "usesmx.example", "by name"),
            ("mx", "usesmx2.example", "by address"),
            ("mx", "badmx.example", "by name"),
            ("mx", "other.example", "by address"),
            ("mx", "numeric.example", "by address"),
            ("mx", "[192.0.2.66]", "by address"),
            ("ns", "host.ns.example", "name server"),
            ("a", "other.example", "by address"),
            ("a", "priv.example", "by network"),
        ] {
            assert_eq!(helo(kind, name), refused(name, why), "{kind}");
        }
        for (kind, name) in [
            ("mx", "ok.example"),
            ("mx", "null.example"),
            ("mx", "temp.example"),
            ("ns", "ok.example"),
            ("ns", "temp.example"),
            ("ns", "[192.0.2.66]"),
            ("a", "badmx.example"),
            ("a", "nosuch.example"),
            ("a", "[bad"),
        ] {
            assert_eq!(helo(kind, name), "250", "{kind} {name}");
        }
    }

    #[test]
    fn failures_are_logged_and_let_pass() {
        for (kind, name, line) in [
            ("ns", "a.nosuch.example", "warning: Unable to look up NS host for a.nosuch.example: Host not found"),
            ("mx", "temp.example", "warning: Unable to look up MX host for temp.example: temp.example says SERVFAIL"),
            ("ns", "temp.example", "warning: Unable to look up NS host for temp.example: temp.example says SERVFAIL"),
            (
                "mx",
                "nohost.example",
                "warning: Unable to look up MX host lost.example for Helo command nohost.example: Name or service not \
                 known",
            ),
        ] {
            let list = format!("check_helo_{kind}_access hash:/t");
            let decision = Bench::new(&[("smtpd_helo_restrictions", &list)], script()).helo(name).rcpt();
            assert_eq!(log(&decision), [line]);
        }
    }

    #[test]
    fn warnings_name_what_was_asked_for() {
        for (list, sender, line) in [
            ("check_sender_mx_access", "x@temp.example", "MX host for temp.example: temp.example says SERVFAIL"),
            ("check_sender_ns_access", "x@a.temp.example", "NS host for temp.example: temp.example says SERVFAIL"),
            ("check_sender_ns_access", "x@a.nosuch", "NS host for x@a.nosuch: Host not found"),
            ("check_sender_ns_access", "x@t", "NS host for x@t: t says SERVFAIL"),
            ("check_client_ns_access", "", "NS host for client.example.net: Host not found"),
        ] {
            let list = format!("{list} hash:/t");
            let values = [("smtpd_sender_restrictions", list.as_str())];
            let decision = Bench::new(&values, script().dns("t", &["SERVFAIL"])).sender(sender).rcpt();
            assert_eq!(log(&decision), [format!("warning: Unable to look up {line}")]);
        }
    }

    #[test]
    fn every_name_of_a_transaction_has_its_checks() {
        let forged = PeerName {
            name: "unknown".into(),
            reverse: "other.example".into(),
            name_status: PeerStatus::Forged,
            reverse_status: PeerStatus::Ok,
        };
        for kind in ["a", "mx"] {
            for (restriction, expected) in [
                ("check_sender", "554 5.7.1 <a@other.example>: Sender address rejected: by address"),
                ("check_recipient", "554 5.7.1 <u@other.example>: Recipient address rejected: by address"),
                ("check_client", "250"),
                (
                    "check_reverse_client_hostname",
                    "554 5.7.1 <other.example>: Unverified Client host rejected: by address",
                ),
            ] {
                let list = format!("{restriction}_{kind}_access hash:/t");
                let values = [("smtpd_recipient_restrictions", list.as_str()), ("relay_domains", "other.example")];
                let mut bench = Bench::new(&values, script()).sender("a@other.example").recipient("u@other.example");
                bench.facts.client.name = Some(forged.clone());
                assert_eq!(bench.reply(), expected, "{list}");
            }
        }
    }

    #[test]
    fn an_ok_is_not_allowed() {
        for value in ["OK", "permit", "reject_unauth_pipelining, permit"] {
            let script = script().entry("hash:/ok", "192.0.2.71", value);
            let values = [("smtpd_helo_restrictions", "check_helo_a_access hash:/ok")];
            let decision = Bench::new(&values, script).helo("ok.example").rcpt();
            let lines = log(&decision);
            assert!(lines[0].starts_with("warning: restriction check_helo_a_access returns OK for "), "{lines:?}");
            assert_eq!(
                lines[1..],
                [
                    "warning: this is not allowed for security reasons",
                    "warning: use DUNNO instead of OK if you want to make an exception",
                    "reject: 451 4.3.5 Server configuration error",
                ]
            );
        }
        let discard = script().entry("hash:/ok", "192.0.2.71", "DISCARD");
        let values = [("smtpd_helo_restrictions", "check_helo_a_access hash:/ok")];
        assert_eq!(Bench::new(&values, discard).helo("ok.example").reply(), "250");
    }

    #[test]
    fn only_so_many_addresses_are_examined() {
        let script = script().dns("many.example", &["A 192.0.2.1", "A 192.0.2.2", "A 192.0.2.66"]);
        let values = [("smtpd_helo_restrictions", "check_helo_a_access hash:/t"), ("dns_rr_list_limit", "2")];
        let decision = Bench::new(&values, script).helo("many.example").rcpt();
        assert_eq!(log(&decision), ["warning: A host address list for many.example has more than 2 entries"]);
    }
}
