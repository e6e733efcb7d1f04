//! What was decided, and why, can be asked later; and another policy can be tried on it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{Program, wait_until};

use crate::server::{Server, postern};

const SETTINGS: &str = "postern_reject_code_suffix = yes\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n\
    smtpd_recipient_restrictions = check_recipient_access inline:{ {no@example.com = REJECT not here} }\n";

/// The same, but another recipient is refused.
const OTHER: &str = "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n\
    smtpd_recipient_restrictions = check_recipient_access inline:{ {yes@example.com = REJECT not any more} }\n";

/// What a command prints, and its exit status.
pub fn ask(command: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(postern()).arg(command).args(arguments).output().expect("it runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (text.concat(), output.status.code())
}

/// Asks until the answer has this text: the record is written some time after the reply.
pub fn wait_told(command: &str, arguments: &[&str], text: &str) -> String {
    let mut told = String::new();
    wait_until(Duration::from_secs(15), || {
        told = ask(command, arguments).0;
        told.contains(text)
    });
    assert!(told.contains(text), "no {text:?} in:\n{told}");
    told
}

/// The configuration beside the server's own, with other restrictions.
fn other_configuration(dir: &Path) -> String {
    let (etc, other) = (dir.join("etc"), dir.join("other"));
    fs::create_dir(&other).expect("a directory");
    let main_cf = fs::read_to_string(etc.join("main.cf")).expect("main.cf").replace(SETTINGS, OTHER);
    fs::write(other.join("main.cf"), main_cf).expect("main.cf");
    fs::copy(etc.join("master.cf"), other.join("master.cf")).expect("master.cf");
    other.display().to_string()
}

#[test]
#[ignore = "run by cargo xtask test"]
fn decisions_are_kept_told_and_made_again() {
    let server = Server::start(SETTINGS);
    let etc = server.etc().display().to_string();
    let mut dialog = server.dialog();
    dialog.command("MAIL FROM:<ann@example.org>").expect("a reply");
    let refused = dialog.command("RCPT TO:<no@example.com>").expect("a reply");
    let bare = "554 5.7.1 <no@example.com>: Recipient address rejected: not here";
    let code = refused.strip_prefix(&format!("{bare} [")).and_then(|rest| rest.strip_suffix(']'));
    let code = code.unwrap_or_else(|| panic!("no code in {refused}")).to_owned();
    server.wait_log(&format!("reject: RCPT from localhost[127.0.0.1]: {refused}; from=<ann@example.org>"));
    dialog.command("RSET").expect("a reply");
    let queued = dialog.message("ann@example.org", "yes@example.com", "kept").expect("a reply");
    let id = queued.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{queued}")).to_owned();
    drop(dialog);

    let told = wait_told("why", &[&code, "-c", &etc], "Refused by check_recipient_access");
    for text in [
        format!("== {code}  "),
        "permit_mynetworks: no opinion".to_owned(),
        "\"no@example.com\" = \"REJECT not here\"".to_owned(),
        format!("→ {bare}\n"),
        format!("{etc}/main.cf:"),
    ] {
        assert!(told.contains(&text), "no {text:?} in:\n{told}");
    }
    let told = wait_told("why", &[&id, "-c", &etc], &format!("queue id {id}"));
    assert!(told.contains("RCPT TO:<yes@example.com>\n") && told.contains("Accepted\n"), "{told}");
    let both = wait_told("why", &["127.0.0.1", "-c", &etc, "--since", "1h", "--json"], "yes@example.com");
    assert_eq!(both.lines().filter(|line| line.contains("\"accepted\":")).count(), 2, "{both}");
    let (none, status) = ask("why", &["nobody@example.com", "-c", &etc]);
    assert!(none.contains("no decision about \"nobody@example.com\"") && status == Some(1), "{none}");

    let (same, status) = ask("replay", &[&etc]);
    assert!(same.starts_with("2 decisions, ") && same.contains(": 2 as before\n") && status == Some(0), "{same}");
    let other = other_configuration(server.dir.path());
    let (changed, status) = ask("replay", &[&other, "-c", &etc]);
    for text in [
        ": 0 as before\n",
        "now refused: 1\n  1 by check_recipient_access inline:{ {yes@example.com = REJECT not any more} }",
        "now accepted: 1\n  1 by check_recipient_access inline:{ {no@example.com = REJECT not here} }",
    ] {
        assert!(changed.contains(text), "no {text:?} in:\n{changed}");
    }
    assert_eq!(status, Some(1));
    // The log alone tells the same story.
    let log = server.dir.path().join("log/maillog").display().to_string();
    let (from_log, _) = ask("replay", &[&other, "--log", &log]);
    assert!(from_log.starts_with("2 decisions") && from_log.contains("now refused: 1\n"), "{from_log}");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_shadow_decides_along_without_effect() {
    let server = Server::start_by(SETTINGS, |dir| {
        let other = other_configuration(dir);
        let mut command = Command::new(postern());
        command.arg("serve").arg("-c").arg(dir.join("etc")).args(["--shadow", &other]).env("TZ", "UTC");
        Program::start(&mut command, &dir.join("output")).expect("the program starts")
    });
    let reply = server.dialog().message("ann@example.org", "yes@example.com", "kept").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    server.wait_mail("yes", 1);
    server.wait_log(
        "shadow: RCPT localhost[127.0.0.1] from=<ann@example.org> to=<yes@example.com>: was: accepted; now: 554 5.7.1 \
         <yes@example.com>: Recipient address rejected: not any more",
    );
    let etc = server.etc().display().to_string();
    let report = wait_told("shadow", &["report", "-c", &etc], "now refused: 1");
    assert!(report.contains("1 decisions"), "{report}");
}

/// A record that can't be written is a warning, never a refusal.
#[test]
#[ignore = "run by cargo xtask test"]
fn the_record_never_blocks_mail() {
    let server = Server::start_by("", |dir| {
        fs::write(dir.join("lib/decisions"), "in the way").expect("a file");
        Program::serve(&postern(), &dir.join("etc")).expect("the program starts")
    });
    server.assert_works();
    server.wait_log("warning: decision record ");
    server.assert_works();
}
