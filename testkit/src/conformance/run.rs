//! Running one scenario.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::golden::{Recording, Section};
use super::mail::{mail_section, without_size};
use super::normal::{ended_connections, log_section, normal, normal_milter, without_overlap};
use super::place::Place;
use super::postfix;
use super::scenario::{Block, SINK, Scenario};
use super::session::run_session;
use crate::peer::{Milter, MilterTraits, Policy, Sasl, Sink, Socketmap, TcpTable};
use crate::tools::{give_to_mail_owner, mail_owner};
use crate::{FixtureDns, Program, wait_until};

/// A scenario may take that long in all.
const LIMIT: Duration = Duration::from_secs(45);

/// The program under test.
#[derive(Clone, Debug)]
pub enum Peer {
    /// The `postern` program at this path.
    Postern(PathBuf),
    /// The installed Postfix; needs root.
    Postfix,
}

/// What a run needs from outside.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The program under test.
    pub peer: Peer,
    /// Where the certificates are.
    pub certificates: PathBuf,
    /// Postfix's postmap, if there is one.
    pub postmap: Option<PathBuf>,
    /// The sqlite3 program, if there is one.
    pub sqlite: Option<PathBuf>,
}

impl Tools {
    /// With the tools of this machine.
    pub fn find(peer: Peer, certificates: PathBuf) -> Self {
        Self { peer, certificates, postmap: crate::tools::find("postmap"), sqlite: crate::tools::find("sqlite3") }
    }

    /// Why a scenario can't be run on this machine, if it can't.
    pub fn missing(&self, scenario: &Scenario) -> Option<String> {
        let indexed = scenario.get("map").filter_map(|b| b.args.first()).find(|t| matches!(t.as_str(), "lmdb" | "cdb"));
        let plugin = |kind: &str| Path::new(&format!("/usr/lib/postfix/postfix-{kind}.so")).exists();
        match indexed {
            Some(_) if self.postmap.is_none() => return Some("it needs postmap (package postfix)".into()),
            Some(kind) if !plugin(kind) => return Some(format!("it needs package postfix-{kind}")),
            _ => {}
        }
        (scenario.get("sqlite").next().is_some() && self.sqlite.is_none()).then(|| "it needs package sqlite3".into())
    }
}

/// The servers that a scenario asked for.
struct Servers {
    dns: FixtureDns,
    sinks: Vec<(Block, Sink)>,
    policies: Vec<(Block, Policy)>,
    milters: Vec<(Block, Milter)>,
    _sasl: Vec<Sasl>,
    _tcp_tables: Vec<TcpTable>,
    _socketmaps: Vec<Socketmap>,
}

impl Servers {
    fn start(scenario: &Scenario, place: &Place, peer: &Peer) -> io::Result<Self> {
        let at = |block: &Block| place.address(block.args.first().map_or("", String::as_str));
        let each = |kind: &'static str| scenario.get(kind);
        let dns = match peer {
            Peer::Postern(_) => FixtureDns::start(&scenario.zone())?,
            Peer::Postfix => FixtureDns::start_at(&scenario.zone(), postfix::dns_address())?,
        };
        let sink = |block: &Block| -> io::Result<(Block, Sink)> {
            let keywords = block.option("ehlo").unwrap_or("8BITMIME").replace('_', " ");
            Ok((block.clone(), Sink::start(&at(block)?, &keywords.split(',').collect::<Vec<_>>(), &block.text)?))
        };
        let mut sinks = each("sink").map(sink).collect::<io::Result<Vec<_>>>()?;
        if !sinks.iter().any(|(b, _)| b.args[0] == SINK.to_string()) {
            sinks.push(sink(&Block { kind: "sink".into(), args: vec![SINK.to_string()], text: String::new() })?);
        }
        let sasl = |b: &Block| {
            Sasl::start(&at(b)?, &b.option("mech").unwrap_or("PLAIN,LOGIN").split(',').collect::<Vec<_>>(), &b.text)
        };
        Ok(Self {
            dns,
            sinks,
            policies: each("policy")
                .map(|b| Ok((b.clone(), Policy::start(&at(b)?, &place.apply(&b.text))?)))
                .collect::<io::Result<_>>()?,
            milters: each("milter")
                .map(|b| Ok((b.clone(), Milter::start(&at(b)?, MilterTraits::parse(&b.args), &b.text)?)))
                .collect::<io::Result<_>>()?,
            _sasl: each("sasl").map(sasl).collect::<io::Result<_>>()?,
            _tcp_tables: each("tcptable")
                .map(|b| TcpTable::start(&at(b)?, &place.apply(&b.text)))
                .collect::<io::Result<_>>()?,
            _socketmaps: each("socketmap")
                .map(|b| Socketmap::start(&at(b)?, &place.apply(&b.text)))
                .collect::<io::Result<_>>()?,
        })
    }

