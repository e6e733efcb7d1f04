//! `permit_mx_backup`: relay for domains that name this system as one of their secondary mail exchangers.

use super::client::permit_as;
use super::destination::is_authorized;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::address::syntax::domain_of;
use crate::context::Context;
use crate::ledger::Suspend;
use crate::match_list::Matched;
use crate::question::{DnsAnswer, DnsRecord, DnsStatus, RecordType};
use crate::refusal::Refusal;
use crate::step::{Permit, Step};
use crate::subject::Subject;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) const ENTRIES: &[Restriction] = &[entry(
    "permit_mx_backup",
    Argument::None,
    &[Input::Recipient],
    "Permit recipients in domains that have this system as a secondary mail exchanger",
    permit_mx_backup,
)
.dns()];

/// What stops the check early.
enum Stop {
    Step(Step),
    Suspend(Suspend),
}

impl From<Suspend> for Stop {
    fn from(suspend: Suspend) -> Self {
        Self::Suspend(suspend)
    }
}

fn permit_mx_backup(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let facts = context.facts;
    let Some(recipient) = facts.recipient.as_deref() else { return Ok(Step::Dunno) };
    match is_authorized(context, recipient)? {
        Ok(true) => return Ok(permit_as("permit_mx_backup", Subject::Recipient)),
        Ok(false) => {}
        Err(step) => return Ok(step),
    }
    let mut failure = None;
    let is_backup = match is_backup(context, recipient, &mut failure) {
        Ok(is_backup) => is_backup,
        Err(Stop::Step(step)) => return Ok(step),
        Err(Stop::Suspend(suspend)) => return Err(suspend),
    };
    let deferral = match failure {
        Some(text) => Some(context.refusal(Subject::Recipient, 450, (4, 4), &text)?),
        None => None,
    };
    Ok(match (is_backup, deferral) {
        (true, defer_if_reject) => Step::Permit(Permit {
            action: "permit_mx_backup".into(),
            subject: Subject::Recipient,
            table: None,
            defer_if_reject,
        }),
        (false, Some(refusal)) => Step::DeferIfReject(refusal),
        (false, None) => Step::Dunno,
    })
}

/// The first look-up that failed is left in `failure`; it doesn't end the check.
fn is_backup(context: &mut Context<'_, '_>, recipient: &str, failure: &mut Option<String>) -> Result<bool, Stop> {
    let facts = context.facts;
    let sender = facts.sender.as_deref().unwrap_or_default();
    let resolved = context.resolve(sender, recipient)?.map_err(Stop::Step)?;
    let Some(domain) = domain_of(&resolved.recipient).filter(|domain| !domain.starts_with('[')) else {
        return Ok(false);
    };
    if resolved.flags.routed && !context.plan.untrusted_routing {
        return Ok(false);
    }
    let answer = context.dns(RecordType::Mx, domain)?;
    match answer.status {
        DnsStatus::Ok => {}
        DnsStatus::Retry | DnsStatus::Policy => {
            *failure = Some(format!("Unable to look up mail exchanger information: {}", answer.short_reason()));
            return Ok(false);
        }
        _ => return Ok(false),
    }
    let mut hosts: Vec<(u16, Arc<str>)> = Vec::new();
    for record in &answer.records {
        if let DnsRecord::Mx(preference, host) = record {
            hosts.push((*preference, host.clone()));
        }
    }
    hosts.sort_by_key(|(preference, _)| *preference);
    let Some(best) = hosts.first().map(|(preference, _)| *preference) else { return Ok(false) };
    let primaries = hosts.iter().take_while(|(preference, _)| *preference == best).count();
    let names = |hosts: &[(u16, Arc<str>)]| -> Vec<Arc<str>> { hosts.iter().map(|(_, host)| host.clone()).collect() };
    let (primary, backup) = (names(&hosts[..primaries]), names(&hosts[primaries..]));
    if names_us(context, &primary, failure)? || !names_us(context, &backup, failure)? {
        return Ok(false);
    }
    all_in_networks(context, &primary, failure)
}

/// The addresses of an exchanger, which may be named by one.
fn addresses_of(context: &mut Context<'_, '_>, host: &str) -> Result<Result<Vec<IpAddr>, Arc<DnsAnswer>>, Suspend> {
    match host.parse() {
        Ok(address) => Ok(Ok(vec![address])),
        Err(_) => context.addresses(host),
    }
}

