//! The arrows between the crates, as ARCHITECTURE.md draws them.

use std::collections::BTreeSet;
use std::process::Command;

/// Which crate may use which, ordinary dependencies only.
const ARROWS: &[(&str, &[&str])] = &[
    ("postern-smtp", &[]),
    ("postern-config", &[]),
    ("postern-policy", &["postern-smtp", "postern-config"]),
    ("postern-message", &["postern-smtp", "postern-policy"]),
    ("postern-tables", &["postern-config"]),
    ("postern-queue", &["postern-smtp"]),
];

#[test]
fn crates_use_only_what_they_may() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (name, allowed) in ARROWS {
        let output = Command::new(&cargo)
            .args(["tree", "--offline", "--edges", "normal", "--depth", "1", "--prefix", "none", "--format", "{p}"])
            .args(["--package", name, "--manifest-path", manifest])
            .output()
            .expect("cargo tree runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let used: BTreeSet<&str> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split(' ').next())
            .filter(|package| package.starts_with("postern"))
            .collect();
        let extra: Vec<&&str> = used.iter().filter(|package| !allowed.contains(package)).collect();
        assert!(extra.is_empty(), "{name} must not use {extra:?}");
    }
}
