//! How this crate asks lookup tables, and lists of them as a parameter names them.

use policy::{Settings, TableId, TableRegistry};
use std::sync::Arc;

/// A table that could not be read; the text says why, for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LookupFailed(pub Arc<str>);

/// Whoever holds the tables. Answers come at once.
pub trait Lookup {
    /// The value of a key, if there is one. Keys of fixed-key address tables arrive folded to lower case.
    fn find(&mut self, table: TableId, key: &str) -> Result<Option<Arc<str>>, LookupFailed>;

    /// The same for message content, which need not be UTF-8. Tables that can match bytes should override this.
    fn find_content(&mut self, table: TableId, text: &[u8]) -> Result<Option<Arc<str>>, LookupFailed> {
        self.find(table, &String::from_utf8_lossy(text))
    }
}

/// No tables at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTables;

impl Lookup for NoTables {
    fn find(&mut self, _: TableId, _: &str) -> Result<Option<Arc<str>>, LookupFailed> {
        Ok(None)
    }
}

/// One table of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapTable {
    /// Its number in the plan.
    pub id: TableId,
    /// Keys are matched against patterns: no partial keys, no case folding.
    pub pattern: bool,
}

/// The tables of one parameter, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    /// The parameter's name, for log lines.
    pub title: Arc<str>,
    /// The tables.
    pub tables: Vec<MapTable>,
}

impl Maps {
    /// No table under that name.
    pub fn none(title: &str) -> Self {
        Self { title: title.into(), tables: Vec::new() }
    }

    /// The tables for content that a parameter names.
    pub fn compile(name: &str, settings: &dyn Settings, registry: &mut TableRegistry) -> Self {
        let mut tables = Vec::new();
        for spec in specifications(&settings.get(name)) {
            let id = registry.intern_for_texts(spec, settings.origin(name));
            let pattern = registry.get(id).is_some_and(|used| used.pattern);
            tables.push(MapTable { id, pattern });
        }
        Self { title: name.into(), tables }
    }

    /// Is there no table to ask?
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The first value found for message content; an empty text never matches.
    pub(crate) fn find_content(&self, lookup: &mut dyn Lookup, text: &[u8]) -> Result<Option<Arc<str>>, LookupFailed> {
        if text.is_empty() {
            return Ok(None);
        }
        for table in &self.tables {
            if let Some(value) = lookup.find_content(table.id, text)?
                && !value.is_empty()
            {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// The elements of a list of tables; braces keep one together, and its outer ones are taken off.
fn specifications(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(move |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && (c == ',' || c.is_ascii_whitespace())
    })
    .filter(|spec| !spec.is_empty())
    .map(|spec| spec.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).map_or(spec, str::trim))
    .collect()
}
