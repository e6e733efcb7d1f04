//! DMARC, once the message is whole: for `smtpd_end_of_data_restrictions`.

use super::spf::{result_value, verdict as spf_verdict};
use super::{Arg, Argument, Input, Restriction, entry};
use crate::action::{Entry, interpret};
use crate::authentication::sample;
use crate::context::Context;
use crate::dmarc::{DmarcPolicy, DmarcResult, DmarcVerdict, check};
use crate::ledger::Suspend;
use crate::step::{Guard, Step};
use crate::tables::Table;
use smtp::server::Moment;

const REJECT: &str = "reject_dmarc_fail";
const ACCESS: &str = "check_dmarc_access";

/// Restrictions that look at a whole message.
pub(crate) const NEED_MESSAGE: [&str; 2] = [REJECT, ACCESS];

pub(super) const ENTRIES: &[Restriction] = &[
    entry(
        REJECT,
        Argument::None,
        &[Input::Client, Input::Sender],
        "At the end of data: refuse mail that fails DMARC where its author's domain wants that; postern's own",
        |context, _| reject(context),
    ),
    entry(
        ACCESS,
        Argument::Table,
        &[Input::Client, Input::Sender],
        "At the end of data: look up the DMARC result of the author's domain: policy, then result, each as `word:domain` \
         with its parent domains and as `word`; postern's own",
        access,
    ),
];

/// The verdict; `None` without a message.
fn verdict(context: &mut Context<'_, '_>, name: &str) -> Result<Option<DmarcVerdict>, Suspend> {
    let facts = context.facts;
    let Some(message) = &facts.message else {
        if context.moment != Moment::EndOfData && !context.eager {
            context.warning(format!("restriction {name} needs the message: use it in smtpd_end_of_data_restrictions"));
        }
        return Ok(None);
    };
    let spf = spf_verdict(context)?.map(|(verdict, _)| verdict);
    let sample = sample(facts);
    check(message, spf.as_ref(), sample, &mut |rtype, name| context.dns_of_name(rtype, name)).map(Some)
}

fn reject(context: &mut Context<'_, '_>) -> Result<Step, Suspend> {
    let Some(verdict) = verdict(context, REJECT)? else { return Ok(Step::Dunno) };
    match (verdict.result, verdict.policy) {
        (DmarcResult::Fail, DmarcPolicy::Reject) => {
            let text = format!(
                "DMARC fail: {} wants mail refused for which neither SPF nor DKIM of its own passes",
                verdict.domain
            );
            context.reject(context.subject, 550, (7, 26), &text)
        }
        // without an author nobody could ever be refused
        (DmarcResult::PermError, _) => {
            context.reject(context.subject, 550, (7, 26), &format!("DMARC permerror: {}", verdict.reason))
        }
        (DmarcResult::TempError, _) => temporary(context, &verdict),
        _ => Ok(Step::Dunno),
    }
}

fn temporary(context: &mut Context<'_, '_>, verdict: &DmarcVerdict) -> Result<Step, Suspend> {
    let text = format!("DMARC temperror of {}: {}", verdict.domain, verdict.reason);
    let refusal = context.refusal(context.subject, 451, (4, 3), &text)?;
    Ok(context.tempfail(context.plan.spf.defer_at_once, refusal))
}

fn access(context: &mut Context<'_, '_>, arg: &Arg) -> Result<Step, Suspend> {
    let Arg::Table(table) = arg else { return Ok(Step::Dunno) };
    let Some(verdict) = verdict(context, ACCESS)? else { return Ok(Step::Dunno) };
    let Some(found) = entry_of(context, table, &verdict)? else {
        return match verdict.result {
            DmarcResult::TempError => temporary(context, &verdict),
            _ => Ok(Step::Dunno),
        };
    };
    let guard = match verdict.result {
        DmarcResult::Pass => Guard::None,
        _ => Guard::OkForbidden(ACCESS, verdict.domain.as_str().into()),
    };
    interpret(context, &found, context.subject, guard)
}

