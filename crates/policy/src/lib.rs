//! The restriction engine: pure decisions from a compiled [`Plan`], [`Facts`] and a [`Ledger`] of answers.
//!
//! A restriction asks the world through [`Ask`]; what the ledger does not hold suspends the evaluation until the
//! driver has answered. No socket, file, clock or table is touched here. See SMTPD_ACCESS_README and access(5).

mod action;
pub mod address;
mod authentication;
mod context;
mod decision;
pub mod dmarc;
mod dns_filter;
mod evaluation;
mod facts;
mod ledger;
mod lint;
mod match_list;
mod plan;
mod policy_service;
mod program;
#[cfg(test)]
mod property_tests;
pub mod prove;
mod question;
mod refusal;
mod restriction;
mod settings;
pub mod spf;
mod state;
mod step;
mod subject;
mod tables;
pub mod template;
#[cfg(test)]
mod testing;
mod verification;

pub use address::{AddressClass, AddressMaps, Lookup, Resolved, ResolvedFlags, Routing};
pub use authentication::{Authentication, DkimResult, DkimVerdict, MessageFacts, authenticate};
pub use decision::{Decision, Effect, ErrorClass, LogEntry, Outcome, Rejection, Trace, TraceStep};
pub use evaluation::{Evaluation, speculate};
pub use facts::{Certificate, Client, Facts, PeerName, PeerStatus, Protocol, Sasl, Tls};
pub use ledger::{Ask, Ledger, Suspend, World};
pub use lint::{NoTexts, TableEntry, TableTexts};
pub use match_list::{ListKind, MatchList, Matched};
pub use plan::Plan;
pub use policy_service::{BreakerLimits, PolicyService, ServiceEndpoint};
pub use program::{ProgramItem, ProgramKind, ProgramList};
pub use question::{Answer, DnsAnswer, DnsRecord, DnsStatus, Question, RecordType, TableId};
pub use restriction::{
    Argument, DnsList, Input, Listed, Restriction, Support, access_actions, catalogue, find_restriction, restrictions,
};
pub use settings::Settings;
pub use state::PolicyState;
pub use tables::{Table, TableRegistry, TableUse};
pub use verification::{AddressStatus, Patience, Verification};
