//! A running `postern` with a directory, ports, DNS and a next hop of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::peer::{Address, Sink};
use testkit::ports::free_port;
use testkit::tools::{give_to_mail_owner, mail_owner};
use testkit::{Dialog, FixtureDns, Program, wait_until};

const ZONE: &str = "
example.org MX 10 mail.example.org
mail.example.org A 192.0.2.30
@rev 127.0.0.1 PTR localhost
localhost A 127.0.0.1
";

/// Mail for example.com is kept in Maildirs, mail for relay.example goes to the next hop, other mail is refused.
const MAIN_CF: &str = "\
compatibility_level = 3.12
myhostname = mail.example.com
mydomain = example.com
myorigin = example.com
mydestination = example.com
mynetworks = 192.0.2.0/24
inet_interfaces = loopback-only
inet_protocols = ipv4
relay_domains = relay.example
local_recipient_maps =
alias_maps =
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
maillog_file_prefixes = /
smtpd_client_connection_count_limit = 0
";

/// The server of a check.
pub struct Server {
    /// Its directory: etc, spool, lib, mail, log.
    pub dir: tempfile::TempDir,
    /// Its SMTP port.
    pub port: u16,
    /// The port of the next hop.
    pub next_hop: u16,
    /// The process.
    pub program: Program,
    /// DNS.
    pub dns: FixtureDns,
}

/// The program under test.
pub fn postern() -> PathBuf {
    let path = std::env::var_os("POSTERN").expect("POSTERN must name the program; `cargo xtask test` sets it");
    PathBuf::from(path)
}

/// Directories that the program writes to belong to the user it becomes when root starts it.
pub fn give_away(dirs: &[&Path]) {
    give_to_mail_owner(dirs.iter().copied()).unwrap_or_else(|e| panic!("{dirs:?}: {e}"));
}

impl Server {
    /// Starts one with these settings besides.
    pub fn start(settings: &str) -> Self {
        Self::start_by(settings, |dir| Program::serve(&postern(), &dir.join("etc")).expect("the program starts"))
    }

    /// Writes the configuration and starts the program in another way.
    pub fn start_by(settings: &str, start: impl FnOnce(&Path) -> Program) -> Self {
        let dir = testkit::temp_dir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["etc", "spool", "lib", "mail", "log"] {
            fs::create_dir(at(name)).expect("a directory");
        }
        give_away(&[&at("spool"), &at("lib"), &at("mail"), &at("log")]);
        let (port, next_hop, dns) = (free_port(), free_port(), FixtureDns::start(ZONE).expect("DNS"));
        let server = Paths { root: dir.path(), port, next_hop };
        server.configure(&dns.server(), settings);
        let mut program = start(dir.path());
        program.wait_listening(&[port], Duration::from_secs(20)).unwrap_or_else(|e| panic!("{e}"));
        Self { program, dir, port, next_hop, dns }
    }

    /// Rewrites main.cf.
    pub fn configure(&self, settings: &str) {
        Paths { root: self.dir.path(), port: self.port, next_hop: self.next_hop }
            .configure(&self.dns.server(), settings);
    }

    /// Starts the program again after it ended.
    pub fn restart(&mut self) {
        assert!(self.program.has_ended());
        self.program = Program::serve(&postern(), &self.etc()).expect("the program starts");
        self.program.wait_listening(&[self.port], Duration::from_secs(20)).unwrap_or_else(|e| panic!("{e}"));
    }

    /// The configuration directory.
    pub fn etc(&self) -> PathBuf {
        self.dir.path().join("etc")
    }

    /// The log so far, with what the program printed.
    pub fn log(&self) -> String {
        let log = fs::read(self.dir.path().join("log/maillog")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned() + &self.program.output()
    }

    /// The end of the log, to be shown.
    pub fn tail(&self) -> String {
        let log = self.log();
        let start = (log.len().saturating_sub(4000)..log.len()).find(|&i| log.is_char_boundary(i)).unwrap_or(0);
        log[start..].to_owned()
    }

    /// Waits until the log has `text`.
    pub fn wait_log(&self, text: &str) {
        assert!(
            wait_until(Duration::from_secs(15), || self.log().contains(text)),
            "no {text:?} in the log:\n{}",
            self.tail()
        );
    }

    /// Starts a next hop.
    pub fn sink(&self, rules: &str) -> Sink {
        let at = Address::Inet(([127, 0, 0, 1], self.next_hop).into());
        Sink::start(&at, &["8BITMIME", "PIPELINING"], rules).expect("a next hop")
    }

    /// A session that has said EHLO.
    pub fn dialog(&self) -> Dialog {
        Dialog::greeted(self.port).unwrap_or_else(|e| panic!("{e}\n{}", self.tail()))
    }

    /// The messages in a user's Maildir.
    pub fn maildir(&self, user: &str) -> Vec<String> {
        maildir(&self.dir.path().join("mail").join(user))
    }

    /// Waits for `count` messages in a user's Maildir.
    pub fn wait_mail(&self, user: &str, count: usize) -> Vec<String> {
        wait_until(Duration::from_secs(15), || self.maildir(user).len() >= count);
        let mail = self.maildir(user);
        assert_eq!(mail.len(), count, "messages for {user}; log:\n{}", self.tail());
        mail
    }

    /// The server still takes and delivers mail.
    pub fn assert_works(&self) {
        let before = self.maildir("health").len();
        let reply = self.dialog().message("a@example.org", "health@example.com", "still there");
        assert!(reply.as_ref().is_ok_and(|r| r.starts_with("250 2.0.0 Ok: queued as ")), "{reply:?}\n{}", self.tail());
        self.wait_mail("health", before + 1);
    }

    /// Resident memory of the process, KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.pid())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).expect("VmRSS of the program")
    }
}

/// The messages in a Maildir.
pub fn maildir(path: &Path) -> Vec<String> {
    let files = fs::read_dir(path.join("new")).into_iter().flatten().flatten();
    files.map(|f| String::from_utf8_lossy(&fs::read(f.path()).unwrap_or_default()).into_owned()).collect()
}

struct Paths<'d> {
    root: &'d Path,
    port: u16,
    next_hop: u16,
}

impl Paths<'_> {
    fn configure(&self, dns: &str, settings: &str) {
        let (root, etc) = (self.root.display(), self.root.join("etc"));
        let mut main_cf = MAIN_CF.to_owned();
        main_cf += &format!(
            "queue_directory = {root}/spool\ndata_directory = {root}/lib\nmail_spool_directory = {root}/mail/\n"
        );
        main_cf += &format!("maillog_file = {root}/log/maillog\npostern_dns_servers = {dns}\n");
        main_cf += &format!("relay_transport = smtp:[127.0.0.1]:{}\n", self.next_hop);
        main_cf += &mail_owner().map_or_else(String::new, |name| format!("mail_owner = {name}\n"));
        fs::write(etc.join("main.cf"), main_cf + settings).expect("main.cf");
        let services = ["smtp", "relay", "local", "virtual", "error", "retry", "discard"];
        // local and virtual act for the owner of a mailbox, so they are not unprivileged
        let privileged = |s: &str| if matches!(s, "local" | "virtual") { "n" } else { "-" };
        let line = |s: &&str| {
            format!("{s} unix - {} n - - {}\n", privileged(s), s.replace("relay", "smtp").replace("retry", "error"))
        };
        let unix: String = services.iter().map(line).collect();
        let master_cf = format!("127.0.0.1:{} inet n - n - - smtpd\n{unix}", self.port);
        fs::write(etc.join("master.cf"), master_cf).expect("master.cf");
    }
}
