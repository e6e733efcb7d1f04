//! `cargo xtask conformance --random N`: random scenarios on the real Postfix and on postern, side by side.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testkit::conformance::{Awaited, Peer, Recording, Scenario, Section, Tools, compare, run as run_scenario};
use testkit::random::{minimise, scenario, without_known};
use testkit::tools::{PACKAGES, find, is_root};

use crate::project::{self, number, value};

/// When no mail has come for this long after a session, Postfix has delivered what there was.
const QUIET: Duration = Duration::from_millis(700);
/// What postern says when it refuses a configuration.
const NOT_STARTED: &str = "postern: the configuration has errors";
/// How often a scenario is run to make it smaller.
const TRIES: usize = 60;

struct Options {
    count: u64,
    seed: u64,
    first: u64,
    jobs: usize,
    lines: usize,
    postern: Option<PathBuf>,
    keep: Option<PathBuf>,
    small: bool,
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options =
        Options { count: 0, seed: 1, first: 0, jobs: 8, lines: 24, postern: None, keep: None, small: true };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--random" => options.count = number(&mut args, arg)?,
            "--seed" => options.seed = number(&mut args, arg)?,
            "--first" => options.first = number(&mut args, arg)?,
            "--jobs" => options.jobs = number::<usize>(&mut args, arg)?.clamp(1, 64),
            "--lines" => options.lines = number(&mut args, arg)?,
            "--postern" => options.postern = Some(value(&mut args, arg)?.into()),
            "--keep" => options.keep = Some(value(&mut args, arg)?.into()),
            "--no-minimise" => options.small = false,
            _ => return Err(format!("conformance --random: unknown option {arg}")),
        }
    }
    Ok(options)
}

/// Runs what the arguments say; is all the same?
pub fn run(args: &[String]) -> Result<bool, String> {
    let options = options(args)?;
    if let Some(why) = missing() {
        return Err(format!("conformance --random: {why}"));
    }
    let path = match &options.postern {
        Some(path) => std::path::absolute(path).map_err(|e| e.to_string())?,
        None => project::build_release()?,
    };
    Ok(check(&options, path).failed == 0)
}

/// A few scenarios, the same ones every time; how many were the same and how many not. Says what is skipped, and why.
pub fn run_some_with(postern: &Path, skips: &Path) -> Result<(usize, usize), String> {
    if let Some(why) = missing() {
        testkit::tools::skipped_into(Some(skips), "random scenarios", &why);
        return Ok((0, 0));
    }
    let options = options(&["--random".to_owned(), "40".to_owned()])?;
    let tally = check(&Options { small: false, ..options }, postern.to_owned());
    Ok((tally.same, tally.failed))
}

/// Why random scenarios can't be run here, if they can't.
fn missing() -> Option<String> {
    if !is_root() {
        return Some("Postfix must be started by root".to_owned());
    }
    let needed = PACKAGES.iter().filter(|(package, ..)| package.starts_with("postfix"));
    let missing: Vec<&str> = needed.filter(|(_, program, _)| find(program).is_none()).map(|(name, ..)| *name).collect();
    (!missing.is_empty()).then(|| format!("it needs the Debian packages {}", missing.join(", ")))
}

#[derive(Default)]
struct Tally {
    same: usize,
    failed: usize,
    unsteady: usize,
}

/// What came of a scenario.
enum Verdict {
    Same,
    /// It differed, and then did not.
    Unsteady,
    /// The (smaller) scenario, and the difference.
    Differs(String, String),
}

