//! What a check gets to see: plan, facts, a way to ask, and a place for log lines.

use crate::address::Resolved;
use crate::address::syntax::{ascii_name, fold, is_hostname};
use crate::decision::{Effect, LogEntry};
use crate::dns_filter;
use crate::facts::{Facts, PeerName, PeerStatus};
use crate::ledger::{Ask, Suspend};
use crate::match_list::Matched;
use crate::plan::Plan;
use crate::question::{Answer, DnsAnswer, DnsStatus, Question, RecordType};
use crate::refusal::Refusal;
use crate::step::{Permit, Step};
use crate::subject::Subject;
use smtp::server::Moment;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// The surroundings of one check.
pub(crate) struct Context<'a, 'b> {
    pub plan: &'a Plan,
    pub facts: &'a Facts,
    pub ask: &'a mut Ask<'b>,
    pub moment: Moment,
    /// The command word.
    pub stage: &'static str,
    /// What generic restrictions judge here.
    pub subject: Subject,
    /// `warn_if_reject` is in force.
    pub warn: bool,
    /// Running ahead of the client: leave all questions pending that can be seen.
    pub eager: bool,
    /// `defer_if_permit` waits for its turn.
    pub deferred: bool,
    /// Log lines of this check; dropped when it suspends.
    pub log: &'a mut Vec<LogEntry>,
    /// Effects of this check, dropped likewise.
    pub effects: &'a mut Vec<Effect>,
    /// HOLD has fired and was logged before.
    pub held: bool,
    /// How many sleeps were passed.
    pub sleeps: u32,
    /// How many requests to policy services and for verifications were made before.
    pub policy_requests: u32,
    /// Within the default action of a policy service that failed.
    pub in_default_action: bool,
    /// Addresses resolved earlier in this evaluation.
    pub resolved: &'a RefCell<ResolvedAddresses>,
}

/// What sender and address resolved to; the facts of one evaluation have two addresses at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResolvedAddresses(Vec<(String, String, Arc<Resolved>)>);

impl ResolvedAddresses {
    fn get(&self, sender: &str, address: &str) -> Option<Arc<Resolved>> {
        let found = self.0.iter().find(|(by, of, _)| by == sender && of == address);
        found.map(|(_, _, resolved)| resolved.clone())
    }
}

/// Postfix's words for a failed query.
const DNS_FAILURE: &str = "Host or domain name not found";

impl Context<'_, '_> {
    /// A `warning:` line; of several lines each is one.
    pub fn warning(&mut self, text: impl AsRef<str>) {
        self.log.extend(text.as_ref().lines().map(|line| LogEntry::Warning(line.to_owned())));
    }

    /// `permit: … action=NAME for CLASS=VALUE`, where that is wanted and no deferral waits.
    pub fn log_permit(&mut self, permit: &Permit) -> Result<(), Suspend> {
        let wanted = &self.plan.permit_log;
        if self.deferred
            || permit.action.is_empty()
            || wanted.is_empty()
            || wanted.matches(&permit.action, self.ask)? != Matched::Yes
        {
            return Ok(());
        }
        let name = self.subject_name(permit.subject)?;
        // The blank at the end of a line without a table is Postfix's.
        let mut text = format!("action={} for {}={name} ", permit.action, permit.subject.class());
        if let Some(table) = &permit.table {
            text.push_str("from ");
            text.push_str(table);
        }
        self.log.push(LogEntry::Event { word: "permit", text });
        Ok(())
    }

    /// The client's names.
    pub fn peer_name(&mut self) -> Result<PeerName, Suspend> {
        if let Some(name) = &self.facts.client.name {
            return Ok(name.clone());
        }
        let Some(address) = self.facts.client.address else {
            return Ok(PeerName::unknown(PeerStatus::Permanent));
        };
        match self.ask.get(Question::PeerName(address))? {
            Answer::PeerName(name) => Ok(name),
            _ => Ok(PeerName::unknown(PeerStatus::Temporary)),
        }
    }

    /// The client's address as text.
    pub fn client_address(&self) -> String {
        match self.facts.client.address {
            Some(address) => address.to_string(),
            None => "unknown".into(),
        }
    }

    /// `name[address]`.
    pub fn client_text(&mut self) -> Result<String, Suspend> {
        let name = self.peer_name()?.name;
        let mut text = format!("{name}[{}]", self.client_address());
        if self.plan.client_port_logging {
            let port = match self.facts.client.port {
                0 => "unknown".into(),
                port => port.to_string(),
            };
            let _ = write!(text, ":{port}");
        }
        Ok(text)
    }

    /// The `<name>` of a reply about this subject.
    pub fn subject_name(&mut self, subject: Subject) -> Result<String, Suspend> {
        let facts = self.facts;
        let given = |text: &Option<String>| text.clone().unwrap_or_default();
        Ok(match subject {
            Subject::Client => self.client_text()?,
            Subject::ReverseClient => self.peer_name()?.reverse.to_string(),
            Subject::Certificate => {
                let certificate = facts.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
                certificate.map(|certificate| certificate.subject_cn.clone()).unwrap_or_default()
            }
            Subject::Login => {
                let login = facts.sasl.as_ref().map(|sasl| sasl.username.as_str()).unwrap_or_default();
                login.chars().map(|c| if c.is_control() || c == ' ' { '_' } else { c }).collect()
            }
            Subject::Helo => given(&facts.helo),
            Subject::Sender => given(&facts.sender),
            Subject::Recipient => given(&facts.recipient),
            Subject::Etrn => given(&facts.etrn_domain),
            Subject::Data => "DATA".into(),
            Subject::EndOfData => "END-OF-MESSAGE".into(),
        })
    }

