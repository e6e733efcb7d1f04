//! How long a big table takes to load and to answer: `cargo run --release --example lookup_speed`.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;
use tables::{OpenOptions, TableSet};

const ENTRIES: usize = 100_000;

fn main() {
    let directory = std::env::temp_dir().join(format!("lookup-speed-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for the tables");
    let (mut text, mut rules) = (String::new(), String::new());
    for number in 0..ENTRIES {
        let _ = writeln!(text, "user{number}@example{}.com\tREJECT number {number} is refused", number % 97);
        let _ = writeln!(rules, "10.{}.{}.{}/32 r{number}", number >> 16, number >> 8 & 255, number & 255);
    }
    std::fs::write(directory.join("t"), text).expect("the table");
    std::fs::write(directory.join("c"), rules).expect("the rules");
    std::fs::write(directory.join("r"), "/^user[0-9]+x@/ REJECT\n".repeat(20)).expect("the patterns");
    for spec in ["hash:t", "cidr:c", "regexp:r", "pcre:r"] {
        let start = Instant::now();
        let (set, diagnostics) = TableSet::open([(spec, true)], OpenOptions::new(&directory));
        let loaded = start.elapsed();
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        println!("{spec:9} loaded in {loaded:?}");
        let hit = |n: usize| match spec {
            "cidr:c" => format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255),
            _ => format!("user{n}@example{}.com", n % 97),
        };
        measure(&set, "hit", 20_000, hit);
        measure(&set, "hit, few keys", 200, hit);
        measure(&set, "miss", 20_000, |n| {
            if spec == "cidr:c" { format!("11.0.{}.1", n % 256) } else { format!("other{n}@example.net") }
        });
    }
    let _ = std::fs::remove_dir_all(directory);
}

fn measure(set: &TableSet, what: &str, keys: usize, key: impl Fn(usize) -> String) {
    let keys: Vec<String> = (0..keys).map(|n| key(n * 7919 % ENTRIES)).collect();
    let start = Instant::now();
    for key in keys.iter().cycle().take(200_000) {
        let _ = black_box(set.lookup(0, black_box(key)));
    }
    println!("          {what}: {:?} each", start.elapsed() / 200_000);
}
