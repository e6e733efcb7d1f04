//! The attributes of a table that somebody else serves: a file in main.cf's syntax (`mysql:/etc/postfix/virtual.cf`), or
//! `NAME_attribute` parameters in main.cf (`mysql:NAME`).

use crate::ParameterLookup;
use crate::file::slurp;
use crate::lines::{LogicalLines, Warnings};
use crate::open::{OpenFailure, OpenOptions};
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use config::{Diagnostic, Span};
use std::collections::HashMap;
use std::path::Path;

/// What was written, and where.
pub(super) struct Attributes {
    source: Source,
    /// The table's name, as errors show it.
    name: Box<str>,
    /// For errors about an attribute.
    place: Option<Span>,
}

enum Source {
    File(HashMap<String, String>),
    MainCf(Option<ParameterLookup>),
}

/// Attributes with what was noticed on the way.
pub(super) struct Read {
    pub(super) attributes: Attributes,
    pub(super) files: Vec<WatchedFile>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Attributes {
    /// Read those of a table.
    pub(super) fn read(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Read, OpenFailure> {
        let name = spec.name.into();
        if !spec.name.starts_with(['/', '.']) {
            let attributes =
                Self { source: Source::MainCf(options.parameter.clone()), name, place: options.span.clone() };
            return Ok(Read { attributes, files: Vec::new(), warnings: Vec::new() });
        }
        let file = WatchedFile::now(options.path(spec.name));
        let (values, warnings) = values(&file)?;
        let place = Some(Span::new(file.path().display().to_string(), 0));
        Ok(Read { attributes: Self { source: Source::File(values), name, place }, files: vec![file], warnings })
    }

    /// One attribute, as written.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        match &self.source {
            Source::File(values) => values.get(name).cloned(),
            Source::MainCf(parameter) => parameter.as_ref()?(&format!("{}_{name}", self.name)),
        }
    }

    /// One attribute that isn't empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// A number, with what it is when nothing is written.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, Diagnostic> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| {
                let text = format!("bad numerical configuration: {name} = {text}");
                self.error(text, "write a number, without a sign or a unit")
            }),
        }
    }

    /// A number that isn't smaller than this.
    pub(super) fn number_from<T>(&self, name: &str, default: T, least: T) -> Result<T, Diagnostic>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        let number = self.number(name, default)?;
        if number < least {
            let text = format!("invalid {name} parameter value {number} < {least}");
            return Err(self.error(text, "write a larger number"));
        }
        Ok(number)
    }

    /// `yes` or `no`.
    pub(super) fn switch(&self, name: &str, default: bool) -> Result<bool, Diagnostic> {
        match self.get(name) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("yes") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("no") => Ok(false),
            Some(text) => Err(self.error(format!("bad boolean value: {name} = {text}"), "write yes or no")),
        }
    }

    /// Warnings about attributes in the file that mean nothing: a misspelled one must not go unnoticed.
    pub(super) fn unknown(&self, known: &[&str]) -> Vec<Diagnostic> {
        let Source::File(values) = &self.source else { return Vec::new() };
        let mut names: Vec<&str> = values.keys().map(String::as_str).collect();
        names.retain(|name| !known.contains(name));
        names.sort_unstable();
        let help = "correct its name, or remove the line";
        let warn = |name: &str| self.warning(format_args!("unknown attribute: {name} -- ignored"), help);
        names.into_iter().map(warn).collect()
    }

    /// A warning about an attribute.
    pub(super) fn warning(&self, text: impl std::fmt::Display, help: &str) -> Diagnostic {
        Diagnostic::warning("table-attribute", format!("{}: {text}", self.name)).at(self.place.clone()).help(help)
    }

    /// The error for an attribute that must not be empty.
    pub(super) fn missing(&self, name: &str, help: &str) -> Diagnostic {
        self.error(format!("bad string length 0 < 1: {name} ="), help)
    }

    /// An error about an attribute.
    pub(super) fn error(&self, text: impl std::fmt::Display, help: &str) -> Diagnostic {
        self.diagnostic("table-attribute", text, help)
    }

    /// An error with a code of its own.
    pub(super) fn diagnostic(&self, code: &'static str, text: impl std::fmt::Display, help: &str) -> Diagnostic {
        Diagnostic::error(code, format!("{}: {text}", self.name)).at(self.place.clone()).help(help)
    }
}

/// An attribute file: `name = value`, the last one counts.
fn values(file: &WatchedFile) -> Result<(HashMap<String, String>, Vec<Diagnostic>), OpenFailure> {
    let bytes = slurp(file, "", false)?;
    let mut warnings = Warnings::new(Path::new(file.path()));
    let mut values = HashMap::new();
    for line in LogicalLines::new(&bytes) {
        let line = line.map_err(|long| OpenFailure::watching(warnings.too_long(long), file.clone()))?;
        let Some(text) = warnings.usable(&line) else { continue };
        match text.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
                values.insert(name.to_owned(), value.to_owned());
            }
            _ => warnings.add(line.number, "table-line", "write name = value", |file| {
                // The text isn't shown: it may hold a password.
                format!("{file}, line {}: missing '=' after attribute name", line.number)
            }),
        }
    }
    Ok((values, warnings.finish()))
}
