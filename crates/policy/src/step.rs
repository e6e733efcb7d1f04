//! What one check came to, before the evaluation has applied it.

use crate::refusal::Refusal;
use crate::restriction::List;
use crate::subject::Subject;
use std::sync::Arc;

/// The result of one restriction.
#[derive(Debug)]
pub(crate) enum Step {
    /// No opinion.
    Dunno,
    /// Permit; the words for the permit log.
    Permit(Permit),
    /// Refuse.
    Reject(Refusal),
    /// Refuse later if nothing else does.
    DeferIfPermit(Refusal),
    /// Turn a later 5xx into this.
    DeferIfReject(Refusal),
    /// A server-side failure: leave all lists at once.
    Abort(Refusal),
    /// Close the connection without a reply.
    HangUp,
    /// Accept and drop the message; the rest is skipped.
    Discard(Permit),
    /// Go on inside another list.
    Enter(Arc<List>, Subject, Guard),
}

/// What the permit log says.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    /// The action's name.
    pub action: String,
    /// What was judged.
    pub subject: Subject,
    /// The table that said so.
    pub table: Option<Arc<str>>,
    /// What a later 5xx turns into, in spite of the permit.
    pub defer_if_reject: Option<Refusal>,
}

/// What a table may not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Anything goes.
    #[default]
    None,
    /// OK is an error (restriction, what it looked up): names under the client's own control.
    OkForbidden(&'static str, Arc<str>),
    /// OK counts as DUNNO: the address is routed by its sender.
    OkIgnored,
}
