//! The servers that are measured: postern, the installed Postfix, smtp-sink; with the same policy where they have one.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::ports::free_port;
use testkit::tools::{POSTFIX_DAEMONS, find, give_to_mail_owner, is_root, mail_owner};
use testkit::{Dialog, Program};

/// Entries of the access table.
const ENTRIES: usize = 100_000;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The program of this project.
    Postern,
    /// The installed Postfix, with 100 processes.
    Postfix,
    /// Postfix's smtp-sink, which takes everything or refuses every recipient and keeps nothing.
    Sink,
}

impl Who {
    /// The name in the table.
    pub fn name(self) -> &'static str {
        ["postern", "Postfix", "smtp-sink"][self as usize]
    }
}

/// Where the servers run, and what they share.
pub struct Site {
    dir: tempfile::TempDir,
    postern: PathBuf,
    dns: String,
    table: String,
}

/// A running server.
pub struct Peer {
    program: Program,
    /// Its port.
    pub port: u16,
    /// From the start to the first greeting.
    pub start: Duration,
    dir: PathBuf,
}

impl Peer {
    /// Its configuration and data are below this.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The process at the top of its tree.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.program.stop(Duration::from_secs(10));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The policy of the wiki's examples, as the second opinion of this bench has it too.
pub fn policy(table: &str) -> String {
    format!(
        "myhostname = mx.relay.test
mydomain = relay.test
myorigin = relay.test
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
relay_domains = relay.test
relay_recipient_maps =
transport_maps = inline:{{ relay.test=discard: }}
mynetworks = 10.0.0.0/8
inet_protocols = ipv4
inet_interfaces = loopback-only
smtpd_helo_required = yes
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_helo_restrictions =
    permit_mynetworks,
    reject_non_fqdn_helo_hostname,
    reject_invalid_helo_hostname
smtpd_sender_restrictions =
    permit_mynetworks,
    check_sender_access {table},
    reject_non_fqdn_sender,
    reject_unknown_sender_domain
smtpd_recipient_restrictions =
    permit_mynetworks,
    reject_non_fqdn_recipient,
    reject_unauth_destination,
    reject_rbl_client bl1.test,
    reject_rbl_client bl2.test,
    check_recipient_access static:HOLD
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
"
    )
}

impl Site {
    /// Writes the access table; `dns` is the value for `postern_dns_servers`.
    pub fn new(postern: PathBuf, dns: String) -> Result<Self, String> {
        let dir = testkit::temp_dir().map_err(|e| format!("no temporary directory: {e}"))?;
        let mut text = String::new();
        for n in 0..ENTRIES {
            let _ = writeln!(text, "b{n:06}.blocked.test REJECT blocked");
        }
        let path = dir.path().join("access");
        write(&path, &text)?;
        let mut table = format!("texthash:{}", path.display());
        if let Some(postmap) = find("postmap") {
            write(&dir.path().join("main.cf"), "compatibility_level = 3.6\nmeta_directory = /etc/postfix\n")?;
            let hash = format!("hash:{}", path.display());
            run(Command::new(postmap).arg("-c").arg(dir.path()).arg(&hash))?;
            table = hash;
        }
        Ok(Self { dir, postern, dns, table })
    }

    /// Where the tables are.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// The access table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The program.
    pub fn postern(&self) -> &Path {
        &self.postern
    }

    /// Starts a server and waits for its greeting. `text_table`: the access table as text; `refusing`: a sink that
    /// refuses every recipient.
    pub fn start(&self, who: Who, text_table: bool, refusing: bool) -> Result<Peer, String> {
        let text = format!("texthash:{}", self.dir.path().join("access").display());
        self.start_with(who, &policy(if text_table { &text } else { &self.table }), refusing)
    }

