//! `cargo xtask agreement`: a decision is the same whoever makes it. Random policies are served to random sessions, and
//! every decision that the record has of them is made again: by `postern replay` on the same configuration, by
//! `postern test` as a case of `postern test --record`, and, where no policy service had a say, by `postern explain`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testkit::conformance::{Awaited, Peer, Scenario, Tools, run_then};
use testkit::random::scenario;

use crate::project::{self, number, value};

/// When no mail has come for this long after a session, there is none.
const QUIET: Duration = Duration::from_millis(200);
/// So many cases of a scenario are explained.
const EXPLAINED: usize = 12;
/// So many lines are told of the first one.
const STORY: usize = 80;
/// So many differences of a scenario are shown.
const SHOWN: usize = 10;

struct Options {
    count: u64,
    seed: u64,
    first: u64,
    jobs: usize,
    postern: Option<PathBuf>,
    show: bool,
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options { count: 200, seed: 1, first: 0, jobs: 8, postern: None, show: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--scenarios" => options.count = number(&mut args, arg)?,
            "--seed" => options.seed = number(&mut args, arg)?,
            "--show" => options.show = true,
            "--first" => options.first = number(&mut args, arg)?,
            "--jobs" => options.jobs = number::<usize>(&mut args, arg)?.clamp(1, 64),
            "--postern" => options.postern = Some(value(&mut args, arg)?.into()),
            _ => return Err(format!("agreement: unknown option {arg}")),
        }
    }
    Ok(options)
}

/// Runs what the arguments say; did everything come out the same?
pub fn run(args: &[String]) -> Result<bool, String> {
    let options = options(args)?;
    let path = match &options.postern {
        Some(path) => std::path::absolute(path).map_err(|e| e.to_string())?,
        None => project::build_release()?,
    };
    let tally = check(&options, &path);
    Ok(tally.failed == 0 && tally.decisions > 0)
}

/// A few scenarios, the same ones every time: how many agreed and how many not.
pub fn some_with(postern: &Path) -> Result<(usize, usize), String> {
    let tally = check(&options(&["--scenarios".to_owned(), "24".to_owned()])?, postern);
    if tally.decisions == 0 {
        return Err("there were no decisions".to_owned());
    }
    Ok((tally.passed, tally.failed))
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    decisions: usize,
    cases: usize,
    explained: usize,
}

fn check(options: &Options, postern: &Path) -> Tally {
    let home = project::root().join("tests/conformance");
    let tools = Tools::find(Peer::Postern(postern.to_owned()), home);
    let (next, begin) = (AtomicU64::new(options.first), Instant::now());
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.first + options.count {
                        break;
                    }
                    let found = judge(&scenario(options.seed, number), &tools, postern, options.show);
                    let Ok(mut tally) = tally.lock() else { break };
                    tally.add(options.seed, number, &found);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_default();
    println!(
        "{} decisions of {} random scenarios of seed {} in {:.0} s: all replayed, {} played as cases, {} explained\n\
         {} passed, {} failed",
        tally.decisions,
        tally.passed + tally.failed,
        options.seed,
        begin.elapsed().as_secs_f64(),
        tally.cases,
        tally.explained,
        tally.passed,
        tally.failed
    );
    tally
}

impl Tally {
    fn add(&mut self, seed: u64, number: u64, found: &Found) {
        self.decisions += found.decisions;
        self.cases += found.cases;
        self.explained += found.explained;
        if found.differences.is_empty() {
            self.passed += 1;
            return;
        }
        self.failed += 1;
        println!("  FAIL     random-{seed}-{number}");
        found.differences.iter().take(SHOWN).for_each(|line| println!("       {line}"));
        let more = found.differences.len().saturating_sub(SHOWN);
        if more > 0 {
            println!("       ... {more} more");
        }
        found.stories.lines().take(STORY).for_each(|line| println!("       | {line}"));
    }
}

/// What came of a scenario.
#[derive(Debug, Default)]
struct Found {
    decisions: usize,
    cases: usize,
    explained: usize,
    differences: Vec<String>,
    /// More about the first one.
    stories: String,
}

fn judge(text: &str, tools: &Tools, postern: &Path, show: bool) -> Found {
    let scenario = Scenario::parse("random", text);
    let made = run_then(&scenario, tools, Awaited::Quiet(QUIET), |etc| {
        let asked = Asked { postern, etc };
        let mut found = Found::default();
        asked.replay(&mut found);
        asked.cases(&mut found);
        found
    });
    match made {
        Ok((recording, found)) if recording.note.is_empty() => {
            if show && !found.differences.is_empty() {
                println!("{text}\n{recording}");
            }
            found
        }
        Ok((recording, _)) => Found { differences: vec![recording.note], ..Found::default() },
        Err(error) => Found { differences: vec![error.to_string()], ..Found::default() },
    }
}

/// The program with a configuration that has served.
struct Asked<'a> {
    postern: &'a Path,
    etc: &'a Path,
}

