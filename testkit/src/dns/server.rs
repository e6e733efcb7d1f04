//! The sockets of the fixture: a UDP thread, a thread for late answers, and a thread for each TCP connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::wire;
use super::zone::Zone;
use crate::ports;

type Late = Reverse<(Instant, Vec<u8>, SocketAddr)>;

struct Shared {
    zone: Zone,
    log: Mutex<Vec<String>>,
    queries: AtomicU64,
    extra_delay_ms: AtomicU64,
    log_queries: AtomicBool,
    stop: AtomicBool,
    late: Mutex<BinaryHeap<Late>>,
    wake: Condvar,
}

/// A DNS server on a loopback port. It stops when dropped.
pub struct FixtureDns {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl FixtureDns {
    /// Serves `zone` text on 127.0.0.1, on a port of its own choice.
    pub fn start(zone: &str) -> io::Result<Self> {
        Self::start_at(zone, SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_port())))
    }

    /// Serves `zone` text on a given loopback address.
    pub fn start_at(zone: &str, address: SocketAddr) -> io::Result<Self> {
        assert!(address.ip().is_loopback(), "the fixture serves loopback only");
        let (udp, tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
        let shared = Arc::new(Shared {
            zone: Zone::parse(zone),
            log: Mutex::default(),
            queries: AtomicU64::new(0),
            extra_delay_ms: AtomicU64::new(0),
            log_queries: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            late: Mutex::default(),
            wake: Condvar::new(),
        });
        let sender = udp.try_clone()?;
        let (a, b, c) = (shared.clone(), shared.clone(), shared.clone());
        thread::spawn(move || serve_udp(&a, &udp));
        thread::spawn(move || send_late(&b, &sender));
        thread::spawn(move || accept_tcp(&c, &tcp));
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value for `postern_dns_servers`.
    pub fn server(&self) -> String {
        match self.address.ip() {
            IpAddr::V4(ip) => format!("{ip}:{}", self.address.port()),
            IpAddr::V6(ip) => format!("[{ip}]:{}", self.address.port()),
        }
    }

    /// The questions asked so far, `TYPE name`.
    pub fn log(&self) -> Vec<String> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many questions were asked.
    pub fn queries(&self) -> u64 {
        self.shared.queries.load(Ordering::Relaxed)
    }

    /// Every answer waits that much longer from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.extra_delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Stops keeping the list of questions (for load tests, where it would only grow).
    pub fn without_log(self) -> Self {
        self.shared.log_queries.store(false, Ordering::Relaxed);
        self
    }
}

impl Drop for FixtureDns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake.notify_all();
        // one datagram and one connection wake the threads that wait for them
        let any = SocketAddr::new(self.address.ip(), 0);
        let _ = UdpSocket::bind(any).and_then(|s| s.send_to(&[], self.address));
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

impl Shared {
    fn answer(&self, query: &[u8], udp: bool) -> Option<(Option<Vec<u8>>, Duration)> {
        let query = wire::parse(query)?;
        self.queries.fetch_add(1, Ordering::Relaxed);
        if self.log_queries.load(Ordering::Relaxed) {
            let line = format!("{} {}", query.qtype, query.name);
            self.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        let (reply, delay) = wire::answer(&self.zone, &query, udp);
        Some((reply, Duration::from_millis(delay + self.extra_delay_ms.load(Ordering::Relaxed))))
    }
}

fn serve_udp(shared: &Shared, socket: &UdpSocket) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        match shared.answer(&buffer[..length], true) {
            Some((Some(reply), delay)) if delay.is_zero() => drop(socket.send_to(&reply, from)),
            Some((Some(reply), delay)) => {
                let mut late = shared.late.lock().unwrap_or_else(PoisonError::into_inner);
                late.push(Reverse((Instant::now() + delay, reply, from)));
                shared.wake.notify_one();
            }
            _ => {}
        }
    }
}

fn send_late(shared: &Shared, socket: &UdpSocket) {
    let mut late = shared.late.lock().unwrap_or_else(PoisonError::into_inner);
    while !shared.stop.load(Ordering::SeqCst) {
        let now = Instant::now();
        while late.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((_, reply, to))) = late.pop() {
                let _ = socket.send_to(&reply, to);
            }
        }
        let wait = late.peek().map_or(Duration::from_secs(1), |Reverse((due, ..))| *due - now);
        late = shared.wake.wait_timeout(late, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn accept_tcp(shared: &Arc<Shared>, listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let shared = shared.clone();
        thread::spawn(move || serve_tcp(&shared, stream));
    }
}

fn serve_tcp(shared: &Shared, mut stream: TcpStream) -> Option<()> {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let mut head = [0; 2];
    while stream.read_exact(&mut head).is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(head))];
        stream.read_exact(&mut query).ok()?;
        let (reply, delay) = shared.answer(&query, false)?;
        thread::sleep(delay);
        let Some(reply) = reply else {
            // no answer: the connection stays open until the asker gives up
            let _ = stream.read(&mut head);
            return None;
        };
        stream.write_all(&(reply.len() as u16).to_be_bytes()).ok()?;
        stream.write_all(&reply).ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `type`/`name`, id 1.
    fn query(labels: &[&str], number: u8) -> Vec<u8> {
        let mut q = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            q.push(label.len() as u8);
            q.extend(label.as_bytes());
        }
        q.extend([0, 0, number, 0, 1]);
        q
    }

    fn ask_udp(dns: &FixtureDns, query: &[u8]) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("timeout");
        socket.send_to(query, dns.address()).expect("send");
        let mut buffer = [0; 512];
        socket.recv(&mut buffer).ok().map(|n| buffer[..n].to_vec())
    }

    #[test]
    fn udp_and_tcp_answer_alike() {
        let dns =
            FixtureDns::start("a.example A 192.0.2.1\nlate.example A 192.0.2.2 delay_ms=40\ndead.example TIMEOUT")
                .expect("dns");
        let ask = query(&["a", "example"], 1);
        let udp = ask_udp(&dns, &ask).expect("an answer");
        assert_eq!(udp[udp.len() - 4..], [192, 0, 2, 1]);
        let mut tcp = TcpStream::connect(dns.address()).expect("connect");
        tcp.write_all(&(ask.len() as u16).to_be_bytes()).expect("write");
        tcp.write_all(&ask).expect("write");
        let mut reply = vec![0; udp.len() + 2];
        tcp.read_exact(&mut reply).expect("read");
        assert_eq!(reply[2..], udp);
        let begin = Instant::now();
        assert!(ask_udp(&dns, &query(&["late", "example"], 1)).is_some());
        assert!(begin.elapsed() >= Duration::from_millis(40));
        assert_eq!(ask_udp(&dns, &query(&["dead", "example"], 1)), None);
        assert_eq!(dns.log(), ["A a.example", "A a.example", "A late.example", "A dead.example"]);
        assert_eq!(dns.queries(), 4);
    }

    #[test]
    fn it_stops_when_dropped() {
        let dns = FixtureDns::start("").expect("dns");
        let address = dns.address();
        drop(dns);
        assert!(crate::wait_until(Duration::from_secs(5), || UdpSocket::bind(address).is_ok()
            && TcpListener::bind(address).is_ok()));
    }
}
