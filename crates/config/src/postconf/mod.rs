//! postconf(1): prints and edits what the files say, in Postfix's exact format.

mod edit;
mod edit_master;
mod fold;
mod main_show;
mod master_show;
mod options;

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::host::HostFacts;
use crate::main_cf::MainCf;
use crate::master_cf::{MasterCf, Override, Service};
use crate::parameters::Parameters;
use crate::registry;
use crate::usage::{Class, Usage, all_overrides};

pub use edit::{Edit, Edited, edit_main};
pub use edit_master::edit_master;
pub use options::{Classes, Misuse, Mode, Options};

/// What the command writes, and its exit status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// For standard output.
    pub stdout: String,
    /// For standard error, with the `postconf: ` prefix on each line.
    pub stderr: String,
    /// Exit status: 0, or 1 after a fatal error.
    pub exit: u8,
}

impl Output {
    fn warn(&mut self, text: &str) {
        self.say("warning", text);
    }

    fn say(&mut self, severity: &str, text: &str) {
        self.stderr.push_str(&message(severity, text));
        self.stderr.push('\n');
    }

    /// After a fatal error nothing that was to be printed is.
    fn fatal(mut self, text: &str) -> Self {
        self.say("fatal", text);
        self.stdout.clear();
        self.exit = 1;
        self
    }
}

/// A message of the command. Control characters and what isn't ASCII do not get into it, as in Postfix's own.
pub fn message(severity: &str, text: &str) -> String {
    let shown = |byte: u8| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' };
    format!("postconf: {severity}: {}", text.bytes().map(shown).collect::<String>())
}

/// Runs the command, editing excepted ([`edit_main`], [`edit_master`]). `main` is `None` if there is no `main.cf`
/// (`-d` does not look at it); `master` is `None` if there is no `master.cf`. With
/// [`HostFacts::config_directory`], `config_directory` counts as set.
pub fn run(options: &Options, main: Option<&MainCf>, master: Option<&MasterCf>, host: &HostFacts) -> Output {
    let mut output = Output::default();
    if let Some(list) = options.mode.fixed_list() {
        output.stdout = list.iter().map(|line| format!("{line}\n")).collect();
        return output;
    }
    let missing = |name: &str| {
        let dir = host.config_directory.as_ref().map(|dir| format!("{dir}/")).unwrap_or_default();
        format!("open {dir}{name}: No such file or directory")
    };
    // The file that is asked for is read first.
    let of_master = |output: &mut Output| match master {
        Some(master) => report_master(master, output),
        None if options.mode == Mode::Main => {
            output.warn(&missing("master.cf"));
            None
        }
        None => Some(missing("master.cf")),
    };
    let of_main = |output: &mut Output| match main {
        _ if options.defaults => None,
        Some(main) => report_main(main, output),
        None => Some(missing("main.cf")),
    };
    let fatal = match options.mode {
        Mode::Main => of_main(&mut output).or_else(|| of_master(&mut output)),
        _ => of_master(&mut output).or_else(|| of_main(&mut output)),
    };
    if let Some(fatal) = fatal {
        return output.fatal(&fatal);
    }
    let view = View::new(options, main, master, host);
    view.report_names(&mut output);
    if let Some(fatal) = view.evaluate_all(&mut output) {
        return output.fatal(&fatal);
    }
    let shown = match options.mode {
        Mode::MasterEntries | Mode::MasterFields | Mode::MasterParameters => master_show::show(&view, &mut output),
        _ => main_show::show(&view, &mut output),
    };
    match shown {
        Ok(()) => {
            view.report_unused(&mut output);
            output
        }
        Err(fatal) => output.fatal(&fatal),
    }
}

/// Says what was wrong in `main.cf`; the result is a fatal error.
fn report_main(main: &MainCf, output: &mut Output) -> Option<String> {
    for problem in main.diagnostics() {
        let place = problem.span.as_ref().map_or(0, |span| span.line);
        let file = main.file();
        match problem.code {
            "leading-whitespace" => output.warn(&format!("{file}: {}", problem.message)),
            "comment-after-text" => output.warn(&format!("{file}: {}", problem.message)),
            _ if problem.severity == Severity::Error => {
                return Some(format!("{file}, line {place}: {}", problem.message));
            }
            _ => output.warn(&format!("{file}, line {place}: {}", problem.message)),
        }
    }
    None
}

/// The same for `master.cf`, where some errors are warnings to postconf.
fn report_master(master: &MasterCf, output: &mut Output) -> Option<String> {
    for problem in master.diagnostics() {
        match problem.code {
            "bad-field-count" => {
                let place = problem.span.as_ref().map_or(0, |span| span.line);
                return Some(format!("file {}: line {place}: {}", master.file(), problem.message));
            }
            "bad-master-field" => return Some(problem.message.clone()),
            "leading-whitespace" => output.warn(&format!("{}: {}", master.file(), problem.message)),
            "unbalanced-braces" | "text-after-brace" | "missing-equals" | "missing-name" => {
                output.warn(&format!("master.cf: {}", problem.message));
            }
            _ => {}
        }
    }
    None
}

