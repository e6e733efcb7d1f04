//! What an evaluation comes to: verdict, effects, log entries and trace.

use config::Span;
pub use smtp::server::ErrorClass;
use std::ops::Range;
use std::sync::Arc;

/// What one restriction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Go on with the next one.
    Dunno,
    /// Stop this list, permit.
    Permit,
    /// Accept and drop the message.
    Discard,
    /// Stop, refuse. The reply may be that of an earlier deferral.
    Reject(Rejection),
    /// It would have refused, but only warns.
    Warned(String),
    /// Refuse with this reply at the end, if nothing else refuses.
    DeferIfPermit(String),
    /// Turn a later permanent refusal into this reply.
    DeferIfReject(String),
    /// Go on inside another list.
    Enter(Arc<str>),
    /// Close the connection without a reply.
    HangUp,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// `CODE ENH TEXT`, as sent and logged (soft_bounce applied).
    pub reply: String,
    /// Its class.
    pub class: ErrorClass,
    /// `no_error_count` guards it: the error counters stay as they are.
    pub no_error_count: bool,
}

/// A side effect on the message, returned and never done here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Put the message on hold.
    Hold,
    /// Accept and drop the message.
    Discard,
    /// Override the content filter with `transport:destination`.
    Filter(String),
    /// Replace all recipients.
    Redirect(String),
    /// Add a recipient.
    Bcc(String),
    /// Add a header above our Received header.
    Prepend(String),
}

/// Something for the mail log, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// `warning: TEXT`.
    Warning(String),
    /// The same, but not again for some time: the list's other clients meet it too.
    WarningOnce(String),
    /// A plain line, `TEXT`.
    Plain(String),
    /// `QID: WORD: STAGE from NA: TEXT;CTX` (`reject`, `reject_warning`, `hold`, `permit`, …).
    Event {
        /// The word.
        word: &'static str,
        /// The text before the semicolon.
        text: String,
    },
}

impl LogEntry {
    /// Without SMTPUTF8, warnings are ASCII: each other octet is a question mark.
    pub(crate) fn mask(&mut self) {
        let (Self::Warning(text) | Self::WarningOnce(text) | Self::Plain(text)) = self else { return };
        if !text.is_ascii() {
            *text = text.bytes().map(|byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect();
        }
    }
}

/// One step of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// Which list (`smtpd_recipient_restrictions`, a class name, a table value).
    pub list: Arc<str>,
    /// The restriction as written.
    pub restriction: Arc<str>,
    /// Where; `None` in a table's value and for what is built in.
    pub span: Option<Span>,
    /// In how many lists it is nested (classes, table values).
    pub depth: usize,
    /// What was asked for it: a range in [`crate::Ledger::take_journal`], empty unless that is kept.
    pub asked: Range<usize>,
    /// What it came to.
    pub outcome: Outcome,
}

/// All steps, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The steps.
    pub steps: Vec<TraceStep>,
}

/// The result for one command.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The refusal, if any.
    pub rejection: Option<Rejection>,
    /// Close without a reply (access(5) HANGUP).
    pub hang_up: bool,
    /// Effects, in order of firing. They hold for the message even if this recipient is refused; only a refused MAIL
    /// or the end of the transaction drops them.
    pub effects: Vec<Effect>,
    /// Log entries, in order, the `reject` line included.
    pub log: Vec<LogEntry>,
    /// A restriction would have judged the message, which the facts don't have: with it, the decision may be another.
    pub wants_message: bool,
    /// Why.
    pub trace: Trace,
}
