//! The check itself (RFC 7208, sections 4 to 6).

use super::macros::{MacroText, Place, Values, dotted};
use super::record::{Directive, Mechanism, Prefixes, Record, covers, is_policy};
use super::{SpfQuery, SpfResult, SpfVerdict, Stop};
use crate::ledger::Suspend;
use crate::question::{DnsAnswer, DnsRecord, DnsStatus, RecordType};
use std::sync::Arc;

/// Terms that look something up (section 4.6.4).
const TERMS: usize = 10;
/// Of them, those that find nothing.
const VOIDS: usize = 2;
/// Mail exchangers of one `mx`, names of one `ptr`.
const HOSTS: usize = 10;
/// A longer explanation is cut: it goes into a reply.
const EXPLANATION_LIMIT: usize = 300;

/// Who answers questions about names, or suspends.
pub type AskDns<'a> = dyn FnMut(RecordType, &str) -> Result<Arc<DnsAnswer>, Suspend> + 'a;

/// May this client send for this domain? `dns` answers questions about names (lower case, no final dot, 1 to 63 octets a
/// label), or suspends the check.
///
/// # Errors
/// When an answer is missing.
pub fn check_host(query: &SpfQuery<'_>, dns: &mut AskDns<'_>) -> Result<SpfVerdict, Suspend> {
    let domain = query.sender.rsplit_once('@').map_or(query.sender, |(_, domain)| domain);
    let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
    let verdict = |result, reason: &str| SpfVerdict {
        result,
        domain: domain.clone(),
        reason: reason.to_owned(),
        explanation: None,
    };
    if !domain.contains('.') || domain.starts_with('[') || !is_name(&domain) {
        return Ok(verdict(SpfResult::None, "that is no domain"));
    }
    let client = query.client.to_canonical();
    let query = SpfQuery { client, ..*query };
    let mut check = Check { query, dns, terms: 0, voids: 0, name: None };
    let found = match check.policy(&domain) {
        Ok(Some(record)) => check.evaluate(record, domain.clone()),
        Ok(None) => return Ok(verdict(SpfResult::None, "")),
        Err(stop) => Err(stop),
    };
    match found {
        Ok(found) => {
            let explanation = match (found.result, &found.explanation) {
                (SpfResult::Fail, Some((text, owner))) => check.explain(text, owner)?,
                _ => None,
            };
            Ok(SpfVerdict { explanation, ..verdict(found.result, &found.reason) })
        }
        Err(Stop::Suspend(suspend)) => Err(suspend),
        Err(Stop::Temporary(why)) => Ok(verdict(SpfResult::TempError, &why)),
        Err(Stop::Permanent(why)) => Ok(verdict(SpfResult::PermError, &why)),
    }
}

/// What a policy comes to.
struct Found {
    result: SpfResult,
    reason: String,
    /// Where its owner explains failures, and who that is.
    explanation: Option<(MacroText, String)>,
}

struct Check<'a, 'd> {
    query: SpfQuery<'a>,
    dns: &'d mut AskDns<'d>,
    terms: usize,
    voids: usize,
    /// The client's validated name, once asked for, and for which domain.
    name: Option<(String, String)>,
}

impl Check<'_, '_> {
    /// The policy of a domain.
    fn policy(&mut self, domain: &str) -> Result<Option<Record>, Stop> {
        let answer = self.ask(RecordType::Txt, domain)?;
        let texts = answer.records.iter().filter_map(|record| match record {
            DnsRecord::Txt(text) => Some(text),
            _ => None,
        });
        let mut policies = texts.filter(|text| is_policy(text));
        let Some(text) = policies.next() else { return Ok(None) };
        if policies.next().is_some() {
            return Err(Stop::Permanent(format!("{domain} has more than one policy")));
        }
        Record::parse(text).map(Some).map_err(|why| Stop::Permanent(format!("{domain}: {why}")))
    }

    fn evaluate(&mut self, mut record: Record, mut domain: String) -> Result<Found, Stop> {
        loop {
            for directive in &record.directives {
                if self.matches(directive, &domain)? {
                    let reason = format!("{domain}: {}", directive.text);
                    let explanation = record.explanation.map(|text| (text, domain));
                    return Ok(Found { result: directive.result, reason, explanation });
                }
            }
            let Some(redirect) = record.redirect else {
                return Ok(Found { result: SpfResult::Neutral, reason: String::new(), explanation: None });
            };
            self.count_term()?;
            let target = self.name_of(&redirect, &domain)?;
            match self.policy(&target)? {
                Some(next) => (record, domain) = (next, target),
                None => return Err(Stop::Permanent(format!("{domain} redirects to {target}, which has no policy"))),
            }
        }
    }

