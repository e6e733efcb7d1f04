//! Playing cases.

use super::coverage::Coverage;
use super::file::{Case, CaseFile, Expected, Facts, Lines, Protocol, Until};
use super::world::{CaseWorld, Overrides};
use crate::daemon::site::{Service, Site};
use crate::rehearsal::{Decided, Rehearsal, Setting, Stuck, Zone, on_the_wire};
use policy::{PeerName, PeerStatus, Question, Sasl, Tls};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// When no case says when.
const EPOCH: u64 = 1_700_000_000;

/// A file of cases with its configuration.
pub struct Suite<'a> {
    site: &'a Site,
    file: &'a CaseFile,
    name: &'a str,
    lines: Lines,
    zone: Zone,
    shared: Overrides,
}

/// How a case ended.
pub struct Outcome {
    /// What it shows.
    pub name: String,
    /// The line in the file.
    pub line: usize,
    /// Why it failed; `None`: it passed.
    pub failure: Option<Failure>,
}

/// What was not as expected.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The case can't be played.
    Broken(String),
    /// Lines `what`, `expected`, `found`.
    Different(Vec<(&'static str, String, String)>),
}

impl<'a> Suite<'a> {
    /// Prepare a file.
    ///
    /// # Errors
    /// A record or table name that makes no sense, with its line.
    pub fn new(site: &'a Site, file: &'a CaseFile, name: &'a str, text: &'a str) -> Result<Self, String> {
        let (lines, mut zone) = (Lines::of(text), Zone::default());
        add_records(&mut zone, &file.dns).map_err(|(at, problem)| format!("{name}:{}: {problem}", lines.line(at)))?;
        let shared = Overrides::default().with(site, &file.tables, &file.policy, &file.verify);
        let shared = shared.map_err(|problem| format!("{name}: {problem}"))?;
        Ok(Self { site, file, name, lines, zone, shared })
    }

    /// Play all cases.
    pub fn run(&self, only: Option<&str>, coverage: &mut Coverage) -> Vec<Outcome> {
        let wanted = |case: &Case| only.is_none_or(|only| case.name.contains(only));
        let cases = self.file.cases.iter().filter(|case| wanted(case.get_ref()));
        cases
            .map(|case| Outcome {
                name: case.get_ref().name.clone(),
                line: self.lines.line(case.span().start),
                failure: self.play(case.get_ref(), coverage).err(),
            })
            .collect()
    }

    fn play(&self, case: &Case, coverage: &mut Coverage) -> Result<(), Failure> {
        let (service, played) = self.converse(case).map_err(|unplayable| Failure::Broken(unplayable.to_string()))?;
        coverage.add(&service, &played.decided);
        compare(case, &played)
    }

    /// The message of a case, as it is sent.
    fn message(&self, facts: &Facts) -> Result<Option<Vec<u8>>, String> {
        match (&facts.message, &facts.message_file) {
            (Some(_), Some(_)) => Err("message and message_file: give one of them".to_owned()),
            (Some(text), None) => Ok(Some(on_the_wire(text.as_bytes()))),
            (None, Some(file)) => {
                let path = Path::new(self.name).parent().unwrap_or(Path::new("")).join(file);
                let bytes =
                    std::fs::read(&path).map_err(|error| format!("message_file {}: {error}", path.display()))?;
                Ok(Some(on_the_wire(&bytes)))
            }
            (None, None) if !facts.signed_by.is_empty() => Err("signed_by: there is no message".to_owned()),
            (None, None) => Ok(None),
        }
    }

    /// Play the session of a case.
    pub(super) fn converse(&self, case: &Case) -> Result<(Arc<Service>, Played), Unplayable> {
        let facts = case.facts(&self.file.defaults);
        let broken = Unplayable::Case;
        let own_zone;
        let zone = if case.dns.is_empty() {
            &self.zone
        } else {
            let mut zone = self.zone.clone();
            let place = |(at, problem)| format!("{}:{}: {problem}", self.name, self.lines.line(at));
            add_records(&mut zone, &case.dns).map_err(|problem| broken(place(problem)))?;
            own_zone = zone;
            &own_zone
        };
        let overrides = match case.tables.is_empty() && case.policy.is_empty() && case.verify.is_empty() {
            true => self.shared.clone(),
            false => self.shared.clone().with(self.site, &case.tables, &case.policy, &case.verify).map_err(broken)?,
        };
        let service = match &facts.service {
            Some(name) => self.site.service(name).ok_or_else(|| broken(format!("no service \"{name}\" in master.cf"))),
            None => self.site.services.first().cloned().ok_or_else(|| broken("no smtpd service".to_owned())),
        }?;
        let world = CaseWorld::new(&self.site.tables, zone, &overrides);
        let message = self.message(&facts).map_err(broken)?;
        let talk = Talk { facts: &facts, until: case.until, message };
        let played = converse(&service, &talk, world).map_err(Unplayable::Stuck)?;
        Ok((service, played))
    }
}

/// What a client says.
struct Talk<'a> {
    facts: &'a Facts,
    until: Option<Until>,
    /// Its message as it is sent, if it has one.
    message: Option<Vec<u8>>,
}

