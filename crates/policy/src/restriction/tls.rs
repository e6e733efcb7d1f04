//! Client certificates. Without TLS there are none, and no opinion.

use super::{Arg, Argument, Input, Restriction, entry};
use crate::context::Context;
use crate::question::Suspend;
use crate::step::Step;
use crate::tables::is_table;
use config::list::{name_value, split, strip_group, words};

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "permit_tls_clientcerts",
        Argument::None,
        &[Input::Tls],
        "Permit clients whose certificate is in $relay_clientcerts",
        |_, _| Ok(Step::Dunno),
    ),
    entry(
        "permit_tls_all_clientcerts",
        Argument::None,
        &[Input::Tls],
        "Permit clients with a trusted certificate",
        |_, _| Ok(Step::Dunno),
    ),
    entry(
        "check_ccert_access",
        Argument::CertificateTable,
        &[Input::Tls],
        "Look up the fingerprint of the client's certificate",
        check_ccert_access,
    ),
];

/// What `search_order` may name.
const SEARCH_ORDER: [&str; 4] = ["cert_fingerprint", "pubkey_fingerprint", "issuer_cn", "subject_cn"];

fn check_ccert_access(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    if !context.plan.asks_for_certificates {
        context.warning("check_ccert_access is requested, but \"smtpd_tls_ask_ccert = no\"");
    }
    Ok(Step::Dunno)
}

/// The table in `type:table` or `{ type:table, { search_order = … } }`; `None` where there is none. The error says
/// what else is wrong, in Postfix's words.
pub(super) fn table_of(argument: &str) -> Result<Option<&str>, String> {
    let Some(group) = strip_group(argument) else { return Ok(Some(argument).filter(|spec| is_table(spec))) };
    let Ok(elements) = split(group) else { return Ok(None) };
    let Some((first, attributes)) = elements.split_first() else { return Ok(None) };
    for attribute in attributes {
        let text = attribute.group().unwrap_or(&attribute.text);
        match name_value(text) {
            Some(("search_order", order)) => check_order(order, argument)?,
            Some((name, _)) => return Err(format!("unknown map attribute in '{argument}': '{name}'")),
            None => return Err(format!("malformed map attribute in '{argument}': '{text}'")),
        }
    }
    let spec = &group[first.offset..first.offset + first.text.len()];
    Ok(Some(spec).filter(|spec| is_table(spec)))
}

fn check_order(order: &str, argument: &str) -> Result<(), String> {
    let wanted = words(order).unwrap_or_default();
    match wanted.iter().find(|word| !SEARCH_ORDER.contains(&word.as_str())) {
        Some(word) => Err(format!("unknown search type '{word}' in '{argument}'")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script, log};

    #[test]
    fn without_tls_there_is_no_opinion() {
        let list = "permit_tls_clientcerts, permit_tls_all_clientcerts, \
                    check_ccert_access { hash:/certs, { search_order = pubkey_fingerprint cert_fingerprint } }, \
                    check_ccert_access { static:OK, search_order=issuer_cn }, reject";
        let values = [("smtpd_recipient_restrictions", list), ("smtpd_tls_ask_ccert", "yes")];
        let mut bench = Bench::new(&values, Script::default());
        assert!(bench.problems.is_empty(), "{:?}", bench.problems);
        assert_eq!(bench.reply(), "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied");
        assert_eq!(log(&bench.rcpt()).len(), 1);
    }

    #[test]
    fn certificates_that_nobody_asks_for_are_reported() {
        let values = [("smtpd_recipient_restrictions", "check_ccert_access static:OK")];
        let lines = log(&Bench::new(&values, Script::default()).rcpt());
        assert_eq!(lines, ["warning: check_ccert_access is requested, but \"smtpd_tls_ask_ccert = no\""]);
    }

    #[test]
    fn what_is_no_search_is_refused_at_start() {
        for (argument, message) in [
            ("nothing", "restriction check_ccert_access: bad argument \"nothing\": need maptype:mapname"),
            ("{ }", "restriction check_ccert_access: bad argument \"{ }\": need maptype:mapname"),
            (
                "{ static:x, { search_order = nonsense } }",
                "unknown search type 'nonsense' in '{ static:x, { search_order = nonsense } }'",
            ),
            ("{ static:x, { other = 1 } }", "unknown map attribute in '{ static:x, { other = 1 } }': 'other'"),
            ("{ static:x, { other } }", "malformed map attribute in '{ static:x, { other } }': 'other'"),
        ] {
            let list = format!("check_ccert_access {argument}");
            let bench = Bench::new(&[("smtpd_client_restrictions", &list)], Script::default());
            let found: Vec<_> = bench.problems.iter().map(|it| (it.is_error(), it.message.as_str())).collect();
            assert_eq!(found, [(true, format!("smtpd_client_restrictions: {message}").as_str())]);
        }
    }
}
