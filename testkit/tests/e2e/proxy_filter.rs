//! In front of next hops that people run: Debian's Postfix and Dovecot's LMTP server.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::peer::{Address, Sink};
use testkit::ports::free_port;
use testkit::tools::{POSTFIX_DAEMONS, find, is_root, skipped};
use testkit::{Program, wait_until};

use crate::server::{Server, maildir};

/// A running Postfix with a configuration of its own: mail for `u` and `v` at example.com is taken and kept nowhere.
struct Postfix {
    dir: tempfile::TempDir,
    port: u16,
    program: Program,
}

const MAIN_CF: &str = "compatibility_level = 3.6
myhostname = inner.example.com
mydestination = example.com
inet_interfaces = loopback-only
inet_protocols = ipv4
local_recipient_maps = inline:{u=x, v=x}
local_transport = discard:
header_checks = regexp:{{/^Subject: junk/ REJECT no junk}}
smtpd_authorized_xforward_hosts = 127.0.0.0/8
maillog_file_prefixes = /
message_size_limit = 300000
";
const MASTER_CF: &str =
    "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\ndiscard unix - - n - - discard
anvil unix - - n - 1 anvil\npostlog unix-dgram n - n - 1 postlogd\nproxymap unix - - n - - proxymap\n";
const QUEUE: &str =
    "cd \"$1\"; mkdir -m 700 active bounce corrupt defer deferred flush hold incoming saved trace private
mkdir pid; mkdir -m 730 maildrop; mkdir -m 710 public
chown postfix active bounce corrupt defer deferred flush hold incoming private saved trace ../lib
chown postfix:postdrop maildrop public";

impl Postfix {
    /// Nothing, with a word, where it can't run.
    fn start() -> Option<Self> {
        let master = format!("{POSTFIX_DAEMONS}/master");
        if !is_root() || find(&master).is_none() {
            skipped("a filter in front of Postfix", "package postfix is missing, or we aren't root");
            return None;
        }
        let dir = testkit::temp_dir().expect("a temporary directory");
        let port = free_port();
        let root = dir.path().display();
        for name in ["etc", "spool", "lib"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        let places =
            format!("queue_directory = {root}/spool\ndata_directory = {root}/lib\nmaillog_file = {root}/maillog\n");
        fs::write(dir.path().join("etc/main.cf"), MAIN_CF.to_owned() + &places).expect("main.cf");
        let services = format!("127.0.0.1:{port} inet n - n - - smtpd\n{MASTER_CF}");
        fs::write(dir.path().join("etc/master.cf"), services).expect("master.cf");
        let made = Command::new("sh").args(["-ec", QUEUE, "sh"]).arg(dir.path().join("spool")).status();
        assert!(made.expect("a shell").success());
        let mut command = Command::new(master);
        command.arg("-d").env("MAIL_CONFIG", dir.path().join("etc"));
        let mut program = Program::start_group(&mut command, &dir.path().join("output")).expect("postfix starts");
        program.wait_listening(&[port], Duration::from_secs(20)).unwrap_or_else(|error| panic!("{error}"));
        Some(Self { dir, port, program })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("maillog")).unwrap_or_default()
    }

    fn wait_log(&self, text: &str) {
        assert!(wait_until(Duration::from_secs(15), || self.log().contains(text)), "no {text:?} in\n{}", self.log());
    }
}

/// Nothing of a message stays with us, and nothing else does.
fn assert_empty(server: &Server) {
    let spool = server.dir.path().join("spool/postern/large");
    assert_eq!(fs::read_dir(spool).map_or(0, Iterator::count), 0);
}

