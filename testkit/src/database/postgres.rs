//! PostgreSQL. The superuser is `root`, with the password `secret` over TCP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::unistd::User;

use super::{certificate, command, directory, run, user};
use crate::tools::{find, is_root, skipped};
use crate::{Program, ports, wait_until};

/// A running PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    dir: tempfile::TempDir,
    /// Its port, on 127.0.0.1 and in the name of its socket.
    pub port: u16,
    programs: PathBuf,
    user: Option<User>,
    program: Program,
}

impl Postgres {
    /// Makes a cluster and starts its server; `None`, with a word, when it isn't installed.
    pub fn start(check: &str) -> Option<Self> {
        let (programs, user) = (programs(), user("postgres"));
        let Some(programs) = programs.filter(|_| user.is_some() || !is_root()) else {
            skipped(check, "package postgresql is missing");
            return None;
        };
        let dir = crate::temp_dir().expect("a temporary directory");
        let data = dir.path().join("data");
        for path in [&data, &dir.path().join("run")] {
            directory(path, user.as_ref()).expect("a directory");
        }
        certificate(&dir.path().join("run"), user.as_ref()).expect("a certificate");
        let password = dir.path().join("password");
        std::fs::write(&password, "secret\n").expect("a file");
        let mut init = command(&programs.join("initdb"), user.as_ref());
        init.args(["--username=root", "--auth-host=scram-sha-256", "--auth-local=trust", "--no-sync", "--no-locale"]);
        init.args(["--encoding=UTF8", "--no-instructions", "--pwfile"]).arg(&password).arg("-D").arg(&data);
        run(&mut init, "");
        let port = ports::free_port();
        let program = serve(dir.path(), port, &programs, user.as_ref());
        let server = Self { dir, port, programs, user, program };
        server.wait();
        Some(server)
    }

    /// The directory of its socket.
    pub fn sockets(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Runs SQL as the superuser, and says what psql prints: rows as lines.
    pub fn sql(&self, text: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-U", "root", "-d", "postgres", "-f", "-"]);
        run(psql.arg("-h").arg(self.sockets()).args(["-p", &self.port.to_string()]), text)
    }

    /// Kills it, and all its processes.
    pub fn kill(&mut self) {
        self.program.kill();
        assert!(wait_until(Duration::from_secs(10), || !ports::is_listening(self.port)));
    }

    /// Starts it again on the same data.
    pub fn start_again(&mut self) {
        self.program = serve(self.dir.path(), self.port, &self.programs, self.user.as_ref());
        self.wait();
    }

    fn wait(&self) {
        let ready = || {
            let mut ask = Command::new(self.programs.join("pg_isready"));
            ask.arg("-q").arg("-h").arg(self.sockets()).args(["-p", &self.port.to_string()]);
            ask.status().is_ok_and(|status| status.success())
        };
        assert!(wait_until(Duration::from_secs(60), ready), "PostgreSQL isn't ready:\n{}", self.program.output());
    }
}

fn serve(dir: &Path, port: u16, programs: &Path, user: Option<&User>) -> Program {
    let mut server = command(&programs.join("postgres"), user);
    server.arg("-D").arg(dir.join("data")).arg("-k").arg(dir.join("run")).args(["-p", &port.to_string()]);
    for setting in ["listen_addresses=127.0.0.1", "fsync=off", "ssl=on", "shared_buffers=4MB", "max_connections=40"] {
        server.args(["-c", setting]);
    }
    for (setting, name) in [("ssl_cert_file", "cert.pem"), ("ssl_key_file", "key.pem")] {
        server.arg("-c").arg(format!("{setting}={}/run/{name}", dir.display()));
    }
    // Left by a server that was killed.
    let _ = std::fs::remove_file(dir.join("data/postmaster.pid"));
    Program::start_group(&mut server, &dir.join("output")).expect("PostgreSQL starts")
}

/// Where the newest version's programs are.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("postgres").exists());
    debian.max().or_else(|| Some(find("postgres")?.parent()?.to_owned()))
}
