//! Everything that is wrong or odd about a configuration, with places and remedies: `postern lint`, start and reload.
//!
//! The crates below judge what was written; what needs the machine (texts of tables, permissions, times of files,
//! addresses of interfaces) is judged here. Nothing that is found here alone keeps the server from starting.

pub mod codes;
mod domains;
mod files;
pub mod networks;
mod passwords;
mod report;
mod snippet;
mod texts;

pub use report::{Counts, Report};
pub use snippet::{Snippets, print};

use crate::daemon::site::{self, Reading, ServiceSettings, Site, Source};
use config::{Diagnostic, Parameters, ServiceType, Severity};
use policy::{Plan, TableRegistry};
use std::collections::{HashMap, HashSet};
use texts::Texts;

/// Read a configuration and judge all of it. The site is there if nothing keeps it from serving.
pub fn load(source: &Source) -> (Option<Site>, Vec<Diagnostic>) {
    let (reading, problems) = examine(source);
    let problems = problems.into_iter().filter(|problem| problem.severity != Severity::Note).collect();
    (reading.usable(), problems)
}

/// The configuration as far as it can be read, and all there is to say about it, in the order of the files.
pub fn examine(source: &Source) -> (Reading, Vec<Diagnostic>) {
    let reading = site::read(source);
    let mut found = reading.problems.clone();
    if let Some(parameters) = &reading.parameters {
        found.extend(config::lint(parameters, &reading.master));
        found.extend(networks::lint(parameters, &networks::containers()));
        found.extend(domains::lint(parameters));
        found.extend(files::lint(parameters, &reading.master));
        let texts = Texts::new(parameters);
        let services = reading.site.iter().flat_map(|site| &site.services);
        found.extend(services.flat_map(|service| service.plan.lint(&texts)));
        found.extend(unserved(&reading, parameters, &texts));
        let services = reading.site.iter().flat_map(|site| &site.services);
        found.extend(services.flat_map(|service| passwords::lint(&service.parameters, &texts)));
    }
    fold(&mut found);
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

/// Services that don't listen (behind postscreen, say) are judged all the same, but keep nobody from starting.
fn unserved(reading: &Reading, parameters: &Parameters, texts: &Texts) -> Vec<Diagnostic> {
    let is_served = |name: &str| reading.site.iter().any(|site| site.service(name).is_some());
    let mut found = Vec::new();
    for service in reading.master.effective().filter(|service| service.command == "smtpd") {
        if service.kind == ServiceType::Inet && is_served(&service.name) {
            continue;
        }
        let own = parameters.with_overrides(&service.parameter_overrides());
        let (plan, problems) = Plan::compile(&ServiceSettings(&own), &mut TableRegistry::new());
        let known = |problem: &Diagnostic| reading.problems.iter().any(|other| other.span == problem.span);
        let problems = problems.into_iter().filter(|problem| problem.span.is_some() && !known(problem));
        found.extend(
            problems.map(|problem| Diagnostic { severity: problem.severity.min(Severity::Warning), ..problem }),
        );
        found.extend(plan.lint(texts));
    }
    found
}

/// So many settings without effect, for one reason, are told one by one.
const EACH: usize = 3;

/// Settings without effect come in dozens (for TLS, say): they are told together, at the first of them.
fn fold(found: &mut Vec<Diagnostic>) {
    let name = |problem: &Diagnostic| problem.message.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut groups: HashMap<String, Vec<String>> = HashMap::new();
    for problem in found.iter().filter(|problem| problem.code == "not-acted-on") {
        let names = groups.entry(problem.help.clone().unwrap_or_default()).or_default();
        if !names.contains(&name(problem)) {
            names.push(name(problem));
        }
    }
    groups.retain(|_, names| names.len() > EACH);
    let mut told = HashSet::new();
    found.retain_mut(|problem| {
        let Some(help) = problem.help.clone().filter(|_| problem.code == "not-acted-on") else { return true };
        let Some(names) = groups.get(&help) else { return true };
        problem.message = format!("{} parameters are not acted on yet: {}", names.len(), names.join(", "));
        problem.help = Some(help.replace("the setting has", "these settings have"));
        told.insert(help)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_effect_are_told_together() {
        let one = |name: &str, help: &str| {
            Diagnostic::warning("not-acted-on", format!("parameter {name} is not acted on yet")).help(help)
        };
        let mut found: Vec<_> =
            ["a", "b", "c", "d", "d"].map(|name| one(name, "no TLS; the setting has no effect")).into();
        found.insert(1, one("x", "no VERP"));
        fold(&mut found);
        let texts: Vec<_> = found.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(texts, ["4 parameters are not acted on yet: a, b, c, d", "parameter x is not acted on yet"]);
        assert_eq!(found[0].help.as_deref(), Some("no TLS; these settings have no effect"));
    }
}
