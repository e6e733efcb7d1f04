//! Who the client is, and the log lines that wait until its name is known.

use crate::dns::{Peer, Resolver};
use crate::maillog::Log;
use policy::PeerName;
use smtp::server::ServerSession;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Lines held for a name; past this the session waits for it.
const HELD_LIMIT: usize = 200;

/// The client as the log and the checks see it.
pub struct ClientIdentity {
    /// Address; `None` is `unknown`.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: u16,
    /// Its names, once known.
    pub name: Option<PeerName>,
    /// `name[address]`, once known.
    display: Option<String>,
    naming: Option<JoinHandle<Peer>>,
    held: Vec<String>,
    log: Log,
    tag: Arc<str>,
    port_logging: bool,
}

impl ClientIdentity {
    /// A client with this address; its name is looked up unless it is cached.
    pub fn new(address: Option<IpAddr>, port: u16, log: Log, tag: Arc<str>, port_logging: bool) -> Self {
        Self { address, port, name: None, display: None, naming: None, held: Vec::new(), log, tag, port_logging }
    }

    /// Start to find out the names.
    pub fn look_up(&mut self, resolver: &Arc<Resolver>, wanted: bool) {
        let Some(address) = self.address.filter(|_| wanted) else {
            return self.named(PeerName::unknown(policy::PeerStatus::Permanent));
        };
        match resolver.cached_peer(address) {
            Some(peer) => self.found(peer),
            None => {
                let resolver = Arc::clone(resolver);
                self.naming = Some(tokio::spawn(async move { resolver.peer(address).await }));
            }
        }
    }

    fn found(&mut self, peer: Peer) {
        self.naming = None;
        if let Some(warning) = peer.warning {
            self.log.warning(&self.tag, &warning);
        }
        self.named(peer.name);
    }

    /// The names are these (looked up, or handed over by XCLIENT).
    pub fn named(&mut self, name: PeerName) {
        self.naming = None;
        let mut display = match self.address {
            Some(address) => format!("{}[{address}]", name.name),
            None => format!("{}[unknown]", name.name),
        };
        if self.port_logging {
            let _ = if self.port == 0 { write!(display, ":unknown") } else { write!(display, ":{}", self.port) };
        }
        self.name = Some(name);
        self.display = Some(display);
        for line in std::mem::take(&mut self.held) {
            self.line(line);
        }
    }

    /// `name[address]`; `unknown[address]` as long as the name isn't known.
    pub fn display(&self) -> &str {
        self.display.as_deref().unwrap_or("unknown[unknown]")
    }

    /// A log line in which [`ServerSession::CLIENT`] stands for the client.
    pub fn line(&mut self, text: String) {
        match &self.display {
            Some(display) if text.contains(ServerSession::CLIENT) => {
                self.log.line(&self.tag, &text.replace(ServerSession::CLIENT, display));
            }
            Some(_) => self.log.line(&self.tag, &text),
            None => self.held.push(text),
        }
    }

    /// Are so many lines held that the session should wait?
    pub fn is_backlogged(&self) -> bool {
        self.held.len() > HELD_LIMIT
    }

    /// Is the name still being looked up?
    pub fn is_naming(&self) -> bool {
        self.naming.is_some()
    }

    /// Wait until the names are known. Cancel safe.
    pub async fn settle(&mut self) {
        if let Some(naming) = &mut self.naming {
            let peer = naming
                .await
                .unwrap_or_else(|_| Peer { name: PeerName::unknown(policy::PeerStatus::Temporary), warning: None });
            self.found(peer);
        }
    }
}
