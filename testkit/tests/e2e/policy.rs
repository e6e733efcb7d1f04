//! Policy services that people run: postgrey and policyd-spf from Debian, the quota service of docs/policy.md.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::User;
use testkit::ports::free_port;
use testkit::tools::{find, is_root, skipped};
use testkit::{Dialog, FixtureDns, Program, wait_until};

use crate::server::Server;

const PYTHON: &str = "/usr/bin/python3";

/// A running postgrey with a delay of one second.
struct Postgrey {
    dir: tempfile::TempDir,
    binary: PathBuf,
    endpoint: String,
    program: Option<Program>,
}

impl Postgrey {
    /// At `unix:PATH` (`{dir}` is a directory of its own) or `inet:HOST:PORT`; nothing, with a word, without postgrey.
    fn start(check: &str, endpoint: &str) -> Option<Self> {
        let Some(binary) = find("postgrey") else {
            skipped(check, "package postgrey is missing");
            return None;
        };
        let dir = testkit::temp_dir().expect("a temporary directory");
        if let Some(user) = User::from_name("postgrey").expect("users").filter(|_| is_root()) {
            nix::unistd::chown(dir.path(), Some(user.uid), Some(user.gid)).expect("we are root");
        }
        let endpoint = endpoint.replace("{dir}", &dir.path().display().to_string());
        let mut postgrey = Self { dir, binary, endpoint, program: None };
        postgrey.start_again();
        Some(postgrey)
    }

    fn start_again(&mut self) {
        let (kind, place) = self.endpoint.split_once(':').expect("an endpoint");
        let output = self.dir.path().join("output");
        let mut command = Command::new(&self.binary);
        command.arg(format!("--{kind}={place}")).arg(format!("--dbdir={}", self.dir.path().display()));
        command.args(["--delay=1", "--hostname=mail.example.com"]);
        command.args(["--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null"]);
        let program = Program::start(&mut command, &output).expect("postgrey starts");
        let is_up = || fs::read_to_string(&output).is_ok_and(|text| text.matches("Setting uid").count() > 0);
        assert!(wait_until(Duration::from_secs(30), is_up), "{}", program.output());
        let is_there = || match kind {
            "unix" => Path::new(place).metadata().is_ok_and(|it| it.permissions().mode() & 0o777 == 0o666),
            _ => {
                place.rsplit_once(':').is_some_and(|(_, port)| testkit::ports::is_listening(port.parse().unwrap_or(0)))
            }
        };
        assert!(wait_until(Duration::from_secs(30), is_there), "{}", program.output());
        self.program = Some(program);
    }
}

/// The answer to a recipient in a new transaction.
fn answer(dialog: &mut Dialog, from: &str, to: &str) -> String {
    dialog.command("RSET").expect("a reply");
    assert_eq!(dialog.command(&format!("MAIL FROM:<{from}>")).expect("a reply"), "250 2.1.0 Ok");
    dialog.command(&format!("RCPT TO:<{to}>")).expect("a reply")
}

/// The rest of a message after its recipient; the reply to its end.
fn finish(dialog: &mut Dialog, body: &str) -> String {
    assert!(dialog.command("DATA").expect("a reply").starts_with("354 "));
    dialog.send(format!("Subject: hello\r\n\r\n{body}\r\n.\r\n").as_bytes()).expect("it reads");
    dialog.reply().expect("a reply")
}

const GREYLISTED: &str = "450 4.2.0 <u@example.com>: Recipient address rejected: Greylisted, see \
                          http://postgrey.schweikert.ch/help/example.com.html";

#[test]
#[ignore = "run by cargo xtask test"]
fn postgrey_lets_in_who_comes_back() {
    let Some(postgrey) = Postgrey::start("greylisting with postgrey", "unix:{dir}/socket") else { return };
    let server = Server::start(&format!("smtpd_recipient_restrictions = check_policy_service {}\n", postgrey.endpoint));
    let mut dialog = server.dialog();
    assert_eq!(answer(&mut dialog, "a@example.org", "u@example.com"), GREYLISTED, "{}", server.tail());
    server.wait_log(&format!("NOQUEUE: reject: RCPT from localhost[127.0.0.1]: {GREYLISTED}; from=<a@example.org>"));
    let passes = || answer(&mut dialog, "a@example.org", "u@example.com") == "250 2.1.5 Ok";
    assert!(wait_until(Duration::from_secs(20), passes), "{}", server.tail());
    assert!(finish(&mut dialog, "hello").starts_with("250 2.0.0 Ok: queued as "), "{}", server.tail());
    let mail = &server.wait_mail("u", 1)[0];
    let header = mail.lines().find(|line| line.starts_with("X-Greylist: ")).expect("postgrey's header");
    assert!(header.starts_with("X-Greylist: delayed ") && header.contains(" at mail.example.com; "), "{header}");
    // another client, another wait
    let mut other = Dialog::connect_from([127, 0, 7, 7], server.port).expect("a connection");
    assert!(other.reply().expect("a greeting").starts_with("220 "));
    assert!(other.command("EHLO other.example.net").expect("a reply").starts_with("250"));
    assert_eq!(answer(&mut other, "a@example.org", "u@example.com"), GREYLISTED);
}

