//! Restrictions that look at no particular information: they may stand in any list.

use super::{Arg, Argument, Input, Restriction, entry};
use crate::context::Context;
use crate::decision::ErrorClass;
use crate::ledger::Suspend;
use crate::question::Question;
use crate::refusal::Refusal;
use crate::step::{Permit, Step};
use smtp::server::Moment;

pub(super) const ENTRIES: &[Restriction] = &[
    entry("permit", Argument::None, &[], "Permit; what follows in this list is ignored", permit),
    entry("reject", Argument::None, &[], "Refuse with $reject_code", reject),
    entry("defer", Argument::None, &[], "Refuse for now with $defer_code", defer),
    entry("defer_if_permit", Argument::None, &[], "Refuse for now what would be permitted in the end", defer_if_permit),
    entry("defer_if_reject", Argument::None, &[], "Refuse for now what would be refused for good", defer_if_reject),
    entry("sleep", Argument::Seconds, &[], "Wait so many seconds, then go on", sleep),
    entry(
        "reject_plaintext_session",
        Argument::None,
        &[Input::Tls],
        "Refuse when the session is not encrypted",
        reject_plaintext_session,
    ),
    entry(
        "reject_unauth_pipelining",
        Argument::None,
        &[],
        "Refuse clients that send commands ahead of time without leave",
        reject_unauth_pipelining,
    ),
    entry(
        "reject_multi_recipient_bounce",
        Argument::None,
        &[Input::Sender],
        "Refuse the null sender with more than one recipient",
        reject_multi_recipient_bounce,
    ),
];

fn permit(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    Ok(Step::Permit(Permit { action: "permit".into(), subject: context.subject, table: None, defer_if_reject: None }))
}

fn reject(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    context.reject(context.subject, context.plan.codes.reject, (7, 1), "Access denied")
}

fn defer(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    context.reject(context.subject, context.plan.codes.defer, (3, 2), "Try again later")
}

fn defer_if_permit(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let refusal = context.refusal(context.subject, 450, (7, 0), "defer_if_permit requested")?;
    Ok(Step::DeferIfPermit(refusal))
}

fn defer_if_reject(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let refusal = context.refusal(context.subject, 450, (7, 0), "defer_if_reject requested")?;
    Ok(Step::DeferIfReject(refusal))
}

fn sleep(context: &mut Context<'_, '_>, arg: &Arg) -> Result<Step, Suspend> {
    let Arg::Seconds(seconds) = *arg else { return Ok(Step::Dunno) };
    if seconds == 0 || context.eager {
        return Ok(Step::Dunno);
    }
    let question = Question::Sleep { seconds, ordinal: context.sleeps };
    context.ask.get(question.clone())?;
    // The next evaluation of this session waits again.
    context.ask.ledger.forget(&question);
    Ok(Step::Dunno)
}

fn reject_plaintext_session(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    if context.facts.tls.is_some() {
        return Ok(Step::Dunno);
    }
    Ok(Step::Reject(Refusal::new(context.plan.codes.plaintext, (7, 1), "Session encryption is required")))
}

fn reject_unauth_pipelining(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    if !context.facts.improper_pipelining {
        return Ok(Step::Dunno);
    }
    let refusal = context.refusal(context.subject, 503, (5, 0), "Improper use of SMTP command pipelining")?;
    Ok(Step::Reject(refusal.class(ErrorClass::Protocol)))
}