/// Everything the printing parts look at.
struct View<'a> {
    options: &'a Options,
    main: Arc<MainCf>,
    master: Option<&'a MasterCf>,
    parameters: Parameters,
    usage: Usage,
}

impl<'a> View<'a> {
    fn new(options: &'a Options, main: Option<&MainCf>, master: Option<&'a MasterCf>, host: &HostFacts) -> Self {
        let main = Arc::new(if options.defaults { MainCf::default() } else { main.cloned().unwrap_or_default() });
        let mut overrides: Vec<(String, String, Span)> = Vec::new();
        if let (Some(directory), false) = (&host.config_directory, options.defaults) {
            overrides.push(("config_directory".to_owned(), directory.clone(), Span::new("-c", 0)));
        }
        if !options.defaults {
            let given = options.overrides.iter().filter(|(name, _)| !registry::is_read_only(name));
            overrides.extend(given.map(|(name, value)| (name.clone(), value.clone(), Span::new("-o", 0))));
        }
        let mut host = host.clone();
        if options.defaults {
            host.config_directory = None;
        }
        let parameters = Parameters::new(main.clone(), host).with_overrides(&overrides);
        let usage = Usage::collect(&parameters, Some(master.unwrap_or(&MasterCf::default())));
        Self { options, main, master, parameters, usage }
    }

    /// Warnings that come before the output.
    fn report_names(&self, output: &mut Output) {
        if self.options.defaults {
            return;
        }
        let mut warnings: Vec<String> = self.usage.malformed.iter().map(|error| error.0.clone()).collect();
        let mut undefined = |names: &[String], file: &str| {
            warnings.extend(names.iter().map(|name| format!("{file}: undefined parameter: {name}")));
        };
        undefined(&self.usage.undefined_main, self.main.file());
        undefined(&self.usage.undefined_master, self.master.map_or("master.cf", MasterCf::file));
        warnings.sort();
        let given = self.options.overrides.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in self.sorted_settings().into_iter().chain(given) {
            if registry::is_read_only(name) {
                warnings.push(format!("{}: read-only parameter assignment: {name}={value}", self.main.file()));
            }
        }
        warnings.iter().for_each(|warning| output.warn(warning));
    }

    /// Every value in use must expand, whatever is to be printed.
    fn evaluate_all(&self, output: &mut Output) -> Option<String> {
        let mut failed = None;
        for (name, value) in self.sorted_settings() {
            let raw = registry::find(name).is_some_and(|p| p.kind == registry::Kind::RawString);
            if !raw && self.is_evaluated(name) {
                failed = failed.or(self.parameters.expand(value).err());
            }
        }
        for service in self.master.map(MasterCf::services).unwrap_or_default() {
            let as_seen = self.parameters.with_overrides(&service.parameter_overrides());
            for setting in service.overrides.iter().filter(|setting| self.is_evaluated(&setting.name)) {
                failed = failed.or(as_seen.expand(&setting.value).err());
            }
        }
        failed.map(|problem| fatal_expansion(&problem, output))
    }

    /// User parameters are evaluated only where they are used.
    fn is_evaluated(&self, name: &str) -> bool {
        matches!(self.usage.class(name), Some(Class::Builtin | Class::Service))
    }

    /// The `-o` settings of an entry; entries of one name and type share theirs, as in Postfix.
    fn settings_of(&self, service: &Service) -> Vec<&'a Override> {
        all_overrides(self.master.map(MasterCf::services).unwrap_or_default(), service)
    }

    fn sorted_settings(&self) -> Vec<(&str, &str)> {
        let mut all: Vec<(&str, &str)> = self.parameters.settings().into_iter().collect();
        all.sort_unstable();
        all
    }

    /// Warnings that come after the output.
    fn report_unused(&self, output: &mut Output) {
        if self.options.defaults || self.options.quiet {
            return;
        }
        if self.options.mode == Mode::Main {
            for (name, value) in self.sorted_settings() {
                if self.usage.class(name).is_none() {
                    output.warn(&format!("{}: unused parameter: {name}={value}", self.main.file()));
                }
            }
        }
        if let Some(master) = self.master {
            let mut lines: Vec<String> = self
                .usage
                .unused_local(master)
                .into_iter()
                .map(|(name, value)| format!("{}: unused parameter: {name}={value}", master.file()))
                .collect();
            lines.sort();
            lines.iter().for_each(|line| output.warn(line));
        }
    }
}

/// Postfix's way to fail on a bad `$`: a warning with the reason, then this.
fn fatal_expansion(problem: &Diagnostic, output: &mut Output) -> String {
    output.warn(&problem.message);
    "macro processing error".to_owned()
}

/// One JSON object in a line, as `-j` of Postfix's commands prints it.
pub fn json_line(name: &str, value: &str) -> String {
    format!("{{{}: {}}}\n", json_string(name), json_string(value))
}

fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