#[test]
#[ignore = "run by cargo xtask test"]
fn postgrey_dies_and_comes_back() {
    let endpoint = format!("inet:127.0.0.1:{}", free_port());
    let Some(mut postgrey) = Postgrey::start("a policy service that dies", &endpoint) else { return };
    let server = Server::start(&format!(
        "smtpd_recipient_restrictions = check_policy_service {endpoint}\nsmtpd_policy_service_retry_delay = 0
postern_policy_service_breaker = 3, 2s\n"
    ));
    let mut dialog = server.dialog();
    assert_eq!(answer(&mut dialog, "a@example.org", "u@example.com"), GREYLISTED, "{}", server.tail());
    postgrey.program = None;
    let broken = "451 4.3.5 <u@example.com>: Recipient address rejected: Server configuration problem";
    let problem = || server.log().matches("warning: problem talking to server 127.0.0.1:").count();
    for count in 1..=3 {
        assert_eq!(answer(&mut dialog, "a@example.org", "u@example.com"), broken);
        // the connection that is gone, and new ones that are refused
        let refused = || server.log().matches(": Connection refused").count() >= 4 * count - 1;
        assert!(wait_until(Duration::from_secs(15), refused), "{}", server.tail());
    }
    server.wait_log(&format!(
        "warning: policy service {endpoint}: 3 failures in a row: until it answers again its default action counts: \
         451 4.3.5 Server configuration problem"
    ));
    // nobody asks it now, and the log is quiet about it
    let before = problem();
    assert_eq!(answer(&mut dialog, "a@example.org", "u@example.com"), broken);
    assert_eq!(problem(), before, "{}", server.tail());
    postgrey.start_again();
    let answers = || answer(&mut dialog, "a@example.org", "u@example.com") != broken;
    assert!(wait_until(Duration::from_secs(20), answers), "{}", server.tail());
    server.wait_log(&format!("policy service {endpoint}: answers again, after "));
    let passes = || answer(&mut dialog, "a@example.org", "u@example.com") == "250 2.1.5 Ok";
    assert!(wait_until(Duration::from_secs(20), passes), "{}", server.tail());
    assert_eq!(server.log().matches("failures in a row").count(), 1);
}

/// A program that is started for each connection, with the connection as its input and output: spawn(8).
pub struct Spawned {
    pub port: u16,
    children: Arc<Mutex<Vec<Child>>>,
    /// Gone with it.
    files: Option<tempfile::TempDir>,
}

impl Spawned {
    fn start(command: impl Fn() -> Command + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let children = Arc::<Mutex<Vec<Child>>>::default();
        let started = children.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let output = OwnedFd::from(stream.try_clone().expect("a copy"));
                let child = command().stdin(OwnedFd::from(stream)).stdout(output).spawn();
                started.lock().unwrap_or_else(PoisonError::into_inner).extend(child);
            }
        });
        Self { port, children, files: None }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        for child in self.children.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const SPF_ZONE: &str = r#"
good.example TXT "v=spf1 ip4:192.0.2.10 -all"
bad.example TXT "v=spf1 ip4:192.0.2.77 -all"
mx.good.example TXT "v=spf1 a -all"
mx.good.example A 192.0.2.10
"#;

const SPF_SETTINGS: &str = "debugLevel = -1\nTestOnly = 1\nHELO_reject = Fail\nMail_From_reject = Fail\n\
                            PermError_reject = False\nTempError_Defer = False\nskip_addresses = 192.0.2.99/32\n";

/// The program as it is, but for the DNS server: its library takes dnspython where that is installed.
const SPF_START: &str = "import sys, runpy, spf
port = int(sys.argv[1])
try:
    import dns.resolver
    resolver = dns.resolver.default_resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ['127.0.0.1'], port
except ImportError:
    import DNS
    DNS.defaults['server'][:], DNS.defaults['port'] = ['127.0.0.1'], port
program, sys.argv = sys.argv[2], sys.argv[2:]
runpy.run_path(program, run_name='__main__')
";

/// The answer to a recipient of a client elsewhere.
pub fn answer_to(server: &Server, client: &str, from: &str) -> (Dialog, String) {
    let mut dialog = server.dialog();
    let reply = dialog.command(&format!("XCLIENT ADDR={client} NAME=mx.good.example")).expect("a reply");
    assert!(reply.starts_with("220 "), "{reply}");
    assert!(dialog.command("EHLO mx.good.example").expect("a reply").starts_with("250"));
    let reply = answer(&mut dialog, from, "u@example.com");
    (dialog, reply)
}