type Misplaced = (usize, String);

fn add_records(zone: &mut Zone, records: &[toml::Spanned<String>]) -> Result<(), Misplaced> {
    records.iter().try_for_each(|record| zone.add(record.get_ref()).map_err(|problem| (record.span().start, problem)))
}

/// Why a case can't be played.
pub(super) enum Unplayable {
    /// It says what makes no sense.
    Case(String),
    /// Nobody answers.
    Stuck(Stuck),
}

impl fmt::Display for Unplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Case(text) | Self::Stuck(Stuck::Impossible(text)) => f.write_str(text),
            Self::Stuck(Stuck::Question(question)) => f.write_str(&told(question)),
        }
    }
}

/// What a session came to.
pub(super) struct Played {
    pub(super) verdict: Expected,
    pub(super) reply: String,
    pub(super) restriction: String,
    pub(super) log: Vec<String>,
    pub(super) decided: Vec<Decided>,
}

fn converse(service: &Arc<Service>, talk: &Talk<'_>, world: CaseWorld<'_>) -> Result<Played, Stuck> {
    let facts = talk.facts;
    let mut rehearsal = Rehearsal::begin(setting(service, facts, world.zone), world)?;
    let mut reply = String::new();
    let mut earlier = facts.earlier.len();
    for command in commands(service, talk) {
        if !command.is_empty() {
            rehearsal.send(&command)?;
            if rehearsal.replies.is_empty() && !rehearsal.closed {
                rehearsal.pass(3_600_000)?;
            }
        }
        let lines: Vec<String> = rehearsal.replies.drain(..).collect();
        reply = lines.join("\n");
        if command.starts_with(b"RCPT") && earlier > 0 && !rehearsal.closed {
            earlier -= 1;
        } else if !reply.starts_with(['2', '3']) {
            break;
        }
    }
    let verdict = match reply.as_bytes().first() {
        Some(b'2' | b'3') => Expected::Permit,
        Some(b'5') => Expected::Reject,
        _ => Expected::Defer,
    };
    let decided = std::mem::take(&mut rehearsal.decided);
    let refused = rehearsal.cleaned.as_ref().filter(|cleaned| cleaned.refusal.is_some());
    let restriction = match refused.and_then(|cleaned| cleaned.checks.last()) {
        Some(check) => check.parameter.to_owned(),
        None => deciding(&decided, verdict),
    };
    Ok(Played { verdict, reply, restriction, log: rehearsal.log.into(), decided })
}

/// What the client says, one thing after the other; first it waits for the greeting.
fn commands(service: &Service, talk: &Talk<'_>) -> Vec<Vec<u8>> {
    let facts = talk.facts;
    let helo = facts.helo.as_deref().or(facts.client_name.as_deref()).unwrap_or("client.example");
    let word = if facts.protocol == Some(Protocol::Smtp) { "HELO" } else { "EHLO" };
    let sender = facts.sender.as_deref().unwrap_or_default();
    let recipient = facts.recipient.as_deref().unwrap_or_default();
    let size = facts.size.map_or_else(String::new, |size| format!(" SIZE={size}"));
    let recipients = facts.earlier.iter().map(String::as_str).chain([recipient]);
    let plain = sender.is_ascii() && recipients.clone().all(str::is_ascii);
    let wide = facts.smtputf8.unwrap_or(!plain && service.offers_smtputf8());
    let wide = if wide { " SMTPUTF8" } else { "" };
    let helo = if helo.is_empty() { None } else { Some(format!("{word} {helo}\r\n")) };
    let mut commands: Vec<String> = [String::new()].into_iter().chain(helo).collect();
    commands.push(format!("MAIL FROM:<{sender}>{size}{wide}\r\n"));
    commands.extend(recipients.map(|recipient| format!("RCPT TO:<{recipient}>\r\n")));
    let mut commands: Vec<Vec<u8>> = commands.into_iter().map(String::into_bytes).collect();
    if talk.until != Some(Until::Rcpt) {
        commands.push(b"DATA\r\n".to_vec());
    }
    if talk.until.is_none() {
        commands.push(talk.message.clone().unwrap_or_else(|| b".\r\n".to_vec()));
    }
    commands
}

