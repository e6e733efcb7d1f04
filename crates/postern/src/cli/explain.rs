//! `postern explain`.

use crate::daemon::server;
use crate::daemon::site::{self, Service, Site, Source};
use crate::explain::{Fixed, Inquiry, Live, Story, Style, alternatives, answered, asked, from_log_line, tell};
use crate::rehearsal::{Stuck, Zone};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use policy::ProgramKind;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// What to explain.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory with main.cf and master.cf
    #[arg(long, short = 'c', value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// The service in master.cf (without it: the first one)
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// The client's name (without it, DNS is asked)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The name that its address has in DNS; without --name, one that nothing verifies
    #[arg(long, value_name = "NAME")]
    reverse: Option<String>,
    /// Its port
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The name it says in EHLO
    #[arg(long, value_name = "NAME")]
    helo: Option<String>,
    /// It says HELO instead
    #[arg(long)]
    smtp: bool,
    /// The envelope sender; empty is <>
    #[arg(long, short = 'f', value_name = "ADDRESS")]
    sender: Option<String>,
    /// A recipient; may be given again
    #[arg(long, short = 't', value_name = "ADDRESS")]
    recipient: Vec<String>,
    /// It has logged in as
    #[arg(long, value_name = "USER")]
    login: Option<String>,
    /// It talks TLS
    #[arg(long)]
    tls: bool,
    /// It has shown a certificate under TLS; the fingerprint is that of the certificate or of its key
    #[arg(long, value_name = "FINGERPRINT")]
    certificate: Option<String>,
    /// Somebody in smtpd_tls_CAfile has issued the certificate
    #[arg(long, requires = "certificate")]
    trusted: bool,
    /// The message's size in bytes, as in SIZE=
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// A header of the message, as in 'Subject: hello'; may be given again
    #[arg(long, value_name = "HEADER", conflicts_with = "message")]
    header: Vec<String>,
    /// The whole message, from this file
    #[arg(long, value_name = "FILE")]
    message: Option<PathBuf>,
    /// Answer DNS questions from this file (a record a line: `name TYPE data`)
    #[arg(long, value_name = "FILE")]
    dns: Option<PathBuf>,
    /// Ask neither DNS nor policy services, and tell what hinges on them
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print each service's restrictions in the order of evaluation instead
    #[arg(long)]
    policy: bool,
    /// A line of the mail log to take the facts from
    #[arg(value_name = "LOG LINE", trailing_var_arg = true)]
    log_line: Vec<String>,
}

