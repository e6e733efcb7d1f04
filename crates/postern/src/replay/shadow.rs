//! A second policy that decides along, without effect: `postern serve --shadow DIR`.

use super::{Changes, Replayer};
use crate::daemon::site::Site;
use crate::maillog::Log;
use crate::record::{Dictionary, Made, Record, Watcher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The report is written so often.
const REPORT: Duration = Duration::from_secs(5);
/// So many differences a second get a line in the log; the report has them all.
const LINES: u32 = 20;

/// Where the report is.
pub fn report_path(site: &Site) -> PathBuf {
    site.path("data_directory").join("shadow.json")
}

/// The second policy.
pub struct Shadow {
    replayer: Replayer,
    changes: Changes,
    log: Log,
    path: PathBuf,
    reported: Instant,
    reported_at: u64,
    lines: (u64, u32),
}

impl Shadow {
    /// With its configuration; the report goes to `path`. `None`: it has no smtpd service.
    pub fn new(site: Arc<Site>, log: Log, path: PathBuf) -> Option<Self> {
        let replayer = Replayer::new(site)?;
        Some(Self {
            replayer,
            changes: Changes::default(),
            log,
            path,
            reported: Instant::now(),
            reported_at: 0,
            lines: (0, 0),
        })
    }

    fn report(&mut self) {
        if self.reported_at == self.changes.decisions || self.reported.elapsed() < REPORT {
            return;
        }
        (self.reported, self.reported_at) = (Instant::now(), self.changes.decisions);
        if let Err(error) = write(&self.path, &self.changes) {
            self.log.warning("postfix/postern", &format!("shadow report {}: {error}", self.path.display()));
        }
    }
}

/// In one step: whoever reads it finds a whole one.
fn write(path: &Path, changes: &Changes) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(changes)?;
    let new = path.with_extension("json.new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}

impl Watcher for Shadow {
    fn decided(&mut self, made: &Made) {
        let mut texts = Dictionary::default();
        let record = Record::of(made, &mut texts);
        let record = record.bind(&texts.bound());
        let verdict = self.replayer.decide(&record);
        if let Some(line) = self.changes.compare(&record, &verdict) {
            let second = made.at / 1000;
            self.lines = if self.lines.0 == second { (second, self.lines.1 + 1) } else { (second, 1) };
            if self.lines.1 <= LINES {
                self.log.line("postfix/postern", &format!("shadow: {} {line}", record.stage));
            }
        }
        self.report();
    }

    fn idle(&mut self) {
        // Whatever changed is told by the report; its tables follow their files as the others do.
        let _ = self.replayer.site().tables.refresh();
        self.reported -= REPORT.min(self.reported.elapsed());
        self.report();
    }
}
