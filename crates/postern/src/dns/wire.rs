//! DNS messages: questions out, graded answers in (RFC 1035, RFC 7505, RFC 6891).

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType as Wire};
use policy::{DnsAnswer, DnsRecord, DnsStatus, RecordType};
use std::net::IpAddr;
use std::sync::Arc;

/// As many records as Postfix keeps (`dns_rr_list_limit`).
const RECORD_LIMIT: usize = 100;

/// What a reply comes to.
#[derive(Debug)]
pub enum Reply {
    /// An answer and for how many seconds it holds.
    Answer(DnsAnswer, u32),
    /// The name is an alias and the reply stops there: ask for the target.
    Alias(Arc<str>, u32),
    /// Ask again over TCP.
    Truncated,
    /// This server can't or won't tell: ask the next one.
    Unusable,
}

fn wire_type(rtype: RecordType) -> Wire {
    match rtype {
        RecordType::A => Wire::A,
        RecordType::Aaaa => Wire::AAAA,
        RecordType::Mx => Wire::MX,
        RecordType::Ns => Wire::NS,
        RecordType::Txt => Wire::TXT,
        RecordType::Ptr => Wire::PTR,
    }
}

/// Encode a question with recursion desired and an EDNS size of 1232; `None` when the name can't be asked for.
pub fn encode(id: u16, name: &str, rtype: RecordType) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len() + 34);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    if name.len() > 253 {
        return None;
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|n| (1..=63).contains(n))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&u16::from(wire_type(rtype)).to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    Some(out)
}

/// Postfix's text for a failed look-up (`dns_strerror` and its frame).
pub fn failure_text(name: &str, rtype: RecordType, what: &str) -> String {
    format!("Host or domain name not found. Name service error for name={name} type={}: {what}", rtype.word())
}

/// An answer without records.
pub fn failure(name: &str, rtype: RecordType, status: DnsStatus, what: &str) -> DnsAnswer {
    DnsAnswer::failed(status, failure_text(name, rtype, what))
}

/// Could nobody tell? (SERVFAIL, time-out.)
pub fn retry(name: &str, rtype: RecordType) -> DnsAnswer {
    failure(name, rtype, DnsStatus::Retry, "Host not found, try again")
}

/// A name as text: lower case, no final dot, odd bytes escaped so that no host name check accepts them.
fn text(name: &Name) -> String {
    let mut out = String::with_capacity(name.len());
    for label in name {
        if !out.is_empty() {
            out.push('.');
        }
        for &byte in label {
            match byte {
                b'.' | b'\\' => {
                    out.push('\\');
                    out.push(char::from(byte));
                }
                0x21..=0x7e => out.push(char::from(byte.to_ascii_lowercase())),
                _ => out.push_str(&format!("\\{byte:03}")),
            }
        }
    }
    out
}

/// A name that is asked for, in the same form. What isn't ASCII was made A-labels before.
fn asked_text(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0x21..=0x7e => out.push(char::from(byte.to_ascii_lowercase())),
            _ => out.push_str(&format!("\\{byte:03}")),
        }
    }
    out
}

/// Does this message answer this question with this id?
fn matches(message: &Message, id: u16, name: &str, rtype: RecordType) -> bool {
    message.metadata.id == id
        && message.metadata.message_type == MessageType::Response
        && message.queries.len() == 1
        && message.queries[0].query_type() == wire_type(rtype)
        && text(message.queries[0].name()) == asked_text(name)
}

/// Decode and grade a reply; `None` when it isn't one to this question (somebody guesses, or it is late).
pub fn decode(bytes: &[u8], id: u16, name: &str, asked: &str, rtype: RecordType) -> Option<Reply> {
    let Ok(message) = Message::from_vec(bytes) else {
        // Right id but unreadable: the server answered nonsense, the next one may not.
        let same = bytes.len() >= 12 && bytes[..2] == id.to_be_bytes();
        return same.then_some(Reply::Unusable);
    };
    if !matches(&message, id, name, rtype) {
        return None;
    }
    if message.metadata.truncation {
        return Some(Reply::Truncated);
    }
    Some(match message.metadata.response_code {
        ResponseCode::NoError => grade(&message, name, asked, rtype),
        ResponseCode::NXDomain => not_found(&message, asked, rtype, "Host not found"),
        _ => Reply::Unusable,
    })
}

