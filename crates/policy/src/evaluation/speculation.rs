//! Asking ahead: what the lists at RCPT TO will want to know, as soon as its inputs are known.

use super::Evaluation;
use super::phase::{Phase, push_recipient};
use crate::facts::Facts;
use crate::ledger::{Ask, Ledger, World};
use crate::plan::Plan;
use crate::state::PolicyState;
use smtp::server::Moment;

/// Run ahead of the client: leave every question that can be seen with these facts pending in the ledger. Nothing is
/// decided, logged or changed.
pub fn speculate(
    plan: &Plan,
    moment: Moment,
    facts: &Facts,
    state: &PolicyState,
    ledger: &mut Ledger,
    world: &mut dyn World,
) {
    let mut evaluation = Evaluation::start(Moment::Rcpt, "RCPT");
    evaluation.eager = true;
    evaluation.started = true;
    let mut due = Vec::new();
    match moment {
        Moment::Connect | Moment::Helo | Moment::Mail | Moment::Rcpt => push_recipient(plan, facts, &mut due),
        Moment::Etrn | Moment::Vrfy | Moment::Data | Moment::EndOfData => return,
    }
    if facts.recipient.is_none() {
        due.retain(|phase| *phase != Phase::UnlistedRecipient);
    }
    evaluation.phases = due;
    let mut state = state.clone();
    let mut ask = Ask { ledger, world };
    let _ = evaluation.run(plan, facts, &mut state, &mut ask);
}