/// The restriction that had the last word at the last command that has one.
fn deciding(decided: &[Decided], verdict: Expected) -> String {
    let steps = decided.iter().rev().flat_map(|decided| decided.decision.trace.steps.iter().rev());
    let wanted = |outcome: &policy::Outcome| match verdict {
        Expected::Permit => matches!(outcome, policy::Outcome::Permit | policy::Outcome::Discard),
        _ => matches!(outcome, policy::Outcome::Reject(_) | policy::Outcome::HangUp),
    };
    let found = steps.clone().find(|step| wanted(&step.outcome));
    // A deferral that nothing else overtook: who asked for it had the last word.
    let asked_for = |step: &&policy::TraceStep| matches!(step.outcome, policy::Outcome::DeferIfPermit(_));
    let found = match found {
        Some(step) if step.depth == 0 && step.list == step.restriction && &*step.list == "defer_if_permit" => {
            steps.rev().find(asked_for)
        }
        found => found,
    };
    found.map(|step| step.restriction.to_string()).unwrap_or_default()
}

fn setting(service: &Arc<Service>, facts: &Facts, zone: &Zone) -> Setting {
    let address = facts.client.unwrap_or(IpAddr::from([192, 0, 2, 1]));
    let mut names = match &facts.client_name {
        Some(name) if name != "unknown" => {
            let name: Arc<str> = name.as_str().into();
            let status = PeerStatus::Ok;
            PeerName { name: name.clone(), reverse: name, name_status: status, reverse_status: status }
        }
        Some(_) => PeerName::unknown(PeerStatus::Permanent),
        None => zone.peer(address),
    };
    if let Some(reverse) = &facts.reverse_name {
        names.reverse = reverse.as_str().into();
        names.reverse_status = if reverse == "unknown" { PeerStatus::Permanent } else { PeerStatus::Ok };
    }
    let sasl = |name: &String| Sasl { method: "PLAIN".to_owned(), username: name.clone(), sender: String::new() };
    let tls = || Tls {
        protocol: "TLSv1.3".to_owned(),
        cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
        bits: 256,
        ..Tls::default()
    };
    Setting {
        service: Arc::clone(service),
        address: Some(address),
        port: facts.client_port.unwrap_or(40_000),
        names,
        server_address: Some([127, 0, 0, 1].into()),
        server_port: service.name.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(25),
        login: facts.login.as_ref().map(sasl),
        tls: facts.tls.unwrap_or_default().then(tls),
        epoch: facts.clock.as_ref().and_then(seconds).unwrap_or(EPOCH),
        localtime: |_| String::new(),
        keep: true,
        // Where there is a message, header_checks and body_checks see it.
        cleanup: facts.message.is_some() || facts.message_file.is_some(),
        signers: facts.signed_by.clone(),
    }
}

/// Seconds since the epoch; a time without a zone is UTC.
fn seconds(time: &toml::value::Datetime) -> Option<u64> {
    let text = time.to_string();
    let stamp = text.parse::<jiff::Timestamp>().ok().or_else(|| format!("{text}Z").parse().ok())?;
    u64::try_from(stamp.as_second()).ok()
}

fn told(question: &Question) -> String {
    match question {
        Question::PolicyService { service, .. } => format!(
            "the policy service {0} is asked: say what it answers, as in policy = {{ \"{0}\" = \"DUNNO\" }}",
            crate::record::service_name(service)
        ),
        Question::Verify { address, .. } => format!(
            "<{address}> is verified: say what comes of it, as in verify = {{ \"{address}\" = \"undeliverable: unknown \
             user\" }}, or \"deliverable\""
        ),
        Question::Table { key, .. } => {
            format!("a table that isn't in memory is asked for \"{key}\": give its entries under tables")
        }
        other => format!("nobody answers {other:?}"),
    }
}

fn compare(case: &Case, played: &Played) -> Result<(), Failure> {
    let mut differences = Vec::new();
    if played.verdict != case.expect {
        let found = format!("{} ({})", played.verdict.word(), played.reply);
        differences.push(("verdict", case.expect.word().to_owned(), found));
    }
    if let Some(reply) = case.reply.as_ref().filter(|reply| **reply != played.reply) {
        differences.push(("reply", reply.clone(), played.reply.clone()));
    }
    if let Some(wanted) = &case.restriction {
        let found = &played.restriction;
        if found != wanted && found.split(' ').next() != Some(wanted.as_str()) {
            let by = if differences.is_empty() { format!(" ({})", played.reply) } else { String::new() };
            differences.push(("restriction", wanted.clone(), format!("{found}{by}")));
        }
    }
    if let Some(line) = case.log.as_ref().filter(|line| !played.log.contains(line)) {
        differences.push(("log", line.clone(), played.log.join("\n            ")));
    }
    if differences.is_empty() { Ok(()) } else { Err(Failure::Different(differences)) }
}
