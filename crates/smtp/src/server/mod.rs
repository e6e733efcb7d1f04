//! The SMTP server session as a state machine: bytes and answers in, events out.
//!
//! The driver owns the socket, the clock and all look-ups. Per turn it calls [`ServerSession::receive`], then
//! [`ServerSession::poll`] until that returns `None`, acting on each [`Event`]; events that ask for an answer put the
//! session to sleep until the matching `resolve…` call, and input waits in the buffer meanwhile.

mod event;

pub use event::{ClientIdentity, Decide, Event, MessageEnd, Moment, Verdict};
