//! `postern test --record`: cases made from decisions come out as the decisions did.

use policy::{Answer, PeerName, PeerStatus, Question, Sasl, World};
use postern::daemon::site::{self, Service, Site, Source};
use postern::maillog::{Log, Target};
use postern::record::{Code, Made, Recorder, Settings};
use postern::rehearsal::{Decided, Rehearsal, Setting, Zone};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const MAIN_CF: &str = "\
compatibility_level = 3.12
myhostname = mail.example.com
mydestination = example.com
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
data_directory = DIR/data
local_recipient_maps = tcp:127.0.0.1:1
smtpd_reject_footer = \\c; call us
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_sender_restrictions = check_sender_access texthash:DIR/senders
smtpd_recipient_restrictions =
    reject_unknown_client_hostname
    reject_unknown_sender_domain
    reject_rbl_client bl.example
    check_policy_service inet:127.0.0.1:10023
    check_recipient_access pcre:DIR/recipients
    check_policy_service inet:127.0.0.1:10023
smtpd_data_restrictions = reject_multi_recipient_bounce, check_policy_service inet:127.0.0.1:10023
";

const ZONE: &str = "\
@rev 192.0.2.10 PTR client.example.net
client.example.net A 192.0.2.10
@rev 192.0.2.66 PTR listed.example.net
listed.example.net A 192.0.2.66
@rev 192.0.2.70 SERVFAIL
@rev 192.0.2.71 PTR forged.example.net
@bl 192.0.2.66 bl.example A 127.0.0.2
@bl 192.0.2.66 bl.example TXT \"two  blanks, \\ and \"\"quotes\"\"
b.example MX 10 mx.b.example
null.example MX 0 .
";

/// Everything that is asked: the zone, the tables in files, users by a rule, policy actions in turn.
struct Around<'a> {
    site: &'a Site,
    zone: &'a Zone,
    actions: VecDeque<Result<&'static str, &'static str>>,
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
    }
}

