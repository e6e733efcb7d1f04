//! Client certificates. Without TLS there are none, and no opinion.
//!
//! A fingerprint counts whether the certificate is trusted or not: the client has proved that it has the key.

use super::access::access_value;
use super::client::permit_as;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::action::interpret;
use crate::address::Lookup;
use crate::context::Context;
use crate::decision::{ErrorClass, LogEntry};
use crate::facts::Certificate;
use crate::ledger::Suspend;
use crate::refusal::Refusal;
use crate::step::{Guard, Step};
use crate::subject::Subject;
use crate::tables::is_table;
use config::list::{name_value, split, strip_group, words};

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "permit_tls_clientcerts",
        Argument::None,
        &[Input::Tls],
        "Permit clients whose certificate is in $relay_clientcerts",
        |context, _| permit_tls_clientcerts(context, false),
    ),
    entry(
        "permit_tls_all_clientcerts",
        Argument::None,
        &[Input::Tls],
        "Permit clients with a trusted certificate",
        |context, _| permit_tls_clientcerts(context, true),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateKey {
    /// `cert_fingerprint`
    Certificate,
    /// `pubkey_fingerprint`
    PublicKey,
    /// `issuer_cn`, `subject_cn`: words that Postfix knows, but doesn't look up.
    Name(&'static str),
}

const SEARCH_ORDER: [(&str, CertificateKey); 4] = [
    ("cert_fingerprint", CertificateKey::Certificate),
    ("pubkey_fingerprint", CertificateKey::PublicKey),
    ("issuer_cn", CertificateKey::Name("issuer_cn")),
    ("subject_cn", CertificateKey::Name("subject_cn")),
];
const USUAL_ORDER: [CertificateKey; 2] = [CertificateKey::Certificate, CertificateKey::PublicKey];

/// The certificate; without one, nobody may have been asked for it.
fn certificate<'a>(context: &mut Context<'a, '_>, name: &str) -> Option<&'a Certificate> {
    let certificate = context.facts.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    if certificate.is_none() && !context.plan.asks_for_certificates {
        context.warning(format!("{name} is requested, but \"smtpd_tls_ask_ccert = no\""));
    }
    certificate
}

fn permit_tls_clientcerts(context: &mut Context<'_, '_>, all: bool) -> Result<Step, Suspend> {
    if context.facts.tls.is_none() {
        return Ok(Step::Dunno);
    }
    let name = if all { "permit_tls_all_clientcerts" } else { "permit_tls_clientcerts" };
    let Some(certificate) = certificate(context, name) else { return Ok(Step::Dunno) };
    if all && certificate.is_trusted {
        return Ok(permit_as(name, Subject::Client));
    }
    for fingerprint in [&certificate.public_key_fingerprint, &certificate.fingerprint] {
        match context.plan.relay_clientcerts.get(fingerprint, false, context.ask)? {
            Lookup::Found { .. } => return Ok(permit_as(name, Subject::Client)),
            Lookup::NotFound => {}
            Lookup::Failed(why) | Lookup::Broken(why) => {
                context.warning(why);
                let name = context.subject_name(context.subject)?;
                return Ok(Step::Abort(Refusal::lookup_failure(&name)));
            }
        }
    }
    Ok(Step::Dunno)
}

fn check_ccert_access(context: &mut Context<'_, '_>, arg: &Arg) -> Result<Step, Suspend> {
    let Arg::Certificates(table, order) = arg else { return Ok(Step::Dunno) };
    let Some(certificate) = certificate(context, "check_ccert_access") else { return Ok(Step::Dunno) };
    let order = if order.is_empty() { &USUAL_ORDER } else { order.as_slice() };
    for key in order {
        let key = match key {
            CertificateKey::Certificate => &certificate.fingerprint,
            CertificateKey::PublicKey => &certificate.public_key_fingerprint,
            CertificateKey::Name(word) => {
                context.warning(format!("check_ccert_access: search type '{word}' is not supported"));
                return Ok(Step::Abort(Refusal::new(451, (3, 5), "Server configuration error".to_owned())));
            }
        };
        if let Some(entry) = access_value(context, table, key)? {
            match interpret(context, &entry, Subject::Certificate, Guard::None)? {
                Step::Dunno => {}
                // Where a refusal is only logged, it is no answer: the other fingerprint has its turn.
                Step::Reject(refusal) if context.warn && refusal.class == ErrorClass::Policy => {
                    let text = refusal.reply(context.plan.soft_bounce, context.plan.smtputf8);
                    context.log.push(LogEntry::Event { word: "reject_warning", text });
                }
                step => return Ok(step),
            }
        }
    }
    Ok(Step::Dunno)
}

/// A table and the order of its keys.
type OrderedTable<'a> = (&'a str, Vec<CertificateKey>);

/// The table in `type:table` or `{ type:table, { search_order = … } }`; `None` where there is none. The error says
/// what else is wrong, in Postfix's words.
pub(super) fn table_of(argument: &str) -> Result<Option<OrderedTable<'_>>, String> {
    let Some(group) = strip_group(argument) else {
        return Ok(Some(argument).filter(|spec| is_table(spec)).map(|spec| (spec, Vec::new())));
    };
    let mut keys = Vec::new();
    let Ok(elements) = split(group) else { return Ok(None) };
    let Some((first, attributes)) = elements.split_first() else { return Ok(None) };
    for attribute in attributes {
        let text = attribute.group().unwrap_or(&attribute.text);
        match name_value(text) {
            Some(("search_order", order)) => keys = search_order(order, argument)?,
            Some((name, _)) => return Err(format!("unknown map attribute in '{argument}': '{name}'")),
            None => return Err(format!("malformed map attribute in '{argument}': '{text}'")),
        }
    }
    let spec = &group[first.offset..first.offset + first.text.len()];
    Ok(Some(spec).filter(|spec| is_table(spec)).map(|spec| (spec, keys)))
}

