//! Sender and recipient domains: full names, and known ones.

use super::hostname::without_final_dot;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::address::syntax::{domain_of, is_hostname, is_utf8_hostname};
use crate::context::Context;
use crate::dns_filter;
use crate::ledger::Suspend;
use crate::question::{DnsStatus, RecordType};
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
    // a sender is resolved as for mail from the recipient to it
    let other = if subject == Subject::Sender { &facts.recipient } else { &facts.sender };
    other.as_deref().unwrap_or_default()
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
        // Where the exchangers were filtered away, addresses don't stand in for them.
        let filtered = best.status == DnsStatus::Policy && *rtype == RecordType::A;
        if filtered || matches!(best.status, DnsStatus::Ok | DnsStatus::Invalid | DnsStatus::NullMx) {
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
            context.warning(format!("{domain}: MX or address lookup error: {}", dns_filter::DROPS_ALL));
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

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script, log};

    const RELAY: (&str, &str) = ("relay_domains", "d.example, nodot");

    #[test]
    fn incomplete_domains_are_refused() {
        for (address, good) in [
            ("a@example.org", true),
            ("a@example.org.", true),
            ("a@[192.0.2.1]", true),
            ("a b@example.org", true),
            ("a", false),
            ("a@nodot", false),
            ("a%example.org", false),
        ] {
            let text = format!("504 5.5.2 <{address}>: Sender address rejected: need fully-qualified address");
            let expected = if good { "250" } else { &text };
            let values = [("smtpd_sender_restrictions", "reject_non_fqdn_sender")];
            assert_eq!(Bench::new(&values, Script::default()).sender(address).reply(), expected);

            let text = text.replace("Sender", "Recipient");
            let expected = if good { "250" } else { &text };
            let values = [
                ("smtpd_relay_restrictions", "permit_mynetworks, defer_unauth_destination"),
                ("smtpd_recipient_restrictions", "reject_non_fqdn_recipient"),
                RELAY,
            ];
            let mut bench = Bench::new(&values, Script::default()).client("127.0.0.1").recipient(address);
            assert_eq!(bench.reply(), expected);
        }
        let values = [("smtpd_sender_restrictions", "reject_non_fqdn_sender, reject_unknown_sender_domain")];
        assert_eq!(Bench::new(&values, Script::default()).sender("").reply(), "250");
    }

    #[test]
    fn unknown_domains_are_refused() {
        let null = "Domain d.example does not accept mail (nullMX)";
        for (records, sender, recipient) in [
            (&["MX 10 mx.example"][..], "250", "250"),
            (&["A 192.0.2.1"], "250", "250"),
            (&["AAAA 2001:db8::1"], "250", "250"),
            (&["MX SERVFAIL", "A 192.0.2.1"], "250", "250"),
            (&["MX POLICY"], "250", "250"),
            (&[], "450 4.1.8 Domain not found", "450 4.1.2 Domain not found"),
            (&["TXT words"], "450 4.1.8 Domain not found", "450 4.1.2 Domain not found"),
            (&["REFUSED"], "450 4.1.8 Domain not found", "450 4.1.2 Domain not found"),
            (&["SERVFAIL"], "450 4.1.8 Domain not found", "450 4.1.2 Domain not found"),
            (
                &["MX INVALID", "A 192.0.2.1"],
                "450 4.1.8 Malformed DNS server reply",
                "450 4.1.2 Malformed DNS server reply",
            ),
            (&["MX NULLMX", "A 192.0.2.1"], &format!("550 5.7.27 {null}"), &format!("556 5.1.10 {null}")),
        ] {
            for (list, restriction, class, expected) in [
                ("smtpd_sender_restrictions", "reject_unknown_sender_domain", "Sender", sender),
                ("smtpd_sender_restrictions", "reject_unknown_address", "Sender", sender),
                ("smtpd_recipient_restrictions", "reject_unknown_recipient_domain", "Recipient", recipient),
            ] {
                let script = Script::default().dns("d.example", records);
                let mut bench = Bench::new(&[(list, restriction), RELAY], script);
                bench = if class == "Sender" { bench.sender("a@D.example") } else { bench.recipient("a@D.example") };
                let expected = match expected.splitn(3, ' ').collect::<Vec<_>>()[..] {
                    [code, status, text] => {
                        format!("{code} {status} <a@D.example>: {class} address rejected: {text}")
                    }
                    _ => expected.to_owned(),
                };
                assert_eq!(bench.reply().replace("d.example", "D.example"), expected.replace("d.example", "D.example"));
            }
        }
    }

    #[test]
    fn temporary_failures_wait_for_a_better_reason() {
        let values = [
            ("smtpd_sender_restrictions", "reject_unknown_sender_domain"),
            ("smtpd_recipient_restrictions", "check_recipient_access hash:/r"),
            ("unknown_address_reject_code", "550"),
        ];
        let script = Script::default().dns("temp.example", &["SERVFAIL"]).entry("hash:/r", "bad@example.com", "REJECT");
        let mut bench = Bench::new(&values, script.clone()).sender("a@temp.example");
        assert_eq!(bench.reply(), "450 4.1.8 <a@temp.example>: Sender address rejected: Domain not found");
        let mut bench = bench.recipient("bad@example.com");
        assert_eq!(bench.reply(), "554 5.7.1 <bad@example.com>: Recipient address rejected: Access denied");

        let at_once = [values[0], values[1], ("unknown_address_tempfail_action", "defer")];
        let mut bench = Bench::new(&at_once, script).sender("a@temp.example").recipient("bad@example.com");
        assert_eq!(bench.reply(), "450 4.1.8 <a@temp.example>: Sender address rejected: Domain not found");
    }

    #[test]
    fn our_own_domains_and_literals_are_not_looked_up() {
        let values = [("smtpd_sender_restrictions", "reject_unknown_sender_domain")];
        for sender in ["a@example.com", "a@[192.0.2.9]", "a"] {
            let mut bench = Bench::new(&values, Script::default()).sender(sender);
            assert_eq!(bench.reply(), "250");
            assert!(bench.script.asked.is_empty(), "{:?}", bench.script.asked);
        }
    }

    #[test]
    fn filtered_answers_are_reported() {
        let script = Script::default().dns("d.example", &["MX POLICY"]);
        let values = [("smtpd_sender_restrictions", "reject_unknown_sender_domain")];
        let decision = Bench::new(&values, script).sender("a@d.example").rcpt();
        assert_eq!(
            log(&decision),
            ["warning: d.example: MX or address lookup error: DNS reply filter drops all results"]
        );
    }
}
