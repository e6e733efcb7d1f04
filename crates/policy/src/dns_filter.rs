//! `smtpd_dns_reply_filter`: DNS records that the postmaster does not want to see.
//!
//! Every record of an answer is looked up as text (`NAME. TTL IN TYPE VALUE`, names with their final dot); the only action
//! is IGNORE. An answer left without records is a matter of policy, a filter that fails a temporary error.

use crate::address::{AddressMaps, Lookup};
use crate::context::Context;
use crate::decision::LogEntry;
use crate::ledger::Suspend;
use crate::question::{DnsAnswer, DnsRecord, DnsStatus, RecordType};
use std::sync::Arc;

/// Why an answer has no records left.
pub(crate) const DROPS_ALL: &str = "DNS reply filter drops all results";

/// Why an answer can't be used at all.
pub(crate) const BAD_FILTER: &str = "Invalid DNS reply filter syntax";

/// What one record's text was answered with.
enum Verdict {
    Keep,
    Ignore,
    /// Failed; why is in the log.
    Broken,
}

/// The answer without the records that are to be ignored.
pub(crate) fn apply(
    context: &mut Context<'_, '_>,
    rtype: RecordType,
    name: &str,
    answer: Arc<DnsAnswer>,
) -> Result<Arc<DnsAnswer>, Suspend> {
    let maps = &context.plan.dns_filter;
    if maps.is_empty() || answer.records.is_empty() {
        return Ok(answer);
    }
    let owner = answer.owner.as_deref().unwrap_or(name);
    let mut kept = Vec::with_capacity(answer.records.len());
    for (at, record) in answer.records.iter().enumerate() {
        let ttl = answer.ttls.get(at).copied().unwrap_or_default();
        let text = record_text(owner, ttl, rtype, record);
        match judge(context, maps, &text)? {
            Verdict::Keep => kept.push(at),
            Verdict::Ignore => context.log.push(LogEntry::Plain(format!("ignoring DNS RR: {text}"))),
            Verdict::Broken => return Ok(failed(DnsStatus::Retry, rtype, name, BAD_FILTER)),
        }
    }
    if kept.len() == answer.records.len() {
        return Ok(answer);
    }
    if kept.is_empty() {
        return Ok(failed(DnsStatus::Policy, rtype, name, DROPS_ALL));
    }
    let records = kept.iter().map(|at| answer.records[*at].clone()).collect();
    let ttls = kept.iter().map(|at| answer.ttls.get(*at).copied().unwrap_or_default()).collect();
    Ok(Arc::new(DnsAnswer { owner: answer.owner.clone(), ..DnsAnswer::found(records, ttls) }))
}

fn failed(status: DnsStatus, rtype: RecordType, name: &str, why: &str) -> Arc<DnsAnswer> {
    Arc::new(DnsAnswer::failed(status, format!("Error looking up name={name} type={}: {why}", rtype.word())))
}

fn judge(context: &mut Context<'_, '_>, maps: &AddressMaps, text: &str) -> Result<Verdict, Suspend> {
    match maps.get(text, false, context.ask)? {
        Lookup::NotFound => Ok(Verdict::Keep),
        Lookup::Found { value, .. } => {
            let action = value.trim_start();
            if action.split([' ', '\t']).next().is_some_and(|word| word.eq_ignore_ascii_case("ignore")) {
                return Ok(Verdict::Ignore);
            }
            context.warning(format!("{}: unknown DNS filter action: \"{action}\"", maps.name()));
            Ok(Verdict::Broken)
        }
        Lookup::Failed(why) | Lookup::Broken(why) => {
            if !why.is_empty() {
                context.warning(why.as_ref());
            }
            Ok(Verdict::Broken)
        }
    }
}

