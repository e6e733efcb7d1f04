//! Compares what `postconf` prints with what the real one printed: `tests/data/*/expected`, written by
//! `tests/data/record.sh`. Standard output is compared byte for byte, standard error as a set of lines, because the
//! real one writes it in the order of its hash tables.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::Path;

use config::postconf::{Options, Output, run};
use config::{HostFacts, MainCf, MasterCf};

#[derive(Debug, Default, PartialEq)]
struct Case {
    args: String,
    stdout: String,
    stderr: Vec<String>,
    exit: u8,
}

fn read_cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(args) = line.strip_prefix("$ postconf ") {
            cases.push(Case { args: args.to_owned(), ..Case::default() });
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(line) = line.strip_prefix("| ") {
            case.stdout.push_str(line);
            case.stdout.push('\n');
        } else if let Some(line) = line.strip_prefix("! ") {
            case.stderr.push(line.to_owned());
        } else if let Some(status) = line.strip_prefix("= ") {
            case.exit = status.parse().expect("exit status");
        }
    }
    cases
}

fn run_case(dir: &Path, args: &str) -> Output {
    let words: Vec<&str> = args.split_whitespace().collect();
    let options = match Options::parse(&words) {
        Ok(options) => options,
        Err(misuse) => {
            let stderr = misuse.lines().iter().map(|line| format!("postconf: {line}\n")).collect();
            return Output { stderr, exit: 1, ..Output::default() };
        }
    };
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("configuration file");
    let (main, _) = MainCf::parse("./main.cf", &read("main.cf"));
    let (master, _) = MasterCf::parse("./master.cf", &read("master.cf"));
    let host = HostFacts {
        config_directory: Some(".".to_owned()),
        process_name: "postconf".to_owned(),
        ..HostFacts::named("localhost")
    };
    run(&options, Some(&main), Some(&master), &host)
}

#[test]
fn output_is_that_of_the_real_one() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut compared = 0;
    let mut wrong = Vec::new();
    let mut names: Vec<_> = fs::read_dir(&data).expect("data").map(|entry| entry.expect("entry").path()).collect();
    names.sort();
    for dir in names.into_iter().filter(|path| path.is_dir()) {
        let text = fs::read_to_string(dir.join("expected")).expect("expected");
        for want in read_cases(&text) {
            let output = run_case(&dir, &want.args);
            let mut stderr: Vec<String> = output.stderr.lines().map(str::to_owned).collect();
            stderr.sort();
            let mut sorted = want.stderr.clone();
            sorted.sort();
            let got = Case { args: want.args.clone(), stdout: output.stdout, stderr, exit: output.exit };
            let want = Case { stderr: sorted, ..want };
            compared += 1;
            if got != want {
                wrong.push(difference(&dir, &want, &got));
            }
        }
    }
    assert!(compared > 300, "only {compared} cases");
    assert!(wrong.is_empty(), "{} of {compared} differ\n{}", wrong.len(), wrong.join("\n"));
}

fn difference(dir: &Path, want: &Case, got: &Case) -> String {
    let mut text = format!("{}: postconf {}\n", dir.file_name().unwrap_or_default().display(), want.args);
    let pairs = [
        (want.stdout.lines().collect::<Vec<_>>(), got.stdout.lines().collect::<Vec<_>>()),
        (want.stderr.iter().map(String::as_str).collect(), got.stderr.iter().map(String::as_str).collect()),
    ];
    for (want, got) in pairs {
        want.iter().filter(|line| !got.contains(line)).for_each(|line| text.push_str(&format!("  -{line}\n")));
        got.iter().filter(|line| !want.contains(line)).for_each(|line| text.push_str(&format!("  +{line}\n")));
    }
    text.push_str(&format!("  exit {} and {}\n", want.exit, got.exit));
    text
}
