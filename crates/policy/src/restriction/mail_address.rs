//! Sender and recipient domains: full names, and known ones.

use super::hostname::without_final_dot;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::address::syntax::{domain_of, is_hostname, is_utf8_hostname};
use crate::context::Context;
use crate::question::{DnsStatus, RecordType, Suspend};
use crate::step::Step;
use crate::subject::Subject;

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "reject_non_fqdn_sender",
        Argument::None,
        &[Input::Sender],
        "Refuse senders without a full domain",
        |context, _| reject_non_fqdn(context, Subject::Sender),
    ),
    entry(
        "reject_non_fqdn_recipient",
        Argument::None,
        &[Input::Recipient],
        "Refuse recipients without a full domain",
        |context, _| reject_non_fqdn(context, Subject::Recipient),
    ),
    entry(
        "reject_unknown_sender_domain",
        Argument::None,
        &[Input::Sender],
        "Refuse senders in domains with neither mail exchanger nor address",
        |context, _: &Arg| reject_unknown(context, Subject::Sender),
    )
    .alias(&["reject_unknown_address"])
    .dns(),
    entry(
        "reject_unknown_recipient_domain",
        Argument::None,
        &[Input::Recipient],
        "Refuse recipients in domains with neither mail exchanger nor address",
        |context, _| reject_unknown(context, Subject::Recipient),
    )
    .dns(),
];

/// The address judged, unless it is missing or null.
pub(super) fn address_of<'a>(context: &Context<'a, '_>, subject: Subject) -> Option<&'a str> {
    let facts = context.facts;
    let address = if subject == Subject::Sender { &facts.sender } else { &facts.recipient };
    address.as_deref().filter(|address| !address.is_empty())
}

/// For whom transports are looked up when this address is resolved.
pub(super) fn sender_for<'a>(context: &Context<'a, '_>, subject: Subject) -> &'a str {
    let facts = context.facts;
    if subject == Subject::Sender { "" } else { facts.sender.as_deref().unwrap_or_default() }
}

fn reject_non_fqdn(context: &mut Context<'_, '_>, subject: Subject) -> Result<Step, Suspend> {
    let Some(address) = address_of(context, subject) else { return Ok(Step::Dunno) };
    let domain = domain_of(address).unwrap_or_default();
    if domain.starts_with('[') && domain.ends_with(']') {
        return Ok(Step::Dunno);
    }
    let domain = without_final_dot(domain);
    let valid = if context.facts.smtputf8 { is_utf8_hostname(domain) } else { is_hostname(domain) };
    if valid && domain.contains('.') {
        return Ok(Step::Dunno);
    }
    context.reject(subject, context.plan.codes.non_fqdn, (5, 2), "need fully-qualified address")
}

fn reject_unknown(context: &mut Context<'_, '_>, subject: Subject) -> Result<Step, Suspend> {
    let Some(address) = address_of(context, subject) else { return Ok(Step::Dunno) };
    let resolved = match context.resolve(sender_for(context, subject), address)? {
        Ok(resolved) => resolved,
        Err(step) => return Ok(step),
    };
    let Some(domain) = domain_of(&resolved.recipient) else { return Ok(Step::Dunno) };
    if resolved.class.is_final() || domain.starts_with('[') {
        return Ok(Step::Dunno);
    }
    let types = [RecordType::Mx, RecordType::A, RecordType::Aaaa];
    context.ahead(&types, domain);
    let mut best = context.dns(types[0], domain)?;
    for rtype in &types[1..] {
        if matches!(best.status, DnsStatus::Ok | DnsStatus::Invalid | DnsStatus::NullMx | DnsStatus::Policy) {
            break;
        }
        let answer = context.dns(*rtype, domain)?;
        if answer.status.rank() > best.status.rank() {
            best = answer;
        }
    }
    let code = context.plan.codes.unknown_address;
    let (unknown, null) = match subject {
        Subject::Sender => ((1, 8), (550, (7, 27))),
        _ => ((1, 2), (556, (1, 10))),
    };
    match best.status {
        DnsStatus::Ok => Ok(Step::Dunno),
        DnsStatus::Policy => {
            context.warning(format!("{domain}: MX or address lookup error: {}", best.reason));
            Ok(Step::Dunno)
        }
        DnsStatus::NullMx => {
            context.reject(subject, null.0, null.1, &format!("Domain {domain} does not accept mail (nullMX)"))
        }
        DnsStatus::Retry => {
            let refusal = context.refusal(subject, 450, unknown, "Domain not found")?;
            Ok(context.tempfail(context.plan.defer_unknown_address, refusal))
        }
        DnsStatus::Invalid => context.reject(subject, code, unknown, "Malformed DNS server reply"),
        DnsStatus::Fail | DnsStatus::NotFound => context.reject(subject, code, unknown, "Domain not found"),
    }
}
