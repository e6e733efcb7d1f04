//! `postern test`.

use crate::daemon::server;
use crate::daemon::site::{self, Site, Source};
use crate::policy_test::{CaseFile, Coverage, Failure, Outcome, Report, Suite, junit, recorded_case, tap};
use crate::record::{self, Reader, Search};
use crate::rehearsal::dialog;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What to play.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Files of cases (.toml) and dialogs (.dialog); a directory stands for all of them in it
    #[arg(required_unless_present = "record", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Directory with main.cf and master.cf, instead of the one that the files name
    #[arg(long, short = 'c', value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Only cases with this in their names
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print the Test Anything Protocol
    #[arg(long)]
    tap: bool,
    /// Write JUnit's XML to this file, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Tell which restrictions no case has reached
    #[arg(long)]
    coverage: bool,
    /// Instead: print a case for each decision of the record with this code, queue id, address or client; or of all
    #[arg(long, value_name = "CODE|QUEUE-ID|ADDRESS|IP", conflicts_with_all = ["files", "only", "tap", "junit", "coverage"])]
    record: Option<String>,
    /// With --record: only what was decided since: 90m, 2h, 3d, or 2026-11-22T12:00:00Z
    #[arg(long, value_name = "WHEN", requires = "record")]
    since: Option<String>,
    /// With --record: the last so many
    #[arg(long, value_name = "NUMBER", default_value_t = 10, requires = "record")]
    limit: usize,
}

/// Play. Exit status: 0 all as expected, 1 not.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(key) = &arguments.record {
        return record(arguments, key);
    }
    let begin = Instant::now();
    let (mut reports, mut sites) = (Vec::new(), Vec::new());
    for path in files(&arguments.files)? {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).with_context(|| name.clone())?;
        if path.extension().is_some_and(|extension| extension == "dialog") {
            reports.push(play_dialog(name, &text)?);
            continue;
        }
        let file = CaseFile::parse(&name, &text).map_err(anyhow::Error::msg)?;
        reports.push(play_cases(arguments, &path, &file, &text, &mut sites)?);
    }
    let count: usize = reports.iter().map(|report| report.outcomes.len()).sum();
    let failed: usize = reports.iter().map(Report::failed).sum();
    if let Some(path) = &arguments.junit {
        std::fs::write(path, junit(&reports)).with_context(|| path.display().to_string())?;
    }
    if arguments.tap {
        print!("{}", tap(&reports));
    } else {
        reports.iter().for_each(|report| print!("{}", report.failures()));
        println!("{} passed, {failed} failed in {:.3} s", count - failed, begin.elapsed().as_secs_f64());
    }
    if arguments.coverage {
        sites.iter().for_each(|known| eprint!("{}", known.coverage.report(&known.site)));
    }
    if count == 0 {
        bail!("no case was played");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Print cases made from decisions. Exit status 1 when there is none, or one that doesn't come out as it did.
fn record(arguments: &Arguments, key: &str) -> Result<ExitCode> {
    let (site, problems) = site::load(&Source::new(arguments.config_dir.as_deref()));
    if site.is_none() {
        server::report(&problems);
    }
    let site = site.context("the configuration has errors (see above)")?;
    let directory = record::directory(&site.parameters);
    let mut search = Search::new(key, arguments.limit);
    if let Some(since) = &arguments.since {
        search = search.since(since).map_err(anyhow::Error::msg)?;
    }
    let missing = || format!("there is no decision record in {}", directory.display());
    let found = search.run(&directory).with_context(missing)?;
    let mut good = !found.is_empty();
    let sessions: HashSet<u64> = found.iter().map(|record| record.session).collect();
    let around: Vec<_> =
        Reader::open(&directory).with_context(missing)?.filter(|r| sessions.contains(&r.session)).collect();
    let mut told = HashSet::new();
    for record in &found {
        let session: Vec<_> = around.iter().filter(|other| other.session == record.session).cloned().collect();
        match recorded_case(&site, record, &session) {
            Ok(case) => {
                // Two decisions about one message can be one case.
                if !told.insert(case.text.clone()) {
                    continue;
                }
                println!("{}", case.text);
                if let Some(problem) = case.problem {
                    good = false;
                    eprintln!("postern: {}: does not come out as it did: {problem}", record.code);
                }
            }
            Err(problem) => {
                good = false;
                eprintln!("postern: {}: no case: {problem}", record.code);
            }
        }
    }
    if found.is_empty() {
        eprintln!("postern: no decision about \"{key}\" in {}", directory.display());
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The files, and those in directories, in order.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in given {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut inside: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        inside.retain(|path| path.extension().is_some_and(|x| x == "toml" || x == "dialog"));
        inside.sort();
        found.extend(inside);
    }
    Ok(found)
}

fn play_dialog(file: String, text: &str) -> Result<Report> {
    let directory = tempfile::tempdir().context("a place for the dialog's configuration")?;
    let failure = dialog::play(&file, text, directory.path()).err().map(Failure::Broken);
    let name = text.lines().next().unwrap_or_default().to_owned();
    Ok(Report { file, outcomes: vec![Outcome { name, line: 1, failure }] })
}

/// A configuration, and what the cases of all files have reached of it.
struct Known {
    directory: PathBuf,
    site: Site,
    coverage: Coverage,
}

fn play_cases(
    arguments: &Arguments,
    path: &Path,
    file: &CaseFile,
    text: &str,
    sites: &mut Vec<Known>,
) -> Result<Report> {
    let name = path.display().to_string();
    let beside = path.parent().unwrap_or(Path::new("."));
    let directory = match (&arguments.config_dir, &file.config) {
        (Some(directory), _) => directory.clone(),
        (None, Some(directory)) => beside.join(directory),
        (None, None) => beside.to_owned(),
    };
    let at = match sites.iter().position(|known| known.directory == directory) {
        Some(at) => at,
        None => {
            let (site, problems) = site::load(&Source::new(Some(&directory)));
            let Some(site) = site else {
                server::report(&problems);
                bail!("{name}: the configuration in {} has errors (see above)", directory.display());
            };
            sites.push(Known { directory, site, coverage: Coverage::default() });
            sites.len() - 1
        }
    };
    let Known { site, coverage, .. } = &mut sites[at];
    let suite = Suite::new(site, file, &name, text).map_err(anyhow::Error::msg)?;
    Ok(Report { outcomes: suite.run(arguments.only.as_deref(), coverage), file: name.clone() })
}
