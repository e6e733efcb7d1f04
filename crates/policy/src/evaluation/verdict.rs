//! How a refusal is made of what a check said: deferral in its place, prefixes, log lines.

use super::{Evaluation, Phase, Prefixes, order_notice};
use crate::decision::{ErrorClass, LogEntry, Rejection};
use crate::plan::Plan;
use crate::refusal::Refusal;

impl Evaluation {
    /// Refuse, or log that it would have been; `true` when the evaluation is over.
    pub(super) fn refuse(&mut self, plan: &Plan, mut refusal: Refusal, prefixes: Prefixes) -> bool {
        let hard = matches!(refusal.class, ErrorClass::Software | ErrorClass::Resource | ErrorClass::Data);
        let warn = prefixes.warn && !hard;
        if !refusal.is_sendable() {
            let text = format!("bad SMTP reply code {} in \"{}\"", refusal.code, refusal.text);
            self.decision.log.push(LogEntry::Warning(text));
            refusal = Refusal { text: "Service unavailable".into(), ..Refusal::new(450, (7, 1), "") };
        }
        let hardens = !warn && refusal.code / 100 == 5;
        if let Some(softer) = self.defer_if_reject.take_if(|_| hardens) {
            refusal = softer;
        }
        if warn {
            let text = refusal.reply(plan.soft_bounce, plan.smtputf8);
            self.decision.log.push(LogEntry::Event { word: "reject_warning", text });
            return false;
        }
        if prefixes.disconnect && !hard {
            refusal.code = if refusal.code / 100 == 5 && !plan.soft_bounce { 521 } else { 421 };
        }
        let reply = refusal.reply(plan.soft_bounce, plan.smtputf8);
        self.decision.log.push(LogEntry::Event { word: "reject", text: reply.clone() });
        if plan.legacy_order && self.phase == Some(Phase::Recipient) {
            self.decision.log.push(order_notice(&self.recipient));
        }
        let no_error_count = prefixes.no_count;
        self.decision.rejection = Some(Rejection { reply, class: refusal.class, no_error_count });
        self.frames.clear();
        self.over = true;
        true
    }

    pub(super) fn finish_with(&mut self, plan: &Plan, refusal: Refusal) {
        self.refuse(plan, refusal, Prefixes::default());
    }
}

/// A stand-in where a rejection must exist.
pub(super) fn no_rejection() -> Rejection {
    Rejection { reply: "451 4.3.0 Internal error".into(), class: ErrorClass::Software, no_error_count: false }
}
