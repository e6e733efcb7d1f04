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
