//! The HELO argument: is it a name, a full one, and known?

use super::{Arg, Argument, Input, Restriction, entry};
use crate::address::syntax::{is_hostname, is_utf8_hostname, mail_literal};
use crate::context::Context;
use crate::dns_filter;
use crate::ledger::Suspend;
use crate::question::{DnsStatus, RecordType};
use crate::step::Step;
use crate::subject::Subject;
use smtp::address::valid_hostaddr;

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "reject_invalid_helo_hostname",
        Argument::None,
        &[Input::Helo],
        "Refuse HELO arguments that are neither a host name nor an address",
        reject_invalid,
    )
    .alias(&["reject_invalid_hostname"]),
    entry(
        "reject_non_fqdn_helo_hostname",
        Argument::None,
        &[Input::Helo],
        "Refuse HELO names without a domain",
        reject_non_fqdn,
    )
    .alias(&["reject_non_fqdn_hostname"]),
    entry(
        "reject_unknown_helo_hostname",
        Argument::None,
        &[Input::Helo],
        "Refuse HELO names with neither address nor mail exchanger",
        reject_unknown,
    )
    .alias(&["reject_unknown_hostname"])
    .dns(),
];

/// One final dot is no part of the name, two are.
pub(super) fn without_final_dot(name: &str) -> &str {
    match name.strip_suffix('.') {
        Some(rest) if !rest.ends_with('.') => rest,
        _ => name,
    }
}

/// The HELO argument, unless it is a literal: then the step for it.
fn helo_name<'a>(context: &mut Context<'a, '_>) -> Result<Result<&'a str, Step>, Suspend> {
    let facts = context.facts;
    let Some(helo) = facts.helo.as_deref() else { return Ok(Err(Step::Dunno)) };
    if !helo.starts_with('[') {
        return Ok(Ok(helo));
    }
    if mail_literal(helo).is_some() {
        return Ok(Err(Step::Dunno));
    }
    context.reject(Subject::Helo, context.plan.codes.invalid_hostname, (5, 2), "invalid ip address").map(Err)
}

fn reject_invalid(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let helo = match helo_name(context)? {
        Ok(helo) => helo,
        Err(step) => return Ok(step),
    };
    let name = without_final_dot(helo);
    if is_hostname(name) || valid_hostaddr(name) {
        return Ok(Step::Dunno);
    }
    context.reject(Subject::Helo, context.plan.codes.invalid_hostname, (5, 2), "Invalid name")
}

fn reject_non_fqdn(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let helo = match helo_name(context)? {
        Ok(helo) => helo,
        Err(step) => return Ok(step),
    };
    let name = without_final_dot(helo);
    let valid = if context.facts.smtputf8 { is_utf8_hostname(name) } else { is_hostname(name) };
    if valid && name.contains('.') {
        return Ok(Step::Dunno);
    }
    context.reject(Subject::Helo, context.plan.codes.non_fqdn, (5, 2), "need fully-qualified hostname")
}

