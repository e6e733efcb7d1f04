//! The driver of SMTP sessions: it owns socket, clock and log, and answers what the pure session asks.

mod auth;
mod authentication;
mod client;
mod conversation;
mod decide;
pub mod facts;
mod footer;
mod limits;
mod listener;
mod milter;
mod milter_content;
mod notice;
mod proxied;
pub mod proxy_protocol;
mod recent;
mod replies;
pub mod reply;
mod strangers;
mod stream;
mod takeover;
mod tls;
mod transaction;
mod upstream;
mod warned;

pub use listener::accept_loop;
pub use recent::RecentlyKnown;

use crate::anvil::Anvil;
use crate::daemon::site::Site;
use crate::deliver::DeliverHandle;
use crate::dns::Resolver;
use crate::gateway::GatewayWatch;
use crate::maillog::Log;
use crate::record::Recorder;
use crate::sasl::failures::Failures;
use crate::sasl::takeover::Takeover;
use crate::verify::Verifier;
use arc_swap::ArcSwap;
use queue::{QueueIdSource, Spool};
use std::sync::Arc;
use tokio::sync::watch;

/// What the sessions of one event loop share.
pub struct Worker {
    /// The configuration that new sessions get.
    pub site: Arc<ArcSwap<Site>>,
    /// The loop's DNS client.
    pub resolver: Arc<Resolver>,
    /// The mail log.
    pub log: Log,
    /// Where accepted mail is kept.
    pub spool: Spool,
    /// Where queue ids come from.
    pub ids: Arc<QueueIdSource>,
    /// Who takes kept mail further.
    pub deliver: DeliverHandle,
    /// What is known of addresses that somebody was asked about.
    pub verifier: Arc<Verifier>,
    /// For whom nothing was left to ask ahead a moment ago.
    pub nothing_ahead: RecentlyKnown,
    /// Who counts what clients do, in all loops together.
    pub anvil: Arc<Anvil>,
    /// Who watches where strangers come from, in all loops together.
    pub gateways: Arc<GatewayWatch>,
    /// Who counts failed logins, in all loops together.
    pub failures: Arc<Failures>,
    /// Who watches what logins send.
    pub takeover: Arc<Takeover>,
    /// Who keeps decisions, if anybody does.
    pub recorder: Option<Recorder>,
    /// Turns true when the server is to stop.
    pub stopping: watch::Receiver<bool>,
}
