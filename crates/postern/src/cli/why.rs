//! `postern why`: a decision of the past, with its reasons.

use crate::daemon::site::{self, Source};
use crate::explain::Style;
use crate::record::{Bound, Code, Reader, Record, directory};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Which decisions.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A code from a reply, a queue id, an address (sender or recipient), a client's IP address or name
    #[arg(value_name = "CODE|QUEUE-ID|ADDRESS|IP")]
    key: String,
    /// Directory with main.cf and master.cf
    #[arg(long, short = 'c', value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Only what was decided since: 90m, 2h, 3d, or 2026-11-22T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// The last so many
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    limit: usize,
    /// Print JSON, a decision a line
    #[arg(long)]
    json: bool,
}

/// Tell. Exit status 1 when there is nothing to tell.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let parameters = site::parameters(&Source::new(arguments.config_dir.as_deref()))?;
    let directory = directory(&parameters);
    let since = arguments.since.as_deref().map(since).transpose()?.unwrap_or(0);
    let reader =
        || Reader::open(&directory).with_context(|| format!("there is no decision record in {}", directory.display()));
    let key = Key::of(&arguments.key);
    let mut sessions = HashSet::new();
    if matches!(key, Key::Name(_)) {
        // A queue id is known from the second recipient on; the first one is of the same session.
        let named = reader()?.filter(|record| key.names_message(record));
        sessions.extend(named.map(|record| record.session));
    }
    let mut found = VecDeque::new();
    for record in reader()?.filter(|record| record.at >= since) {
        if key.matches(&record) || sessions.contains(&record.session) {
            found.push_back(record);
            if found.len() > arguments.limit {
                found.pop_front();
            }
        }
    }
    for record in &found {
        print(record, arguments.json)?;
    }
    if found.is_empty() {
        eprintln!("postern: no decision about \"{}\" in {}", arguments.key, directory.display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(record: &Record<Bound>, json: bool) -> Result<()> {
    let story = record.story();
    let at = jiff::Timestamp::from_millisecond(i64::try_from(record.at)?)?;
    if json {
        let mut value = serde_json::to_value(&story)?;
        value["code"] = record.code.to_string().into();
        value["time"] = at.to_string().into();
        println!("{value}");
        return Ok(());
    }
    let queue_id = record.queue_id.as_deref().map_or_else(String::new, |id| format!("  queue id {id}"));
    println!("== {}  {at}{queue_id}", record.code);
    println!("{}", story.print(Style::of_stdout()));
    Ok(())
}

/// The moment, in milliseconds since the epoch.
fn since(text: &str) -> Result<u64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(u64::try_from(time.as_millisecond()).unwrap_or(0));
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => bail!("--since is 90m, 2h, 3d or 2026-11-22T12:00:00Z, not \"{text}\""),
    };
    let number: u64 = digits.parse().with_context(|| format!("--since: \"{digits}\" is not a number"))?;
    Ok((crate::clock::unix_micros() / 1000).saturating_sub(number.saturating_mul(unit * 1000)))
}

/// What is looked for.
enum Key {
    Code(Code, String),
    Client(IpAddr),
    Address(String),
    Name(String),
}

impl Key {
    fn of(text: &str) -> Self {
        let text = text.trim_matches(['[', ']', '<', '>']);
        if let Ok(address) = text.parse() {
            return Self::Client(address);
        }
        if text.contains('@') {
            return Self::Address(text.to_owned());
        }
        match text.parse() {
            Ok(code) => Self::Code(code, text.to_owned()),
            Err(()) => Self::Name(text.to_owned()),
        }
    }

    fn matches(&self, record: &Record<Bound>) -> bool {
        let same = |known: &Option<String>, text: &str| known.as_ref().is_some_and(|k| k.eq_ignore_ascii_case(text));
        match self {
            Self::Code(code, text) => record.code == *code || same(&record.queue_id, text),
            Self::Client(address) => record.address == Some(*address),
            Self::Address(text) => same(&record.sender, text) || same(&record.recipient, text),
            Self::Name(text) => {
                same(&record.queue_id, text) || record.name.eq_ignore_ascii_case(text) || same(&record.helo, text)
            }
        }
    }

    fn names_message(&self, record: &Record<Bound>) -> bool {
        matches!(self, Self::Name(text) if record.queue_id.as_ref().is_some_and(|id| id.eq_ignore_ascii_case(text)))
    }
}
