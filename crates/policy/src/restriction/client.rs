//! Who connects: networks, logins, and whether the address has a name.

use super::{Arg, Argument, Input, Restriction, entry};
use crate::context::Context;
use crate::facts::PeerStatus;
use crate::match_list::Matched;
use crate::question::Suspend;
use crate::refusal::Refusal;
use crate::step::{Permit, Step};
use crate::subject::Subject;

pub(super) const ENTRIES: &[Restriction] = &[
    entry("permit_mynetworks", Argument::None, &[Input::Client], "Permit clients in $mynetworks", permit_mynetworks),
    entry(
        "permit_inet_interfaces",
        Argument::None,
        &[Input::Client],
        "Permit clients with an address of this system",
        permit_inet_interfaces,
    ),
    entry(
        "permit_sasl_authenticated",
        Argument::None,
        &[Input::Sasl],
        "Permit clients that have logged in",
        permit_sasl_authenticated,
    ),
    entry(
        "reject_unknown_client_hostname",
        Argument::None,
        &[Input::Client],
        "Refuse clients without a name that leads back to their address",
        reject_unknown_client_hostname,
    )
    .alias(&["reject_unknown_client"])
    .dns(),
    entry(
        "reject_unknown_reverse_client_hostname",
        Argument::None,
        &[Input::Client],
        "Refuse clients whose address has no name",
        reject_unknown_reverse_client_hostname,
    )
    .dns(),
];

/// A permit in the name of a restriction.
pub(super) fn permit_as(action: &str, subject: Subject) -> Step {
    Step::Permit(Permit { action: action.into(), subject, table: None })
}

fn permit_mynetworks(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let list = &context.plan.mynetworks;
    let name = if list.needs_name() { context.peer_name()?.name } else { "".into() };
    match list.matches_host(&name, context.facts.client.address, context.ask)? {
        Matched::Yes => Ok(permit_as("permit_mynetworks", Subject::Client)),
        Matched::No => Ok(Step::Dunno),
        Matched::Failed(why) => {
            context.warning(why.as_ref());
            let name = context.client_text()?;
            Ok(Step::Abort(Refusal::lookup_failure(&name)))
        }
    }
}

fn permit_inet_interfaces(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    match context.facts.client.address {
        Some(address) if context.plan.interfaces.contains(&address) => {
            Ok(permit_as("permit_inet_interfaces", Subject::Client))
        }
        _ => Ok(Step::Dunno),
    }
}

fn permit_sasl_authenticated(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    match &context.facts.sasl {
        Some(login) if !login.method.eq_ignore_ascii_case("ANONYMOUS") => {
            Ok(permit_as("permit_sasl_authenticated", Subject::Client))
        }
        _ => Ok(Step::Dunno),
    }
}

fn reject_unknown_client_hostname(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let status = context.peer_name()?.name_status;
    Ok(judge_name(context, status, (7, 25), "hostname"))
}

fn reject_unknown_reverse_client_hostname(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let status = context.peer_name()?.reverse_status;
    Ok(judge_name(context, status, (7, 1), "reverse hostname"))
}

fn judge_name(context: &Context<'_, '_>, found: PeerStatus, status: (u16, u16), what: &str) -> Step {
    let code = match found {
        PeerStatus::Ok => return Step::Dunno,
        PeerStatus::Temporary => 450,
        PeerStatus::Permanent | PeerStatus::Forged => context.plan.codes.unknown_client,
    };
    let address = context.client_address();
    Step::Reject(Refusal::new(code, status, format!("Client host rejected: cannot find your {what}, [{address}]")))
}
