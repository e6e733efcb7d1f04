//! A DNS that is a text (docs/dialogs.md has the format), and a world made of it and of the configuration's tables.

use crate::dns::failure_text;
use policy::{
    Answer, DnsAnswer, DnsRecord, DnsStatus, PeerName, PeerStatus, Question, RecordType, Verification, World,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tables::TableSet;

/// What every dialog finds in DNS.
const BASE_ZONE: &str = "\
example.com MX 10 mail.example.com
mail.example.com A 127.0.0.1
example.org A 192.0.2.30
example.net MX 10 mx.example.net
mx.example.net A 192.0.2.20
client.example.net A 192.0.2.10
@rev 192.0.2.10 PTR client.example.net
@rev 127.0.0.1 PTR localhost
localhost A 127.0.0.1
";

const TYPES: [(&str, RecordType); 6] = [
    ("A", RecordType::A),
    ("AAAA", RecordType::Aaaa),
    ("MX", RecordType::Mx),
    ("NS", RecordType::Ns),
    ("TXT", RecordType::Txt),
    ("PTR", RecordType::Ptr),
];

#[derive(Clone)]
enum Entry {
    Record(DnsRecord),
    NxDomain,
    NoData,
    /// SERVFAIL, REFUSED, TIMEOUT.
    Trouble,
}

/// DNS records by name and type.
#[derive(Clone, Default)]
pub struct Zone {
    names: HashMap<String, HashMap<RecordType, Vec<Entry>>>,
}

impl Zone {
    /// The base zone with a file's records; errors name the file's line.
    pub fn new(file: &str, lines: &[(usize, String)]) -> Result<Self, String> {
        let mut zone = Self::default();
        for line in BASE_ZONE.lines() {
            zone.add(line)?;
        }
        for (at, line) in lines {
            zone.add(line).map_err(|problem| format!("{file}:{at}: {problem}"))?;
        }
        Ok(zone)
    }

    /// A file's records and nothing else.
    ///
    /// # Errors
    /// A line that isn't a record, with its place.
    pub fn empty(file: &str, lines: &[(usize, String)]) -> Result<Self, String> {
        let mut zone = Self::default();
        for (at, line) in lines {
            zone.add(line).map_err(|problem| format!("{file}:{at}: {problem}"))?;
        }
        Ok(zone)
    }

    /// Add a record.
    ///
    /// # Errors
    /// When the line isn't one.
    pub fn add(&mut self, line: &str) -> Result<(), String> {
        let bad = || format!("a record is `name TYPE data` or `name SERVFAIL`, not: {line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, rest) = match *words {
            ["@rev", address, ref rest @ ..] => (reverse(address, None).ok_or_else(bad)?, rest),
            ["@bl", address, zone, ref rest @ ..] => (reverse(address, Some(zone)).ok_or_else(bad)?, rest),
            [name, ref rest @ ..] => (name.to_ascii_lowercase(), rest),
            [] => return Ok(()),
        };
        let (rtype, data) = match *rest {
            // For negative answers; nobody asks for it.
            ["SOA", ..] => return Ok(()),
            [word] => ("*", vec![word]),
            [rtype, ref data @ ..] => (rtype, data.to_vec()),
            [] => return Err(bad()),
        };
        let entries = self.names.entry(name).or_default();
        if rtype == "*" {
            let entry = special(&data).ok_or_else(bad)?;
            entries.extend(TYPES.map(|(_, rtype)| (rtype, vec![entry.clone()])));
            return Ok(());
        }
        let (_, rtype) = TYPES.into_iter().find(|(word, _)| *word == rtype).ok_or_else(bad)?;
        let found = || match rtype {
            // A text keeps its blanks.
            RecordType::Txt => line.split_once(" TXT ").map(|(_, text)| DnsRecord::Txt(unquoted(text.trim()).into())),
            _ => record(rtype, &data),
        };
        let entry = special(&data).or_else(|| found().map(Entry::Record)).ok_or_else(bad)?;
        entries.entry(rtype).or_default().push(entry);
        Ok(())
    }

    /// The records of `*` in the nearest domain above a name.
    fn wildcard(&self, name: &str) -> Option<&HashMap<RecordType, Vec<Entry>>> {
        let parents = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
        for parent in parents {
            if let Some(found) = self.names.get(&format!("*.{parent}")) {
                return Some(found);
            }
            if self.names.contains_key(parent) {
                return None;
            }
        }
        None
    }

    /// The answer, graded as the resolver grades it.
    pub fn query(&self, rtype: RecordType, name: &str) -> DnsAnswer {
        let failure = |status, what: &str| DnsAnswer::failed(status, failure_text(name, rtype, what));
        let no_data = || failure(DnsStatus::NotFound, "Host found but no data record of requested type");
        let Some(types) = self.names.get(name).or_else(|| self.wildcard(name)) else {
            // A name above a known one is there, without records.
            let below = format!(".{name}");
            return match self.names.keys().any(|known| known.ends_with(&below)) {
                true => no_data(),
                false => failure(DnsStatus::NotFound, "Host not found"),
            };
        };
        let entries = types.get(&rtype).map_or(&[] as &[_], |entries| entries);
        match entries.first() {
            None | Some(Entry::NoData) => no_data(),
            Some(Entry::NxDomain) => failure(DnsStatus::NotFound, "Host not found"),
            Some(Entry::Trouble) => failure(DnsStatus::Retry, "Host not found, try again"),
            Some(Entry::Record(DnsRecord::Mx(_, host))) if host.is_empty() => {
                let reason = format!("Domain {name} does not accept mail (nullMX)");
                DnsAnswer::failed(DnsStatus::NullMx, reason)
            }
            Some(Entry::Record(_)) => {
                let records = entries.iter().filter_map(|entry| match entry {
                    Entry::Record(record) => Some(record.clone()),
                    _ => None,
                });
                DnsAnswer::found(records.collect(), vec![300; entries.len()])
            }
        }
    }

    /// The client's names: PTR, and back.
    pub fn peer(&self, address: IpAddr) -> PeerName {
        let answer = self.query(RecordType::Ptr, &reverse(&address.to_string(), None).unwrap_or_default());
        let reverse = match (answer.status, answer.records.first()) {
            (DnsStatus::Ok, Some(DnsRecord::Name(name))) => Arc::clone(name),
            (DnsStatus::Retry, _) => return PeerName::unknown(PeerStatus::Temporary),
            _ => return PeerName::unknown(PeerStatus::Permanent),
        };
        let rtype = if address.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
        let answer = self.query(rtype, &reverse);
        let (name, name_status) = match answer.status {
            DnsStatus::Ok if answer.addresses().any(|a| a == address) => (Arc::clone(&reverse), PeerStatus::Ok),
            DnsStatus::Retry => ("unknown".into(), PeerStatus::Temporary),
            _ => ("unknown".into(), PeerStatus::Forged),
        };
        PeerName { name, reverse, name_status, reverse_status: PeerStatus::Ok }
    }
}

fn special(data: &[&str]) -> Option<Entry> {
    match data {
        ["NXDOMAIN"] => Some(Entry::NxDomain),
        ["NODATA"] => Some(Entry::NoData),
        ["SERVFAIL" | "REFUSED" | "TIMEOUT"] => Some(Entry::Trouble),
        _ => None,
    }
}

fn record(rtype: RecordType, data: &[&str]) -> Option<DnsRecord> {
    let host = |name: &str| Arc::from(name.trim_end_matches('.').to_ascii_lowercase());
    match (rtype, data) {
        (RecordType::A, [address]) => Some(DnsRecord::Address(IpAddr::V4(address.parse().ok()?))),
        (RecordType::Aaaa, [address]) => Some(DnsRecord::Address(IpAddr::V6(address.parse().ok()?))),
        (RecordType::Mx, [preference, name]) => Some(DnsRecord::Mx(preference.parse().ok()?, host(name))),
        (RecordType::Ns | RecordType::Ptr, [name]) => Some(DnsRecord::Name(host(name))),
        _ => None,
    }
}

/// A text without the quotes around it.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(text)
}

