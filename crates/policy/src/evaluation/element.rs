//! One element of a list: the check it names, and what the log says besides.

use super::phase::Phase;
use super::{Frame, Prefixes};
use crate::context::Context;
use crate::decision::LogEntry;
use crate::ledger::Suspend;
use crate::refusal::Refusal;
use crate::restriction::{Arg, Item, Kind, List, NEED_MESSAGE, find_restriction};
use crate::state::PolicyState;
use crate::step::{Guard, Step};
use crate::subject::Subject;

/// Run one element.
pub(super) fn check_item(context: &mut Context<'_, '_>, item: &Item, phase: Option<Phase>) -> Result<Step, Suspend> {
    match &item.kind {
        Kind::Check(entry, arg) => (entry.check)(context, arg),
        Kind::Class(class) => match context.plan.classes.get(*class) {
            Some(list) => Ok(Step::Enter(list.clone(), context.subject, Guard::None)),
            None => Ok(Step::Abort(Refusal::server_error())),
        },
        Kind::Bare(table) => check_bare(context, item, &Arg::Table(table.clone()), phase),
        Kind::Prefix(_) => Ok(Step::Dunno),
        Kind::Broken(problem) => {
            context.warning(problem.warning());
            if problem.is_ignored() {
                return Ok(Step::Dunno);
            }
            Ok(Step::Abort(Refusal::server_error()))
        }
    }
}

/// `type:name` by itself: the list says what is looked up.
fn check_bare(context: &mut Context<'_, '_>, item: &Item, arg: &Arg, phase: Option<Phase>) -> Result<Step, Suspend> {
    let name = match phase {
        Some(Phase::Client) => "check_client_access",
        Some(Phase::Helo) => "check_helo_access",
        Some(Phase::Sender) => "check_sender_access",
        Some(Phase::Relay | Phase::Recipient) => "check_recipient_access",
        Some(Phase::Etrn) => "check_etrn_access",
        _ => "",
    };
    match find_restriction(name) {
        Some(entry) => (entry.check)(context, arg),
        None => {
            let class = context.subject.class();
            context.warning(format!(
                "specify one of (check_client_access, check_reverse_client_hostname_access, check_helo_access, \
                 check_sender_access, check_recipient_access, check_etrn_access) before {class} restriction \"{}\"",
                item.text
            ));
            Ok(Step::Abort(Refusal::server_error()))
        }
    }
}

/// Whose address an explicit unlisted check is about.
pub(super) fn unlisted_subject(item: &Item) -> Option<Subject> {
    match &item.kind {
        Kind::Check(entry, _) if entry.name == "reject_unlisted_sender" => Some(Subject::Sender),
        Kind::Check(entry, _) if entry.name == "reject_unlisted_recipient" => Some(Subject::Recipient),
        _ => None,
    }
}

/// Does it judge a whole message?
pub(super) fn needs_message(item: &Item) -> bool {
    matches!(&item.kind, Kind::Check(entry, _) if NEED_MESSAGE.contains(&entry.name))
}

/// Unlisted checks are not repeated, by themselves or at the end of the list, unless they only warned. As in Postfix
/// a sender stays checked until the sender list is due again, a recipient until the next RCPT TO.
pub(super) fn mark_checked(item: &Item, prefixes: Prefixes, state: &mut PolicyState) {
    match unlisted_subject(item) {
        Some(_) if prefixes.warn => {}
        Some(Subject::Sender) => state.sender_checked = true,
        Some(_) => state.recipient_checked = true,
        None => {}
    }
}

/// What stands behind `permit`, `reject` or `defer` is never reached.
pub(super) fn ignored_warning(
    step: &Step,
    item: &Item,
    list: &List,
    frames: &[Frame],
    prefixes: Prefixes,
) -> Option<LogEntry> {
    let Kind::Check(entry, _) = &item.kind else { return None };
    let reached = match entry.name {
        "permit" => matches!(step, Step::Permit(_)),
        "reject" | "defer" => matches!(step, Step::Reject(_)) && !prefixes.warn,
        _ => false,
    };
    if !reached {
        return None;
    }
    let next = list.items.get(frames.last().map_or(0, |frame| frame.index) + 1)?;
    let next = match next.kind {
        Kind::Bare(_) => next.text.as_ref(),
        _ => next.text.split(' ').next().unwrap_or_default(),
    };
    Some(LogEntry::Warning(format!("restriction `{next}' after `{}' is ignored", entry.name)))
}
