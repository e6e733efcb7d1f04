//! The SMTP server session as a state machine: bytes and answers in, events out.
//!
//! The driver owns the socket, the clock and all look-ups. It calls [`ServerSession::start`] once; then per turn
//! [`ServerSession::receive`] with what it read, [`ServerSession::poll`] until that returns `None`, acting on each
//! [`Event`], and [`ServerSession::take_output`] to send what is to be sent. Events that ask for an answer put the
//! session to sleep until the matching call; input waits in the buffer meanwhile. After an answer, poll again.
//! When [`ServerSession::poll_timeout`] has passed, call [`ServerSession::handle_timeout`] and poll.
//!
//! Time is a number of milliseconds on any clock that does not go backwards.

mod answer;
mod auth;
mod command;
mod config;
mod content;
mod envelope;
mod event;
mod facts;
mod greeting;
mod identity;
mod input;
mod line;
mod message;
mod milter;
mod reply;
mod session;
mod statistics;
#[cfg(test)]
mod tests;
mod tls;
mod transaction;
mod transcript;

pub use auth::{AuthAnswer, AuthOffer, AuthStep, Login, without_secrets};
pub use config::{Authorised, EhloKeywords, ForbidBareNewline, ForbiddenCommands, SessionConfig};
pub use event::{ClientIdentity, Counted, Decide, Event, Flush, MessageEnd, Moment, Rate, Verdict};
pub use identity::Forwarded;
pub use session::ServerSession;
pub use tls::Handshake;
pub use transaction::{MailOptions, Notify, Recipient, Ret, parse_orcpt};
pub use transcript::{ErrorClass, ErrorClasses, Notice};
