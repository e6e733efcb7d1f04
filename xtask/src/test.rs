//! `cargo xtask test`: all checks in order; the first that fails ends the run.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::random_tools::{self, Subject};
use crate::{agreement, conformance, install, project, random};

/// What was counted so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
}

impl Counts {
    /// Adds what a line of cargo test says.
    fn add(&mut self, line: &str) {
        let line = line.strip_prefix("test result:").map_or(line, |l| l.split_once('.').map_or(l, |(_, rest)| rest));
        let words: Vec<&str> = line.split([' ', ',', ';']).filter(|w| !w.is_empty()).collect();
        if let [passed, "passed", failed, "failed", ..] = words[..]
            && let (Ok(passed), Ok(failed)) = (passed.parse::<usize>(), failed.parse::<usize>())
        {
            self.passed += passed;
            self.failed += failed;
        }
    }
}

/// Runs everything.
pub fn run() -> Result<bool, String> {
    let skips = std::env::temp_dir().join(format!("postern-skips.{}", std::process::id()));
    let steps = Steps { skips: &skips, begin: Instant::now() };
    let mut counts = Counts::default();
    let result = steps.all(&mut counts);
    let skipped = std::fs::read_to_string(&skips).unwrap_or_default();
    let _ = std::fs::remove_file(&skips);
    if !skipped.is_empty() {
        println!("\n==== not run on this machine\n{}", skipped.trim_end());
    }
    println!("\n==== {} after {} s", if result.is_ok() { "done" } else { "FAILED" }, steps.begin.elapsed().as_secs());
    if let Err(message) = &result {
        println!("{message}");
        counts.failed = counts.failed.max(1);
    }
    println!("{} passed, {} failed", counts.passed, counts.failed);
    Ok(result.is_ok() && counts.failed == 0)
}

struct Steps<'s> {
    skips: &'s Path,
    begin: Instant,
}

impl Steps<'_> {
    fn all(&self, counts: &mut Counts) -> Result<(), String> {
        self.step("what the tests need", || install::run(self.skips))?;
        self.step("cargo fmt", || self.silent(&["fmt", "--all", "--check"]))?;
        self.step("cargo clippy", || {
            self.silent(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-D",
                "warnings",
            ])
        })?;
        self.step("cargo test", || {
            self.counted(
                &mut project::cargo(&["test", "--workspace", "--all-features", "--quiet", "--no-fail-fast"]),
                counts,
            )
        })?;
        self.step("release build", || self.silent(&["build", "--quiet", "--release", "--package", "postern"]))?;
        let program = project::release_program();
        self.step("end-to-end checks", || {
            let test = [
                "test",
                "--quiet",
                "--package",
                "postern-testkit",
                "--test",
                "e2e",
                "--",
                "--ignored",
                "--test-threads=4",
            ];
            let mut command = project::cargo(&test);
            // The tests before this step have built the other program, with every feature.
            command.env("POSTERN", &program).env("POSTERN_ALL_TABLES", project::debug_program());
            self.counted(command.env("RUST_BACKTRACE", "0"), counts)
        })?;
        // in this process: the checks before may have rebuilt the file that it was started from
        self.step("conformance", || {
            let (passed, failed) = conformance::run_all_with(&program, self.skips)?;
            counts.passed += passed;
            counts.failed += failed;
            if failed == 0 { Ok(()) } else { Err(format!("{failed} scenarios")) }
        })?;
        self.step("agreement of the record with replay, cases and explanations", || {
            let (passed, failed) = agreement::some_with(&program)?;
            counts.passed += passed;
            counts.failed += failed;
            if failed == 0 { Ok(()) } else { Err(format!("{failed} differ")) }
        })?;
        self.step("random scenarios", || {
            let (passed, failed) = random::run_some_with(&program, self.skips)?;
            counts.passed += passed;
            counts.failed += failed;
            if failed == 0 { Ok(()) } else { Err(format!("{failed} scenarios")) }
        })?;
        for subject in [Subject::Postmap, Subject::Postconf] {
            self.step(&format!("random uses of {}", subject.name()), || {
                let Some((passed, failed)) = random_tools::small(subject, &program, self.skips)? else { return Ok(()) };
                counts.passed += passed;
                counts.failed += failed;
                if failed == 0 { Ok(()) } else { Err(format!("{failed} differ")) }
            })?;
        }
        Ok(())
    }

    fn step(&self, name: &str, check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        println!("\n==== {name} (at {} s)", self.begin.elapsed().as_secs());
        let begin = Instant::now();
        let result = check();
        println!(
            "---- {name}: {} in {:.1} s",
            if result.is_ok() { "ok" } else { "FAILED" },
            begin.elapsed().as_secs_f64()
        );
        result.map_err(|e| format!("{name}: {e}"))
    }

    /// Output is shown as it comes; only the exit status counts.
    fn silent(&self, cargo: &[&str]) -> Result<(), String> {
        let status = project::cargo(cargo).status().map_err(|e| format!("cannot run cargo: {e}"))?;
        if status.success() { Ok(()) } else { Err(status.to_string()) }
    }

    /// Output is shown as it comes, and its counts are added up.
    fn counted(&self, command: &mut Command, counts: &mut Counts) -> Result<(), String> {
        let command = command.env("POSTERN_SKIPS", self.skips).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
            counts.add(&line);
            if !line.trim().is_empty() && !line.starts_with("running ") {
                println!("{line}");
            }
        }
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(status.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let mut counts = Counts::default();
        for line in [
            "test result: ok. 21 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.36s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored",
            "101 passed, 1 failed",
            "a test that passed, 1 failed",
            "== relay: 3 of 4",
        ] {
            counts.add(line);
        }
        assert_eq!(counts, Counts { passed: 125, failed: 3 });
    }
}