    fn recipients(&self) -> usize {
        self.sinks.iter().map(|(_, sink)| sink.recipients()).sum()
    }
}

/// How much mail is waited for after the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Mail for so many recipients.
    Recipients(usize),
    /// None for this long, when it is not known how much there will be.
    Quiet(Duration),
}

impl Awaited {
    fn wait(self, servers: &Servers) {
        match self {
            Self::Recipients(expected) => {
                wait_until(Duration::from_secs(10), || servers.recipients() >= expected);
            }
            Self::Quiet(time) => {
                let (mut seen, mut since) = (servers.recipients(), Instant::now());
                wait_until(Duration::from_secs(10), || {
                    if servers.recipients() != seen {
                        (seen, since) = (servers.recipients(), Instant::now());
                    }
                    since.elapsed() > time
                });
            }
        }
    }
}

/// Runs a scenario and waits for the mail.
pub fn run(scenario: &Scenario, tools: &Tools, awaited: Awaited) -> io::Result<Recording> {
    run_then(scenario, tools, awaited, |_| ()).map(|(recording, ())| recording)
}

/// The same, and then something with the configuration's directory, when the program has ended and the servers around it
/// are still there.
pub fn run_then<T>(
    scenario: &Scenario,
    tools: &Tools,
    awaited: Awaited,
    then: impl FnOnce(&Path) -> T,
) -> io::Result<(Recording, T)> {
    let place = Place::new(scenario)?;
    let deadline = Instant::now() + LIMIT;
    write_files(scenario, &place, tools)?;
    match tools.peer {
        Peer::Postfix => postfix::prepare(&place)?,
        Peer::Postern(_) => {
            let written = ["spool", "data", "log"].map(|name| place.root().join(name));
            give_to_mail_owner(written.iter().map(|p| p.as_path()))?;
        }
    }
    let servers = Servers::start(scenario, &place, &tools.peer)?;
    write_configuration(scenario, &place, tools, &servers.dns)?;
    age_files(&place.etc())?;
    let mut program = match &tools.peer {
        Peer::Postern(path) => serve(path, &place)?,
        Peer::Postfix => postfix::start(&place, &servers.dns)?,
    };
    let mut recording = Recording::default();
    if let Err(error) = program.wait_listening(&place.service_ports(scenario), Duration::from_secs(20)) {
        recording.note = place.restore(&format!("{error}\n{}", log_text(&place)));
    }
    hold_sessions(scenario, &place, tools, deadline, &mut recording)?;
    awaited.wait(&servers);
    std::thread::sleep(Duration::from_millis(150));
    let log = place.restore(&log_text(&place));
    program.stop(Duration::from_secs(3));
    let lines = recording.get_mut(Section::Log);
    *lines = log_section(&log);
    if scenario.get("session").any(|b| b.text.lines().any(|l| l.starts_with("@connect"))) {
        without_overlap(lines);
    }
    let mail: Vec<_> =
        servers.sinks.iter().flat_map(|(b, s)| s.messages().into_iter().map(|m| (b.args[0].clone(), m))).collect();
    *recording.get_mut(Section::Mail) = mail_section(&mail, |text| place.restore(text));
    *recording.get_mut(Section::Helper) = helper_section(scenario, &servers, &place);
    Ok((recording, then(&place.etc())))
}

/// Look-ups are given up after a second, whatever this machine's resolv.conf says: the goldens were recorded so.
fn serve(postern: &Path, place: &Place) -> io::Result<Program> {
    let mut command = Command::new(postern);
    command.arg("serve").arg("--config-dir").arg(place.etc());
    command.env("TZ", "UTC").env("RES_OPTIONS", "timeout:1 attempts:1");
    Program::start(&mut command, &place.root().join("output"))
}

fn hold_sessions(
    scenario: &Scenario,
    place: &Place,
    tools: &Tools,
    deadline: Instant,
    recording: &mut Recording,
) -> io::Result<()> {
    let (mut connections, mut patience) = (0, Duration::from_secs(2));
    for block in scenario.get("session") {
        let replies = recording.get_mut(Section::Replies);
        let made = run_session(block, place, &tools.certificates, deadline, replies);
        connections += made.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        if !wait_until(patience, || ended_connections(&log_text(place)) >= connections) {
            patience = Duration::from_millis(300);
        }
    }
    Ok(())
}

fn log_text(place: &Place) -> String {
    let read =
        |name: &str| String::from_utf8_lossy(&fs::read(place.root().join(name)).unwrap_or_default()).into_owned();
    read("log/maillog") + &read("output")
}

