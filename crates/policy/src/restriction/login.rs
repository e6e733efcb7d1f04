//! Sender addresses and the logins that own them (`smtpd_sender_login_maps`).

use super::mail_address::address_of;
use super::{Argument, Input, Restriction, entry};
use crate::address::Lookup;
use crate::context::Context;
use crate::ledger::Suspend;
use crate::refusal::Refusal;
use crate::settings::elements;
use crate::step::Step;
use crate::subject::Subject;
use std::sync::Arc;

const NEEDS: &[Input] = &[Input::Sender, Input::Sasl];

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        "reject_authenticated_sender_login_mismatch",
        Argument::None,
        NEEDS,
        "Refuse logged-in clients that do not own the sender address",
        |context, _| check(context, "reject_authenticated_sender_login_mismatch", authenticated),
    ),
    entry(
        "reject_known_sender_login_mismatch",
        Argument::None,
        NEEDS,
        "Refuse clients that do not own a sender address that has owners",
        |context, _| check(context, "reject_known_sender_login_mismatch", known),
    ),
    entry(
        "reject_unauthenticated_sender_login_mismatch",
        Argument::None,
        NEEDS,
        "Refuse clients that have not logged in for a sender address that has owners",
        |context, _| check(context, "reject_unauthenticated_sender_login_mismatch", unauthenticated),
    ),
    entry(
        "reject_sender_login_mismatch",
        Argument::None,
        NEEDS,
        "Refuse clients that do not own the sender address, logged in or not",
        |context, _| check(context, "reject_sender_login_mismatch", either),
    ),
];

type Rule = fn(login: Option<&str>, owners: Option<&str>) -> Option<String>;

fn not_owned(login: &str, owners: Option<&str>) -> Option<String> {
    let owned = owners.is_some_and(|owners| elements(owners).iter().any(|owner| owner.eq_ignore_ascii_case(login)));
    if owned { None } else { Some(format!("not owned by user {login}")) }
}

fn authenticated(login: Option<&str>, owners: Option<&str>) -> Option<String> {
    not_owned(login?, owners)
}

fn unauthenticated(login: Option<&str>, owners: Option<&str>) -> Option<String> {
    (login.is_none() && owners.is_some()).then(|| "not logged in".into())
}

fn known(login: Option<&str>, owners: Option<&str>) -> Option<String> {
    match login {
        Some(login) => not_owned(login, Some(owners?)),
        None => unauthenticated(login, owners),
    }
}

fn either(login: Option<&str>, owners: Option<&str>) -> Option<String> {
    authenticated(login, owners).or_else(|| unauthenticated(login, owners))
}

fn check(context: &mut Context<'_, '_>, name: &str, rule: Rule) -> Result<Step, Suspend> {
    if !context.plan.sasl_enabled {
        // The one that is for both is made of two.
        let both = ["reject_authenticated_sender_login_mismatch", "reject_unauthenticated_sender_login_mismatch"];
        let names = if name == "reject_sender_login_mismatch" { &both[..] } else { &[name] };
        for name in names {
            context.warning(format!("restriction `{name}' ignored: no SASL support"));
        }
        return Ok(Step::Dunno);
    }
    let Some(sender) = address_of(context, Subject::Sender) else { return Ok(Step::Dunno) };
    let logged_in = context.facts.sasl.is_some();
    let concerns = match name {
        "reject_authenticated_sender_login_mismatch" => logged_in,
        "reject_unauthenticated_sender_login_mismatch" => !logged_in,
        _ => true,
    };
    if !concerns {
        return Ok(Step::Dunno);
    }
    let owners = match owners(context, sender)? {
        Ok(owners) => owners,
        Err(step) => return Ok(step),
    };
    let facts = context.facts;
    let login = facts.sasl.as_ref().map(|login| login.username.as_str());
    match rule(login, owners.as_deref()) {
        Some(text) => context.reject(Subject::Sender, 553, (7, 1), &text),
        None => Ok(Step::Dunno),
    }
}

