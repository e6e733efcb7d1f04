//! How the DNS lists of a policy do (`postern dnsbl`): their tests of RFC 5782 asked now, and what the decision record
//! says of them.

use crate::dns::Resolver;
use crate::record::{Ask, Bound, Record, StoredAnswer};
use policy::{DnsAnswer, DnsList, DnsStatus, RecordType};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a list is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "snake_case")]
pub enum Verdict {
    /// It has what it should have, and not what it must not have.
    Works,
    /// It lacks its test entry.
    NoTestEntry,
    /// It has what it must not have: it would list everybody.
    ListsEverybody,
    /// It answers with an error code.
    Refuses(IpAddr),
    /// It can't be asked, and why.
    Silent(String),
}

/// A list and how it does.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// Its domain.
    pub list: String,
    /// It is asked for names.
    pub has_names: bool,
    /// What it is worth.
    pub verdict: Verdict,
    /// The slower of both tests, in milliseconds.
    pub milliseconds: u128,
    /// Recorded decisions that asked it.
    pub asked: u64,
    /// Those where it had an entry.
    pub listed: u64,
}

/// Asks both tests of a list.
pub async fn examine(list: &DnsList, resolver: &Arc<Resolver>) -> Health {
    let (expected, forbidden) = tokio::join!(timed(&list.expected, resolver), timed(&list.forbidden, resolver));
    Health {
        list: list.domain.clone(),
        has_names: list.has_names,
        verdict: judge(&expected.0, &forbidden.0),
        milliseconds: expected.1.max(forbidden.1).as_millis(),
        asked: 0,
        listed: 0,
    }
}

async fn timed(name: &str, resolver: &Arc<Resolver>) -> (Arc<DnsAnswer>, Duration) {
    let begin = Instant::now();
    let answer = resolver.query(&name.into(), RecordType::A).await;
    (answer, begin.elapsed())
}

fn judge(expected: &DnsAnswer, forbidden: &DnsAnswer) -> Verdict {
    let code = |answer: &DnsAnswer| answer.addresses().find(|address| is_code(*address));
    if let Some(code) = code(expected).or_else(|| code(forbidden)) {
        return Verdict::Refuses(code);
    }
    match (expected.status, forbidden.status) {
        (_, DnsStatus::Ok) => Verdict::ListsEverybody,
        (DnsStatus::Ok, _) => Verdict::Works,
        (DnsStatus::NotFound | DnsStatus::NullMx, _) => Verdict::NoTestEntry,
        _ => Verdict::Silent(expected.reason.clone()),
    }
}

fn is_code(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[..3] == [127, 255, 255])
}

impl Health {
    /// Counts what a recorded decision asked the list.
    pub fn count(&mut self, record: &Record<Bound>) {
        for ask in &record.asked {
            let Ask::Dns(A, name, answer) = ask else { continue };
            let entry = name.strip_suffix(&*self.list).and_then(|rest| rest.strip_suffix('.'));
            if entry.is_some_and(|entry| !matches!(entry, "1.0.0.127" | "invalid")) {
                self.asked += 1;
                let has_entry = |found: &[IpAddr]| !found.iter().all(|address| is_code(*address));
                self.listed += u64::from(matches!(answer, StoredAnswer::Addresses(found) if has_entry(found)));
            }
        }
    }

    /// Nothing is wrong with it.
    pub fn is_well(&self) -> bool {
        self.verdict == Verdict::Works
    }

    /// A line for the postmaster.
    pub fn line(&self) -> String {
        let kind = if self.has_names { "names" } else { "addresses" };
        let verdict = match &self.verdict {
            Verdict::Works => "works".into(),
            Verdict::NoTestEntry => "has no test entry: it may be dead".into(),
            Verdict::ListsEverybody => "would list everybody: not believed".into(),
            Verdict::Refuses(code) => format!("refuses queries from here ({code}): not believed"),
            Verdict::Silent(why) => format!("can't be asked: {why}"),
        };
        let share = match self.asked {
            0 => "no decision on record asked it".into(),
            asked => {
                let percent = self.listed as f64 * 100.0 / asked as f64;
                format!("listed {} of {asked} on record ({percent:.1} %)", self.listed)
            }
        };
        format!("{} ({kind}): {verdict}; {} ms; {share}", self.list, self.milliseconds)
    }
}

/// The record type A, as the record has it.
const A: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use policy::DnsRecord;

    #[test]
    fn lists_are_judged_by_both_tests() {
        let found = |text: &str| DnsAnswer::found(vec![DnsRecord::Address(text.parse().unwrap())], vec![60]);
        let missing = || DnsAnswer::failed(DnsStatus::NotFound, "Host not found");
        let broken = || DnsAnswer::failed(DnsStatus::Retry, "try again");
        let code = "127.255.255.254";
        for (expected, forbidden, verdict) in [
            (found("127.0.0.2"), missing(), Verdict::Works),
            (found("127.0.0.2"), broken(), Verdict::Works),
            (missing(), missing(), Verdict::NoTestEntry),
            (found("127.0.0.2"), found("127.0.0.2"), Verdict::ListsEverybody),
            (missing(), found("192.0.2.80"), Verdict::ListsEverybody),
            (found(code), found(code), Verdict::Refuses(code.parse().unwrap())),
            (broken(), broken(), Verdict::Silent("try again".into())),
        ] {
            assert_eq!(judge(&expected, &forbidden), verdict);
        }
    }

    #[test]
    fn a_line_tells_all() {
        let mut health = Health {
            list: "bl.example".into(),
            has_names: false,
            verdict: Verdict::Works,
            milliseconds: 12,
            asked: 0,
            listed: 0,
        };
        assert_eq!(health.line(), "bl.example (addresses): works; 12 ms; no decision on record asked it");
        (health.asked, health.listed, health.verdict) = (1200, 40, Verdict::Silent("Host not found, try again".into()));
        let expected = "bl.example (addresses): can't be asked: Host not found, try again; 12 ms; listed 40 of 1200 on \
                        record (3.3 %)";
        assert_eq!(health.line(), expected);
    }
}
