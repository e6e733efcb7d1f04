//! MariaDB. The superuser is `root`, over the socket; tests make other users.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::unistd::User;

use super::{certificate, command, directory, run, user};
use crate::tools::{find, is_root, skipped};
use crate::{Program, ports, wait_until};

/// A running MariaDB server.
#[derive(Debug)]
pub struct Mariadb {
    dir: tempfile::TempDir,
    /// Its port, on 127.0.0.1.
    pub port: u16,
    server: PathBuf,
    client: PathBuf,
    user: Option<User>,
    program: Program,
}

impl Mariadb {
    /// Makes a data directory and starts its server; `None`, with a word, when it isn't installed.
    pub fn start(check: &str) -> Option<Self> {
        let user = user("mysql");
        let found = (find("mariadbd"), find("mariadb"), find("mariadb-install-db"));
        let ((Some(server), Some(client), Some(install)), true) = (found, user.is_some() || !is_root()) else {
            skipped(check, "package mariadb-server is missing");
            return None;
        };
        let dir = crate::temp_dir().expect("a temporary directory");
        let data = dir.path().join("data");
        directory(&data, user.as_ref()).expect("a directory");
        certificate(dir.path(), user.as_ref()).expect("a certificate");
        let mut init = command(&install, user.as_ref());
        init.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        init.args(["--innodb-log-file-size=4M", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=8M"]);
        run(init.arg(format!("--datadir={}", data.display())).arg(format!("--tmpdir={}", data.display())), "");
        let port = ports::free_port();
        let program = serve(&dir, port, &server, user.as_ref());
        let mut server = Self { dir, port, server, client, user, program };
        server.wait();
        Some(server)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("data/sock")
    }

    /// Runs SQL as the superuser, and says what the client prints: rows as lines.
    pub fn sql(&self, text: &str) -> String {
        let mut client = Command::new(&self.client);
        client.args(["--no-defaults", "--batch", "--skip-column-names", "-u", "root", "-S"]).arg(self.socket());
        run(&mut client, text)
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.program.kill();
        assert!(wait_until(Duration::from_secs(10), || !ports::is_listening(self.port)));
    }

    /// Starts it again on the same data.
    pub fn start_again(&mut self) {
        self.program = serve(&self.dir, self.port, &self.server, self.user.as_ref());
        self.wait();
    }

    fn wait(&mut self) {
        self.program.wait_listening(&[self.port], Duration::from_secs(60)).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn serve(dir: &tempfile::TempDir, port: u16, server: &Path, user: Option<&User>) -> Program {
    let data = dir.path().join("data");
    let mut server = command(server, user);
    server.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
    server.args([&format!("--socket={}/sock", data.display()), &format!("--port={port}")]);
    server.args(["--bind-address=127.0.0.1", "--skip-log-bin", "--skip-name-resolve", "--innodb-log-file-size=4M"]);
    server.args(["--innodb-buffer-pool-size=8M", "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0"]);
    server.arg(format!("--tmpdir={}", data.display()));
    for (option, name) in [("--ssl-ca", "ca.pem"), ("--ssl-cert", "cert.pem"), ("--ssl-key", "key.pem")] {
        server.arg(format!("{option}={}", dir.path().join(name).display()));
    }
    let output = dir.path().join("output");
    Program::start_group(&mut server, &output).expect("MariaDB starts")
}
