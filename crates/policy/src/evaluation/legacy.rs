//! Notices about defaults of old compatibility levels, where they made a difference (COMPATIBILITY_README).

use crate::context::Context;
use crate::decision::LogEntry;
use crate::ledger::Suspend;
use crate::restriction::{Arg, find_restriction, is_authorized};
use crate::step::Step;
use smtp::server::ServerSession;

/// The recipient was refused by the recipient list, which comes first only by default.
pub(super) fn order_notice(recipient: &str) -> LogEntry {
    LogEntry::Plain(format!(
        "using backwards-compatible default setting smtpd_relay_before_recipient_restrictions=no to reject recipient \
         \"{recipient}\" from client \"{}\"",
        ServerSession::CLIENT
    ))
}

/// There is no relay list only by default: would the newer default have refused?
pub(super) fn relay_notice(context: &mut Context<'_, '_>) -> Result<(), Suspend> {
    let facts = context.facts;
    let Some(recipient) = facts.recipient.as_deref() else { return Ok(()) };
    if !matches!(is_authorized(context, recipient)?, Ok(false)) {
        return Ok(());
    }
    let said = context.log.len();
    for name in ["permit_mynetworks", "permit_sasl_authenticated"] {
        let Some(entry) = find_restriction(name) else { continue };
        let step = (entry.check)(context, &Arg::None)?;
        context.log.truncate(said);
        if matches!(step, Step::Permit(_)) {
            return Ok(());
        }
    }
    context.log.push(LogEntry::Plain(format!(
        "using backwards-compatible default setting \"smtpd_relay_restrictions = (empty)\" to avoid \"Relay access \
         denied\" error for recipient \"{recipient}\" from client \"{}\"",
        ServerSession::CLIENT
    )));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Config, Script, log};
    use smtp::server::ServerSession;

    /// Defaults of compatibility level 0.
    const LEVEL_0: &[(&str, &str)] = &[
        ("smtpd_relay_restrictions", ""),
        ("smtpd_relay_before_recipient_restrictions", "no"),
        ("mynetworks_style", "subnet"),
        ("mynetworks", "192.0.2.0/24"),
    ];

    const NOTICE: &str = "using backwards-compatible default setting ";

    fn lines(list: &str, client: &str, recipient: &str) -> Vec<String> {
        let config = Config::new(&[("smtpd_recipient_restrictions", list)]).by_default(LEVEL_0);
        log(&Bench::with(&config, Script::default()).client(client).recipient(recipient).rcpt())
    }

    #[test]
    fn relaying_that_is_open_by_default_is_noticed() {
        let list = "check_recipient_access static:OK, reject_unauth_destination";
        let notice = format!(
            "{NOTICE}\"smtpd_relay_restrictions = (empty)\" to avoid \"Relay access denied\" error for recipient \
             \"u@other.example\" from client \"{}\"",
            ServerSession::CLIENT
        );
        assert_eq!(lines(list, "203.0.113.9", "u@other.example"), [notice]);
        assert_eq!(lines(list, "203.0.113.9", "u@example.com"), Vec::<String>::new());
        assert_eq!(lines(list, "192.0.2.9", "u@other.example"), Vec::<String>::new());
    }

    #[test]
    fn refusals_of_a_list_that_is_first_by_default_are_noticed() {
        let found = lines("reject_unauth_destination", "203.0.113.9", "u@other.example");
        assert_eq!(found[0], "reject: 554 5.7.1 <u@other.example>: Relay access denied");
        let notice = format!(
            "{NOTICE}smtpd_relay_before_recipient_restrictions=no to reject recipient \"u@other.example\" from client \""
        );
        assert!(found.len() == 2 && found[1].starts_with(&notice), "{found:?}");
        let written = [
            ("smtpd_recipient_restrictions", "reject_unauth_destination"),
            ("smtpd_relay_before_recipient_restrictions", "no"),
        ];
        assert_eq!(log(&Bench::new(&written, Script::default()).recipient("u@other.example").rcpt()).len(), 1);
    }

    #[test]
    fn neighbours_that_are_trusted_by_default_are_noticed() {
        let list = "permit_mynetworks, reject_unauth_destination";
        let found = lines(list, "192.0.2.9", "u@other.example");
        let notice = format!("{NOTICE}mynetworks_style=subnet to permit request from client \"");
        assert!(found.len() == 1 && found[0].starts_with(&notice), "{found:?}");
    }
}
