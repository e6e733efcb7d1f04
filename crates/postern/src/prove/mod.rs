//! Can strangers relay? `policy` runs the lists abstractly; what it can't prove closed is tried: sessions are rehearsed
//! with the real session, policy and tables, and one that relays is the witness.

mod blocks;
mod print;
mod senders;
mod world;

pub use blocks::{Blocks, what_blocks};
pub use print::quoted;
pub use senders::{SenderTry, Senders, who_can_send_as};
pub use world::{Listed, Stage};

use crate::daemon::site::{Service, Site};
use crate::explain::{Inquiry, Story, tell};
use crate::rehearsal::Zone;
use policy::prove::{Attack, Findings, Names, Terms, attacks};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What is proved of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No stranger can relay.
    Closed,
    /// The witness relays.
    Open,
    /// Neither could be shown.
    Unknown,
}

/// A service and what is proved of it.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// Its name in master.cf.
    pub service: String,
    /// What is proved.
    pub verdict: Verdict,
    /// The restriction that closes it, with its place.
    pub closed_by: Option<String>,
    /// The session that relays.
    pub witness: Option<Witness>,
    /// What it hinges on, where that isn't known.
    pub hinges: Vec<String>,
    /// Client addresses that may relay because an entry of a table says so.
    pub trusted: Vec<TrustedAddresses>,
    /// What was taken on trust.
    pub assumptions: Vec<String>,
}

/// Client addresses that an access table permits.
#[derive(Clone, Debug, Serialize)]
pub struct TrustedAddresses {
    /// The table.
    pub table: String,
    /// The first few.
    pub addresses: Vec<String>,
    /// How many entries there are.
    pub count: usize,
}

/// A session in which a stranger relays.
#[derive(Clone, Debug, Serialize)]
pub struct Witness {
    /// Its address.
    pub client: IpAddr,
    /// Its name; `unknown` if there is none.
    pub name: String,
    /// EHLO.
    pub helo: String,
    /// MAIL FROM.
    pub sender: String,
    /// RCPT TO.
    pub recipient: String,
    /// The DNS records it needs; none: DNS has no part in it.
    pub dns: Vec<String>,
    /// The restrictions that let it through, each with its place and what was asked for it.
    pub permitted_by: Vec<String>,
    /// Why it is one, where no restriction permitted.
    pub why: Option<String>,
    /// The commands and replies.
    pub dialog: Vec<String>,
}

/// Prove one service.
pub fn prove(site: &Site, service: &Arc<Service>) -> Proof {
    let tables = &site.tables;
    let names = names(site, service);
    let mut stage = Stage::new(tables, None);
    let terms = Terms { helo_required: service.session.smtpd_helo_required };
    let findings = service.plan.prove(terms, &names, &mut Listed::new(tables), &mut stage);
    let mut proof = Proof {
        service: service.name.to_string(),
        verdict: Verdict::Unknown,
        closed_by: None,
        witness: None,
        hinges: Vec::new(),
        trusted: findings.trusted().iter().map(trusted).collect(),
        assumptions: findings.assumptions.clone(),
    };
    if service.proxy_protocol {
        let text = "smtpd_upstream_proxy_protocol: only the proxy can connect to this service";
        proof.assumptions.push(text.into());
    }
    let doubts: Vec<String> = xclient(service, &names, &mut stage).into_iter().chain(copies(site, service)).collect();
    if findings.is_closed() && doubts.is_empty() {
        proof.verdict = Verdict::Closed;
        proof.closed_by = closed_by(&findings);
        return proof;
    }
    let mut trial = Trial { site, service, services: BTreeSet::new() };
    if let Some(witness) = trial.witness(&findings, &names) {
        proof.verdict = Verdict::Open;
        proof.witness = Some(witness);
        return proof;
    }
    proof.hinges = match findings.is_closed() {
        true => Vec::new(),
        false => hinges(&findings, &trial.services),
    };
    proof.hinges.extend(doubts);
    proof
}

