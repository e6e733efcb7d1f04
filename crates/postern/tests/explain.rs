//! What `postern explain` prints, word for word: `tests/explain/NAME.out`. With `POSTERN_RECORD=1` they are written anew.

use std::path::Path;
use std::process::Command;

/// Name of the recording, and the command line behind `postern explain -c tests/explain`.
const CASES: [(&str, &[&str]); 12] = [
    ("policy", &["--policy"]),
    ("relay-denied", &["--dns", "zone", "--client", "192.0.2.10", "-f", "a@b.example", "-t", "v@example.org"]),
    ("dnsbl", &["--dns", "zone", "--client", "192.0.2.66", "-f", "a@b.example", "-t", "u@example.com"]),
    ("table-entry", &["--dns", "zone", "--client", "203.0.113.9", "-f", "a@b.example", "-t", "u@example.com"]),
    ("unknown-user", &["--dns", "zone", "--client", "198.51.100.7", "-f", "", "-t", "nobody@example.com"]),
    ("offline", &["--offline", "--client", "192.0.2.10", "-f", "a@b.example", "-t", "u@example.com"]),
    (
        "header",
        &[
            "--offline",
            "--client",
            "127.0.0.1",
            "-f",
            "a@b.example",
            "-t",
            "u@example.com",
            "--header",
            "Subject: Free money",
        ],
    ),
    (
        "discarded",
        &[
            "--offline",
            "--client",
            "127.0.0.1",
            "-t",
            "u@example.com",
            "--header",
            "X-Loop: mail",
            "--header",
            "X-Mailer: y",
        ],
    ),
    (
        "message",
        &["--offline", "--client", "127.0.0.1", "-f", "a@b.example", "-t", "list@example.com", "--message", "message"],
    ),
    (
        "body",
        &["--offline", "--client", "127.0.0.1", "-f", "a@b.example", "-t", "u@example.com", "--message", "program"],
    ),
    (
        "login",
        &["--offline", "--service", "submission", "--client", "192.0.2.10", "--login", "joe", "-t", "v@example.org"],
    ),
    (
        "log-line",
        &[
            "--offline",
            "Nov 22 12:00:00 mx postfix/smtpd[7]: NOQUEUE: reject: RCPT from unknown[203.0.113.9]: 554 5.7.1 no; \
             from=<a@b.example> to=<u@example.com> proto=SMTP helo=<x.example>",
        ],
    ),
];

fn explain(arguments: &[&str]) -> (String, Option<i32>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/explain");
    let output = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["explain", "-c", "."])
        .args(arguments)
        .current_dir(&directory)
        .output()
        .expect("postern runs");
    let here = directory.canonicalize().expect("the directory is there").display().to_string();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text.replace(&format!("{here}/"), "/etc/postfix/"), output.status.code())
}

#[test]
fn recordings() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/explain");
    for (name, arguments) in CASES {
        let path = directory.join(format!("{name}.out"));
        let (text, status) = explain(arguments);
        if std::env::var_os("POSTERN_RECORD").is_some() {
            std::fs::write(&path, &text).expect("writable");
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, recorded, "{name}");
        let accepted = text.contains("\nAccepted\n") || name == "policy";
        assert_eq!(status, Some(i32::from(!accepted)), "{name}");
    }
}

#[test]
fn json_has_the_same_story() {
    let case = ["--dns", "zone", "--json", "--client", "192.0.2.66", "-f", "a@b.example", "-t", "u@example.com"];
    let story: serde_json::Value = serde_json::from_str(&explain(&case).0).expect("JSON");
    assert_eq!(story["accepted"], false);
    assert!(story["decided_by"].as_str().is_some_and(|text| text.starts_with("reject_rbl_client bl.example (")));
    let steps = &story["exchanges"][3]["decisions"][0]["steps"];
    assert!(steps.as_array().is_some_and(|steps| steps.iter().any(|step| step["outcome"] == "not reached")));
}

#[test]
fn missing_facts_are_asked_for() {
    for (arguments, text) in [
        (
            &["-t", "u@example.com"][..],
            "postern: who is the client? Give --client ADDRESS, or a line of the mail log\n",
        ),
        (&["--client", "192.0.2.1"], "postern: who is the recipient? Give --recipient ADDRESS\n"),
        (
            &["--service", "smtps", "--client", "192.0.2.1"],
            "postern: master.cf has no smtpd service \"smtps\"; it has: smtp, submission\n",
        ),
    ] {
        assert_eq!(explain(arguments), (text.to_owned(), Some(1)), "{arguments:?}");
    }
}
