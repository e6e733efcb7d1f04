//! Plays the dialogs of `tests/dialogs`: SMTP sessions as a postmaster writes them down (docs/dialogs.md), with the
//! real session and policy engine, without sockets and without waiting.

#[path = "dialogs/conversation.rs"]
mod conversation;
#[path = "dialogs/script.rs"]
mod script;
#[path = "dialogs/world.rs"]
mod world;

use conversation::Conversation;
use postern::daemon::site::{Site, Source, load};
use script::{Script, Session, Step};
use std::path::Path;
use world::Zone;

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
smtpd_tls_security_level = none
";

const MASTER: &str = "\
smtp   inet n - n - - smtpd
smtp   unix - - n - - smtp
relay  unix - - n - - smtp
local  unix - n n - - local
";

/// Play a whole file; the error names the file and the line.
fn play(file: &str, text: &str) -> Result<(), String> {
    let script = Script::parse(file, text)?;
    let zone = Zone::new(file, &script.dns)?;
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let site = configure(&script, directory.path())?;
    script.sessions.iter().try_for_each(|session| converse(file, &site, &zone, session))
}

fn configure(script: &Script, directory: &Path) -> Result<Site, String> {
    let at = |problem: std::io::Error| format!("{}: {problem}", script.file);
    let write = |name: &str, content: &str| std::fs::write(directory.join(name), content).map_err(at);
    // The base comes first: a problem's line less the base's is the line in [main.cf].
    write("main.cf", &format!("{BASE_MAIN}{}", script.main_cf))?;
    write("master.cf", MASTER)?;
    script.files.iter().try_for_each(|(name, content)| write(name, content))?;
    let (site, problems) = load(&Source::Directory(directory.to_owned()));
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
    let mut conversation = Conversation::begin(site, zone, session).map_err(|problem| here(session.at, problem))?;
    let mut last = session.at;
    for (at, step) in &session.steps {
        conversation.step(step).map_err(|problem| here(*at, problem))?;
        last = *at;
    }
    // Who mentions one log line mentions them all; likewise content.
    let has = |wanted: fn(&Step) -> bool| session.steps.iter().any(|(_, step)| wanted(step));
    let log = has(|step| matches!(step, Step::Log(_)));
    let content = has(|step| matches!(step, Step::Content(_)));
    conversation.end(log, content).map_err(|problem| here(last, problem))
}

#[test]
fn dialogs() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dialogs");
    let entries = std::fs::read_dir(&directory).expect("tests/dialogs is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "dialog"));
    paths.sort();
    assert!(!paths.is_empty(), "no dialogs in {}", directory.display());
    let failures: Vec<String> = paths
        .iter()
        .filter_map(|path| {
            let name = format!("tests/dialogs/{}", path.file_name().unwrap_or_default().display());
            let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"));
            text.and_then(|text| play(&name, &text)).err()
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} dialogs failed\n\n{}\n", failures.len(), paths.len(), failures.join("\n\n"));
}

/// The example of docs/dialogs.md is one.
#[test]
fn the_documented_example() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dialogs.md"));
    let page = page.expect("docs/dialogs.md is there");
    let example = page.split("```\n").find(|block| block.contains("[main.cf]\n")).expect("it has an example");
    assert_eq!(play("docs/dialogs.md, example", example), Ok(()));
}

/// A dialog that is wrong in one place is refused, and the message leads there.
#[test]
fn wrong_expectations_fail() {
    let greeting = "S: 220 mail.example.com ESMTP Postfix\n";
    for (lines, problem) in [
        (
            "S: 220 mail.example.com ESMTP\n",
            "x:4: session a: not as expected\nexpected S: 220 mail.example.com ESMTP\n   found S: 220 mail.example.com ESMTP Postfix",
        ),
        ("C: NOOP\n", "x:4: session a: before this line comes the reply\n       S: 220 mail.example.com ESMTP Postfix"),
        ("", "x:3: session a: after the last line of this session comes\n       S: 220 mail.example.com ESMTP Postfix"),
        ("@S: 250 2.0.0 Ok\n", "x:5: session a: not as expected\nexpected S: 250 2.0.0 Ok\n   found nothing yet"),
        ("@S: <closed>\n", "x:5: session a: the session is still open"),
        ("@C: QUIT\nS: 221 2.0.0 Bye\nC: NOOP\n", "x:7: session a: the session is over"),
        // After the first error replies are a second late.
        (
            "@C: FOO\nS: 500 5.5.2 Error: command not recognized\nC: FOO\nT: 999ms\nS: 500 5.5.2 Error: command not recognized\n",
            "x:9: session a: not as expected\nexpected S: 500 5.5.2 Error: command not recognized\n   found nothing yet",
        ),
        (
            "@C: FOO\nS: 500 5.5.2 Error: command not recognized\nC: FOO\nT: 1s\nT: 1s\n",
            "x:9: session a: before this line comes the reply\n       S: 500 5.5.2 Error: command not recognized",
        ),
        (
            "@L: connect from unknown[192.0.2.10]\n",
            "x:5: session a: not as expected\nexpected L: connect from unknown[192.0.2.10]\n   found L: connect from client.example.net[192.0.2.10]",
        ),
        (
            "@L: connect from client.example.net[192.0.2.10]\nC: <closed>\n",
            "x:6: session a: after the last line of this session comes\n       L: NOQUEUE: lost connection after CONNECT from client.example.net[192.0.2.10]",
        ),
        ("@M: \"a\\n\"\n", "x:5: session a: not as expected\nexpected M: \"a\\n\"\n   found nothing yet"),
    ] {
        let lines = lines.replace('@', greeting);
        let text = format!("[main.cf]\nsmtpd_soft_error_limit = 1\n[session a]\n{lines}");
        assert_eq!(play("x", &text), Err(problem.to_owned()), "{text}");
    }
}

/// What is wrong outside the sessions is told with its line, too.
#[test]
fn wrong_configurations_fail() {
    for (text, problem) in [
        (
            "Words.\n[main.cf]\n\nsmtpd_sender_restrictions = reject_unknwon_sender_domain\n[session a]\n",
            "x:4: smtpd_sender_restrictions: unknown smtpd restriction: \"reject_unknwon_sender_domain\"",
        ),
        ("[dns]\nname MX\n[session a]\n", "x:2: a record is `name TYPE data` or `name SERVFAIL`, not: name MX"),
    ] {
        assert_eq!(play("x", text), Err(problem.to_owned()), "{text}");
    }
}