fn before_postfix(options: &str) {
    let Some(mut postfix) = Postfix::start() else { return };
    let filter = format!("127.0.0.1:{}", postfix.port);
    let server = Server::start(&format!("smtpd_proxy_filter = {filter}\n{options}"));
    let is_kept = options.contains("speed_adjust");
    let mut dialog = server.dialog();
    let reply = dialog.message("a@example.org", "u@example.com", "hello").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}\n{}", server.tail());
    server
        .wait_log(&format!(": proxy-accept: END-OF-MESSAGE: {reply}; from=<a@example.org> to=<u@example.com> proto="));
    // Postfix knows who it was, and has the message under the id that the client was told.
    let id = reply.rsplit(' ').next().expect("an id");
    postfix.wait_log(&format!("{id}: client=localhost[127.0.0.1], orig_client=localhost[127.0.0.1]"));
    postfix.wait_log(&format!("{id}: removed"));
    // Its refusals are ours: of a recipient, of a message.
    dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
    let unknown = "550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in local recipient table";
    let reply = dialog.command("RCPT TO:<nobody@example.com>").expect("a reply");
    assert_eq!(reply, if is_kept { "250 2.1.5 Ok" } else { unknown }, "{}", server.tail());
    assert!(dialog.command("RCPT TO:<v@example.com>").expect("a reply").starts_with("250 "));
    assert!(dialog.command("DATA").expect("a reply").starts_with("354 "));
    dialog.send(b"Subject: junk\r\n\r\nbody\r\n.\r\n").expect("it reads");
    let reply = dialog.reply().expect("a reply");
    assert_eq!(reply, if is_kept { unknown } else { "550 5.7.1 no junk" }, "{}", server.tail());
    // A large message, and one that is too large for Postfix: its limit is below ours.
    for (size, code) in [(250_000, "250 2.0.0 Ok: queued as "), (400_000, "552 5.3.4 ")] {
        dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
        assert!(dialog.command("RCPT TO:<u@example.com>").expect("a reply").starts_with("250 "));
        assert!(dialog.command("DATA").expect("a reply").starts_with("354 "));
        dialog
            .send(("0123456789012345678901234567890123456789\r\n".repeat(size / 42) + ".\r\n").as_bytes())
            .expect("sent");
        let reply = dialog.reply().expect("a reply");
        assert!(reply.starts_with(code), "{size}: {reply}\n{}", server.tail());
    }
    assert_empty(&server);
    // Postfix dies, and comes back: nobody is lost, nobody has to restart anything.
    postfix.program.kill();
    assert!(wait_until(Duration::from_secs(10), || !testkit::ports::is_listening(postfix.port)));
    let reply = server.dialog().message("a@example.org", "u@example.com", "nobody there");
    let reply = reply.unwrap_or_else(|error| error.to_string());
    assert!(reply.contains("451 4.3.0 Error: queue file write error"), "{reply}\n{}", server.tail());
    server.wait_log(&format!("warning: connect to proxy filter {filter}: Connection refused"));
    let again = Sink::start(&Address::Inet(([127, 0, 0, 1], postfix.port).into()), &["8BITMIME"], "").expect("a sink");
    let reply = server.dialog().message("a@example.org", "u@example.com", "back again").expect("a reply");
    assert_eq!(reply, "250 2.0.0 Ok: sink", "{}", server.tail());
    assert_eq!(again.messages().len(), 1);
}