fn check(options: &Options, postern: PathBuf) -> Tally {
    let home = project::root().join("tests/conformance");
    let peers =
        Peers { postfix: Tools::find(Peer::Postfix, home.clone()), postern: Tools::find(Peer::Postern(postern), home) };
    let (next, begin) = (AtomicU64::new(options.first), Instant::now());
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    if case >= options.first + options.count {
                        break;
                    }
                    let verdict = peers.judge(&scenario(options.seed, case), options.small);
                    let Ok(mut tally) = tally.lock() else { break };
                    tally.add(options, case, &verdict);
                    let done = tally.same + tally.failed + tally.unsteady;
                    if done % 100 == 0 {
                        println!("{done} scenarios in {} s", begin.elapsed().as_secs());
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_default();
    let seconds = begin.elapsed().as_secs_f64();
    let done = tally.same + tally.failed + tally.unsteady;
    println!(
        "{done} random scenarios of seed {} in {seconds:.0} s ({:.0} a minute), {} unsteady\n{} passed, {} failed",
        options.seed,
        done as f64 * 60.0 / seconds.max(0.001),
        tally.unsteady,
        tally.same + tally.unsteady,
        tally.failed
    );
    tally
}

impl Tally {
    fn add(&mut self, options: &Options, case: u64, verdict: &Verdict) {
        let name = format!("random-{}-{case}", options.seed);
        match verdict {
            Verdict::Same => self.same += 1,
            Verdict::Unsteady => {
                self.unsteady += 1;
                println!("  unsteady {name}: it differed at first, and not when run again");
            }
            Verdict::Differs(text, difference) => {
                self.failed += 1;
                println!("  FAIL     {name}");
                difference.lines().take(options.lines).for_each(|line| println!("       {line}"));
                let more = difference.lines().count().saturating_sub(options.lines);
                if more > 0 {
                    println!("       ... {more} more lines");
                }
                if let Some(dir) = &options.keep {
                    keep(dir, &name, text, difference);
                }
            }
        }
    }
}

fn keep(dir: &Path, name: &str, text: &str, difference: &str) {
    let written = fs::create_dir_all(dir)
        .and_then(|()| fs::write(dir.join(format!("{name}.scn")), text))
        .and_then(|()| fs::write(dir.join(format!("{name}.diff")), difference));
    if let Err(error) = written {
        println!("       cannot keep it in {}: {error}", dir.display());
    }
}

/// Both programs.
struct Peers {
    postfix: Tools,
    postern: Tools,
}

impl Peers {
    fn judge(&self, text: &str, small: bool) -> Verdict {
        if self.difference(text).is_none() {
            return Verdict::Same;
        }
        let Some(difference) = self.difference(text) else { return Verdict::Unsteady };
        if !small {
            return Verdict::Differs(text.to_owned(), difference);
        }
        let sign = sign(&difference);
        let same = |text: &str| self.difference(text).is_some_and(|d| d.lines().any(|line| line == sign));
        let text = minimise(text, TRIES, same);
        let difference = self.difference(&text).unwrap_or(difference);
        Verdict::Differs(text, difference)
    }

    /// What differs, if anything does.
    fn difference(&self, text: &str) -> Option<String> {
        let scenario = Scenario::parse("random", text);
        let run = |tools: &Tools, awaited| -> Recording {
            let recorded = run_scenario(&scenario, tools, awaited);
            recorded.unwrap_or_else(|error| Recording::failed(error.to_string()))
        };
        let mut want = run(&self.postfix, Awaited::Quiet(QUIET));
        // under load its processes may come up too late
        for _ in 0..4 {
            if want.get(Section::Replies).iter().any(|line| line == "S: <no service>") {
                want = run(&self.postfix, Awaited::Quiet(QUIET));
            }
        }
        let mut got = run(&self.postern, Awaited::Recipients(want.recipients()));
        if got.note.contains(NOT_STARTED) {
            // what it says of itself is what counts
            return Some(
                got.note
                    .lines()
                    .filter(|l| !l.starts_with(' ') && l.contains("error: "))
                    .map(|l| format!("! {l}\n"))
                    .collect(),
            );
        }
        got.note.clear();
        let (sections, text) = compare(&without_known(&want), &without_known(&got));
        (!sections.is_empty()).then_some(text)
    }
}

/// The first line of a difference that only one side has, or error: what stays the same while the scenario is made smaller.
fn sign(difference: &str) -> String {
    let heading = |line: &str| line.starts_with("--- ") || line.starts_with("+++ ");
    let line = difference.lines().find(|l| l.starts_with(['-', '+', '!']) && !heading(l));
    line.unwrap_or_default().to_owned()
}
