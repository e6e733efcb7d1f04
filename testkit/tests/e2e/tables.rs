//! Tables that change under a running server.

use std::fs;
use std::time::Duration;

use testkit::{Dialog, wait_until};

use crate::server::Server;

/// The answer to a recipient, in a session that goes on.
fn answer(dialog: &mut Dialog, to: &str) -> String {
    dialog.command("RSET").expect("a reply");
    assert_eq!(dialog.command("MAIL FROM:<a@example.org>").expect("a reply"), "250 2.1.0 Ok");
    dialog.command(&format!("RCPT TO:<{to}>")).expect("a reply")
}

fn refusal(to: &str, text: &str) -> String {
    format!("554 5.7.1 <{to}>: Recipient address rejected: {text}")
}

const SETTINGS: &str = "smtpd_recipient_restrictions = check_recipient_access hash:$config_directory/access,
    check_recipient_access pcre:$config_directory/patterns, reject_unauth_destination
";

/// A server with two tables.
fn start(access: &str, patterns: &str) -> Server {
    Server::start_by(SETTINGS, |dir| {
        fs::write(dir.join("etc/access"), access).expect("a table");
        fs::write(dir.join("etc/patterns"), patterns).expect("a table");
        testkit::Program::serve(&crate::server::postern(), &dir.join("etc")).expect("the program starts")
    })
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_change_needs_no_command() {
    let server = start("old@example.com REJECT first\n", "/^bulk/ REJECT by pattern\n");
    let mut dialog = server.dialog();
    assert_eq!(answer(&mut dialog, "old@example.com"), refusal("old@example.com", "first"));
    assert_eq!(answer(&mut dialog, "new@example.com"), "250 2.1.5 Ok");
    fs::write(server.etc().join("access"), "new@example.com REJECT second\n").expect("a table");
    let changed = || answer(&mut dialog, "new@example.com") == refusal("new@example.com", "second");
    assert!(wait_until(Duration::from_secs(10), changed), "{}", server.tail());
    assert_eq!(answer(&mut dialog, "old@example.com"), "250 2.1.5 Ok");
    // replaced by renaming, as editors and configuration management do
    fs::write(server.etc().join("patterns.new"), "/^list/ REJECT by another pattern\n").expect("a table");
    fs::rename(server.etc().join("patterns.new"), server.etc().join("patterns")).expect("renamed");
    let changed = || answer(&mut dialog, "list1@example.com") == refusal("list1@example.com", "by another pattern");
    assert!(wait_until(Duration::from_secs(10), changed), "{}", server.tail());
    assert_eq!(answer(&mut dialog, "bulk1@example.com"), "250 2.1.5 Ok");
    server.wait_log("/access has changed -- read again");
    assert_eq!(dialog.command("QUIT").expect("a reply"), "221 2.0.0 Bye");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_broken_version_is_not_taken() {
    let server = start("old@example.com REJECT kept\n", "/^bulk/ REJECT by pattern\n");
    let mut dialog = server.dialog();
    fs::remove_file(server.etc().join("access")).expect("removed");
    server.wait_log("-- the previous contents stay in use");
    assert!(
        server.log().lines().any(|l| l.contains("warning: ")
            && l.contains("table hash:")
            && l.contains("-- the previous contents stay in use")),
        "{}",
        server.tail()
    );
    assert_eq!(answer(&mut dialog, "old@example.com"), refusal("old@example.com", "kept"));
    assert_eq!(answer(&mut dialog, "new@example.com"), "250 2.1.5 Ok");
    // and a good version is
    fs::write(server.etc().join("access"), "new@example.com REJECT mended\n").expect("a table");
    let changed = || answer(&mut dialog, "new@example.com") == refusal("new@example.com", "mended");
    assert!(wait_until(Duration::from_secs(10), changed), "{}", server.tail());
    assert_eq!(answer(&mut dialog, "old@example.com"), "250 2.1.5 Ok");
}