    /// The same with a policy of its own.
    pub fn start_with(&self, who: Who, policy: &str, refusing: bool) -> Result<Peer, String> {
        let dir = self.dir.path().join(format!("{}.{}", who.name(), free_port()));
        let port = free_port();
        for part in ["", "etc", "spool", "data"] {
            fs::create_dir_all(dir.join(part)).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let mut command = match who {
            Who::Postern => self.postern_command(&dir, port, policy)?,
            Who::Postfix => postfix(&dir, port, policy)?,
            Who::Sink => sink(port, refusing),
        };
        let begin = Instant::now();
        let output = dir.join("output");
        let program = if who == Who::Postfix {
            Program::start_group(&mut command, &output)
        } else {
            Program::start(&mut command, &output)
        };
        let program = program.map_err(|e| format!("{}: {e}", who.name()))?;
        let mut peer = Peer { program, port, start: Duration::ZERO, dir };
        peer.program.wait_listening(&[port], Duration::from_secs(30))?;
        let greeting = Dialog::connect(port).and_then(|mut d| d.reply()).map_err(|e| e.to_string())?;
        peer.start = begin.elapsed();
        match greeting.starts_with("220") {
            true => Ok(peer),
            false => Err(format!("{} greets with {greeting:?}", who.name())),
        }
    }

    fn postern_command(&self, dir: &Path, port: u16, policy: &str) -> Result<Command, String> {
        let at = dir.display();
        let mut main_cf =
            format!("compatibility_level = 3.12\nqueue_directory = {at}/spool\ndata_directory = {at}/data\n");
        main_cf +=
            &format!("maillog_file = {at}/maillog\nmaillog_file_prefixes = /\npostern_dns_servers = {}\n", self.dns);
        main_cf += policy;
        if let Some(owner) = mail_owner() {
            main_cf += &format!("mail_owner = {owner}\n");
            let written = [dir.to_owned(), dir.join("spool"), dir.join("data")];
            give_to_mail_owner(written.iter().map(PathBuf::as_path)).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        // one process holds all sessions: the limit is on sessions
        write(&dir.join("etc/main.cf"), &(main_cf + "default_process_limit = 20000\n"))?;
        let services = "discard unix - - n - - discard\nsmtp unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n";
        write(&dir.join("etc/master.cf"), &format!("127.0.0.1:{port} inet n - n - 20000 smtpd\n{services}"))?;
        let mut command = Command::new(&self.postern);
        command.args(["serve", "--config-dir"]).arg(dir.join("etc"));
        Ok(command)
    }
}

fn postfix(dir: &Path, port: u16, policy: &str) -> Result<Command, String> {
    let at = dir.display();
    let main_cf = format!(
        "compatibility_level = 3.6
queue_directory = {at}/spool
data_directory = {at}/data
command_directory = /usr/sbin
daemon_directory = {POSTFIX_DAEMONS}
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
default_process_limit = 100
"
    );
    write(&dir.join("etc/main.cf"), &(main_cf + policy))?;
    let services = "pickup unix n - n 60 1 pickup|cleanup unix n - n - 0 cleanup|qmgr unix n - n 300 1 qmgr|tlsmgr unix - - n 1000? 1 tlsmgr\
        |rewrite unix - - n - - trivial-rewrite|bounce unix - - n - 0 bounce|defer unix - - n - 0 bounce|trace unix - - n - 0 bounce\
        |verify unix - - n - 1 verify|flush unix n - n 1000? 0 flush|proxymap unix - - n - - proxymap|proxywrite unix - - n - 1 proxymap\
        |smtp unix - - n - - smtp|relay unix - - n - - smtp|showq unix n - n - - showq|error unix - - n - - error|retry unix - - n - - error\
        |discard unix - - n - - discard|anvil unix - - n - 1 anvil|scache unix - - n - 1 scache";
    let master_cf = format!("127.0.0.1:{port} inet n - n - 100 smtpd\n{}\n", services.replace('|', "\n"));
    write(&dir.join("etc/master.cf"), &master_cf)?;
    let script = "set -e; cd \"$1/spool\"; mkdir -m 700 active bounce corrupt defer deferred flush hold incoming private saved trace
        mkdir pid; mkdir -m 730 maildrop; mkdir -m 710 public
        chown postfix active bounce corrupt defer deferred flush hold incoming private saved trace ../data
        chown postfix:postdrop maildrop public";
    run(Command::new("sh").args(["-c", script, "sh"]).arg(dir))?;
    let mut command = Command::new(format!("{POSTFIX_DAEMONS}/master"));
    command.arg("-c").arg(dir.join("etc")).arg("-d").env("MAIL_CONFIG", dir.join("etc"));
    Ok(command)
}

fn sink(port: u16, refusing: bool) -> Command {
    let mut command = Command::new(find("smtp-sink").unwrap_or_else(|| "smtp-sink".into()));
    if is_root() {
        command.args(["-u", "nobody"]);
    }
    if refusing {
        command.args(["-f", "RCPT"]);
    }
    command.args(["-m", "20000", &format!("127.0.0.1:{port}"), "4096"]);
    command
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// The names of the clients and what the policy asks about them; `listed` addresses are on a blocklist.
pub fn zone(named: impl Iterator<Item = Ipv4Addr>, listed: impl Iterator<Item = Ipv4Addr>) -> String {
    let mut text = "*.sender.test MX 10 mx.sender.test\nmx.sender.test A 192.0.2.25\nrelay.test A 192.0.2.25\nforeign.test A 192.0.2.25\n\
        bl1.test NODATA\nbl2.test NODATA\n@rev 127.0.0.1 PTR localhost\nlocalhost A 127.0.0.1\n"
        .to_owned();
    let name = |text: &mut String, a: Ipv4Addr| {
        let host = format!("client-{}.clients.test", a.to_string().replace('.', "-"));
        let _ = writeln!(text, "@rev {a} PTR {host}\n{host} A {a}");
    };
    for address in named {
        name(&mut text, address);
    }
    for address in listed {
        name(&mut text, address);
        let _ = writeln!(text, "@bl {address} bl2.test A 127.0.0.2\n@bl {address} bl2.test TXT listed");
    }
    text
}
