//! What the result of one restriction does: to the list, to what waits for the end of it, to the decision.

use super::phase::Phase;
use super::verdict::no_rejection;
use super::{Evaluation, Frame, Prefixes, RECURSION_LIMIT};
use crate::decision::{LogEntry, Outcome};
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::restriction::Origin;
use crate::state::PolicyState;
use crate::step::{Guard, Step};

impl Evaluation {
    pub(super) fn apply(&mut self, step: Step, plan: &Plan, state: &mut PolicyState) -> Outcome {
        let prefixes = self.prefixes();
        self.looked_at |= !matches!(step, Step::Enter(..));
        match step {
            Step::Dunno => {
                self.after_item(state);
                Outcome::Dunno
            }
            Step::Permit(permit) => {
                if let Some(refusal) = permit.defer_if_reject {
                    self.defer_if_reject.get_or_insert(refusal);
                }
                self.leave_with_permit(plan, state);
                Outcome::Permit
            }
            Step::Discard(_) => {
                state.discard = true;
                self.leave_list(state);
                Outcome::Discard
            }
            Step::DeferIfPermit(refusal) => {
                let reply = refusal.reply(plan.soft_bounce, plan.smtputf8);
                let outcome = if prefixes.warn {
                    self.refuse(plan, refusal, prefixes);
                    Outcome::Warned(reply)
                } else {
                    if !std::mem::replace(&mut self.defer_if_permit, true) {
                        state.deferral = Some(refusal);
                    }
                    Outcome::DeferIfPermit(reply)
                };
                self.after_item(state);
                outcome
            }
            Step::DeferIfReject(refusal) => {
                let reply = refusal.reply(plan.soft_bounce, plan.smtputf8);
                self.defer_if_reject.get_or_insert(refusal);
                self.after_item(state);
                Outcome::DeferIfReject(reply)
            }
            Step::Reject(refusal) | Step::Abort(refusal) => {
                let reply = refusal.reply(plan.soft_bounce, plan.smtputf8);
                if self.refuse(plan, refusal, prefixes) {
                    // a deferral that the list noted before holds for later commands
                    self.end_phase(state);
                    return Outcome::Reject(self.decision.rejection.clone().unwrap_or_else(no_rejection));
                }
                self.after_item(state);
                Outcome::Warned(reply)
            }
            Step::HangUp => {
                self.decision.hang_up = true;
                self.over = true;
                Outcome::HangUp
            }
            Step::Enter(inner, subject, guard) => {
                let outcome = Outcome::Enter(inner.name.clone());
                // What a table says is judged by the depth it was met at, so that a class gets one deeper.
                let limit = RECURSION_LIMIT + usize::from(inner.origin == Origin::Parameter);
                if self.frames.len() > limit {
                    let lists = std::iter::once(&inner).chain(self.frames.iter().rev().map(|frame| &frame.list));
                    // Postfix counts table entries.
                    let cause = lists.into_iter().find(|list| list.origin != Origin::Parameter).unwrap_or(&inner);
                    let text = cause.recursion_warning();
                    self.decision.log.push(LogEntry::Warning(text));
                    self.refuse(plan, Refusal::server_error(), Prefixes::default());
                } else {
                    self.frames.push(Frame { list: inner, index: 0, subject, guard, prefixes: Prefixes::default() });
                }
                outcome
            }
        }
    }

    /// The element is done without a verdict.
    pub(super) fn after_item(&mut self, state: &mut PolicyState) {
        match self.frames.last_mut() {
            Some(frame) => {
                frame.index += 1;
                frame.prefixes = Prefixes::default();
            }
            None => self.end_phase(state),
        }
    }

    /// The list and all lists around it are done.
    pub(super) fn leave_list(&mut self, state: &mut PolicyState) {
        self.frames.clear();
        self.end_phase(state);
    }

    /// A permit goes outwards until a guard stops it.
    fn leave_with_permit(&mut self, plan: &Plan, state: &mut PolicyState) {
        while let Some(frame) = self.frames.pop() {
            match frame.guard {
                Guard::None => {}
                Guard::OkIgnored => {
                    self.after_item(state);
                    return;
                }
                Guard::OkForbidden(restriction, name) => {
                    self.forbid_ok(restriction, &name);
                    self.refuse(plan, Refusal::server_error(), Prefixes::default());
                    return;
                }
            }
        }
        self.end_phase(state);
    }

    fn forbid_ok(&mut self, restriction: &str, name: &str) {
        for text in crate::action::ok_forbidden(restriction, name) {
            self.decision.log.push(LogEntry::Warning(text));
        }
    }

    fn end_phase(&mut self, state: &mut PolicyState) {
        match self.phase.take() {
            Some(Phase::Client) => state.after_client = self.defer_if_permit,
            Some(Phase::Helo) => state.after_helo = self.defer_if_permit,
            Some(Phase::Sender) => state.after_sender = self.defer_if_permit,
            _ => {}
        }
    }
}
