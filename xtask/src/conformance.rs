//! `cargo xtask conformance`: every scenario of tests/conformance against the program, area by area.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use testkit::conformance::{Awaited, Peer, Recording, Scenario, Tools, compare, run as run_scenario};
use testkit::peer::glob;

use crate::project::{self, number, value};
use crate::random_tools::Subject;

struct Options {
    only: Option<String>,
    areas: Vec<String>,
    jobs: usize,
    lines: usize,
    postern: Option<PathBuf>,
    postfix: bool,
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options { only: None, areas: Vec::new(), jobs: 6, lines: 24, postern: None, postfix: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--only" => options.only = Some(value(&mut args, arg)?.to_owned()),
            "--area" => options.areas.extend(value(&mut args, arg)?.split(',').map(str::to_owned)),
            "--jobs" => options.jobs = number::<usize>(&mut args, arg)?.clamp(1, 64),
            "--lines" => options.lines = number(&mut args, arg)?,
            "--postern" => options.postern = Some(value(&mut args, arg)?.into()),
            "--postfix" => options.postfix = true,
            _ => return Err(format!("conformance: unknown option {arg}")),
        }
    }
    Ok(options)
}

/// How a scenario ended.
enum Verdict {
    Passed,
    /// With the sections and lines that differ.
    Failed(String, String),
    Skipped(String),
}

struct Report {
    verdict: Verdict,
    took: Duration,
}

/// Runs the scenarios that the arguments choose.
pub fn run(args: &[String]) -> Result<bool, String> {
    if let Some(subject) = args.iter().find_map(|arg| Subject::of(arg)) {
        return crate::random_tools::run(subject, args);
    }
    if args.iter().any(|a| a == "--random") {
        return crate::random::run(args);
    }
    let options = options(args)?;
    let (passed, failed) = check(&options, None)?;
    Ok(failed == 0 && passed > 0)
}

/// Runs all scenarios with a program; how many passed and failed. What is skipped is noted in `skips`.
pub fn run_all_with(postern: &Path, skips: &Path) -> Result<(usize, usize), String> {
    let options = options(&[])?;
    check(&Options { postern: Some(postern.to_owned()), ..options }, Some(skips))
}

fn check(options: &Options, skips: Option<&Path>) -> Result<(usize, usize), String> {
    let home = project::root().join("tests/conformance");
    let (peer, list) = if options.postfix {
        if !testkit::tools::is_root() {
            return Err("conformance --postfix must be run by root".to_owned());
        }
        (Peer::Postfix, "postfix-3.7-differences.txt")
    } else {
        let path = match &options.postern {
            Some(path) => std::path::absolute(path).map_err(|e| e.to_string())?,
            None => project::build_release()?,
        };
        (Peer::Postern(path), "expected-failures.txt")
    };
    let scenarios = scenarios(&home.join("scenarios"), options)?;
    let expected = expected_failures(&home.join(list))?;
    if let Some(unknown) = expected.keys().find(|n| !home.join(format!("scenarios/{n}.scn")).exists()) {
        return Err(format!("{list} names {unknown}, which is no scenario"));
    }
    let tools = Tools::find(peer, home);
    let begin = Instant::now();
    let mut tally =
        Tally { expected: &expected, lines: options.lines, passed: 0, failed: 0, known: 0, skipped: 0, skips };
    run_all(&scenarios, &tools, options.jobs, |area| tally.print(area));
    println!(
        "{} scenarios in {} s: {} as expected not passing yet, {} skipped",
        scenarios.len(),
        begin.elapsed().as_secs(),
        tally.known,
        tally.skipped
    );
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok((tally.passed, tally.failed))
}

fn scenarios(dir: &Path, options: &Options) -> Result<Vec<(PathBuf, Scenario)>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let paths = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "scn"));
    let mut found = Vec::new();
    for path in paths {
        let scenario = Scenario::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let chosen = options.only.as_ref().is_none_or(|only| glob(only, &scenario.name))
            && (options.areas.is_empty() || options.areas.iter().any(|a| a == scenario.area()));
        if chosen {
            found.push((path, scenario));
        }
    }
    found.sort_by(|a, b| (a.1.area(), &a.1.name).cmp(&(b.1.area(), &b.1.name)));
    Ok(found)
}

