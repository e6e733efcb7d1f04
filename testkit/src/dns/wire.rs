//! The wire format, as much as the fixture needs (RFC 1035, EDNS buffer size of RFC 6891).

use super::zone::{Rcode, Record, Zone};

const TYPES: &[(&str, u16)] =
    &[("A", 1), ("NS", 2), ("CNAME", 5), ("SOA", 6), ("PTR", 12), ("MX", 15), ("TXT", 16), ("AAAA", 28), ("ANY", 255)];

/// A query, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    id: [u8; 2],
    recursion_desired: bool,
    question: Vec<u8>,
    payload: usize,
    /// The name asked for, lower case.
    pub name: String,
    /// The type asked for, or OTHER.
    pub qtype: String,
}

/// Takes a query apart; `None` when it is not one.
pub fn parse(query: &[u8]) -> Option<Query> {
    let mut labels: Vec<String> = Vec::new();
    let mut pos = 12;
    while *query.get(pos)? != 0 {
        let end = pos + 1 + usize::from(query[pos]);
        labels.push(query.get(pos + 1..end)?.iter().map(|&b| char::from(b)).collect());
        pos = end;
    }
    let number = u16::from_be_bytes([*query.get(pos + 1)?, *query.get(pos + 2)?]);
    let question = query.get(12..pos + 5)?.to_vec();
    let edns = query[10..12] != [0, 0] && query.get(pos + 5..pos + 8) == Some(&[0, 0, 0x29]);
    let payload = match (edns, query.get(pos + 8..pos + 10)) {
        (true, Some(size)) => usize::from(u16::from_be_bytes([size[0], size[1]])),
        _ => 512,
    };
    let qtype = TYPES.iter().find(|(_, n)| *n == number).map_or("OTHER", |(name, _)| name);
    Some(Query {
        id: [query[0], query[1]],
        recursion_desired: query[2] & 1 != 0,
        question,
        payload,
        name: labels.join(".").to_lowercase(),
        qtype: qtype.to_owned(),
    })
}

/// The reply and the milliseconds to wait before it; no reply for TIMEOUT.
pub fn answer(zone: &Zone, query: &Query, udp: bool) -> (Option<Vec<u8>>, u64) {
    let out = zone.resolve(&query.name, &query.qtype);
    let rcode = match out.rcode {
        Rcode::NoError => 0,
        Rcode::NxDomain => 3,
        Rcode::ServFail => 2,
        Rcode::Refused => 5,
        Rcode::Timeout => return (None, out.delay_ms),
    };
    let negative = out.answers.is_empty() && matches!(out.rcode, Rcode::NoError | Rcode::NxDomain);
    let mut body = Vec::new();
    for record in &out.answers {
        put_record(&mut body, record);
    }
    if negative {
        put_record(&mut body, &zone.authority(&query.name));
    }
    let truncated = udp && 12 + query.question.len() + body.len() > query.payload;
    let mut reply = query.id.to_vec();
    reply.extend([0x84 | u8::from(query.recursion_desired) | if truncated { 2 } else { 0 }, 0x80 | rcode]);
    let counts = if truncated { [1, 0, 0, 0] } else { [1, out.answers.len() as u16, u16::from(negative), 0] };
    reply.extend(counts.iter().flat_map(|c| c.to_be_bytes()));
    reply.extend(&query.question);
    if !truncated {
        reply.extend(body);
    }
    (Some(reply), out.delay_ms)
}

fn put_record(out: &mut Vec<u8>, record: &Record) {
    let number = TYPES.iter().find(|(name, _)| *name == record.rtype).map_or(0, |(_, n)| *n);
    put_name(out, &record.name);
    out.extend(number.to_be_bytes());
    out.extend([0, 1]);
    out.extend(record.ttl.to_be_bytes());
    let mut data = Vec::new();
    put_rdata(&mut data, record);
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|l| !l.is_empty()) {
        let bytes: Vec<u8> = label.chars().map(|c| c as u8).collect();
        out.push(bytes.len() as u8);
        out.extend(bytes);
    }
    out.push(0);
}

fn put_rdata(out: &mut Vec<u8>, record: &Record) {
    let word = |i: usize| record.rdata.get(i).map_or("", String::as_str);
    match record.rtype.as_str() {
        "A" => out.extend(word(0).parse::<std::net::Ipv4Addr>().expect("A record of a test zone").octets()),
        "AAAA" => out.extend(word(0).parse::<std::net::Ipv6Addr>().expect("AAAA record of a test zone").octets()),
        "NS" | "CNAME" | "PTR" => put_name(out, word(0)),
        "MX" => {
            out.extend(word(0).parse::<u16>().expect("MX record of a test zone").to_be_bytes());
            put_name(out, word(1));
        }
        "SOA" => {
            put_name(out, word(0));
            put_name(out, word(1));
            for (i, default) in [1u32, 3600, 600, 86400, 60].into_iter().enumerate() {
                out.extend(word(i + 2).parse().unwrap_or(default).to_be_bytes());
            }
        }
        _ => {
            let text = word(0).as_bytes();
            let empty: &[u8] = &[];
            for part in if text.is_empty() { vec![empty] } else { text.chunks(255).collect() } {
                out.push(part.len() as u8);
                out.extend(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, number: u16) -> Vec<u8> {
        let mut q = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        put_name(&mut q, name);
        q.extend(number.to_be_bytes());
        q.extend([0, 1]);
        q
    }

    #[test]
    fn one_address() {
        let zone = Zone::parse("a.example A 192.0.2.7 ttl=9 delay_ms=3");
        let parsed = parse(&query("A.Example", 1)).expect("a query");
        assert_eq!((parsed.name.as_str(), parsed.qtype.as_str()), ("a.example", "A"));
        let (reply, delay) = answer(&zone, &parsed, true);
        let mut want = vec![7, 8, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        want.extend(&query("A.Example", 1)[12..]);
        want.extend(b"\x01a\x07example\0\0\x01\0\x01\0\0\0\x09\0\x04\xc0\0\x02\x07");
        assert_eq!((reply, delay), (Some(want), 3));
    }

    #[test]
    fn long_answers_are_truncated_for_udp() {
        let text = (0..40).map(|i| format!("big.example A 192.0.2.{i}\n")).collect::<String>();
        let (zone, parsed) = (Zone::parse(&text), parse(&query("big.example", 1)).expect("a query"));
        let (udp, tcp) = (answer(&zone, &parsed, true).0.expect("udp"), answer(&zone, &parsed, false).0.expect("tcp"));
        assert_eq!((udp[2] & 2, udp.len(), udp[7]), (2, 12 + 17, 0));
        assert_eq!((tcp[2] & 2, tcp[7]), (0, 40));
    }

    #[test]
    fn garbage_is_no_query() {
        for bytes in [&b""[..], b"\0\0", &[0; 12], &query("a.example", 1)[..15]] {
            assert_eq!(parse(bytes), None);
        }
    }
}
