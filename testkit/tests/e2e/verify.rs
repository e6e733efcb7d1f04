//! Address verification with a real Postfix as the next server.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::tools::{POSTFIX_DAEMONS, is_root, skipped};
use testkit::{Dialog, Program, wait_until};

use crate::server::Server;

const SETTINGS: &str = "\
address_verify_poll_delay = 1s
unverified_recipient_reject_code = 550
smtpd_recipient_restrictions = reject_unauth_destination, reject_unverified_recipient
";

/// A Postfix that knows one user, and stores nothing; nothing, with a word, where there is none or nobody may start it.
fn postfix(check: &str, dir: &Path, port: u16) -> Option<Program> {
    if !Path::new(POSTFIX_DAEMONS).join("master").exists() || !is_root() {
        skipped(check, "package postfix is missing, or this isn't root");
        return None;
    }
    let root = dir.display();
    let script = "set -e; mkdir -p etc spool data; cp -a /etc/postfix/dynamicmaps.cf* etc/ 2>/dev/null || true
        chown postfix data; cd spool; mkdir -m 700 active bounce corrupt defer deferred flush hold incoming private saved trace
        mkdir pid; mkdir -m 730 maildrop; mkdir -m 710 public
        chown postfix active bounce corrupt defer deferred flush hold incoming private saved trace
        chown postfix:postdrop maildrop public";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir).status().expect("a shell");
    assert!(made.success());
    let main_cf = format!(
        "compatibility_level = 3.6\nmeta_directory = /etc/postfix\ndaemon_directory = {POSTFIX_DAEMONS}\n\
         command_directory = /usr/sbin\nqueue_directory = {root}/spool\ndata_directory = {root}/data\n\
         mail_owner = postfix\nsetgid_group = postdrop\nmyhostname = next.example.net\nmydestination = relay.example\n\
         local_recipient_maps = inline:{{known=x}}\nlocal_transport = discard\nmynetworks =\ninet_interfaces = loopback-only\n\
         inet_protocols = ipv4\nmaillog_file = {root}/maillog\nmaillog_file_prefixes = /\n"
    );
    let master_cf = format!(
        "127.0.0.1:{port} inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
         rewrite unix - - n - - trivial-rewrite\nanvil unix - - n - 1 anvil\npostlog unix-dgram n - n - 1 postlogd\n\
         discard unix - - n - - discard\nproxymap unix - - n - - proxymap\nbounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\n"
    );
    fs::write(dir.join("etc/main.cf"), main_cf).expect("main.cf");
    fs::write(dir.join("etc/master.cf"), master_cf).expect("master.cf");
    let mut command = Command::new(Path::new(POSTFIX_DAEMONS).join("master"));
    command.arg("-c").arg(dir.join("etc")).arg("-d").env("MAIL_CONFIG", dir.join("etc"));
    let mut program = Program::start_group(&mut command, &dir.join("output")).expect("Postfix starts");
    program.wait_listening(&[port], Duration::from_secs(30)).unwrap_or_else(|error| panic!("{error}"));
    Some(program)
}

/// The answer to a recipient in a new transaction.
fn answer(dialog: &mut Dialog, to: &str) -> String {
    dialog.command("RSET").expect("a reply");
    assert_eq!(dialog.command("MAIL FROM:<a@example.org>").expect("a reply"), "250 2.1.0 Ok");
    dialog.command(&format!("RCPT TO:<{to}>")).expect("a reply")
}

fn refused(text: &str) -> String {
    format!("550 5.1.1 <nobody@relay.example>: Recipient address rejected: undeliverable address: {text}")
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_real_next_hop_is_asked_once_and_its_answers_outlive_it() {
    let mut server = Server::start(SETTINGS);
    let dir = testkit::temp_dir().expect("a temporary directory");
    let Some(next) = postfix("address verification at a real next hop", dir.path(), server.next_hop) else { return };
    let mut dialog = server.dialog();
    let said = "host 127.0.0.1[127.0.0.1] said: 550 5.1.1 <nobody@relay.example>: Recipient address rejected: User unknown \
                in local recipient table (in reply to RCPT TO command)";
    for _ in 0..2 {
        assert_eq!(answer(&mut dialog, "known@relay.example"), "250 2.1.5 Ok", "{}", server.tail());
        assert_eq!(answer(&mut dialog, "nobody@relay.example"), refused(said), "{}", server.tail());
    }
    server.wait_log("to=<known@relay.example>, relay=127.0.0.1[127.0.0.1]");
    server.wait_log("dsn=2.1.5, status=deliverable (250 2.1.5 Ok)");
    server.wait_log(&format!("dsn=5.1.1, status=undeliverable ({said})"));
    assert_eq!(server.log().matches("status=deliverable").count(), 1);
    assert_eq!(server.log().matches("status=undeliverable").count(), 1);

    // The next hop goes, and postern starts anew: what is known is known.
    drop(next);
    let gone = || !testkit::ports::is_listening(server.next_hop);
    assert!(wait_until(Duration::from_secs(20), gone));
    server.program.stop(Duration::from_secs(20)).expect("it ends");
    server.restart();
    let mut dialog = server.dialog();
    assert_eq!(answer(&mut dialog, "known@relay.example"), "250 2.1.5 Ok", "{}", server.tail());
    assert_eq!(answer(&mut dialog, "nobody@relay.example"), refused(said), "{}", server.tail());
    let unknown = format!(
        "450 4.1.1 <other@relay.example>: Recipient address rejected: unverified address: connect to \
         127.0.0.1[127.0.0.1]:{}: Connection refused",
        server.next_hop
    );
    assert_eq!(answer(&mut dialog, "other@relay.example"), unknown, "{}", server.tail());
    let cache = fs::read_to_string(server.dir.path().join("lib/verify_cache.postern")).expect("a cache");
    assert!(cache.contains("known@relay.example\t0:0:") && cache.contains("nobody@relay.example\t2:0:"), "{cache}");
    // Nothing of a probe is in the queue.
    server.assert_works();
    assert_eq!(server.log().matches("status=deferred").count(), 0);
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_silent_next_hop_keeps_nobody_longer_than_the_configuration_says() {
    let server = Server::start(&format!("{SETTINGS}address_verify_poll_count = 2\n"));
    let _sink = server.sink("CONNECT => !hang");
    let progress = "450 4.1.1 <a@relay.example>: Recipient address rejected: unverified address: Address verification in \
                    progress";
    let mut dialogs: Vec<Dialog> = (0..20).map(|_| server.dialog()).collect();
    for dialog in &mut dialogs {
        dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
        dialog.send(b"RCPT TO:<a@relay.example>\r\n").expect("it reads");
    }
    for dialog in &mut dialogs {
        assert_eq!(dialog.reply().expect("a reply"), progress, "{}", server.tail());
    }
    // One address, one visit.
    server.wait_log("(queue active)");
    assert_eq!(server.log().matches("(queue active)").count(), 1, "{}", server.tail());
    server.assert_works();
}
