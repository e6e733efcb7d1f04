//! How fast tables load and answer, and what memory they take: `cargo run --release --example lookup_speed [COUNT]`.
//!
//! `lookup_speed query TYPE:NAME` does what `postmap -q - TYPE:NAME` does: a key a line in, the keys that were found out,
//! each with its value.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{BufRead, BufWriter, Write};
use std::time::Instant;
use tables::{OpenOptions, TableSet};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["query", spec] => query(spec),
        ["measure", spec, count] => measure(spec, count.parse().expect("a number of entries")),
        [] => show(1_000_000),
        [count] => show(count.parse().expect("a number of entries")),
        _ => panic!("lookup_speed [COUNT | query TYPE:NAME]"),
    }
}

fn query(spec: &str) {
    let (set, diagnostics) = TableSet::open([(spec, true)], OpenOptions::new("/"));
    diagnostics.iter().for_each(|diagnostic| eprintln!("{}", diagnostic.message));
    let mut out = BufWriter::new(std::io::stdout().lock());
    for key in std::io::stdin().lock().lines().map_while(Result::ok) {
        if let Ok(Some(value)) = set.lookup(0, &key) {
            writeln!(out, "{key}\t{value}").expect("standard output");
        }
    }
}

/// A rule of a table of patterns, in the manner of those that people have.
fn rule(n: usize) -> String {
    match n % 5 {
        0 => format!("/^user{n}@.*\\.domain{n}\\.test$/ REJECT user {n}"),
        1 => format!("/@(mx[0-9]*\\.)?shop-{n}\\.(com|net|org)$/ REJECT shop"),
        2 => format!("/^Subject:.*(cheap|free) +pills{n}/ REJECT $1"),
        3 => format!("/^Received: from [^ ]*\\.host-{n}\\.example\\.net/ REJECT"),
        _ => format!("/^(list|news)-[0-9]+-bulk{n}@/ REJECT"),
    }
}

fn show(count: usize) {
    let directory = std::env::temp_dir().join(format!("lookup-speed-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for the tables");
    let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).expect("a table");
    let (mut text, mut hosts, mut mixed) = (String::new(), String::new(), String::new());
    for n in 0..count {
        let _ = writeln!(text, "user{n}@example{}.com\tREJECT number {n} is refused", n % 97);
        let address = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
        let _ = writeln!(hosts, "{address} REJECT {n}");
        let line = match n % 1000 {
            0 => "if 10.0.0.0/8".to_owned(),
            500 => "!8.0.0.0/5 outside".to_owned(),
            999 => "endif".to_owned(),
            _ => format!("{address}/32 REJECT"),
        };
        let _ = writeln!(mixed, "{line}");
    }
    write("text", &text);
    write("hosts", &hosts);
    write("mixed", &mixed);
    let path = |name: &str| directory.join(name).display().to_string();
    for spec in ["texthash:text", "cidr:hosts", "cidr:mixed"] {
        let (kind, name) = spec.split_once(':').expect("a table");
        measure_alone(&format!("{kind}:{}", path(name)), count);
    }
    for rules in [10, 100, 1000, 10_000] {
        let name = format!("rules{rules}");
        write(&name, &(0..rules).map(|n| rule(n) + "\n").collect::<String>());
        for kind in ["pcre", "regexp"] {
            measure_alone(&format!("{kind}:{}", path(&name)), rules);
        }
    }
    let _ = std::fs::remove_dir_all(directory);
}

/// In a process of its own, so that memory is not what others have left.
fn measure_alone(spec: &str, count: usize) {
    let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
    let status = command.args(["measure", spec, &count.to_string()]).status();
    assert!(status.expect("a process").success());
}

/// Keys made of numbers up to the number of entries; about half of those of networks and senders are in the table.
fn key(kind: &str, n: usize) -> String {
    match (kind, n % 4) {
        ("cidr", _) => format!("{}.{}.{}.{}", 10 + n % 2, n >> 16 & 255, n >> 8 & 255, n & 255),
        ("texthash", _) => format!("user{n}@example{}.com", n % 194),
        (_, 0) => format!("user{n}@mail.domain{}.test", n + n % 3),
        (_, 1) => format!("Subject: buy our free pills{n} or others, {} in all, as long as they last", n * 7),
        (_, 2) => format!("Received: from mx{n}.host-{n}.example.org (unknown [192.0.2.7]) by mx.relay.test"),
        _ => format!("someone.else{n}@another-domain.example"),
    }
}

/// Loads a table and asks it.
fn measure(spec: &str, count: usize) {
    const TIMES: usize = 200_000;
    let kind = spec.split(':').next().unwrap_or_default();
    let keys: Vec<String> = (0..20_000).map(|n| key(kind, n * 7919 % count)).collect();
    let before = memory();
    let start = Instant::now();
    let (set, diagnostics) = TableSet::open([(spec, true)], OpenOptions::new("/"));
    let loaded = start.elapsed();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let memory = memory().saturating_sub(before);
    let start = Instant::now();
    let mut hits = 0;
    for key in keys.iter().cycle().take(TIMES) {
        hits += usize::from(matches!(black_box(set.lookup(0, black_box(key))), Ok(Some(_))));
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / TIMES as f64;
    let (bytes, percent) = (memory * 1024 / count, hits * 100 / TIMES);
    let name = spec.rsplit('/').next().unwrap_or_default();
    println!(
        "{kind:8} {name:10} loads in {loaded:9.3?}, {memory:7} KiB ({bytes} bytes an entry), {each:6.2} µs a look-up, {percent}% hits"
    );
}

/// The program's memory, KiB.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