/// A stranger whose address is in no table, if there is one.
fn names(site: &Site, service: &Service) -> Names {
    let candidates = ["203.0.113.77", "198.51.100.77", "192.0.2.77", "93.184.216.77", "2001:db8:77::77"];
    let mut stage = Stage::new(&site.tables, None);
    let candidates = candidates.iter().filter_map(|text| text.parse::<IpAddr>().ok());
    let stranger = candidates.clone().find(|it| !service.plan.trusts("client.stranger.example", *it, &mut stage));
    Names::new(stranger.or_else(|| candidates.clone().next()).unwrap_or([203, 0, 113, 77].into()))
}

fn trusted(found: &policy::prove::Trusted) -> TrustedAddresses {
    TrustedAddresses { table: found.table.to_string(), addresses: found.some.clone(), count: found.count }
}

fn place(found: &policy::prove::Place) -> String {
    match &found.span {
        Some(span) if span.column > 0 => format!("{} [{span}:{}]", found.restriction, span.column),
        Some(span) => format!("{} [{span}]", found.restriction),
        None => format!("{} [default]", found.restriction),
    }
}

fn closed_by(findings: &Findings) -> Option<String> {
    let list = findings.closer()?;
    Some(format!("{} in {}", list.closed_by.as_ref().map_or_else(String::new, place), list.name))
}

/// Strangers that may say who they are (XCLIENT) are whoever they like.
fn xclient(service: &Service, names: &Names, stage: &mut Stage<'_>) -> Option<String> {
    let list = &service.authorisation.xclient;
    let mut ledger = policy::Ledger::default();
    let mut ask = policy::Ask { ledger: &mut ledger, world: stage };
    let found = list.matches_host("client.stranger.example", Some(names.client), &mut ask);
    (found != Ok(policy::Matched::No))
        .then(|| "smtpd_authorized_xclient_hosts: strangers may say that they are somebody else".to_owned())
}

/// Copies to addresses that a sender or recipient can choose.
fn copies(site: &Site, service: &Service) -> Option<String> {
    for name in ["recipient_bcc_maps", "sender_bcc_maps"] {
        for spec in config::list::words(&service.parameters.get(name)).unwrap_or_default() {
            let table = site.tables.id(&spec, true).and_then(|id| site.tables.get(id));
            let contents = table.and_then(|table| table.contents()).unwrap_or_default();
            if contents.iter().any(|content| content.end.as_ref().is_some_and(|end| !end.contains('@'))) {
                return Some(format!("{name}: {spec} sends copies to what the groups of its patterns hold"));
            }
        }
    }
    None
}

/// Why neither could be shown.
fn hinges(findings: &Findings, services: &BTreeSet<String>) -> Vec<String> {
    let mut found: Vec<String> = findings.concerns.iter().map(|concern| concern.text.clone()).collect();
    let mut add = |text: String| {
        if !found.contains(&text) {
            found.push(text);
        }
    };
    if findings.closer().is_none() {
        services.iter().for_each(|name| add(format!("what the policy service {name} answers")));
        // A list that lets everybody through decides nothing.
        let deciding = findings.lists.iter().filter(|list| !list.ways.iter().any(|way| way.conditions.is_empty()));
        let mut tried = Vec::new();
        for list in deciding {
            for way in &list.ways {
                way.conditions.iter().filter_map(policy::prove::Condition::hinge).for_each(&mut add);
                if let (Some(permit), true) = (&way.permit, way.conditions.iter().all(|it| it.hinge().is_none())) {
                    tried.push(format!(
                        "{} in {}: no session was found that it lets through",
                        place(permit),
                        list.name
                    ));
                }
            }
            if list.more {
                tried.push(format!("{} has too many ways through it", list.name));
            }
        }
        tried.into_iter().take(10).for_each(&mut add);
    }
    if found.is_empty() {
        found.push("no list closes the relay, and yet no session was found that relays".into());
    }
    found
}