fn not_found(message: &Message, asked: &str, rtype: RecordType, what: &str) -> Reply {
    let ttl = message
        .authorities
        .iter()
        .find_map(|r| match &r.data {
            RData::SOA(soa) => Some(soa.minimum.min(r.ttl)),
            _ => None,
        })
        .unwrap_or(0);
    Reply::Answer(failure(asked, rtype, DnsStatus::NotFound, what), ttl)
}

fn grade(message: &Message, name: &str, asked: &str, rtype: RecordType) -> Reply {
    let first = asked_text(name);
    let mut owner = first.clone();
    let mut ttl = u32::MAX;
    // The chain may come in any order; as many turns as records are enough.
    for _ in 0..message.answers.len() {
        let alias = message.answers.iter().find_map(|r| match &r.data {
            RData::CNAME(target) if text(&r.name) == owner => Some((text(&target.0), r.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else { break };
        owner = target;
        ttl = ttl.min(alias_ttl);
    }
    let (mut records, mut ttls) = (Vec::new(), Vec::new());
    let mut malformed = false;
    for r in message.answers.iter().filter(|r| text(&r.name) == owner).take(RECORD_LIMIT) {
        let record = match (&r.data, rtype) {
            (RData::A(a), RecordType::A) => DnsRecord::Address(IpAddr::V4(a.0)),
            (RData::AAAA(a), RecordType::Aaaa) => DnsRecord::Address(IpAddr::V6(a.0)),
            (RData::MX(mx), RecordType::Mx) => DnsRecord::Mx(mx.preference, text(&mx.exchange).into()),
            (RData::NS(host), RecordType::Ns) => DnsRecord::Name(text(&host.0).into()),
            (RData::PTR(host), RecordType::Ptr) => DnsRecord::Name(text(&host.0).into()),
            (RData::TXT(txt), RecordType::Txt) => {
                let joined: Vec<u8> = txt.txt_data.iter().flat_map(|s| s.iter().copied()).collect();
                DnsRecord::Txt(String::from_utf8_lossy(&joined).into())
            }
            _ => continue,
        };
        if let DnsRecord::Mx(_, host) | DnsRecord::Name(host) = &record
            && !host.is_empty()
            && rtype != RecordType::Ptr
            && !smtp::address::valid_hostname(host)
            && host.parse::<IpAddr>().is_err()
        {
            malformed = true;
            continue;
        }
        ttl = ttl.min(r.ttl);
        records.push(record);
        ttls.push(r.ttl);
    }
    if let Some(DnsRecord::Mx(_, _)) = records.iter().find(|r| matches!(r, DnsRecord::Mx(_, host) if host.is_empty())) {
        let what = "Domain does not accept mail (nullMX)";
        let mut answer = failure(asked, rtype, DnsStatus::NullMx, what);
        answer.reason = format!("Domain {asked} does not accept mail (nullMX)");
        return Reply::Answer(answer, ttl);
    }
    if !records.is_empty() {
        let owner = (owner != asked_text(asked)).then(|| owner.into());
        return Reply::Answer(DnsAnswer { owner, ..DnsAnswer::found(records, ttls) }, ttl);
    }
    if malformed {
        let mut answer = failure(asked, rtype, DnsStatus::Invalid, "");
        answer.reason = format!(
            "Name service error for name={asked} type={}: Malformed or unexpected name server reply",
            rtype.word()
        );
        return Reply::Answer(answer, 0);
    }
    if owner != first && !message.answers.iter().any(|r| text(&r.name) == owner) {
        // Servers that follow aliases would have said NXDOMAIN or put an SOA; those that don't leave it to us.
        if message.authorities.is_empty() {
            return Reply::Alias(owner.into(), ttl);
        }
    }
    not_found(message, asked, rtype, "Host found but no data record of requested type")
}
