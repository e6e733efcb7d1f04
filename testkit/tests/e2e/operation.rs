//! What a postmaster does with the program: start it, reload it, read its log.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
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

/// `postern reload` with the server's directory: did it succeed, and what did it print?
fn reload(server: &Server) -> (bool, String) {
    // A server listens before it leaves its number where others find it.
    let pid = server.etc().with_file_name("spool").join("postern/pid");
    assert!(wait_until(Duration::from_secs(15), || pid.exists()), "{}", server.tail());
    let mut command = Command::new(postern());
    let output = command.args(["reload", "--config-dir"]).arg(server.etc()).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
#[ignore = "run by cargo xtask test"]
fn the_reload_command_checks_first() {
    let server = Server::start("");
    let greeting = || Dialog::connect(server.port).and_then(|mut d| d.reply()).unwrap_or_default();
    server.configure("smtpd_banner = broken\nsmtpd_client_restrictions = reject_everything_you_can\n");
    let (succeeded, text) = reload(&server);
    assert!(!succeeded, "{text}");
    assert!(text.contains("main.cf:") && text.contains("reject_everything_you_can"), "{text}");
    assert!(text.contains("the running server was left alone"), "{text}");
    assert_eq!(greeting(), "220 mail.example.com ESMTP Postfix");
    server.configure("smtpd_banner = $myhostname ESMTP by command\n");
    let (succeeded, text) = reload(&server);
    assert!(succeeded && text.contains(&format!("process {} was told to reload", server.program.pid())), "{text}");
    let switched = || greeting() == "220 mail.example.com ESMTP by command";
    assert!(wait_until(Duration::from_secs(15), switched), "{}", server.tail());
    // the broken one never reached the server
    server.wait_log("reload -- configuration");
    assert_eq!(server.log().matches("reload -- configuration").count(), 1, "{}", server.tail());
    assert!(!server.log().contains("reload refused"), "{}", server.tail());
}

/// What lint warns of, serve and reload say, too, with place and code; it keeps them from nothing.
#[test]
#[ignore = "run by cargo xtask test"]
fn lint_speaks_at_start_and_at_reload() {
    let mut server = Server::start("");
    server.program.stop(Duration::from_secs(10));
    server.configure("smtpd_recipient_restrictions = permit_mynetworks, reject_rbl_client bl.example\n");
    server.restart();
    let told = |text: &str, code: &str| {
        let warning = text.lines().any(|l| l.contains("/main.cf:") && l.contains("warning: ") && l.contains(code));
        assert!(warning, "no {code} in:\n{text}");
    };
    told(&server.program.output(), "[dnsbl-without-filter]");
    server.configure(
        "smtpd_recipient_restrictions = permit, reject_unknown_sender_domain\nsmtpd_banner = $myhostname again\n",
    );
    let (succeeded, text) = reload(&server);
    told(&text, "[unreachable-restriction]");
    assert!(succeeded, "{text}");
    let greeting = || Dialog::connect(server.port).and_then(|mut d| d.reply()).unwrap_or_default();
    assert!(wait_until(Duration::from_secs(15), || greeting() == "220 mail.example.com again"), "{}", server.tail());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn an_unwritable_spool_does_not_start() {
    let mut server = Server::start("");
    server.program.stop(Duration::from_secs(10));
    let spool = server.dir.path().join("spool/postern");
    fs::remove_dir_all(&spool).expect("removed");
    fs::create_dir(&spool).expect("a directory");
    fs::set_permissions(&spool, PermissionsExt::from_mode(0o555)).expect("permissions");
    give_away(&[&spool]);
    let mut program = Program::serve(&postern(), &server.etc()).expect("the program runs");
    let status = program.wait(Duration::from_secs(15));
    assert!(status.is_some_and(|s| !s.success()), "{status:?}");
    let said = format!("postern: opening the spool {}: ", spool.display());
    let output = program.output();
    assert!(output.lines().any(|l| l.starts_with(&said) && l.contains("Permission denied")), "{output}");
    assert!(!testkit::ports::is_listening(server.port));
}

/// A next hop that takes a message and waits for `answer` before it says so; without one it hangs up.
fn slow_next_hop(port: u16, taken: Sender<()>, answer: Receiver<()>) -> std::thread::JoinHandle<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the next hop's port");
    std::thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().expect("a connection").0);
        let say = |stream: &mut BufReader<_>, text: &str| TcpStream::write_all(stream.get_mut(), text.as_bytes());
        let _ = say(&mut stream, "220 slow\r\n");
        let (mut line, mut in_message) = (String::new(), false);
        while stream.read_line(&mut line).is_ok_and(|n| n > 0) {
            let reply = match (in_message, line.trim_end()) {
                (true, ".") => {
                    let _ = taken.send(());
                    // an owner that is gone lets the connection go
                    if answer.recv().is_err() {
                        return;
                    }
                    in_message = false;
                    "250 2.0.0 Ok: at last\r\n"
                }
                (true, _) => "",
                (false, "DATA") => {
                    in_message = true;
                    "354 go on\r\n"
                }
                (false, "QUIT") => "221 2.0.0 Bye\r\n",
                (false, _) => "250 2.0.0 Ok\r\n",
            };
            let _ = say(&mut stream, reply);
            line.clear();
        }
    })
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_stop_lets_a_delivery_end() {
    let mut server = Server::start("");
    let ((taken, was_taken), (answer, answered)) = (channel(), channel());
    let next_hop = slow_next_hop(server.next_hop, taken, answered);
    let mut open = server.dialog();
    let reply = server.dialog().message("a@example.org", "user@relay.example", "last words").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    was_taken.recv_timeout(Duration::from_secs(15)).expect("the next hop gets the message");
    server.program.signal(Signal::SIGTERM);
    let said = open.command("NOOP").unwrap_or_default();
    assert!(said.starts_with("421 4.3.2 ") || said.starts_with("250 2.0.0 Ok"), "{said}");
    let closed = wait_until(Duration::from_secs(15), || open.command("NOOP").map_or(true, |r| !r.starts_with("250")));
    assert!(closed, "a session goes on after SIGTERM");
    answer.send(()).expect("the next hop waits");
    let status = server.program.wait(Duration::from_secs(15));
    assert!(status.is_some_and(|s| s.success()), "{status:?}\n{}", server.tail());
    next_hop.join().expect("no panic");
    assert!(server.log().contains("status=sent (250 2.0.0 Ok: at last)"), "{}", server.tail());
    // it is not sent twice
    let sink = server.sink("");
    server.restart();
    server.assert_works();
    assert_eq!(sink.recipients(), 0, "{}", server.tail());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_stop_keeps_what_could_not_be_delivered() {
    let mut server = Server::start("");
    let ((taken, was_taken), (answer, answered)) = (channel(), channel());
    let next_hop = slow_next_hop(server.next_hop, taken, answered);
    let reply = server.dialog().message("a@example.org", "user@relay.example", "patience").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    was_taken.recv_timeout(Duration::from_secs(15)).expect("the next hop gets the message");
    let status = server.program.stop(Duration::from_secs(25));
    assert!(status.is_some_and(|s| s.success()), "{status:?}\n{}", server.tail());
    drop(answer);
    next_hop.join().expect("no panic");
    let sink = server.sink("");
    server.restart();
    assert!(wait_until(Duration::from_secs(30), || sink.recipients() == 1), "{}", server.tail());
    assert!(String::from_utf8_lossy(&sink.messages()[0].content).contains("Subject: patience"));
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
