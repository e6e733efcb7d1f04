//! `/etc/hosts` (hosts(5)) and `/etc/resolv.conf` (resolv.conf(5)), as far as mail needs them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Names and addresses that need no DNS.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    entries: Vec<(IpAddr, Vec<String>)>,
}

impl Hosts {
    /// Parse the file's text; unreadable lines are skipped, as the C library does.
    pub fn parse(text: &str) -> Self {
        let entries = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split('#').next()?.split_whitespace();
                let address = words.next()?.parse().ok()?;
                let names: Vec<String> = words.map(str::to_ascii_lowercase).collect();
                (!names.is_empty()).then_some((address, names))
            })
            .collect();
        Self { entries }
    }

    /// The canonical name of an address.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.entries.iter().find(|(a, _)| *a == address).map(|(_, names)| names[0].as_str())
    }

    /// All addresses of a name.
    pub fn addresses_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = IpAddr> + 'a {
        self.entries.iter().filter(move |(_, names)| names.iter().any(|n| n.eq_ignore_ascii_case(name))).map(|e| e.0)
    }
}

/// Which servers to ask, and how patiently.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// In order of preference.
    pub servers: Vec<SocketAddr>,
    /// For one try at one server.
    pub timeout: Duration,
    /// Rounds over all servers.
    pub attempts: u32,
}

impl ResolverConfig {
    /// From resolv.conf's text; without a server that is the local one.
    pub fn parse(text: &str) -> Self {
        let mut config = Self { servers: Vec::new(), timeout: Duration::from_secs(5), attempts: 2 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    if let Some(address) = words.next().and_then(|w| w.parse::<IpAddr>().ok()) {
                        config.servers.push(SocketAddr::new(address, 53));
                    }
                }
                Some("options") => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        // The C library's MAXNS.
        config.servers.truncate(3);
        if config.servers.is_empty() {
            config.servers.push(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 53));
        }
        config
    }

    /// With the options of `RES_OPTIONS`, which go before those of the file (resolv.conf(5)).
    #[must_use]
    pub fn with_options(mut self, options: &str) -> Self {
        options.split_whitespace().for_each(|word| self.option(word));
        self
    }

    fn option(&mut self, word: &str) {
        if let Some(n) = word.strip_prefix("timeout:").and_then(|n| n.parse::<u64>().ok()) {
            self.timeout = Duration::from_secs(n.clamp(1, 30));
        } else if let Some(n) = word.strip_prefix("attempts:").and_then(|n| n.parse::<u32>().ok()) {
            self.attempts = n.clamp(1, 5);
        }
    }

    /// From `postern_dns_servers`: `ip[:port]` or `[ipv6]:port`, separated by commas or blanks.
    ///
    /// # Errors
    /// The word that is not such an address.
    pub fn from_list(list: &str, rest: Self) -> Result<Self, String> {
        let mut servers = Vec::new();
        for word in list.split([',', ' ', '\t', '\n']).filter(|w| !w.is_empty()) {
            let server = word
                .parse::<SocketAddr>()
                .or_else(|_| word.parse::<IpAddr>().map(|a| SocketAddr::new(a, 53)))
                .map_err(|_| word.to_owned())?;
            servers.push(server);
        }
        Ok(Self { servers, ..rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_file() {
        let hosts = Hosts::parse("127.0.0.1 localhost loop # x\n::1 localhost\nrubbish\n10.0.0.1\n");
        assert_eq!(hosts.name_of([127, 0, 0, 1].into()), Some("localhost"));
        assert_eq!(hosts.name_of([10, 0, 0, 1].into()), None);
        assert_eq!(hosts.addresses_of("LOCALHOST").count(), 2);
        assert_eq!(hosts.addresses_of("loop").next(), Some(IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn resolv_conf() {
        let config = ResolverConfig::parse("nameserver 192.0.2.1\noptions timeout:1 attempts:9 ndots:2\nsearch x\n");
        assert_eq!(config.servers, ["192.0.2.1:53".parse().unwrap()]);
        assert_eq!((config.timeout.as_secs(), config.attempts), (1, 5));
        let config = config.with_options("attempts:3 rotate");
        assert_eq!((config.timeout.as_secs(), config.attempts), (1, 3));
        assert_eq!(ResolverConfig::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn server_list() {
        let rest = ResolverConfig::parse("");
        let config = ResolverConfig::from_list("127.0.0.1:5300, ::1 [::1]:99", rest.clone()).unwrap();
        let want: Vec<SocketAddr> =
            ["127.0.0.1:5300", "[::1]:53", "[::1]:99"].iter().map(|s| s.parse().unwrap()).collect();
        assert_eq!(config.servers, want);
        assert_eq!(ResolverConfig::from_list("dns.example", rest).unwrap_err(), "dns.example");
    }
}
