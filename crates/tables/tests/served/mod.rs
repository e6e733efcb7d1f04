//! What the tests of tables in databases and directories share: look-ups by this crate and by Postfix's own postmap(1),
//! and servers that fail.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tables::{OpenOptions, Opened, Table, open};

/// What a look-up gives; of errors only that there was one, and its text.
pub type Found = Result<Option<String>, String>;

/// Opens `KIND:DIR/table.cf` with this text.
pub fn table(dir: &Path, kind: &str, text: &str) -> Opened {
    let path = dir.join("table.cf");
    std::fs::write(&path, text).expect("a file");
    let options = OpenOptions::new(dir);
    open(&format!("{kind}:{}", path.display()), &options).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

/// Looks up.
pub fn get(table: &dyn Table, key: &str) -> Found {
    table.get(key).map(|value| value.map(|value| value.to_string())).map_err(|error| error.to_string())
}

/// Is Postfix there, with this type of table? Says so if it isn't.
fn has_postmap(kind: &str) -> bool {
    let types = Command::new("postconf").arg("-m").output();
    let there = types.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).lines().any(|line| line == kind));
    if !there {
        testkit::tools::skipped(&format!("comparison of {kind} tables"), &format!("package postfix-{kind} is missing"));
    }
    there
}

/// What postmap finds.
fn postmap(spec: &str, key: &str) -> Found {
    let out = Command::new("postmap").args(["-q", key, spec]).output().expect("postmap runs");
    let text = String::from_utf8_lossy(&out.stdout).trim_end_matches('\n').to_owned();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    match (out.status.success(), errors.contains("fatal: ")) {
        (true, _) => Ok(Some(text)),
        (false, false) => Ok(None),
        (false, true) => Err(errors),
    }
}

/// Look-ups in one table: its attributes, and keys with what they give (a part of the text, for errors).
pub type Case<'c> = (&'c str, &'c [(&'c str, Result<Option<&'c str>, &'c str>)]);

/// Looks up all keys here and with postmap, the cases side by side: a postmap that fails takes a second to say so.
pub fn compare(dir: &Path, kind: &'static str, common: &str, cases: &[Case<'_>]) {
    let also_postmap = has_postmap(kind);
    std::thread::scope(|scope| {
        for (number, case) in cases.iter().enumerate() {
            scope.spawn(move || {
                let dir = dir.join(format!("case{number}"));
                std::fs::create_dir_all(&dir).expect("a directory");
                compare_case(&dir, kind, common, case, also_postmap);
            });
        }
    });
}

fn compare_case(dir: &Path, kind: &str, common: &str, (attributes, keys): &Case<'_>, also_postmap: bool) {
    let opened = table(dir, kind, &format!("{common}\n{attributes}\n"));
    for (key, expected) in *keys {
        let found = get(&*opened.table, key);
        match (&found, expected) {
            (Ok(value), Ok(wanted)) => assert_eq!(value.as_deref(), *wanted, "{attributes}\n{key}"),
            (Err(text), Err(part)) => assert!(text.contains(part), "{attributes}\n{key}: {text}"),
            _ => panic!("{attributes}\n{key}: {found:?} in place of {expected:?}"),
        }
        if also_postmap {
            match (found, postmap(&format!("{kind}:{}", dir.join("table.cf").display()), key)) {
                (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "ours and Postfix's: {attributes}\n{key}"),
                (Ok(ours), Err(theirs)) => panic!("{attributes}\n{key}: {ours:?}, but Postfix: {theirs}"),
                (Err(ours), Ok(theirs)) => panic!("{attributes}\n{key}: {ours}, but Postfix: {theirs:?}"),
                (Err(_), Err(_)) => {}
            }
        }
    }
}

/// A server that accepts connections and never says a word.
#[allow(dead_code, reason = "real servers can be stopped for a while, too")]
pub fn silent() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// Does something, and says how long it took.
pub fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (act(), begin.elapsed())
}

/// How many connections to a port of 127.0.0.1 there are.
pub fn connections(port: u16) -> usize {
    let text = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let local = format!("0100007F:{port:04X}");
    let peer = |line: &'_ str| {
        let words: Vec<&str> = line.split_whitespace().take(4).collect();
        (words.get(1) == Some(&local.as_str()) && words.get(3) == Some(&"01")).then(|| words[2].to_owned())
    };
    // A busy kernel may show a line twice.
    text.lines().filter_map(peer).collect::<std::collections::BTreeSet<_>>().len()
}

/// Looks a key up in 32 threads at once, again and again, and checks that there were never too many connections.
pub fn crowd(table: &dyn Table, port: u16, key: &str, value: &str) {
    let most = std::thread::scope(|scope| {
        let ask = || {
            for _ in 0..20 {
                assert_eq!(get(table, key), Ok(Some(value.to_owned())));
            }
            connections(port)
        };
        let threads: Vec<_> = (0..32).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).max()
    });
    assert!(most.is_some_and(|most| (1..=8).contains(&most)), "{most:?} connections");
}

/// What the ends of servers look like: `kill`, then errors at once, then `start_again`, then values again.
pub fn outage(table: &dyn Table, (key, value): (&str, &str), kill: impl FnOnce(), start_again: impl FnOnce()) {
    let right = Ok(Some(value.to_owned()));
    assert_eq!(get(table, key), right);
    kill();
    for _ in 0..3 {
        let (found, took) = timed(|| get(table, key));
        let error = found.expect_err("the server is down");
        assert!(!error.contains("secret") && took < Duration::from_secs(1), "{error} after {took:?}");
    }
    start_again();
    assert!(testkit::wait_until(Duration::from_secs(10), || get(table, key) == right), "{:?}", get(table, key));
}
