//! Zone text and what it answers; no sockets here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What kind of answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rcode {
    /// Records, or none of this type.
    NoError,
    /// The name does not exist.
    NxDomain,
    /// The server failed.
    ServFail,
    /// The server refused.
    Refused,
    /// No answer at all.
    Timeout,
}

/// One resource record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner name.
    pub name: String,
    /// The type, as text.
    pub rtype: String,
    /// The words of the data.
    pub rdata: Vec<String>,
    /// Time to live, seconds.
    pub ttl: u32,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its kind.
    pub rcode: Rcode,
    /// The records, aliases first.
    pub answers: Vec<Record>,
    /// How long to wait before answering.
    pub delay_ms: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    rdata: Vec<String>,
    ttl: u32,
    delay_ms: u64,
}

type Node = BTreeMap<String, Vec<Entry>>;

/// Parsed zone text.
#[derive(Debug, Default)]
pub struct Zone {
    nodes: BTreeMap<String, Node>,
    parents: BTreeSet<String>,
}

fn special(word: &str) -> Option<Rcode> {
    Some(match word {
        "NXDOMAIN" => Rcode::NxDomain,
        "NODATA" => Rcode::NoError,
        "SERVFAIL" => Rcode::ServFail,
        "REFUSED" => Rcode::Refused,
        "TIMEOUT" => Rcode::Timeout,
        _ => return None,
    })
}

/// The in-addr.arpa or ip6.arpa name of an address, or the name below `zone` in a blocklist.
pub fn reverse_name(address: IpAddr, zone: Option<&str>) -> String {
    let (labels, arpa) = match address {
        IpAddr::V4(v4) => (v4.octets().iter().rev().map(u8::to_string).collect::<Vec<_>>(), "in-addr.arpa"),
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let nibbles = octets.iter().rev().flat_map(|o| [o & 15, o >> 4]);
            (nibbles.map(|n| format!("{n:x}")).collect(), "ip6.arpa")
        }
    };
    format!("{}.{}", labels.join("."), zone.unwrap_or(arpa))
}

/// `name` and the names above it, nearest first.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(dot, _)| &name[dot + 1..])
}

impl Zone {
    /// Reads zone text. Panics at a line that makes no sense: the test is wrong then.
    pub fn parse(text: &str) -> Self {
        let mut zone = Self::default();
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with(['#', ';'])) {
            zone.add(line);
        }
        let parents = zone.nodes.keys().flat_map(|n| ancestors(n)).map(str::to_owned).collect();
        zone.parents = parents;
        zone
    }

    fn add(&mut self, line: &str) {
        let (mut words, mut ttl, mut delay_ms) = (Vec::new(), 300, 0);
        for word in line.split_whitespace() {
            match word.split_once('=').map(|(k, v)| (k, v.parse::<u32>())) {
                Some(("ttl", Ok(n))) => ttl = n,
                Some(("delay_ms", Ok(n))) => delay_ms = u64::from(n),
                _ => words.push(word.to_owned()),
            }
        }
        let address = |word: &str| -> IpAddr { word.parse().unwrap_or_else(|_| panic!("zone line {line:?}")) };
        if words[0] == "@rev" {
            let name = reverse_name(address(&words[1]), None);
            words.splice(..2, [name]);
        } else if words[0] == "@bl" {
            let name = reverse_name(address(&words[1]), Some(&words[2]));
            words.splice(..3, [name]);
        }
        assert!(words.len() >= 2, "zone line {line:?}");
        let mut rdata = words.split_off(2);
        let mut rtype = words[1].to_uppercase();
        if special(&rtype).is_some() {
            rdata = vec![std::mem::replace(&mut rtype, "*".to_owned())];
        }
        if rtype == "TXT" && rdata.first().is_none_or(|w| special(w).is_none()) {
            rdata = vec![rdata.join(" ").trim_matches('"').to_owned()];
        }
        let name = words[0].to_lowercase().trim_end_matches('.').to_owned();
        self.nodes.entry(name).or_default().entry(rtype).or_default().push(Entry { rdata, ttl, delay_ms });
    }

    fn node(&self, name: &str) -> Option<Option<&Node>> {
        if let Some(node) = self.nodes.get(name) {
            return Some(Some(node));
        }
        let top = name.rsplit('.').next();
        let wildcard = ancestors(name).chain(top).find_map(|parent| self.nodes.get(&format!("*.{parent}")));
        match wildcard {
            Some(node) => Some(Some(node)),
            None => self.parents.contains(name).then_some(None),
        }
    }

    /// The answer for a name (lower case, no final dot) and a type.
    pub fn resolve(&self, name: &str, qtype: &str) -> Outcome {
        let mut name = name.to_owned();
        let mut out = Outcome { rcode: Rcode::NoError, answers: Vec::new(), delay_ms: 0 };
        for _ in 0..12 {
            let Some(node) = self.node(&name) else {
                out.rcode = Rcode::NxDomain;
                return out;
            };
            let Some(node) = node else { return out };
            if let Some(entries) = node.get(qtype).or_else(|| node.get("*")) {
                out.delay_ms += entries.iter().map(|e| e.delay_ms).max().unwrap_or(0);
                if let Some(rcode) = entries[0].rdata.first().and_then(|w| special(w)) {
                    out.rcode = rcode;
                    return out;
                }
                out.answers.extend(entries.iter().map(|e| record(&name, qtype, e)));
                return out;
            }
            let Some(alias) = node.get("CNAME").and_then(|e| e.first()) else {
                return out;
            };
            out.delay_ms += alias.delay_ms;
            out.answers.push(record(&name, "CNAME", alias));
            name = alias.rdata[0].to_lowercase().trim_end_matches('.').to_owned();
        }
        Outcome { rcode: Rcode::ServFail, answers: Vec::new(), delay_ms: out.delay_ms }
    }

    /// The SOA record for a negative answer about `name`: that of the nearest name above that has one, or a made-up one.
    pub fn authority(&self, name: &str) -> Record {
        for apex in std::iter::once(name).chain(ancestors(name)) {
            if let Some(soa) = self.nodes.get(apex).and_then(|n| n.get("SOA")).and_then(|e| e.first()) {
                return record(apex, "SOA", soa);
            }
        }
        let entry = Entry { rdata: vec!["ns.invalid".to_owned(), "root.invalid".to_owned()], ttl: 60, delay_ms: 0 };
        record(name.rsplit('.').next().unwrap_or(""), "SOA", &entry)
    }
}

