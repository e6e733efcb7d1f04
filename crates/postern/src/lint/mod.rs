//! Everything that is wrong or odd about a configuration, with places and remedies: `postern lint`, start and reload.
//!
//! The crates below judge what was written; what needs the machine (texts of tables, permissions, times of files,
//! addresses of interfaces) is judged here. Nothing that is found here alone keeps the server from starting.

pub mod codes;
mod domains;
mod files;
mod networks;
mod report;
mod snippet;
mod texts;

pub use report::{Counts, Report};
pub use snippet::{Snippets, print};

use crate::daemon::site::{self, Reading, Site, Source};
use config::{Diagnostic, Severity};
use std::collections::HashSet;
use texts::Texts;

/// Read a configuration and judge all of it. The site is there if nothing keeps it from serving.
pub fn load(source: &Source) -> (Option<Site>, Vec<Diagnostic>) {
    let (reading, problems) = examine(source);
    let problems = problems.into_iter().filter(|problem| problem.severity != Severity::Note).collect();
    (reading.usable(), problems)
}

/// The configuration as far as it can be read, and all there is to say about it, in the order of the files.
pub fn examine(source: &Source) -> (Reading, Vec<Diagnostic>) {
    let mut reading = site::read(source);
    let mut found = std::mem::take(&mut reading.problems);
    reading.is_broken = found.iter().any(Diagnostic::is_error);
    if let Some(parameters) = &reading.parameters {
        found.extend(config::lint(parameters, &reading.master));
        found.extend(networks::lint(parameters, &networks::containers()));
        found.extend(domains::lint(parameters));
        found.extend(files::lint(parameters, &reading.master));
        let texts = Texts::new(parameters);
        let services = reading.site.iter().flat_map(|site| &site.services);
        found.extend(services.flat_map(|service| service.plan.lint(&texts)));
    }
    let mut seen = HashSet::new();
    found.retain(|problem| seen.insert((problem.code, problem.message.clone(), problem.span.clone())));
    let rank = |problem: &Diagnostic| {
        let span = problem.span.as_ref();
        let file = span.map_or("", |span| &span.file);
        let files = [reading.main_name.as_str(), reading.master.file()];
        let rank = files.iter().position(|known| *known == file).unwrap_or(files.len());
        (rank, file.to_owned(), span.map_or((0, 0), |span| (span.line, span.column)))
    };
    found.sort_by_cached_key(rank);
    (reading, found)
}
