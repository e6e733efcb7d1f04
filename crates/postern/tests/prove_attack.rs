//! What is proved closed is attacked: random policies with random tables, and sessions that try to relay through them,
//! with any DNS and any answer of policy services. And every witness relays again.
//!
//! `cargo xtask prove-attack` runs it with more policies and sessions.

#[path = "prove_attack/policies.rs"]
mod policies;

use policies::{ADDRESSES, Dice, HOSTS, Policy, USERS, VALUES};
use policy::{
    AddressStatus, Answer, Ask, Client, DnsAnswer, DnsRecord, DnsStatus, Effect, Evaluation, Facts, Ledger, PeerName,
    PeerStatus, PolicyState, Protocol, Question, RecordType, Tls, Verification, World,
};
use postern::daemon::site::{self, Service, Site, Source};
use postern::explain::{Inquiry, tell};
use postern::prove::{Proof, Stage, Verdict, Witness, prove};
use postern::rehearsal::Zone;
use smtp::server::Moment;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

/// The world of one session: every answer follows from the question and the seed.
struct Chaos<'a> {
    site: &'a Site,
    seed: u64,
}

impl Chaos<'_> {
    fn dice(&self, question: &Question) -> Dice {
        let mut hasher = DefaultHasher::new();
        (self.seed, question).hash(&mut hasher);
        Dice(hasher.finish())
    }
}

fn dns(dice: &mut Dice, rtype: RecordType) -> DnsAnswer {
    let failed = |status| DnsAnswer::failed(status, "why not");
    match dice.below(12) {
        0 => return failed(DnsStatus::Retry),
        1..=2 => return failed(DnsStatus::NotFound),
        3 if dice.one_in(3) => return failed(DnsStatus::Fail),
        _ => {}
    }
    let mut records = Vec::new();
    for _ in 0..=dice.below(3) {
        let address =
            dice.pick(&["192.0.2.2", "127.0.0.1", "203.0.113.25", "127.0.0.2", "198.51.100.7", "2001:db8::25"]);
        let host = dice.pick(&["mail.example.com", "mx.stranger.example", "friend.example", "192.0.2.2", "us.example"]);
        records.push(match rtype {
            RecordType::A | RecordType::Aaaa => DnsRecord::Address(address.parse().expect("an address")),
            RecordType::Mx => DnsRecord::Mx(dice.below(3) as u16, host.into()),
            RecordType::Ns | RecordType::Ptr => DnsRecord::Name(host.into()),
            RecordType::Txt => DnsRecord::Txt("text".into()),
        });
    }
    let ttls = vec![300; records.len()];
    DnsAnswer::found(records, ttls)
}

impl World for Chaos<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        let mut dice = self.dice(question);
        Some(match question {
            Question::Table { table, key } => {
                let found = self.site.tables.lookup(table.0, key);
                Answer::Table(found.map_err(|error| error.to_string().into()))
            }
            Question::Dns { rtype, .. } => Answer::Dns(Arc::new(dns(&mut dice, *rtype))),
            Question::PolicyService { .. } => Answer::PolicyService(match dice.below(10) {
                0 => Err("down".into()),
                _ => Ok(dice.pick(VALUES).into()),
            }),
            Question::PeerName(_) => Answer::PeerName(PeerName::unknown(PeerStatus::Permanent)),
            Question::Sleep { .. } => Answer::Done,
            Question::Verify { .. } => Answer::Verify(match dice.below(4) {
                0 => Verification::new(AddressStatus::Undeliverable, "unknown user"),
                1 => Verification::in_progress(),
                2 => Verification::unavailable(),
                _ => Verification::new(AddressStatus::Deliverable, ""),
            }),
        })
    }
}

