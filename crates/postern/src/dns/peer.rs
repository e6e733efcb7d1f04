//! The client's name: PTR, then a forward look-up that must lead back to the address (session.md §2).

use super::Resolver;
use crate::clock;
use policy::{DnsRecord, DnsStatus, PeerName, PeerStatus, RecordType};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

/// Names are kept so long; the records' own TTLs bound what lies beneath.
const KEEP_MS: u64 = 60_000;
/// Entries kept.
const LIMIT: usize = 16_384;

/// A client's names with the warning that goes into the log before `connect from`.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The names.
    pub name: PeerName,
    /// `hostname X does not resolve to address Y…`, if that is so.
    pub warning: Option<Arc<str>>,
}

#[derive(Debug, Default)]
pub(super) struct PeerCache {
    entries: HashMap<IpAddr, (Peer, u64)>,
}

/// The name under which an address' PTR record is found.
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let mut name = String::with_capacity(72);
            for byte in v6.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", byte & 15, byte >> 4);
            }
            name + "ip6.arpa"
        }
    }
}

impl Resolver {
    /// The client's names, if they are known already.
    pub fn cached_peer(&self, address: IpAddr) -> Option<Peer> {
        let peers = self.learnt.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.entries.get(&address).filter(|(_, until)| *until > clock::now_ms()).map(|(peer, _)| peer.clone())
    }

    /// Look up the client's names.
    pub async fn peer(self: &Arc<Self>, address: IpAddr) -> Peer {
        if let Some(peer) = self.cached_peer(address) {
            return peer;
        }
        let (peer, keep) = self.look_up_peer(address).await;
        if keep {
            let now = clock::now_ms();
            let mut peers = self.learnt.peers.lock().unwrap_or_else(PoisonError::into_inner);
            if peers.entries.len() >= LIMIT {
                peers.entries.retain(|_, (_, until)| *until > now);
            }
            if peers.entries.len() < LIMIT {
                peers.entries.insert(address, (peer.clone(), now + KEEP_MS));
            }
        }
        peer
    }

    async fn look_up_peer(self: &Arc<Self>, address: IpAddr) -> (Peer, bool) {
        let unknown = |status| Peer { name: PeerName::unknown(status), warning: None };
        let reverse: Arc<str> = match self.hosts.name_of(address) {
            Some(name) => name.into(),
            None => {
                let answer = self.query(&reverse_name(address).into(), RecordType::Ptr).await;
                match (answer.status, answer.records.first()) {
                    (DnsStatus::Ok, Some(DnsRecord::Name(name))) => Arc::clone(name),
                    (DnsStatus::Retry, _) => return (unknown(PeerStatus::Temporary), false),
                    _ => return (unknown(PeerStatus::Permanent), true),
                }
            }
        };
        if !smtp::address::valid_hostname(&reverse) || reverse.parse::<IpAddr>().is_ok() {
            return (unknown(PeerStatus::Permanent), true);
        }
        let (status, reason) = self.confirm(&reverse, address).await;
        if status == PeerStatus::Ok {
            let name = PeerName {
                name: Arc::clone(&reverse),
                reverse,
                name_status: PeerStatus::Ok,
                reverse_status: PeerStatus::Ok,
            };
            return (Peer { name, warning: None }, true);
        }
        let mut warning = format!("hostname {reverse} does not resolve to address {address}");
        if let Some(reason) = reason {
            let _ = write!(warning, ": {reason}");
        }
        let name = PeerName { name: "unknown".into(), reverse, name_status: status, reverse_status: PeerStatus::Ok };
        (Peer { name, warning: Some(warning.into()) }, status != PeerStatus::Temporary)
    }

    /// Does the name lead back to the address? The words are getaddrinfo(3)'s, as in Postfix's warning.
    async fn confirm(self: &Arc<Self>, name: &Arc<str>, address: IpAddr) -> (PeerStatus, Option<&'static str>) {
        let mut known = self.hosts.addresses_of(name).filter(|a| a.is_ipv4() == address.is_ipv4()).peekable();
        if known.peek().is_some() {
            return (if known.any(|a| a == address) { PeerStatus::Ok } else { PeerStatus::Forged }, None);
        }
        let rtype = if address.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
        let answer = self.query(&name.to_ascii_lowercase().into(), rtype).await;
        match answer.status {
            DnsStatus::Ok if answer.records.contains(&DnsRecord::Address(address)) => (PeerStatus::Ok, None),
            DnsStatus::Ok => (PeerStatus::Forged, None),
            DnsStatus::Retry => (PeerStatus::Temporary, Some("Temporary failure in name resolution")),
            _ => (PeerStatus::Forged, Some("Name or service not known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::reverse_name;

    #[test]
    fn reverse_names() {
        assert_eq!(reverse_name([192, 0, 2, 10].into()), "10.2.0.192.in-addr.arpa");
        assert_eq!(
            reverse_name("2001:db8::1".parse().unwrap()),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
