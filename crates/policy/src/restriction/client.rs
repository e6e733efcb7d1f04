//! Who connects: networks, logins, and whether the address has a name.

use super::{Arg, Argument, Input, Restriction, entry};
use crate::context::Context;
use crate::decision::LogEntry;
use crate::facts::PeerStatus;
use crate::ledger::Suspend;
use crate::match_list::Matched;
use crate::question::{Answer, Question};
use crate::refusal::Refusal;
use crate::step::{Permit, Step};
use crate::subject::Subject;
use smtp::server::ServerSession;

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
    Step::Permit(Permit { action: action.into(), subject, table: None, defer_if_reject: None })
}

fn permit_mynetworks(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let list = &context.plan.mynetworks;
    let name = if list.needs_name() { context.peer_name()?.name } else { "".into() };
    match list.matches_host(&name, context.facts.client.address, context.ask)? {
        Matched::Yes if is_distrusted(context)? => Ok(Step::Dunno),
        Matched::Yes => {
            if context.plan.legacy_networks
                && !context.facts.client.address.is_some_and(|it| context.plan.routing.is_own_address(it))
            {
                let client = ServerSession::CLIENT;
                context.log.push(LogEntry::Plain(format!(
                    "using backwards-compatible default setting mynetworks_style=subnet to permit request from client \"{client}\""
                )));
            }
            Ok(permit_as("permit_mynetworks", Subject::Client))
        }
        Matched::No => Ok(Step::Dunno),
        Matched::Failed(why) => {
            context.warning(why.as_ref());
            // not the client's: the subject of the list
            let name = context.subject_name(context.subject)?;
            Ok(Step::Abort(Refusal::lookup_failure(&name)))
        }
    }
}

