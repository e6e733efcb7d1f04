//! `postern postqueue`: postqueue(1).

use super::getopt;
use crate::daemon::site::Source;
use crate::queue_control::{Access, Deed, Listed, Problem, Queues, Request, json, pretty};
use crate::{clock, daemon};
use config::Parameters;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
List the queue, or try deferred mail again, as postqueue(1) does.

Usage: postern postqueue [-c DIR] OPTION

  -p         list the queue: * is being delivered, ! is on hold
  -j         the same as JSON lines
  -f         try all deferred mail now
  -i ID      try this message now
  -s SITE    try mail for this domain now

  postern postqueue -p -c /etc/postfix

What is on hold is for postsuper: postern postsuper --help";

const USAGE: &str = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site";
/// sysexits(3)'s EX_UNAVAILABLE, as Postfix ends.
const UNAVAILABLE: u8 = 69;

/// Run it with these arguments.
pub fn run(arguments: &[String]) -> ExitCode {
    if arguments.first().is_some_and(|argument| argument == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Options::parse(arguments).and_then(|options| options.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("postqueue: fatal: {problem}");
            ExitCode::from(UNAVAILABLE)
        }
    }
}

struct Options {
    directory: Option<PathBuf>,
    action: char,
    value: String,
}

/// The parameters of the configuration that a command is for, and whether they are postern's own defaults.
pub fn settings(directory: Option<PathBuf>) -> Result<(Parameters, bool), String> {
    let directory = directory.or_else(|| std::env::var_os("MAIL_CONFIG").map(PathBuf::from));
    let source = Source::new(directory.as_deref());
    let parameters = daemon::site::parameters(&source).map_err(|error| format!("{error:#}"))?;
    Ok((parameters, matches!(source, Source::Default)))
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let (options, rest) = getopt::parse(arguments, "c:fi:jps:v").map_err(|misuse| {
            eprintln!("postqueue: {misuse}");
            USAGE.to_owned()
        })?;
        let (mut directory, mut actions) = (None, Vec::new());
        for (letter, value) in options {
            match letter {
                'c' => directory = Some(PathBuf::from(value)),
                'v' => {}
                _ => actions.push((letter, value)),
            }
        }
        match actions.pop() {
            Some((action, value)) if actions.is_empty() && rest.is_empty() => Ok(Self { directory, action, value }),
            _ => Err(USAGE.to_owned()),
        }
    }

    fn run(self) -> Result<(), String> {
        let id = match self.action {
            'i' => {
                let bad = |_| format!("Cannot flush queue ID - invalid name: \"{}\"", self.value);
                Some(self.value.parse().map_err(bad)?)
            }
            _ => None,
        };
        let (parameters, is_default) = settings(self.directory)?;
        let mut queue = Access::open(&parameters, is_default).map_err(|Problem(text)| text)?;
        let is_listing = matches!(self.action, 'p' | 'j');
        if queue.is_down() && !is_listing {
            return Err("Cannot flush mail queue - mail system is down".to_owned());
        }
        if matches!(queue, Access::Stopped(..)) {
            eprintln!("postqueue: warning: Mail system is down -- accessing queue directly");
        }
        let asked = match self.action {
            'p' => queue.listing().and_then(|all| print(&pretty(&all, parameters.bool("enable_long_queue_ids"), date))),
            'j' => queue.listing().and_then(|all| {
                let lines = all.iter().map(|message| json(message).map(|line| line + "\n"));
                print(&lines.collect::<std::io::Result<String>>().map_err(|error| Problem(error.to_string()))?)
            }),
            'f' => queue.ask(Request::Flush, &mut |_| {}),
            's' => queue.try_site(&self.value),
            _ => queue.ask(Request::Do(Deed::Try, id, Queues::ALL), &mut |_| {}),
        };
        asked.map_err(|Problem(text)| text)
    }
}

/// As asctime(3), without the year.
fn date(unix: i64) -> String {
    clock::local_date(u64::try_from(unix).unwrap_or(0))
}

fn print(text: &str) -> Result<(), Problem> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem(error.to_string())),
        _ => Ok(()),
    }
}

impl Access {
    fn listing(&mut self) -> Result<Vec<Listed>, Problem> {
        let (mut all, mut broken) = (Vec::new(), None);
        self.ask(Request::List, &mut |line| match serde_json::from_str(line) {
            Ok(message) => all.push(message),
            Err(error) => broken = Some(Problem(format!("the server's answer makes no sense ({error})"))),
        })?;
        broken.map_or(Ok(all), Err)
    }

    /// What fast flush(8) would find.
    fn try_site(&mut self, site: &str) -> Result<(), Problem> {
        let is_there = |address: &str| address.rsplit_once('@').is_some_and(|(_, at)| at.eq_ignore_ascii_case(site));
        for message in self.listing()? {
            if message.recipients.iter().any(|recipient| is_there(&recipient.address))
                && let Ok(id) = message.queue_id.parse()
            {
                self.ask(Request::Do(Deed::Try, Some(id), Queues::ALL), &mut |_| {})?;
            }
        }
        Ok(())
    }
}
