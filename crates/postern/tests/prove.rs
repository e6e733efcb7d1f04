//! What `postern prove` prints, word for word: `tests/prove/NAME.cf` is a main.cf, `NAME.out` what is proved of it (or what the
//! options in `NAME.args` ask for). With `POSTERN_RECORD=1` they are written anew. Every witness is replayed with the command line that is printed for it.

use std::path::{Path, PathBuf};
use std::process::Command;

const MASTER: &str = "smtp inet n - n - - smtpd\n";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// The output with the directory shown as /etc/postfix, and the exit status.
fn postern(config: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_postern")).args(arguments).current_dir(config).output().expect("postern runs");
    let here = config.canonicalize().expect("the directory is there").display().to_string();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text.replace(&format!("{here}/"), "/etc/postfix/"), output.status.code())
}

/// Compare with the recording, and replay the witness.
fn check(name: &str, config: &Path) {
    let more = std::fs::read_to_string(directory().join(format!("prove/{name}.args"))).unwrap_or_default();
    let words = ["prove", "-c", ".", "--write-dns", "witness.zone"].into_iter().chain(more.split_whitespace());
    let (text, status) = postern(config, &words.collect::<Vec<_>>());
    let path = directory().join(format!("prove/{name}.out"));
    if std::env::var_os("POSTERN_RECORD").is_some() {
        std::fs::write(&path, &text).expect("writable");
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
    if !more.is_empty() {
        assert_eq!(status, Some(0), "{name}");
        return;
    }
    let word = text.lines().find_map(|line| line.strip_prefix("service smtp: ")).unwrap_or_default();
    let expected = [("closed", 0), ("OPEN", 1), ("unknown", 2)].into_iter().find(|(known, _)| *known == word);
    assert_eq!(status, expected.map(|(_, status)| status), "{name}: {text}");
    let Some(again) = text.lines().find_map(|line| line.trim().strip_prefix("See why: postern ")) else {
        assert_ne!(word, "OPEN", "{name}");
        return;
    };
    let words: Vec<&str> = again.split(' ').map(|word| word.trim_matches('\'')).collect();
    let (story, status) = postern(config, &words);
    assert!(status == Some(0) && story.contains("\nAccepted\n"), "{name}: {again}\n{story}");
}

#[test]
fn recordings() {
    let mut names = 0;
    for entry in std::fs::read_dir(directory().join("prove")).expect("there") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "cf") {
            continue;
        }
        let config = tempfile::tempdir().expect("a directory");
        std::fs::copy(&path, config.path().join("main.cf")).expect("readable");
        std::fs::write(config.path().join("master.cf"), MASTER).expect("writable");
        check(&path.file_stem().expect("named").to_string_lossy(), config.path());
        names += 1;
    }
    assert!(names > 15);
}

/// The open relay of SMTPD_ACCESS_README; the order that closes it, and the relay list that does.
#[test]
fn the_open_relay_and_its_fixes() {
    const NO_LIST: &str = "smtpd_relay_restrictions =\n";
    const LIST: &str = "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n";
    for (name, site, relay) in [
        ("readme-open", "readme-open", NO_LIST),
        ("readme-fixed", "readme-fixed", NO_LIST),
        ("readme-relay-list", "readme-open", LIST),
    ] {
        let site = directory().join("sites").join(site);
        let config = tempfile::tempdir().expect("a directory");
        let here = config.path().canonicalize().expect("there").display().to_string();
        for file in ["main.cf", "master.cf", "helo_access"] {
            let text = std::fs::read_to_string(site.join(file)).expect("readable");
            std::fs::write(config.path().join(file), text.replace("/etc/postfix", &here).replace(NO_LIST, relay))
                .expect("writable");
        }
        check(name, config.path());
    }
}

#[test]
fn json_has_the_same_verdict() {
    let config = tempfile::tempdir().expect("a directory");
    std::fs::copy(directory().join("prove/mx-backup.cf"), config.path().join("main.cf")).expect("readable");
    std::fs::write(config.path().join("master.cf"), MASTER).expect("writable");
    let (text, status) = postern(config.path(), &["prove", "-c", ".", "--json"]);
    let end = text.rfind("\n]").expect("a list") + 2;
    let proofs: serde_json::Value = serde_json::from_str(&text[..end]).expect("JSON");
    assert_eq!((status, &proofs[0]["verdict"]), (Some(1), &serde_json::json!("open")));
    assert_eq!(proofs[0]["witness"]["recipient"], "victim@elsewhere.example");
    assert!(proofs[0]["witness"]["dns"].as_array().is_some_and(|records| !records.is_empty()));
}

/// What can't be examined is neither closed nor open.
#[test]
fn broken_configurations_are_unknown() {
    let config = tempfile::tempdir().expect("a directory");
    std::fs::write(config.path().join("main.cf"), "smtpd_relay_restrictions = permit_nothing\n").expect("writable");
    std::fs::write(config.path().join("master.cf"), MASTER).expect("writable");
    let (text, status) = postern(config.path(), &["prove", "-c", "."]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.ends_with("postern: the configuration has errors (see above): nothing would be served\n"), "{text}");
}
