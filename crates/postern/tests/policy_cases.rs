//! `postern test`: the project's own policy cases, and what it says of cases that fail.

use std::path::{Path, PathBuf};
use std::process::Command;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A site's configuration in a directory of its own, with its tables there.
fn site(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(project().join("tests/sites").join(name)).expect("the site is there") {
        let entry = entry.expect("readable");
        let text = std::fs::read_to_string(entry.path()).expect("text");
        let text = text.replace("/etc/postfix", &directory.path().display().to_string());
        std::fs::write(directory.path().join(entry.file_name()), text).expect("writable");
    }
    directory
}

fn postern_test(arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_postern")).arg("test").args(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn the_projects_own() {
    for (name, count) in [("wiki", 13), ("readme-open", 2), ("readme-fixed", 2), ("authentication", 10)] {
        let site = site(if name == "authentication" { "../pages/authentication" } else { name });
        let file = project().join("tests/policy").join(format!("{name}.toml"));
        let arguments = ["-c", &site.path().display().to_string(), &file.display().to_string()];
        let (out, errors, status) = postern_test(&arguments);
        assert!(out.starts_with(&format!("{count} passed, 0 failed in ")), "{name}: {out}{errors}");
        assert_eq!(status, Some(0));
    }
}

const FAILING: &str = r#"
[defaults]
client = "203.0.113.50"
client_name = "unknown"

[tables]
"hash:DIR/helo_access" = { "friend.example" = "OK" }

[[case]]
name = "wrong verdict & <reply>"
helo = "friend.example"
recipient = "b@another.example"
expect = "permit"
restriction = "check_helo_access"

[[case]]
name = "wrong reply"
recipient = "b@another.example"
expect = "reject"
reply = "554 no"

[[case]]
name = "as it should be"
helo = "friend.example"
recipient = "b@branch.example"
expect = "permit"
"#;

#[test]
fn failures_show_what_differs() {
    let site = site("readme-fixed");
    let directory = site.path().display().to_string();
    let file = site.path().join("cases.toml").display().to_string();
    std::fs::write(&file, FAILING.replace("DIR", &directory)).expect("writable");
    let (out, _, status) = postern_test(&[&file]);
    let expected = format!(
        "FAILED {file}:9: wrong verdict & <reply>\n  verdict\n    expected: permit\n    found:    reject (554 5.7.1 \
         <b@another.example>: Relay access denied)\n  restriction\n    expected: check_helo_access\n    found:    \
         reject_unauth_destination\nFAILED {file}:16: wrong reply\n  reply\n    expected: 554 no\n    found:    554 5.7.1 \
         <b@another.example>: Relay access denied\n1 passed, 2 failed in "
    );
    assert!(out.starts_with(&expected), "{out}\n{expected}");
    assert_eq!(status, Some(1));

    let (tap, coverage, _) = postern_test(&["--tap", "--coverage", &file]);
    assert!(tap.starts_with(&format!("TAP version 13\n1..3\nnot ok 1 - {file}: wrong verdict & <reply>\n# ")), "{tap}");
    assert!(tap.ends_with(&format!("ok 3 - {file}: as it should be\n")), "{tap}");
    assert!(
        coverage.starts_with("coverage: 3 of 4 restrictions\n  never reached: reject_unknown_helo_hostname in "),
        "{coverage}"
    );

    let xml = site.path().join("junit.xml");
    postern_test(&["--junit", &xml.display().to_string(), &file]);
    let xml = std::fs::read_to_string(&xml).expect("written");
    assert!(xml.contains("tests=\"3\" failures=\"2\"") && xml.contains("wrong verdict &amp; &lt;reply&gt;"), "{xml}");

    let (out, _, status) = postern_test(&["--only", "as it", &file]);
    assert!(out.starts_with("1 passed, 0 failed") && status == Some(0), "{out}");
}

#[test]
fn coverage_tells_entries() {
    let site = site("wiki");
    let here = site.path().display().to_string();
    let file = project().join("tests/policy/wiki.toml").display().to_string();
    let (_, coverage, _) = postern_test(&["--coverage", "-c", &here, &file]);
    let expected = "\
coverage: 21 of 21 restrictions
  hash:DIR/helo_access: 1 of 4 entries
    never reached: example.com (DIR/helo_access:2)
    never reached: 192.0.2.1 (DIR/helo_access:3)
    never reached: localhost (DIR/helo_access:5)
  hash:DIR/sender_access: 3 of 4 entries
    never reached: mute.example (DIR/sender_access:5)
  hash:DIR/client_access: 2 of 3 entries
    never reached: .dialup.example (DIR/client_access:3)
  hash:DIR/recipient_access: 0 of 1 entries
    never reached: trap@example.com (DIR/recipient_access:1)
  entries found in hash:DIR/local_users: info
";
    assert_eq!(coverage, expected.replace("DIR", &here));
}

