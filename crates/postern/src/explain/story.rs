//! What is told: every exchange with its decisions, every list, every restriction.

use super::entry::Entries;
use super::{Inquiry, advice};
use crate::daemon::site::{Service, Site};
use crate::rehearsal::{Checked, Cleaned, Decided, Rehearsal};
use policy::{
    Answer, DnsRecord, DnsStatus, Outcome, PeerName, PeerStatus, ProgramKind, ProgramList, Question, TraceStep, World,
};
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;

/// A session, told.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    /// The service: its name in master.cf.
    pub service: String,
    /// `name[address]`.
    pub client: String,
    /// What was said, in order.
    pub exchanges: Vec<Exchange>,
    /// The mail log's lines.
    pub log: Vec<String>,
    /// The reply that decided: the first refusal, else the last reply.
    pub verdict: String,
    /// Was at least one recipient accepted, and nothing refused after that?
    pub accepted: bool,
    /// The restriction that refused, with its place.
    pub decided_by: Option<String>,
    /// What would change this.
    pub advice: Vec<String>,
    /// What had to be assumed.
    pub unknown: Vec<Unknown>,
}

/// A command and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Exchange {
    /// The command, or `connect`, `end of data`.
    pub command: String,
    /// The reply's lines.
    pub reply: Vec<String>,
    /// Decisions of the policy; none when the session answered by itself.
    pub decisions: Vec<DecisionStory>,
    /// Rules of header_checks and body_checks that the message has met.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStory>,
    /// What is done with the message, where that isn't the usual.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fate: Vec<String>,
}

/// A rule that a header or a line of the body has met.
#[derive(Clone, Debug, Serialize)]
pub struct CheckStory {
    /// The parameter and its table.
    pub check: String,
    /// The header, or the line.
    pub text: String,
    /// The rule's action, or why there is none.
    pub action: String,
    /// Where the rule is written.
    pub place: Option<String>,
}

impl Exchange {
    /// Is the reply a good one?
    pub fn is_accepted(&self) -> bool {
        self.reply.iter().all(|line| line.starts_with(['2', '3']))
    }
}

/// One decision.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionStory {
    /// Its steps in order.
    pub steps: Vec<StepStory>,
    /// Answers whose steps aren't known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Asked>,
}

/// One restriction.
#[derive(Clone, Debug, Serialize)]
pub struct StepStory {
    /// The list it stands in.
    pub list: String,
    /// As written.
    pub restriction: String,
    /// `file:line:column`.
    pub place: Option<String>,
    /// How deep it is nested in classes and table values.
    pub depth: usize,
    /// `no opinion`, `permit`, `reject`, … or `not reached`.
    pub outcome: &'static str,
    /// The reply, or the list that is entered.
    pub detail: Option<String>,
    /// Why it came to that, where that can be said in a few words.
    pub why: Option<String>,
    /// What was asked.
    pub asked: Vec<Asked>,
}

/// A question and its answer, as people read them.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// `cidr:/etc/postfix/clients "192.0.2.1"`, `DNS A name`.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Something was found.
    pub found: bool,
    /// Where a table's entry was written.
    pub place: Option<String>,
}

/// What had to be assumed, and what other answers would have done.
#[derive(Clone, Debug, Serialize)]
pub struct Unknown {
    /// The question.
    pub question: String,
    /// What was assumed.
    pub assumed: String,
    /// Another answer and the verdict with it, where that is another.
    pub otherwise: Vec<(String, String)>,
}

/// Tells a rehearsal as it goes on.
pub(super) struct Teller<'a> {
    site: &'a Site,
    program: Vec<ProgramList>,
    inquiry: &'a Inquiry,
    names: PeerName,
    entries: Entries,
    story: Story,
}

impl<'a> Teller<'a> {
    pub(super) fn new(site: &'a Site, service: &Arc<Service>, inquiry: &'a Inquiry, names: &PeerName) -> Self {
        let address = inquiry.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let story = Story {
            service: service.name.to_string(),
            client: format!("{}[{address}]", names.name),
            exchanges: Vec::new(),
            log: Vec::new(),
            verdict: String::new(),
            accepted: false,
            decided_by: None,
            advice: Vec::new(),
            unknown: Vec::new(),
        };
        Self {
            site,
            program: service.plan.program(),
            inquiry,
            names: names.clone(),
            entries: Entries::default(),
            story,
        }
    }

    pub(super) fn story(&self) -> &Story {
        &self.story
    }

    /// What came after a command.
    pub(super) fn heard<W: World>(&mut self, command: &str, rehearsal: &mut Rehearsal<W>) {
        let decided = std::mem::take(&mut rehearsal.decided);
        let decisions =
            decided.iter().filter(|d| !d.decision.trace.steps.is_empty()).map(|d| self.decision(d)).collect();
        let reply: Vec<String> = rehearsal.replies.drain(..).collect();
        let (checks, fate) = match rehearsal.cleaned.take() {
            Some(cleaned) => (self.checks(&cleaned), fate(&cleaned, &self.inquiry.recipients)),
            None => Default::default(),
        };
        self.story.exchanges.push(Exchange { command: command.to_owned(), reply, decisions, checks, fate });
    }