fn reject_unknown(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let helo = match helo_name(context)? {
        Ok(helo) => helo,
        Err(step) => return Ok(step),
    };
    if !helo.is_ascii() {
        // not looked up as A-labels: Postfix does that for the domains of addresses only
        return context.reject(Subject::Helo, context.plan.codes.unknown_hostname, (7, 1), "Host not found");
    }
    let types = [RecordType::A, RecordType::Aaaa, RecordType::Mx];
    context.ahead(&types, helo);
    let mut best = context.dns(types[0], helo)?;
    for rtype in &types[1..] {
        if best.status == DnsStatus::Ok {
            break;
        }
        let answer = context.dns(*rtype, helo)?;
        if answer.status.rank() > best.status.rank() {
            best = answer;
        }
    }
    let codes = &context.plan.codes;
    match best.status {
        DnsStatus::Ok | DnsStatus::NullMx => Ok(Step::Dunno),
        DnsStatus::Policy => {
            context.warning(format!("{helo}: address or MX lookup error: {}", dns_filter::DROPS_ALL));
            Ok(Step::Dunno)
        }
        DnsStatus::Retry => {
            let refusal = context.refusal(Subject::Helo, 450, (7, 1), "Host not found")?;
            Ok(context.tempfail(context.plan.defer_unknown_helo, refusal))
        }
        DnsStatus::Invalid => {
            context.reject(Subject::Helo, codes.unknown_hostname, (7, 1), "Malformed DNS server reply")
        }
        DnsStatus::Fail | DnsStatus::NotFound => {
            context.reject(Subject::Helo, codes.unknown_hostname, (7, 1), "Host not found")
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script, log};

    fn reply(list: &str, helo: &str, script: Script) -> String {
        Bench::new(&[("smtpd_helo_restrictions", list)], script).helo(helo).reply()
    }

    #[test]
    fn invalid_names_are_refused() {
        for (helo, expected) in [
            ("client.example.net", "250"),
            ("client.example.net.", "250"),
            ("short", "250"),
            ("a_b.example", "250"),
            ("192.0.2.10", "250"),
            ("[192.0.2.10]", "250"),
            ("[IPv6:2001:db8::1]", "250"),
            ("-bad-.example", "501 5.5.2 <-bad-.example>: Helo command rejected: Invalid name"),
            ("a..", "501 5.5.2 <a..>: Helo command rejected: Invalid name"),
            ("[192.0.2]", "501 5.5.2 <[192.0.2]>: Helo command rejected: invalid ip address"),
            ("[example]", "501 5.5.2 <[example]>: Helo command rejected: invalid ip address"),
        ] {
            for name in ["reject_invalid_helo_hostname", "reject_invalid_hostname"] {
                assert_eq!(reply(name, helo, Script::default()), expected, "{helo}");
            }
        }
    }

    #[test]
    fn short_names_are_refused() {
        for (helo, expected) in [
            ("client.example.net", "250"),
            ("client.example.net.", "250"),
            ("[192.0.2.10]", "250"),
            ("short", "504 5.5.2 <short>: Helo command rejected: need fully-qualified hostname"),
            ("short.", "504 5.5.2 <short.>: Helo command rejected: need fully-qualified hostname"),
            ("192.0.2.10", "504 5.5.2 <192.0.2.10>: Helo command rejected: need fully-qualified hostname"),
        ] {
            assert_eq!(reply("reject_non_fqdn_helo_hostname", helo, Script::default()), expected, "{helo}");
        }
        let mut bench = Bench::new(&[("smtpd_helo_restrictions", "reject_non_fqdn_hostname")], Script::default());
        bench = bench.helo("mél.example");
        assert!(bench.reply().starts_with("504"));
        bench.facts.smtputf8 = true;
        assert_eq!(bench.reply(), "250");
    }

    #[test]
    fn unknown_names_are_refused() {
        let not_found = |code: u16| format!("{code} 4.7.1 <h.example>: Helo command rejected: Host not found");
        for (records, expected) in [
            (&["A 192.0.2.1"][..], "250".to_owned()),
            (&["AAAA 2001:db8::1"], "250".into()),
            (&["MX 10 mx.example"], "250".into()),
            (&["MX NULLMX"], "250".into()),
            (&["POLICY"], "250".into()),
            (&[], not_found(450)),
            (&["REFUSED"], not_found(450)),
            (&["A SERVFAIL"], not_found(450)),
            (&["A SERVFAIL", "MX 10 mx.example"], "250".into()),
            (&["MX INVALID"], "450 4.7.1 <h.example>: Helo command rejected: Malformed DNS server reply".into()),
        ] {
            let script = Script::default().dns("h.example", records);
            assert_eq!(reply("reject_unknown_helo_hostname", "h.example", script), expected, "{records:?}");
        }
        let values = [
            ("smtpd_helo_restrictions", "reject_unknown_hostname, check_helo_access static:{REJECT later}"),
            ("unknown_hostname_reject_code", "513"),
        ];
        let later = "554 5.7.1 <h.example>: Helo command rejected: later";
        let temporary = Script::default().dns("h.example", &["SERVFAIL"]);
        assert_eq!(Bench::new(&values, temporary.clone()).helo("h.example").reply(), later);
        assert_eq!(
            Bench::new(&values, Script::default()).helo("h.example").reply(),
            "513 5.7.1 <h.example>: Helo command rejected: Host not found"
        );
        let at_once = [values[0], ("unknown_helo_hostname_tempfail_action", "defer")];
        assert_eq!(Bench::new(&at_once, temporary).helo("h.example").reply(), not_found(450));
    }

    #[test]
    fn filtered_answers_are_reported() {
        let script = Script::default().dns("h.example", &["A POLICY"]);
        let mut bench = Bench::new(&[("smtpd_helo_restrictions", "reject_unknown_helo_hostname")], script);
        bench = bench.helo("h.example");
        assert_eq!(
            log(&bench.rcpt()),
            ["warning: h.example: address or MX lookup error: DNS reply filter drops all results"]
        );
    }

    #[test]
    fn without_helo_there_is_no_opinion() {
        let lists = "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, reject_unknown_helo_hostname";
        let mut bench = Bench::new(&[("smtpd_recipient_restrictions", lists)], Script::default());
        bench.facts.helo = None;
        assert_eq!(bench.reply(), "250");
    }
}
