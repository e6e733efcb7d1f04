//! Where a configuration wants its log, and opening that.

use crate::maillog::{self, Log, LogWriter, Target};
use anyhow::{Context, Result};
use config::Parameters;
use std::path::Path;

/// As configured; standard error if nobody takes syslog's messages.
///
/// # Errors
/// The parameters are no good.
pub fn target(parameters: &Parameters) -> Result<Target> {
    let target = wanted(parameters)?;
    if matches!(target, Target::Syslog) && !Path::new("/dev/log").exists() {
        eprintln!("postern: warning: nobody listens at /dev/log: logging to standard error (set maillog_file)");
        return Ok(Target::Stderr);
    }
    Ok(target)
}

fn wanted(parameters: &Parameters) -> Result<Target> {
    let (file, prefixes) = (parameters.get("maillog_file"), parameters.get("maillog_file_prefixes"));
    maillog::target(&file, &prefixes).map_err(|problem| anyhow::anyhow!(problem))
}

/// Opens it.
///
/// # Errors
/// It can't be opened.
pub fn open(target: &Target) -> Result<(Log, LogWriter)> {
    let host = nix::unistd::gethostname().ok().and_then(|n| n.into_string().ok()).unwrap_or_default();
    let short = host.split('.').next().unwrap_or("localhost");
    Log::open(target, short).with_context(|| match target {
        Target::File(path) => format!("opening the mail log {}", path.display()),
        _ => "opening the mail log".to_owned(),
    })
}

/// The log for a command that works beside or instead of a server: only a file or syslog, if it can be had. What it would
/// say elsewhere the command itself prints.
pub fn of_command(parameters: &Parameters) -> Option<(Log, LogWriter)> {
    let target = wanted(parameters).ok()?;
    match &target {
        Target::Syslog if Path::new("/dev/log").exists() => open(&target).ok(),
        Target::File(path) if path.is_file() => open(&target).ok(),
        _ => None,
    }
}
