//! `permit_mx_backup`: relay for domains that name this system as one of their secondary mail exchangers.

use super::client::permit_as;
use super::destination::is_authorized;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::address::syntax::domain_of;
use crate::context::Context;
use crate::match_list::Matched;
use crate::question::{DnsRecord, DnsStatus, RecordType, Suspend};
use crate::refusal::Refusal;
use crate::step::Step;
use crate::subject::Subject;
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
    match is_backup(context, recipient) {
        Ok(true) => Ok(permit_as("permit_mx_backup", Subject::Recipient)),
        Ok(false) => Ok(Step::Dunno),
        Err(Stop::Step(step)) => Ok(step),
        Err(Stop::Suspend(suspend)) => Err(suspend),
    }
}

fn is_backup(context: &mut Context<'_, '_>, recipient: &str) -> Result<bool, Stop> {
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
            let text = format!("Unable to look up mail exchanger information: {}", answer.reason);
            return Err(defer(context, &text)?);
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
    if names_us(context, &primary)? || !names_us(context, &backup)? {
        return Ok(false);
    }
    all_in_networks(context, &primary)
}

fn defer(context: &mut Context<'_, '_>, text: &str) -> Result<Stop, Suspend> {
    Ok(Stop::Step(Step::DeferIfReject(context.refusal(Subject::Recipient, 450, (4, 4), text)?)))
}

/// Is one of these hosts this system, by name or address?
fn names_us(context: &mut Context<'_, '_>, hosts: &[Arc<str>]) -> Result<bool, Stop> {
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
    let mut failure = None;
    for host in hosts {
        match context.addresses(host)? {
            Ok(found) if found.iter().any(|address| context.plan.routing.is_own_address(*address)) => return Ok(true),
            Ok(_) => {}
            Err(answer) if answer.status == DnsStatus::Retry => failure = Some((host.clone(), answer)),
            Err(_) => {}
        }
    }
    match failure {
        None => Ok(false),
        Some((host, answer)) => {
            let text = format!("Unable to look up mail exchanger host {host}: {}", answer.reason);
            Err(defer(context, &text)?)
        }
    }
}

/// Are all addresses of the primary exchangers in `permit_mx_backup_networks`?
fn all_in_networks(context: &mut Context<'_, '_>, hosts: &[Arc<str>]) -> Result<bool, Stop> {
    let plan = context.plan;
    if plan.mx_backup_networks.is_empty() {
        return Ok(true);
    }
    for host in hosts {
        let addresses = match context.addresses(host)? {
            Ok(addresses) => addresses,
            Err(answer) => {
                let text = format!("Unable to look up host {host} as mail exchanger: {}", answer.reason);
                return Err(defer(context, &text)?);
            }
        };
        for address in addresses {
            match plan.mx_backup_networks.matches_host(host, Some(address), context.ask)? {
                Matched::Yes => {}
                Matched::No => return Ok(false),
                Matched::Failed(_) => {
                    return Err(defer(context, &format!("Unable to verify host {host} as mail exchanger"))?);
                }
            }
        }
    }
    Ok(true)
}
