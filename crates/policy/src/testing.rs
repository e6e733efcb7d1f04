//! A scripted configuration and world for the crate's tests.

use crate::address::Routing;
use crate::ledger::{Ledger, World};
use crate::question::{Answer, DnsAnswer, DnsRecord, DnsStatus, Question, RecordType, TableId};
use crate::settings::Settings;
use crate::tables::TableRegistry;
use crate::verification::Verification;
use crate::{
    Ask, Client, Decision, Evaluation, Facts, LogEntry, PeerName, PeerStatus, Plan, PolicyState, Protocol, Suspend,
};
use config::{Diagnostic, Span};
use smtp::server::Moment;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Parameters by name, over the defaults of compatibility level 3.12 with `myhostname = mail.example.com`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    values: HashMap<String, String>,
    files: HashMap<String, String>,
    unwritten: Vec<&'static str>,
}

const DEFAULTS: &[(&str, &str)] = &[
    ("access_map_reject_code", "554"),
    ("access_map_defer_code", "450"),
    ("reject_code", "554"),
    ("defer_code", "450"),
    ("relay_domains_reject_code", "554"),
    ("maps_rbl_reject_code", "554"),
    ("invalid_hostname_reject_code", "501"),
    ("non_fqdn_reject_code", "504"),
    ("unknown_address_reject_code", "450"),
    ("unknown_client_reject_code", "450"),
    ("unknown_hostname_reject_code", "450"),
    ("multi_recipient_bounce_reject_code", "550"),
    ("plaintext_reject_code", "450"),
    ("unknown_local_recipient_reject_code", "550"),
    ("unknown_relay_recipient_reject_code", "550"),
    ("unknown_virtual_alias_reject_code", "550"),
    ("unknown_virtual_mailbox_reject_code", "550"),
    ("unverified_sender_reject_code", "450"),
    ("unverified_sender_defer_code", "450"),
    ("unverified_recipient_reject_code", "450"),
    ("unverified_recipient_defer_code", "450"),
    ("unverified_sender_tempfail_action", "defer_if_permit"),
    ("unverified_recipient_tempfail_action", "defer_if_permit"),
    ("address_verify_poll_count", "3"),
    ("address_verify_poll_delay", "3s"),
    ("address_verify_sender", "double-bounce"),
    ("unknown_address_tempfail_action", "defer_if_permit"),
    ("unknown_helo_hostname_tempfail_action", "defer_if_permit"),
    ("postern_spf_tempfail_action", "defer_if_permit"),
    ("postern_spf_permerror_action", "dunno"),
    ("myhostname", "mail.example.com"),
    ("mydomain", "example.com"),
    ("myorigin", "example.com"),
    ("mydestination", "example.com, mail.example.com, localhost"),
    ("mynetworks", "127.0.0.0/8"),
    ("inet_interfaces", "127.0.0.1, ::1"),
    ("inet_protocols", "all"),
    ("append_at_myorigin", "yes"),
    ("swap_bangpath", "yes"),
    ("allow_percent_hack", "yes"),
    ("resolve_dequoted_address", "yes"),
    ("show_user_unknown_table_name", "yes"),
    ("owner_request_special", "yes"),
    ("double_bounce_sender", "double-bounce"),
    ("local_transport", "local:mail.example.com"),
    ("virtual_transport", "virtual"),
    ("relay_transport", "relay"),
    ("default_transport", "smtp"),
    ("propagate_unmatched_extensions", "canonical, virtual"),
    ("empty_address_default_transport_maps_lookup_key", "<>"),
    ("empty_address_relayhost_maps_lookup_key", "<>"),
    ("smtpd_null_access_lookup_key", "<>"),
    ("smtpd_delay_reject", "yes"),
    ("smtpd_relay_before_recipient_restrictions", "yes"),
    ("smtpd_reject_unlisted_recipient", "yes"),
    ("smtpd_relay_restrictions", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination"),
    ("parent_domain_matches_subdomains", "mynetworks, permit_mx_backup_networks, relay_domains, smtpd_access_maps"),
    ("dns_rr_list_limit", "100"),
    (
        "default_rbl_reply",
        "$rbl_code Service unavailable; $rbl_class [$rbl_what] blocked using $rbl_domain${rbl_reason?; $rbl_reason}",
    ),
    (
        "smtpd_expansion_filter",
        "\\t\\40!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
    ),
];

impl Config {
    pub fn new(values: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { values: values.iter().map(owned).collect(), ..Self::default() }
    }

    /// Values that nobody has written: defaults of another compatibility level.
    pub fn by_default(mut self, values: &[(&'static str, &str)]) -> Self {
        for (name, value) in values {
            self.values.insert((*name).to_owned(), (*value).to_owned());
            self.unwritten.push(name);
        }
        self
    }

    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }
}

impl Settings for Config {
    fn get(&self, name: &str) -> String {
        match self.values.get(name) {
            Some(value) => value.clone(),
            None => {
                DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()).unwrap_or_default()
            }
        }
    }

    fn origin(&self, name: &str) -> Option<Span> {
        let written = self.values.contains_key(name) && !self.unwritten.contains(&name);
        written.then(|| Span::new("main.cf", 1))
    }

    fn read_list_file(&self, path: &str) -> Result<String, String> {
        self.files.get(path).cloned().ok_or_else(|| format!("open file {path}: No such file or directory"))
    }
}

pub fn routing(values: &[(&str, &str)]) -> Routing {
    let (routing, problems) = Routing::compile(&Config::new(values), &mut TableRegistry::new());
    assert!(problems.is_empty(), "{problems:?}");
    routing
}

/// Resolve one address with a configuration and a world.
pub fn resolve_with(values: &[(&str, &str)], script: Script, sender: &str, address: &str) -> crate::Resolved {
    let mut tables = TableRegistry::new();
    let (routing, problems) = Routing::compile(&Config::new(values), &mut tables);
    assert!(problems.is_empty(), "{problems:?}");
    let mut world = script.opened(&tables);
    let mut ledger = Ledger::default();
    routing.resolve(sender, address, &mut Ask { ledger: &mut ledger, world: &mut world }).unwrap()
}

/// Answers by question. Tables are named by specification; `static:X` answers X to every key.
#[derive(Clone, Debug, Default)]
pub struct Script {
    specs: Vec<Arc<str>>,
    tables: BTreeMap<(String, String), Result<String, String>>,
    dns: BTreeMap<(RecordType, String), DnsAnswer>,
    names: BTreeMap<String, PeerName>,
    policies: BTreeMap<String, Result<String, String>>,
    addresses: BTreeMap<String, String>,
    pub asked: Vec<Question>,
    /// Answer nothing at once; the driver has to.
    pub slow: bool,
}

impl Script {
    /// A world that answers nothing at once.
    pub fn silent() -> Self {
        Self { slow: true, ..Self::default() }
    }

    /// The same with the numbers of these tables.
    pub fn opened(self, tables: &TableRegistry) -> Self {
        let specs = tables.specs().iter().map(|used| used.spec.clone()).collect();
        Self { specs, ..self }
    }

    pub fn entry(mut self, spec: &str, key: &str, value: &str) -> Self {
        self.tables.insert((spec.into(), key.into()), Ok(value.into()));
        self
    }

    pub fn failure(mut self, spec: &str, key: &str, why: &str) -> Self {
        self.tables.insert((spec.into(), key.into()), Err(why.into()));
        self
    }

    /// Records in a short notation: `A 192.0.2.1`, `MX 10 mx.example`, `NS ns.example`, `TXT words`, `SERVFAIL`,
    /// `REFUSED`, `INVALID`, `NULLMX`, `POLICY` (for one type: `MX SERVFAIL`).
    pub fn dns(mut self, name: &str, records: &[&str]) -> Self {
        for record in records {
            self.add_record(name, record);
        }
        self
    }

    fn add_record(&mut self, name: &str, record: &str) {
        let (kind, data) = record.split_once(' ').unwrap_or((record, ""));
        let types = [
            ("A", RecordType::A),
            ("AAAA", RecordType::Aaaa),
            ("MX", RecordType::Mx),
            ("NS", RecordType::Ns),
            ("TXT", RecordType::Txt),
        ];
        let Some((_, rtype)) = types.iter().find(|(word, _)| *word == kind) else {
            for (word, _) in types {
                self.add_record(name, &format!("{word} {record}"));
            }
            return;
        };
        let key = (*rtype, name.to_owned());
        let status = match data {
            "SERVFAIL" => DnsStatus::Retry,
            "REFUSED" => DnsStatus::Fail,
            "INVALID" => DnsStatus::Invalid,
            "NULLMX" => DnsStatus::NullMx,
            "POLICY" => DnsStatus::Policy,
            _ => DnsStatus::Ok,
        };
        if status != DnsStatus::Ok {
            let reason = format!("{name} says {data}");
            self.dns.insert(key, DnsAnswer::failed(status, reason));
            return;
        }
        let record = match rtype {
            RecordType::Mx => {
                let (preference, host) = data.split_once(' ').unwrap();
                DnsRecord::Mx(preference.parse().unwrap(), host.into())
            }
            RecordType::Ns | RecordType::Ptr => DnsRecord::Name(data.into()),
            RecordType::Txt => DnsRecord::Txt(data.into()),
            RecordType::A | RecordType::Aaaa => DnsRecord::Address(data.parse().unwrap()),
        };
        let answer = self.dns.entry(key).or_insert_with(|| DnsAnswer::found(Vec::new(), Vec::new()));
        answer.records.push(record);
        answer.ttls.push(300);
    }

    pub fn name(mut self, address: &str, name: PeerName) -> Self {
        self.names.insert(address.into(), name);
        self
    }

    /// What is known of an address: `undeliverable: why`.
    pub fn address(mut self, address: &str, told: &str) -> Self {
        self.addresses.insert(address.into(), told.into());
        self
    }

    /// A policy service that always says the same.
    pub fn policy(mut self, name: &str, action: Result<&str, &str>) -> Self {
        self.policies.insert(name.into(), action.map(str::to_owned).map_err(str::to_owned));
        self
    }

    pub fn look(&self, question: &Question) -> Answer {
        match question {
            Question::Table { table: TableId(number), key } => {
                let spec = &self.specs[*number as usize];
                let found = match (spec.strip_prefix("static:"), spec.strip_prefix("broken:")) {
                    (Some(value), _) => Some(Ok(value.trim_matches(['{', '}']).to_owned())),
                    (_, Some(why)) => Some(Err(why.to_owned())),
                    _ => self.tables.get(&(spec.to_string(), key.clone())).cloned(),
                };
                Answer::Table(match found {
                    Some(Ok(value)) => Ok(Some(value.into())),
                    Some(Err(why)) => Err(why.into()),
                    None => Ok(None),
                })
            }
            Question::Dns { rtype, name } => {
                let missing = || {
                    let why = "Host or domain name not found. Name service error for";
                    DnsAnswer::failed(DnsStatus::NotFound, format!("{why} name={name} type=A: Host not found"))
                };
                Answer::Dns(Arc::new(self.dns.get(&(*rtype, name.to_string())).cloned().unwrap_or_else(missing)))
            }
            Question::PeerName(address) => {
                let unknown = || PeerName::unknown(PeerStatus::Permanent);
                Answer::PeerName(self.names.get(&address.to_string()).cloned().unwrap_or_else(unknown))
            }
            Question::Sleep { .. } => Answer::Done,
            Question::Verify { address, .. } => Answer::Verify(match self.addresses.get(&**address) {
                Some(told) => Verification::parse(told).unwrap(),
                None => Verification::parse("deliverable").unwrap(),
            }),
            Question::PolicyService { service, .. } => Answer::PolicyService(match self.policies.get(&*service.name) {
                Some(Ok(action)) => Ok(action.as_str().into()),
                Some(Err(why)) => Err(why.as_str().into()),
                None => Ok("DUNNO".into()),
            }),
        }
    }
}

impl World for Script {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        if self.slow {
            return None;
        }
        self.asked.push(question.clone());
        Some(self.look(question))
    }
}

