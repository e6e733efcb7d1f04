//! What `postern lint` prints, word for word: `tests/lint/NAME/out`. With `POSTERN_RECORD=1` they are written anew.
//!
//! A folder is copied first. `setup` in it has lines `mode OCTAL FILE`, `time SECONDS FILE`, `postmap ARGUMENT…`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

fn postern(directory: &Path, arguments: &[&str]) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("postern runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.code().expect("an exit status"))
}

/// A copy whose files only their owner and group can read, whatever the umask was.
fn copy(from: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    fs::set_permissions(copy.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = copy.path().join(entry.file_name());
        fs::copy(entry.path(), &to).expect("a file");
        fs::set_permissions(&to, PermissionsExt::from_mode(0o640)).expect("permissions");
    }
    let setup = fs::read_to_string(from.join("setup")).unwrap_or_default();
    for line in setup.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["mode", mode, file] => {
                let mode = u32::from_str_radix(mode, 8).expect("an octal number");
                fs::set_permissions(copy.path().join(file), PermissionsExt::from_mode(mode)).expect("permissions");
            }
            ["time", seconds, file] => {
                let file = fs::File::options().append(true).open(copy.path().join(file)).expect("a file");
                let seconds = Duration::from_secs(seconds.parse().expect("a number"));
                file.set_modified(SystemTime::UNIX_EPOCH + seconds).expect("a time");
            }
            ["postmap", ..] => assert_eq!(postern(copy.path(), &words), (String::new(), 0), "{line}"),
            _ => panic!("{line}"),
        }
    }
    copy
}

fn lint(folder: &Path, options: &[&str]) -> (String, i32) {
    let copy = copy(folder);
    let (text, status) = postern(copy.path(), &[&["lint", "-c", "."], options].concat());
    let here = copy.path().canonicalize().expect("a directory").display().to_string();
    (text.replace(&here, "/etc/postfix"), status)
}

fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join("tests/lint")).expect("tests/lint");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    folders
}

#[test]
fn recordings() {
    for folder in folders() {
        let name = folder.file_name().expect("a name").display().to_string();
        let (text, status) = lint(&folder, &[]);
        if std::env::var_os("POSTERN_RECORD").is_some() {
            fs::write(folder.join("out"), &text).expect("writable");
        }
        let recorded = fs::read_to_string(folder.join("out")).unwrap_or_default();
        assert_eq!(text, recorded, "{name}");
        let last = text.lines().last().unwrap_or_default();
        let want = match last {
            _ if !last.starts_with("0 errors") => 2,
            _ if !last.contains(" 0 warnings") => 1,
            _ => 0,
        };
        assert_eq!(status, want, "{name}: {last}");
    }
}

/// Codes that no configuration shows, and where they are tested.
const ELSEWHERE: [(&str, &str); 17] = [
    ("bad-address", "crates/config/src/match_list.rs"),
    ("bad-pattern", "crates/config/src/match_list.rs"),
    ("bad-table", "crates/config/src/table_ref.rs"),
    ("bad-tempfail-action", "crates/policy/src/plan_tests.rs"),
    ("host-bits-set", "crates/config/src/match_list.rs"),
    ("list-too-long", "crates/config/src/match_list.rs"),
    ("proxy-not-allowed", "crates/tables/src/small.rs"),
    ("table-changed", "crates/tables/src/set.rs"),
    ("table-kept", "crates/tables/src/set.rs"),
    ("table-line-too-long", "crates/tables/src/lines.rs"),
    ("table-nesting", "crates/tables/src/open.rs"),
    ("table-tls", "crates/tables/src/client/tls.rs"),
    ("table-too-large", "crates/tables/src/file/text.rs"),
    ("table-warnings", "crates/tables/src/lines.rs"),
    ("tls-stale", "crates/postern/src/tls/settings.rs"),
    ("trusted-gateway", "crates/postern/src/lint/networks.rs"),
    ("unreadable", "crates/postern/tests/lint.rs"),
];

