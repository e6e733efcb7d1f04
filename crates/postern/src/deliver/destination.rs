//! From a next hop to the addresses to try (smtp(8), RFC 5321 section 5.1).

use super::config::{SmtpSettings, port_number};
use super::{Found, Resolver};
use smtp::client::Failure;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::path::PathBuf;

/// A next hop, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nexthop {
    /// A socket of this machine (LMTP).
    Unix(PathBuf),
    /// A domain or host.
    Net {
        name: String,
        port: u16,
        /// Look for mail exchangers?
        mx: bool,
        /// Is the port the one mail goes to, so that it may come back to us?
        default_port: bool,
    },
}

impl Nexthop {
    /// Parses `domain`, `[host]`, `host:port`, `[host]:port`, and for LMTP `inet:host:port` and `unix:path`.
    pub fn parse(text: &str, settings: &SmtpSettings) -> Result<Self, Failure> {
        let text = text.trim();
        if settings.lmtp
            && let Some(path) = text.strip_prefix("unix:")
        {
            return Ok(Nexthop::Unix(path.into()));
        }
        let text = if settings.lmtp { text.strip_prefix("inet:").unwrap_or(text) } else { text };
        let bad = || Failure::temporary("4.3.5", format!("Server configuration error: bad next hop: {text}"));
        let (name, port, bracketed) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, after) = rest.split_once(']').ok_or_else(bad)?;
                (name, after.strip_prefix(':'), true)
            }
            None if text.parse::<IpAddr>().is_ok() => (text, None, true),
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port), false),
                None => (text, None, false),
            },
        };
        let port = match port {
            None => settings.port,
            Some(port) => port_number(port).ok_or_else(bad)?,
        };
        let name = name.strip_prefix("ipv6:").or(name.strip_prefix("IPv6:")).unwrap_or(name);
        if name.is_empty() {
            return Err(bad());
        }
        let mx = !settings.lmtp && !bracketed && settings.host_lookup_dns;
        Ok(Nexthop::Net { name: name.to_owned(), port, mx, default_port: port == 25 && !settings.lmtp })
    }
}

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub host: String,
    pub address: IpAddr,
    pub port: u16,
    preference: u16,
}

/// Where to connect to for a next hop, best first; with warnings for the log.
pub(super) async fn resolve(
    nexthop: &Nexthop,
    settings: &SmtpSettings,
    resolver: &dyn Resolver,
    own: &[IpAddr],
    warnings: &mut Vec<String>,
) -> Result<Vec<Target>, Failure> {
    let Nexthop::Net { name, port, mx, default_port } = nexthop else { return Ok(Vec::new()) };
    let mut hosts = vec![(0, name.clone())];
    let mut by_mx = false;
    if *mx {
        match resolver.mx(name).await {
            Found::Records(records) if records.iter().all(|(_, host)| host.is_empty()) => {
                return Err(Failure::permanent("5.1.0", format!("Domain {name} does not accept mail (nullMX)")));
            }
            Found::Records(records) => {
                by_mx = true;
                hosts = records;
            }
            Found::None(_) => {}
            Found::Temporary(reason) => return Err(Failure::temporary("4.4.3", reason)),
        }
    }
    let mut targets = addresses(&hosts, *port, settings, resolver).await.map_err(|failure| {
        if by_mx {
            warnings.push(format!("no MX host for {name} has a valid address record"));
        }
        if by_mx && settings.defer_if_no_mx_address && failure.permanent {
            return Failure::temporary("4.4.4", failure.reason);
        }
        failure
    })?;
    if *default_port && let Some(ours) = targets.iter().filter(|t| own.contains(&t.address)).map(|t| t.preference).min()
    {
        // Mail must not go round in circles: only exchangers better than we are will do.
        targets.retain(|t| t.preference < ours);
        if targets.is_empty() {
            return Err(Failure::permanent("5.4.6", format!("mail for {name} loops back to myself")));
        }
    }
    order(&mut targets, settings.randomize);
    if settings.mx_address_limit > 0 {
        targets.truncate(settings.mx_address_limit);
    }
    Ok(targets)
}

async fn addresses(
    hosts: &[(u16, String)],
    port: u16,
    settings: &SmtpSettings,
    resolver: &dyn Resolver,
) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    let mut failure = None;
    for (preference, host) in hosts {
        let found = match host.parse() {
            Ok(address) => Found::Records(vec![address]),
            Err(_) => resolver.addresses(host).await,
        };
        match found {
            Found::Records(found) => {
                let usable = found.into_iter().filter(|a| settings.only_family.is_none_or(|v6| a.is_ipv6() == v6));
                targets.extend(usable.map(|address| Target {
                    host: host.clone(),
                    address,
                    port,
                    preference: *preference,
                }));
            }
            Found::Temporary(reason) => failure = Some(Failure::temporary("4.4.3", reason)),
            // A host that may be found later is more of a reason than one that doesn't exist.
            Found::None(reason) if failure.as_ref().is_none_or(|f: &Failure| f.permanent) => {
                failure = Some(Failure::permanent("5.4.4", reason));
            }
            Found::None(_) => {}
        }
    }
    if !targets.is_empty() {
        return Ok(targets);
    }
    let host = hosts.first().map_or("", |(_, host)| host);
    let none = || format!("Host or domain name not found. Name service error for name={host} type=A: Host not found");
    Err(failure.unwrap_or_else(|| Failure::permanent("5.4.4", none())))
}