/// Sessions: client, login, what policy services say, and the lines.
type Scene =
    (&'static str, Option<&'static str>, &'static [Result<&'static str, &'static str>], &'static [&'static str]);

const SCENES: &[Scene] = &[
    ("192.0.2.10", None, &[], &["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<user@example.com>", "DATA", "."]),
    ("192.0.2.10", None, &[], &["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<x@elsewhere.example>"]),
    ("192.0.2.10", None, &[], &["HELO c", "MAIL FROM:<a@none.example>", "RCPT TO:<user@example.com>"]),
    ("192.0.2.10", None, &[], &["HELO c", "MAIL FROM:<a@null.example>", "RCPT TO:<user@example.com>"]),
    ("192.0.2.66", None, &[], &["MAIL FROM:<a@b.example> SIZE=100", "RCPT TO:<user@example.com>"]),
    ("192.0.2.70", None, &[], &["EHLO c", "MAIL FROM:<>", "RCPT TO:<user@example.com>"]),
    ("192.0.2.71", None, &[], &["EHLO c", "MAIL FROM:<>", "RCPT TO:<user@example.com>"]),
    ("192.0.2.99", None, &[], &["EHLO c", "MAIL FROM:<>", "RCPT TO:<user@example.com>"]),
    ("192.0.2.10", None, &[], &["EHLO c", "MAIL FROM:<bad@b.example>", "RCPT TO:<user@example.com>"]),
    ("192.0.2.10", None, &[], &["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<nobody@example.com>"]),
    ("192.0.2.10", None, &[], &["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<broken@example.com>"]),
    ("192.0.2.10", None, &[], &["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<\"u \\\\q\"@example.com>"]),
    ("192.0.2.99", Some("joe"), &[], &["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<x@elsewhere.example>"]),
    (
        "192.0.2.10",
        None,
        &[Ok("dunno"), Ok("reject 5.7.1 \"second\" time")],
        &["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<user@example.com>"],
    ),
    (
        "192.0.2.10",
        None,
        &[Ok("dunno"), Err("problem talking to server 127.0.0.1:10023: gone")],
        &["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<user@example.com>"],
    ),
    (
        "192.0.2.10",
        None,
        &[Ok("dunno"), Ok("dunno"), Ok("dunno"), Ok("dunno"), Ok("defer_if_permit later")],
        &["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<user@example.com>", "RCPT TO:<u2@example.com>", "DATA"],
    ),
    (
        "192.0.2.10",
        None,
        &[],
        &[
            "EHLO c",
            "MAIL FROM:<>",
            "RCPT TO:<user@example.com>",
            "RCPT TO:<nobody@example.com>",
            "RCPT TO:<u2@example.com>",
            "DATA",
        ],
    ),
];

/// Holds the session and hands its decisions over.
fn hold(site: &Arc<Site>, zone: &Zone, number: u64, scene: &Scene, recorder: &Recorder) {
    let (client, login, actions, lines) = scene;
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
        recorder.submit(Made {
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
        });
    }
}

fn run(arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_postern")).arg("test").args(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

fn write_configuration(directory: &Path) {
    let here = directory.display().to_string();
    for (name, text) in [
        ("main.cf", MAIN_CF.replace("DIR", &here)),
        ("master.cf", "smtp inet n - n - - smtpd\n".to_owned()),
        ("senders", "bad@b.example REJECT not \"you\"\nb.example DUNNO\n".to_owned()),
        ("recipients", "/^u2@/ DUNNO\n".to_owned()),
    ] {
        std::fs::write(directory.join(name), text).expect("writable");
    }
}

#[test]
fn cases_come_out_as_the_decisions_did() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path().display().to_string();
    write_configuration(directory.path());
    let (site, problems) = site::load(&Source::new(Some(directory.path())));
    let site = Arc::new(site.unwrap_or_else(|| panic!("{problems:?}")));
    let lines: Vec<(usize, String)> = (1..).zip(ZONE.lines().map(str::to_owned)).collect();
    let zone = Zone::empty("zone", &lines).expect("a zone");
    let (log, _writer) = Log::open(&Target::Stderr, "mail").expect("a log");
    let recorder = Recorder::start(Settings::of(&site), Vec::new(), log).expect("a thread");
    let (recorder, thread) = recorder.expect("decisions are kept");
    for (number, scene) in (0..).zip(SCENES) {
        hold(&site, &zone, number, scene, &recorder);
    }
    recorder.stop();
    thread.join().expect("the thread ends");

    let (cases, errors, status) = run(&["--record", "all", "--limit", "100", "-c", &here]);
    assert_eq!((errors.as_str(), status), ("", Some(0)), "{cases}");
    let file = directory.path().join("cases.toml").display().to_string();
    std::fs::write(&file, &cases).expect("writable");
    let (out, errors, status) = run(&[&file, "-c", &here]);
    let count = cases.matches("[[case]]").count();
    assert!(out.starts_with(&format!("{count} passed, 0 failed in ")), "{out}{errors}\n{cases}");
    assert_eq!((count, status), (SCENES.len() + 3, Some(0)), "{cases}");
    // Recipients before others of the same message, which has a case of its own; and one without a message.
    assert_eq!(cases.matches("until = \"RCPT\"").count(), 3, "{cases}");
    // They hold only with these answers.
    for (text, other) in [("bl.example A 127.0.0.2", "bl.example A NXDOMAIN"), ("REJECT not", "DUNNO not")] {
        assert!(cases.contains(text), "{cases}");
        std::fs::write(&file, cases.replace(text, other)).expect("writable");
        let (out, ..) = run(&[&file, "-c", &here]);
        assert!(out.contains(" 1 failed in "), "{out}");
    }

    let (case, ..) = run(&["--record", "bad@b.example", "-c", &here]);
    let lines: Vec<&str> = case.lines().skip(2).collect();
    let expected = format!(
        r#"client = "192.0.2.10"
client_name = "client.example.net"
helo = "c"
sender = "bad@b.example"
recipient = "user@example.com"
clock = 2026-09-21T14:13:20Z
expect = "reject"
reply = "554 5.7.1 <bad@b.example>: Sender address rejected: not \"you\"; call us"
restriction = "check_sender_access texthash:{here}/senders"
[case.tables]
"texthash:{here}/senders" = {{ "bad@b.example" = "REJECT not \"you\"" }}"#
    );
    assert_eq!(lines.join("\n").trim_end(), expected);
    let (none, errors, status) = run(&["--record", "nobody@nowhere.example", "-c", &here]);
    assert_eq!((none.as_str(), status), ("", Some(1)));
    assert!(errors.starts_with("postern: no decision about \"nobody@nowhere.example\" in "), "{errors}");
}
