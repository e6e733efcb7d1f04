//! `postern prove`.

use crate::daemon::server;
use crate::daemon::site::{self, Service, Source};
use crate::explain::Style;
use crate::prove::{Proof, Verdict, prove, quoted, what_blocks, who_can_send_as};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// What to prove.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory with main.cf and master.cf
    #[arg(long, short = 'c', value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Only this service in master.cf
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Instead: which clients and logins can use senders of this domain
    #[arg(long, value_name = "DOMAIN")]
    who_can_send_as: Option<String>,
    /// Instead: every table entry and restriction that can refuse mail from or to this address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "who_can_send_as")]
    what_blocks: Option<String>,
    /// Write the DNS records of the witness into this file
    #[arg(long, value_name = "FILE")]
    write_dns: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is not proved, whatever the reason.
const UNKNOWN: u8 = 2;

/// Prove. What can't be examined isn't closed, and isn't open either.
pub fn run(arguments: &Arguments) -> ExitCode {
    run_or_fail(arguments).unwrap_or_else(|error| {
        eprintln!("postern: {error:#}");
        ExitCode::from(UNKNOWN)
    })
}

fn run_or_fail(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (site, problems) = site::load(&Source::new(arguments.config_dir.as_deref()));
    server::report(&problems);
    let Some(site) = site else { anyhow::bail!("the configuration has errors (see above): nothing would be served") };
    let services: Vec<Arc<Service>> = match &arguments.service {
        None => site.services.clone(),
        Some(name) => site.services.iter().filter(|service| *service.name == **name).cloned().collect(),
    };
    if services.is_empty() {
        let known: Vec<&str> = site.services.iter().map(|service| &*service.name).collect();
        anyhow::bail!("master.cf has no such smtpd service; it has: {}", known.join(", "));
    }
    if let Some(domain) = &arguments.who_can_send_as {
        let found: Vec<_> = services.iter().map(|service| who_can_send_as(&site, service, domain)).collect();
        return show(arguments.json, &found, |found| found.print(Style::of_stdout()));
    }
    if let Some(address) = &arguments.what_blocks {
        let found: Vec<_> = services.iter().map(|service| what_blocks(&site, service, address)).collect();
        return show(arguments.json, &found, |found| found.print(Style::of_stdout(), address));
    }
    let proofs: Vec<Proof> = services.iter().map(|service| prove(&site, service)).collect();
    if let (Some(path), Some(witness)) = (&arguments.write_dns, proofs.iter().find_map(|proof| proof.witness.as_ref()))
    {
        std::fs::write(path, witness.dns.join("\n") + "\n")?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&proofs)?);
    } else {
        for proof in &proofs {
            print!("{}", proof.print(Style::of_stdout(), &again(arguments, &proof.service), &zone_file(arguments)));
        }
    }
    Ok(ExitCode::from(status(&proofs)))
}

fn show<T: Serialize>(json: bool, found: &[T], print: impl Fn(&T) -> String) -> anyhow::Result<ExitCode> {
    match json {
        true => println!("{}", serde_json::to_string_pretty(found)?),
        false => found.iter().for_each(|found| print!("{}", print(found))),
    }
    Ok(ExitCode::SUCCESS)
}

fn status(proofs: &[Proof]) -> u8 {
    let any = |verdict| proofs.iter().any(|proof| proof.verdict == verdict);
    match (any(Verdict::Open), any(Verdict::Unknown)) {
        (true, _) => 1,
        (false, true) => UNKNOWN,
        (false, false) => 0,
    }
}

/// How the command line of `explain` begins.
fn again(arguments: &Arguments, service: &str) -> String {
    let dir = arguments.config_dir.as_ref().map(|dir| format!(" -c {}", quoted(&dir.display().to_string())));
    format!("postern explain{} --service {}", dir.unwrap_or_default(), quoted(service))
}

fn zone_file(arguments: &Arguments) -> String {
    arguments.write_dns.as_ref().map_or_else(|| "FILE".into(), |path| path.display().to_string())
}
