//! `postern lint`, also as `check`.

use crate::daemon::site::Source;
use crate::explain::Style;
use crate::lint::{self, Counts, Report, Snippets, codes};
use anyhow::{Result, bail};
use clap::Args;
use config::{Diagnostic, Severity};
use std::path::PathBuf;
use std::process::ExitCode;

/// What to judge, and how.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory with main.cf and master.cf (without it: the embedded default configuration)
    #[arg(long, short = 'c', value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Take these for errors
    #[arg(long, value_name = "CODE", num_args = 1.., value_delimiter = ',')]
    deny: Vec<String>,
    /// Don't tell these, unless they keep the server from starting
    #[arg(long, value_name = "CODE", num_args = 1.., value_delimiter = ',')]
    allow: Vec<String>,
    /// Tell what a code means, instead
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
    /// Print what docs/lint.md says of all codes, instead
    #[arg(long, hide = true)]
    codes: bool,
}

/// List every problem. Exit status: 0 none but notes, 1 warnings, 2 errors.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.codes {
        print!("{}", codes::page());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(code) = &arguments.explain {
        print!("{}", known(code)?.text());
        return Ok(ExitCode::SUCCESS);
    }
    for code in arguments.deny.iter().chain(&arguments.allow) {
        known(code)?;
    }
    let (reading, problems) = lint::examine(&Source::new(arguments.config_dir.as_deref()));
    let problems: Vec<Diagnostic> = problems.into_iter().filter_map(|problem| arguments.weigh(problem)).collect();
    let report = Report { problems: &problems };
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        let mut snippets = Snippets::default();
        for (file, text) in &reading.texts {
            snippets.know(file, text);
        }
        print!("{}", report.text(&mut snippets, Style::of_stdout()));
    }
    Ok(ExitCode::from(Counts::of(&problems).status()))
}

fn known(code: &str) -> Result<&'static codes::Code> {
    match codes::find(code) {
        Some(code) => Ok(code),
        None => bail!("there is no code \"{code}\": docs/lint.md has them all"),
    }
}

impl Arguments {
    /// The problem as the postmaster weighs it. What keeps the server from starting can't be talked away.
    fn weigh(&self, mut problem: Diagnostic) -> Option<Diagnostic> {
        let names = |list: &[String]| list.iter().any(|code| code == problem.code);
        if names(&self.allow) && !problem.is_error() {
            return None;
        }
        if names(&self.deny) {
            problem.severity = Severity::Error;
        }
        Some(problem)
    }
}