/// A record in the form that the filter is asked for.
fn record_text(owner: &str, ttl: u32, rtype: RecordType, record: &DnsRecord) -> String {
    let head = format!("{owner}. {ttl} IN {} ", rtype.word());
    match record {
        DnsRecord::Address(address) => format!("{head}{address}"),
        DnsRecord::Mx(preference, host) => format!("{head}{preference} {host}."),
        DnsRecord::Name(host) => format!("{head}{host}."),
        DnsRecord::Txt(text) => format!("{head}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script, log};

    const FILTER: (&str, &str) = ("smtpd_dns_reply_filter", "pcre:/filter");

    fn script() -> Script {
        Script::default()
            .dns("ten.example", &["MX 10 mail.ten.example", "A 192.0.2.1"])
            .dns("both.example", &["MX 10 mail.ten.example", "MX 20 other.example"])
            .dns("a.example", &["A 192.0.2.66", "AAAA 2001:db8::67"])
            .dns("six.example", &["AAAA 2001:db8::66"])
            .dns("odd.example", &["A 192.0.2.99"])
            .dns("down.example", &["A 192.0.2.98"])
            .dns("empty.example", &["A 192.0.2.97"])
            .dns("10.2.0.192.bl.example", &["A 127.0.0.2", "TXT first", "TXT second"])
            .dns("10.2.0.192.gone.example", &["A 127.0.0.9"])
            .entry("pcre:/filter", "ten.example. 300 IN MX 10 mail.ten.example.", "IGNORE")
            .entry("pcre:/filter", "both.example. 300 IN MX 10 mail.ten.example.", "ignore it")
            .entry("pcre:/filter", "a.example. 300 IN A 192.0.2.66", "Ignore")
            .entry("pcre:/filter", "six.example. 300 IN AAAA 2001:db8::66", "IGNORE")
            .entry("pcre:/filter", "odd.example. 300 IN A 192.0.2.99", "REJECT it")
            .failure("pcre:/filter", "down.example. 300 IN A 192.0.2.98", "pcre:/filter is broken")
            .entry("pcre:/filter", "empty.example. 300 IN A 192.0.2.97", "")
            .entry("pcre:/filter", "10.2.0.192.bl.example. 300 IN TXT second", "IGNORE")
            .entry("pcre:/filter", "10.2.0.192.gone.example. 300 IN A 127.0.0.9", "IGNORE")
    }

    fn lines(list: (&str, &str), sender: &str, helo: &str) -> Vec<String> {
        log(&Bench::new(&[FILTER, list], script()).sender(sender).helo(helo).rcpt())
    }

    #[test]
    fn domains_are_judged_by_what_is_left() {
        let list = ("smtpd_sender_restrictions", "reject_unknown_sender_domain");
        let not_found = |domain: &str| format!("450 4.1.8 <x@{domain}>: Sender address rejected: Domain not found");
        for (domain, expected) in [
            (
                "ten.example",
                vec![
                    "ignoring DNS RR: ten.example. 300 IN MX 10 mail.ten.example.".to_owned(),
                    "warning: ten.example: MX or address lookup error: DNS reply filter drops all results".into(),
                ],
            ),
            ("both.example", vec!["ignoring DNS RR: both.example. 300 IN MX 10 mail.ten.example.".into()]),
            ("a.example", vec!["ignoring DNS RR: a.example. 300 IN A 192.0.2.66".into()]),
            (
                "six.example",
                vec![
                    "ignoring DNS RR: six.example. 300 IN AAAA 2001:db8::66".into(),
                    "warning: six.example: MX or address lookup error: DNS reply filter drops all results".into(),
                ],
            ),
            (
                "odd.example",
                vec![
                    "warning: smtpd_dns_reply_filter: unknown DNS filter action: \"REJECT it\"".into(),
                    format!("reject: {}", not_found("odd.example")),
                ],
            ),
            (
                "down.example",
                vec![
                    "warning: pcre:/filter is broken".into(),
                    "warning: pcre:/filter lookup error for \"down.example. 300 IN A 192.0.2.98\"".into(),
                    format!("reject: {}", not_found("down.example")),
                ],
            ),
        ] {
            assert_eq!(lines(list, &format!("x@{domain}"), "h"), expected);
        }
        let empty = lines(list, "x@empty.example", "h");
        assert!(empty[0].starts_with("warning: smtpd_dns_reply_filter lookup of empty.example. 300 IN A 192.0.2.97 "));
    }

    #[test]
    fn helo_names_and_exchangers_are_filtered_but_no_addresses_of_hosts() {
        let list = ("smtpd_helo_restrictions", "reject_unknown_helo_hostname");
        assert_eq!(lines(list, "", "a.example"), ["ignoring DNS RR: a.example. 300 IN A 192.0.2.66"]);
        let list = ("smtpd_sender_restrictions", "check_sender_mx_access hash:/t");
        assert_eq!(
            lines(list, "x@ten.example", "h"),
            [
                "ignoring DNS RR: ten.example. 300 IN MX 10 mail.ten.example.",
                "warning: Unable to look up MX host for ten.example: DNS reply filter policy",
            ]
        );
        let list = ("smtpd_sender_restrictions", "check_sender_a_access hash:/t");
        assert_eq!(lines(list, "x@a.example", "h"), Vec::<String>::new());
    }

    #[test]
    fn lists_are_filtered() {
        let list = ("smtpd_client_restrictions", "reject_rbl_client gone.example, reject_rbl_client bl.example");
        assert_eq!(
            lines(list, "x@a.example", "h"),
            [
                "ignoring DNS RR: 10.2.0.192.gone.example. 300 IN A 127.0.0.9",
                "warning: 10.2.0.192.gone.example: RBL lookup error: Error looking up name=10.2.0.192.gone.example \
                 type=A: DNS reply filter drops all results",
                "ignoring DNS RR: 10.2.0.192.bl.example. 300 IN TXT second",
                "reject: 554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using bl.example; first",
            ]
        );
    }
}
