use super::*;
use policy::DnsRecord;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A name server in a thread: answers by `reply(question bytes, name)`; counts what it is asked.
fn server(reply: impl Fn(&[u8], &str) -> Option<Vec<u8>> + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            counted.fetch_add(1, Ordering::SeqCst);
            let (mut at, mut name) = (12, String::new());
            while buffer[at] > 0 {
                let label = usize::from(buffer[at]);
                name.push_str(std::str::from_utf8(&buffer[at + 1..=at + label]).unwrap());
                name.push('.');
                at += label + 1;
            }
            if let Some(bytes) = reply(&buffer[..length], name.trim_end_matches('.')) {
                socket.send_to(&bytes, from).unwrap();
            }
        }
    });
    (address, count)
}

/// A reply with this response code and these answer records (name compressed to the question's).
fn respond(query: &[u8], rcode: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
    let mut end = 12;
    while query[end] > 0 {
        end += usize::from(query[end]) + 1;
    }
    end += 5;
    let mut out = query[..end].to_vec();
    out[2] = 0x81;
    out[3] = 0x80 | rcode;
    out[6..12].copy_from_slice(&[0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    for (rtype, data) in records {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&rtype.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend_from_slice(data);
    }
    out
}

fn resolver(servers: Vec<SocketAddr>) -> Arc<Resolver> {
    let config = ResolverConfig { servers, timeout: Duration::from_millis(300), attempts: 1 };
    Resolver::new(config, Hosts::default(), Arc::default())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn grades_answers() {
    let (address, _) = server(|query, name| {
        Some(match name {
            "a.example" => respond(query, 0, &[(1, &[192, 0, 2, 7])]),
            "null.example" => respond(query, 0, &[(15, &[0, 0, 0])]),
            "empty.example" => respond(query, 0, &[]),
            "servfail.example" => respond(query, 2, &[]),
            "refused.example" => respond(query, 5, &[]),
            _ => respond(query, 3, &[]),
        })
    });
    run(async {
        let dns = resolver(vec![address]);
        for (name, rtype, status, reason) in [
            ("a.example", RecordType::A, DnsStatus::Ok, ""),
            ("null.example", RecordType::Mx, DnsStatus::NullMx, "Domain null.example does not accept mail (nullMX)"),
            (
                "empty.example",
                RecordType::A,
                DnsStatus::NotFound,
                "Host or domain name not found. Name service error for name=empty.example type=A: Host found but no data record of requested type",
            ),
            (
                "servfail.example",
                RecordType::Txt,
                DnsStatus::Retry,
                "Host or domain name not found. Name service error for name=servfail.example type=TXT: Host not found, try again",
            ),
            (
                "refused.example",
                RecordType::A,
                DnsStatus::Retry,
                "Host or domain name not found. Name service error for name=refused.example type=A: Host not found, try again",
            ),
            (
                "none.example",
                RecordType::Mx,
                DnsStatus::NotFound,
                "Host or domain name not found. Name service error for name=none.example type=MX: Host not found",
            ),
        ] {
            let answer = dns.query(&name.into(), rtype).await;
            assert_eq!((answer.status, answer.reason.as_str()), (status, reason), "{name}");
        }
        let answer = dns.query(&"a.example".into(), RecordType::A).await;
        assert_eq!(answer.records, [DnsRecord::Address([192, 0, 2, 7].into())]);
    });
}

#[test]
fn identical_questions_are_asked_once_and_kept() {
    let (address, count) = server(|query, _| Some(respond(query, 0, &[(1, &[192, 0, 2, 7])])));
    run(async {
        let dns = resolver(vec![address]);
        let name: Arc<str> = "a.example".into();
        let (one, two) = tokio::join!(dns.query(&name, RecordType::A), dns.query(&name, RecordType::A));
        assert_eq!((one.status, two.status), (DnsStatus::Ok, DnsStatus::Ok));
        assert!(dns.cached(&name, RecordType::A).is_some());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_dead_server_is_passed_over_and_silence_is_temporary() {
    let (silent, asked) = server(|_, _| None);
    let (good, _) = server(|query, _| Some(respond(query, 0, &[(1, &[192, 0, 2, 7])])));
    run(async {
        let name: Arc<str> = "a.example".into();
        let dns = resolver(vec![silent, good]);
        assert_eq!(dns.query(&name, RecordType::A).await.status, DnsStatus::Ok);
        let dns = resolver(vec![silent]);
        assert_eq!(dns.query(&name, RecordType::A).await.status, DnsStatus::Retry);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // A temporary failure is not kept.
        assert!(dns.cached(&name, RecordType::A).is_none());
    });
}

#[test]
fn replies_to_other_questions_are_ignored() {
    let (address, _) = server(|query, _| {
        let mut other = respond(query, 0, &[(1, &[192, 0, 2, 66])]);
        other[13] = b'z';
        Some(other)
    });
    run(async {
        let answer = resolver(vec![address]).query(&"a.example".into(), RecordType::A).await;
        assert_eq!(answer.status, DnsStatus::Retry);
    });
}

#[test]
fn a_client_name_must_lead_back() {
    let (address, _) = server(|query, name| {
        Some(match name {
            "10.2.0.192.in-addr.arpa" | "11.2.0.192.in-addr.arpa" => respond(query, 0, &[(12, b"\x01c\x07example\0")]),
            "c.example" => respond(query, 0, &[(1, &[192, 0, 2, 10])]),
            "13.2.0.192.in-addr.arpa" => respond(query, 2, &[]),
            _ => respond(query, 3, &[]),
        })
    });
    run(async {
        use policy::PeerStatus::{Forged, Ok, Permanent, Temporary};
        let dns = resolver(vec![address]);
        for (last, name, reverse, status, warning) in [
            (10, "c.example", "c.example", Ok, None),
            (11, "unknown", "c.example", Forged, Some("hostname c.example does not resolve to address 192.0.2.11")),
            (12, "unknown", "unknown", Permanent, None),
            (13, "unknown", "unknown", Temporary, None),
        ] {
            let peer = dns.peer([192, 0, 2, last].into()).await;
            assert_eq!((&*peer.name.name, &*peer.name.reverse), (name, reverse));
            assert_eq!((peer.name.name_status, peer.warning.as_deref()), (status, warning));
        }
    });
}

#[test]
fn a_reply_that_was_cut_is_asked_for_again_over_tcp() {
    use std::io::{Read, Write};
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = std::net::UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, from) = udp.recv_from(&mut buffer).unwrap();
        let mut cut = respond(&buffer[..length], 0, &[]);
        cut[2] |= 2;
        udp.send_to(&cut, from).unwrap();
    });
    std::thread::spawn(move || {
        let (mut stream, _) = tcp.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query).unwrap();
        let reply = respond(&query, 0, &[(1, &[192, 0, 2, 9])]);
        stream.write_all(&u16::try_from(reply.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&reply).unwrap();
    });
    run(async {
        let answer = resolver(vec![address]).query(&"big.example".into(), RecordType::A).await;
        assert_eq!(answer.records, [DnsRecord::Address([192, 0, 2, 9].into())]);
    });
}

#[test]
fn names_need_not_be_those_of_hosts() {
    let (address, _) = server(|query, name| {
        Some(match name {
            "a b\\c!%d.example" => respond(query, 0, &[(1, &[192, 0, 2, 7])]),
            _ => respond(query, 3, &[]),
        })
    });
    run(async {
        let dns = resolver(vec![address]);
        let answer = dns.query(&"a b\\c!%d.example".into(), RecordType::A).await;
        assert_eq!(answer.records, [DnsRecord::Address("192.0.2.7".parse().unwrap())], "{}", answer.reason);
        assert_eq!(answer.owner, None);
    });
}
