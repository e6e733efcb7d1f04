//! The lost-client-address alarm: does the whole world come from one address that `mynetworks` trusts?
//!
//! A container engine, a NAT router or a balancer without the PROXY protocol puts its own address in the place of the
//! client's. If that address is in `mynetworks`, everybody may relay. Its signs, all of them together within a window:
//! transactions of strangers (a sender that isn't ours, a recipient that is, no login, no XFORWARD) come from one trusted
//! address, nearly all that there are; and it shows many HELO names and many sender domains, as no single host does. Mail
//! from inside has senders of ours, and a filter or a relay of ours has one name; neither sets it off.
//!
//! Time is an argument; what is kept is bounded.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// A window ends after so many transactions of strangers, from wherever, …
const WINDOW: u32 = 1000;
/// … or after so many milliseconds.
const WINDOW_TIME: u64 = 24 * 60 * 60 * 1000;
/// So many trusted addresses are watched; when there are more, none of them is the world's.
const ADDRESSES: usize = 64;
/// So many names and domains of one address are told apart.
const NAMES: usize = 64;
/// Nearly all, in hundredths.
const SHARE: u32 = 90;

/// What it takes to be sure.
#[derive(Clone, Copy, Debug)]
struct Enough {
    transactions: u32,
    names: usize,
}

/// Of any address.
const ENOUGH: Enough = Enough { transactions: 50, names: 20 };
/// Of the machine's default gateway, from where strangers come for no other reason.
const ENOUGH_OF_GATEWAY: Enough = Enough { transactions: 20, names: 8 };

/// A stranger's transaction from a trusted address.
#[derive(Clone, Copy, Debug)]
pub struct Stranger<'a> {
    /// Where it seems to come from.
    pub address: IpAddr,
    /// What it calls itself.
    pub helo: &'a str,
    /// The sender's domain.
    pub domain: &'a str,
}

/// Who watches, for all event loops together.
pub struct GatewayWatch {
    /// The machine's default gateway.
    gateway: Option<IpAddr>,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    begin: u64,
    /// Transactions of strangers in this window, from wherever.
    strangers: u32,
    trusted: HashMap<IpAddr, Signs>,
    /// Told in this window.
    told: HashSet<IpAddr>,
    /// Not trusted any more, until the program ends.
    distrusted: HashSet<IpAddr>,
}

#[derive(Default)]
struct Signs {
    transactions: u32,
    names: HashSet<u64>,
    domains: HashSet<u64>,
}

impl Signs {
    fn are(&self, enough: Enough) -> bool {
        let Enough { transactions, names } = enough;
        self.transactions >= transactions && self.names.len() >= names && self.domains.len() >= names
    }
}

impl State {
    fn count(&mut self, now: u64) {
        if self.strangers >= WINDOW || now.saturating_sub(self.begin) >= WINDOW_TIME {
            (self.begin, self.strangers) = (now, 0);
            self.trusted.clear();
            self.told.clear();
        }
        if self.strangers == 0 {
            self.begin = now;
        }
        self.strangers += 1;
    }
}

impl GatewayWatch {
    /// With the machine's default gateway, if it has one.
    pub fn new(gateway: Option<IpAddr>) -> Self {
        Self { gateway, hasher: RandomState::new(), state: Mutex::default() }
    }

    /// A transaction from outside, with an address of its own.
    pub fn outsider(&self, now: u64) {
        self.state().count(now);
    }

    /// A stranger's transaction from a trusted address; what to tell the postmaster, if this makes it clear that the address
    /// is not the client's. With `distrusts`, the address counts as outside from then on.
    pub fn stranger(&self, stranger: Stranger<'_>, distrusts: bool, now: u64) -> Option<String> {
        let Stranger { address, helo, domain } = stranger;
        let mut state = self.state();
        state.count(now);
        if state.trusted.len() >= ADDRESSES && !state.trusted.contains_key(&address) {
            return None;
        }
        let fold = |text: &str| self.hasher.hash_one(text.to_ascii_lowercase());
        let signs = state.trusted.entry(address).or_default();
        signs.transactions += 1;
        if signs.names.len() < NAMES {
            signs.names.insert(fold(helo));
        }
        if signs.domains.len() < NAMES {
            signs.domains.insert(fold(domain));
        }
        let is_gateway = self.gateway == Some(address);
        let enough = if is_gateway { ENOUGH_OF_GATEWAY } else { ENOUGH };
        let (count, names, domains) = (signs.transactions, signs.names.len(), signs.domains.len());
        let is_clear = signs.are(enough) && count * 100 >= state.strangers * SHARE;
        if !is_clear || state.told.contains(&address) {
            return None;
        }
        state.told.insert(address);
        let whose = if is_gateway { ", the default gateway of this machine," } else { "" };
        let world = format!(
            "the addresses of clients are lost: {count} of {} transactions of strangers come from {address}{whose} which \
             mynetworks trusts, under {names} HELO names, from {domains} sender domains",
            state.strangers
        );
        Some(if distrusts {
            state.distrusted.insert(address);
            format!("{world}; postern_distrust_gateways = yes: mynetworks is without {address} from now on")
        } else {
            format!(
                "{world}; whoever connects can relay. Let clients keep their addresses (smtpd_upstream_proxy_protocol, no \
                 address translation), take {address} out of mynetworks, or set postern_distrust_gateways = yes"
            )
        })
    }

