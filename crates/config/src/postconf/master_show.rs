//! `master.cf` entries (`-M`), their fields (`-F`) and their `-o` settings (`-P`).

use std::collections::BTreeMap;

use super::main_show::print;
use super::{Mode, Output, View, fatal_expansion, fold, json_line};
use crate::master_cf::{FIELD_NAMES, MasterCf, Service};
use crate::parameters::Parameters;

/// Columns where fields start, if the ones before leave room.
const COLUMNS: [usize; 8] = [0, 11, 17, 25, 33, 41, 49, 57];

/// One argument: a pattern for each part that is given.
struct Request {
    text: String,
    parts: Vec<String>,
    matched: bool,
}

impl Request {
    fn fits(&self, index: usize, text: &str) -> bool {
        self.parts.get(index).is_none_or(|part| part == "*" || part == text)
    }

    fn fits_service(&self, service: &Service) -> bool {
        self.fits(0, &service.name) && self.fits(1, service.kind.as_str())
    }
}

/// Prints what is asked for; the error is fatal.
pub(super) fn show(view: &View<'_>, output: &mut Output) -> Result<(), String> {
    let mut requests = requests(view)?;
    let everything = requests.is_empty();
    if everything {
        requests.push(Request { text: String::new(), parts: Vec::new(), matched: true });
    }
    let mut shown = Output::default();
    let result = show_services(view, &mut requests, &mut shown);
    for request in requests.iter().filter(|request| !request.matched) {
        output.warn(&format!("unmatched request: \"{}\"", request.text));
    }
    output.stderr.push_str(&shown.stderr);
    output.stdout.push_str(&shown.stdout);
    result
}

fn show_services(view: &View<'_>, requests: &mut [Request], shown: &mut Output) -> Result<(), String> {
    for service in view.master.map(MasterCf::services).unwrap_or_default() {
        let entry = Entry::new(view, service);
        for request in requests.iter_mut().filter(|request| request.fits_service(service)) {
            request.matched |= match view.options.mode {
                Mode::MasterEntries => entry.line(shown)?,
                Mode::MasterFields => entry.fields(request, shown)?,
                _ => entry.settings(request, shown)?,
            };
        }
    }
    Ok(())
}

fn requests(view: &View<'_>) -> Result<Vec<Request>, String> {
    let (most, usage) = match view.options.mode {
        Mode::MasterEntries => (2, "-M option requires service_name[/type]"),
        Mode::MasterFields => (3, "-F option requires service_name[/type[/field]]"),
        _ => (3, "-P option requires service_name[/type[/parameter]]"),
    };
    let mut requests = Vec::new();
    for text in &view.options.names {
        let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
        if parts.len() > most || parts.iter().any(String::is_empty) {
            return Err(usage.to_owned());
        }
        if view.options.mode == Mode::MasterFields
            && let Some(field) = parts.get(2)
            && field != "*"
            && !FIELD_NAMES.contains(&field.as_str())
        {
            return Err(format!("invalid service attribute name: \"{field}\""));
        }
        requests.push(Request { text: text.clone(), parts, matched: false });
    }
    Ok(requests)
}

struct Entry<'a> {
    view: &'a View<'a>,
    service: &'a Service,
    parameters: Parameters,
}

impl<'a> Entry<'a> {
    fn new(view: &'a View<'a>, service: &'a Service) -> Self {
        let mut overrides = vec![("service_name".to_owned(), service.name.clone(), service.span.clone())];
        overrides
            .extend(view.settings_of(service).into_iter().map(|o| (o.name.clone(), o.value.clone(), o.span.clone())));
        Self { view, service, parameters: view.parameters.with_overrides(&overrides) }
    }

    fn line(&self, output: &mut Output) -> Result<bool, String> {
        let options = self.view.options;
        let argv = self.argv(output)?;
        if options.json {
            let mut text = String::new();
            fold::command(0, &self.service.command, &argv, false, &mut text);
            let name = format!("{}/{}", self.service.name, self.service.kind);
            output.stdout.push_str(&json_line(&name, text.trim_end()));
        } else {
            entry_text(&self.service.fields, &argv, options.fold, &mut output.stdout);
        }
        Ok(true)
    }