    fn checks(&self, cleaned: &Cleaned) -> Vec<CheckStory> {
        let tables = &self.site.tables;
        let told = |check: &Checked| CheckStory {
            check: format!("{} {}", check.parameter, tables.spec(check.table.0).map_or("table", |spec| spec)),
            text: check.text.clone(),
            action: check.found.as_ref().map_or_else(|why| format!("failed: {why}"), ToString::to_string),
            place: check.found.as_ref().ok().and_then(|_| self.entries.place(tables, check.table.0, &check.text)),
        };
        cleaned.checks.iter().map(told).collect()
    }

    pub(super) fn finish<W: World>(mut self, rehearsal: &mut Rehearsal<W>) -> Story {
        self.story.log = rehearsal.log.drain(..).collect();
        let refused = self.story.exchanges.iter().find(|exchange| !exchange.is_accepted());
        let told = refused.or(self.story.exchanges.last());
        self.story.verdict = told.map(|exchange| exchange.reply.join("\n")).unwrap_or_default();
        self.story.accepted = refused.is_none() && self.story.exchanges.iter().any(|e| e.command.starts_with("RCPT"));
        // A deferral that nothing else overtook: who asked for it had the last word.
        let deciding = refused.and_then(|exchange| {
            if !exchange.checks.is_empty() {
                // Behind all restrictions.
                return None;
            }
            let steps = &exchange.decisions.last()?.steps;
            let last = steps.iter().rfind(|step| step.outcome == "reject")?;
            let settled = last.list == "defer_if_permit" && last.restriction == last.list;
            let asked_for = || steps.iter().find(|step| step.outcome == "defer if permit");
            if settled { asked_for() } else { Some(last) }.cloned()
        });
        self.story.decided_by = deciding.as_ref().map(|step| match &step.place {
            Some(place) => format!("{} ({}, {place})", step.restriction, step.list),
            None => format!("{} ({})", step.restriction, step.list),
        });
        if let Some(check) = refused.and_then(|exchange| exchange.checks.last()) {
            self.story.decided_by = Some(match &check.place {
                Some(place) => format!("{} ({place})", check.check),
                None => check.check.clone(),
            });
            self.story.advice = advice::of_content(check);
        }
        if let Some(step) = &deciding {
            self.story.advice = advice::what_would_change(step, self.inquiry, &self.story.verdict);
        }
        self.story
    }

    fn decision(&self, decided: &Decided) -> DecisionStory {
        let trace = &decided.decision.trace.steps;
        let mut steps = Vec::with_capacity(trace.len());
        for (at, step) in trace.iter().enumerate() {
            steps.push(self.step(step, decided));
            let last_of_list = trace[at + 1..].iter().all(|later| later.list != step.list || later.depth > 0);
            if step.depth == 0 && last_of_list {
                let inner = trace[at + 1..].iter().take_while(|later| later.depth > 0);
                if inner.count() == 0 {
                    steps.extend(self.not_reached(&step.list, trace));
                }
            }
        }
        // A list whose last step went into another list: what it left is told at the end.
        let told: HashSet<String> =
            steps.iter().filter(|s| s.outcome == "not reached").map(|s| s.list.clone()).collect();
        let lists: Vec<_> = trace.iter().filter(|s| s.depth == 0).map(|s| s.list.clone()).collect();
        for list in lists.iter().rev().take(1).filter(|list| !told.contains(&***list)) {
            steps.extend(self.not_reached(list, trace));
        }
        DecisionStory { steps, answers: Vec::new() }
    }

    /// The elements of a list behind its last one that ran.
    fn not_reached(&self, list: &Arc<str>, trace: &[TraceStep]) -> Vec<StepStory> {
        let Some(program) = self.program.iter().find(|program| program.name == *list) else { return Vec::new() };
        let ran = trace.iter().filter(|step| step.depth == 0 && step.list == *list).count();
        let checks = program.items.iter().filter(|item| !matches!(item.kind, ProgramKind::Prefix));
        let steps = checks.skip(ran).map(|item| StepStory {
            list: list.to_string(),
            restriction: item.text.to_string(),
            place: item.span.as_ref().map(place),
            depth: 0,
            outcome: "not reached",
            detail: None,
            why: None,
            asked: Vec::new(),
        });
        steps.collect()
    }