/// Rules with patterns have lines, too; a table in main.cf has none; of many entries some are named.
#[test]
fn coverage_of_rules_and_large_tables() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path().display().to_string();
    let many: String = (1..=30).map(|n| format!("u{n}@b.example OK\n")).collect();
    for (name, text) in [
        ("many", many.as_str()),
        ("rules", "if /@b/\n/^u3@/ DUNNO\n!/^u/ REJECT\nendif\n"),
        ("master.cf", "smtp inet n - n - - smtpd\n"),
        (
            "main.cf",
            "compatibility_level = 3.12\nmydestination = example.com\nlocal_recipient_maps =\nsmtpd_sender_restrictions =\n \
             check_sender_access inline:{a@c.example=OK,d.example=DUNNO}\n check_sender_access pcre:DIR/rules\n \
             check_sender_access texthash:DIR/many\nsmtpd_relay_restrictions = reject_unauth_destination\n",
        ),
        (
            "cases.toml",
            "[defaults]\nrecipient = 'u@example.com'\n[[case]]\nname = '1'\nsender = 'u3@b.example'\n\
             expect = 'permit'\n[[case]]\nname = '2'\nsender = 'x@d.example'\nexpect = 'permit'\n",
        ),
        ("more.toml", "[[case]]\nname = '3'\nsender = 'x@b.example'\nrecipient = 'u@example.com'\nexpect = 'reject'\n"),
    ] {
        std::fs::write(directory.path().join(name), text.replace("DIR", &here)).expect("writable");
    }
    let (out, coverage, status) = postern_test(&["--coverage", &here]);
    assert!(out.starts_with("3 passed, 0 failed") && status == Some(0), "{out}{coverage}");
    let named: String =
        (1..=11).filter(|n| *n != 3).map(|n| format!("    never reached: u{n}@b.example (DIR/many:{n})\n")).collect();
    let expected = "\
coverage: 4 of 4 restrictions
  inline:{a@c.example=OK,d.example=DUNNO}: 1 of 2 entries
    never reached: a@c.example
  pcre:DIR/rules: 2 of 2 entries
  texthash:DIR/many: 1 of 30 entries
"
    .to_owned()
        + &named
        + "    and 19 more\n";
    assert_eq!(coverage, expected.replace("DIR", &here));
}

#[test]
fn broken_files_are_told() {
    let site = site("readme-fixed");
    let file = site.path().join("cases.toml");
    for (text, expected) in [
        ("[[case]]\nname = 'a'\n", "missing field `expect`"),
        ("[[case]]\nname = 'a'\nexpect = 'perhaps'\n", "unknown variant `perhaps`"),
        ("dns = ['a B']\n", "cases.toml:1: a record is `name TYPE data` or `name SERVFAIL`, not: a B"),
        ("tables = { 'hash:/none' = {} }\n", "the configuration names no table \"hash:/none\""),
        ("[[case]]\nname = 'a'\nexpected = 'permit'\n", "unknown field `expected`"),
        ("", "no case was played"),
    ] {
        std::fs::write(&file, text).expect("writable");
        let (_, errors, status) = postern_test(&[&file.display().to_string()]);
        assert!(errors.contains(expected), "{text}: {errors}");
        assert_eq!(status, Some(1));
    }
}

/// A dialog is a test, too.
#[test]
fn dialogs() {
    let directory = project().join("tests/dialogs").display().to_string();
    let (out, errors, status) = postern_test(&[&directory]);
    assert!(out.contains(" passed, 0 failed in "), "{out}{errors}");
    assert_eq!(status, Some(0));
}

const VERIFIED: &str = r#"
[defaults]
client = "203.0.113.50"
client_name = "unknown"
helo = "x.example"
sender = "a@example.org"

[verify]
"good@relay.example" = "deliverable"
"down@relay.example" = false

[[case]]
name = "known"
recipient = "good@relay.example"
expect = "permit"

[[case]]
name = "unknown"
recipient = "bad@relay.example"
verify = { "bad@relay.example" = "undeliverable: unknown user" }
expect = "reject"
reply = "550 5.1.1 <bad@relay.example>: Recipient address rejected: undeliverable address: unknown user"
restriction = "reject_unverified_recipient"

[[case]]
name = "nobody is there to ask"
recipient = "down@relay.example"
expect = "defer"
reply = "450 4.1.1 <down@relay.example>: Recipient address rejected: address verification problem"

[[case]]
name = "nothing said"
recipient = "other@relay.example"
expect = "reject"

[[case]]
name = "no such word"
recipient = "other@relay.example"
verify = { "other@relay.example" = "fine" }
expect = "reject"
"#;