/// `client.example.net[192.0.2.10]` says EHLO, MAIL FROM:<a@example.org>, RCPT TO:<u@example.com>.
pub fn facts() -> Facts {
    Facts {
        client: Client {
            address: Some("192.0.2.10".parse().unwrap()),
            port: 40000,
            name: Some(verified("client.example.net")),
        },
        server_address: None,
        server_port: 25,
        helo: Some("client.example.net".into()),
        protocol: Protocol::Esmtp,
        sender: Some("a@example.org".into()),
        recipient: Some("u@example.com".into()),
        argument: None,
        recipient_count: 0,
        syntax_only: false,
        etrn_domain: None,
        size: 0,
        queue_id: None,
        instance: String::new(),
        message: None,
        sasl: None,
        tls: None,
        improper_pipelining: false,
        smtputf8: false,
        now: 0,
        localtime: |seconds| format!("Jan 01 00:00:{seconds:02}"),
    }
}

pub fn verified(name: &str) -> PeerName {
    PeerName { name: name.into(), reverse: name.into(), name_status: PeerStatus::Ok, reverse_status: PeerStatus::Ok }
}

/// A policy with its world and its state.
#[derive(Clone, Debug)]
pub struct Bench {
    pub plan: Plan,
    pub problems: Vec<Diagnostic>,
    pub script: Script,
    pub state: PolicyState,
    pub facts: Facts,
}

