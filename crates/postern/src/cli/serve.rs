//! `serve` and `reload`.

use crate::daemon::server;
use crate::daemon::site::Source;
use crate::lint;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::ExitCode;

/// Serve in the foreground.
pub fn serve(config_dir: Option<&Path>, shadow: Option<&Path>) -> Result<ExitCode> {
    server::serve(Source::new(config_dir), shadow)
}

/// Check, then have the running server switch.
pub fn reload(config_dir: &Path) -> Result<ExitCode> {
    let (site, problems) = lint::load(&Source::new(Some(config_dir)));
    server::report(&problems);
    let Some(site) = site else { bail!("the configuration has errors: the running server was left alone") };
    let path = server::spool_directory(&site).join("pid");
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("no server is running with this queue_directory ({} can't be read)", path.display())
    })?;
    let pid = text.trim().parse().with_context(|| format!("{}: not a process id", path.display()))?;
    kill(Pid::from_raw(pid), Signal::SIGHUP).with_context(|| format!("telling process {pid} to reload"))?;
    println!("process {pid} was told to reload; its mail log says when that is done");
    Ok(ExitCode::SUCCESS)
}
