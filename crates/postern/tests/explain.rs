//! What `postern explain` prints, word for word: `tests/explain/NAME.out`. With `POSTERN_RECORD=1` they are written anew.

use std::path::Path;
use std::process::Command;

/// Name of the recording, and the command line behind `postern explain -c tests/explain`.
const CASES: [(&str, &[&str]); 13] = [
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
        "certificate",
        &[
            "--offline",
            "--service",
            "127.0.0.1:2525",
            "--client",
            "192.0.2.10",
            "--reverse",
            "mx.partner.example",
            "--certificate",
            "12:ab:34:cd",
            "-t",
            "v@example.org",
        ],
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
            "postern: master.cf has no smtpd service \"smtps\"; it has: smtp, submission, 127.0.0.1:2525\n",
        ),
    ] {
        assert_eq!(explain(arguments), (text.to_owned(), Some(1)), "{arguments:?}");
    }
}

/// What people ask most: a setting, a client, sender and recipient, and how the advice begins.
const ASKED: &[(&str, [&str; 3], &str)] = &[
    (
        "",
        ["192.0.2.10", "a@b.example", "v@elsewhere.example"],
        "if elsewhere.example is yours: add it to mydestination",
    ),
    (
        "",
        ["192.0.2.10", "a@b.example", "nobody@example.com"],
        "if nobody@example.com should exist: add it to the table",
    ),
    (
        "reject_rbl_client bl.example",
        ["192.0.2.66", "a@b.example", "u@example.com"],
        "the owner of the address can ask the list",
    ),
    (
        "reject_rbl_client gone.example",
        ["192.0.2.66", "a@b.example", "u@example.com"],
        "192.0.2.80 is not the answer of a blocklist (127.0.0.0/8): gone.example is gone, or the resolver lies; take it out, or ask \
         for its own answers: reject_rbl_client gone.example=127.0.0.[2..11]",
    ),
    (
        "reject_unknown_client_hostname",
        ["192.0.2.99", "a@b.example", "u@example.com"],
        "the owner of 192.0.2.99 can give it a name in DNS that leads back to it",
    ),
    (
        "reject_unknown_helo_hostname",
        ["192.0.2.10", "a@b.example", "u@example.com"],
        "the client should say its full host name in EHLO, one that DNS knows",
    ),
    (
        "reject_unknown_sender_domain",
        ["192.0.2.10", "a@nowhere.example", "u@example.com"],
        "the domain needs an MX or address record",
    ),
    ("reject_non_fqdn_sender", ["192.0.2.10", "root@b", "u@example.com"], "the address needs a full domain"),
    (
        "reject_sender_login_mismatch",
        ["192.0.2.10", "u@example.com", "u@example.com"],
        "smtpd_sender_login_maps should give u@example.com the login that uses it",
    ),
    (
        "check_sender_access inline:{b.example=REJECT}",
        ["192.0.2.10", "a@b.example", "u@example.com"],
        "change the entry that was found (above)",
    ),
    (
        "check_policy_service inet:127.0.0.1:1",
        ["192.0.2.10", "a@b.example", "u@example.com"],
        "the configuration or a policy service is broken: the log line before the refusal says what",
    ),
    (
        "check_sender_access fail:broken",
        ["192.0.2.10", "a@b.example", "u@example.com"],
        "the configuration or a policy service is broken: the log line before the refusal says what",
    ),
    ("reject", ["192.0.2.10", "a@b.example", "u@example.com"], "the list ends here: something before it has to permit"),
    (
        "reject_plaintext_session",
        ["192.0.2.10", "a@b.example", "u@example.com"],
        "the client should say STARTTLS first",
    ),
];

#[test]
fn the_most_asked_end_with_what_would_change_this() {
    let zone = "@rev 192.0.2.10 PTR c.b.example\nc.b.example A 192.0.2.10\n@rev 192.0.2.66 PTR l.b.example\nl.b.example A 192.0.2.66\n\
                b.example MX 10 c.b.example\n@bl 192.0.2.66 bl.example A 127.0.0.2\n@bl 192.0.2.66 gone.example A 192.0.2.80\n";
    for (setting, [client, sender, recipient], expected) in ASKED {
        let directory = tempfile::tempdir().expect("a directory");
        let main_cf = format!(
            "compatibility_level = 3.12\nmyhostname = mail.example.com\nmydestination = example.com\ninet_interfaces = 127.0.0.1\n\
             local_recipient_maps = inline:{{u@example.com=u}}\nsmtpd_sender_login_maps = inline:{{u@example.com=u}}\n\
             smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\n\
             smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\nsmtpd_recipient_restrictions = {setting}\n"
        );
        for (name, text) in
            [("main.cf", main_cf.as_str()), ("master.cf", "smtp inet n - n - - smtpd\n"), ("zone", zone)]
        {
            std::fs::write(directory.path().join(name), text).expect("writable");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.args(["explain", "-c", ".", "--client", client, "-f", sender, "-t", recipient]);
        // A policy service is asked, and nobody listens; else DNS is what the file says.
        let dead = setting.contains("policy_service");
        let more: &[&str] = if dead { &["--name", "c.b.example"] } else { &["--dns", "zone"] };
        let output = command.args(more).current_dir(directory.path()).output().expect("postern runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let advice = text.split_once("\nWhat would change this\n  * ").map_or("", |(_, advice)| advice);
        assert!(advice.starts_with(expected), "{setting}: {text}");
        assert_eq!(output.status.code(), Some(1), "{setting}");
    }
}
