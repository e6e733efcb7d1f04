//! The walks in docs/*.md are true: what a page shows of a command is what it prints.
//!
//! A block that begins with `console SITE` has commands (`$ postern …`) and their output, on the configuration in the
//! directory SITE of the project. A line `…` stands for any number of lines. With POSTERN_RECORD=1 outputs without such a
//! line are written anew. Files `new-NAME` of a site are `new/NAME`, its policy tests are in `policy-tests`, and its file
//! `sessions` has what the decision record knows.

mod held;

use held::{Scene, hold};
use postern::daemon::site::{self, Source};
use postern::maillog::{Log, Target};
use postern::record::{Recorder, Settings};
use postern::rehearsal::Zone;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The site in a directory of its own, with its policy tests and the decisions of its sessions.
fn stage(site: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path().display().to_string();
    let source = project().join(site);
    for entry in std::fs::read_dir(&source).unwrap_or_else(|error| panic!("{site}: {error}")) {
        let entry = entry.expect("readable");
        let text = std::fs::read_to_string(entry.path()).expect("text").replace("/etc/postfix", &here);
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = match name.strip_prefix("new-") {
            Some(name) => directory.path().join("new").join(name),
            None => directory.path().join(name),
        };
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("writable");
    }
    let name = source.file_name().expect("a name").to_string_lossy().into_owned();
    let cases = project().join("tests/policy").join(format!("{name}.toml"));
    if cases.exists() {
        std::fs::create_dir(directory.path().join("policy-tests")).expect("a directory");
        std::fs::copy(cases, directory.path().join("policy-tests").join(format!("{name}.toml"))).expect("a copy");
    }
    if directory.path().join("sessions").exists() {
        record(directory.path());
    }
    directory
}

/// Sessions of a file: `client helo sender recipient`, and what policy services say, or `-` where they are silent.
fn record(directory: &Path) {
    let text = |name: &str| std::fs::read_to_string(directory.join(name)).expect("readable");
    let (site, problems) = site::load(&Source::new(Some(directory)));
    let site = Arc::new(site.unwrap_or_else(|| panic!("{problems:?}")));
    let zone = text("zone");
    let lines: Vec<(usize, String)> = (1..).zip(zone.lines().map(str::to_owned)).collect();
    let zone = Zone::empty("zone", &lines).expect("a zone");
    let (log, _writer) = Log::open(&Target::Stderr, "mail").expect("a log");
    let recorder = Recorder::start(Settings::of(&site), Vec::new(), log).expect("a thread");
    let (recorder, thread) = recorder.expect("decisions are kept");
    for (number, line) in (0..).zip(text("sessions").lines()) {
        let [client, helo, sender, recipient, says] = line.splitn(5, ' ').collect::<Vec<_>>()[..] else {
            panic!("five words: {line}")
        };
        let said = [format!("EHLO {helo}"), format!("MAIL FROM:<{sender}>"), format!("RCPT TO:<{recipient}>")];
        let lines: Vec<&str> = said.iter().map(String::as_str).collect();
        let says = if says == "-" { Err("connect to 127.0.0.1:10023: Connection refused") } else { Ok(says) };
        hold(&site, &zone, number, &Scene { client, login: None, actions: &[says], lines: &lines }, &recorder);
    }
    recorder.stop();
    thread.join().expect("the thread ends");
}

/// The words of a command line; `'…'` keeps some together.
fn words(line: &str) -> Vec<String> {
    let pieces = line.split('\'').enumerate();
    let mut words = Vec::new();
    for (number, piece) in pieces {
        match number % 2 {
            0 => words.extend(piece.split_whitespace().map(ToOwned::to_owned)),
            _ => words.push(piece.to_owned()),
        }
    }
    words
}

fn run(command: &str, directory: &Path) -> String {
    let here = directory.display().to_string();
    let arguments: Vec<String> = words(command).into_iter().map(|word| word.replace("/etc/postfix", &here)).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_postern")).args(&arguments).current_dir(directory).output();
    let output = output.expect("postern runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    steady(&text.replace(&here, "/etc/postfix"))
}

/// Without what differs from run to run: how long it took.
fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        match line.split_once(" failed in ") {
            Some((before, _)) => out += &format!("{before} failed in 0.005 s\n"),
            None if line.ends_with(" decisions a second") => {}
            None => out += &format!("{line}\n"),
        }
    }
    out.trim_end().to_owned() + "\n"
}

/// Is that what was shown?
fn agrees(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line.trim() == "…" => (0..=printed.len()).any(|skip| agrees(rest, &printed[skip..])),
        Some((line, rest)) => printed.first() == Some(line) && agrees(rest, &printed[1..]),
    }
}

/// The outputs of a page, checked; and the page as it should be.
fn check(page: &str, text: &str, failures: &mut Vec<String>) -> (String, usize) {
    let (mut out, mut count) = (String::new(), 0);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        out += &format!("{line}\n");
        let Some(site) = line.strip_prefix("```console ") else { continue };
        let directory = stage(site);
        while let Some(command) = lines.next_if(|line| *line != "```") {
            out += &format!("{command}\n");
            let Some(arguments) = command.strip_prefix("$ postern ") else {
                failures.push(format!("{page}: output without a command: {command}"));
                continue;
            };
            let mut shown = Vec::new();
            while let Some(line) = lines.next_if(|line| *line != "```" && !line.starts_with("$ ")) {
                shown.push(line);
            }
            let printed = run(arguments, directory.path());
            count += 1;
            let gap = if lines.peek().is_some_and(|line| line.starts_with("$ ")) { "\n" } else { "" };
            let elided = shown.iter().any(|line| line.trim() == "…");
            let bare: Vec<&str> = match shown.split_last() {
                Some((&"", rest)) => rest.to_vec(),
                _ => shown.clone(),
            };
            if !agrees(&bare, &printed.lines().collect::<Vec<_>>()) {
                failures.push(format!("{page}: {command}\n-- shown\n{}\n-- printed\n{printed}", bare.join("\n")));
            }
            match elided {
                true => shown.iter().for_each(|line| out += &format!("{line}\n")),
                false => out += &format!("{printed}{gap}"),
            }
        }
    }
    (out, count)
}

#[test]
fn pages_show_what_commands_print() {
    let mut failures = Vec::new();
    for (page, least) in [
        ("authentication.md", 1),
        ("explain.md", 4),
        ("lint.md", 2),
        ("prove.md", 4),
        ("sasl.md", 3),
        ("test.md", 3),
        ("why.md", 2),
    ] {
        let path = project().join("docs").join(page);
        let text = std::fs::read_to_string(&path).expect("the page is there");
        let (anew, count) = check(page, &text, &mut failures);
        if std::env::var_os("POSTERN_RECORD").is_some() && anew != text {
            std::fs::write(&path, anew).expect("writable");
        }
        assert!(count >= least, "{page}: only {count} commands are shown");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn elisions_stand_for_lines() {
    let printed = ["a", "b", "c"];
    for (shown, same) in [
        (&["a", "b", "c"][..], true),
        (&["a", "…", "c"], true),
        (&["  …"], true),
        (&["…", "c"], true),
        (&["a", "…", "b"], false),
        (&["a", "b"], false),
        (&["a", "b", "c", "d"], false),
    ] {
        assert_eq!(agrees(shown, &printed), same, "{shown:?}");
    }
    assert_eq!(words("why 'a b' -c x"), ["why", "a b", "-c", "x"]);
}