#[test]
fn every_code_has_a_case() {
    let mut shown = BTreeSet::new();
    for folder in folders() {
        let text = fs::read_to_string(folder.join("out")).unwrap_or_default();
        let heads =
            text.lines().filter(|line| ["error[", "warning[", "note["].iter().any(|head| line.starts_with(head)));
        shown.extend(heads.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned())));
    }
    for (code, file) in ELSEWHERE {
        let text = fs::read_to_string(repository().join(file)).unwrap_or_default();
        assert!(text.contains(code), "{code} isn't in {file}");
    }
    for code in postern::lint::codes::all() {
        let elsewhere = ELSEWHERE.iter().any(|(name, _)| *name == code.name);
        assert!(shown.contains(code.name) != elsewhere, "{}: in exactly one of tests/lint and ELSEWHERE", code.name);
    }
    for code in shown {
        assert!(postern::lint::codes::find(&code).is_some(), "{code} isn't in crates/postern/src/lint/codes.txt");
    }
}

#[test]
fn the_page_has_every_code() {
    let page = fs::read_to_string(repository().join("docs/lint.md")).expect("docs/lint.md");
    let codes = postern::lint::codes::page();
    assert!(page.ends_with(&codes), "append the output of `postern lint --codes` to docs/lint.md");
}

#[test]
fn what_ships_with_postern_is_clean() {
    let here = repository();
    assert_eq!(postern(&here, &["lint"]), ("0 errors, 0 warnings\n".to_owned(), 0));
}

#[test]
fn codes_are_denied_and_allowed() {
    let folder = repository().join("tests/lint/settings");
    let (text, status) = lint(&folder, &["--deny", "soft-bounce", "--allow", "not-acted-on,unknown-parameter"]);
    assert_eq!(status, 2);
    assert!(text.contains("error[soft-bounce]: "), "{text}");
    assert!(!text.contains("[not-acted-on]") && !text.contains("[unknown-parameter]"), "{text}");
    let (text, status) = lint(&repository().join("tests/lint/open-relay"), &["--allow", "open-relay"]);
    assert!(status == 2 && text.contains("error[open-relay]: "), "what keeps from starting can't be allowed: {text}");
    let unknown = "postern: there is no code \"nonesuch\": docs/lint.md has them all\n".to_owned();
    assert_eq!(lint(&folder, &["--deny", "nonesuch"]), (unknown, 1));
}

#[test]
fn programs_get_json() {
    let (text, status) = lint(&repository().join("tests/lint/open-relay"), &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &report["counts"]["errors"]), (2, &1.into()));
    let problem = &report["problems"][0];
    assert_eq!((&problem["code"], &problem["severity"]), (&"open-relay".into(), &"error".into()));
    assert_eq!((&problem["file"], &problem["line"]), (&"/etc/postfix/main.cf".into(), &5.into()));
}

#[test]
fn check_is_another_name_for_it_and_codes_are_explained() {
    let here = repository();
    assert_eq!(postern(&here, &["check"]), postern(&here, &["lint"]));
    let (text, status) = postern(&here, &["lint", "--explain", "number-permits"]);
    assert!(status == 0 && text.starts_with("number-permits (warning)\n\n"), "{text}");
    let (text, status) = postern(&here, &["lint", "-c", "/nowhere/at/all"]);
    assert!(status == 2 && text.contains("error[unreadable]: cannot read /nowhere/at/all/main.cf"), "{text}");
}

/// Words that look like codes and aren't.
const OTHER_WORDS: [&str; 22] = [
    "milter-discard",
    "milter-hold",
    "milter-reject",
    "content-length",
    "ed25519-sha256",
    "forward-secrecy",
    "loopback-only",
    "mailer-daemon",
    "message-id",
    "mutual-auth",
    "rsa-sha256",
    "non-numeric",
    "out-of-range",
    "quoted-printable",
    "raw-string",
    "resent-bcc",
    "resent-message-id",
    "return-path",
    "trivial-rewrite",
    "unix-dgram",
    "utf-8",
    "undeliverable-but-not-cached",
];

