//! Debian's Dovecot, doing nothing but authenticate: user `user`, password `secret`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::ports::free_port;
use crate::tools::{find, is_root, skipped};
use crate::{Program, wait_until};

/// A Dovecot with an authentication socket, and the same on a port.
pub struct Dovecot {
    dir: tempfile::TempDir,
    binary: PathBuf,
    port: u16,
    program: Option<Program>,
}

impl Dovecot {
    /// Nothing, with a word, without Dovecot.
    pub fn start(check: &str, mechanisms: &str) -> Option<Self> {
        let Some(binary) = find("dovecot") else {
            skipped(check, "package dovecot-core is missing");
            return None;
        };
        let dir = crate::temp_dir().expect("a temporary directory");
        let port = free_port();
        let at = |name: &str| dir.path().join(name).display().to_string();
        fs::write(dir.path().join("users"), "user:{PLAIN}secret\n").expect("users");
        let mut settings = format!(
            "base_dir = {}\nlog_path = {}\nprotocols =\nssl = no\ndisable_plaintext_auth = no\nauth_failure_delay = 0
auth_mechanisms = {mechanisms}\npassdb {{\n driver = passwd-file\n args = {}\n}}\nuserdb {{\n driver = static
 args = uid=nobody gid=nogroup home=/nonexistent\n}}\nservice auth {{\n unix_listener {} {{\n mode = 0666\n }}
 inet_listener {{\n address = 127.0.0.1\n port = {port}\n }}\n}}
service anvil {{\n unix_listener anvil-auth-penalty {{\n mode = 0\n }}\n}}\n",
            at("run"),
            at("log"),
            at("users"),
            at("auth")
        );
        if !is_root() {
            let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users").expect("a user").name;
            settings += &format!("default_internal_user = {user}\ndefault_login_user = {user}\n");
            settings += &format!("default_internal_group = {user}\nservice anvil {{\n chroot =\n}}\n");
        }
        fs::write(dir.path().join("conf"), settings).expect("settings");
        let mut dovecot = Self { dir, binary, port, program: None };
        dovecot.start_again();
        Some(dovecot)
    }

    /// Starts one that was stopped.
    pub fn start_again(&mut self) {
        let mut command = Command::new(&self.binary);
        command.arg("-F").arg("-c").arg(self.dir.path().join("conf"));
        let mut program = Program::start_group(&mut command, &self.dir.path().join("output")).expect("dovecot starts");
        if let Err(error) = program.wait_listening(&[self.port], Duration::from_secs(20)) {
            panic!("{error}\n{}", fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        }
        let socket = self.dir.path().join("auth");
        let is_open = || socket.metadata().is_ok_and(|it| it.permissions().mode() & 0o777 == 0o666);
        assert!(wait_until(Duration::from_secs(10), is_open), "{}", program.output());
        self.program = Some(program);
    }

    /// The end of it, with all its processes.
    pub fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            assert!(program.stop(Duration::from_secs(10)).is_some(), "{}", program.output());
        }
    }

    /// A value for `smtpd_sasl_path`.
    pub fn unix(&self) -> String {
        self.dir.path().join("auth").display().to_string()
    }

    /// The same over TCP.
    pub fn inet(&self) -> String {
        format!("inet:127.0.0.1:{}", self.port)
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
    }
}