struct Trial<'a> {
    site: &'a Site,
    service: &'a Arc<Service>,
    /// Policy services without which a session would have relayed.
    services: BTreeSet<String>,
}

impl Trial<'_> {
    fn witness(&mut self, findings: &Findings, names: &Names) -> Option<Witness> {
        for concern in &findings.concerns {
            for attack in &concern.tries {
                if let Some(witness) = self.rehearse(attack, true) {
                    return Some(Witness { why: Some(concern.text.clone()), ..witness });
                }
            }
        }
        if findings.closer().is_some() {
            return None;
        }
        attacks(&self.service.plan, findings, names).iter().find_map(|attack| self.rehearse(attack, false))
    }

    /// Does it relay? With nothing in the DNS, or with what the stranger can put there.
    fn rehearse(&mut self, attack: &Attack, concern: bool) -> Option<Witness> {
        let plan = &self.service.plan;
        let mut stage = Stage::new(&self.site.tables, None);
        let name = attack.name.as_deref().unwrap_or("unknown");
        if !concern && plan.trusts(name, attack.client, &mut stage) {
            return None;
        }
        if !plan.is_relayed(&attack.sender, &attack.recipient, concern, &mut stage) {
            return None;
        }
        let lines: Vec<(usize, String)> = (1..).zip(attack.zone()).collect();
        let zone = Zone::empty("witness", &lines).ok()?;
        let story = self.relays(attack, Some(&zone))?;
        Some(match self.relays(attack, None) {
            Some(story) => witness(attack, &story, Vec::new()),
            None => witness(attack, &story, attack.zone()),
        })
    }

    fn relays(&mut self, attack: &Attack, zone: Option<&Zone>) -> Option<Story> {
        let mut stage = Stage::new(&self.site.tables, zone);
        let story = tell(self.site, self.service, &inquiry(attack), &mut stage).ok()?;
        let kept = !story.log.iter().any(|line| line.contains(": discard: ") || line.contains(": redirect: "));
        if !story.accepted || !kept {
            return None;
        }
        if !stage.services.is_empty() {
            self.services.extend(stage.services.iter().map(|name| name.to_string()));
            return None;
        }
        Some(story)
    }
}

/// The session as `explain` has it.
pub fn inquiry(attack: &Attack) -> Inquiry {
    Inquiry {
        address: Some(attack.client),
        name: Some(attack.name.clone().unwrap_or_else(|| "unknown".into())),
        helo: Some(attack.helo.clone()),
        sender: attack.sender.clone(),
        recipients: vec![attack.recipient.clone()],
        ..Inquiry::default()
    }
}

fn witness(attack: &Attack, story: &Story, dns: Vec<String>) -> Witness {
    let steps = story.exchanges.iter().flat_map(|exchange| &exchange.decisions).flat_map(|decision| &decision.steps);
    let mut permitted_by = Vec::new();
    // The classes and entries that lead there.
    let mut way: Vec<String> = Vec::new();
    for step in steps {
        way.truncate(step.depth);
        let mut text = step.restriction.clone();
        if let Some(place) = &step.place {
            text += &format!(" [{place}]");
        }
        for asked in step.asked.iter().filter(|asked| asked.found) {
            text += &format!(": {} = {}", asked.question, asked.answer);
        }
        if step.outcome == "permit" {
            permitted_by.push(way.iter().rev().fold(text, |text, outer| format!("{text}, through {outer}")));
        } else {
            way.push(text);
        }
    }
    let mut dialog = Vec::new();
    for exchange in &story.exchanges {
        dialog.push(format!("C: {}", exchange.command));
        dialog.extend(exchange.reply.last().map(|line| format!("S: {line}")));
    }
    Witness {
        client: attack.client,
        name: attack.name.clone().unwrap_or_else(|| "unknown".into()),
        helo: attack.helo.clone(),
        sender: attack.sender.clone(),
        recipient: attack.recipient.clone(),
        dns,
        permitted_by,
        why: None,
        dialog,
    }
}
