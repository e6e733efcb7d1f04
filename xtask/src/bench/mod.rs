//! `cargo xtask bench`: postern beside the installed Postfix and smtp-sink, in one run, round by round. As root it runs in
//! a network and mount namespace of its own, where Postfix finds the fixture's DNS and only loopback exists; otherwise
//! postern is measured alone.

mod cells;
mod corpus;
mod large;
mod load;
mod login;
mod meter;
mod peers;
mod policy;
mod record;
mod spell;
mod table;
mod tls;
mod tools;

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::FixtureDns;
use testkit::tools::{POSTFIX_DAEMONS, find, is_root};

use crate::project::{self, number, value};
use cells::{Bench, CELLS};
use peers::{Site, Who};

/// Set inside the namespace.
const INSIDE: &str = "POSTERN_BENCH_INSIDE";

/// Makes the namespace a machine with loopback, the fixture's DNS, plenty of client ports, and a /dev/log that only the
/// bench reads.
const NAMESPACE: &str = r#"
set -e
ip link set lo up
sysctl -qw net.ipv4.ip_local_port_range='32768 65535' net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=8192 || true
d=$(mktemp -d); trap 'umount -lR "$d/dev" 2>/dev/null; rm -rf "$d"' EXIT
printf 'nameserver 127.0.0.1\noptions timeout:2 attempts:2\n' >"$d/resolv.conf"
mount --bind "$d/resolv.conf" "$(realpath /etc/resolv.conf)"
mkdir "$d/dev"; mount -t tmpfs -o mode=755 tmpfs "$d/dev"
for n in null zero full random urandom tty; do touch "$d/dev/$n"; mount --bind "/dev/$n" "$d/dev/$n"; done
ln -s /proc/self/fd "$d/dev/fd"; ln -s /proc/self/fd/0 "$d/dev/stdin"; ln -s /proc/self/fd/1 "$d/dev/stdout"; ln -s /proc/self/fd/2 "$d/dev/stderr"
mkdir -m 1777 "$d/dev/shm"
mount --rbind "$d/dev" /dev
"$@"
"#;

struct Options {
    quick: bool,
    cells: Vec<String>,
    rounds: Option<usize>,
    postern: Option<PathBuf>,
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options { quick: false, cells: Vec::new(), rounds: None, postern: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--cells" => options.cells.extend(value(&mut args, arg)?.split(',').map(str::to_owned)),
            "--rounds" => options.rounds = Some(number::<usize>(&mut args, arg)?.clamp(1, 50)),
            "--postern" => options.postern = Some(value(&mut args, arg)?.into()),
            _ => return Err(format!("bench: unknown option {arg}")),
        }
    }
    match options.cells.iter().find(|c| !CELLS.contains(&c.as_str())) {
        Some(cell) => Err(format!("bench: no cell {cell}; there are {}", CELLS.join(", "))),
        None => Ok(options),
    }
}

/// Runs the bench, as root inside the namespace.
pub fn run(args: &[String]) -> Result<bool, String> {
    let mut options = options(args)?;
    let postern = match options.postern.take() {
        Some(path) => std::path::absolute(path).map_err(|e| e.to_string())?,
        None => project::build_release()?,
    };
    if cfg!(debug_assertions) {
        return run_optimised(args, &postern);
    }
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside && is_root() && find("unshare").is_some() && find("ip").is_some() {
        let itself = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new("unshare");
        command.args(["-n", "-m", "--propagation", "private", "sh", "-c", NAMESPACE, "sh"]).arg(itself).arg("bench");
        let status = command.args(args).arg("--postern").arg(postern).env(INSIDE, "1").status();
        return status.map(|s| s.success()).map_err(|e| format!("unshare: {e}"));
    }
    let mut who = vec![Who::Postern];
    if inside && find(&format!("{POSTFIX_DAEMONS}/master")).is_some() {
        who.push(Who::Postfix);
    } else {
        println!("Postfix is left out, and all ratios with it: it takes root (unshare, ip) and package postfix.");
    }
    if find("smtp-sink").is_some() {
        who.push(Who::Sink);
    } else {
        println!("smtp-sink is left out: it comes with package postfix.");
    }
    measure(&options, postern, &who, inside)
}

/// The load client shares the processors with the servers, so it must not be a debug build.
fn run_optimised(args: &[String], postern: &Path) -> Result<bool, String> {
    let built = project::cargo(&["build", "--quiet", "--release", "--package", "xtask"]).status();
    if !built.map_err(|e| format!("cannot run cargo: {e}"))?.success() {
        return Err("the release build of xtask failed".to_owned());
    }
    let program = project::release_program().with_file_name("xtask");
    let status = Command::new(program).arg("bench").args(args).arg("--postern").arg(postern).status();
    status.map(|s| s.success()).map_err(|e| e.to_string())
}

fn measure(options: &Options, postern: PathBuf, who: &[Who], inside: bool) -> Result<bool, String> {
    raise_file_limit();
    let zone = peers::zone(cells::named(), cells::listed());
    let dns = match inside {
        true => FixtureDns::start_at(&zone, SocketAddr::from(([127, 0, 0, 1], 53))),
        false => FixtureDns::start(&zone),
    };
    let dns = dns.map_err(|e| format!("the DNS fixture: {e}"))?.without_log();
    let _log = inside.then(read_syslog);
    let site = Site::new(postern, dns.server())?;
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 3 });
    let chosen = |cell: &&str| options.cells.is_empty() || options.cells.iter().any(|c| c == cell);
    let mut bench = Bench::new(site, dns, who.to_vec(), options.quick);
    for cell in CELLS.into_iter().filter(chosen) {
        for round in 0..rounds {
            eprintln!("{cell}: round {} of {rounds}", round + 1);
            bench.cell(cell, round)?;
        }
    }
    Ok(bench.report())
}

/// What Postfix sends to syslog is read and dropped.
fn read_syslog() -> std::thread::JoinHandle<()> {
    use std::os::unix::fs::PermissionsExt;
    let socket = UnixDatagram::bind("/dev/log");
    let _ = std::fs::set_permissions("/dev/log", std::fs::Permissions::from_mode(0o666));
    std::thread::spawn(move || {
        let mut line = [0; 8192];
        while socket.as_ref().is_ok_and(|s| s.recv(&mut line).is_ok()) {}
    })
}

fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
