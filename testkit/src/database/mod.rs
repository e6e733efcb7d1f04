//! Database and directory servers from Debian's packages, with data, sockets and ports of their own. Those that refuse
//! to run as root run as their package's user. All have TLS, with a certificate of a test authority for localhost and
//! 127.0.0.1. They are killed when dropped; without their package the test is skipped.

mod cache;
mod mariadb;
mod postgres;
mod slapd;

pub use cache::Cache;
pub use mariadb::Mariadb;
pub use postgres::Postgres;
pub use slapd::Slapd;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::User;

use crate::tools::is_root;

/// The certificate of the authority that the servers' certificate is from.
pub const AUTHORITY: &str = include_str!("tls/ca.pem");

/// The certificate of an authority that has nothing to do with it.
pub const OTHER_AUTHORITY: &str = include_str!("tls/other-ca.pem");

const CERTIFICATE: &str = include_str!("tls/cert.pem");
const KEY: &str = include_str!("tls/key.pem");

/// Writes the server's certificate and key, for that user only, as `cert.pem` and `key.pem`.
fn certificate(directory: &Path, user: Option<&User>) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for (name, text) in [("ca.pem", AUTHORITY), ("cert.pem", CERTIFICATE), ("key.pem", KEY)] {
        let path = directory.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        if let Some(user) = user {
            nix::unistd::chown(&path, Some(user.uid), Some(user.gid))?;
        }
    }
    Ok(())
}

/// The user of a package that a server is to run as; `None` when we aren't root, and it runs as we do.
fn user(name: &str) -> Option<User> {
    User::from_name(name).ok().flatten().filter(|_| is_root())
}

/// A command that will run as that user.
fn command(program: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.env("LC_ALL", "C");
    command
}

/// Makes a directory that belongs to that user.
fn directory(path: &Path, user: Option<&User>) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    match user {
        Some(user) => Ok(nix::unistd::chown(path, Some(user.uid), Some(user.gid))?),
        None => Ok(()),
    }
}

/// Runs a command to its end with that input; panics with what it printed when it fails.
fn run(command: &mut Command, input: &str) -> String {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    writer.join().expect("input is written");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
