//! `postern logins`: whose mail is held because a login looks taken over, and an end to that.

use super::postqueue::settings;
use crate::clock;
use crate::queue_control::{Access, Problem, Request};
use crate::sasl::takeover::HeldLogin;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  postern logins -c /etc/postfix                             whose mail is held, until when, and why
  postern logins -c /etc/postfix --release jo@example.com    jo has another password now
  postern logins -c /etc/postfix --release jo@example.com --client 192.0.2.7
                                                             and may try again from there

What is on hold already stays there: postern postqueue -p lists it, postern postsuper -H releases it, -d deletes it.";

/// Which server, and what of it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Directory with main.cf and master.cf
    #[arg(long, short = 'c', value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long, conflicts_with = "release")]
    json: bool,
    /// Hold nothing against this login any more: neither signs of a takeover nor failed logins
    #[arg(long, value_name = "LOGIN")]
    release: Option<String>,
    /// With --release: nor failed logins from this address
    #[arg(long, value_name = "ADDRESS", requires = "release")]
    client: Option<IpAddr>,
}

/// Ask the running server. Exit status 1 when there was nothing to release.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (parameters, is_default) = settings(arguments.config_dir.clone()).map_err(|text| anyhow!(text))?;
    let mut access = Access::open(&parameters, is_default).map_err(|Problem(text)| anyhow!(text))?;
    if access.is_down() {
        bail!("no server runs with this configuration: what is held against logins is forgotten when it ends");
    }
    let mut ask = |request| {
        let mut lines = Vec::new();
        access.ask(request, &mut |line| lines.push(line.to_owned())).map_err(|Problem(text)| anyhow!(text))?;
        Ok::<_, anyhow::Error>(lines)
    };
    if let Some(login) = &arguments.release {
        if login.is_empty() || login.contains(['\r', '\n']) {
            bail!("--release: {login:?} is no login");
        }
        let done = ask(Request::ReleaseLogin(login.clone(), arguments.client))?;
        done.iter().for_each(|line| println!("{login}: {line}"));
        if done.is_empty() {
            eprintln!("{login}: nothing is held against it");
            return Ok(ExitCode::FAILURE);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let held: Vec<HeldLogin> =
        ask(Request::Logins)?.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&held)?);
    } else if held.is_empty() {
        println!("no login looks taken over");
    }
    if !arguments.json {
        let now = clock::unix_seconds();
        for HeldLogin { login, seconds, sign } in held {
            println!("{login}: {sign}: its mail is held until {}", clock::local_stamp(now + seconds));
        }
    }
    Ok(ExitCode::SUCCESS)
}
