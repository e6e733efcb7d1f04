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
    let address = |n: usize| format!("{}.{}.{}.{}", 10 + n % 2, n >> 16 & 255, n >> 8 & 255, n & 255);
    let user = |n: usize| format!("user{n}@example{}.com", n % 194);
    measure(&directory, "texthash:text", count, 200_000, user);
    measure(&directory, "cidr:hosts", count, 200_000, address);
    measure(&directory, "cidr:mixed", count, 200_000, address);
    for rules in [10, 100, 1000, 10_000] {
        let name = format!("rules{rules}");
        write(&name, &(0..rules).map(|n| rule(n) + "\n").collect::<String>());
        for kind in ["pcre", "regexp"] {
            measure(&directory, &format!("{kind}:{name}"), rules, 20_000, |n| match n % 4 {
                0 => format!("user{n}@mail.domain{}.test", n + n % 3),
                1 => format!("Subject: buy our free pills{n} or others, {} in all, as long as they last", n * 7),
                2 => format!("Received: from mx{n}.host-{n}.example.org (unknown [192.0.2.7]) by mx.relay.test"),
                _ => format!("someone.else{n}@another-domain.example"),
            });
        }
    }
    let _ = std::fs::remove_dir_all(directory);
}

/// Loads a table and asks it; keys are made of numbers up to the number of entries.
fn measure(directory: &std::path::Path, spec: &str, count: usize, times: usize, key: impl Fn(usize) -> String) {
    let keys: Vec<String> = (0..20_000).map(|n| key(n * 7919 % count)).collect();
    let before = memory();
    let start = Instant::now();
    let (set, diagnostics) = TableSet::open([(spec, true)], OpenOptions::new(directory));
    let loaded = start.elapsed();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let memory = memory().saturating_sub(before);
    let start = Instant::now();
    let mut hits = 0;
    for key in keys.iter().cycle().take(times) {
        hits += usize::from(matches!(black_box(set.lookup(0, black_box(key))), Ok(Some(_))));
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / times as f64;
    let (bytes, percent) = (memory * 1024 / count, hits * 100 / times);
    println!(
        "{spec:16} loads in {loaded:9.3?}, {memory:7} KiB ({bytes} bytes an entry), {each:8.2} µs a look-up, {percent}% hits"
    );
}

/// The program's memory, KiB.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