    /// Is the address no client's, and not to be trusted?
    pub fn is_distrusted(&self, address: IpAddr) -> bool {
        let state = self.state();
        !state.distrusted.is_empty() && state.distrusted.contains(&address)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Counters only: whoever panicked left nothing half done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = WINDOW_TIME;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([172, 17, 0, last])
    }

    /// So many strangers from an address, with so many names; when it was told, and what.
    fn strangers(watch: &GatewayWatch, address: IpAddr, count: u32, names: u32) -> Vec<(u32, String)> {
        let at = |number: u32| {
            let (helo, domain) = (format!("H{}.example", number % names), format!("d{}.example", number % names));
            let stranger = Stranger { address, helo: &helo, domain: &domain };
            watch.stranger(stranger, false, 0).map(|text| (number + 1, text))
        };
        (0..count).filter_map(at).collect()
    }

    #[test]
    fn the_world_behind_one_address_is_told_once() {
        let watch = GatewayWatch::new(None);
        let told = strangers(&watch, address(1), 200, 30);
        let [(50, text)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(
            text,
            "the addresses of clients are lost: 50 of 50 transactions of strangers come from 172.17.0.1 which mynetworks \
             trusts, under 30 HELO names, from 30 sender domains; whoever connects can relay. Let clients keep their \
             addresses (smtpd_upstream_proxy_protocol, no address translation), take 172.17.0.1 out of mynetworks, or set \
             postern_distrust_gateways = yes"
        );
        assert!(!watch.is_distrusted(address(1)));
        // The next day it is told again.
        let stranger = |n: u32| Stranger { address: address(1), helo: "h", domain: ["a", "b"][n as usize % 2] };
        assert_eq!(watch.stranger(stranger(0), false, DAY + 1), None);
        assert_eq!(strangers(&watch, address(1), 100, 30).len(), 1);
    }

    #[test]
    fn the_default_gateway_takes_less() {
        let watch = GatewayWatch::new(Some(address(1)));
        let told = strangers(&watch, address(1), 40, 10);
        assert!(
            matches!(&told[..], [(20, text)] if text.contains(", the default gateway of this machine, which ")),
            "{told:?}"
        );
    }

    #[test]
    fn others_are_left_alone() {
        for (what, gateway, count, names, outsiders) in [
            ("a filter or a relay of ours, with one name", Some(address(1)), 900, 1, 0),
            ("a handful of hosts behind one address", None, 900, 10, 0),
            ("few strangers yet", None, 49, 49, 0),
            ("most of the world has addresses", Some(address(1)), 100, 50, 20),
        ] {
            let watch = GatewayWatch::new(gateway);
            (0..outsiders).for_each(|_| watch.outsider(0));
            assert_eq!(strangers(&watch, address(1), count, names), [], "{what}");
        }
        // Many trusted hosts take mail from the world, each its share.
        let watch = GatewayWatch::new(None);
        for round in 0..100u32 {
            for last in 1..=3 {
                let (helo, domain) = (format!("h{round}"), format!("d{round}"));
                let stranger = Stranger { address: address(last), helo: &helo, domain: &domain };
                assert_eq!(watch.stranger(stranger, true, 0), None);
            }
        }
        assert!((1..=3).all(|last| !watch.is_distrusted(address(last))));
    }

    #[test]
    fn distrust_outlives_the_window() {
        let watch = GatewayWatch::new(Some(address(1)));
        for number in 0..30 {
            let name = format!("h{number}");
            let told = watch.stranger(Stranger { address: address(1), helo: &name, domain: &name }, true, 0);
            assert_eq!(told.is_some(), number == 19);
            if let Some(text) = told {
                assert!(
                    text.ends_with("; postern_distrust_gateways = yes: mynetworks is without 172.17.0.1 from now on"),
                    "{text}"
                );
            }
        }
        watch.outsider(5 * DAY);
        assert!(watch.is_distrusted(address(1)) && !watch.is_distrusted(address(2)));
    }

    #[test]
    fn memory_is_bounded() {
        let watch = GatewayWatch::new(None);
        for number in 0..100_000u32 {
            let name = number.to_string();
            let address = IpAddr::from(number.to_be_bytes());
            watch.stranger(Stranger { address, helo: &name, domain: &name }, true, 0);
            watch.stranger(Stranger { address: self::address(1), helo: &name, domain: &name }, true, 0);
        }
        let state = watch.state();
        assert!(state.trusted.len() <= ADDRESSES && state.told.len() <= ADDRESSES && state.distrusted.len() <= 1);
        assert!(state.trusted.values().all(|signs| signs.names.len() <= NAMES && signs.domains.len() <= NAMES));
    }
}