    /// Arguments, `-o` values expanded if that is asked for.
    fn argv(&self, output: &mut Output) -> Result<Vec<String>, String> {
        let mut argv = self.service.argv.clone();
        if !self.view.options.expand {
            return Ok(argv);
        }
        let mut index = 0;
        while index + 1 < argv.len() && argv[index].starts_with('-') && argv[index] != "--" {
            if argv[index] == "-o" {
                index += 1;
                if let Some((name, value)) = argv[index].split_once('=') {
                    argv[index] = format!("{name}={}", self.expand(value, output)?);
                }
            }
            index += 1;
        }
        Ok(argv)
    }

    fn expand(&self, value: &str, output: &mut Output) -> Result<String, String> {
        self.parameters.expand(value).map_err(|problem| fatal_expansion(&problem, output))
    }

    fn fields(&self, request: &Request, output: &mut Output) -> Result<bool, String> {
        let mut any = false;
        for (field, value) in FIELD_NAMES.iter().zip(&self.service.fields) {
            if !request.fits(2, field) {
                continue;
            }
            any = true;
            let name = format!("{}/{}/{field}", self.service.name, self.service.kind);
            let text = if *field == "command" { self.argv(output)? } else { Vec::new() };
            self.field(&name, value, &text, output);
        }
        Ok(any)
    }

    /// One field; the command comes with its arguments.
    fn field(&self, name: &str, value: &str, argv: &[String], output: &mut Output) {
        let options = self.view.options;
        let (fold, out) = (options.fold && !options.json, &mut output.stdout);
        if options.hide_values && !options.json {
            out.push_str(name);
            out.push('\n');
            return;
        }
        let mut prefix = if options.hide_names || options.json { String::new() } else { format!("{name} = ") };
        let mut column = prefix.chars().count();
        if column > 0 && column + value.chars().count() > fold::LIMIT {
            // Postfix breaks this line even when it is not asked to fold.
            prefix.push('\n');
            prefix.push_str(fold::INDENT);
            column = fold::INDENT.len();
        }
        let mut text = String::new();
        fold::command(column, value, argv, fold, &mut text);
        if options.json {
            out.push_str(&json_line(name, text.trim_end()));
        } else {
            out.push_str(&prefix);
            out.push_str(&text);
        }
    }

    fn settings(&self, request: &Request, output: &mut Output) -> Result<bool, String> {
        let settings: BTreeMap<&str, &str> = self
            .view
            .settings_of(self.service)
            .into_iter()
            .map(|setting| (setting.name.as_str(), setting.value.as_str()))
            .collect();
        let mut any = request.parts.len() < 3 && request.parts.is_empty();
        for (name, value) in settings {
            if !request.fits(2, name) {
                continue;
            }
            any = true;
            let value = if self.view.options.expand { self.expand(value, output)? } else { value.to_owned() };
            let name = format!("{}/{}/{name}", self.service.name, self.service.kind);
            print(self.view, &name, &value, output);
        }
        Ok(any)
    }
}

/// One entry in columns.
pub(super) fn entry_text(fields: &[String; 8], argv: &[String], fold: bool, out: &mut String) {
    let mut column = 0;
    for (field, goal) in fields.iter().zip(COLUMNS).take(7) {
        pad(&mut column, goal, out);
        out.push_str(field);
        column += field.chars().count();
    }
    pad(&mut column, COLUMNS[7], out);
    fold::command(column, &fields[7], argv, fold, out);
}

/// At least one blank, and more up to the goal.
fn pad(column: &mut usize, goal: usize, out: &mut String) {
    if goal == 0 {
        return;
    }
    let blanks = goal.saturating_sub(*column).max(1);
    out.extend(std::iter::repeat_n(' ', blanks));
    *column += blanks;
}
