//! Everything that may be written into a restriction list or an access(5) table, and how far postern goes with it: for
//! documentation.

use super::parse::REMOVED;
use super::{Input, restrictions};

/// How far postern goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// As in Postfix.
    Honoured,
    /// With a difference.
    Partly(&'static str),
    /// Not there yet; the text says what happens meanwhile.
    NotYet(&'static str),
    /// Not to come, for this reason.
    Never(&'static str),
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: &'static str,
    /// Older names that still work.
    pub aliases: &'static [&'static str],
    /// What it looks at.
    pub needs: &'static [Input],
    /// What it does.
    pub summary: &'static str,
    /// How far postern goes with it.
    pub support: Support,
}

const fn listed(name: &'static str, summary: &'static str, support: Support) -> Listed {
    Listed { name, aliases: &[], needs: &[], summary, support }
}

/// All names of restriction lists: restrictions, prefixes, and names that are refused.
pub fn catalogue() -> Vec<Listed> {
    let mut all: Vec<Listed> = vec![
        listed("warn_if_reject", "Log what the next restriction would refuse, and go on", Support::Honoured),
        listed("*class*", "The list that `smtpd_restriction_classes` names", Support::Honoured),
        listed("*type:table*", "The access check that the list implies", Support::Honoured),
    ];
    all.extend(restrictions().map(|entry| Listed {
        name: entry.name,
        aliases: entry.aliases,
        needs: entry.needs,
        summary: entry.summary,
        support: match entry.name {
            "permit_mx_backup" => Support::Partly("honoured, with a warning: it is deprecated, write relay_domains"),
            _ => Support::Honoured,
        },
    }));
    all.extend(
        REMOVED
            .map(|(name, instead)| listed(name, instead, Support::Never("removed in Postfix 3.9; write this instead"))),
    );
    all.push(listed("reject_unknown_forward_client_hostname", "", Support::Never("never implemented in Postfix")));
    all
}

/// All actions of access(5), for tables and policy services.
pub fn access_actions() -> &'static [Listed] {
    const ACTIONS: &[Listed] = &[
        listed("OK", "Permit", Support::Honoured),
        listed("RELAY", "Permit", Support::Honoured),
        listed("*digits*", "Permit; a reply code by itself too", Support::Honoured),
        listed("DUNNO", "No opinion; the table is not searched further", Support::Honoured),
        listed("REJECT *text*", "Refuse with $access_map_reject_code", Support::Honoured),
        listed("DEFER *text*", "Refuse for now with $access_map_defer_code", Support::Honoured),
        listed("4NN *text*", "Refuse for now with this code; 421 also disconnects", Support::Honoured),
        listed("5NN *text*", "Refuse with this code; 521 also disconnects", Support::Honoured),
        listed("DEFER_IF_PERMIT *text*", "Refuse for now what would be permitted in the end", Support::Honoured),
        listed("DEFER_IF_REJECT *text*", "Refuse for now what would be refused for good", Support::Honoured),
        listed("BCC *user@domain*", "One more recipient", Support::Honoured),
        listed("DISCARD *text*", "Accept the message, and drop it", Support::Honoured),
        listed("FILTER *transport:destination*", "Send the message through a content filter", Support::Honoured),
        listed("HOLD *text*", "Put the message on hold", Support::Honoured),
        listed("PREPEND *header: value*", "One more header", Support::Honoured),
        listed("REDIRECT *user@domain*", "Another recipient instead of all", Support::Honoured),
        listed("INFO *text*", "Log", Support::Honoured),
        listed("WARN *text*", "Log a warning", Support::Honoured),
        listed("HANGUP *text*", "Disconnect without a reply", Support::Honoured),
        listed("*restriction, …*", "Restrictions and classes by name, without tables of their own", Support::Honoured),
    ];
    ACTIONS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, Script, log};

    #[test]
    fn names_are_listed_once() {
        let all = catalogue();
        let mut seen = std::collections::HashSet::new();
        for name in all.iter().flat_map(|it| std::iter::once(&it.name).chain(it.aliases)) {
            assert!(seen.insert(*name), "{name} twice");
        }
        for name in ["warn_if_reject", "reject_rbl", "reject_unverified_sender", "check_relay_domains", "permit"] {
            assert!(seen.contains(name), "{name}");
        }
    }

    #[test]
    fn every_action_is_known() {
        for action in access_actions().iter().map(|it| it.name).filter(|name| !name.starts_with('*')) {
            let value = action
                .replace("*text*", "words")
                .replace("*user@domain*", "a@b")
                .replace("4NN", "450")
                .replace("5NN", "550");
            let value = value.replace("*transport:destination*", "smtp:x").replace("*header: value*", "X: y");
            let script = Script::default().entry("hash:/t", "u@example.com", &value);
            let values = [("smtpd_recipient_restrictions", "check_recipient_access hash:/t")];
            let lines = log(&Bench::new(&values, script).rcpt());
            assert!(!lines.iter().any(|line| line.starts_with("warning: ")), "{action}: {lines:?}");
        }
    }
}
