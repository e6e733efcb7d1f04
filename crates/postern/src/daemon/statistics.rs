//! The statistics lines of anvil(8).

use super::site::Site;
use crate::anvil::Anvil;
use crate::driver::Worker;
use crate::maillog::Log;
use std::time::{Duration, Instant};

/// `anvil_rate_time_unit`, milliseconds.
pub fn rate_time_unit(site: &Site) -> u64 {
    u64::try_from(site.parameters.time("anvil_rate_time_unit").as_millis()).unwrap_or(u64::MAX)
}

/// The statistics lines of anvil(8), every `anvil_status_update_time`.
pub async fn tell(worker: std::sync::Weak<Worker>) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(worker) = worker.upgrade() else { return };
        let site = worker.site.load();
        if last.elapsed() >= site.parameters.time("anvil_status_update_time") {
            last = Instant::now();
            log(&worker.anvil, &site, &worker.log);
        }
    }
}

/// The lines since they were written last.
pub fn log(anvil: &Anvil, site: &Site, log: &Log) {
    let tag = format!("{}/anvil", site.parameters.get("syslog_name"));
    for line in anvil.statistics() {
        log.line(&tag, &line);
    }
}