    fn step(&self, step: &TraceStep, decided: &Decided) -> StepStory {
        let (outcome, detail) = match &step.outcome {
            Outcome::Dunno => ("no opinion", None),
            Outcome::Permit => ("permit", None),
            Outcome::Discard => ("discard", None),
            Outcome::Reject(rejection) => ("reject", Some(rejection.reply.clone())),
            Outcome::Warned(reply) => ("would reject", Some(reply.clone())),
            Outcome::DeferIfPermit(reply) => ("defer if permit", Some(reply.clone())),
            Outcome::DeferIfReject(reply) => ("defer if reject", Some(reply.clone())),
            Outcome::Enter(list) => ("look into", Some(list.to_string())),
            Outcome::HangUp => ("hang up", None),
        };
        let asked = decided.asked.get(step.asked.clone()).unwrap_or_default();
        StepStory {
            list: step.list.to_string(),
            restriction: step.restriction.to_string(),
            place: step.span.as_ref().map(place),
            depth: step.depth,
            outcome,
            detail,
            why: advice::why(&step.restriction, outcome, &decided.facts, &self.names),
            asked: self.asked(asked),
        }
    }

    /// Questions as people read them, each once.
    fn asked(&self, asked: &[(Question, Answer)]) -> Vec<Asked> {
        let mut seen = HashSet::new();
        let asked = asked.iter().filter(|(question, _)| seen.insert(question.clone()));
        asked.map(|(question, answer)| self.one_asked(question, answer)).collect()
    }

    fn one_asked(&self, question: &Question, answer: &Answer) -> Asked {
        let place = match (question, answer) {
            (Question::Table { table, key }, Answer::Table(Ok(Some(_)))) => {
                self.entries.place(&self.site.tables, table.0, key)
            }
            _ => None,
        };
        let (answer, found) = answered(answer);
        Asked { question: asked(self.site, question), answer, found, place }
    }
}

/// What is done with a message besides accepting it.
fn fate(cleaned: &Cleaned, recipients: &[String]) -> Vec<String> {
    let effects = &cleaned.effects;
    let mut fate = Vec::new();
    if effects.discard {
        fate.push("accepted and thrown away".to_owned());
    }
    if cleaned.refusal.is_some() || effects.discard {
        return fate;
    }
    if effects.hold {
        fate.push("put on hold".to_owned());
    }
    fate.extend(effects.filter.iter().map(|target| format!("goes through {target}")));
    fate.extend(effects.redirect.iter().map(|address| format!("goes to {address} instead")));
    fate.extend(effects.bcc.iter().map(|address| format!("a copy goes to {address}")));
    if effects.redirect.is_none() && cleaned.recipients != recipients {
        fate.push(format!("recipients: {}", cleaned.recipients.join(", ")));
    }
    fate
}

/// A question in words.
pub fn asked(site: &Site, question: &Question) -> String {
    match question {
        Question::Table { table, key } => {
            let spec = site.tables.spec(table.0).map_or("table", |spec| spec);
            format!("{spec} \"{key}\"")
        }
        Question::Dns { rtype, name } => format!("DNS {} {name}", rtype.word()),
        Question::PeerName(address) => format!("name of {address}"),
        Question::Sleep { seconds, .. } => format!("wait {seconds} s"),
        Question::PolicyService { service, .. } => format!("policy service {}", service.name),
        Question::Verify { address, .. } => format!("verify <{address}>"),
    }
}

/// An answer in words, and whether something was found.
pub fn answered(answer: &Answer) -> (String, bool) {
    match answer {
        Answer::Table(Ok(Some(value))) => (format!("\"{value}\""), true),
        Answer::Table(Ok(None)) => ("not found".to_owned(), false),
        Answer::Table(Err(reason)) => (format!("look-up failed: {reason}"), true),
        Answer::Dns(found) if found.status == DnsStatus::Ok => {
            (found.records.iter().map(record).collect::<Vec<_>>().join(", "), true)
        }
        Answer::Dns(missing) => (missing.reason.clone(), missing.status != DnsStatus::NotFound),
        Answer::PeerName(names) => (names_text(names), names.name_status == PeerStatus::Ok),
        Answer::Done => ("done".to_owned(), true),
        Answer::PolicyService(Ok(action)) => (format!("action={action}"), true),
        Answer::PolicyService(Err(reason)) => (format!("failed: {reason}"), true),
        Answer::Verify(found) => (found.told(), true),
    }
}

fn names_text(names: &PeerName) -> String {
    match names.name_status {
        PeerStatus::Ok => format!("{} (leads back to the address)", names.name),
        PeerStatus::Forged => format!("{}, but that name doesn't lead back to the address", names.reverse),
        PeerStatus::Temporary => "DNS failed for the moment".to_owned(),
        PeerStatus::Permanent => "no name".to_owned(),
    }
}

/// A record in words.
pub(super) fn record(record: &DnsRecord) -> String {
    match record {
        DnsRecord::Address(address) => address.to_string(),
        DnsRecord::Mx(preference, host) => format!("{preference} {host}"),
        DnsRecord::Name(name) => name.to_string(),
        DnsRecord::Txt(text) => format!("\"{text}\""),
    }
}

/// `file:line:column`.
pub fn place(span: &config::Span) -> String {
    if span.column == 0 { span.to_string() } else { format!("{span}:{}", span.column) }
}
