//! Decisions of the past, made again by another configuration: what would change, and why.
//!
//! Facts and answers come from the record (or facts alone from a mail log); tables are those of the other configuration.
//! A question that was not asked then is a gap: it is answered by a quiet world and named in the report.

mod changes;
mod course;
mod logs;
mod shadow;
#[cfg(test)]
mod tests;
mod world;

pub use changes::Changes;
pub use logs::LogReader;
pub use shadow::{Shadow, report_path};

use crate::daemon::site::{Service, Site};
use crate::record::{Bound, Record};
use course::Course;
use policy::{
    Ask, Certificate, Client, Evaluation, Facts, Ledger, Outcome, PeerName, PolicyState, Protocol, Sasl, Suspend, Tls,
    TraceStep,
};
use smtp::server::Moment;
use std::collections::HashMap;
use std::sync::Arc;
use tables::TableSet;
use world::Recorded;

/// So many sessions' states are remembered; then all are forgotten.
const SESSIONS: usize = 100_000;

/// What a decision comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The refusal; `None`: no refusal.
    pub reply: Option<String>,
    /// The restriction that refused, with list and place.
    pub by: Option<String>,
    /// Questions that nobody asked then.
    pub gaps: Vec<String>,
}

/// Makes decisions again.
pub struct Replayer {
    site: Arc<Site>,
    services: HashMap<Arc<str>, Arc<Service>>,
    first: Arc<Service>,
    /// How far each session has come.
    courses: HashMap<u64, Course>,
}

impl Replayer {
    /// With another configuration; `None`: it has no smtpd service.
    pub fn new(site: Arc<Site>) -> Option<Self> {
        let services = site.services.iter().map(|service| (Arc::clone(&service.name), Arc::clone(service))).collect();
        let first = site.services.first().cloned()?;
        Some(Self { site, services, first, courses: HashMap::new() })
    }

    /// The configuration.
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// Make a decision again. Those of one session must come in order.
    pub fn decide(&mut self, record: &Record<Bound>) -> Verdict {
        let service = self.services.get(&record.service).unwrap_or(&self.first);
        let (moment, stage) = moment(&record.stage);
        let facts = facts(record);
        if self.courses.len() > SESSIONS {
            self.courses.clear();
        }
        let course = self.courses.entry(record.session).or_default();
        let tables = &self.site.tables;
        for (moment, stage, facts) in course.missing(record, moment, &facts) {
            let verdict = evaluate(service, tables, record, &facts, (moment, stage), &mut course.state);
            if verdict.reply.is_some() {
                course.refuse(moment, verdict);
            }
        }
        match course.refusal() {
            Some(refusal) => refusal.clone(),
            None => evaluate(service, tables, record, &facts, (moment, stage), &mut course.state),
        }
    }
}

/// One decision with the answers of a record.
fn evaluate(
    service: &Service,
    tables: &TableSet,
    record: &Record<Bound>,
    facts: &Facts,
    (moment, stage): (Moment, &'static str),
    state: &mut PolicyState,
) -> Verdict {
    let mut world = Recorded::new(record, facts, tables);
    let mut ledger = Ledger::default();
    let mut ask = Ask { ledger: &mut ledger, world: &mut world };
    let decision = match Evaluation::start(moment, stage).run(&service.plan, facts, state, &mut ask) {
        Ok(decision) => decision,
        Err(Suspend) => return Verdict { reply: None, by: None, gaps: vec!["a question without end".to_owned()] },
    };
    let by = decision.rejection.as_ref().and_then(|_| deciding(&decision.trace.steps));
    Verdict { reply: decision.rejection.map(|rejection| rejection.reply), by, gaps: world.gaps }
}

fn deciding(steps: &[TraceStep]) -> Option<String> {
    let found = steps.iter().rfind(|step| matches!(step.outcome, Outcome::Reject(_)))?;
    let settled = &*found.list == "defer_if_permit" && found.restriction == found.list;
    let asked_for = || steps.iter().find(|step| matches!(step.outcome, Outcome::DeferIfPermit(_)));
    let step = if settled { asked_for() } else { None }.unwrap_or(found);
    Some(match &step.span {
        Some(span) => format!("{} ({}, {})", step.restriction, step.list, crate::explain::place(span)),
        None => format!("{} ({})", step.restriction, step.list),
    })
}

fn moment(stage: &str) -> (Moment, &'static str) {
    match stage {
        "CONNECT" => (Moment::Connect, "CONNECT"),
        "XCLIENT" => (Moment::Connect, "XCLIENT"),
        "HELO" => (Moment::Helo, "HELO"),
        "EHLO" => (Moment::Helo, "EHLO"),
        "MAIL" => (Moment::Mail, "MAIL"),
        "VRFY" => (Moment::Vrfy, "VRFY"),
        "ETRN" => (Moment::Etrn, "ETRN"),
        "DATA" => (Moment::Data, "DATA"),
        "BDAT" => (Moment::Data, "BDAT"),
        "END-OF-MESSAGE" => (Moment::EndOfData, "END-OF-MESSAGE"),
        _ => (Moment::Rcpt, "RCPT"),
    }
}

fn facts(record: &Record<Bound>) -> Facts {
    let name: Arc<str> = record.name.as_str().into();
    let status = crate::record::peer_status;
    let names = PeerName {
        reverse: record.reverse.as_deref().map_or_else(|| name.clone(), Arc::from),
        name,
        name_status: status(record.statuses.0),
        reverse_status: status(record.statuses.1),
    };
    let sasl = |(method, name): &(Bound, String)| Sasl {
        method: method.to_string(),
        username: name.clone(),
        sender: String::new(),
    };
    let tls = |(protocol, cipher): &(Bound, Bound)| Tls {
        protocol: protocol.to_string(),
        cipher: cipher.to_string(),
        bits: 256,
        sni: String::new(),
        certificate: record.certificate.as_deref().map(Certificate::from),
    };
    let etrn = &*record.stage == "ETRN";
    Facts {
        client: Client { address: record.address, port: record.port, name: Some(names) },
        server_address: None,
        server_port: 25,
        helo: record.helo.clone(),
        protocol: if record.esmtp { Protocol::Esmtp } else { Protocol::Smtp },
        sender: record.sender.clone(),
        recipient: record.recipient.clone().filter(|_| !etrn),
        argument: None,
        recipient_count: record.recipients as usize,
        // such decisions are not recorded
        syntax_only: false,
        etrn_domain: record.recipient.clone().filter(|_| etrn),
        size: record.size,
        queue_id: record.queue_id.clone(),
        instance: String::new(),
        message: record.message().map(Arc::new),
        sasl: record.login.as_ref().map(sasl),
        tls: record.tls.as_ref().map(tls),
        improper_pipelining: record.pipelining,
        smtputf8: record.smtputf8,
        now: record.at / 1000,
        localtime: |_| String::new(),
    }
}
