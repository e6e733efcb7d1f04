//! What a postmaster does with the program: start it, reload it, read its log.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::tools::{find, skipped};
use testkit::{Dialog, Program, wait_until};

use crate::server::{Server, give_away, maildir, postern};

#[test]
#[ignore = "run by cargo xtask test"]
fn without_arguments() {
    if TcpListener::bind(("127.0.0.1", 2525)).is_err() {
        return skipped("starting without arguments", "port 2525 of this machine is taken");
    }
    let dir = testkit::temp_dir().expect("a temporary directory");
    give_away(&[dir.path()]);
    let mut command = Command::new(postern());
    command.current_dir(dir.path());
    let mut program = Program::start(&mut command, &dir.path().join("output")).expect("the program starts");
    program.wait_listening(&[2525], Duration::from_secs(20)).unwrap_or_else(|e| panic!("{e}"));
    let mut dialog = Dialog::greeted(2525).expect("a greeting");
    let reply = dialog.message("a@example.org", "user@localhost", "first mail").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    let box_of = dir.path().join("postern-data/Maildir/user");
    let arrived = || maildir(&box_of).iter().any(|m| m.contains("Subject: first mail"));
    assert!(wait_until(Duration::from_secs(15), arrived), "{}", program.output());
    // nobody may relay through a program that was just tried out
    dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
    let refused = dialog.command("RCPT TO:<user@elsewhere.example>").expect("a reply");
    assert!(refused.contains("Relay access denied"), "{refused}");
    drop(dialog);
    let status = program.stop(Duration::from_secs(10));
    assert!(status.is_some_and(|s| s.success()), "{status:?}\n{}", program.output());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn reload_switches_to_a_good_configuration() {
    let server = Server::start("");
    let mut old = server.dialog();
    server.configure("smtpd_banner = $myhostname ESMTP reloaded\n");
    server.program.signal(Signal::SIGHUP);
    let greeting = || Dialog::connect(server.port).and_then(|mut d| d.reply()).unwrap_or_default();
    assert!(
        wait_until(Duration::from_secs(15), || greeting() == "220 mail.example.com ESMTP reloaded"),
        "{}",
        server.tail()
    );
    // a session that was open goes on
    let reply = old.message("a@example.org", "user@example.com", "across a reload").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    server.wait_mail("user", 1);
}

#[test]
#[ignore = "run by cargo xtask test"]
fn reload_keeps_away_from_a_broken_configuration() {
    let server = Server::start("");
    server.configure("smtpd_banner = broken\nsmtpd_recipient_restrictions = reject_everything_you_can\n");
    server.program.signal(Signal::SIGHUP);
    server.wait_log("reject_everything_you_can");
    let greeting = Dialog::connect(server.port).and_then(|mut d| d.reply()).expect("a greeting");
    assert_eq!(greeting, "220 mail.example.com ESMTP Postfix");
    server.assert_works();
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_broken_configuration_does_not_start() {
    let mut server = Server::start("");
    server.program.stop(Duration::from_secs(10));
    server.configure("smtpd_recipient_restrictions = reject_everything_you_can\n");
    let mut program = Program::serve(&postern(), &server.etc()).expect("the program runs");
    let status = program.wait(Duration::from_secs(15));
    assert!(status.is_some_and(|s| !s.success()), "{status:?}");
    assert!(program.output().contains("reject_everything_you_can"), "{}", program.output());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_stop_is_clean() {
    let mut server = Server::start("");
    server.assert_works();
    let status = server.program.stop(Duration::from_secs(10));
    assert!(status.is_some_and(|s| s.success()), "{status:?}\n{}", server.tail());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn pflogsumm_counts() {
    if find("pflogsumm").is_none() {
        return skipped("reports with pflogsumm", "package pflogsumm is missing");
    }
    let server = Server::start("");
    let sink = server.sink("");
    let mut dialog = server.dialog();
    for to in ["user@example.com", "user@relay.example", "user@relay.example"] {
        let reply = dialog.message("a@example.org", to, "counted").expect("a reply");
        assert!(reply.starts_with("250 "), "{reply}");
    }
    dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
    for _ in 0..2 {
        assert!(dialog.command("RCPT TO:<user@elsewhere.example>").expect("a reply").starts_with("454 "));
    }
    dialog.command("QUIT").expect("a reply");
    server.wait_mail("user", 1);
    assert!(wait_until(Duration::from_secs(15), || sink.recipients() == 2));
    assert!(
        wait_until(Duration::from_secs(15), || server.log().matches("status=sent").count() == 3),
        "{}",
        server.tail()
    );
    server.wait_log("disconnect from");
    let log = server.dir.path().join("log/maillog");
    let output = Command::new(find("pflogsumm").expect("found before")).arg(&log).output().expect("pflogsumm runs");
    let report = String::from_utf8_lossy(&output.stdout);
    let count = |word: &str| {
        let line = report.lines().map(str::split_whitespace).find(|l| l.clone().nth(1) == Some(word));
        line.and_then(|mut l| l.next().map(str::to_owned))
    };
    let counts = ["received", "delivered", "deferred", "bounced", "rejected"].map(|w| count(w).unwrap_or_default());
    assert_eq!(counts, ["3", "3", "0", "0", "2"], "{report}\n{}", fs::read_to_string(&log).unwrap_or_default());
}