    fn matches(&mut self, directive: &Directive, domain: &str) -> Result<bool, Stop> {
        match &directive.mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Network(network, prefix) => Ok(covers(*network, *prefix, self.query.client)),
            Mechanism::Include(text) => self.include(text, domain),
            Mechanism::A(text, prefixes) => {
                self.count_term()?;
                let target = self.target(text.as_ref(), domain)?;
                let answer = self.ask(self.address_type(), &target)?;
                self.count_void(&answer)?;
                Ok(self.has_client(&answer, *prefixes))
            }
            Mechanism::Mx(text, prefixes) => self.mail_exchangers(text.as_ref(), *prefixes, domain),
            Mechanism::Ptr(text) => {
                self.count_term()?;
                let target = self.target(text.as_ref(), domain)?;
                let names = self.validated_names(true)?;
                Ok(names.iter().any(|name| is_within(name, &target)))
            }
            Mechanism::Exists(text) => {
                self.count_term()?;
                let target = self.name_of(text, domain)?;
                let answer = self.ask(RecordType::A, &target)?;
                self.count_void(&answer)?;
                Ok(!answer.records.is_empty())
            }
        }
    }

    fn include(&mut self, text: &MacroText, domain: &str) -> Result<bool, Stop> {
        self.count_term()?;
        let target = self.name_of(text, domain)?;
        let Some(record) = self.policy(&target)? else {
            return Err(Stop::Permanent(format!("{domain} includes {target}, which has no policy")));
        };
        // each level has cost a term, so there are ten at most
        Ok(self.evaluate(record, target)?.result == SpfResult::Pass)
    }

    fn mail_exchangers(&mut self, text: Option<&MacroText>, prefixes: Prefixes, domain: &str) -> Result<bool, Stop> {
        self.count_term()?;
        let target = self.target(text, domain)?;
        let answer = self.ask(RecordType::Mx, &target)?;
        self.count_void(&answer)?;
        let hosts = answer.records.iter().filter_map(|record| match record {
            DnsRecord::Mx(_, host) if !host.is_empty() => Some(host),
            _ => None,
        });
        let hosts: Vec<&Arc<str>> = hosts.collect();
        if hosts.len() > HOSTS {
            return Err(Stop::Permanent(format!("{target} has more than {HOSTS} mail exchangers")));
        }
        // all of them are asked about before one is waited for
        let rtype = self.address_type();
        let answers: Vec<_> = hosts.iter().map(|host| self.ask(rtype, host)).collect();
        for answer in answers {
            if self.has_client(&*answer?, prefixes) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The client's names that have its address. The DNS of the client is not the domain's fault: its errors count for
    /// nothing (section 5.5).
    fn validated_names(&mut self, counts: bool) -> Result<Vec<Arc<str>>, Stop> {
        let zone = if self.query.client.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
        let mut labels: Vec<String> = dotted(self.query.client).split('.').map(str::to_ascii_lowercase).collect();
        labels.reverse();
        let answer = (self.dns)(RecordType::Ptr, &format!("{}.{zone}", labels.join(".")))?;
        if counts {
            self.count_void(&answer)?;
        }
        let names = answer.records.iter().filter_map(|record| match record {
            DnsRecord::Name(name) => Some(name),
            _ => None,
        });
        let names: Vec<&Arc<str>> = names.take(HOSTS).collect();
        let rtype = self.address_type();
        let answers: Vec<_> = names.iter().map(|name| self.query_name(rtype, name)).collect();
        let mut validated = Vec::new();
        for (name, answer) in names.into_iter().zip(answers) {
            if answer?.addresses().any(|address| address.to_canonical() == self.query.client) {
                validated.push(name.clone());
            }
        }
        Ok(validated)
    }

    /// The name for `%{p}`: the domain itself, one below it, or any.
    fn client_name(&mut self, domain: &str) -> Result<String, Stop> {
        if let Some((of, name)) = &self.name
            && of == domain
        {
            return Ok(name.clone());
        }
        let names = self.validated_names(false)?;
        let own = names.iter().find(|name| name.trim_end_matches('.').eq_ignore_ascii_case(domain));
        let below = || names.iter().find(|name| is_within(name, domain));
        let name = own.or_else(below).or(names.first()).map_or("unknown", |name| name.trim_end_matches('.')).to_owned();
        self.name = Some((domain.to_owned(), name.clone()));
        Ok(name)
    }

    fn expand(&mut self, text: &MacroText, domain: &str) -> Result<String, Stop> {
        let name = if text.asks_for_name() { self.client_name(domain)? } else { String::new() };
        let SpfQuery { client, sender, helo, receiver, now } = self.query;
        Ok(text.expand(&Values { client, sender, domain, helo, receiver, now, name: &name }))
    }

    fn target(&mut self, text: Option<&MacroText>, domain: &str) -> Result<String, Stop> {
        match text {
            Some(text) => self.name_of(text, domain),
            None => Ok(domain.to_owned()),
        }
    }

    /// The name that a text stands for. What is too long loses labels at its left end (section 7.3).
    fn name_of(&mut self, text: &MacroText, domain: &str) -> Result<String, Stop> {
        let mut name = self.expand(text, domain)?.to_ascii_lowercase();
        if name.ends_with('.') {
            name.pop();
        }
        let mut rest = name.as_str();
        while rest.len() > 253 {
            match rest.split_once('.') {
                Some((_, shorter)) => rest = shorter,
                None => break,
            }
        }
        Ok(rest.to_owned())
    }

    /// What the owner of a policy has to say; nothing where that can't be had.
    fn explain(&mut self, text: &MacroText, domain: &str) -> Result<Option<String>, Suspend> {
        match self.explanation(text, domain) {
            Ok(explanation) => Ok(explanation),
            Err(Stop::Suspend(suspend)) => Err(suspend),
            Err(_) => Ok(None),
        }
    }

    fn explanation(&mut self, text: &MacroText, domain: &str) -> Result<Option<String>, Stop> {
        let target = self.name_of(text, domain)?;
        let answer = self.query_name(RecordType::Txt, &target)?;
        let [DnsRecord::Txt(text)] = &answer.records[..] else { return Ok(None) };
        let Some(text) = MacroText::parse(text, Place::Explanation) else { return Ok(None) };
        // senders and HELO names may have anything in them
        let text = self.expand(&text, domain)?;
        let printable = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
        let text: String = printable.take(EXPLANATION_LIMIT).collect();
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }

    fn address_type(&self) -> RecordType {
        if self.query.client.is_ipv4() { RecordType::A } else { RecordType::Aaaa }
    }

    fn has_client(&self, answer: &DnsAnswer, prefixes: Prefixes) -> bool {
        answer.addresses().any(|address| prefixes.cover(address, self.query.client))
    }

    /// Ask about a name that a text came to. One that can't be in the DNS is not there.
    fn query_name(&mut self, rtype: RecordType, name: &str) -> Result<Arc<DnsAnswer>, Stop> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if !is_name(name) {
            return Ok(Arc::new(DnsAnswer::failed(DnsStatus::NotFound, "that is no name")));
        }
        Ok((self.dns)(rtype, &name.to_ascii_lowercase())?)
    }

    /// The same, where an answer is needed.
    fn ask(&mut self, rtype: RecordType, name: &str) -> Result<Arc<DnsAnswer>, Stop> {
        let answer = self.query_name(rtype, name)?;
        match answer.status {
            DnsStatus::Retry | DnsStatus::Fail => {
                Err(Stop::Temporary(format!("the DNS has no answer now for {} {name}", rtype.word())))
            }
            _ => Ok(answer),
        }
    }

    fn count_term(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms > TERMS {
            return Err(Stop::Permanent(format!("more than {TERMS} terms look something up")));
        }
        Ok(())
    }

    fn count_void(&mut self, answer: &DnsAnswer) -> Result<(), Stop> {
        if answer.status == DnsStatus::NotFound {
            self.voids += 1;
            if self.voids > VOIDS {
                return Err(Stop::Permanent(format!("more than {VOIDS} terms look up what isn't there")));
            }
        }
        Ok(())
    }
}

/// Can it be asked for?
fn is_name(name: &str) -> bool {
    name.len() <= 253 && name.is_ascii() && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Is a name a domain, or below it?
fn is_within(name: &str, domain: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let Some(at) = name.len().checked_sub(domain.len()) else { return false };
    let Some((above, end)) = name.split_at_checked(at) else { return false };
    end.eq_ignore_ascii_case(domain) && (above.is_empty() || above.ends_with('.'))
}