fn record(name: &str, rtype: &str, entry: &Entry) -> Record {
    Record { name: name.to_owned(), rtype: rtype.to_owned(), rdata: entry.rdata.clone(), ttl: entry.ttl }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        # a comment
        example.com MX 10 mail.example.com ttl=60
        Mail.Example.Com. A 192.0.2.1 delay_ms=30
        *.wild.example A 192.0.2.2
        alias.example CNAME mail.example.com delay_ms=5
        loop.example CNAME loop.example
        broken.example SERVFAIL
        half.example A TIMEOUT
        t.example TXT \"v=spf1 -all\"
        @rev 192.0.2.10 PTR client.example.net
        @bl 192.0.2.10 bl.example A 127.0.0.2
        @rev 2001:db8::1 PTR six.example
    ";

    #[test]
    fn answers() {
        let zone = Zone::parse(TEXT);
        let cases: &[(&str, &str, Rcode, &[&str], u64)] = &[
            ("example.com", "MX", Rcode::NoError, &["10 mail.example.com"], 0),
            ("example.com", "A", Rcode::NoError, &[], 0),
            ("mail.example.com", "A", Rcode::NoError, &["192.0.2.1"], 30),
            ("com", "A", Rcode::NoError, &[], 0),
            ("nowhere.example.com", "A", Rcode::NxDomain, &[], 0),
            ("a.b.wild.example", "A", Rcode::NoError, &["192.0.2.2"], 0),
            ("alias.example", "A", Rcode::NoError, &["mail.example.com", "192.0.2.1"], 35),
            ("loop.example", "A", Rcode::ServFail, &[], 0),
            ("broken.example", "MX", Rcode::ServFail, &[], 0),
            ("half.example", "A", Rcode::Timeout, &[], 0),
            ("half.example", "MX", Rcode::NoError, &[], 0),
            ("t.example", "TXT", Rcode::NoError, &["v=spf1 -all"], 0),
            ("10.2.0.192.in-addr.arpa", "PTR", Rcode::NoError, &["client.example.net"], 0),
            ("10.2.0.192.bl.example", "A", Rcode::NoError, &["127.0.0.2"], 0),
        ];
        for (name, qtype, rcode, rdata, delay_ms) in cases {
            let out = zone.resolve(name, qtype);
            let got: Vec<String> = out.answers.iter().map(|r| r.rdata.join(" ")).collect();
            assert_eq!(
                (out.rcode, got, out.delay_ms),
                (*rcode, rdata.iter().map(|s| s.to_string()).collect(), *delay_ms),
                "{name} {qtype}"
            );
        }
        assert_eq!(zone.resolve("example.com", "MX").answers[0].ttl, 60);
    }

    #[test]
    fn six_reverse() {
        let name = reverse_name("2001:db8::1".parse().expect("address"), None);
        assert_eq!(name, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
        assert_eq!(Zone::parse(TEXT).resolve(&name, "PTR").answers[0].rdata, ["six.example"]);
    }

    #[test]
    fn authority_records() {
        let zone = Zone::parse("example.com SOA ns.example.com root.example.com 1 3600 600 86400 60");
        assert_eq!(zone.authority("a.example.com").name, "example.com");
        assert_eq!(zone.authority("a.example.org").name, "org");
    }
}
