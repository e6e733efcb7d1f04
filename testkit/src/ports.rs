//! Picking ports that nothing uses. They lie below the kernel's ephemeral range, so that no outgoing connection takes
//! one between the picking and the listening, and a process picks the same port again only when it has had them all.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;

const FIRST: u16 = 10_240;
const LAST: u16 = 32_000;

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port free on every IPv4 address, for TCP and UDP, and on `::1`. Panics when there is none: then no test can run.
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(|e| e.into_inner());
    let span = LAST - FIRST;
    // another start in each process, so that two running side by side rarely meet
    let start = (std::process::id().wrapping_mul(7919) % u32::from(span)) as u16;
    for _ in 0..2 {
        for step in 0..span {
            let port = FIRST + (start + step) % span;
            if !taken.contains(&port) && is_free(port) {
                taken.insert(port);
                return port;
            }
        }
        taken.clear();
    }
    panic!("no free port between {FIRST} and {LAST}");
}

fn is_free(port: u16) -> bool {
    let v4 = SocketAddr::from(([0, 0, 0, 0], port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let v6_usable = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    TcpListener::bind(v4).is_ok() && UdpSocket::bind(v4).is_ok() && (!v6_usable || TcpListener::bind(v6).is_ok())
}

/// Does something listen on `port` (TCP, IPv4 or IPv6)? Read from /proc, because connecting would leave a log line.
pub fn is_listening(port: u16) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().skip(1).any(|line| listens(line, port))
    })
}

fn listens(line: &str, port: u16) -> bool {
    let words: Vec<&str> = line.split_whitespace().take(4).collect();
    let local = words.get(1).and_then(|w| w.rsplit_once(':')).and_then(|(_, p)| u16::from_str_radix(p, 16).ok());
    words.get(3) == Some(&"0A") && local == Some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_used() {
        let (a, b) = (free_port(), free_port());
        assert_ne!(a, b);
        assert!(!is_listening(a));
        let _listener = TcpListener::bind(("127.0.0.1", a)).expect("the port is free");
        assert!(is_listening(a));
    }

    #[test]
    fn proc_lines() {
        let line = "   0: 0100007F:09C4 00000000:0000 0A 00000000:00000000 00:00000000 00000000";
        assert!(listens(line, 2500));
        assert!(!listens(line, 2501));
        assert!(!listens(&line.replace(" 0A ", " 01 "), 2500));
    }
}