/// Explain.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (site, problems) = site::load(&Source::new(arguments.config_dir.as_deref()));
    server::report(&problems);
    let Some(site) = site else { bail!("the configuration has errors (see above)") };
    if arguments.policy {
        print!("{}", program(&site));
        return Ok(ExitCode::SUCCESS);
    }
    let service = match &arguments.service {
        Some(name) => site.service(name).ok_or_else(|| {
            let known: Vec<&str> = site.services.iter().map(|service| &*service.name).collect();
            anyhow!("master.cf has no smtpd service \"{name}\"; it has: {}", known.join(", "))
        })?,
        None => site.services.first().cloned().context("master.cf has no smtpd service")?,
    };
    let inquiry = inquiry(arguments)?;
    let story = story(&site, &service, &inquiry, arguments)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&story)?);
    } else {
        print!("{}", story.print(Style::of_stdout()));
    }
    Ok(if story.accepted { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn inquiry(arguments: &Arguments) -> Result<Inquiry> {
    let mut inquiry = match arguments.log_line.is_empty() {
        true => Inquiry::default(),
        false => from_log_line(&arguments.log_line.join(" ")).map_err(|problem| anyhow!(problem))?,
    };
    if let Some(address) = arguments.client {
        (inquiry.address, inquiry.name) = (Some(address), None);
    }
    inquiry.reverse = arguments.reverse.clone();
    inquiry.port = arguments.port;
    inquiry.certificate = arguments.certificate.clone();
    inquiry.trusted = arguments.trusted;
    inquiry.name = arguments.name.clone().or(inquiry.name);
    inquiry.helo = arguments.helo.clone().or(inquiry.helo);
    inquiry.plain_smtp |= arguments.smtp;
    inquiry.sender = arguments.sender.clone().unwrap_or(inquiry.sender);
    if !arguments.recipient.is_empty() {
        inquiry.recipients.clone_from(&arguments.recipient);
    }
    inquiry.login = arguments.login.clone().or(inquiry.login);
    inquiry.tls |= arguments.tls;
    inquiry.size = arguments.size;
    if let Some(path) = &arguments.message {
        inquiry.message = std::fs::read(path).with_context(|| path.display().to_string())?;
    } else if !arguments.header.is_empty() {
        inquiry.message = (arguments.header.join("\n") + "\n\n").into_bytes();
    }
    if inquiry.address.is_none() {
        bail!("who is the client? Give --client ADDRESS, or a line of the mail log");
    }
    if inquiry.recipients.is_empty() {
        bail!("who is the recipient? Give --recipient ADDRESS");
    }
    inquiry.helo.get_or_insert_with(|| inquiry.name.clone().unwrap_or_else(|| "client.example".to_owned()));
    Ok(inquiry)
}

fn story(site: &Site, service: &Arc<Service>, inquiry: &Inquiry, arguments: &Arguments) -> Result<Story> {
    let zone = match &arguments.dns {
        None => None,
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
            let lines = (1..).zip(text.lines().map(str::to_owned));
            let lines: Vec<_> = lines.filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#')).collect();
            Some(Zone::empty(&name, &lines).map_err(|problem| anyhow!(problem))?)
        }
    };
    if zone.is_none() && !arguments.offline {
        let mut live = Live::new(site, service)?;
        return tell(site, service, inquiry, &mut live).map_err(stuck);
    }
    let mut world = Fixed::new(&site.tables, zone.as_ref());
    let mut story = tell(site, service, inquiry, &mut world).map_err(stuck)?;
    for question in world.met {
        let quiet = Fixed::new(&site.tables, None).assumption(&question);
        let mut unknown = crate::explain::Unknown {
            question: asked(site, &question),
            assumed: answered(&quiet).0,
            otherwise: Vec::new(),
        };
        for (case, answer) in alternatives(&question) {
            let mut world = Fixed::new(&site.tables, zone.as_ref());
            world.assumed.insert(question.clone(), answer);
            let other = tell(site, service, inquiry, &mut world).map_err(stuck)?;
            if other.verdict != story.verdict {
                unknown.otherwise.push((case, other.verdict));
            }
        }
        story.unknown.push(unknown);
    }
    Ok(story)
}

fn stuck(stuck: Stuck) -> anyhow::Error {
    match stuck {
        Stuck::Question(question) => anyhow!("nobody answers {question:?}"),
        Stuck::Impossible(text) => anyhow!(text),
    }
}

/// Every service's lists in the order of evaluation, with the origin of each line.
fn program(site: &Site) -> String {
    let mut out = String::new();
    for service in &site.services {
        let _ = writeln!(out, "service {}", service.name);
        for list in service.plan.program() {
            let origin = match service.parameters.origin(&list.name) {
                Some(span) => span.to_string(),
                None => "default".to_owned(),
            };
            let _ = writeln!(out, "  {} at {}  [{origin}]", list.name, list.when);
            print_items(&mut out, service, &list, 4);
        }
    }
    out
}

fn print_items(out: &mut String, service: &Service, list: &policy::ProgramList, indent: usize) {
    if list.items.is_empty() {
        let _ = writeln!(out, "{:indent$}(nothing)", "");
    }
    let mut prefix = String::new();
    for item in &list.items {
        if matches!(item.kind, ProgramKind::Prefix) {
            prefix.push_str(&item.text);
            prefix.push(' ');
            continue;
        }
        let place = match &item.span {
            Some(span) if span.column > 0 => format!("{span}:{}", span.column),
            Some(span) => span.to_string(),
            None => "default".to_owned(),
        };
        let what = match &item.kind {
            ProgramKind::Restriction(entry) => entry.summary.to_owned(),
            ProgramKind::Class(_) => "class".to_owned(),
            ProgramKind::Table => "access table".to_owned(),
            ProgramKind::Broken(problem) => format!("refuses everything: {problem}"),
            ProgramKind::Prefix => String::new(),
        };
        let _ = writeln!(out, "{:indent$}{prefix}{}  [{place}]  {what}", "", item.text);
        prefix.clear();
        if let ProgramKind::Class(name) = &item.kind
            && indent < 20
            && let Some(class) = service.plan.program_class(name)
        {
            print_items(out, service, &class, indent + 2);
        }
    }
}