/// `postern_distrust_gateways`: is the address no client's? Whoever can't tell says that it is.
fn is_distrusted(context: &mut Context<'_, '_>) -> Result<bool, Suspend> {
    let (Some(table), Some(address)) = (context.plan.distrusted, context.facts.client.address) else {
        return Ok(false);
    };
    let answer = context.ask.get(Question::Table { table, key: address.to_string() })?;
    Ok(!matches!(answer, Answer::Table(Ok(None))))
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

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script, log, verified};
    use crate::{PeerName, PeerStatus, Sasl};

    fn bench(list: &str) -> Bench {
        Bench::new(&[("smtpd_client_restrictions", list)], Script::default())
    }

    #[test]
    fn an_address_that_is_no_clients_is_outside() {
        let lists = [("mynetworks", "192.0.2.0/24"), ("smtpd_client_restrictions", "permit_mynetworks, reject")];
        let on = [lists[0], lists[1], ("postern_distrust_gateways", "yes")];
        let known = |address: &str| Script::default().entry("inline:{distrusted_gateways=here}", address, "distrusted");
        let failed = Script::default().failure("inline:{distrusted_gateways=here}", "192.0.2.7", "nobody knows");
        let refused = "554 5.7.1 <unknown[192.0.2.7]>: Client host rejected: Access denied";
        for (settings, script, want) in [
            (&lists[..], known("192.0.2.7"), "250"),
            (&on, Script::default(), "250"),
            (&on, known("192.0.2.8"), "250"),
            (&on, known("192.0.2.7"), refused),
            (&on, failed, refused),
        ] {
            assert_eq!(Bench::new(settings, script).client("192.0.2.7").reply(), want, "{settings:?}");
        }
    }

    #[test]
    fn trusted_clients_are_permitted() {
        const DENIED: &str = "554 5.7.1 <unknown[192.0.2.80]>: Client host rejected: Access denied";
        let values = [
            ("mynetworks", "127.0.0.0/8, !192.0.2.70 192.0.2.64/28, [2001:db8::]/32 trusted.example"),
            ("smtpd_client_restrictions", "permit_mynetworks, reject"),
        ];
        for (address, permitted) in [
            ("127.0.0.9", true),
            ("192.0.2.79", true),
            ("192.0.2.70", false),
            ("192.0.2.80", false),
            ("2001:db8::9", true),
        ] {
            let reply = Bench::new(&values, Script::default()).client(address).reply();
            assert_eq!(reply == "250", permitted, "{address}: {reply}");
        }
        assert_eq!(Bench::new(&values, Script::default()).client("192.0.2.80").reply(), DENIED);
        let named = Script::default().name("192.0.2.80", verified("sub.trusted.example"));
        assert_eq!(Bench::new(&values, named).client("192.0.2.80").reply(), "250");
        assert_eq!(bench("permit_inet_interfaces, reject").client("127.0.0.1").reply(), "250");
        assert!(bench("permit_inet_interfaces, reject").reply().starts_with("554"));
    }

    #[test]
    fn an_unreadable_network_list_defers() {
        let values = [("mynetworks", "hash:/networks"), ("smtpd_client_restrictions", "permit_mynetworks, reject")];
        let script = Script::default().failure("hash:/networks", "192.0.2.10", "networks: cannot read");
        let decision = Bench::new(&values, script).rcpt();
        assert_eq!(
            log(&decision),
            [
                "warning: networks: cannot read",
                "reject: 451 4.3.0 <client.example.net[192.0.2.10]>: Temporary lookup failure"
            ]
        );
        let script = Script::default().failure("hash:/networks", "192.0.2.10", "networks: cannot read");
        let values = [values[0], ("smtpd_relay_restrictions", "permit_mynetworks, reject")];
        assert_eq!(Bench::new(&values, script).reply(), "451 4.3.0 <u@example.com>: Temporary lookup failure");
    }

    #[test]
    fn a_login_permits_unless_it_is_anonymous() {
        for (method, reply) in [
            ("PLAIN", "250"),
            ("ANONYMOUS", "554 5.7.1 <client.example.net[192.0.2.10]>: Client host rejected: Access denied"),
        ] {
            let mut bench = bench("permit_sasl_authenticated, reject");
            bench.facts.sasl = Some(Sasl { method: method.into(), ..Sasl::default() });
            assert_eq!(bench.reply(), reply);
        }
        assert!(bench("permit_sasl_authenticated, reject").reply().starts_with("554"));
    }

    #[test]
    fn clients_without_a_name_are_refused() {
        let no_match = PeerName {
            name: "unknown".into(),
            reverse: "nomatch.example.net".into(),
            name_status: PeerStatus::Forged,
            reverse_status: PeerStatus::Ok,
        };
        let cannot = "Client host rejected: cannot find your";
        for (name, verified_reply, reverse_reply) in [
            (verified("client.example.net"), "250".to_owned(), "250".to_owned()),
            (no_match, format!("550 5.7.25 {cannot} hostname, [192.0.2.40]"), "250".to_owned()),
            (
                PeerName::unknown(PeerStatus::Permanent),
                format!("550 5.7.25 {cannot} hostname, [192.0.2.40]"),
                format!("550 5.7.1 {cannot} reverse hostname, [192.0.2.40]"),
            ),
            (
                PeerName::unknown(PeerStatus::Temporary),
                format!("450 4.7.25 {cannot} hostname, [192.0.2.40]"),
                format!("450 4.7.1 {cannot} reverse hostname, [192.0.2.40]"),
            ),
        ] {
            for (list, reply) in [
                ("reject_unknown_client_hostname", &verified_reply),
                ("reject_unknown_client", &verified_reply),
                ("reject_unknown_reverse_client_hostname", &reverse_reply),
            ] {
                let values = [("smtpd_client_restrictions", list), ("unknown_client_reject_code", "550")];
                let script = Script::default().name("192.0.2.40", name.clone());
                assert_eq!(&Bench::new(&values, script).client("192.0.2.40").reply(), reply, "{list} {name:?}");
            }
        }
    }
}
