//! Sessions without a socket whose decisions go into a record.

use policy::{AddressStatus, Answer, PeerName, PeerStatus, Question, Sasl, Verification, World};
use postern::daemon::site::{Service, Site};
use postern::record::{Code, Made, Recorder};
use postern::rehearsal::{Decided, Rehearsal, Setting, Zone};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// What a policy service says, or why it doesn't.
pub type Says<'a> = Result<&'a str, &'a str>;

/// A session: client, login, what policy services say in turn, and the lines.
pub struct Scene<'a> {
    /// The client's address.
    pub client: &'a str,
    /// It has logged in as.
    pub login: Option<&'a str>,
    /// Afterwards they have no objection.
    pub actions: &'a [Says<'a>],
    /// What the client says.
    pub lines: &'a [&'a str],
}

/// Everything that is asked: the zone, the tables in files, users by a rule, policy actions in turn.
struct Around<'a> {
    site: &'a Site,
    zone: &'a Zone,
    actions: VecDeque<Says<'a>>,
}

impl World for Around<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        Some(match question {
            Question::Table { table, key } => match self.site.tables.lookup_now(table.0, key) {
                Some(found) => Answer::Table(found.map_err(|error| error.text().clone())),
                None if key.starts_with("broken") => Answer::Table(Err("the table is broken".into())),
                None => Answer::Table(Ok(key.starts_with('u').then(|| "x".into()))),
            },
            Question::Dns { rtype, name } => Answer::Dns(Arc::new(self.zone.query(*rtype, name))),
            Question::PeerName(address) => Answer::PeerName(self.zone.peer(*address)),
            Question::PolicyService { .. } => Answer::PolicyService(
                self.actions.pop_front().unwrap_or(Ok("dunno")).map(Into::into).map_err(Into::into),
            ),
            Question::Sleep { .. } => Answer::Done,
            Question::Verify { address, .. } => Answer::Verify(match address.starts_with('u') {
                true => Verification::new(AddressStatus::Undeliverable, "unknown user"),
                false => Verification::new(AddressStatus::Deliverable, ""),
            }),
        })
    }
}

fn setting(service: &Arc<Service>, zone: &Zone, client: IpAddr, login: Option<&str>) -> Setting {
    let names = match client.to_string().as_str() {
        "192.0.2.99" => PeerName::unknown(PeerStatus::Permanent),
        _ => zone.peer(client),
    };
    Setting {
        service: Arc::clone(service),
        address: Some(client),
        port: 40_000,
        names,
        server_address: Some([127, 0, 0, 1].into()),
        server_port: 25,
        login: login.map(|name| Sasl { method: "PLAIN".into(), username: name.into(), sender: String::new() }),
        tls: None,
        epoch: 1_790_000_000,
        localtime: |_| String::new(),
        keep: true,
        cleanup: false,
        signers: Vec::new(),
    }
}

/// Holds the session and hands its decisions over.
pub fn hold(site: &Arc<Site>, zone: &Zone, number: u64, scene: &Scene<'_>, recorder: &Recorder) {
    let Scene { client, login, actions, lines } = scene;
    let service = &site.services[0];
    let world = Around { site, zone, actions: actions.iter().copied().collect() };
    let setting = setting(service, zone, client.parse().expect("an address"), *login);
    let mut rehearsal = Rehearsal::begin(setting, world).expect("a greeting");
    for line in *lines {
        rehearsal.send(format!("{line}\r\n").as_bytes()).expect("an answer");
    }
    for Decided { moment, stage, facts, decision, asked } in rehearsal.decided.drain(..) {
        if decision.trace.steps.is_empty() && decision.rejection.is_none() {
            continue;
        }
        recorder.submit(Box::new(Made {
            code: Code::next(facts.now),
            at: facts.now * 1000,
            session: number,
            transaction: 1,
            site: Arc::clone(site),
            service: Arc::clone(service),
            moment,
            stage,
            facts,
            decision,
            asked,
        }));
    }
}
