//! `mynetworks`: who is trusted without a word.

use config::{Diagnostic, MatchList, Parameters, Pattern};
use std::net::{IpAddr, Ipv4Addr};

/// An address through which containers, or clients of containers, come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The address.
    pub address: IpAddr,
    /// Whose it is, for the text.
    pub what: String,
}

const NAME: &str = "mynetworks";

/// What is odd about the trusted networks.
pub fn lint(parameters: &Parameters, gateways: &[Gateway]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if !parameters.is_set(NAME) {
        return found;
    }
    let text = parameters.text(NAME);
    let (list, _) = MatchList::parse(&text, &mut |path| std::fs::read_to_string(path).map_err(|e| e.to_string()));
    let networks: Vec<(IpAddr, u8)> = list
        .elements
        .iter()
        .filter(|element| !element.negated)
        .filter_map(|element| match element.pattern {
            Pattern::Address(address) => Some((address, if address.is_ipv4() { 32 } else { 128 })),
            Pattern::Network(address, prefix) => Some((address, prefix)),
            _ => None,
        })
        .collect();
    let mut places = parameters.places(NAME);
    for word in config::list::words(&text).unwrap_or_default() {
        let span = places.word(&word);
        found.extend(world(&word).map(|problem| problem.at(span)));
    }
    let knows_all = list
        .elements
        .iter()
        .all(|element| matches!(element.pattern, Pattern::Address(_) | Pattern::Network(..)) && !element.negated);
    let only_v4 = knows_all && !networks.is_empty() && networks.iter().all(|network| network.0.is_ipv4());
    if only_v4 && listens_to_ipv6(parameters) && is_asked_for(parameters) {
        let message =
            "mynetworks has IPv4 addresses only, but clients can come over IPv6, this machine itself included";
        found.push(
            Diagnostic::note("mynetworks-without-ipv6", message)
                .at(parameters.origin(NAME))
                .help("add [::1]/128 and your IPv6 networks, or write inet_protocols = ipv4"),
        );
    }
    for gateway in gateways {
        if networks.iter().any(|network| contains(*network, gateway.address)) {
            let message = format!("mynetworks trusts {}, {}", gateway.address, gateway.what);
            found.push(
                Diagnostic::note("trusted-gateway", message)
                    .at(parameters.origin(NAME))
                    .help("name the addresses of those that may relay, without this one; or have them log in"),
            );
        }
    }
    found
}

/// Does a list of main.cf permit by these networks?
fn is_asked_for(parameters: &Parameters) -> bool {
    ["client", "helo", "sender", "relay", "recipient"]
        .iter()
        .any(|list| parameters.text(&format!("smtpd_{list}_restrictions")).contains("permit_mynetworks"))
}

/// Networks for private use, which are written too wide at times.
const PRIVATE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
];

/// A network that has most of the Internet, or a private one and its neighbours.
fn world(word: &str) -> Option<Diagnostic> {
    let (list, _) = MatchList::parse(word, &mut |_| Ok(String::new()));
    let element = list.elements.first().filter(|element| !element.negated)?;
    let Pattern::Network(address, prefix) = element.pattern else { return None };
    let is_world = match address {
        IpAddr::V4(address) => prefix < 8 && !address.is_loopback(),
        // All global addresses are in 2000::/3; nobody has more than a /16 of them.
        IpAddr::V6(address) => prefix == 0 || (prefix < 16 && address.segments()[0] >> 13 == 1),
    };
    let inner =
        PRIVATE.iter().find(|(inner, length)| prefix < *length && contains((address, prefix), IpAddr::V4(*inner)));
    let message = format!("mynetworks trusts {word}: strangers can relay through this server");
    let told = |help: String| Some(Diagnostic::warning("trusted-world", message).help(help));
    match inner {
        _ if is_world => told("name your own networks only".to_owned()),
        Some((inner, length)) => told(format!("the private network in it is {inner}/{length}")),
        None => None,
    }
}

fn listens_to_ipv6(parameters: &Parameters) -> bool {
    let protocols = parameters.text("inet_protocols").to_ascii_lowercase();
    let interfaces = parameters.text("inet_interfaces").to_ascii_lowercase();
    let mut words = interfaces.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    (protocols.contains("all") || protocols.contains("ipv6"))
        && words.any(|word| matches!(word, "all" | "loopback-only" | "localhost") || word.contains("::"))
}

fn contains((network, prefix): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let shift = 32u32.saturating_sub(prefix.into());
            shift >= 32 || (network.to_bits() ^ address.to_bits()) >> shift == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128u32.saturating_sub(prefix.into());
            shift >= 128 || (network.to_bits() ^ address.to_bits()) >> shift == 0
        }
        _ => false,
    }
}

