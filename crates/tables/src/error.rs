//! A look-up that failed.

use std::sync::Arc;

/// A temporary failure of a look-up: never "not found". The text is for the log, not for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct LookupError {
    text: Arc<str>,
}

impl LookupError {
    /// A failure with its text for the log (without `warning:`).
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into() }
    }

    /// The text for the log.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}
