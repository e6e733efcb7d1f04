//! Running the lists that are due at a moment: an explicit stack of list positions, one restriction at a time.
//!
//! Decides order, deferral, warnings and effects (SMTPD_ACCESS_README); what a restriction finds is its own business.

mod element;
mod legacy;
mod outcome;
mod phase;
mod speculation;
#[cfg(test)]
mod tests;
mod verdict;

pub use speculation::speculate;

use crate::context::{Context, ResolvedAddresses};
use crate::decision::{Decision, Effect, ErrorClass, LogEntry, Outcome, TraceStep};
use crate::facts::Facts;
use crate::ledger::{Ask, Suspend};
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::restriction::{Arg, Kind, List, Origin, Prefix, asks_anew, check_unlisted};
use crate::state::PolicyState;
use crate::step::{Guard, Step};
use crate::subject::Subject;
use element::{check_item, ignored_warning, mark_checked, needs_message, unlisted_subject};
use legacy::{order_notice, relay_notice};
use phase::{Phase, bad_address, phases};
use smtp::server::Moment;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use verdict::no_rejection;

/// How deep classes and table entries may refer to others.
const RECURSION_LIMIT: usize = 100;

/// Prefixes in force for one restriction.
#[derive(Clone, Copy, Debug, Default)]
struct Prefixes {
    warn: bool,
    disconnect: bool,
    no_count: bool,
}

/// Where a check leaves what it has to say, until it is known not to suspend.
struct Output<'a> {
    log: &'a mut Vec<LogEntry>,
    effects: &'a mut Vec<Effect>,
    held: bool,
    policy_requests: u32,
}

/// A position in a list.
#[derive(Clone, Debug)]
struct Frame {
    list: Arc<List>,
    index: usize,
    subject: Subject,
    guard: Guard,
    prefixes: Prefixes,
}

/// The evaluation of everything that is due at one command. Can be cloned and printed at any step.
#[derive(Clone, Debug)]
pub struct Evaluation {
    moment: Moment,
    /// The command word.
    stage: &'static str,
    phases: Vec<Phase>,
    next_phase: usize,
    started: bool,
    eager: bool,
    frames: Vec<Frame>,
    phase: Option<Phase>,
    defer_if_permit: bool,
    defer_if_reject: Option<Refusal>,
    /// The list has had an element looked at.
    looked_at: bool,
    sleeps: u32,
    resolved: RefCell<ResolvedAddresses>,
    /// For the notice about an order that is only a default.
    recipient: String,
    decision: Decision,
    over: bool,
}

impl Evaluation {
    /// Begin at a moment; `stage` is the command word (`RCPT`, `BDAT`, …).
    pub fn start(moment: Moment, stage: &'static str) -> Self {
        Self {
            moment,
            stage,
            phases: Vec::new(),
            next_phase: 0,
            started: false,
            eager: false,
            frames: Vec::new(),
            phase: None,
            defer_if_permit: false,
            defer_if_reject: None,
            looked_at: false,
            sleeps: 0,
            resolved: RefCell::default(),
            recipient: String::new(),
            decision: Decision::default(),
            over: false,
        }
    }

