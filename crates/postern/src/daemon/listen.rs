//! Listening sockets for `inet` services: one per event loop on each address (SO_REUSEPORT).

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Connections the kernel keeps while we are busy.
const BACKLOG: i32 = 4096;

/// Which addresses `inet_interfaces` and `inet_protocols` mean.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    /// `inet_interfaces`, expanded.
    pub interfaces: String,
    /// `inet_protocols`, expanded.
    pub protocols: String,
}

impl Interfaces {
    fn ipv4(&self) -> bool {
        self.protocols.contains("all") || self.protocols.contains("ipv4")
    }

    fn ipv6(&self) -> bool {
        self.protocols.contains("all") || self.protocols.contains("ipv6")
    }

    fn allowed(&self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.ipv4() } else { self.ipv6() }
    }

    fn addresses(&self) -> Result<Vec<IpAddr>> {
        let mut found = Vec::new();
        for word in self.interfaces.split([',', ' ', '\t', '\n']).filter(|w| !w.is_empty()) {
            match word {
                "all" => found.extend([IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()]),
                "loopback-only" | "localhost" => {
                    found.extend([IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]);
                }
                host => found.extend(resolve(host).with_context(|| format!("inet_interfaces: {host}"))?),
            }
        }
        found.retain(|a| self.allowed(*a));
        found.dedup();
        Ok(found)
    }
}

fn resolve(host: &str) -> Result<Vec<IpAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    // Only at start, before any session: the system's own look-up is right here.
    let found: Vec<IpAddr> = std::net::ToSocketAddrs::to_socket_addrs(&(host, 0))?.map(|a| a.ip()).collect();
    Ok(found)
}

/// The number of a port that is given by number or name.
///
/// # Errors
/// A name that nobody knows.
pub(crate) fn port(name: &str) -> Result<u16> {
    if let Ok(port) = name.parse() {
        return Ok(port);
    }
    let known = [("smtp", 25), ("submission", 587), ("smtps", 465), ("submissions", 465), ("urd", 465)];
    if let Some((_, port)) = known.iter().find(|(n, _)| *n == name) {
        return Ok(*port);
    }
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    services
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let (service, number) = (words.next()?, words.next()?);
            let number = number.strip_suffix("/tcp")?.parse().ok()?;
            (service == name || words.any(|alias| alias == name)).then_some(number)
        })
        .next()
        .with_context(|| format!("{name}: not a port number and not in /etc/services"))
}

/// The addresses that a service name of master.cf (`25`, `smtp`, `host:port`, `[v6]:port`) stands for.
///
/// # Errors
/// A name or port that nobody knows.
pub fn endpoints(service: &str, interfaces: &Interfaces) -> Result<Vec<SocketAddr>> {
    let (addresses, port_name) = match service.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => {
            let mut found = resolve(host).with_context(|| format!("service {service}"))?;
            found.retain(|a| interfaces.allowed(*a));
            (found, port)
        }
        Some((_, port)) => (interfaces.addresses()?, port),
        None => (interfaces.addresses()?, service),
    };
    let port = port(port_name)?;
    if addresses.is_empty() {
        bail!(
            "service {service}: no address is left with inet_interfaces = {} and inet_protocols = {}",
            interfaces.interfaces,
            interfaces.protocols
        );
    }
    Ok(addresses.into_iter().map(|a| SocketAddr::new(a, port)).collect())
}

fn socket(address: SocketAddr, share: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// `count` listeners that share an address.
///
/// # Errors
/// The address is taken or not ours; an IPv6 address on a machine without IPv6 gives an empty list.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>> {
    let remedy = || match address.port() {
        0..1024 => format!(
            "{address}: cannot listen (ports below 1024 need root, or AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd unit)"
        ),
        _ => format!("{address}: cannot listen"),
    };
    // Without SO_REUSEPORT first: another server at this address is an error, not a colleague.
    match socket(address, false).and_then(|probe| probe.listen(1)) {
        Ok(()) => {}
        Err(error) if address.is_ipv6() && no_ipv6(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(remedy),
    }
    (0..count)
        .map(|_| {
            let socket = socket(address, true).with_context(remedy)?;
            socket.listen(BACKLOG).with_context(remedy)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        })
        .collect()
}

fn no_ipv6(error: &std::io::Error) -> bool {
    // EAFNOSUPPORT, EADDRNOTAVAIL: the kernel has no IPv6, or none on this interface.
    matches!(error.raw_os_error(), Some(97 | 99))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces(interfaces: &str, protocols: &str) -> Interfaces {
        Interfaces { interfaces: interfaces.into(), protocols: protocols.into() }
    }

    #[test]
    fn service_names() {
        for (service, names, protocols, want) in [
            ("25", "127.0.0.1", "all", vec!["127.0.0.1:25"]),
            ("smtp", "loopback-only", "all", vec!["127.0.0.1:25", "[::1]:25"]),
            ("smtp", "all", "ipv4", vec!["0.0.0.0:25"]),
            ("127.0.0.1:2500", "all", "all", vec!["127.0.0.1:2500"]),
            ("[::1]:submission", "all", "all", vec!["[::1]:587"]),
            (":2525", "127.0.0.1, ::1", "ipv6", vec!["[::1]:2525"]),
        ] {
            let want: Vec<SocketAddr> = want.iter().map(|w| w.parse().unwrap()).collect();
            assert_eq!(endpoints(service, &interfaces(names, protocols)).unwrap(), want, "{service}");
        }
        assert!(endpoints("nosuchservice", &interfaces("all", "all")).is_err());
        assert!(endpoints("[::1]:25", &interfaces("all", "ipv4")).is_err());
    }

    #[test]
    fn a_taken_address_is_refused_but_ours_is_shared() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(bind(taken.local_addr().unwrap(), 2).is_err());
        let free = taken.local_addr().unwrap();
        drop(taken);
        assert_eq!(bind(free, 2).unwrap().len(), 2);
    }
}
