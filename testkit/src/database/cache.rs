//! memcached and Redis, with nothing in them at first and nothing kept on disk.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::tools::{find, is_root, skipped};
use crate::{Program, ports, wait_until};

/// A running memcached or Redis server, on 127.0.0.1.
#[derive(Debug)]
pub struct Cache {
    dir: tempfile::TempDir,
    /// Its port.
    pub port: u16,
    server: PathBuf,
    arguments: Vec<String>,
    program: Program,
}

impl Cache {
    /// Starts memcached; `None`, with a word, when it isn't installed.
    pub fn memcached(check: &str) -> Option<Self> {
        let mut arguments = ["-U", "0", "-l", "127.0.0.1"].map(str::to_owned).to_vec();
        if is_root() {
            arguments.extend(["-u", "nobody"].map(str::to_owned));
        }
        Self::start(check, "memcached", "memcached", arguments, "-p")
    }

    /// Starts Redis with the password `secret`; `None`, with a word, when it isn't installed.
    pub fn redis(check: &str) -> Option<Self> {
        let arguments = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", "secret"];
        let sockets = ["--unixsocket", "socket", "--unixsocketperm", "700"];
        let arguments = arguments.into_iter().chain(sockets).map(str::to_owned).collect();
        Self::start(check, "redis-server", "redis-server", arguments, "--port")
    }

    fn start(check: &str, package: &str, program: &str, mut arguments: Vec<String>, port_flag: &str) -> Option<Self> {
        let Some(server) = find(program) else {
            skipped(check, &format!("package {package} is missing"));
            return None;
        };
        let dir = crate::temp_dir().expect("a temporary directory");
        let port = ports::free_port();
        arguments.extend([port_flag.to_owned(), port.to_string()]);
        let program = serve(&dir, &server, &arguments);
        let mut cache = Self { dir, port, server, arguments, program };
        cache.wait();
        Some(cache)
    }

    /// Redis' socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// What the server answers to these commands.
    pub fn exchange(&self, commands: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server is there");
        stream.write_all(commands.as_bytes()).expect("the server reads");
        stream.write_all(b"quit\r\n").expect("the server reads");
        stream.shutdown(Shutdown::Write).expect("the connection is there");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the server answers");
        text
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.program.kill();
        assert!(wait_until(Duration::from_secs(10), || !ports::is_listening(self.port)));
    }

    /// Starts it again, empty.
    pub fn start_again(&mut self) {
        self.program = serve(&self.dir, &self.server, &self.arguments);
        self.wait();
    }

    /// Stops it for a while, so that it says nothing, or lets it go on.
    pub fn freeze(&self, stop: bool) {
        self.program.signal(if stop { Signal::SIGSTOP } else { Signal::SIGCONT });
        // A server of several threads stops one after the other.
        if stop {
            let pid = self.program.pid();
            assert!(crate::wait_until(Duration::from_secs(5), || is_stopped(pid)), "the server does not stop");
        }
    }

    fn wait(&mut self) {
        self.program.wait_listening(&[self.port], Duration::from_secs(60)).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn serve(dir: &tempfile::TempDir, server: &Path, arguments: &[String]) -> Program {
    let mut command = Command::new(server);
    command.args(arguments).current_dir(dir.path()).env("LC_ALL", "C");
    Program::start(&mut command, &dir.path().join("output")).expect("the server starts")
}

/// Have all threads of a process stopped?
fn is_stopped(pid: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let state = |path: std::path::PathBuf| {
        let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        // the name in parentheses may hold anything
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    tasks.flatten().all(|task| state(task.path()))
}
