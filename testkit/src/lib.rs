//! What tests share: a DNS fixture, the servers a mail server talks to (next hop, policy service, table servers,
//! authentication), a runner for the `postern` program, and the conformance runner. Everything listens on loopback, on
//! ports it picked itself, and stops when dropped.

pub mod conformance;
pub mod database;
pub mod dialog;
pub mod dns;
pub mod dovecot;
pub mod peer;
pub mod ports;
pub mod program;
pub mod random;
pub mod tls;
pub mod tools;

pub use dialog::Dialog;
pub use dns::FixtureDns;
pub use dovecot::Dovecot;
pub use program::Program;

use std::time::{Duration, Instant};

/// Asks `condition` again and again until it holds or `limit` is over; says whether it held.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// A directory that is removed when dropped, readable for other users (servers that drop privileges live in it).
pub fn temp_dir() -> std::io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::Builder::new().prefix("pt.").tempdir()?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}
