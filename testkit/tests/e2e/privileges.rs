//! What the program can do after it was started by root: what its mail owner may, and less.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use testkit::tools::{is_root, mail_owner, skipped};
use testkit::wait_until;

use crate::server::{Server, give_away, maildir};

/// The values of a line of /proc/PID/task/TID/status.
fn values(status: &str, name: &str) -> Vec<String> {
    let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().map(str::to_owned).collect()
}

#[test]
#[ignore = "run by cargo xtask test"]
fn every_thread_is_the_mail_owner() {
    if !is_root() {
        return skipped("giving up root", "it takes root to begin with");
    }
    let server = Server::start("");
    server.assert_works();
    let owner = fs::metadata(server.dir.path().join("spool")).expect("the spool");
    let (uid, gid) = (owner.uid().to_string(), owner.gid().to_string());
    assert_ne!(uid, "0");
    let tasks = fs::read_dir(format!("/proc/{}/task", server.program.pid())).expect("threads");
    let statuses: Vec<String> =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).collect();
    assert!(statuses.len() >= 4, "{} threads", statuses.len());
    for status in &statuses {
        // real, effective, saved, file system
        assert_eq!(values(status, "Uid"), vec![uid.clone(); 4], "{status}");
        assert_eq!(values(status, "Gid"), vec![gid.clone(); 4], "{status}");
        assert!(!values(status, "Groups").contains(&"0".to_owned()), "{status}");
        for capabilities in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(values(status, capabilities), ["0000000000000000"], "{status}");
        }
        // set with the confinement; a set-user-id program would not help either
        assert_eq!(values(status, "NoNewPrivs"), ["1"], "{status}");
    }
    server.wait_log(&format!("running as {}, file system confinement ", mail_owner().expect("we are root")));
}

#[test]
#[ignore = "run by cargo xtask test"]
fn nothing_is_written_elsewhere() {
    if !is_root() {
        return skipped(
            "confinement to the configured directories",
            "it is announced only when root starts the program",
        );
    }
    let server = Server::start("");
    server.wait_log("file system confinement ");
    if !server.log().contains("file system confinement fully enforced") {
        return skipped("confinement to the configured directories", "this kernel has no Landlock");
    }
    // theirs to write to, as far as permissions go; a Maildir of the site leads there
    let outside = server.dir.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    for name in ["cur", "new", "tmp"] {
        fs::create_dir(outside.join(name)).expect("a directory");
        give_away(&[&outside.join(name)]);
    }
    give_away(&[&outside]);
    std::os::unix::fs::symlink(&outside, server.dir.path().join("mail/user")).expect("a link");
    let reply = server.dialog().message("a@example.org", "user@example.com", "outside").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    server.wait_log("to=<user@example.com>, relay=local");
    server.wait_log("status=deferred (");
    assert_eq!(maildir(&outside), Vec::<String>::new());
    assert!(fs::read_dir(outside.join("tmp")).expect("tmp").next().is_none());
    // inside again, the same message arrives
    fs::remove_file(server.dir.path().join("mail/user")).expect("removed");
    server.wait_mail("user", 1);

    // the confinement of the start holds after a reload, too
    let moved = server.dir.path().join("moved");
    fs::create_dir(&moved).expect("a directory");
    give_away(&[&moved]);
    server.configure(&format!("mail_spool_directory = {}/\n", moved.display()));
    server.program.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_log("reload complete");
    let before = server.log().matches("status=deferred").count();
    let reply = server.dialog().message("a@example.org", "user@example.com", "moved").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    let deferred = || server.log().matches("status=deferred").count() > before;
    assert!(wait_until(Duration::from_secs(15), deferred), "{}", server.tail());
    assert!(fs::read_dir(&moved).expect("the directory").next().is_none());
}
