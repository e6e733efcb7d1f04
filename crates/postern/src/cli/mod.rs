//! The command line.

mod compatibility;
mod dnsbl;
mod explain;
mod getopt;
mod lint;
mod logins;
mod postconf;
mod postmap;
mod postqueue;
mod postsuper;
mod prove;
mod replay;
mod serve;
mod test;
mod why;

use clap::{Parser, Subcommand};
use postmap::Tool;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The embedded default configuration.
pub const DEFAULT_MAIN_CF: &str = include_str!("../../default/main.cf");
/// Its master.cf.
pub const DEFAULT_MASTER_CF: &str = include_str!("../../default/master.cf");

const EXAMPLES: &str = "\
Examples:
  postern                              try it: port 2525, mail into ./postern-data
  postern lint -c /etc/postfix         everything that is wrong or odd about a configuration
  postern serve -c /etc/postfix        serve it as it is
  postern reload -c /etc/postfix       check it, then switch the running server to it
  postern explain -c /etc/postfix --client 192.0.2.1 --sender a@b.example --recipient u@example.com
                                       why it decides as it does
  postern test policy-tests/           play the cases you have written down
  postern why QUEUE-ID -c /etc/postfix why a mail was refused or accepted
  postern replay NEW -c /etc/postfix   what another configuration would have decided
  postern prove -c /etc/postfix        can strangers relay through it?
  postern dnsbl -c /etc/postfix        do its DNS lists work?
  postern postconf -n -c /etc/postfix  as postconf(1): what differs from the defaults
  postern postmap -q KEY hash:FILE     as postmap(1): make, change and ask lookup tables
  postern postqueue -p -c /etc/postfix as postqueue(1): what is in the queue
  postern postsuper -H ALL -c …        as postsuper(1): release what is on hold, hold, requeue, delete
  postern logins -c /etc/postfix       which logins look taken over, and let them send again
  postern default-config main.cf       a configuration to start your own from";

