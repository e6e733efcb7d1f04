//! Dialogs: SMTP sessions as a postmaster writes them down (docs/dialogs.md), played with the real session and policy
//! engine, without sockets and without waiting.

use super::script::{Script, Session, Step};
use super::session::{Rehearsal, Setting, Stuck};
use super::zone::{Scripted, Zone};
use crate::daemon::site::{Site, Source, load};
use policy::{PeerName, PeerStatus};
use std::path::Path;
use std::sync::Arc;

/// What every dialog's main.cf begins with; a name given in the dialog comes later and so replaces the one here.
const BASE_MAIN: &str = "\
compatibility_level = 3.12
mail_name = Postfix
myhostname = mail.example.com
mydomain = example.com
myorigin = example.com
mydestination = $myhostname, localhost.$mydomain, localhost, example.com
mynetworks = 127.0.0.1/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relay_domains = relay.example
local_recipient_maps =
alias_maps =
biff = no
notify_classes =
";

const MASTER: &str = "\
smtp   inet n - n - - smtpd
smtp   unix - - n - - smtp
relay  unix - - n - - smtp
local  unix - n n - - local
";

/// The moment when a dialog begins, in seconds since the epoch.
const BEGINNING: u64 = 1_700_000_000;

/// Play a whole file, with `directory` for its configuration.
///
/// # Errors
/// What was not as the dialog has it, with the file and the line.
pub fn play(file: &str, text: &str, directory: &Path) -> Result<(), String> {
    let script = Script::parse(file, text)?;
    let zone = Zone::new(file, &script.dns)?;
    let site = configure(&script, directory)?;
    script.sessions.iter().try_for_each(|session| converse(file, &site, &zone, session))
}

fn configure(script: &Script, directory: &Path) -> Result<Site, String> {
    let at = |problem: std::io::Error| format!("{}: {problem}", script.file);
    let write = |name: &str, content: &str| std::fs::write(directory.join(name), content).map_err(at);
    // The base comes first: a problem's line less the base's is the line in [main.cf].
    write("main.cf", &format!("{BASE_MAIN}{}", script.main_cf))?;
    write("master.cf", MASTER)?;
    script.files.iter().try_for_each(|(name, content)| write(name, content))?;
    let (site, mut problems) = load(&Source::Directory(directory.to_owned()));
    // STARTTLS is played without keys.
    problems.retain(|problem| problem.code != "tls-unavailable");
    let base = BASE_MAIN.lines().count();
    let Some(site) = site.filter(|_| problems.is_empty()) else {
        let problems = problems.iter().map(|problem| {
            let line = problem.span.as_ref().map_or(0, |span| (span.line as usize).saturating_sub(base));
            format!("{}:{}: {}", script.file, script.main_cf_at + line, problem.message)
        });
        return Err(problems.collect::<Vec<_>>().join("\n"));
    };
    Ok(site)
}

fn converse(file: &str, site: &Site, zone: &Zone, session: &Session) -> Result<(), String> {
    let here = |at: usize, problem: String| format!("{file}:{at}: session {}: {problem}", session.name);
    let mut player = Player::begin(site, zone, session).map_err(|problem| here(session.at, told(problem)))?;
    let mut last = session.at;
    for (at, step) in &session.steps {
        player.step(step).map_err(|problem| here(*at, problem))?;
        last = *at;
    }
    // Who mentions one log line mentions them all; likewise content.
    let has = |wanted: fn(&Step) -> bool| session.steps.iter().any(|(_, step)| wanted(step));
    let log = has(|step| matches!(step, Step::Log(_)));
    let content = has(|step| matches!(step, Step::Content(_)));
    player.end(log, content).map_err(|problem| here(last, problem))
}

fn told(stuck: Stuck) -> String {
    match stuck {
        Stuck::Question(question) => format!("nobody answers {question:?}"),
        Stuck::Impossible(text) => text,
    }
}

/// A rehearsal that is compared with what a dialog has.
struct Player<'a>(Rehearsal<Scripted<'a>>);

impl<'a> Player<'a> {
    fn begin(site: &'a Site, zone: &'a Zone, script: &Session) -> Result<Self, Stuck> {
        let named = |name: &String| PeerName {
            name: name.as_str().into(),
            reverse: name.as_str().into(),
            name_status: PeerStatus::Ok,
            reverse_status: PeerStatus::Ok,
        };
        let setting = Setting {
            service: Arc::clone(&site.services[0]),
            address: Some(script.from),
            port: 40_000,
            names: script.client_name.as_ref().map_or_else(|| zone.peer(script.from), named),
            server_address: Some([127, 0, 0, 1].into()),
            server_port: 25,
            login: None,
            tls: None,
            epoch: BEGINNING,
            localtime: |_| "Nov 14 22:13:20".to_owned(),
            keep: false,
            cleanup: false,
            signers: Vec::new(),
        };
        Rehearsal::begin(setting, Scripted { zone, tables: &site.tables }).map(Self)
    }

    /// One line of the dialog; the error says what was there instead.
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Self(rehearsal) = self;
        if matches!(step, Step::Send(_) | Step::HangUp | Step::Pass(_) | Step::Closed)
            && let Some(reply) = rehearsal.replies.front()
        {
            return Err(format!("before this line comes the reply\n       S: {reply}"));
        }
        match step {
            Step::Send(_) | Step::HangUp if rehearsal.closed => Err("the session is over".to_owned()),
            Step::Send(bytes) => rehearsal.send(bytes).map_err(told),
            Step::HangUp => rehearsal.hang_up().map_err(told),
            Step::Pass(milliseconds) => rehearsal.pass(*milliseconds).map_err(told),
            Step::Closed if rehearsal.closed => Ok(()),
            Step::Closed => Err("the session is still open".to_owned()),
            Step::Reply(text) => same("S: ", text, rehearsal.replies.pop_front()),
            Step::Log(text) => same("L: ", text, rehearsal.log.pop_front()),
            Step::Content(bytes) => {
                let found = rehearsal.messages.pop_front();
                let show = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
                same("M: ", &show(bytes), found.as_deref().map(show))
            }
        }
    }

    /// The dialog is over: no reply may be left that it doesn't mention, nor log lines or messages if it shows any.
    fn end(&mut self, log: bool, messages: bool) -> Result<(), String> {
        let Self(rehearsal) = self;
        let reply = rehearsal.replies.pop_front().map(|text| format!("S: {text}"));
        let line = rehearsal.log.pop_front().filter(|_| log).map(|text| format!("L: {text}"));
        let message = rehearsal.messages.pop_front().filter(|_| messages);
        let message = message.map(|bytes| format!("M: \"{}\"", bytes.escape_ascii()));
        match reply.or(line).or(message) {
            Some(left) => Err(format!("after the last line of this session comes\n       {left}")),
            None => Ok(()),
        }
    }
}

fn same(kind: &str, expected: &str, found: Option<String>) -> Result<(), String> {
    match found {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(format!("not as expected\nexpected {kind}{expected}\n   found {kind}{found}")),
        None => Err(format!("not as expected\nexpected {kind}{expected}\n   found nothing yet")),
    }
}
