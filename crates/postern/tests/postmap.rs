//! Compares postmap and postalias with what Postfix's own did: `postmap/*/expected`, written by `postmap/record.sh`.
//! The program is called through links named `postmap` and `postalias`.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// What a case showed, as `expected` has it.
fn run(line: &str, dir: &Path, tools: &Path) -> Vec<u8> {
    let (words, input) = line.split_once(" < ").unwrap_or((line, ""));
    let mut words = words.split(' ');
    let mut command = Command::new(tools.join(words.next().unwrap_or_default()));
    command.args(words).current_dir(dir).env("MAIL_CONFIG", ".");
    command.stdin(if input.is_empty() { Stdio::null() } else { File::open(dir.join(input)).expect("input").into() });
    let output = command.output().expect("the program");
    let mut shown = format!("$ {line}\n").into_bytes();
    for (mark, text) in [("| ", &output.stdout), ("! ", &output.stderr)] {
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            shown.extend([mark.as_bytes(), line].concat());
        }
    }
    shown.extend(format!("= {}\n", output.status.code().expect("exit status")).bytes());
    shown
}

/// Is it known to be another? Postfix 3.12 has an option more than the recorded version.
fn normal(shown: Vec<u8>) -> Vec<u8> {
    String::from_utf8(shown)
        .map(|text| text.replace("[-bfFhijmnNoprsuUvw]", "[-bfFhimnNoprsuUvw]").into_bytes())
        .unwrap_or_else(|raw| raw.into_bytes())
}

fn check(name: &str, tools: &Path) -> (usize, String) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postmap").join(name);
    let work = tempfile::tempdir().expect("directory");
    let past = SystemTime::now() - Duration::from_secs(3600);
    for entry in fs::read_dir(&home).expect("cases").flatten() {
        let copy = work.path().join(entry.file_name());
        fs::copy(entry.path(), &copy).expect("copy");
        File::options().append(true).open(&copy).expect("copy").set_modified(past).expect("time");
    }
    let expected = fs::read(home.join("expected")).expect("expected");
    let cases = fs::read_to_string(home.join("cases")).expect("cases");
    let (mut rest, mut wrong) = (&expected[..], String::new());
    for case in cases.lines() {
        let got = normal(run(case, work.path(), tools));
        let ends = |at: &usize| *at == rest.len() || rest[*at..].starts_with(b"\n$ post");
        let end = (1..=rest.len()).find(ends).unwrap_or(rest.len());
        let end = (end + 1).min(rest.len());
        let want = &rest[..end];
        rest = &rest[end..];
        if got != want {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            wrong.push_str(&format!("{name}:\n--- Postfix\n{}--- ours\n{}", text(want), text(&got)));
        }
    }
    (cases.lines().count(), wrong)
}

#[test]
fn commands_do_what_the_real_ones_did() {
    let tools = tempfile::tempdir().expect("directory");
    for name in ["postmap", "postalias"] {
        symlink(env!("CARGO_BIN_EXE_postern"), tools.path().join(name)).expect("link");
    }
    let names = ["aliases", "create", "errors", "message", "query", "update"];
    let results = names.map(|name| check(name, tools.path()));
    let wrong: String = results.iter().map(|(_, wrong)| wrong.as_str()).collect();
    assert!(wrong.is_empty(), "{wrong}");
    let compared: usize = results.iter().map(|(cases, _)| cases).sum();
    assert!(compared > 140, "only {compared} cases");
}

/// What Postfix 3.12 has and the recorded version doesn't.
#[test]
fn newer_than_the_recordings() {
    let (tools, work) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
    for name in ["postmap", "postalias"] {
        symlink(env!("CARGO_BIN_EXE_postern"), tools.path().join(name)).expect("link");
    }
    fs::write(work.path().join("main.cf"), "compatibility_level = 3.12\n").expect("main.cf");
    fs::write(work.path().join("t"), "k \"v\"\\x\nl caf\u{e9}\n").expect("source");
    fs::write(work.path().join("a"), "\"two words\": x\n\"plain\": y\n").expect("aliases");
    fs::write(work.path().join("keys"), "l\nk\nnosuch\n").expect("keys");
    for (line, shown) in [
        ("postmap btree:t", "= 0\n"),
        ("postmap -j -q k btree:t", "| {\"k\": \"\\\"v\\\"\\\\x\"}\n= 0\n"),
        ("postmap -j -q - btree:t < keys", "| {\"l\": \"caf\u{e9}\"}\n| {\"k\": \"\\\"v\\\"\\\\x\"}\n= 0\n"),
        ("postmap -js btree:t", "| {\"k\": \"\\\"v\\\"\\\\x\"}\n| {\"l\": \"caf\u{e9}\"}\n= 0\n"),
        ("postalias cdb:a", "= 0\n"),
        ("postalias -q plain cdb:a", "| y\n= 0\n"),
        ("postalias -q two cdb:a", "= 1\n"),
        (
            "postmap dbm:t",
            "! postmap: fatal: unsupported dictionary type: dbm; use hash, btree, lmdb or cdb in its place\n= 1\n",
        ),
        (
            "postmap -q k sdbm:t",
            "! postmap: fatal: unsupported dictionary type: sdbm; use hash, btree, lmdb or cdb in its place\n= 1\n",
        ),
    ] {
        let got = String::from_utf8(run(line, work.path(), tools.path())).expect("UTF-8");
        assert_eq!(got, format!("$ {line}\n{shown}"));
    }
    let quoted = Command::new(tools.path().join("postalias"))
        .args(["-q", "\"two words\"", "cdb:a"])
        .current_dir(work.path())
        .env("MAIL_CONFIG", ".")
        .output()
        .expect("the program");
    assert_eq!(quoted.stdout, b"x\n");
}
