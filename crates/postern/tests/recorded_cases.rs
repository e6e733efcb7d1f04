//! `postern test --record`: cases made from decisions come out as the decisions did.

mod held;

use held::{Says, Scene, hold};
use postern::daemon::site::{self, Source};
use postern::maillog::{Log, Target};
use postern::record::{Recorder, Settings};
use postern::rehearsal::Zone;
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

type Row = (&'static str, Option<&'static str>, &'static [Says<'static>], &'static [&'static str]);

/// Sessions: client, login, what policy services say, and the lines.
const SCENES: &[Row] = &[
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
    for (number, (client, login, actions, lines)) in (0..).zip(SCENES) {
        hold(&site, &zone, number, &Scene { client, login: *login, actions, lines }, &recorder);
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
