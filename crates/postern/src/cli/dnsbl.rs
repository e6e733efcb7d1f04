//! `postern dnsbl`: do the DNS lists of a configuration work?

use crate::daemon::server;
use crate::daemon::site::{self, Source};
use crate::dns::Learnt;
use crate::dns_lists::{Health, examine};
use crate::record::{Reader, directory};
use anyhow::{Result, bail};
use clap::Args;
use policy::DnsList;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Whose lists.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory with main.cf and master.cf
    #[arg(long, short = 'c', value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Examine all lists at once. Exit status 1 when one of them doesn't work.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let source = Source::new(arguments.config_dir.as_deref());
    let (site, problems) = site::load(&source);
    let Some(site) = site else {
        server::report(&problems);
        bail!("the configuration has errors (see above)")
    };
    let mut lists: Vec<DnsList> = Vec::new();
    for list in site.services.iter().flat_map(|service| service.plan.dns_lists()) {
        if !lists.contains(&list) {
            lists.push(list);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found: Vec<Health> = runtime.block_on(async {
        let resolver = server::resolver(&site, &Arc::new(Learnt::default()));
        futures_util::future::join_all(lists.iter().map(|list| examine(list, &resolver))).await
    });
    // Without a record there is nothing to count.
    if let Ok(records) = Reader::open(&directory(&site::parameters(&source)?)) {
        for record in records {
            found.iter_mut().for_each(|health| health.count(&record));
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        found.iter().for_each(|health| println!("{}", health.line()));
    }
    Ok(if found.iter().all(Health::is_well) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
