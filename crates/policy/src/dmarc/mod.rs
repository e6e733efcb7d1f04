//! DMARC: does the domain that the reader sees in From stand behind a message (RFC 9989; `pct=` as in RFC 7489)?
//!
//! SPF or a DKIM signature has to pass for a domain that belongs together with the author's.

mod record;
mod walk;

pub use record::DmarcPolicy;

use crate::address::syntax::ascii_name;
use crate::authentication::{DkimResult, MessageFacts};
use crate::ledger::Suspend;
use crate::question::{DnsStatus, RecordType};
use crate::spf::{AskDns, SpfResult, SpfVerdict};
use record::Record;
use walk::Walk;

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DmarcResult {
    /// Nobody has said what is to be expected.
    None,
    /// The author's domain stands behind it.
    Pass,
    /// It doesn't.
    Fail,
    /// The DNS doesn't answer now.
    TempError,
    /// Nobody can say who the author is.
    PermError,
}

impl DmarcResult {
    /// The word for it (RFC 8601).
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// A result with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmarcVerdict {
    /// In a word.
    pub result: DmarcResult,
    /// The author's domain; empty where there is none.
    pub domain: String,
    /// What the domain says is to be done with mail that fails.
    pub published: DmarcPolicy,
    /// What is to be done with this one, by `pct=` and `t=`, too. None but for a failure.
    pub policy: DmarcPolicy,
    /// Why; may be empty.
    pub reason: String,
}

/// Check a message. `spf` is what SPF says of its sender; `sample`, from 0 to 99, is compared with `pct=`.
///
/// # Errors
/// When an answer is missing.
pub fn check(
    message: &MessageFacts,
    spf: Option<&SpfVerdict>,
    sample: u8,
    dns: &mut AskDns<'_>,
) -> Result<DmarcVerdict, Suspend> {
    let verdict = |result, domain: &str, reason: &str| DmarcVerdict {
        result,
        domain: domain.to_owned(),
        published: DmarcPolicy::None,
        policy: DmarcPolicy::None,
        reason: reason.to_owned(),
    };
    if let Some(problem) = &message.author_problem {
        return Ok(verdict(DmarcResult::PermError, "", problem));
    }
    let mut worst: Option<DmarcVerdict> = None;
    for author in &message.authors {
        let found = match ascii_name(author).filter(|name| is_domain(name)) {
            Some(domain) => Check { message, spf, sample, domain: &domain, dns: &mut *dns }.run()?,
            None => verdict(DmarcResult::PermError, author, "the author's domain is none"),
        };
        if worst.as_ref().is_none_or(|worst| rank(&found) > rank(worst)) {
            worst = Some(found);
        }
    }
    Ok(worst.unwrap_or_else(|| verdict(DmarcResult::PermError, "", "there is no author")))
}

/// Of several authors the worst one counts: otherwise an author of one's own would do.
fn rank(verdict: &DmarcVerdict) -> u8 {
    match (verdict.result, verdict.policy) {
        (DmarcResult::Pass, _) => 0,
        (DmarcResult::None, _) => 1,
        (DmarcResult::Fail, DmarcPolicy::None) => 2,
        (DmarcResult::Fail, DmarcPolicy::Quarantine) => 3,
        (DmarcResult::TempError, _) => 4,
        (DmarcResult::PermError, _) => 5,
        (DmarcResult::Fail, DmarcPolicy::Reject) => 6,
    }
}

fn is_domain(name: &str) -> bool {
    let good = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic());
    name.len() <= 240 && !name.starts_with('[') && name.split('.').all(good)
}

/// What one authenticated domain is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    Pass,
    Nothing,
    /// It could be told if the DNS answered.
    Unknown,
}

/// The check for one author.
struct Check<'a, 'd, 'q> {
    message: &'a MessageFacts,
    spf: Option<&'a SpfVerdict>,
    sample: u8,
    domain: &'a str,
    dns: &'d mut AskDns<'q>,
}

impl Check<'_, '_, '_> {
    fn run(mut self) -> Result<DmarcVerdict, Suspend> {
        let verdict = |result, published, policy, reason: &str| DmarcVerdict {
            result,
            domain: self.domain.to_owned(),
            published,
            policy,
            reason: reason.to_owned(),
        };
        let none = DmarcPolicy::None;
        let Ok(walk) = Walk::new(self.domain, self.dns)? else {
            let why = "the DNS has no answer now for the policy";
            return Ok(verdict(DmarcResult::TempError, none, none, why));
        };
        let Some((record, own)) = walk.record() else { return Ok(verdict(DmarcResult::None, none, none, "")) };
        let mut unknown = false;
        for worth in self.identifiers(record, walk.organization())? {
            match worth {
                Worth::Pass => return Ok(verdict(DmarcResult::Pass, self.published(record, own)?, none, "")),
                Worth::Unknown => unknown = true,
                Worth::Nothing => {}
            }
        }
        let published = self.published(record, own)?;
        if unknown {
            let why = "the DNS has no answer now for SPF, DKIM or a policy";
            return Ok(verdict(DmarcResult::TempError, published, none, why));
        }
        let mut policy = published;
        if record.testing || self.sample >= record.percent {
            policy = policy.milder();
        }
        let why = "neither SPF nor DKIM passes for the author's domain";
        Ok(verdict(DmarcResult::Fail, published, policy, why))
    }

    /// The policy for this domain.
    fn published(&mut self, record: &Record, own: bool) -> Result<DmarcPolicy, Suspend> {
        if own {
            return Ok(record.policy);
        }
        let below = record.below.unwrap_or(record.policy);
        let Some(missing) = record.missing.filter(|missing| *missing != below) else { return Ok(below) };
        let answer = (self.dns)(RecordType::A, self.domain)?;
        let exists = answer.status != DnsStatus::NotFound || answer.reason.contains("no data record");
        Ok(if exists { below } else { missing })
    }

    /// SPF's domain and those that have signed.
    fn identifiers(&mut self, record: &Record, organization: &str) -> Result<Vec<Worth>, Suspend> {
        let mut found = Vec::new();
        if let Some(spf) = self.spf
            && matches!(spf.result, SpfResult::Pass | SpfResult::TempError)
        {
            let passes = spf.result == SpfResult::Pass;
            found.push(self.worth(&spf.domain, passes, record.strict_spf, organization)?);
        }
        for signature in &self.message.dkim {
            if matches!(signature.result, DkimResult::Pass | DkimResult::TempError) {
                let passes = signature.result == DkimResult::Pass;
                found.push(self.worth(&signature.domain, passes, record.strict_dkim, organization)?);
            }
        }
        Ok(found)
    }

    fn worth(&mut self, domain: &str, passes: bool, strict: bool, organization: &str) -> Result<Worth, Suspend> {
        let if_aligned = if passes { Worth::Pass } else { Worth::Unknown };
        if domain.eq_ignore_ascii_case(self.domain) {
            return Ok(if_aligned);
        }
        // who belongs together has the name of the domain in charge at the end
        let is_within = domain.len() >= organization.len()
            && domain.is_ascii()
            && domain[domain.len() - organization.len()..].eq_ignore_ascii_case(organization);
        if strict || !is_within || !is_domain(domain) {
            return Ok(Worth::Nothing);
        }
        let domain = domain.to_ascii_lowercase();
        Ok(match Walk::new(&domain, self.dns)? {
            Ok(walk) if walk.organization() == organization => if_aligned,
            Ok(_) => Worth::Nothing,
            Err(_) => Worth::Unknown,
        })
    }
}

#[cfg(test)]
mod tests;
