//! `postern postmap` and `postern postalias`: postmap(1) and postalias(1), with their options, output, messages and
//! exit statuses.

mod create;
mod options;
mod output;
mod owner;
mod query;
mod settings;
mod table;

use options::{Action, Options};
use output::Console;
use settings::Settings;
use std::ffi::OsString;
use std::process::ExitCode;

pub use options::Tool;

const HELP: &str = "\
Make, change, query or list lookup tables, with the options and output of postmap(1) and postalias(1).

Usage: postern postmap [-c DIR] [OPTIONS] [TYPE:]FILE...

  (none)       make each table from its source file: hash, btree, lmdb or cdb
  -q KEY       print the first value found        -q -   keys from standard input
  -s           list all keys and values           -j     as JSON lines
  -d KEY       delete                             -d -   keys from standard input
  -i           add entries from standard input    -r/-w  duplicates: replace / keep, silently
  -h -b -m     with -q -: a message's header lines, body lines, MIME parts are the keys
  -f           don't fold case                    -F     values are names of files
  -n / -N      without / with a NUL               -u/-U  UTF-8 checks off / forced
  -o           don't become the source's owner    -p     don't take over its permissions

  postern postmap hash:/etc/postfix/access
  postern postmap -q example.com hash:/etc/postfix/access cidr:/etc/postfix/clients
  postern postalias lmdb:/etc/aliases";

/// Something that ends the run: the text after `fatal: `.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fatal(String);

impl From<tables::source::TooLongLine> for Fatal {
    fn from(error: tables::source::TooLongLine) -> Self {
        Self(error.to_string())
    }
}

impl From<std::io::Error> for Fatal {
    fn from(error: std::io::Error) -> Self {
        Self(output::io_text(&error))
    }
}

/// One run of the command.
struct Run {
    tool: Tool,
    options: Options,
    settings: Settings,
    console: Console,
}

/// Run the command with these arguments.
pub fn run(tool: Tool, arguments: &[OsString]) -> ExitCode {
    if arguments.first().is_some_and(|argument| argument == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let mut console = Console::new(tool);
    let options = match Options::parse(tool, arguments) {
        Ok(options) => options,
        Err(misuse) => {
            misuse.detail.into_iter().for_each(|detail| console.plain(&detail));
            console.say("fatal", &misuse.fatal);
            return ExitCode::FAILURE;
        }
    };
    let settings = Settings::read(&options, &mut console);
    let settings = match settings.and_then(|settings| options.check(tool).map(|()| settings).map_err(Fatal)) {
        Ok(settings) => settings,
        Err(Fatal(text)) => {
            console.say("fatal", &text);
            return ExitCode::FAILURE;
        }
    };
    console.utf8 = settings.smtputf8;
    if options.mime && !options.headers && !options.body {
        console.warn("ignoring -m option without -b or -h");
    }
    let mut run = Run { tool, options, settings, console };
    let result = match run.options.action.clone() {
        Action::Create => run.create_all().map(|()| true),
        Action::Query(key) => run.query(&key),
        Action::Delete(key) => run.delete(&key),
        Action::List => run.list().map(|()| true),
    };
    match result.and_then(|found| run.console.flush().map(|()| found).map_err(Fatal::from)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Fatal(text)) => {
            run.console.say("fatal", &text);
            ExitCode::FAILURE
        }
    }
}
