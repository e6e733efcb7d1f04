//! Where the project is, and building it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top directory of the project.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Cargo, in the project's directory.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Where the release program is, or will be once built.
pub fn release_program() -> PathBuf {
    target().join("release/postern")
}

/// Where `cargo test` leaves the program.
pub fn debug_program() -> PathBuf {
    target().join("debug/postern")
}

fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    root().join(target)
}

/// Builds the release program and says where it is.
pub fn build_release() -> Result<PathBuf, String> {
    let built = cargo(&["build", "--release", "--package", "postern"]).status();
    match built.map_err(|e| format!("cannot run cargo: {e}"))?.success() {
        true => Ok(release_program()),
        false => Err("the release build failed".to_owned()),
    }
}

/// The value after an option.
pub fn value<'a>(args: &mut impl Iterator<Item = &'a String>, option: &str) -> Result<&'a str, String> {
    args.next().map(String::as_str).ok_or_else(|| format!("{option} needs a value"))
}

/// The number after an option.
pub fn number<'a, T: std::str::FromStr>(
    args: &mut impl Iterator<Item = &'a String>,
    option: &str,
) -> Result<T, String> {
    value(args, option)?.parse().map_err(|_| format!("{option} needs a number"))
}
