//! What a start finds in the journal.

use crate::envelope::Message;

/// What the spool held when it was opened.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Messages that are not finished, in order of arrival.
    pub messages: Vec<Message>,
    /// What was damaged, for the log: one line each.
    pub problems: Vec<String>,
}