/// An SMTP relay and access-control server that runs Postfix's policy language.
///
/// Point it at a main.cf and master.cf: it decides who may send what to whom with Postfix's restriction lists,
/// keeps what it accepts on disk before it says so, relays and delivers it, and logs as Postfix does.
#[derive(Debug, Parser)]
#[command(name = "postern", version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve SMTP in the foreground (without --config-dir: the embedded default configuration)
    Serve {
        /// Directory with main.cf and master.cf
        #[arg(long, short = 'c', value_name = "DIR")]
        config_dir: Option<PathBuf>,
        /// Let the policy of another configuration decide along, without effect
        #[arg(long, value_name = "DIR")]
        shadow: Option<PathBuf>,
    },
    /// Read a configuration with all its tables and tell everything that is wrong or odd; serve nothing
    #[command(visible_alias = "check")]
    Lint(lint::Arguments),
    /// Check a configuration, then tell the running server to switch to it (SIGHUP)
    Reload {
        /// Directory with main.cf and master.cf
        #[arg(long, short = 'c', value_name = "DIR")]
        config_dir: PathBuf,
    },
    /// Print settings as postconf(1) does: `postern postconf -n`, `-d`, `-M`, … or parameter names
    #[command(disable_help_flag = true)]
    Postconf {
        /// postconf(1)'s options and parameter names
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Make, change, query and list lookup tables as postmap(1) does: `postern postmap hash:/etc/postfix/access`
    #[command(disable_help_flag = true)]
    Postmap {
        /// postmap(1)'s options and tables
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<OsString>,
    },
    /// The same for alias tables, as postalias(1) does: `postern postalias hash:/etc/aliases`
    #[command(disable_help_flag = true)]
    Postalias {
        /// postalias(1)'s options and tables
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<OsString>,
    },
    /// List the queue and try deferred mail as postqueue(1) does: `postern postqueue -p`
    #[command(disable_help_flag = true)]
    Postqueue {
        /// postqueue(1)'s options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Hold, release, requeue and delete mail as postsuper(1) does: `postern postsuper -H ALL`
    #[command(disable_help_flag = true)]
    Postsuper {
        /// postsuper(1)'s options and queues
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Tell why a policy decides as it does: every list, restriction, question and answer
    Explain(Box<explain::Arguments>),
    /// Play policy tests: cases and dialogs that you have written down
    Test(test::Arguments),
    /// Tell why a mail was refused or accepted some time ago
    Why(why::Arguments),
    /// Decide the past anew with another configuration: what would change
    Replay(replay::Arguments),
    /// What the policy of `serve --shadow` would have done otherwise
    Shadow {
        #[command(subcommand)]
        command: ShadowCommand,
    },
    /// Prove that no stranger can relay, or show the session in which one does (exit status 0 closed, 1 open, 2 unknown)
    Prove(prove::Arguments),
    /// Ask the DNS lists of a configuration for their tests, and tell how often each had an entry
    Dnsbl(dnsbl::Arguments),
    /// List the logins that look taken over, and let one send again
    Logins(logins::Arguments),
    /// Print COMPATIBILITY.md: what acts, what doesn't yet, what differs from Postfix
    Compatibility,
    /// Print the embedded default configuration
    DefaultConfig {
        /// Which file
        #[arg(value_parser = ["main.cf", "master.cf"], default_value = "main.cf")]
        file: String,
    },
}

#[derive(Debug, Subcommand)]
enum ShadowCommand {
    /// Print the differences so far
    Report {
        /// Directory with the main.cf that serves
        #[arg(long, short = 'c', value_name = "DIR")]
        config_dir: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Called by the name of one of Postfix's commands (a link to the program), it is that command.
fn called_as_a_tool() -> Option<Option<Command>> {
    let mut words = std::env::args_os();
    let name = words.next()?;
    let command = match Path::new(&name).file_name()?.to_str()? {
        "postconf" => Command::Postconf { arguments: texts(words) },
        "postqueue" => Command::Postqueue { arguments: texts(words) },
        "postsuper" => Command::Postsuper { arguments: texts(words) },
        "mailq" => Command::Postqueue { arguments: vec!["-p".to_owned()] },
        "postmap" => Command::Postmap { arguments: words.collect() },
        "postalias" => Command::Postalias { arguments: words.collect() },
        _ => return None,
    };
    Some(Some(command))
}

fn texts(words: impl Iterator<Item = OsString>) -> Vec<String> {
    words.map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Run the program.
pub fn run() -> ExitCode {
    let result = match called_as_a_tool().unwrap_or_else(|| Arguments::parse().command) {
        None => serve::serve(None, None),
        Some(Command::Serve { config_dir, shadow }) => serve::serve(config_dir.as_deref(), shadow.as_deref()),
        Some(Command::Lint(arguments)) => lint::run(&arguments),
        Some(Command::Reload { config_dir }) => serve::reload(&config_dir),
        Some(Command::Postconf { arguments }) => postconf::run(&arguments),
        Some(Command::Postmap { arguments }) => Ok(postmap::run(Tool::Postmap, &arguments)),
        Some(Command::Postalias { arguments }) => Ok(postmap::run(Tool::Postalias, &arguments)),
        Some(Command::Postqueue { arguments }) => Ok(postqueue::run(&arguments)),
        Some(Command::Postsuper { arguments }) => Ok(postsuper::run(&arguments)),
        Some(Command::Explain(arguments)) => explain::run(&arguments),
        Some(Command::Test(arguments)) => test::run(&arguments),
        Some(Command::Why(arguments)) => why::run(&arguments),
        Some(Command::Replay(arguments)) => replay::run(&arguments),
        Some(Command::Shadow { command: ShadowCommand::Report { config_dir, json } }) => {
            replay::shadow_report(config_dir.as_deref(), json)
        }
        Some(Command::Prove(arguments)) => Ok(prove::run(&arguments)),
        Some(Command::Dnsbl(arguments)) => dnsbl::run(&arguments),
        Some(Command::Logins(arguments)) => logins::run(&arguments),
        Some(Command::Compatibility) => {
            print!("{}", compatibility::page());
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::DefaultConfig { file }) => {
            print!("{}", if file == "main.cf" { DEFAULT_MAIN_CF } else { DEFAULT_MASTER_CF });
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("postern: {error:#}");
        ExitCode::FAILURE
    })
}
