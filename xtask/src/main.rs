//! The project's checks, by hand or by CI: `cargo xtask help` lists them.

mod agreement;
mod bench;
mod conformance;
mod install;
mod project;
mod prove_attack;
mod random;
mod random_tools;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask test          everything that must hold: install what tests need (as root on Debian), fmt, clippy,
                          cargo test, release build, end-to-end checks, conformance, some random scenarios
cargo xtask conformance   the program against what Postfix 3.12 did
    --only GLOB           scenarios of that name          --area A,B    scenarios of those areas
    --postern PATH        this program (else target/release/postern, built first)
    --postfix             the installed Postfix in place of postern (as root): checks the runner itself
    --jobs N (6)          scenarios at a time             --lines N (24)  lines of difference shown for each
cargo xtask conformance --random N
                          N random scenarios on the installed Postfix and on postern, side by side (as root)
    --seed S (1)          the same seed gives the same scenarios
    --first N (0)         begin with this one             --keep DIR      write down those that differ, made small
    --jobs N (8)          --postern PATH                  --lines N (24)
    --no-minimise         show and keep them as they are
cargo xtask prove-attack  random policies, each attacked by random sessions: what `postern prove` calls closed must hold
    --policies N (200)    --sessions N (100000)           --seed S (1)
cargo xtask conformance --random-postmap N, --random-postconf N
                          N random uses of Postfix's commands and of ours, in turn
    --seed S (1)          --first N (0)    --postern PATH    --lines N (24)
cargo xtask agreement     random policies are served to random sessions; what the decision record has of them must come out
                          the same when it is replayed, played as cases (postern test --record), and explained
    --scenarios N (200)   --seed S (1)     --first N (0)     --jobs N (8)     --postern PATH
    --show                show scenarios that don't agree
cargo xtask bench         postern beside the installed Postfix and smtp-sink (as root; else postern alone)
    --cells A,B           of reject, accept, idle, dns30, start, lookups, headers, access, policy,
                          tls, record, tools
    --rounds N (3)        --quick  one short round        --postern PATH
cargo xtask help
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("test") if rest.is_empty() => test::run(),
        Some("conformance") => conformance::run(rest),
        Some("bench") => bench::run(rest),
        Some("agreement") => agreement::run(rest),
        Some("prove-attack") => prove_attack::run(rest),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            Ok(true)
        }
        Some(other) => Err(format!("no such task: {other} {}\n{HELP}", rest.join(" "))),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}