fn stranger(dice: &mut Dice) -> Facts {
    let host = dice.pick(HOSTS);
    let host = if dice.one_in(4) { format!("host.{host}") } else { host.to_owned() };
    let reverse: Arc<str> = dice.pick(HOSTS).into();
    let name = match dice.below(3) {
        0 => PeerName::unknown(PeerStatus::Permanent),
        1 => PeerName {
            name: "unknown".into(),
            reverse,
            name_status: PeerStatus::Forged,
            reverse_status: PeerStatus::Ok,
        },
        _ => {
            let name: Arc<str> = host.trim_matches(['[', ']']).into();
            // A name is no address, and there is no top-level domain that is a number.
            match name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit())) {
                true => PeerName::unknown(PeerStatus::Permanent),
                false => PeerName {
                    reverse: name.clone(),
                    name,
                    name_status: PeerStatus::Ok,
                    reverse_status: PeerStatus::Ok,
                },
            }
        }
    };
    let (user, domain) = (dice.pick(USERS), dice.pick(HOSTS));
    let sender = match dice.below(5) {
        0 => String::new(),
        1 => user.to_owned(),
        2 => format!("{user}@host.{domain}"),
        _ => format!("{user}@{domain}"),
    };
    let (user, domain) = (dice.pick(USERS), dice.pick(HOSTS));
    let recipient = match dice.below(12) {
        0 => format!("{user}@host.{domain}"),
        1 => format!("{user}%elsewhere.example@example.com"),
        2 => format!("elsewhere.example!{user}@relay.example"),
        3 => format!("{user}@elsewhere.example@example.com"),
        4 => format!("{user}%elsewhere.example"),
        5 => format!("{user}@[203.0.113.9]"),
        6 | 7 => format!("{user}@{domain}"),
        8 => format!("{user}@relay.example@elsewhere.example"),
        _ => format!("{user}@elsewhere.example"),
    };
    Facts {
        client: Client {
            address: Some(dice.pick(ADDRESSES).parse().expect("an address")),
            port: 40_000,
            name: Some(name),
        },
        server_address: None,
        server_port: 25,
        helo: Some(dice.pick(HOSTS).to_owned()),
        protocol: Protocol::Esmtp,
        sender: Some(sender),
        recipient: Some(recipient),
        argument: None,
        recipient_count: dice.below(2),
        syntax_only: false,
        etrn_domain: None,
        size: 0,
        queue_id: None,
        instance: String::new(),
        message: None,
        sasl: None,
        tls: dice.one_in(2).then(Tls::default),
        improper_pipelining: dice.one_in(4),
        smtputf8: false,
        now: 0,
        localtime: |_| String::new(),
    }
}

/// Does the session end with a message that is relayed?
fn relays(site: &Site, service: &Service, whole: &Facts, skips_helo: bool, seed: u64) -> bool {
    let mut world = Chaos { site, seed };
    let mut state = PolicyState::new();
    let mut ledger = Ledger::default();
    let mut facts = Facts { helo: None, sender: None, recipient: None, recipient_count: 0, ..whole.clone() };
    let steps = [
        (Moment::Connect, "CONNECT"),
        (Moment::Helo, "EHLO"),
        (Moment::Mail, "MAIL"),
        (Moment::Rcpt, "RCPT"),
        (Moment::Data, "DATA"),
        (Moment::EndOfData, "END-OF-MESSAGE"),
    ];
    for (moment, stage) in steps {
        match moment {
            Moment::Helo if skips_helo => continue,
            Moment::Helo => facts.helo.clone_from(&whole.helo),
            Moment::Mail => facts.sender.clone_from(&whole.sender),
            Moment::Rcpt => {
                facts.recipient.clone_from(&whole.recipient);
                facts.recipient_count = whole.recipient_count;
            }
            Moment::Data if whole.recipient_count > 0 => facts.recipient = None,
            _ => {}
        }
        let mut ask = Ask { ledger: &mut ledger, world: &mut world };
        let decision = Evaluation::start(moment, stage).run(&service.plan, &facts, &mut state, &mut ask);
        let Ok(decision) = decision else { return false };
        let elsewhere = decision.effects.iter().any(|effect| matches!(effect, Effect::Redirect(_) | Effect::Discard));
        if decision.rejection.is_some() || decision.hang_up || elsewhere {
            return false;
        }
    }
    true
}

/// Is the client one of those that the proof calls trusted by an entry?
fn is_trusted(proof: &Proof, client: IpAddr) -> bool {
    let text = client.to_string();
    proof.trusted.iter().flat_map(|table| &table.addresses).any(|entry| match entry.split_once(" - ") {
        Some((first, last)) => match (first.parse::<IpAddr>(), last.parse::<IpAddr>()) {
            (Ok(first), Ok(last)) => first.is_ipv4() == client.is_ipv4() && (first..=last).contains(&client),
            _ => true,
        },
        None => text == *entry || text.starts_with(&format!("{entry}.")) || text.starts_with(&format!("{entry}:")),
    })
}

