//! What evaluations of one session hand on to later ones.

use crate::refusal::Refusal;

/// Carried from one evaluation of a session to the next: pending deferrals and actions that stay in force.
#[derive(Clone, Debug, Default)]
pub struct PolicyState {
    /// What `defer_if_permit` said last. It outlives whether it is pending: that comes back with the next command, and
    /// then with the newest text, be it from an evaluation in between.
    pub(crate) deferral: Option<Refusal>,
    /// Was `defer_if_permit` pending when the client list ended?
    pub(crate) after_client: bool,
    /// … when the helo list ended?
    pub(crate) after_helo: bool,
    /// … when the sender list ended?
    pub(crate) after_sender: bool,
    /// DISCARD has fired: the rest of the transaction is accepted.
    pub(crate) discard: bool,
    /// `reject_unlisted_sender` was applied to the sender since the sender list was last due.
    pub(crate) sender_checked: bool,
    /// `reject_unlisted_recipient` was applied to the recipient that was last looked at.
    pub(crate) recipient_checked: bool,
    /// HOLD has fired and was logged.
    pub(crate) held: bool,
    /// How many requests to policy services and for verifications were made in this session.
    pub(crate) policy_requests: u32,
}

impl PolicyState {
    /// The state of a new session.
    pub fn new() -> Self {
        Self::default()
    }

    /// The transaction ended (RSET, end of data, MAIL refused): actions are forgotten. The sender's deferral isn't:
    /// VRFY without a new sender meets it again.
    pub fn reset_transaction(&mut self) {
        self.discard = false;
        self.held = false;
    }

    /// A new connection or XCLIENT: everything is forgotten.
    pub fn reset_session(&mut self) {
        *self = Self::default();
    }

    /// Has DISCARD fired in this transaction?
    pub fn is_discarded(&self) -> bool {
        self.discard
    }
}
