//! What a decision may ask of the world, and what comes back.

use crate::facts::PeerName;
use crate::policy_service::PolicyService;
use crate::verification::{Patience, Verification};
use std::net::IpAddr;
use std::sync::Arc;

/// A lookup table, as numbered by the compiled plan (`Plan::tables`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub u32);

/// DNS record types that restrictions ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Mail exchanger.
    Mx,
    /// Name server.
    Ns,
    /// Text.
    Txt,
    /// Reverse name.
    Ptr,
}

impl RecordType {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Txt => "TXT",
            Self::Ptr => "PTR",
        }
    }
}

/// A question, in canonical form: equal questions have equal answers within a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// One key in one table.
    Table {
        /// Which table.
        table: TableId,
        /// The key as it is to be looked up.
        key: String,
    },
    /// Records of one type of one name (lower case, A-labels, no final dot).
    Dns {
        /// Which type.
        rtype: RecordType,
        /// Which name.
        name: Arc<str>,
    },
    /// The client's verified and reverse names.
    PeerName(IpAddr),
    /// Wait so many seconds (`sleep`); the ordinal keeps two sleeps of one list apart.
    Sleep {
        /// How long.
        seconds: u32,
        /// Which one.
        ordinal: u32,
    },
    /// A policy service's opinion.
    PolicyService {
        /// Whom to ask.
        service: Arc<PolicyService>,
        /// The attributes, one `name=value` a line, and an empty line.
        request: Arc<str>,
        /// Which request of the session: services count, so that equal requests are asked again.
        ordinal: u32,
    },
    /// Does the server that is responsible for this address take mail for it?
    Verify {
        /// The address, as the client said it, internal form.
        address: Arc<str>,
        /// How long the client may be let wait.
        patience: Patience,
        /// Which request of the session: what is in progress now may be known the next time.
        ordinal: u32,
    },
}

/// One DNS record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsRecord {
    /// A or AAAA.
    Address(IpAddr),
    /// MX: preference and host (no final dot; empty for a null MX).
    Mx(u16, Arc<str>),
    /// NS or PTR.
    Name(Arc<str>),
    /// TXT, strings joined.
    Txt(Arc<str>),
}

/// How a DNS query ended, as Postfix's dns library grades it (restrictions.md §1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsStatus {
    /// Records follow.
    Ok,
    /// All records were removed by a reply filter.
    Policy,
    /// Temporary: SERVFAIL, time-out, garbage.
    Retry,
    /// A record with an invalid host name.
    Invalid,
    /// Refused or not recoverable.
    Fail,
    /// A single MX record with an empty name.
    NullMx,
    /// The name exists without such records, or does not exist.
    NotFound,
}

impl DnsStatus {
    /// Of several types looked up for one name, the highest counts.
    pub(crate) fn rank(self) -> u8 {
        match self {
            Self::Ok => 6,
            Self::Policy => 5,
            Self::Retry => 4,
            Self::Invalid => 3,
            Self::Fail => 2,
            Self::NullMx => 1,
            Self::NotFound => 0,
        }
    }
}

/// The answer to a DNS question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsAnswer {
    /// How it ended.
    pub status: DnsStatus,
    /// The records, in the server's order, at most 100; CNAMEs are already followed.
    pub records: Vec<DnsRecord>,
    /// Why not, in the words of Postfix's warnings (`Host or domain name not found. …`); empty when `Ok`.
    pub reason: String,
    /// Whose records they are, where that isn't the name asked for (the end of a chain of CNAMEs).
    pub owner: Option<Arc<str>>,
    /// For how many seconds each record holds, as it came.
    pub ttls: Vec<u32>,
}

impl DnsAnswer {
    /// An answer without records.
    pub fn failed(status: DnsStatus, reason: impl Into<String>) -> Self {
        Self { status, records: Vec::new(), reason: reason.into(), owner: None, ttls: Vec::new() }
    }

    /// Records, with a TTL for each.
    pub fn found(records: Vec<DnsRecord>, ttls: Vec<u32>) -> Self {
        Self { status: DnsStatus::Ok, records, reason: String::new(), owner: None, ttls }
    }

    /// The last part of the reason: what went wrong, without the name it went wrong for.
    pub(crate) fn short_reason(&self) -> &str {
        if self.status == DnsStatus::Policy {
            return "DNS reply filter policy";
        }
        if self.reason.ends_with(crate::dns_filter::BAD_FILTER) {
            // No error of the DNS: Postfix has no name for it.
            return "Unknown error 0";
        }
        match self.reason.rsplit_once(" type=").and_then(|(_, rest)| rest.split_once(": ")) {
            Some((_, what)) => what,
            None => &self.reason,
        }
    }

    /// Why a host has no address, in getaddrinfo(3)'s words.
    pub(crate) fn why_no_address(&self) -> &'static str {
        match self.status {
            DnsStatus::NotFound if self.reason.contains("no data record") => "No address associated with hostname",
            DnsStatus::NotFound | DnsStatus::NullMx => "Name or service not known",
            _ => "Temporary failure in name resolution",
        }
    }

    /// The addresses among the records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.records.iter().filter_map(|record| match record {
            DnsRecord::Address(address) => Some(*address),
            _ => None,
        })
    }
}

/// What came back. `Err` in `Table` is a temporary or configuration failure with a text for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The value, nothing, or a failed look-up.
    Table(Result<Option<Arc<str>>, Arc<str>>),
    /// Records or their absence.
    Dns(Arc<DnsAnswer>),
    /// Names of the client.
    PeerName(PeerName),
    /// The wait is over.
    Done,
    /// The value of a policy service's `action` attribute; or why there is none, a line for each warning (but
    /// [`PolicyService::PASSED_OVER`] is none).
    PolicyService(Result<Arc<str>, Arc<str>>),
    /// What is known of an address.
    Verify(Verification),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_a_short_form() {
        let answer = |reason: &str| DnsAnswer::failed(DnsStatus::Retry, reason);
        let long =
            "Host or domain name not found. Name service error for name=a.example type=A: Host not found, try again";
        assert_eq!(answer(long).short_reason(), "Host not found, try again");
        assert_eq!(answer("time-out").short_reason(), "time-out");
    }
}
