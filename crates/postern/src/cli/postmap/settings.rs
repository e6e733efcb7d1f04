//! What the command takes from main.cf.

use super::output::Console;
use super::{Fatal, Options, output};
use crate::cli::DEFAULT_MAIN_CF;
use crate::daemon::site::host_facts;
use config::{MainCf, Parameters};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings that matter here.
pub(super) struct Settings {
    /// `default_database_type`.
    pub(super) default_type: String,
    /// `smtputf8_enable`, which says how messages are written.
    pub(super) smtputf8: bool,
    /// Texts must be UTF-8: `smtputf8_enable`, and no `-u`.
    pub(super) utf8: bool,
    /// All of them, for tables that take theirs from main.cf.
    pub(super) parameters: Parameters,
}

impl Settings {
    /// From the directory of `-c`, of `MAIL_CONFIG`, or else from the default configuration.
    pub(super) fn read(options: &Options, console: &mut Console) -> Result<Self, Fatal> {
        let dir = options.config_dir.clone().or_else(|| std::env::var_os("MAIL_CONFIG")).map(PathBuf::from);
        let (name, text) = source(dir.as_deref())?;
        let main = MainCf::parse(&name, &text).0;
        report(&main, console)?;
        let parameters = Parameters::new(Arc::new(main), host_facts(dir.as_deref()));
        let mut value = |name: &str| expanded(&parameters, name, console);
        let (default_type, utf8) = (value("default_database_type"), value("smtputf8_enable"));
        let utf8 = utf8?;
        let smtputf8 = match utf8.to_ascii_lowercase().as_str() {
            "yes" => true,
            "no" => false,
            _ => return Err(Fatal(format!("bad boolean configuration: smtputf8_enable = {utf8}"))),
        };
        Ok(Self { default_type: default_type?, smtputf8, utf8: smtputf8 && options.utf8, parameters })
    }
}

fn source(dir: Option<&Path>) -> Result<(String, String), Fatal> {
    let Some(dir) = dir else { return Ok(("main.cf".to_owned(), DEFAULT_MAIN_CF.to_owned())) };
    let path = dir.join("main.cf");
    let name = path.display().to_string();
    match std::fs::read(&path) {
        Ok(bytes) => Ok((name, String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) => Err(Fatal(format!("open {name}: {}", output::io_text(&error)))),
    }
}

/// What every command of Postfix says about a main.cf.
fn report(main: &MainCf, console: &mut Console) -> Result<(), Fatal> {
    for problem in main.diagnostics() {
        let place = problem.span.as_ref().map_or(0, |span| span.line);
        match problem.code {
            "leading-whitespace" => console.warn(&format!("{}: {}", main.file(), problem.message)),
            "comment-after-text" => {}
            _ => {
                let text = format!("{}, line {place}: {}", main.file(), problem.message);
                if problem.is_error() {
                    return Err(Fatal(text));
                }
                console.warn(&text);
            }
        }
    }
    Ok(())
}

fn expanded(parameters: &Parameters, name: &str, console: &mut Console) -> Result<String, Fatal> {
    parameters.expand(&parameters.raw(name)).map_err(|problem| {
        console.warn(&problem.message);
        Fatal("dictionary mail_dict: macro processing error".to_owned())
    })
}
