//! What the machine says of itself: host name, addresses, networks.

use config::HostFacts;
use std::net::IpAddr;
use std::path::Path;

/// Ask the machine.
pub fn facts(config_dir: Option<&Path>) -> HostFacts {
    let hostname = nix::unistd::gethostname().ok().and_then(|n| n.into_string().ok());
    let mut facts = HostFacts::named(hostname.filter(|n| !n.is_empty()).unwrap_or_else(|| "localhost".into()));
    facts.config_directory = config_dir.map(|d| d.display().to_string());
    facts.process_name = "postern".into();
    facts.process_id = std::process::id();
    facts.has_nis = false;
    let interfaces = nix::ifaddrs::getifaddrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let address = |storage: Option<nix::sys::socket::SockaddrStorage>| -> Option<IpAddr> {
        let storage = storage?;
        let v4 = storage.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    facts.interface_addresses.clear();
    for interface in &interfaces {
        let Some(own) = address(interface.address) else { continue };
        facts.interface_addresses.push(own);
        if let Some(mask) = address(interface.netmask) {
            facts.interface_networks.push((own, prefix(mask)));
        }
    }
    if facts.interface_addresses.is_empty() {
        facts.interface_addresses.push([127, 0, 0, 1].into());
    }
    facts
}

/// How many leading one bits a netmask has.
fn prefix(mask: IpAddr) -> u8 {
    let bits = match mask {
        IpAddr::V4(v4) => v4.to_bits().leading_ones(),
        IpAddr::V6(v6) => v6.to_bits().leading_ones(),
    };
    u8::try_from(bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{MainCf, Parameters};
    use std::sync::Arc;

    #[test]
    fn this_machine_has_a_name_and_an_address() {
        let facts = facts(None);
        assert!(!facts.hostname.is_empty());
        assert!(!facts.interface_addresses.is_empty());
    }

    /// Nobody who leaves alias_maps alone has asked for NIS.
    #[test]
    fn the_default_of_alias_maps_can_be_read() {
        let main =
            Arc::new(MainCf::parse("main.cf", "default_database_type = cdb\nlocal_recipient_maps = $alias_maps\n").0);
        let get = |facts| Parameters::new(Arc::clone(&main), facts).get("local_recipient_maps");
        assert_eq!(get(facts(None)), "cdb:/etc/aliases");
        assert_eq!(get(HostFacts::default()), "cdb:/etc/aliases, nis:mail.aliases");
    }

    #[test]
    fn netmasks() {
        assert_eq!(prefix([255, 255, 255, 192].into()), 26);
        assert_eq!(prefix("ffff:ffff:ffff:ffff::".parse().unwrap()), 64);
    }
}
