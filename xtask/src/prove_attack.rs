//! `cargo xtask prove-attack`: the attack test of `postern prove`, at length.

use crate::project::{self, number};

/// Runs it; did everything that was proved closed hold?
pub fn run(args: &[String]) -> Result<bool, String> {
    let (mut policies, mut sessions, mut seed) = (200_u64, 100_000_u64, 1_u64);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--policies" => policies = number(&mut args, arg)?,
            "--sessions" => sessions = number(&mut args, arg)?,
            "--seed" => seed = number(&mut args, arg)?,
            _ => return Err(format!("prove-attack: unknown option {arg}")),
        }
    }
    let words = ["test", "--release", "--quiet", "--package", "postern", "--test", "prove_attack", "--", "--nocapture"];
    let status = project::cargo(&words)
        .env("POSTERN_ATTACK_POLICIES", policies.to_string())
        .env("POSTERN_ATTACK_SESSIONS", sessions.to_string())
        .env("POSTERN_ATTACK_SEED", seed.to_string())
        .status();
    status.map(|status| status.success()).map_err(|error| format!("cargo: {error}"))
}