fn relays_again(site: &Site, service: &Arc<Service>, witness: &Witness) -> bool {
    let lines: Vec<(usize, String)> = (1..).zip(witness.dns.iter().cloned()).collect();
    let zone = Zone::empty("witness", &lines).expect("a zone");
    let mut stage = Stage::new(&site.tables, Some(&zone).filter(|_| !lines.is_empty()));
    let inquiry = Inquiry {
        address: Some(witness.client),
        name: Some(witness.name.clone()),
        helo: Some(witness.helo.clone()),
        sender: witness.sender.clone(),
        recipients: vec![witness.recipient.clone()],
        ..Inquiry::default()
    };
    tell(site, service, &inquiry, &mut stage).is_ok_and(|story| story.accepted)
}

#[derive(Debug, Default)]
struct Count {
    policies: usize,
    closed: usize,
    open: usize,
    unknown: usize,
    sessions: u64,
    /// Policies that random sessions relayed through, by verdict.
    open_relayed: usize,
    unknown_relayed: usize,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn attack(seed: u64, sessions: u64, count: &mut Count) {
    let mut dice = Dice(seed);
    let text = Policy(&mut dice).main_cf();
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("main.cf"), &text).expect("writable");
    std::fs::write(directory.path().join("master.cf"), "smtp inet n - n - - smtpd\n").expect("writable");
    let (Some(site), _) = site::load(&Source::new(Some(directory.path()))) else { return };
    let service = &site.services[0];
    let proof = prove(&site, service);
    count.policies += 1;
    if let Some(witness) = &proof.witness {
        // One of several values may come out otherwise.
        let chance = text.contains("randmap:");
        assert!(chance || relays_again(&site, service, witness), "seed {seed}: {witness:?}\n{text}");
    }
    let mut relayed = false;
    let tries = if proof.verdict == Verdict::Closed { sessions } else { sessions.min(3000) };
    for _ in 0..tries {
        let facts = stranger(&mut dice);
        let skips_helo = !service.session.smtpd_helo_required && dice.one_in(4);
        let world = dice.roll();
        count.sessions += 1;
        let Some(client) = facts.client.address else { continue };
        if is_trusted(&proof, client) || !relays(&site, service, &facts, skips_helo, world) {
            continue;
        }
        let (sender, recipient) = (facts.sender.as_deref().unwrap_or(""), facts.recipient.as_deref().unwrap_or(""));
        let mut stage = Chaos { site: &site, seed: world };
        let name = facts.client.name.as_ref().map_or("unknown".into(), |name| name.name.clone());
        if service.plan.trusts(&name, client, &mut stage)
            || !service.plan.is_relayed(sender, recipient, false, &mut stage)
        {
            continue;
        }
        relayed = true;
        assert_ne!(proof.verdict, Verdict::Closed, "seed {seed}: {facts:#?}\n{proof:#?}\n{text}");
        break;
    }
    match proof.verdict {
        Verdict::Closed => count.closed += 1,
        Verdict::Open => {
            count.open += 1;
            count.open_relayed += usize::from(relayed);
        }
        Verdict::Unknown => {
            count.unknown += 1;
            count.unknown_relayed += usize::from(relayed);
            if std::env::var_os("POSTERN_ATTACK_SHOW").is_some() {
                println!("seed {seed} unknown, relayed {relayed}: {:#?}\n{text}", proof.hinges);
            }
        }
    }
}

#[test]
fn what_is_closed_withstands_attacks() {
    let wanted = number("POSTERN_ATTACK_POLICIES", 150) as usize;
    let sessions = number("POSTERN_ATTACK_SESSIONS", 400);
    let mut seed = number("POSTERN_ATTACK_SEED", 1) << 32;
    let mut count = Count::default();
    let begun = std::time::Instant::now();
    // As many closed ones as wanted: the others are tried for a while, too.
    while count.closed < wanted / 2 || count.policies < wanted {
        attack(seed, sessions, &mut count);
        seed += 1;
    }
    println!("{count:?} in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(count.open > 0 && count.unknown > 0 && count.open_relayed > 0, "{count:?}");
}