/// Is one of these hosts this system, by name or address?
fn names_us(context: &mut Context<'_, '_>, hosts: &[Arc<str>], failure: &mut Option<String>) -> Result<bool, Stop> {
    for host in hosts {
        match context.plan.routing.is_local_domain(host, context.ask)? {
            Matched::Yes => return Ok(true),
            Matched::No => {}
            Matched::Failed(why) => {
                context.warning(why.as_ref());
                let name = context.subject_name(Subject::Recipient)?;
                return Err(Stop::Step(Step::Abort(Refusal::lookup_failure(&name))));
            }
        }
    }
    for host in hosts {
        match addresses_of(context, host)? {
            Ok(found) if found.iter().any(|address| context.plan.routing.is_own_address(*address)) => return Ok(true),
            Ok(_) => {}
            Err(answer) => {
                let why = answer.why_no_address();
                failure.get_or_insert_with(|| format!("Unable to look up mail exchanger host {host}: {why}"));
            }
        }
    }
    Ok(false)
}

/// Are all addresses of the primary exchangers in `permit_mx_backup_networks`?
fn all_in_networks(
    context: &mut Context<'_, '_>,
    hosts: &[Arc<str>],
    failure: &mut Option<String>,
) -> Result<bool, Stop> {
    let plan = context.plan;
    if plan.mx_backup_networks.is_empty() {
        return Ok(true);
    }
    for host in hosts {
        let addresses = match addresses_of(context, host)? {
            Ok(addresses) => addresses,
            Err(answer) => {
                let why = answer.why_no_address();
                failure.get_or_insert_with(|| format!("Unable to look up host {host} as mail exchanger: {why}"));
                return Ok(false);
            }
        };
        for address in addresses {
            match plan.mx_backup_networks.matches_host(host, Some(address), context.ask)? {
                Matched::Yes => {}
                Matched::No => return Ok(false),
                Matched::Failed(_) => {
                    failure.get_or_insert_with(|| format!("Unable to verify host {host} as mail exchanger"));
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script};

    const VALUES: &[(&str, &str)] = &[
        ("proxy_interfaces", "192.0.2.2"),
        ("smtpd_relay_restrictions", "permit_mx_backup, reject_unauth_destination"),
    ];

    fn script() -> Script {
        Script::default()
            .dns("backup.example", &["MX 20 us.example.net", "MX 10 primary.example"])
            .dns("primary.example", &["A 203.0.113.25"])
            .dns("us.example.net", &["A 192.0.2.2"])
            .dns("named.example", &["MX 10 primary.example", "MX 20 mail.example.com"])
            .dns("notus.example", &["MX 10 primary.example"])
            .dns("weare.example", &["MX 10 us.example.net", "MX 10 primary.example"])
            .dns("numeric.example", &["MX 10 192.0.2.1"])
            .dns("temp.example", &["MX SERVFAIL"])
            .dns("failed.example", &["MX REFUSED"])
            .dns("hidden.example", &["MX 10 primary.example", "MX 20 lost.example"])
            .dns("lost.example", &["SERVFAIL"])
            .dns("half.example", &["MX 10 lost.example", "MX 20 us.example.net"])
    }

    #[test]
    fn only_secondary_exchangers_relay() {
        let denied = |domain: &str| format!("554 5.7.1 <u@{domain}>: Relay access denied");
        for (domain, expected) in [
            ("example.com", "250".to_owned()),
            ("backup.example", "250".into()),
            ("named.example", "250".into()),
            ("[192.0.2.2]", "250".into()),
            // The name of one exchanger is not needed to see that another one is this system.
            ("half.example", "250".into()),
            ("notus.example", denied("notus.example")),
            ("weare.example", denied("weare.example")),
            ("numeric.example", denied("numeric.example")),
            ("failed.example", denied("failed.example")),
            ("nosuch.example", denied("nosuch.example")),
            ("[192.0.2.9]", denied("[192.0.2.9]")),
            (
                "temp.example",
                "450 4.4.4 <u@temp.example>: Recipient address rejected: Unable to look up mail exchanger information: \
                 temp.example says SERVFAIL"
                    .into(),
            ),
            (
                "hidden.example",
                "450 4.4.4 <u@hidden.example>: Recipient address rejected: Unable to look up mail exchanger host \
                 lost.example: Temporary failure in name resolution"
                    .into(),
            ),
        ] {
            assert_eq!(Bench::new(VALUES, script()).recipient(&format!("u@{domain}")).reply(), expected);
        }
    }

    #[test]
    fn primaries_have_to_be_in_the_given_networks() {
        for (networks, domain, permitted) in [
            ("203.0.113.0/24", "backup.example", true),
            ("198.51.100.0/24", "backup.example", false),
            ("203.0.113.0/24", "gone.example", false),
        ] {
            let mut values = VALUES.to_vec();
            values.push(("permit_mx_backup_networks", networks));
            let script = script().dns("gone.example", &["MX 10 nowhere.example", "MX 20 us.example.net"]);
            let reply = Bench::new(&values, script).recipient(&format!("u@{domain}")).reply();
            assert_eq!(reply == "250", permitted, "{networks} {domain} {reply}");
            if domain == "gone.example" {
                assert!(reply.contains("Unable to look up mail exchanger host nowhere.example: "), "{reply}");
            }
        }
    }
}