#[test]
fn addresses_are_what_a_case_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let main_cf = "compatibility_level = 3.12\nmyhostname = mail.example.com\nmydestination = example.com\n\
                   relay_domains = relay.example\nalias_maps =\nlocal_recipient_maps =\n\
                   unverified_recipient_reject_code = 550\n\
                   smtpd_recipient_restrictions = reject_unauth_destination, reject_unverified_recipient\n";
    std::fs::write(at("main.cf"), main_cf).expect("writable");
    std::fs::write(at("master.cf"), "smtp inet n - n - - smtpd\n").expect("writable");
    std::fs::write(at("cases.toml"), VERIFIED).expect("writable");
    let (out, errors, status) =
        postern_test(&["-c", &directory.path().display().to_string(), &at("cases.toml").display().to_string()]);
    let said = format!("{out}{errors}");
    assert!(said.contains("3 passed, 2 failed"), "{said}");
    assert!(said.contains("<other@relay.example> is verified: say what comes of it, as in verify = {"), "{said}");
    let words = "other@relay.example: \"fine\": write deliverable, undeliverable: why, deferred: why, or in progress";
    assert!(said.contains(words), "{said}");
    assert_eq!(status, Some(1));
}

const LATE: &str = r#"
[defaults]
client = "203.0.113.9"
sender = "a@b.example"
recipient = "user@example.com"
message = "From: <service@bank.example>\nSubject: cheap\n\nbody\n"

[[case]]
name = "a table's result"
dns = ['_dmarc.bank.example TXT "v=DMARC1; p=reject"']
expect = "reject"
restriction = "reject_dmarc_fail"

[[case]]
name = "the same from a file"
message_file = "late/message"
dns = ['_dmarc.bank.example TXT "v=DMARC1; p=reject"']
expect = "reject"
restriction = "reject_dmarc_fail"

[[case]]
name = "its exception"
dns = ['_dmarc.bank.example TXT "v=DMARC1; p=reject"']
signed_by = ["bank.example"]
expect = "permit"

[[case]]
name = "a class that a policy service names, asked once"
recipient = "class@example.com"
dns = ['_dmarc.bank.example TXT "v=DMARC1; p=quarantine"']
policy = { "inet:127.0.0.1:9" = ["strict", "REJECT asked twice"] }
expect = "defer"
restriction = "check_dmarc_access inline:{quarantine=DEFER}"

[[case]]
name = "a header check"
message = "From: a@nobody.example\nSubject: junk\n\n"
expect = "reject"
reply = "550 5.7.1 no junk"
restriction = "header_checks"
log = "QID: client=unknown[203.0.113.9]"
"#;

/// What judges messages may be named by a table's entry, a class or a policy service.
#[test]
fn messages_are_looked_at_when_a_result_asks_for_that() {
    let directory = tempfile::tempdir().expect("a directory");
    let main_cf = "compatibility_level = 3.12\nmyhostname = mail.example.com\nmydestination = example.com
local_recipient_maps =\nalias_maps =\nheader_checks = regexp:{{/^Subject: junk/ REJECT no junk}}
smtpd_restriction_classes = strict\nstrict = check_dmarc_access inline:{quarantine=DEFER}
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_end_of_data_restrictions = check_sender_access inline:{{a@b.example=reject_dmarc_fail}} check_policy_service inet:127.0.0.1:9
";
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("main.cf"), main_cf).expect("writable");
    std::fs::write(at("master.cf"), "smtp inet n - n - - smtpd\n").expect("writable");
    std::fs::create_dir(at("late")).expect("a directory");
    std::fs::write(at("late/message"), "From: x@bank.example\r\n\r\n.\r\n").expect("writable");
    let others = "[policy]\n\"inet:127.0.0.1:9\" = \"DUNNO\"\n";
    std::fs::write(at("cases.toml"), format!("{others}{LATE}")).expect("writable");
    let arguments = ["-c", &directory.path().display().to_string(), &at("cases.toml").display().to_string()];
    let (out, errors, status) = postern_test(&arguments);
    assert!(out.starts_with("5 passed, 0 failed in "), "{out}{errors}");
    assert_eq!((errors.as_str(), status), ("", Some(0)));
    for (case, problem) in [
        ("message = ''\nmessage_file = 'x'\n", "message and message_file: give one of them"),
        ("message_file = 'nowhere'\n", "nowhere: No such file or directory (os error 2)"),
        ("signed_by = ['b.example']\n", "signed_by: there is no message"),
    ] {
        let text = format!("{others}[[case]]\nname = 'x'\nexpect = 'permit'\nrecipient = 'u@example.com'\n{case}");
        std::fs::write(at("cases.toml"), text).expect("writable");
        let (out, _, status) = postern_test(&arguments);
        assert!(out.contains(problem), "{out}");
        assert_eq!(status, Some(1));
    }
}