    /// The command word this evaluation is for.
    pub fn stage(&self) -> &'static str {
        self.stage
    }

    /// Go on until there is a decision, or a question is left in `ask.ledger.pending()`. Call again, with the same
    /// arguments, when it is answered.
    pub fn run(
        &mut self,
        plan: &Plan,
        facts: &Facts,
        state: &mut PolicyState,
        ask: &mut Ask<'_>,
    ) -> Result<Decision, Suspend> {
        if !self.started {
            self.started = true;
            self.phases = phases(plan, facts, self.moment);
            if plan.legacy_order {
                self.recipient = facts.recipient.clone().unwrap_or_default();
            }
            // The postmaster's address leaves it as the recipient before had it.
            if matches!(self.moment, Moment::Rcpt | Moment::Vrfy) && self.phases.len() > 1 {
                state.recipient_checked = false;
            }
            self.restore(state);
        }
        while !self.over {
            let step = if self.frames.is_empty() {
                self.begin_phase(plan, facts, state, ask)
            } else {
                self.advance(plan, facts, state, ask)
            };
            if step.is_err() {
                if self.eager {
                    self.skip();
                } else if ask.ledger.is_full() {
                    self.decision.log.push(LogEntry::Warning("too many questions in one transaction".into()));
                    self.finish_with(
                        plan,
                        Refusal::new(451, (3, 0), "Temporary lookup failure").class(ErrorClass::Data),
                    );
                } else {
                    return Err(Suspend);
                }
            }
        }
        let mut decision = std::mem::take(&mut self.decision);
        if !plan.smtputf8 {
            decision.log.iter_mut().for_each(LogEntry::mask);
        }
        Ok(decision)
    }

    /// The deferral that earlier commands left behind.
    fn restore(&mut self, state: &PolicyState) {
        self.defer_if_permit = match self.moment {
            Moment::Helo => state.after_client,
            Moment::Mail | Moment::Etrn => state.after_client || state.after_helo,
            Moment::Rcpt | Moment::Vrfy => state.after_sender,
            Moment::Connect | Moment::Data | Moment::EndOfData => false,
        };
    }

    /// Running ahead: what cannot be answered yet has no opinion.
    fn skip(&mut self) {
        match self.frames.last_mut() {
            Some(frame) => {
                frame.index += 1;
                frame.prefixes = Prefixes::default();
            }
            None => self.next_phase += 1,
        }
    }

    fn begin_phase(
        &mut self,
        plan: &Plan,
        facts: &Facts,
        state: &mut PolicyState,
        ask: &mut Ask<'_>,
    ) -> Result<(), Suspend> {
        let Some(phase) = self.phases.get(self.next_phase).copied() else {
            self.over = true;
            return Ok(());
        };
        let list = match phase {
            Phase::Client => &plan.lists.client,
            Phase::Helo => &plan.lists.helo,
            Phase::Sender => &plan.lists.sender,
            Phase::Relay => &plan.lists.relay,
            Phase::Recipient => &plan.lists.recipient,
            Phase::Etrn => &plan.lists.etrn,
            Phase::Data => &plan.lists.data,
            Phase::EndOfData => &plan.lists.end_of_data,
            _ => {
                self.run_builtin(phase, plan, facts, state, ask)?;
                self.next_phase += 1;
                return Ok(());
            }
        };
        self.next_phase += 1;
        // One command looks at relay and recipient lists: what one found holds in the other.
        let before = self.next_phase.checked_sub(2).and_then(|at| self.phases.get(at));
        if !matches!((before, phase), (Some(Phase::Relay), Phase::Recipient) | (Some(Phase::Recipient), Phase::Relay)) {
            self.defer_if_reject = None;
        }
        state.sender_checked &= phase != Phase::Sender;
        self.looked_at = false;
        self.phase = Some(phase);
        if phase == Phase::Client {
            self.defer_if_permit = false;
        }
        let is_first_of_recipient = before.is_none_or(|before| !matches!(before, Phase::Relay | Phase::Recipient));
        if matches!(phase, Phase::Relay | Phase::Recipient) && is_first_of_recipient && facts.sender.is_none() {
            // VRFY outside of a transaction: whether a deferral waits is what the last sender's list said
            self.defer_if_permit = state.after_sender;
        }
        let subject = match phase {
            Phase::Client => Subject::Client,
            Phase::Helo => Subject::Helo,
            Phase::Sender => Subject::Sender,
            Phase::Etrn => Subject::Etrn,
            Phase::Data => Subject::Data,
            Phase::EndOfData => Subject::EndOfData,
            _ => Subject::Recipient,
        };
        self.frames.push(Frame {
            list: list.clone(),
            index: 0,
            subject,
            guard: Guard::None,
            prefixes: Prefixes::default(),
        });
        Ok(())
    }

    /// Phases without a list.
    fn run_builtin(
        &mut self,
        phase: Phase,
        plan: &Plan,
        facts: &Facts,
        state: &mut PolicyState,
        ask: &mut Ask<'_>,
    ) -> Result<(), Suspend> {
        let asked = ask.ledger.asked();
        let (mut log, mut effects) = (Vec::new(), Vec::new());
        let subject = if phase == Phase::UnlistedSender { Subject::Sender } else { Subject::Recipient };
        let mut out =
            Output { log: &mut log, effects: &mut effects, held: state.held, policy_requests: state.policy_requests };
        let mut context = self.context(plan, facts, ask, subject, Prefixes::default(), &mut out);
        match phase {
            Phase::SenderSyntax | Phase::RecipientSyntax => {
                let refused = bad_address(&mut context, phase == Phase::SenderSyntax)?;
                self.decision.log.append(&mut log);
                if let Some(rejection) = refused {
                    let outcome = Outcome::Reject(rejection.clone());
                    self.trace_builtin("address syntax", asked..ask.ledger.asked(), outcome);
                    self.decision.rejection = Some(rejection);
                    self.over = true;
                }
                return Ok(());
            }
            Phase::RelayNotice => {
                relay_notice(&mut context)?;
                self.decision.log.append(&mut log);
                return Ok(());
            }
            Phase::Settle => {
                if let Some(refusal) = state.deferral.clone().filter(|_| std::mem::take(&mut self.defer_if_permit)) {
                    self.refuse(plan, refusal, Prefixes::default());
                    self.trace_rejection("defer_if_permit", asked..asked);
                }
                return Ok(());
            }
            _ if state.discard => return Ok(()),
            Phase::UnlistedSender if state.sender_checked => return Ok(()),
            Phase::UnlistedRecipient if state.recipient_checked => return Ok(()),
            _ => {}
        }
        let step = check_unlisted(&mut context, subject)?;
        state.sender_checked |= phase == Phase::UnlistedSender;
        state.recipient_checked |= phase == Phase::UnlistedRecipient;
        self.decision.log.append(&mut log);
        let name =
            if subject == Subject::Sender { "smtpd_reject_unlisted_sender" } else { "smtpd_reject_unlisted_recipient" };
        let asked = asked..ask.ledger.asked();
        if let Step::Reject(refusal) | Step::Abort(refusal) = step {
            self.refuse(plan, refusal, Prefixes::default());
            self.trace_rejection(name, asked);
        } else {
            self.trace_builtin(name, asked, Outcome::Dunno);
        }
        Ok(())
    }

    /// A step that no list has.
    fn trace_builtin(&mut self, name: &'static str, asked: Range<usize>, outcome: Outcome) {
        let step = TraceStep { list: name.into(), restriction: name.into(), span: None, depth: 0, asked, outcome };
        self.decision.trace.steps.push(step);
    }

    fn trace_rejection(&mut self, name: &'static str, asked: Range<usize>) {
        let rejection = self.decision.rejection.clone().unwrap_or_else(no_rejection);
        self.trace_builtin(name, asked, Outcome::Reject(rejection));
    }

    fn context<'a, 'b>(
        &'a self,
        plan: &'a Plan,
        facts: &'a Facts,
        ask: &'a mut Ask<'b>,
        subject: Subject,
        prefixes: Prefixes,
        out: &'a mut Output<'_>,
    ) -> Context<'a, 'b> {
        Context {
            plan,
            facts,
            ask,
            moment: self.moment,
            stage: self.stage,
            subject,
            warn: prefixes.warn,
            eager: self.eager,
            deferred: self.defer_if_permit,
            log: out.log,
            effects: out.effects,
            held: out.held,
            sleeps: self.sleeps,
            policy_requests: out.policy_requests,
            in_default_action: self.frames.iter().any(|frame| matches!(frame.list.origin, Origin::DefaultAction(_))),
            resolved: &self.resolved,
        }
    }

    /// One element of the innermost list.
    fn advance(
        &mut self,
        plan: &Plan,
        facts: &Facts,
        state: &mut PolicyState,
        ask: &mut Ask<'_>,
    ) -> Result<(), Suspend> {
        // looked at after an element: the first of a list has its say
        let both = self.looked_at && self.defer_if_permit && self.defer_if_reject.is_some();
        if state.discard || both {
            self.leave_list(state);
            return Ok(());
        }
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let list = frame.list.clone();
        let subject = frame.subject;
        let Some(item) = list.items.get(frame.index) else {
            self.frames.pop();
            self.after_item(state);
            return Ok(());
        };
        if let Kind::Prefix(prefix) = item.kind {
            match prefix {
                Prefix::Warn => frame.prefixes.warn = true,
                Prefix::Disconnect => frame.prefixes.disconnect = true,
                Prefix::NoCount => frame.prefixes.no_count = true,
            }
            frame.index += 1;
            return Ok(());
        }
        let prefixes = self.prefixes();
        let asked = ask.ledger.asked();
        let (mut log, mut effects) = (Vec::new(), Vec::new());
        let mut out =
            Output { log: &mut log, effects: &mut effects, held: state.held, policy_requests: state.policy_requests };
        let mut context = self.context(plan, facts, ask, subject, prefixes, &mut out);
        let checked = match unlisted_subject(item) {
            Some(Subject::Sender) => state.sender_checked,
            Some(_) => state.recipient_checked,
            None => false,
        };
        let step = if checked { Step::Dunno } else { check_item(&mut context, item, self.phase)? };
        if let Step::Permit(permit) | Step::Discard(permit) = &step {
            context.log_permit(permit)?;
        }
        let ignored = ignored_warning(&step, item, &list, &self.frames, prefixes);
        if let Kind::Check(entry, arg) = &item.kind {
            self.sleeps += u32::from(matches!(arg, Arg::Seconds(_)));
            state.policy_requests += u32::from(asks_anew(entry));
        }
        if needs_message(item) && facts.message.is_none() && self.moment == Moment::EndOfData {
            self.decision.wants_message = true;
        }
        self.decision.log.append(&mut log);
        state.held |= effects.contains(&Effect::Hold);
        self.decision.effects.append(&mut effects);
        mark_checked(item, prefixes, state);
        let step_of = TraceStep {
            list: list.name.clone(),
            restriction: item.text.clone(),
            span: item.span.clone(),
            depth: self.frames.len().saturating_sub(1),
            asked: asked..ask.ledger.asked(),
            outcome: Outcome::Dunno,
        };
        // said after a rejection is logged, but before anybody hears of a permit
        let (before, after) = if matches!(step, Step::Permit(_)) { (ignored, None) } else { (None, ignored) };
        self.decision.log.extend(before);
        let outcome = self.apply(step, plan, state);
        self.decision.trace.steps.push(TraceStep { outcome, ..step_of });
        self.decision.log.extend(after);
        Ok(())
    }

    /// The prefixes of all levels.
    fn prefixes(&self) -> Prefixes {
        self.frames.iter().fold(Prefixes::default(), |sum, frame| Prefixes {
            warn: sum.warn || frame.prefixes.warn,
            disconnect: sum.disconnect || frame.prefixes.disconnect,
            no_count: sum.no_count || frame.prefixes.no_count,
        })
    }
}