fn owners(context: &mut Context<'_, '_>, sender: &str) -> Result<Result<Option<Arc<str>>, Step>, Suspend> {
    let resolved = match context.resolve("", sender)? {
        Ok(resolved) => resolved,
        Err(step) => return Ok(Err(step)),
    };
    match context.plan.routing.find_address(&context.plan.login_maps, &resolved.recipient, context.ask)? {
        Lookup::Found { value, .. } => Ok(Ok(Some(value))),
        Lookup::NotFound => Ok(Ok(None)),
        Lookup::Failed(why) => {
            context.warning(why.as_ref());
            Ok(Err(Step::Abort(Refusal::lookup_failure(sender))))
        }
        Lookup::Broken(why) => {
            context.warning(why.as_ref());
            Ok(Err(Step::Abort(Refusal::server_error())))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Sasl;
    use crate::testing::{Bench, Script, log};

    #[test]
    fn senders_belong_to_logins() {
        let script = || Script::default().entry("hash:/owners", "boss@example.org", "ann, BEN");
        let not_owned = |sender: &str, login: &str| {
            format!("553 5.7.1 <{sender}>: Sender address rejected: not owned by user {login}")
        };
        let not_logged_in = "553 5.7.1 <boss@example.org>: Sender address rejected: not logged in".to_owned();
        let ok = || "250".to_owned();
        for (sender, login, authenticated, known, unauthenticated, either) in [
            ("boss@example.org", Some("ann"), ok(), ok(), ok(), ok()),
            ("boss@example.org", Some("ben"), ok(), ok(), ok(), ok()),
            (
                "boss@example.org",
                Some("cid"),
                not_owned("boss@example.org", "cid"),
                not_owned("boss@example.org", "cid"),
                ok(),
                not_owned("boss@example.org", "cid"),
            ),
            (
                "free@example.org",
                Some("ann"),
                not_owned("free@example.org", "ann"),
                ok(),
                ok(),
                not_owned("free@example.org", "ann"),
            ),
            ("free@example.org", None, ok(), ok(), ok(), ok()),
            ("boss@example.org", None, ok(), not_logged_in.clone(), not_logged_in.clone(), not_logged_in.clone()),
        ] {
            for (restriction, expected) in [
                ("reject_authenticated_sender_login_mismatch", &authenticated),
                ("reject_known_sender_login_mismatch", &known),
                ("reject_unauthenticated_sender_login_mismatch", &unauthenticated),
                ("reject_sender_login_mismatch", &either),
            ] {
                let values = [
                    ("smtpd_sasl_auth_enable", "yes"),
                    ("smtpd_sender_login_maps", "hash:/owners"),
                    ("smtpd_sender_restrictions", restriction),
                ];
                let mut bench = Bench::new(&values, script()).sender(sender);
                bench.facts.sasl = login.map(|name| Sasl { username: name.into(), ..Sasl::default() });
                assert_eq!(&bench.reply(), expected, "{restriction} {sender} {login:?}");
            }
        }
    }

    #[test]
    fn without_sasl_the_check_is_ignored_aloud() {
        let values = [("smtpd_sender_restrictions", "reject_sender_login_mismatch")];
        assert_eq!(
            log(&Bench::new(&values, Script::default()).rcpt()),
            [
                "warning: restriction `reject_authenticated_sender_login_mismatch' ignored: no SASL support",
                "warning: restriction `reject_unauthenticated_sender_login_mismatch' ignored: no SASL support",
            ]
        );
    }

    #[test]
    fn an_unreadable_table_defers() {
        let values = [
            ("smtpd_sasl_auth_enable", "yes"),
            ("smtpd_sender_login_maps", "broken:down"),
            ("smtpd_sender_restrictions", "reject_sender_login_mismatch"),
        ];
        let reply = Bench::new(&values, Script::default()).reply();
        assert_eq!(reply, "451 4.3.0 <a@example.org>: Temporary lookup failure");
    }
}