#[test]
#[ignore = "run by cargo xtask test"]
fn in_front_of_postfix() {
    before_postfix("");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn in_front_of_postfix_when_the_message_is_complete() {
    before_postfix("smtpd_proxy_options = speed_adjust\n");
}

/// Dovecot as an LMTP server for `u` and `v`, with mailboxes below `dir`.
fn dovecot(dir: &Path) -> Option<Program> {
    let (Some(binary), Some(_), true) = (find("dovecot"), find("/usr/lib/dovecot/lmtp"), is_root()) else {
        skipped("a filter in front of Dovecot's LMTP server", "package dovecot-lmtpd is missing, or we aren't root");
        return None;
    };
    let at = |name: &str| dir.join(name).display().to_string();
    fs::create_dir(dir.join("mail")).expect("a directory");
    let owner = nix::unistd::User::from_name("mail").expect("users").expect("the user mail");
    nix::unistd::chown(&dir.join("mail"), Some(owner.uid), Some(owner.gid)).expect("we are root");
    fs::write(dir.join("users"), "u:::::::\nv:::::::\n").expect("users");
    let settings = format!(
        "base_dir = {}\nlog_path = {}\nprotocols = lmtp\nssl = no\nlisten = 127.0.0.1\npostmaster_address = p@example.com
hostname = inner.example.com\nmail_location = maildir:{}/%n\nfirst_valid_uid = 1
auth_username_format = %n\npassdb {{\n driver = passwd-file\n args = {users}\n}}
userdb {{\n driver = passwd-file\n args = {users}\n default_fields = uid={} gid={} home={}/%n\n}}
service lmtp {{\n unix_listener {} {{\n mode = 0666\n }}\n}}\n",
        at("run"),
        at("log"),
        at("mail"),
        owner.uid,
        owner.gid,
        at("mail"),
        at("lmtp"),
        users = at("users"),
    );
    fs::write(dir.join("conf"), settings).expect("settings");
    let mut command = Command::new(binary);
    command.arg("-F").arg("-c").arg(dir.join("conf"));
    let program = Program::start_group(&mut command, &dir.join("output")).expect("dovecot starts");
    let log = || program.output() + &fs::read_to_string(dir.join("log")).unwrap_or_default();
    assert!(wait_until(Duration::from_secs(20), || dir.join("lmtp").exists()), "{}", log());
    Some(program)
}

#[test]
#[ignore = "run by cargo xtask test"]
fn in_front_of_dovecots_lmtp_server() {
    use std::os::unix::fs::PermissionsExt;
    let dir = testkit::temp_dir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let Some(_dovecot) = dovecot(dir.path()) else { return };
    let lmtp = dir.path().join("lmtp").display().to_string();
    let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    let server = Server::start(&format!("smtpd_proxy_filter = lmtp:unix:{lmtp}\n"));
    let mut dialog = server.dialog();
    dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
    let reply = dialog.command("RCPT TO:<nobody@example.com>").expect("a reply");
    assert_eq!(
        reply,
        "550 5.1.1 <nobody@example.com> User doesn't exist: nobody@example.com",
        "{}{}",
        server.tail(),
        log()
    );
    assert_eq!(
        dialog.command("RCPT TO:<u@example.com>").expect("a reply"),
        "250 2.1.5 Ok",
        "{}{}",
        server.tail(),
        log()
    );
    // One answer at the end of a message is about one mailbox.
    let reply = dialog.command("RCPT TO:<v@example.com>").expect("a reply");
    assert_eq!(reply, "452 4.5.3 Error: too many recipients");
    assert!(dialog.command("DATA").expect("a reply").starts_with("354 "));
    dialog.send(b"Subject: hello\r\n\r\n..dot\r\n.\r\n").expect("it reads");
    let reply = dialog.reply().expect("a reply");
    assert!(reply.starts_with("250 2.0.0 <u@example.com> "), "{reply}\n{}{}", server.tail(), log());
    let mail = maildir(&dir.path().join("mail/u"));
    assert!(mail.len() == 1 && mail[0].contains("Subject: hello") && mail[0].ends_with("\n.dot\n"), "{mail:#?}");
    assert!(mail[0].contains("by mail.example.com (Postfix) with ESMTP\n\tfor <u@example.com>; "), "{mail:#?}");
    // What real Postfix makes of the same server: it speaks EHLO, which LMTP servers don't know.
    let server = Server::start(&format!("smtpd_proxy_filter = unix:{lmtp}\n"));
    let mut dialog = server.dialog();
    dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
    let reply = dialog.command("RCPT TO:<u@example.com>").expect("a reply");
    assert_eq!(reply, "451 4.3.0 Error: queue file write error");
    server.wait_log(&format!(
        "warning: proxy unix:{lmtp} rejected \"EHLO mail.example.com\": \"500 5.5.1 Unknown command\""
    ));
}