fn reject_multi_recipient_bounce(context: &mut Context<'_, '_>, _: &Arg) -> Result<Step, Suspend> {
    let allowed = if context.moment == Moment::Rcpt { 0 } else { 1 };
    if context.facts.sender.as_deref() != Some("") || context.facts.recipient_count <= allowed {
        return Ok(Step::Dunno);
    }
    let code = context.plan.codes.multi_recipient_bounce;
    context.reject(context.subject, code, (5, 3), "Multi-recipient bounce")
}

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, Script, log};
    use crate::{Question, Tls};
    use smtp::server::Moment;

    fn bench(list: &str) -> Bench {
        Bench::new(&[("smtpd_recipient_restrictions", list)], Script::default())
    }

    #[test]
    fn plain_verdicts_speak_of_the_list_they_are_in() {
        for (list, reply) in [
            ("permit", "250"),
            ("reject", "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied"),
            ("defer", "450 4.3.2 <u@example.com>: Recipient address rejected: Try again later"),
            ("defer_if_permit", "450 4.7.0 <u@example.com>: Recipient address rejected: defer_if_permit requested"),
            (
                "defer_if_reject, reject",
                "450 4.7.0 <u@example.com>: Recipient address rejected: defer_if_reject requested",
            ),
            ("defer_if_reject", "250"),
            ("defer_if_reject, defer", "450 4.3.2 <u@example.com>: Recipient address rejected: Try again later"),
            ("sleep 1, reject", "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied"),
            ("reject_plaintext_session", "450 4.7.1 Session encryption is required"),
            ("reject_unauth_pipelining", "250"),
            ("reject_multi_recipient_bounce", "250"),
        ] {
            assert_eq!(bench(list).reply(), reply, "{list}");
        }
        for (parameter, reply) in [
            (
                "smtpd_client_restrictions",
                "554 5.7.1 <client.example.net[192.0.2.10]>: Client host rejected: Access denied",
            ),
            ("smtpd_helo_restrictions", "554 5.7.1 <client.example.net>: Helo command rejected: Access denied"),
            ("smtpd_sender_restrictions", "554 5.7.1 <a@example.org>: Sender address rejected: Access denied"),
            ("smtpd_relay_restrictions", "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied"),
        ] {
            assert_eq!(Bench::new(&[(parameter, "reject")], Script::default()).reply(), reply);
        }
    }

    #[test]
    fn what_stands_behind_a_verdict_is_reported() {
        let decision = bench("permit, reject_unknown_sender_domain").rcpt();
        assert_eq!(log(&decision), ["warning: restriction `reject_unknown_sender_domain' after `permit' is ignored"]);
        assert!(log(&bench("warn_if_reject reject, permit").rcpt()).iter().all(|line| !line.contains("ignored")));
    }

    #[test]
    fn sleeping_waits_in_every_evaluation() {
        let mut bench = bench("sleep 2, sleep 2");
        bench.rcpt();
        let question = |ordinal| Question::Sleep { seconds: 2, ordinal };
        assert_eq!(bench.script.asked, [question(0), question(1)]);
        bench.rcpt();
        assert_eq!(bench.script.asked, [question(0), question(1)]);
    }

    #[test]
    fn facts_of_the_session_count() {
        let mut encrypted = bench("reject_plaintext_session");
        encrypted.facts.tls = Some(Tls::default());
        assert_eq!(encrypted.reply(), "250");

        let mut hasty = bench("reject_unauth_pipelining");
        hasty.facts.improper_pipelining = true;
        let reply = "503 5.5.0 <u@example.com>: Recipient address rejected: Improper use of SMTP command pipelining";
        assert_eq!(hasty.reply(), reply);
    }

    #[test]
    fn bounces_have_one_recipient() {
        let mut rcpt = bench("reject_multi_recipient_bounce").sender("");
        assert_eq!(rcpt.reply(), "250");
        rcpt.facts.recipient_count = 1;
        assert_eq!(rcpt.reply(), "550 5.5.3 <u@example.com>: Recipient address rejected: Multi-recipient bounce");

        let values = [("smtpd_data_restrictions", "reject_multi_recipient_bounce")];
        let mut data = Bench::new(&values, Script::default()).sender("");
        data.facts.recipient_count = 1;
        assert!(data.decide(Moment::Data, "DATA").rejection.is_none());
        data.facts.recipient_count = 2;
        data.facts.recipient = None;
        let decision = data.decide(Moment::Data, "DATA");
        assert_eq!(log(&decision), ["reject: 550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce"]);
    }
}
