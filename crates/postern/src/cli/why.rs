//! `postern why`: a decision of the past, with its reasons.

use crate::daemon::site::{self, Source};
use crate::explain::Style;
use crate::record::{Bound, Record, Search, directory};
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Which decisions.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A code from a reply, a queue id, an address (sender or recipient), a client's IP address or name; or all
    #[arg(value_name = "CODE|QUEUE-ID|ADDRESS|IP|all")]
    key: String,
    /// Directory with main.cf and master.cf
    #[arg(long, short = 'c', value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Only what was decided since: 90m, 2h, 3d, or 2026-11-22T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// The last so many
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    limit: usize,
    /// Print JSON, a decision a line
    #[arg(long)]
    json: bool,
}

/// Tell. Exit status 1 when there is nothing to tell.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let parameters = site::parameters(&Source::new(arguments.config_dir.as_deref()))?;
    let directory = directory(&parameters);
    let mut search = Search::new(&arguments.key, arguments.limit);
    if let Some(since) = &arguments.since {
        search = search.since(since).map_err(anyhow::Error::msg)?;
    }
    let found =
        search.run(&directory).with_context(|| format!("there is no decision record in {}", directory.display()))?;
    for record in &found {
        print(record, arguments.json)?;
    }
    if found.is_empty() {
        eprintln!("postern: no decision about \"{}\" in {}", arguments.key, directory.display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(record: &Record<Bound>, json: bool) -> Result<()> {
    let story = record.story();
    let at = jiff::Timestamp::from_millisecond(i64::try_from(record.at)?)?;
    if json {
        let mut value = serde_json::to_value(&story)?;
        value["code"] = record.code.to_string().into();
        value["time"] = at.to_string().into();
        println!("{value}");
        return Ok(());
    }
    let queue_id = record.queue_id.as_deref().map_or_else(String::new, |id| format!("  queue id {id}"));
    println!("== {}  {at}{queue_id}", record.code);
    println!("{}", story.print(Style::of_stdout()));
    Ok(())
}