/// `name reason` lines.
fn expected_failures(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let (name, reason) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            match reason.trim() {
                "" => Err(format!("{}: {name} has no reason", path.display())),
                reason => Ok((name.to_owned(), reason.to_owned())),
            }
        })
        .collect()
}

/// Runs all, `jobs` at a time; hands over the reports of an area as soon as they are complete, in order.
fn run_all(
    scenarios: &[(PathBuf, Scenario)],
    tools: &Tools,
    jobs: usize,
    mut print: impl FnMut(&[(&Scenario, Report)]),
) {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(scenarios.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some((path, scenario)) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let place = scenarios.iter().position(|(p, _)| p == path).unwrap_or(0);
                    let begin = Instant::now();
                    let verdict = judge(path, scenario, tools);
                    let _ = sender.send((place, Report { verdict, took: begin.elapsed() }));
                }
            });
        }
        drop(sender);
        let mut reports: Vec<Option<Report>> = scenarios.iter().map(|_| None).collect();
        let mut done = 0;
        for (place, report) in receiver {
            reports[place] = Some(report);
            while let Some((_, first)) = scenarios.get(done) {
                let size = scenarios[done..].iter().take_while(|(_, s)| s.area() == first.area()).count();
                if reports[done..done + size].iter().any(Option::is_none) {
                    break;
                }
                let area: Vec<_> =
                    (done..done + size).filter_map(|i| Some((&scenarios[i].1, reports[i].take()?))).collect();
                print(&area);
                done += size;
            }
        }
    });
}

fn judge(path: &Path, scenario: &Scenario, tools: &Tools) -> Verdict {
    if let Some(why) = tools.missing(scenario) {
        return Verdict::Skipped(why);
    }
    let golden = match std::fs::read_to_string(path.with_extension("golden")) {
        Ok(text) => Recording::parse(&text),
        Err(error) => return Verdict::Failed("golden".into(), format!("{error}\n")),
    };
    match run_scenario(scenario, tools, Awaited::Recipients(golden.recipients())) {
        Ok(got) => match compare(&golden, &got) {
            (sections, _) if sections.is_empty() => Verdict::Passed,
            (sections, text) => Verdict::Failed(sections.join(" "), text),
        },
        Err(error) => Verdict::Failed("error".into(), format!("{error}\n")),
    }
}

struct Tally<'e> {
    expected: &'e BTreeMap<String, String>,
    lines: usize,
    passed: usize,
    failed: usize,
    known: usize,
    skipped: usize,
    skips: Option<&'e Path>,
}

impl Tally<'_> {
    fn print(&mut self, area: &[(&Scenario, Report)]) {
        let passed = area.iter().filter(|(_, r)| matches!(r.verdict, Verdict::Passed)).count();
        println!("== {}: {passed} of {}", area.first().map_or("", |(s, _)| s.area()), area.len());
        for (scenario, report) in area {
            let reason = self.expected.get(&scenario.name);
            let took = format!("{:.1} s", report.took.as_secs_f64());
            let name = &scenario.name;
            match (&report.verdict, reason) {
                (Verdict::Passed, None) => {
                    self.passed += 1;
                    println!("  ok       {name} ({took})");
                }
                (Verdict::Passed, Some(_)) => {
                    self.failed += 1;
                    println!("  FAIL     {name} ({took}) passes: take it off the list of expected failures");
                }
                (Verdict::Failed(sections, _), Some(reason)) => {
                    self.known += 1;
                    println!("  expected {name} ({took}) {sections}: {reason}");
                }
                (Verdict::Failed(sections, text), None) => {
                    self.failed += 1;
                    println!("  FAIL     {name} ({took}) {sections}");
                    self.show(text);
                }
                (Verdict::Skipped(why), _) => {
                    self.skipped += 1;
                    testkit::tools::skipped_into(self.skips, &format!("scenario {name}"), why);
                }
            }
        }
    }

    fn show(&self, text: &str) {
        text.lines().take(self.lines).for_each(|line| println!("       {line}"));
        let more = text.lines().count().saturating_sub(self.lines);
        if more > 0 {
            println!("       ... {more} more lines");
        }
    }
}