impl Bench {
    pub fn new(values: &[(&str, &str)], script: Script) -> Self {
        Self::with(&Config::new(values), script)
    }

    pub fn with(config: &Config, script: Script) -> Self {
        let mut tables = TableRegistry::new();
        let (plan, problems) = Plan::compile(config, &mut tables);
        Self { plan, problems, script: script.opened(&tables), state: PolicyState::new(), facts: facts() }
    }

    pub fn sender(mut self, sender: &str) -> Self {
        self.facts.sender = Some(sender.into());
        self
    }

    pub fn recipient(mut self, recipient: &str) -> Self {
        self.facts.recipient = Some(recipient.into());
        self
    }

    pub fn helo(mut self, helo: &str) -> Self {
        self.facts.helo = Some(helo.into());
        self
    }

    pub fn client(mut self, address: &str) -> Self {
        self.facts.client.address = Some(address.parse().unwrap());
        self.facts.client.name = None;
        self
    }

    pub fn decide(&mut self, moment: Moment, stage: &'static str) -> Decision {
        let before = self.state.clone();
        let mut ledger = Ledger::default();
        let mut world = self.script.clone();
        world.asked.clear();
        let mut ask = Ask { ledger: &mut ledger, world: &mut world };
        let mut evaluation = Evaluation::start(moment, stage);
        let decision = evaluation.run(&self.plan, &self.facts, &mut self.state, &mut ask).unwrap();
        self.script.asked = world.asked;
        let slowly = self.decide_slowly(before, moment, stage);
        assert_eq!(format!("{decision:?}"), format!("{slowly:?}"), "one answer at a time gives another decision");
        decision
    }