/// Addresses of container bridges on this machine; in a container, the gateway, which all clients from outside may
/// seem to have.
pub fn containers() -> Vec<Gateway> {
    let inside = ["/.dockerenv", "/run/.containerenv"].iter().any(|path| std::path::Path::new(path).exists());
    if inside {
        let what = "the container's gateway: clients from outside can seem to come from there".to_owned();
        return default_gateway().map(|address| Gateway { address, what }).into_iter().collect();
    }
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let bridges = interfaces.filter(|interface| is_bridge(&interface.interface_name));
    bridges
        .filter_map(|interface| {
            let address = IpAddr::V4(interface.address?.as_sockaddr_in()?.ip());
            let name = interface.interface_name;
            Some(Gateway { address, what: format!("and with it every container behind the interface {name}") })
        })
        .collect()
}

/// The machine's default gateway, if it has one.
pub fn default_gateway() -> Option<IpAddr> {
    default_route(&std::fs::read_to_string("/proc/net/route").unwrap_or_default())
}

fn is_bridge(name: &str) -> bool {
    ["docker", "br-", "podman", "cni"].iter().any(|start| name.starts_with(start))
}

/// The gateway in `/proc/net/route`: numbers in the machine's byte order.
fn default_route(table: &str) -> Option<IpAddr> {
    let rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let gateway = rows.filter(|row| row.get(1) == Some(&"00000000")).find_map(|row| row.get(2).copied())?;
    let bits = u32::from_str_radix(gateway, 16).ok()?;
    (bits != 0).then(|| IpAddr::from(bits.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{HostFacts, MainCf};
    use std::sync::Arc;

    fn told(main: &str, gateways: &[Gateway]) -> Vec<&'static str> {
        let parameters =
            Parameters::new(Arc::new(MainCf::parse("main.cf", main).0), HostFacts::named("mx.example.com"));
        lint(&parameters, gateways).iter().map(|found| found.code).collect()
    }

    #[test]
    fn the_world_and_ipv6() {
        for (main, want) in [
            ("", &[][..]),
            ("mynetworks = 127.0.0.0/8 [::1]/128\n", &[]),
            ("mynetworks = 127.0.0.0/8\ncompatibility_level = 3.12\n", &["mynetworks-without-ipv6"]),
            ("mynetworks = 127.0.0.0/8\ninet_protocols = ipv4\n", &[]),
            ("mynetworks = 127.0.0.0/8\ninet_interfaces = 127.0.0.1\n", &[]),
            ("mynetworks = 127.0.0.0/8, hash:/more\n", &[]),
            ("mynetworks =\n", &[]),
            ("mynetworks = 0.0.0.0/0 [::]/0\n", &["trusted-world", "trusted-world"]),
            ("mynetworks = !0.0.0.0/0, [::1]/128\n", &[]),
            ("mynetworks = 10.0.0.0/8 [fc00::]/7 [2000::]/3\n", &["trusted-world"]),
            ("mynetworks = 128.0.0.0/1 [::1]\n", &["trusted-world"]),
            ("mynetworks = 172.0.0.0/8 [::1]\n", &["trusted-world"]),
            ("mynetworks = 17.0.0.0/8 172.16.0.0/12 192.168.0.0/16 [::1]\n", &[]),
            ("mynetworks = 127.0.0.0/8\ncompatibility_level = 3.12\nsmtpd_relay_restrictions = reject\n", &[]),
        ] {
            assert_eq!(told(main, &[]), want, "{main}");
        }
    }

    #[test]
    fn gateways_of_containers() {
        let gateway = [Gateway { address: [172, 17, 0, 1].into(), what: "the gateway".into() }];
        for (networks, want) in [
            ("172.16.0.0/12 [::1]", &["trusted-gateway"][..]),
            ("172.17.0.1 [::1]", &["trusted-gateway"]),
            ("172.18.0.0/16 [::1]", &[]),
            ("10.0.0.0/8 [::1]", &[]),
        ] {
            assert_eq!(told(&format!("mynetworks = {networks}\n"), &gateway), want, "{networks}");
        }
        assert!(is_bridge("docker0") && is_bridge("br-1a2b") && !is_bridge("eth0"));
        let bits = u32::from_ne_bytes([172, 17, 0, 1]);
        let table = format!("Iface\tDestination\tGateway\neth0\t000011AC\t00000000\neth0\t00000000\t{bits:08X}\n");
        assert_eq!(default_route(&table), Some(IpAddr::from([172, 17, 0, 1])));
        assert_eq!(default_route("Iface\n"), None);
    }
}
