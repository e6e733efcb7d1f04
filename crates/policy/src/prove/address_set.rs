//! Sets of client addresses, and whether one is so large that anybody may be in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    ranges: Vec<(IpAddr, IpAddr)>,
}

/// Networks that nobody connects from out of the Internet.
const PRIVATE: [(&str, &str); 11] = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("224.0.0.0", "255.255.255.255"),
    ("::", "::ffff"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

/// More IPv4 addresses than this are the world: a /8.
const MANY_V4: u128 = 1 << 24;
/// More IPv6 addresses than this likewise: a /16.
const MANY_V6: u128 = 1 << 112;

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(number: u128, v6: bool) -> IpAddr {
    match v6 {
        true => IpAddr::V6(Ipv6Addr::from(number)),
        false => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
    }
}

impl AddressSet {
    /// Add all addresses from one to another of the same family.
    pub fn add(&mut self, first: IpAddr, last: IpAddr) {
        self.ranges.push((first, last));
    }

    /// Add a network.
    pub fn add_network(&mut self, base: IpAddr, prefix: u8) {
        let width: u32 = if base.is_ipv4() { 32 } else { 128 };
        let host = width.saturating_sub(u32::from(prefix));
        let hosts = 1_u128.checked_shl(host).map_or(u128::MAX, |size| size - 1);
        self.add(base, address(number(base) | hosts, base.is_ipv6()));
    }

    /// Public addresses in it: from, to, and whether they are IPv6.
    fn public(&self) -> Vec<(u128, u128, bool)> {
        let mut pieces: Vec<_> =
            self.ranges.iter().map(|(a, b)| (number(*a), number(*b), a.is_ipv6())).filter(|(a, b, _)| a <= b).collect();
        let private = PRIVATE.iter().filter_map(|(a, b)| Some((a.parse::<IpAddr>().ok()?, b.parse::<IpAddr>().ok()?)));
        for (low, high) in private {
            let (v6, low, high) = (low.is_ipv6(), number(low), number(high));
            let cut = |(a, b, family): (u128, u128, bool)| {
                if family != v6 || b < low || a > high {
                    return [Some((a, b, family)), None];
                }
                let before = (a < low).then(|| (a, low - 1, family));
                [before, (b > high).then(|| (high + 1, b, family))]
            };
            pieces = pieces.into_iter().flat_map(cut).flatten().collect();
        }
        pieces.sort_unstable_by_key(|(a, b, v6)| (*v6, *a, *b));
        pieces
    }

    /// Does it hold so much of the Internet that anybody may be in it? Then one address that is.
    pub fn world(&self) -> Option<IpAddr> {
        let pieces = self.public();
        for v6 in [false, true] {
            let own = || pieces.iter().filter(|(.., family)| *family == v6);
            // What overlaps counts once.
            let (mut total, mut next) = (0_u128, 0_u128);
            for (a, b, _) in own() {
                let from = (*a).max(next);
                if from <= *b {
                    total = total.saturating_add(b - from).saturating_add(1);
                    next = b.saturating_add(1);
                }
            }
            if total > if v6 { MANY_V6 } else { MANY_V4 } {
                let known = ["203.0.113.77", "198.51.100.77", "2001:db8:77::77"];
                let known = known.iter().filter_map(|text| text.parse::<IpAddr>().ok());
                let inside =
                    |it: &IpAddr| own().any(|(a, b, _)| it.is_ipv6() == v6 && (*a..=*b).contains(&number(*it)));
                let largest = own().max_by_key(|(a, b, _)| b - a);
                let middle = largest.map(|(a, b, _)| address(a + (b - a) / 2, v6));
                return known.into_iter().find(inside).or(middle);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_sets_are_the_world() {
        for (networks, world) in [
            (&[("0.0.0.0", 0)][..], Some("203.0.113.77")),
            (&[("10.0.0.0", 8), ("172.16.0.0", 12), ("192.168.0.0", 16)], None),
            (&[("0.0.0.0", 1)], Some("63.127.255.255")),
            (&[("11.0.0.0", 8)], None),
            (&[("11.0.0.0", 8), ("11.2.0.0", 16)], None),
            (&[("11.0.0.0", 8), ("12.2.0.0", 16)], Some("11.127.255.255")),
            (&[("::", 0)], Some("2001:db8:77::77")),
            (&[("fc00::", 7), ("2001:db8::", 32)], None),
            (&[("2000::", 3)], Some("2001:db8:77::77")),
        ] {
            let mut set = AddressSet::default();
            networks.iter().for_each(|(base, prefix)| set.add_network(base.parse().unwrap(), *prefix));
            let found = set.world().map(|address| address.to_string());
            match world {
                Some("63.127.255.255") => assert!(found.is_some(), "{networks:?}"),
                _ => assert_eq!(found.as_deref(), world, "{networks:?}"),
            }
        }
    }
}