    /// The same, with every question suspending once.
    fn decide_slowly(&self, mut state: PolicyState, moment: Moment, stage: &'static str) -> Decision {
        let mut ledger = Ledger::default();
        let mut world = Script::silent();
        let mut evaluation = Evaluation::start(moment, stage);
        for _ in 0..10_000 {
            let mut ask = Ask { ledger: &mut ledger, world: &mut world };
            match evaluation.run(&self.plan, &self.facts, &mut state, &mut ask) {
                Ok(decision) => {
                    assert_eq!(format!("{state:?}"), format!("{:?}", self.state));
                    return decision;
                }
                Err(Suspend) => {
                    let pending = ledger.take_pending();
                    assert!(!pending.is_empty(), "it waits for nothing");
                    for question in pending {
                        let answer = self.script.look(&question);
                        ledger.put(question, answer);
                    }
                }
            }
        }
        panic!("no decision");
    }

    pub fn rcpt(&mut self) -> Decision {
        self.decide(Moment::Rcpt, "RCPT")
    }

    /// The reply at RCPT TO, `250` for a permit.
    pub fn reply(&mut self) -> String {
        reply(&self.rcpt())
    }
}

pub fn reply(decision: &Decision) -> String {
    decision.rejection.as_ref().map_or("250".into(), |rejection| rejection.reply.clone())
}

/// The log of a decision, one string a line.
pub fn log(decision: &Decision) -> Vec<String> {
    let line = |entry: &LogEntry| match entry {
        LogEntry::Warning(text) | LogEntry::WarningOnce(text) => format!("warning: {text}"),
        LogEntry::Plain(text) => text.clone(),
        LogEntry::Event { word, text } => format!("{word}: {text}"),
    };
    decision.log.iter().map(line).collect()
}
