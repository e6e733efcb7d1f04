//! Reading a configuration: from its files, or from what is embedded, as far as it goes.

use super::site::{Site, compile};
use super::{host, support};
use crate::cli::{DEFAULT_MAIN_CF, DEFAULT_MASTER_CF};
use config::{Diagnostic, MainCf, MasterCf, Parameters};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A directory with main.cf and master.cf.
    Directory(PathBuf),
    /// The embedded default.
    Default,
}

impl Source {
    /// From a command line. `$config_directory` is absolute, so that tables below it are found.
    pub fn new(config_dir: Option<&Path>) -> Self {
        let absolute = |dir: &Path| std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        config_dir.map_or(Self::Default, |dir| Self::Directory(absolute(dir)))
    }

    fn read(&self, file: &str, default: &'static str) -> Result<(String, String), Diagnostic> {
        match self {
            Self::Default => Ok((format!("(default {file})"), default.to_owned())),
            Self::Directory(dir) => {
                let path = dir.join(file);
                let name = path.display().to_string();
                match std::fs::read(&path) {
                    Ok(bytes) => Ok((name, String::from_utf8_lossy(&bytes).into_owned())),
                    Err(error) => Err(Diagnostic::error("unreadable", format!("cannot read {name}: {error}"))
                        .help("name the directory that holds main.cf and master.cf with --config-dir")),
                }
            }
        }
    }
}

/// A configuration as far as it can be read.
pub struct Reading {
    /// Names and texts of main.cf and master.cf.
    pub texts: Vec<(String, String)>,
    /// The name of main.cf.
    pub main_name: String,
    /// main.cf's parameters, if the files could be read.
    pub parameters: Option<Parameters>,
    /// master.cf.
    pub master: MasterCf,
    /// What was compiled of it.
    pub site: Option<Site>,
    /// Every problem.
    pub problems: Vec<Diagnostic>,
    /// There is an error among the problems: the site must not serve.
    pub is_broken: bool,
}

impl Reading {
    /// The site, if it may serve.
    pub fn usable(self) -> Option<Site> {
        self.site.filter(|_| !self.is_broken)
    }
}

/// Read and compile a configuration. With an error among the diagnostics there is no site.
pub fn load(source: &Source) -> (Option<Site>, Vec<Diagnostic>) {
    let mut reading = read(source);
    let problems = std::mem::take(&mut reading.problems);
    (reading.usable(), problems)
}

/// Read and compile as much of a configuration as can be.
pub fn read(source: &Source) -> Reading {
    let mut reading = Reading {
        texts: Vec::new(),
        main_name: String::new(),
        parameters: None,
        master: MasterCf::default(),
        site: None,
        problems: Vec::new(),
        is_broken: true,
    };
    let texts = (source.read("main.cf", DEFAULT_MAIN_CF), source.read("master.cf", DEFAULT_MASTER_CF));
    let (main_text, master_text) = match texts {
        (Ok(main), Ok(master)) => (main, master),
        (main, master) => {
            reading.problems.extend([main.err(), master.err()].into_iter().flatten());
            return reading;
        }
    };
    let directory = if let Source::Directory(dir) = source { Some(dir.as_path()) } else { None };
    let (main, mut problems) = MainCf::parse(&main_text.0, &main_text.1);
    let (master, mut found) = MasterCf::parse(&master_text.0, &master_text.1);
    problems.append(&mut found);
    let parameters = Parameters::new(Arc::new(main), host::facts(directory));
    problems.extend(parameters.check_with(&master));
    let unsafe_ones = support::check_parameters(&parameters);
    // One warning about a setting is enough.
    problems.retain(|p| p.code != "not-acted-on" || !unsafe_ones.iter().any(|other| other.span == p.span));
    problems.extend(unsafe_ones);
    problems.extend(support::check_services(&master, &parameters));
    let mut found = Vec::new();
    let site = compile(parameters.clone(), &master, &mut found);
    problems.extend(found.into_iter().filter(|problem| !is_consequence(problem, &problems)).collect::<Vec<_>>());
    reading.is_broken = problems.iter().any(Diagnostic::is_error);
    reading.main_name.clone_from(&main_text.0);
    reading.texts.extend([main_text, master_text]);
    Reading { parameters: Some(parameters), master, site, problems, ..reading }
}

/// What was compiled from a line that is in error already only makes nonsense of what follows.
fn is_consequence(problem: &Diagnostic, errors: &[Diagnostic]) -> bool {
    let mut places = errors.iter().filter(|error| error.is_error()).map(|error| error.span.as_ref());
    match &problem.span {
        Some(span) if span.line > 0 => {
            places.any(|place| place.is_some_and(|place| place.file == span.file && place.line == span.line))
        }
        _ => places.next().is_some(),
    }
}

/// The parameters of main.cf alone, for commands that need no more.
///
/// # Errors
/// When main.cf can't be read.
pub fn parameters(source: &Source) -> anyhow::Result<Parameters> {
    let (name, text) = source.read("main.cf", DEFAULT_MAIN_CF).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    let directory = if let Source::Directory(dir) = source { Some(dir.as_path()) } else { None };
    let (main, _) = MainCf::parse(&name, &text);
    Ok(Parameters::new(Arc::new(main), host::facts(directory)))
}
