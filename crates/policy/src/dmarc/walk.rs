//! The walk up the DNS (RFC 9989, section 4.10): which record is about a domain, and which domain is in charge of it.
//! No list of public suffixes is needed.

use super::record::Record;
use crate::ledger::Suspend;
use crate::question::{DnsRecord, DnsStatus, RecordType};
use crate::spf::AskDns;

/// A domain has so many labels at most that are looked at, from the second step on.
const LABELS: usize = 7;

/// No answer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Temporary;

/// The records of a domain and of those above it, up to the first that says what it is.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    found: Vec<(&'a str, Option<Record>)>,
}

impl<'a> Walk<'a> {
    /// All names are asked for at once.
    pub fn new(domain: &'a str, dns: &mut AskDns<'_>) -> Result<Result<Self, Temporary>, Suspend> {
        let names = names(domain);
        let answers: Vec<_> = names.iter().map(|name| dns(RecordType::Txt, &format!("_dmarc.{name}"))).collect();
        let mut found = Vec::with_capacity(names.len());
        for (name, answer) in names.into_iter().zip(answers) {
            let answer = answer?;
            if matches!(answer.status, DnsStatus::Retry | DnsStatus::Fail) {
                return Ok(Err(Temporary));
            }
            let texts = answer.records.iter().filter_map(|record| match record {
                DnsRecord::Txt(text) => Some(text),
                _ => None,
            });
            let mut records = texts.filter_map(|text| Record::parse(text));
            let record = records.next().filter(|_| records.next().is_none());
            let is_last = record.as_ref().is_some_and(|record| record.suffix.is_some());
            found.push((name, record));
            if is_last {
                break;
            }
        }
        Ok(Ok(Self { found }))
    }

    /// The domain in charge (section 4.10.2).
    pub fn organization(&self) -> &'a str {
        let (start, _) = self.found[0];
        for (at, (name, record)) in self.found.iter().enumerate() {
            match record.as_ref().and_then(|record| record.suffix) {
                Some(false) => return name,
                Some(true) if at > 0 => return below(start, name),
                _ => {}
            }
        }
        self.found.iter().rev().find(|(_, record)| record.is_some()).map_or(start, |(name, _)| name)
    }

    /// The record that counts, and whether it is the domain's own.
    pub fn record(&self) -> Option<(&Record, bool)> {
        let (_, own) = &self.found[0];
        if let Some(own) = own {
            return Some((own, true));
        }
        let organization = self.organization();
        let of = |wanted: &str| self.found.iter().find(|(name, _)| *name == wanted).and_then(|(_, it)| it.as_ref());
        let suffix = || self.found.last().and_then(|(_, record)| record.as_ref());
        of(organization).or_else(suffix).map(|record| (record, false))
    }
}

/// A domain and those above it.
fn names(domain: &str) -> Vec<&str> {
    let starts: Vec<usize> = std::iter::once(0).chain(domain.match_indices('.').map(|(dot, _)| dot + 1)).collect();
    let next = starts.len().saturating_sub(LABELS).max(1);
    let above = starts.get(next..).unwrap_or_default();
    std::iter::once(0).chain(above.iter().copied()).map(|start| &domain[start..]).collect()
}

/// The domain one label below another, on the way to the first.
fn below<'a>(domain: &'a str, above: &str) -> &'a str {
    let before = &domain[..domain.len().saturating_sub(above.len() + 1)];
    before.rfind('.').map_or(domain, |dot| &domain[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_up_has_eight_steps_at_most() {
        assert_eq!(names("example.com"), ["example.com", "com"]);
        assert_eq!(names("com"), ["com"]);
        assert_eq!(
            names("a.b.c.d.e.f.g"),
            ["a.b.c.d.e.f.g", "b.c.d.e.f.g", "c.d.e.f.g", "d.e.f.g", "e.f.g", "f.g", "g"]
        );
        let long = names("a.b.c.d.e.f.g.h.i.j.mail.example.com");
        assert_eq!(long.len(), 8);
        assert_eq!(long[..2], ["a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com"]);
        assert_eq!(long[7], "com");
        assert_eq!(below("a.b.example.com", "com"), "example.com");
        assert_eq!(below("example.com", "com"), "example.com");
    }
}
