//! What defaults need from the machine. The program asks the machine; this crate only prints the answers.

use std::net::IpAddr;

/// Facts about the machine that default values depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// The host name as the system gives it; `myhostname` defaults to it (with `.localdomain` when it has no dot).
    pub hostname: String,
    /// Overrides the domain that `mydomain` would take from `myhostname`.
    pub domain: Option<String>,
    /// Addresses of our network interfaces, loopback included.
    pub interface_addresses: Vec<IpAddr>,
    /// The network of each interface (address and prefix length), for `mynetworks_style = subnet`.
    pub interface_networks: Vec<(IpAddr, u8)>,
    /// Directory of `main.cf` when it is not the default one.
    pub config_directory: Option<String>,
    /// Default of `process_name`.
    pub process_name: String,
    /// Default of `process_id`.
    pub process_id: u32,
    /// NIS maps can be read: the default of `alias_maps` has one.
    pub has_nis: bool,
}

impl Default for HostFacts {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            domain: None,
            interface_addresses: vec![IpAddr::from([127, 0, 0, 1])],
            interface_networks: Vec::new(),
            config_directory: None,
            process_name: "postern".to_owned(),
            process_id: 0,
            has_nis: true,
        }
    }
}

impl HostFacts {
    /// Facts with a host name and nothing else.
    pub fn named(hostname: impl Into<String>) -> Self {
        Self { hostname: hostname.into(), ..Self::default() }
    }

    /// Default of `myhostname`.
    pub fn myhostname(&self) -> String {
        if self.hostname.contains('.') { self.hostname.clone() } else { format!("{}.localdomain", self.hostname) }
    }

    /// Default of `mydomain` for a given `myhostname`: what follows its first dot.
    pub fn mydomain(&self, myhostname: &str) -> String {
        if let Some(domain) = &self.domain {
            return domain.clone();
        }
        match myhostname.split_once('.') {
            Some((_, domain)) => domain.to_owned(),
            None => "localdomain".to_owned(),
        }
    }

    /// Default of `mynetworks` for a value of `mynetworks_style` (`host`, `subnet` or `class`).
    pub fn mynetworks(&self, style: &str) -> String {
        let mut networks: Vec<String> = Vec::new();
        for &address in &self.interface_addresses {
            let prefix = match style.to_ascii_lowercase().as_str() {
                "class" => class_prefix(address),
                "subnet" => self.subnet_prefix(address),
                _ => full_prefix(address),
            };
            let network = format_network(address, prefix);
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        networks.join(" ")
    }

    fn subnet_prefix(&self, address: IpAddr) -> u8 {
        self.interface_networks.iter().find(|(a, _)| *a == address).map_or_else(
            || match address {
                IpAddr::V4(v4) if v4.is_loopback() => 8,
                _ => full_prefix(address),
            },
            |(_, prefix)| (*prefix).min(full_prefix(address)),
        )
    }
}

fn full_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The prefix of the class an IPv4 address is in; an IPv6 address stands for itself.
fn class_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => match v4.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            192..=223 => 24,
            _ => 32,
        },
        IpAddr::V6(_) => 128,
    }
}

fn format_network(address: IpAddr, prefix: u8) -> String {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            format!("[{}]/{prefix}", std::net::Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_networks() {
        let mut host = HostFacts::named("mail");
        assert_eq!(host.myhostname(), "mail.localdomain");
        assert_eq!(host.mydomain("mail.example.com"), "example.com");
        assert_eq!(host.mydomain("mail"), "localdomain");
        host.interface_addresses =
            ["127.0.0.1", "192.0.2.77", "::1", "2001:db8::5"].iter().map(|a| a.parse().expect("address")).collect();
        host.interface_networks =
            vec![("192.0.2.77".parse().expect("address"), 26), ("2001:db8::5".parse().expect("address"), 64)];
        assert_eq!(host.mynetworks("host"), "127.0.0.1/32 192.0.2.77/32 [::1]/128 [2001:db8::5]/128");
        assert_eq!(host.mynetworks("subnet"), "127.0.0.0/8 192.0.2.64/26 [::1]/128 [2001:db8::]/64");
        assert_eq!(host.mynetworks("class"), "127.0.0.0/8 192.0.2.0/24 [::1]/128 [2001:db8::5]/128");
    }
}
