//! The restriction engine: pure decisions from a compiled [`Plan`], [`Facts`] and a [`Ledger`] of answers.
//!
//! A restriction asks the world through [`Ask`]; what the ledger does not hold suspends the evaluation until the
//! driver has answered. No socket, file, clock or table is touched here. See SMTPD_ACCESS_README and access(5).

mod decision;
mod facts;
mod question;

pub use decision::{Decision, Effect, ErrorClass, LogEntry, Outcome, Rejection, Trace, TraceStep};
pub use facts::{Client, Facts, PeerName, PeerStatus, Protocol, Sasl, Tls};
pub use question::{Answer, Ask, DnsAnswer, DnsRecord, DnsStatus, Ledger, Question, RecordType, Suspend, TableId, World};
