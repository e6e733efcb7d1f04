//! Client certificates. Without one there is no opinion.

use super::{Arg, Argument, Input, Restriction, entry};
use crate::context::Context;
use crate::question::Suspend;
use crate::step::Step;

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "permit_tls_clientcerts",
        Argument::None,
        &[Input::Tls],
        "Permit clients whose certificate is in $relay_clientcerts",
        without_certificate,
    ),
    entry(
        "permit_tls_all_clientcerts",
        Argument::None,
        &[Input::Tls],
        "Permit clients with a trusted certificate",
        without_certificate,
    ),
    entry(
        "check_ccert_access",
        Argument::Table,
        &[Input::Tls],
        "Look up the fingerprint of the client's certificate",
        without_certificate,
    ),
];

fn without_certificate(_: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    Ok(Step::Dunno)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script};

    #[test]
    fn without_a_certificate_there_is_no_opinion() {
        let list = "permit_tls_clientcerts, permit_tls_all_clientcerts, \
                    check_ccert_access { hash:/certs, { search_order = cert_fingerprint } }, check_ccert_access static:OK, \
                    reject";
        let mut bench = Bench::new(&[("smtpd_recipient_restrictions", list)], Script::default());
        assert!(bench.problems.is_empty(), "{:?}", bench.problems);
        assert_eq!(bench.reply(), "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied");
    }
}