/// By preference; what is equal in a new order each time, so that load is shared.
fn order(targets: &mut [Target], randomize: bool) {
    let random = RandomState::new();
    if randomize {
        targets.sort_by_cached_key(|t| (t.preference, random.hash_one((&t.host, t.address))));
    } else {
        targets.sort_by_key(|t| t.preference);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pending;
    use super::*;
    use std::collections::HashMap;

    fn settings(lmtp: bool) -> SmtpSettings {
        SmtpSettings::for_tests(lmtp)
    }

    #[test]
    fn next_hops() {
        let net = |name: &str, port, mx| Nexthop::Net { name: name.into(), port, mx, default_port: port == 25 };
        for (text, want) in [
            ("example.com", net("example.com", 25, true)),
            ("[example.com]", net("example.com", 25, false)),
            ("example.com:submission", net("example.com", 587, true)),
            ("[127.0.0.1]:2526", net("127.0.0.1", 2526, false)),
            ("[2001:db8::1]", net("2001:db8::1", 25, false)),
            ("[ipv6:2001:db8::1]:26", net("2001:db8::1", 26, false)),
        ] {
            assert_eq!(Nexthop::parse(text, &settings(false)), Ok(want), "{text}");
        }
        for bad in ["", "[x", "x:", "x:none", "x:99999"] {
            assert!(Nexthop::parse(bad, &settings(false)).is_err(), "{bad}");
        }
        let lmtp = |text| Nexthop::parse(text, &settings(true)).unwrap();
        assert_eq!(lmtp("unix:/run/lmtp"), Nexthop::Unix("/run/lmtp".into()));
        let net = |port| Nexthop::Net { name: "127.0.0.1".into(), port, mx: false, default_port: false };
        assert_eq!(lmtp("inet:127.0.0.1:2529"), net(2529));
        assert_eq!(lmtp("127.0.0.1"), net(24));
    }

    #[derive(Default)]
    struct Zone {
        mx: HashMap<&'static str, Vec<(u16, &'static str)>>,
        a: HashMap<&'static str, &'static str>,
    }

    impl Resolver for Zone {
        fn mx<'a>(&'a self, domain: &'a str) -> Pending<'a, Found<(u16, String)>> {
            let found = match self.mx.get(domain) {
                _ if domain == "servfail.example" => Found::Temporary("try again".into()),
                Some(records) => Found::Records(records.iter().map(|(p, h)| (*p, (*h).to_owned())).collect()),
                None => Found::None("no mx".into()),
            };
            Box::pin(async { found })
        }

        fn addresses<'a>(&'a self, host: &'a str) -> Pending<'a, Found<IpAddr>> {
            let found = match self.a.get(host) {
                Some(address) => Found::Records(vec![address.parse().unwrap()]),
                None => Found::None(format!("no address for {host}")),
            };
            Box::pin(async { found })
        }
    }

    #[tokio::test]
    async fn exchangers_are_found_and_loops_broken() {
        let mut zone = Zone::default();
        for (host, address) in [("a", "192.0.2.1"), ("b", "192.0.2.2"), ("us", "192.0.2.9"), ("direct", "192.0.2.3")] {
            zone.a.insert(host, address);
        }
        zone.mx.insert("two", vec![(20, "b"), (10, "a")]);
        zone.mx.insert("backup", vec![(10, "a"), (20, "us"), (20, "b"), (30, "direct")]);
        zone.mx.insert("ours", vec![(10, "us"), (20, "b")]);
        zone.mx.insert("null", vec![(0, "")]);
        zone.mx.insert("broken", vec![(5, "nowhere")]);
        let own = ["192.0.2.9".parse().unwrap()];
        let find = async |name: &str| {
            let nexthop = Nexthop::parse(name, &settings(false)).unwrap();
            let found = resolve(&nexthop, &settings(false), &zone, &own, &mut Vec::new()).await;
            found.map(|t| t.iter().map(|t| t.host.clone()).collect::<Vec<_>>()).map_err(|f| (f.dsn, f.reason))
        };
        let err = |dsn: &str, reason: &str| Err((dsn.to_owned(), reason.to_owned()));
        let hosts = |names: &[&str]| Ok(names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(find("two").await, hosts(&["a", "b"]));
        assert_eq!(find("backup").await, hosts(&["a"]));
        assert_eq!(find("ours").await, err("5.4.6", "mail for ours loops back to myself"));
        assert_eq!(find("null").await, err("5.1.0", "Domain null does not accept mail (nullMX)"));
        assert_eq!(find("broken").await, err("5.4.4", "no address for nowhere"));
        assert_eq!(find("direct").await, hosts(&["direct"]));
        assert_eq!(find("[us]:2525").await, hosts(&["us"]));
        assert_eq!(find("[us]").await, err("5.4.6", "mail for us loops back to myself"));
        assert_eq!(find("none").await, err("5.4.4", "no address for none"));
        assert_eq!(find("servfail.example").await, err("4.4.3", "try again"));
    }

    #[test]
    fn equal_preferences_are_shuffled() {
        let target = |host: &str, preference| Target {
            host: host.into(),
            address: IpAddr::from([192, 0, 2, 1]),
            port: 25,
            preference,
        };
        let mut first = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut targets = vec![target("c", 20), target("a", 10), target("b", 10)];
            order(&mut targets, true);
            assert_eq!(targets[2].host, "c");
            first.insert(targets[0].host.clone());
        }
        assert_eq!(first.len(), 2);
    }
}