fn write_files(scenario: &Scenario, place: &Place, tools: &Tools) -> io::Result<()> {
    let etc = place.etc();
    for name in ["cert.pem", "key.pem"] {
        fs::copy(tools.certificates.join(format!("server-{name}")), etc.join(name))?;
    }
    let name = |block: &Block, i: usize| block.args.get(i).map_or(etc.clone(), |n| etc.join(n));
    for block in scenario.get("file") {
        fs::write(name(block, 0), place.apply(&block.text))?;
    }
    for block in scenario.get("map") {
        fs::write(name(block, 1), place.apply(&block.text))?;
    }
    for (block, sqlite) in scenario.get("sqlite").zip(tools.sqlite.iter().cycle()) {
        succeed(Command::new(sqlite).arg(name(block, 0)).arg(place.apply(&block.text)))?;
    }
    let Some(postmap) = &tools.postmap else { return Ok(()) };
    // a configuration of its own, so that it needs none in /etc/postfix
    let scratch = place.root().join("postmap");
    fs::create_dir(&scratch)?;
    fs::write(scratch.join("main.cf"), "compatibility_level = 3.6\nmeta_directory = /etc/postfix\n")?;
    for block in scenario.get("map") {
        let table = format!("{}:{}", block.args[0], name(block, 1).display());
        succeed(Command::new(postmap).arg("-c").arg(&scratch).arg(table))?;
    }
    Ok(())
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))))
}

fn write_configuration(scenario: &Scenario, place: &Place, tools: &Tools, dns: &FixtureDns) -> io::Result<()> {
    let root = place.root().display();
    let mut main_cf = place.apply(&scenario.main_cf());
    main_cf +=
        &format!("queue_directory = {root}/spool\ndata_directory = {root}/data\nmaillog_file_prefixes = {root}\n");
    main_cf += &format!("smtp_tcp_port = {}\n", place.smtp_port());
    main_cf += &match tools.peer {
        Peer::Postern(_) => {
            let owner = mail_owner().map_or_else(String::new, |name| format!("mail_owner = {name}\n"));
            format!("postern_dns_servers = {}\n{owner}", dns.server())
        }
        Peer::Postfix => postfix::MAIN_CF.to_owned(),
    };
    fs::write(place.etc().join("main.cf"), main_cf)?;
    let master_cf = scenario.master_cf().iter().map(|e| place.apply_entry(e) + "\n").collect::<String>();
    fs::write(place.etc().join("master.cf"), master_cf)
}

/// Postfix waits for files that changed a moment ago, and complains about an index older than its text.
fn age_files(etc: &Path) -> io::Result<()> {
    for entry in fs::read_dir(etc)? {
        let path = entry?.path();
        let index = path.extension().is_some_and(|e| ["db", "lmdb", "cdb"].iter().any(|x| e == *x));
        let age = Duration::from_secs(if index { 50 } else { 100 });
        fs::File::options().write(true).open(&path)?.set_modified(SystemTime::now() - age)?;
    }
    Ok(())
}

fn helper_section(scenario: &Scenario, servers: &Servers, place: &Place) -> Vec<String> {
    let mut out = Vec::new();
    let masks: BTreeMap<&str, &str> =
        [("instance", "X"), ("queue_id", "QID"), ("client_port", "PORT"), ("mail_version", "VERSION")].into();
    for (_, policy) in servers.policies.iter().filter(|(b, _)| b.has("record")) {
        for request in policy.requests() {
            out.push("policy request".to_owned());
            let shown = |(key, value): (&String, &String)| {
                let mask = masks.get(key.as_str()).filter(|_| !value.is_empty());
                format!("  {key}={}", mask.map_or_else(|| place.restore(value), |m| m.to_string()))
            };
            let mut lines: Vec<String> = request.iter().map(shown).collect();
            lines.sort();
            out.extend(lines);
        }
    }
    for (block, sink) in servers.sinks.iter().filter(|(b, _)| b.has("log")) {
        let line = |l: &String| format!("sink {}: {}", block.args[0], normal(&place.restore(&without_size(l))));
        out.extend(sink.dialogue().iter().map(line));
    }
    for (block, milter) in servers.milters.iter().filter(|(b, _)| b.has("record")) {
        let line = |l: &String| format!("milter {}: {}", block.args[0], normal_milter(&place.restore(l)));
        out.extend(milter.told().iter().map(line));
    }
    if scenario.text("dns").contains("show-queries") {
        let asked: std::collections::BTreeSet<String> = servers.dns.log().into_iter().collect();
        out.extend(asked.iter().map(|q| format!("dns {q}")));
    }
    out
}
