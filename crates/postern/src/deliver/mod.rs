//! Delivery: from the queue to the next hop, to a mailbox, or back to the sender.
//!
//! One thread with one event loop runs the queue (qmgr(8)), the agents (smtp(8), lmtp(8), local(8), virtual(8),
//! discard(8), error(8)) and reports (bounce(8)). What it needs from the rest of the program comes through [`Router`]
//! and [`Resolver`]; what happens to a recipient goes to the spool before anything else is done about it.

mod agent;
mod config;
mod destination;
mod handle;
mod mailbox;
mod outcome;
mod report;
mod runner;
mod smtp_agent;

pub use config::{DeliverConfig, maildir_roots};
pub use handle::{DeliverHandle, start};

use crate::internal_mail::{Cleaned, MailClass, OwnMail};
use policy::{TableId, Verification};
use queue::{QueueId, QueueIdSource, Recipient, Spool};
use std::collections::HashSet;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

/// An answer to come. Polled on the delivery thread only.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Takes a log line: the tag (`postfix/qmgr`, `postfix/relay/smtp`), and the text.
pub type LogLine = Arc<dyn Fn(&str, String) + Send + Sync>;

/// Where a recipient goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The transport, a service of master.cf.
    pub transport: String,
    /// Where the transport takes it.
    pub nexthop: String,
    /// The recipient, internal form, as resolved.
    pub recipient: String,
    /// Its domain is one of `mydestination`.
    pub is_local: bool,
}

/// It can't be told now; with the reason for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temporary(pub String);

/// One of our own messages after cleanup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// Where it goes: aliases are expanded.
    pub recipients: Vec<Recipient>,
    /// What there is to log about that.
    pub log: Vec<String>,
}

/// Address resolution and tables.
pub trait Router: Send + Sync {
    /// An address of ours, in full: `postmaster` gets its domain.
    fn rewrite(&self, address: &str) -> String;

    /// Whom a message of ours to this recipient (internal form) reaches.
    fn expand<'a>(&'a self, id: QueueId, recipient: &'a str) -> Pending<'a, Result<Expanded, Temporary>>;

    /// Checks and filters look at a message of ours. `None`: not at mail of this class.
    fn inspect(&self, class: MailClass, mail: OwnMail) -> Option<Pending<'_, Result<Cleaned, Temporary>>> {
        let _ = (class, mail);
        None
    }

    /// Where a probe of an address goes (`address_verify_*_transport` and so on); usually where mail does.
    fn route_probe<'a>(&'a self, sender: &'a str, recipient: &'a str) -> Pending<'a, Result<Route, Temporary>> {
        self.route(sender, recipient)
    }

    /// Where mail from `sender` to `recipient` (both internal form) goes.
    fn route<'a>(&'a self, sender: &'a str, recipient: &'a str) -> Pending<'a, Result<Route, Temporary>>;

    /// One key in one table that [`DeliverConfig::compile`] interned.
    fn lookup<'a>(&'a self, table: TableId, key: &'a str) -> Pending<'a, Result<Option<String>, Temporary>>;
}

/// What somebody wants done to a message (postsuper(1), postqueue(1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No more deliveries, until it is released. Those under way end.
    Hold,
    /// It goes on.
    Release,
    /// It is forgotten; if it is being delivered, after that.
    Remove,
    /// It is tried now, if it is deferred.
    Try,
}

/// What is being delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InHand {
    /// The active queue.
    pub active: HashSet<QueueId>,
    /// What waits for room in it.
    pub waiting: HashSet<QueueId>,
}

/// What DNS has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// These records, at least one.
    Records(Vec<T>),
    /// None, or no such name. With the reason in Postfix's words:
    /// `Host or domain name not found. Name service error for name=x type=A: Host not found`.
    None(String),
    /// No answer for now; with the reason likewise.
    Temporary(String),
}

/// DNS. An address literal is not asked for.
pub trait Resolver: Send + Sync {
    /// Mail exchangers of a domain with their preference. A null MX is one record with an empty name.
    fn mx<'a>(&'a self, domain: &'a str) -> Pending<'a, Found<(u16, String)>>;

    /// Addresses of a host, A and AAAA (or from /etc/hosts where `smtp_host_lookup` has `native`).
    fn addresses<'a>(&'a self, host: &'a str) -> Pending<'a, Found<IpAddr>>;
}

/// Takes what a probe came to: the address that was asked about, and what is known of it now.
pub type ProbeResult = Arc<dyn Fn(&str, Verification) + Send + Sync>;

/// What delivery works with.
#[derive(Clone)]
pub struct Surroundings {
    /// Where the mail is.
    pub spool: Spool,
    /// Queue ids for reports.
    pub ids: Arc<QueueIdSource>,
    /// Address resolution.
    pub router: Arc<dyn Router>,
    /// DNS.
    pub resolver: Arc<dyn Resolver>,
    /// The log.
    pub log: LogLine,
    /// Who wants to know what probes come to.
    pub probed: ProbeResult,
}
