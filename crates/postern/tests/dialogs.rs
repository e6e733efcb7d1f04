//! Plays the dialogs of `tests/dialogs`, and shows that wrong ones fail.

use postern::rehearsal::dialog;
use std::path::Path;

fn play(file: &str, text: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    dialog::play(file, text, directory.path())
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