/// What the domain wants done comes first, then what came out.
fn entry_of(context: &mut Context<'_, '_>, table: &Table, verdict: &DmarcVerdict) -> Result<Option<Entry>, Suspend> {
    if verdict.result == DmarcResult::Fail && verdict.policy != DmarcPolicy::None {
        let found = result_value(context, table, verdict.policy.word(), &verdict.domain)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    result_value(context, table, verdict.result.word(), &verdict.domain)
}

#[cfg(test)]
mod tests {
    use crate::authentication::{DkimResult, DkimVerdict, MessageFacts};
    use crate::testing::{Bench, Script, log, reply};
    use smtp::server::Moment;
    use std::sync::Arc;

    fn script() -> Script {
        Script::default()
            .dns("_dmarc.bank.example", &["TXT v=DMARC1; p=reject; sp=quarantine"])
            .dns("_dmarc.down.example", &["TXT SERVFAIL"])
            .dns("sender.example", &["TXT v=spf1 ip4:192.0.2.10 -all"])
            .dns("news.bank.example", &["TXT v=spf1 ip4:192.0.2.10 -all"])
    }

    fn at_end(list: &str, sender: &str, author: &str, signer: Option<&str>, script: Script) -> Bench {
        let mut bench = Bench::new(&[("smtpd_end_of_data_restrictions", list)], script).sender(sender);
        bench.facts.recipient = None;
        let verdict =
            |domain: &str| DkimVerdict { result: DkimResult::Pass, domain: domain.into(), ..DkimVerdict::default() };
        bench.facts.message = Some(Arc::new(MessageFacts {
            authors: author.split_whitespace().map(str::to_owned).collect(),
            author_problem: author.is_empty().then(|| "there is no From header".into()),
            dkim: signer.into_iter().map(verdict).collect(),
        }));
        bench
    }

    fn answer(mut bench: Bench) -> String {
        reply(&bench.decide(Moment::EndOfData, "END-OF-MESSAGE"))
    }

    #[test]
    fn what_a_domain_disowns_is_refused() {
        let refused = |text: &str| format!("550 5.7.26 <END-OF-MESSAGE>: End-of-data rejected: DMARC {text}");
        for (sender, author, signer, expected) in [
            (
                "a@sender.example",
                "bank.example",
                None,
                refused("fail: bank.example wants mail refused for which neither SPF nor DKIM of its own passes"),
            ),
            ("a@sender.example", "bank.example", Some("bank.example"), "250".into()),
            ("a@news.bank.example", "bank.example", None, "250".into()),
            ("a@sender.example", "x.bank.example", None, "250".into()),
            ("a@sender.example", "nothing.example", None, "250".into()),
            ("a@sender.example", "", None, refused("permerror: there is no From header")),
            (
                "a@sender.example",
                "down.example",
                None,
                "451 4.4.3 <END-OF-MESSAGE>: End-of-data rejected: DMARC temperror of down.example: the DNS has no answer \
                 now for the policy"
                    .into(),
            ),
        ] {
            assert_eq!(answer(at_end("reject_dmarc_fail", sender, author, signer, script())), expected, "{author}");
        }
        let mut without = at_end("reject_dmarc_fail", "a@sender.example", "bank.example", None, script());
        without.facts.message = None;
        assert_eq!(answer(without), "250");
    }

    #[test]
    fn policies_and_results_are_looked_up() {
        let refused = |text: &str| format!("554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: {text}");
        for (author, signer, entries, expected) in [
            ("bank.example", None, &[("reject", "REJECT policy"), ("fail", "DUNNO")][..], refused("policy")),
            ("x.bank.example", None, &[("quarantine:bank.example", "REJECT parent")], refused("parent")),
            ("x.bank.example", None, &[("reject", "REJECT policy"), ("fail", "REJECT result")], refused("result")),
            ("bank.example", Some("bank.example"), &[("pass:bank.example", "OK")], "250".into()),
            ("nothing.example", None, &[("none", "REJECT")], refused("Access denied")),
            ("nothing.example", None, &[("none", "OK")], "451 4.3.5 Server configuration error".into()),
            ("bank.example", Some("bank.example"), &[], refused("Access denied").replace("Access denied", "last")),
        ] {
            let script = entries.iter().fold(script(), |script, (key, value)| script.entry("hash:/d", key, value));
            let script = script.entry("hash:/last", "pass", "REJECT last");
            let list = if entries.is_empty() {
                "check_dmarc_access hash:/d, check_dmarc_access hash:/last"
            } else {
                "check_dmarc_access hash:/d"
            };
            let bench = at_end(list, "a@sender.example", author, signer, script);
            assert_eq!(answer(bench), expected, "{author} {entries:?}");
        }
    }

    #[test]
    fn there_is_no_message_before_its_end() {
        let mut early = Bench::new(&[("smtpd_recipient_restrictions", "reject_dmarc_fail")], script());
        let line = "warning: restriction reject_dmarc_fail needs the message: use it in smtpd_end_of_data_restrictions";
        assert_eq!(log(&early.rcpt()), [line]);
        let wrong = |it: &config::Diagnostic| it.message.contains("needs the message");
        assert!(early.problems.iter().any(wrong), "{:?}", early.problems);
    }
}
