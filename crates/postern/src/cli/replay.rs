//! `postern replay` and `postern shadow report`.

use crate::daemon::server;
use crate::daemon::site::{self, Source};
use crate::record::{Bound, Reader, Record, directory};
use crate::replay::{Changes, LogReader, Replayer};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to replay on what.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory of the configuration to try
    #[arg(value_name = "DIR")]
    on: PathBuf,
    /// Directory of the configuration whose record is replayed (without it: the same)
    #[arg(long, short = 'c', value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Replay what mail logs tell instead of the record
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Replay. Exit status: 0 nothing changes, 1 something does.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (site, problems) = site::load(&Source::new(Some(&arguments.on)));
    server::report(&problems);
    let Some(site) = site else { bail!("the configuration in {} has errors (see above)", arguments.on.display()) };
    let mut replayer = Replayer::new(Arc::new(site)).context("master.cf has no smtpd service")?;
    let mut changes = Changes::default();
    let mut progress = Progress::new();
    let begin = Instant::now();
    let mut take = |record: Record<Bound>| {
        let verdict = replayer.decide(&record);
        changes.compare(&record, &verdict);
        progress.tick(changes.decisions);
    };
    if arguments.log.is_empty() {
        let own = arguments.config_dir.as_deref().unwrap_or(&arguments.on);
        let directory = directory(&site::parameters(&Source::new(Some(own)))?);
        let reader = Reader::open(&directory)
            .with_context(|| format!("there is no decision record in {}", directory.display()))?;
        reader.for_each(&mut take);
    }
    for path in &arguments.log {
        let mut logs = LogReader::default();
        let file = File::open(path).with_context(|| path.display().to_string())?;
        for line in BufReader::new(file).split(b'\n') {
            let line = line.with_context(|| path.display().to_string())?;
            if let Some(record) = logs.line(&String::from_utf8_lossy(&line)) {
                take(record);
            }
        }
    }
    progress.done();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&changes)?);
    } else {
        print!("{}", changes.print());
        let seconds = begin.elapsed().as_secs_f64();
        println!("\n{:.2} s, {:.0} decisions a second", seconds, changes.decisions as f64 / seconds.max(1e-9));
    }
    if changes.decisions == 0 {
        bail!("there was nothing to replay");
    }
    Ok(if changes.any() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Print what a shadow policy would have done otherwise.
pub fn shadow_report(config_dir: Option<&Path>, json: bool) -> Result<ExitCode> {
    let parameters = site::parameters(&Source::new(config_dir))?;
    let path = directory(&parameters).with_file_name("shadow.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: has `postern serve --shadow DIR` been running?", path.display()))?;
    if json {
        print!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let changes: Changes = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    print!("{}", changes.print());
    Ok(if changes.any() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How far it is, on a terminal.
struct Progress {
    shown: Option<Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal().then(Instant::now) }
    }

    fn tick(&mut self, count: u64) {
        let Some(shown) = &mut self.shown else { return };
        if count.is_multiple_of(1000) && shown.elapsed() > Duration::from_millis(200) {
            *shown = Instant::now();
            let _ = write!(std::io::stderr(), "\r{count} decisions");
        }
    }

    fn done(&self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