#[test]
fn every_code_in_the_program_is_in_the_registry() {
    for crate_name in ["config", "policy", "tables", "message", "postern"] {
        let mut folders = vec![repository().join("crates").join(crate_name).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|extension| extension == "rs") {
                    check_source(&entry);
                }
            }
        }
    }
}

/// Codes stand as first arguments of `error(`, `warning(`, `note(`, `told(`, `add(line,` and in tuples.
fn check_source(path: &Path) {
    let text = fs::read_to_string(path).expect("a source");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    for (at, _) in text.match_indices('"') {
        let word = text[at + 1..].split('"').next().unwrap_or_default();
        let is_code = word.contains('-')
            && word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let before = text[..at].trim_end();
        let openers =
            ["error(", "warning(", "note(", "told(", "diagnostic(", "Some((", "=> (", "=> ", "add(line,", ".number,"];
        let is_first = openers.iter().any(|opener| before.ends_with(opener.trim_end()));
        // the words of Milters' log lines
        let is_other = OTHER_WORDS.contains(&word) || word.starts_with("milter-");
        if is_code && is_first && !is_other {
            assert!(postern::lint::codes::find(word).is_some(), "{word} in {}", path.display());
        }
    }
}

/// The sites of the conformance tests, as they would be in /etc/postfix.
fn site(name: &str) -> Vec<String> {
    let copy = copy(&repository().join("tests/sites").join(name));
    let here = copy.path().canonicalize().expect("a directory").display().to_string();
    for file in ["main.cf", "master.cf"] {
        let path = copy.path().join(file);
        let text = fs::read_to_string(&path).expect("a file");
        fs::write(&path, text.replace("/etc/postfix", &here)).expect("writable");
    }
    let (text, _) = postern(copy.path(), &["lint", "-c", ".", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let problems = report["problems"].as_array().expect("problems").iter();
    let shown = problems.filter(|problem| problem["severity"] != "note").map(|problem| {
        let code = problem["code"].as_str().unwrap_or_default();
        let file = problem["file"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        format!("{code} {file}:{}", problem["line"])
    });
    shown.collect()
}

#[test]
fn sites_are_told_what_is_right() {
    for (name, want) in [
        ("readme-open", &["permit-before-relay-check main.cf:17"][..]),
        ("readme-fixed", &[]),
        (
            "readme",
            &["dnsbl-without-filter main.cf:49", "dnsbl-without-filter main.cf:50", "dnsbl-without-filter main.cf:51"],
        ),
        ("wiki", &["dnsbl-without-filter main.cf:42", "dnsbl-without-filter main.cf:43"]),
        (
            "era210",
            &[
                "no-compatibility-level main.cf:null",
                "deprecated-name main.cf:45",
                "deprecated-name main.cf:48",
                "deprecated-name main.cf:49",
                "deprecated-name main.cf:50",
                "dnsbl-without-filter main.cf:61",
            ],
        ),
    ] {
        assert_eq!(site(name), want, "{name}");
    }
}

#[test]
fn a_reload_tells_warnings_and_no_notes() {
    let copy = copy(&repository().join("tests/lint/relay"));
    let main = copy.path().join("main.cf");
    let text = fs::read_to_string(&main).expect("main.cf");
    fs::write(&main, text + "soft_bounce = yes\nqueue_directory = $config_directory/spool\n").expect("writable");
    let (text, status) = postern(copy.path(), &["reload", "-c", "."]);
    assert!(text.contains("[permit-before-relay-check]") && !text.contains("[soft-bounce]"), "{text}");
    // The warnings didn't keep it from looking for the server.
    assert!(status == 1 && text.contains("no server is running with this queue_directory"), "{text}");
}