/// The policyd-spf of Debian, asking this DNS.
pub fn start_policyd_spf(program: PathBuf, dns: &FixtureDns) -> Spawned {
    let dns_port = dns.server().rsplit_once(':').map(|(_, port)| port.to_owned()).expect("a port");
    let dir = testkit::temp_dir().expect("a temporary directory");
    let settings = dir.path().join("policyd-spf.conf");
    fs::write(&settings, SPF_SETTINGS).expect("its settings");
    let mut spawned = Spawned::start(move || {
        let mut command = Command::new(PYTHON);
        command.args(["-c", SPF_START, &dns_port]).arg(&program).arg(&settings);
        command
    });
    spawned.files = Some(dir);
    spawned
}

#[test]
#[ignore = "run by cargo xtask test"]
fn policyd_spf_decides() {
    let Some(program) = find("policyd-spf") else {
        return skipped("SPF with policyd-spf", "package postfix-policyd-spf-python is missing");
    };
    let dns = FixtureDns::start(SPF_ZONE).expect("DNS");
    let spawned = start_policyd_spf(program, &dns);
    let server = Server::start(&format!(
        "smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{}
smtpd_authorized_xclient_hosts = 127.0.0.1\n",
        spawned.port
    ));
    let (mut dialog, reply) = answer_to(&server, "192.0.2.10", "a@good.example");
    assert_eq!(reply, "250 2.1.5 Ok", "{}", server.tail());
    assert!(finish(&mut dialog, "hello").starts_with("250 "));
    let mail = &server.wait_mail("u", 1)[0];
    let header = "Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=192.0.2.10; helo=mx.good.example; \
                  envelope-from=a@good.example; receiver=";
    assert!(mail.contains(header), "{mail}");

    let (_, reply) = answer_to(&server, "192.0.2.10", "a@bad.example");
    let start = "550 5.7.23 <u@example.com>: Recipient address rejected: Message rejected due to: SPF fail - not \
                 authorized.";
    assert!(reply.starts_with(start), "{reply}");
    let (mut dialog, reply) = answer_to(&server, "192.0.2.99", "a@bad.example");
    assert_eq!(reply, "250 2.1.5 Ok");
    assert!(finish(&mut dialog, "hello").starts_with("250 "));
    let mail = server.wait_mail("u", 2).join("\n");
    assert!(mail.contains("X-Comment: SPF check N/A for local connections - client-ip=192.0.2.99;"), "{mail}");
}

/// The quota service as the documentation has it.
fn quota_script() -> &'static str {
    let page = include_str!("../../../docs/policy.md");
    let (_, rest) = page.split_once("```python\n").expect("a script");
    rest.split_once("```").expect("its end").0
}

#[test]
#[ignore = "run by cargo xtask test"]
fn the_documented_quota_is_kept() {
    let Some(python) = find(PYTHON) else { return skipped("the quota service", "package python3 is missing") };
    let dir = testkit::temp_dir().expect("a temporary directory");
    let (script, port) = (dir.path().join("quota.py"), free_port());
    fs::write(&script, quota_script()).expect("the script");
    let mut command = Command::new(python);
    command.arg(&script).args([port.to_string(), "2500".to_owned()]);
    let mut quota = Program::start(&mut command, &dir.path().join("output")).expect("the script starts");
    quota.wait_listening(&[port], Duration::from_secs(20)).unwrap_or_else(|error| panic!("{error}"));
    let server =
        Server::start(&format!("smtpd_end_of_data_restrictions = check_policy_service inet:127.0.0.1:{port}\n"));

    // a message counts once for each recipient
    let mut dialog = server.dialog();
    assert_eq!(answer(&mut dialog, "a@example.org", "u@example.com"), "250 2.1.5 Ok");
    assert_eq!(dialog.command("RCPT TO:<v@example.com>").expect("a reply"), "250 2.1.5 Ok");
    let reply = finish(&mut dialog, &"x".repeat(900));
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}\n{}\n{}", server.tail(), quota.output());
    let mut send = |length: usize| {
        assert_eq!(answer(&mut dialog, "a@example.org", "u@example.com"), "250 2.1.5 Ok");
        finish(&mut dialog, &"x".repeat(length))
    };
    let full = "452 4.2.2 <END-OF-MESSAGE>: End-of-data rejected: quota of 2500 bytes an hour is used up";
    assert_eq!(send(900), full);
    server.wait_log(&format!("reject: END-OF-MESSAGE from localhost[127.0.0.1]: {full}; from=<a@example.org>"));
    // what was refused doesn't count
    assert!(send(200).starts_with("250 "));
    assert_eq!(send(900), full);
    server.wait_mail("u", 2);
}
