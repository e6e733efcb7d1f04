//! `postern postconf`: postconf(1) on the command line; the printing and editing themselves are the config crate's.

use crate::cli::{DEFAULT_MAIN_CF, DEFAULT_MASTER_CF};
use crate::daemon::site::host_facts;
use anyhow::{Context, Result};
use config::postconf::{self, Mode, Options};
use config::{MainCf, MasterCf};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
Print or change settings, with postconf(1)'s options and output.

Usage: postern postconf [-c DIR] [OPTIONS] [NAME...]

  -n         only what main.cf sets          -d         the defaults
  -h / -H    values only / names only        -x         expand $name
  -f         fold long lines                 -j         JSON lines
  -M         entries of master.cf            -F / -P    their fields / their -o settings
  -C CLASS   builtin, service, user, all     -o N=V     as if main.cf said so
  -e N=V     change main.cf (with -M, -F, -P: master.cf)
  -# NAME    comment out                     -X NAME    remove
  -m -l -a -A   table types, lock methods, SASL types
  -q         no warnings

  postern postconf -n -c /etc/postfix
  postern postconf -x -h smtpd_banner
  postern postconf -Mf submission/inet

Without -c (or MAIL_CONFIG) it shows postern's default configuration.";

fn file_text(dir: Option<&Path>, name: &str, default: &'static str) -> Result<Option<(String, String)>> {
    let Some(dir) = dir else { return Ok(Some((name.to_owned(), default.to_owned()))) };
    let path = dir.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Run postconf with these arguments.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if arguments.first().is_some_and(|a| a == "--help") {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(misuse) => {
            misuse.lines().iter().for_each(|line| eprintln!("postconf: {line}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let dir = options.config_directory.clone().or_else(|| std::env::var("MAIL_CONFIG").ok()).map(PathBuf::from);
    let dir = dir.as_deref();
    if options.is_edit() {
        return edit(&options, dir);
    }
    let main = file_text(dir, "main.cf", DEFAULT_MAIN_CF)?.map(|(name, text)| MainCf::parse(&name, &text).0);
    let master = file_text(dir, "master.cf", DEFAULT_MASTER_CF)?.map(|(name, text)| MasterCf::parse(&name, &text).0);
    let output = postconf::run(&options, main.as_ref(), master.as_ref(), &host_facts(dir));
    std::io::stdout().write_all(output.stdout.as_bytes())?;
    std::io::stderr().write_all(output.stderr.as_bytes())?;
    Ok(ExitCode::from(output.exit))
}

fn edit(options: &Options, dir: Option<&Path>) -> Result<ExitCode> {
    let fatal = |problem: String| {
        eprintln!("{}", postconf::message("fatal", &problem));
        Ok(ExitCode::FAILURE)
    };
    let edits = match options.edits() {
        Ok(edits) => edits,
        Err(problem) => return fatal(problem),
    };
    let dir = dir.context("name the configuration to change with -c DIR")?;
    let name = if options.mode == Mode::Main { "main.cf" } else { "master.cf" };
    let path = dir.join(name);
    let file = path.display().to_string();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Postfix begins with the new file.
            let what = if dir.is_dir() { format!("{file} for reading") } else { format!("{file}.tmp") };
            return fatal(format!("open {what}: No such file or directory"));
        }
        Err(error) => return Err(error).with_context(|| format!("reading {file}")),
    };
    let edited = match options.mode {
        Mode::Main => Ok(postconf::edit_main(&file, &text, &edits)),
        mode => postconf::edit_master(&file, &text, mode, &edits),
    };
    let new = match edited {
        Ok(edited) => {
            for warning in edited.warnings {
                eprintln!("{}", postconf::message("warning", &warning));
            }
            edited.text
        }
        Err(problem) => return fatal(problem),
    };
    if new != text {
        // Written beside and renamed: a crash leaves the old file or the new one.
        let temporary = dir.join(format!("{name}.tmp"));
        std::fs::write(&temporary, &new).with_context(|| format!("writing {}", temporary.display()))?;
        std::fs::set_permissions(&temporary, std::fs::metadata(&path)?.permissions())?;
        std::fs::rename(&temporary, &path).with_context(|| format!("replacing {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