fn search_order(order: &str, argument: &str) -> Result<Vec<CertificateKey>, String> {
    let key = |word: &String| {
        let known = SEARCH_ORDER.iter().find(|(name, _)| name == word).map(|(_, key)| *key);
        known.ok_or_else(|| format!("unknown search type '{word}' in '{argument}'"))
    };
    words(order).unwrap_or_default().iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tls;
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
        assert_eq!(log(&bench.rcpt()).len(), 1, "the refusal alone");
    }

    /// Under TLS, with this certificate.
    fn under_tls(values: &[(&str, &str)], script: Script, certificate: Option<Certificate>) -> Bench {
        let mut bench = Bench::new(values, script);
        assert!(bench.problems.is_empty(), "{:?}", bench.problems);
        bench.facts.tls = Some(Tls { certificate, ..Tls::default() });
        bench
    }

    fn shown(is_trusted: bool) -> Option<Certificate> {
        Some(Certificate {
            subject_cn: "mx.example.org".to_owned(),
            issuer_cn: "CA".to_owned(),
            fingerprint: "AA:01".to_owned(),
            public_key_fingerprint: "BB:02".to_owned(),
            is_trusted,
        })
    }

    #[test]
    fn certificates_that_nobody_asks_for_are_reported() {
        for (list, lines) in
            [("check_ccert_access static:OK", 1), ("permit_tls_clientcerts, permit_tls_all_clientcerts", 2)]
        {
            let values = [("smtpd_recipient_restrictions", list)];
            let log = log(&under_tls(&values, Script::default(), None).rcpt());
            assert_eq!(log.len(), lines, "{log:?}");
            let name = list.split([',', ' ']).next().unwrap();
            assert_eq!(log[0], format!("warning: {name} is requested, but \"smtpd_tls_ask_ccert = no\""));
        }
        // As in Postfix, in the clear too.
        let values = [("smtpd_recipient_restrictions", "check_ccert_access static:OK")];
        assert_eq!(log(&Bench::new(&values, Script::default()).rcpt()).len(), 1);
        let values = [("smtpd_recipient_restrictions", "permit_tls_clientcerts")];
        assert!(log(&Bench::new(&values, Script::default()).rcpt()).is_empty());
    }

    #[test]
    fn known_certificates_are_permitted() {
        let refused = "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied";
        for (list, table, is_trusted, reply) in [
            ("permit_tls_clientcerts", "hash:/none", true, refused),
            ("permit_tls_clientcerts", "hash:/cert", false, "250"),
            ("permit_tls_clientcerts", "hash:/key", false, "250"),
            ("permit_tls_all_clientcerts", "hash:/none", false, refused),
            ("permit_tls_all_clientcerts", "hash:/none", true, "250"),
            ("permit_tls_all_clientcerts", "hash:/key", false, "250"),
            ("permit_tls_clientcerts", "hash:/down", false, "451 4.3.0 <u@example.com>: Temporary lookup failure"),
        ] {
            let list = format!("{list}, reject");
            let values = [
                ("smtpd_recipient_restrictions", list.as_str()),
                ("relay_clientcerts", table),
                ("smtpd_tls_ask_ccert", "yes"),
            ];
            let script = Script::default().entry("hash:/cert", "aa:01", "x").entry("hash:/key", "bb:02", "x").failure(
                "hash:/down",
                "bb:02",
                "down",
            );
            assert_eq!(under_tls(&values, script, shown(is_trusted)).reply(), reply, "{list} {table}");
        }
    }

    #[test]
    fn fingerprints_are_looked_up_in_order() {
        for (argument, reply) in [
            ("hash:/both", "554 5.7.1 <mx.example.org>: Client certificate rejected: no"),
            ("{ hash:/both, { search_order = pubkey_fingerprint, cert_fingerprint } }", "250"),
            ("{ hash:/dunno, { search_order = pubkey_fingerprint cert_fingerprint } }", "250"),
            ("{ hash:/both, { search_order = subject_cn } }", "451 4.3.5 Server configuration error"),
        ] {
            let list = format!("check_ccert_access {argument}, reject");
            let values = [("smtpd_recipient_restrictions", list.as_str()), ("smtpd_tls_ask_ccert", "yes")];
            let script = Script::default()
                .entry("hash:/both", "aa:01", "REJECT no")
                .entry("hash:/both", "bb:02", "OK")
                .entry("hash:/dunno", "aa:01", "OK")
                .entry("hash:/dunno", "bb:02", "DUNNO");
            assert_eq!(under_tls(&values, script, shown(false)).reply(), reply, "{argument}");
        }
    }

    #[test]
    fn each_fingerprint_has_its_warning() {
        let values = [
            ("smtpd_recipient_restrictions", "warn_if_reject check_ccert_access hash:/both"),
            ("smtpd_tls_ask_ccert", "yes"),
        ];
        let script =
            Script::default().entry("hash:/both", "aa:01", "REJECT one").entry("hash:/both", "bb:02", "REJECT two");
        let warned =
            |text: &str| format!("reject_warning: 554 5.7.1 <mx.example.org>: Client certificate rejected: {text}");
        let mut bench = under_tls(&values, script, shown(false));
        assert_eq!(log(&bench.rcpt()), [warned("one"), warned("two")]);
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
