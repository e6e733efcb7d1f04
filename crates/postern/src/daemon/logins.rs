//! What the server keeps of logins, in `data_directory`: a secret, and from where accounts have logged in before.

use super::site::Site;
use crate::clock;
use crate::maillog::Log;
use crate::sasl::failures::Failures;
use crate::sasl::known::{self, Known};
use crate::sasl::secret;
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const TAG: &str = "postfix/postern";
/// The file is written no more often than this.
const WRITE: Duration = Duration::from_secs(60);

/// Days since 1970.
pub fn today() -> u16 {
    u16::try_from(clock::unix_seconds() / 86_400).unwrap_or(u16::MAX)
}

fn known_path(site: &Site) -> PathBuf {
    site.path("data_directory").join("sasl_known")
}

/// Keep the secret if anybody can log in: without the file it is another one after each restart.
pub fn keep_secret(site: &Site, log: &Log) {
    let path = site.path("data_directory").join("sasl_secret");
    if site.services.iter().any(|service| service.sasl.is_some())
        && let Err(error) = secret::load(&path)
    {
        let text = "unknown logins get other salts, and known addresses are forgotten, at each start";
        log.warning(TAG, &format!("{}: {error}: {text}", path.display()));
    }
}

/// The counters of failed logins, with what is known from before; a thread keeps that in its file.
///
/// # Errors
/// When there is no thread to be had.
pub fn start(site: &Arc<ArcSwap<Site>>, log: &Log) -> std::io::Result<Arc<Failures>> {
    let path = known_path(&site.load());
    let known = Known::read(&path).unwrap_or_else(|error| {
        log.warning(TAG, &format!("{}: {error}: addresses of logins are not known any more", path.display()));
        Known::default()
    });
    let failures = Arc::new(Failures::new(known));
    let (site, log, writing) = (Arc::clone(site), log.clone(), Arc::downgrade(&failures));
    std::thread::Builder::new().name("logins".into()).spawn(move || {
        loop {
            std::thread::sleep(WRITE);
            let Some(failures) = writing.upgrade() else { return };
            keep_known(&failures, &site.load(), &log);
        }
    })?;
    Ok(failures)
}

/// Write down from where accounts have logged in, if there is anything new.
pub fn keep_known(failures: &Failures, site: &Site, log: &Log) {
    let Some(bytes) = failures.to_write(today()) else { return };
    let path = known_path(site);
    if let Err(error) = known::write(&path, &bytes) {
        log.warning(TAG, &format!("{}: {error}", path.display()));
    }
}