impl Asked<'_> {
    fn run(&self, arguments: &[&str]) -> (String, String, bool) {
        let mut command = Command::new(self.postern);
        command.args(arguments).env("TZ", "UTC").env("RES_OPTIONS", "timeout:1 attempts:1");
        match command.output() {
            Ok(output) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (text(&output.stdout), text(&output.stderr), output.status.success())
            }
            Err(error) => (String::new(), error.to_string(), false),
        }
    }

    fn replay(&self, found: &mut Found) {
        let (out, errors, same) = self.run(&["replay", &self.etc.to_string_lossy()]);
        let count = out.split(' ').next().and_then(|word| word.parse().ok());
        found.decisions = count.unwrap_or(0);
        if !same || count.is_none() || out.contains("\nnot asked then") {
            let lines =
                out.lines().skip(1).filter(|line| !line.is_empty()).chain(errors.lines().filter(|_| count.is_none()));
            found.differences.extend(lines.map(|line| format!("replay: {line}")));
        }
    }

    fn cases(&self, found: &mut Found) {
        let etc = self.etc.to_string_lossy();
        let (cases, errors, _) = self.run(&["test", "--record", "all", "--limit", "100000", "-c", &etc]);
        // What can't be said in a case is told as such.
        let said = |line: &&str| !line.contains(": no case: ") && line.starts_with("postern: ");
        for line in errors.lines().filter(said) {
            found.differences.push(format!("record: {line}"));
            if found.stories.is_empty()
                && let Some(code) = line.split(": ").nth(1)
            {
                let case = cases.split("\n\n").find(|case| case.contains(code)).unwrap_or_default();
                found.stories = format!("{}{case}", self.run(&["why", code, "-c", &etc]).0);
            }
        }
        let file = self.etc.join("cases.toml");
        if let Err(error) = std::fs::write(&file, &cases) {
            return found.differences.push(error.to_string());
        }
        let cases: Vec<Case> = cases.split("[[case]]\n").skip(1).map(Case).collect();
        if cases.is_empty() {
            return;
        }
        let (out, errors, passed) = self.run(&["test", &file.to_string_lossy(), "-c", &etc]);
        found.cases = cases.len();
        if !passed {
            found.differences.extend(out.lines().chain(errors.lines()).map(|line| format!("test: {line}")));
        }
        for case in cases.iter().filter(|case| case.can_be_explained()).take(EXPLAINED) {
            found.explained += 1;
            let arguments = case.explain(&etc);
            let (out, ..) = self.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            let (told, expected) = (verdict(&out), case.get("reply"));
            if told != expected {
                let line = arguments.join(" ");
                found.differences.push(format!("explain: {line}: {told:?}, not {expected:?}"));
            }
        }
    }
}

/// The refusal that an explanation tells, if it tells one.
fn verdict(text: &str) -> Option<String> {
    let replies: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  → ")).collect();
    let refused = replies.iter().position(|reply| !reply.starts_with(['2', '3']))?;
    let more = replies[refused..].iter().take_while(|reply| reply.as_bytes().get(3) == Some(&b'-')).count();
    Some(replies[refused..=refused + more].join("\n"))
}

/// A case as it was written.
struct Case<'a>(&'a str);

impl Case<'_> {
    fn raw(&self, key: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
    }

    fn get(&self, key: &str) -> Option<String> {
        unquoted(self.raw(key)?)
    }

    /// Without policy services, which answer otherwise at another time, by a client whose name can be given.
    fn can_be_explained(&self) -> bool {
        self.raw("client_name").is_some()
            && self.get("helo").is_some_and(|helo| !helo.is_empty())
            && self.raw("earlier").is_none()
            && self.raw("until").is_none()
            && ["client_port", "reverse_name", "smtputf8"].iter().all(|key| self.raw(key).is_none())
            && !self.0.contains("[case.policy]")
    }

    fn explain(&self, etc: &str) -> Vec<String> {
        let mut arguments = vec!["explain".to_owned(), "-c".to_owned(), etc.to_owned()];
        for (key, option) in [
            ("service", "--service"),
            ("client", "--client"),
            ("client_name", "--name"),
            ("helo", "--helo"),
            ("sender", "--sender"),
            ("recipient", "--recipient"),
            ("login", "--login"),
        ] {
            if let Some(text) = self.get(key) {
                arguments.push(format!("{option}={text}"));
            }
        }
        if let Some(size) = self.raw("size") {
            arguments.push(format!("--size={size}"));
        }
        if self.raw("protocol").is_some() {
            arguments.push("--smtp".to_owned());
        }
        arguments
    }
}

/// A TOML text without its quotes.
fn unquoted(text: &str) -> Option<String> {
    let mut letters = text.strip_prefix('"')?.chars();
    let mut out = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(out),
            '\\' => out.push(match letters.next()? {
                'n' => '\n',
                't' => '\t',
                'u' => {
                    let code: String = letters.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&code, 16).ok()?)?
                }
                other => other,
            }),
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_verdicts() {
        assert_eq!(unquoted(r#""a \"b\" \\\n\u0001" # x"#), Some("a \"b\" \\\n\u{1}".to_owned()));
        assert_eq!(unquoted("7"), None);
        let text = "x\nconnect\n  → 220 a\nRCPT\n    → 550 no\n  → 550-one\n  → 550 two\nlater\n  → 250 b\n";
        assert_eq!(verdict(text), Some("550-one\n550 two".to_owned()));
        assert_eq!(verdict("  → 250 a\n"), None);
    }
}