    /// A refusal with the usual text: `<name>: CLASS rejected: TEXT`.
    pub fn refusal(&mut self, subject: Subject, code: u16, status: (u16, u16), text: &str) -> Result<Refusal, Suspend> {
        let name = self.subject_name(subject)?;
        Ok(Refusal::new(code, status, format!("<{name}>: {} rejected: {text}", subject.class())))
    }

    /// The same as a step.
    pub fn reject(&mut self, subject: Subject, code: u16, status: (u16, u16), text: &str) -> Result<Step, Suspend> {
        Ok(Step::Reject(self.refusal(subject, code, status, text)?))
    }

    /// A temporary failure: refuse at once, or only if nothing else refuses (`…_tempfail_action`).
    pub fn tempfail(&self, at_once: bool, refusal: Refusal) -> Step {
        if at_once || self.warn { Step::Reject(refusal) } else { Step::DeferIfPermit(refusal) }
    }

    /// Resolve an address; failures become the 451 they are answered with.
    pub fn resolve(&mut self, sender: &str, address: &str) -> Result<Result<Arc<Resolved>, Step>, Suspend> {
        let known = self.resolved.borrow().get(sender, address);
        let resolved = match known {
            Some(resolved) => resolved,
            None => {
                let resolved = Arc::new(self.plan.routing.resolve(sender, address, self.ask)?);
                let entry = (sender.to_owned(), address.to_owned(), resolved.clone());
                self.resolved.borrow_mut().0.push(entry);
                resolved
            }
        };
        for warning in &resolved.warnings {
            self.log.push(LogEntry::Warning(warning.clone()));
        }
        if resolved.flags.failed {
            return Ok(Err(Step::Abort(Refusal::lookup_failure(address))));
        }
        Ok(Ok(resolved))
    }

    /// One DNS query, through `smtpd_dns_reply_filter`.
    pub fn dns(&mut self, rtype: RecordType, name: &str) -> Result<Arc<DnsAnswer>, Suspend> {
        let answer = self.whole_dns(rtype, name)?;
        dns_filter::apply(self, rtype, name, answer)
    }

    /// One DNS query. Names that cannot be in the DNS are not found without asking.
    fn whole_dns(&mut self, rtype: RecordType, name: &str) -> Result<Arc<DnsAnswer>, Suspend> {
        let Some(question) = dns_question(rtype, name) else {
            let reason = format!("{DNS_FAILURE}. Name service error for name={name}: invalid host name");
            return Ok(Arc::new(DnsAnswer::failed(DnsStatus::NotFound, reason)));
        };
        match self.ask.get(question)? {
            Answer::Dns(answer) => Ok(answer),
            _ => {
                let reason = "the query was answered with something else";
                Ok(Arc::new(DnsAnswer::failed(DnsStatus::Retry, reason)))
            }
        }
    }

    /// The same for names that need not be those of hosts, in lower case and without a final dot.
    pub fn dns_of_name(&mut self, rtype: RecordType, name: &str) -> Result<Arc<DnsAnswer>, Suspend> {
        let answer = match self.ask.get(Question::Dns { rtype, name: name.into() })? {
            Answer::Dns(answer) => answer,
            _ => Arc::new(DnsAnswer::failed(DnsStatus::Retry, "the query was answered with something else")),
        };
        dns_filter::apply(self, rtype, name, answer)
    }

    /// Running ahead, leave these questions pending, so that they are asked at once.
    pub fn ahead(&mut self, types: &[RecordType], name: &str) {
        if !self.eager {
            return;
        }
        for rtype in types {
            if let Some(question) = dns_question(*rtype, name) {
                let _ = self.ask.get(question);
            }
        }
    }

    /// A and AAAA, as `inet_protocols` has them.
    pub fn address_types(&self) -> &'static [RecordType] {
        match (self.plan.inet_v4, self.plan.inet_v6) {
            (true, false) => &[RecordType::A],
            (false, true) => &[RecordType::Aaaa],
            _ => &[RecordType::A, RecordType::Aaaa],
        }
    }

    /// The addresses of a host; the worst status and its reason when there are none. Postfix asks getaddrinfo(3)
    /// here, so no filter applies.
    pub fn addresses(&mut self, host: &str) -> Result<Result<Vec<IpAddr>, Arc<DnsAnswer>>, Suspend> {
        let types = self.address_types();
        self.ahead(types, host);
        let mut found = Vec::new();
        let mut failure: Option<Arc<DnsAnswer>> = None;
        for rtype in types {
            let answer = self.whole_dns(*rtype, host)?;
            if answer.status == DnsStatus::Ok {
                found.extend(answer.addresses());
            } else if failure.as_ref().is_none_or(|worst| answer.status.rank() > worst.status.rank()) {
                failure = Some(answer);
            }
        }
        match failure {
            Some(answer) if found.is_empty() => Ok(Err(answer)),
            _ => Ok(Ok(found)),
        }
    }
}

/// The question, or `None` for names no query can be made for.
pub(crate) fn dns_question(rtype: RecordType, name: &str) -> Option<Question> {
    let ascii = ascii_name(name)?;
    // Postfix takes no name with a final dot for a host name.
    if name.ends_with('.') || !is_hostname(&ascii) {
        return None;
    }
    Some(Question::Dns { rtype, name: fold(&ascii).as_ref().into() })
}
