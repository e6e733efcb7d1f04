//! The queue in the postmaster's hands: postqueue and postsuper, with and without a running server.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};
use std::time::Duration;

use testkit::{Program, wait_until};

use crate::server::{Server, postern};

const HOLDING: &str = "smtpd_sender_restrictions = check_sender_access inline:{{held@example.org=HOLD}}\n";

fn run(server: &Server, command: &str, arguments: &[&str]) -> Output {
    let mut program = Command::new(postern());
    program.arg(command).arg("-c").arg(server.etc()).args(arguments).env("TZ", "UTC");
    program.stdin(std::process::Stdio::null()).output().expect("it runs")
}

/// What it printed; it must have ended well.
fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn postsuper(server: &Server, arguments: &[&str]) -> String {
    said(&run(server, "postsuper", arguments)).1
}

fn postqueue(server: &Server, arguments: &[&str]) -> String {
    said(&run(server, "postqueue", arguments)).0
}

fn send(server: &Server, sender: &str, recipient: &str, text: &str) -> String {
    let reply = server.dialog().message(sender, recipient, text).expect("a reply");
    reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{reply}")).trim().to_owned()
}

#[test]
#[ignore = "run by cargo xtask test"]
fn what_is_held_is_listed_released_and_deleted() {
    let server = Server::start(HOLDING);
    assert_eq!(postqueue(&server, &["-p"]), "Mail queue is empty\n");
    let ids: Vec<String> = (0..3).map(|_| send(&server, "held@example.org", "user@example.com", "x")).collect();
    // longer than what the journal takes
    let long = "a line of text\n".repeat(8000);
    let large = send(&server, "held@example.org", "large@example.com", &long);
    let listing = postqueue(&server, &["-p"]);
    assert!(listing.starts_with("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"), "{listing}");
    for id in ids.iter().chain([&large]) {
        assert!(listing.contains(&format!("\n{id}! ")), "{listing}");
    }
    assert!(
        listing.contains("  held@example.org\n                                         user@example.com\n"),
        "{listing}"
    );
    assert!(listing.ends_with(" Kbytes in 4 Requests.\n"), "{listing}");
    let json = postqueue(&server, &["-j"]);
    assert_eq!(json.matches("{\"queue_name\": \"hold\", \"queue_id\": \"").count(), 4, "{json}");

    let released = format!("postsuper: {}: released from hold\npostsuper: Released from hold: 1 message\n", ids[0]);
    assert_eq!(postsuper(&server, &["-H", &ids[0]]), released);
    server.wait_log("postfix/postsuper[");
    server.wait_log(&format!(": {}: released from hold\n", ids[0]));
    assert_eq!(server.wait_mail("user", 1).len(), 1);
    // it is gone; a name that is none is no reason to do more than asked
    server.wait_log(&format!(": {}: removed\n", ids[0]));
    assert_eq!(postsuper(&server, &["-H", &ids[0]]), "postsuper: Released from hold: 0 messages\n");
    let bad = "postsuper: warning: invalid mail queue id: ../x\npostsuper: Deleted: 0 messages\n";
    assert_eq!(postsuper(&server, &["-d", "../x"]), bad);

    let deleted = format!("postsuper: {}: removed\npostsuper: Deleted: 1 message\n", ids[1]);
    assert_eq!(postsuper(&server, &["-d", &ids[1]]), deleted);
    let requeued = format!("postsuper: {large}: requeued\npostsuper: Requeued: 1 message\n");
    assert_eq!(postsuper(&server, &["-r", &large]), requeued);
    assert!(server.wait_mail("large", 1)[0].matches("a line of text\n").count() == 8000);
    assert_eq!(postsuper(&server, &["-H", "ALL", "deferred"]), "postsuper: Released from hold: 0 messages\n");
    assert_eq!(postsuper(&server, &["-H", "ALL"]), "postsuper: Released from hold: 1 message\n");
    server.wait_mail("user", 2);
    let is_empty = || postqueue(&server, &["-p"]) == "Mail queue is empty\n";
    assert!(wait_until(Duration::from_secs(10), is_empty), "{}", postqueue(&server, &["-p"]));
    assert_eq!((server.maildir("user").len(), server.maildir("large").len()), (2, 1), "{}", server.tail());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn deferred_mail_is_held_tried_and_flushed() {
    let server = Server::start(
        "default_transport = smtp\nmynetworks = 127.0.0.0/8\nminimal_backoff_time = 1h\nmaximal_backoff_time = 1h\n",
    );
    let id = send(&server, "a@example.com", "user@relay.example", "x");
    server.wait_log("status=deferred (");
    let is_deferred = || postqueue(&server, &["-p"]).contains(&format!("{id}  "));
    assert!(wait_until(Duration::from_secs(10), is_deferred), "{}", postqueue(&server, &["-p"]));
    let listing = postqueue(&server, &["-p"]);
    assert!(
        listing.contains("Connection refused)\n                                         user@relay.example\n"),
        "{listing}"
    );
    let held = format!("postsuper: {id}: placed on hold\npostsuper: Placed on hold: 1 message\n");
    assert_eq!(postsuper(&server, &["-h", &id]), held);
    assert!(postqueue(&server, &["-p"]).contains(&format!("\n{id}! ")));
    let tried = || server.log().matches("status=deferred (").count();
    assert_eq!(tried(), 1);
    postqueue(&server, &["-f"]);
    postsuper(&server, &["-H", &id]);
    let mut count = tried();
    for arguments in [["-i", &id], ["-s", "RELAY.example"]] {
        assert_eq!(postqueue(&server, &arguments), "");
        assert!(wait_until(Duration::from_secs(10), || tried() > count), "{arguments:?}\n{}", server.tail());
        assert!(wait_until(Duration::from_secs(10), is_deferred), "{}", postqueue(&server, &["-p"]));
        count = tried();
    }
    let sink = server.sink("");
    assert_eq!(postqueue(&server, &["-f"]), "");
    server.wait_log(&format!(": {id}: removed\n"));
    drop(sink);
}

#[test]
#[ignore = "run by cargo xtask test"]
fn without_a_server_the_command_has_the_spool() {
    let mut server = Server::start(HOLDING);
    let ids: Vec<String> = (0..3).map(|_| send(&server, "held@example.org", "user@example.com", "x")).collect();
    assert!(server.program.stop(Duration::from_secs(20)).is_some(), "{}", server.tail());
    let listing = run(&server, "postqueue", &["-p"]);
    let (listing, warning) = said(&listing);
    assert_eq!(warning, "postqueue: warning: Mail system is down -- accessing queue directly\n");
    assert!(ids.iter().all(|id| listing.contains(&format!("\n{id}! "))), "{listing}");
    let flushed = run(&server, "postqueue", &["-f"]);
    assert_eq!(flushed.status.code(), Some(69));
    let text = String::from_utf8_lossy(&flushed.stderr).into_owned();
    assert_eq!(text, "postqueue: fatal: Cannot flush mail queue - mail system is down\n");
    for (arguments, last) in [
        (["-H", &ids[0]], "Released from hold: 1 message\n"),
        (["-d", &ids[1]], "Deleted: 1 message\n"),
        (["-r", &ids[2]], "Requeued: 1 message\n"),
    ] {
        assert!(postsuper(&server, &arguments).ends_with(last));
    }
    server.wait_log(&format!(": {}: removed\n", ids[1]));
    // what it wrote the server can read
    server.restart();
    server.wait_mail("user", 2);
    assert_eq!(postqueue(&server, &["-p"]), "Mail queue is empty\n");
    assert_eq!(server.maildir("user").len(), 2, "{}", server.tail());
    server.assert_works();
}

#[test]
#[ignore = "run by cargo xtask test"]
fn the_queue_is_nobody_elses() {
    let server = Server::start(HOLDING);
    let id = send(&server, "held@example.org", "user@example.com", "x");
    let socket = server.dir.path().join("spool/postern/control");
    assert_eq!(fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777, 0o600);
    // by the names of Postfix's commands, too
    let bin = server.dir.path().join("bin");
    fs::create_dir(&bin).expect("a directory");
    for name in ["mailq", "postsuper"] {
        symlink(postern(), bin.join(name)).expect("a link");
    }
    let mailq = Command::new(bin.join("mailq")).env("MAIL_CONFIG", server.etc()).output().expect("it runs");
    assert!(said(&mailq).0.contains(&format!("\n{id}! ")));
    if !testkit::tools::is_root() {
        return;
    }
    fs::set_permissions(server.dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let program = server.dir.path().join("bin/program");
    fs::copy(postern(), &program).expect("a copy");
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    other.args(["postsuper", "-d", "ALL", "-c"]).arg(server.etc());
    let refused = other.output().expect("setpriv runs");
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("Permission denied: use of this command is reserved for root and "), "{text}");
    assert!(postqueue(&server, &["-p"]).contains(&format!("\n{id}! ")));
}

/// A crash after a command said that it was done.
#[test]
#[ignore = "run by cargo xtask test"]
fn what_was_deleted_stays_deleted() {
    let mut server = Server::start(HOLDING);
    let ids: Vec<String> = (0..2).map(|_| send(&server, "held@example.org", "user@example.com", "x")).collect();
    assert!(postsuper(&server, &["-d", &ids[0]]).ends_with("Deleted: 1 message\n"));
    server.program.signal(nix::sys::signal::Signal::SIGKILL);
    assert!(wait_until(Duration::from_secs(10), || server.program.has_ended()));
    server.program = Program::serve(&postern(), &server.etc()).expect("the program starts");
    server.program.wait_listening(&[server.port], Duration::from_secs(20)).expect("it listens");
    let listing = postqueue(&server, &["-p"]);
    assert!(!listing.contains(&ids[0]) && listing.contains(&format!("\n{}! ", ids[1])), "{listing}");
}
