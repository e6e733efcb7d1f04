//! Pattern tables: rules tried in the order of the file, the first match decides (regexp_table(5), pcre_table(5),
//! cidr_table(5)).

mod cidr;
mod filter;
mod pcre;
mod posix;
mod program;
mod regexp;
mod rule;
mod template;

use crate::file::slurp;
use crate::lines::{Line, LogicalLines, Warnings};
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::{TableSpec, group, members};
use crate::watch::WatchedFile;
use std::path::Path;

pub(crate) use cidr::{key as cidr_key, open as cidr};
pub(crate) use rule::key as rule_key;

/// `regexp:`.
pub(crate) fn regexp(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    program::open::<regexp::Posix>(spec, options)
}

/// `pcre:`.
pub(crate) fn pcre(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    program::open::<pcre::Pcre>(spec, options)
}

/// Where rules come from: a file, or `{ {rule}, {rule} }` in the reference itself.
struct Source {
    bytes: Vec<u8>,
    warnings: Warnings,
    files: Vec<WatchedFile>,
}

impl Source {
    fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Self, OpenFailure> {
        if spec.name.starts_with('{') {
            let bytes = inline_rules(spec).map_err(|text| {
                let help = format!("write {}:{{ {{rule}}, {{rule}} }} with balanced braces", spec.kind);
                options.error("table-syntax", format!("{} map: {text}", spec.kind)).help(help)
            })?;
            return Ok(Self { bytes, warnings: Warnings::new(Path::new(spec.name)), files: Vec::new() });
        }
        let path = options.path(spec.name);
        let file = WatchedFile::now(&path);
        let bytes = slurp(&file, "", false)?;
        Ok(Self { bytes, warnings: Warnings::new(&path), files: vec![file] })
    }

    /// Hand each usable line to `each`, with its number.
    fn each_line(&mut self, mut each: impl FnMut(u32, &str, &mut Warnings)) -> Result<(), OpenFailure> {
        for line in LogicalLines::new(&self.bytes) {
            let line: Line<'_> = match line {
                Ok(line) => line,
                Err(long) => {
                    let diagnostics = vec![self.warnings.too_long(long)];
                    return Err(OpenFailure { diagnostics, files: std::mem::take(&mut self.files) });
                }
            };
            if let Some(text) = self.warnings.usable(&line) {
                each(line.number, text, &mut self.warnings);
            }
        }
        Ok(())
    }
}

/// Inline rules as the text a file would have: a rule a line.
fn inline_rules(spec: &TableSpec<'_>) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    for member in members(group(spec.name)?) {
        if !member.starts_with('{') {
            return Err(format!("no '{{' at start of text in \"{member}\""));
        }
        text.extend_from_slice(group(member)?.as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}
