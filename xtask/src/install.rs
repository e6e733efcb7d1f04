//! What the tests need from the system, and installing it on Debian.

use std::path::Path;
use std::process::{Command, Stdio};

use testkit::tools::{PACKAGES, find, is_root};

/// Installs what is missing when that can be done; says what stays missing and what is skipped because of it.
pub fn run(skips: &Path) -> Result<(), String> {
    let missing: Vec<_> = PACKAGES.iter().filter(|(_, program, _)| find(program).is_none()).collect();
    let all = PACKAGES.iter().map(|(package, ..)| *package).collect::<Vec<_>>().join(" ");
    if missing.is_empty() {
        println!("all there: {all}");
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(package, ..)| *package).collect();
    if is_root() && find("apt-get").is_some() {
        println!("the tests need: {all}\ninstalling: {}", names.join(" "));
        // without the lists of packages nothing can be installed on a new machine
        apt(&["update", "-qq"])?;
        let mut install =
            vec!["install", "-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"];
        install.extend(&names);
        return apt(&install);
    }
    println!("not root on Debian, so nothing is installed. As root: apt-get install {}", names.join(" "));
    for (package, _, what) in missing {
        testkit::tools::skipped_into(Some(skips), what, &format!("package {package} is missing"));
    }
    Ok(())
}

fn apt(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    // no debconf question may stop the run, and no daemon may be started by an installation
    let output = command.env("RUNLEVEL", "1").output().map_err(|e| format!("apt-get: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Err(format!("apt-get {}:\n{text}", args.join(" ")))
}