/// The name for an address in a blocklist, or in the reverse zones.
fn reverse(address: &str, zone: Option<&str>) -> Option<String> {
    let (labels, own): (Vec<String>, &str) = match address.parse().ok()? {
        IpAddr::V4(v4) => (v4.octets().iter().rev().map(u8::to_string).collect(), "in-addr.arpa"),
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            (nibbles.map(|nibble| format!("{nibble:x}")).collect(), "ip6.arpa")
        }
    };
    Some(format!("{}.{}", labels.join("."), zone.unwrap_or(own)))
}

/// All that answers at once; only a `sleep` has to be waited for.
pub struct Scripted<'a> {
    /// The DNS.
    pub zone: &'a Zone,
    /// The tables.
    pub tables: &'a TableSet,
}

impl World for Scripted<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        match question {
            Question::Table { table, key } => {
                Some(Answer::Table(self.tables.lookup(table.0, key).map_err(|error| error.to_string().into())))
            }
            Question::Dns { rtype, name } => Some(Answer::Dns(Arc::new(self.zone.query(*rtype, name)))),
            Question::PeerName(address) => Some(Answer::PeerName(self.zone.peer(*address))),
            Question::PolicyService { .. } => {
                Some(Answer::PolicyService(Err("a dialog has no policy services".into())))
            }
            Question::Verify { .. } => Some(Answer::Verify(Verification::unavailable())),
            Question::Sleep { .. } => None,
        }
    }
}
