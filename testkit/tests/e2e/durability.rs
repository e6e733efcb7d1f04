//! 250 means on disk: nothing that was accepted is lost, nothing that was refused is kept.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testkit::peer::Sink;
use testkit::tools::{find, is_root, skipped};
use testkit::{Dialog, Program, wait_until};

use crate::server::{Server, postern};

fn subjects(sink: &Sink) -> BTreeSet<String> {
    let subject = |m: &testkit::peer::Message| {
        let text = String::from_utf8_lossy(&m.content).into_owned();
        text.lines().find_map(|l| l.strip_prefix("Subject: ")).unwrap_or("").to_owned()
    };
    sink.messages().iter().map(subject).collect()
}

/// Sends messages over several sessions until `stop`; returns the subjects that got their 250.
fn load(port: u16, round: usize, stop: &AtomicBool, accepted: &AtomicUsize) -> BTreeSet<String> {
    let known = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for session in 0..8 {
            let known = &known;
            scope.spawn(move || {
                let mut dialog = Dialog::greeted(port).expect("a session");
                for n in 0.. {
                    let subject = format!("round {round} session {session} message {n}");
                    match dialog.message("a@example.org", "user@relay.example", &subject) {
                        Ok(reply) if reply.starts_with("250 ") => {
                            known.lock().expect("no panic").insert(subject);
                            accepted.fetch_add(1, Ordering::Relaxed);
                        }
                        // the server was killed
                        _ => break,
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
    });
    known.into_inner().expect("no panic")
}

#[test]
#[ignore = "run by cargo xtask test"]
fn kill_under_load() {
    let mut server = Server::start("");
    let sink = server.sink("");
    let mut all = BTreeSet::new();
    for round in 0..4 {
        let (stop, accepted) = (AtomicBool::new(false), AtomicUsize::new(0));
        let port = server.port;
        let known = std::thread::scope(|scope| {
            let sessions = scope.spawn(|| load(port, round, &stop, &accepted));
            let under_way =
                wait_until(Duration::from_secs(20), || accepted.load(Ordering::Relaxed) >= 100 + 150 * round);
            server.program.kill();
            stop.store(true, Ordering::Relaxed);
            assert!(under_way, "no load came up: {} accepted", accepted.load(Ordering::Relaxed));
            sessions.join().expect("no panic")
        });
        all.extend(known);
        server.restart();
        wait_until(Duration::from_secs(30), || all.is_subset(&subjects(&sink)));
        let lost: Vec<_> = all.difference(&subjects(&sink)).cloned().collect();
        assert!(
            lost.is_empty(),
            "round {round}: {} of {} accepted messages lost: {:?}",
            lost.len(),
            all.len(),
            &lost[..lost.len().min(9)]
        );
    }
    server.assert_works();
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_second_instance_is_refused() {
    let server = Server::start("");
    let etc = server.dir.path().join("etc2");
    std::fs::create_dir(&etc).expect("a directory");
    std::fs::copy(server.etc().join("main.cf"), etc.join("main.cf")).expect("main.cf");
    let service = format!("127.0.0.1:{} inet n - n - - smtpd\n", testkit::ports::free_port());
    std::fs::write(etc.join("master.cf"), service).expect("master.cf");
    let mut second = Command::new(postern());
    second.args(["serve", "--config-dir"]).arg(&etc);
    let mut second = Program::start(&mut second, &server.dir.path().join("second.out")).expect("the program runs");
    let status = second.wait(Duration::from_secs(15));
    assert!(status.is_some_and(|s| !s.success()), "two instances on one spool: {status:?} {}", second.output());
    server.assert_works();
}

/// The program with a spool on a file system of 112 MB (the spool lays out some room ahead), in a mount namespace that ends with it.
fn on_a_small_disk(server_dir: &std::path::Path) -> Program {
    let script = "mount -t tmpfs -o size=112m,mode=755 tmpfs \"$1/spool\" && chown --reference=\"$1/lib\" \"$1/spool\"
        exec \"$2\" serve --config-dir \"$1/etc\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(server_dir).arg(postern());
    Program::start(&mut command, &server_dir.join("output")).expect("the program starts")
}

#[test]
#[ignore = "run by cargo xtask test"]
fn disk_full() {
    if !is_root() || find("unshare").is_none() {
        return skipped("the full disk", "mounting a small file system takes root");
    }
    // no next hop yet, so that the spool fills up
    let server = Server::start_by("queue_minfree = 0\nmessage_size_limit = 2000000\n", on_a_small_disk);
    let line = "x".repeat(98) + "\r\n";
    let mut kept = BTreeSet::new();
    let mut refusal = String::new();
    let mut dialog = server.dialog();
    for n in 0..200 {
        let subject = format!("number {n}");
        if let Err(error) = dialog.begin("a@example.org", "user@relay.example") {
            refusal = error.to_string();
            break;
        }
        dialog.send(format!("Subject: {subject}\r\n\r\n{}.\r\n", line.repeat(10_000)).as_bytes()).expect("sent");
        refusal = dialog.reply().expect("a reply");
        if !refusal.starts_with("250 ") {
            break;
        }
        kept.insert(subject);
    }
    assert!(refusal.contains("452 4.3.1 "), "after {} messages: {refusal:?}", kept.len());
    assert!(!kept.is_empty() && kept.len() <= 112, "{} messages of 1 MB on a disk of 112 MB", kept.len());
    drop(dialog);
    // what was accepted gets out, and nothing else
    let sink = server.sink("");
    wait_until(Duration::from_secs(30), || subjects(&sink).len() >= kept.len());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(subjects(&sink), kept, "{}", server.tail());
    assert!(sink.messages().iter().all(|m| m.content.len() > 1_000_000), "a part of a message was delivered");
    // and there is room again
    let reply = server.dialog().message("a@example.org", "user@relay.example", "after").expect("a reply");
    assert!(reply.starts_with("250 "), "{reply}");
}
