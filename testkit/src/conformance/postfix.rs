//! The installed Postfix in place of `postern`: the runner itself is checked with it. Postfix must be started by root, and
//! it reads /etc/resolv.conf, so it runs in a mount namespace where that file names the fixture.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use super::place::Place;
use crate::tools::POSTFIX_DAEMONS;
use crate::{FixtureDns, Program};

/// What Postfix needs in main.cf besides.
pub const MAIN_CF: &str =
    "meta_directory = /etc/postfix\ndaemon_directory = /usr/lib/postfix/sbin\ncommand_directory = /usr/sbin\n";

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback address of its own for the fixture: the resolver always asks port 53.
pub fn dns_address() -> SocketAddr {
    let n = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    SocketAddr::from(([127, 53 + (std::process::id() % 64) as u8, n[0], n[1]], 53))
}

/// Makes the queue directories that Postfix expects.
pub fn prepare(place: &Place) -> io::Result<()> {
    let script = "set -e; cd \"$1\"; cp -a /etc/postfix/dynamicmaps.cf* ../etc/ 2>/dev/null || true
        cd spool; mkdir -m 700 active bounce corrupt defer deferred flush hold incoming saved trace
        [ -d private ] || mkdir private; chmod 700 private; mkdir pid; mkdir -m 730 maildrop; mkdir -m 710 public
        chown postfix active bounce corrupt defer deferred flush hold incoming private saved trace ../data
        chown postfix:postdrop maildrop public";
    let status = Command::new("sh").args(["-c", script, "sh"]).arg(place.root()).status();
    let root = place.root().to_owned();
    match status?.success() {
        true => fs::write(root.join("hosts"), "127.0.0.1 localhost\n"),
        false => Err(io::Error::other("cannot make Postfix's queue directories")),
    }
}

/// Starts Postfix's master in the foreground.
pub fn start(place: &Place, dns: &FixtureDns) -> io::Result<Program> {
    let root = place.root();
    fs::write(root.join("resolv.conf"), format!("nameserver {}\noptions timeout:1 attempts:1\n", dns.address().ip()))?;
    let script =
        "mount --bind \"$1/resolv.conf\" \"$(realpath /etc/resolv.conf)\" && mount --bind \"$1/hosts\" /etc/hosts
        exec \"$2/master\" -c \"$1/etc\" -d";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(root).arg(POSTFIX_DAEMONS);
    Program::start_group(command.env("MAIL_CONFIG", place.etc()).env("TZ", "UTC"), &root.join("output"))
}
