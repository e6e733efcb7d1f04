//! The lookup tables a plan names: specifications in, numbers out. Opening them is the program's work.

use crate::question::TableId;
use config::Span;
use std::collections::HashMap;
use std::sync::Arc;

/// One table as named in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    /// `type:name`, as written.
    pub spec: Arc<str>,
    /// Where it was first named.
    pub span: Option<Span>,
    /// Keys are matched against patterns, so that partial keys are never tried and case is not folded.
    pub pattern: bool,
    /// Fixed keys are folded before they are looked up. Only content and replies are looked up as they stand.
    pub fold: bool,
}

/// Numbers the tables of all services; equal specifications share a number.
#[derive(Clone, Debug, Default)]
pub struct TableRegistry {
    uses: Vec<TableUse>,
    by_spec: HashMap<(Arc<str>, bool), TableId>,
}

impl TableRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of a table; the first one to name it leaves its span.
    pub fn intern(&mut self, spec: &str, span: Option<Span>) -> TableId {
        self.number(spec, span, true)
    }

    /// The number of a table whose keys are texts, not names: their case is not folded.
    pub fn intern_for_texts(&mut self, spec: &str, span: Option<Span>) -> TableId {
        self.number(spec, span, false)
    }

    fn number(&mut self, spec: &str, span: Option<Span>, fold: bool) -> TableId {
        let key = (Arc::<str>::from(spec), fold);
        if let Some(id) = self.by_spec.get(&key) {
            return *id;
        }
        let id = TableId(u32::try_from(self.uses.len()).unwrap_or(u32::MAX));
        self.uses.push(TableUse { spec: key.0.clone(), span, pattern: is_pattern(spec), fold });
        self.by_spec.insert(key, id);
        id
    }

    /// All tables; a [`TableId`] is an index into them.
    pub fn specs(&self) -> &[TableUse] {
        &self.uses
    }

    /// One table.
    pub fn get(&self, id: TableId) -> Option<&TableUse> {
        self.uses.get(id.0 as usize)
    }

    /// The table as plans and maps keep it.
    pub(crate) fn handle(&mut self, spec: &str, span: Option<Span>) -> Table {
        let id = self.intern(spec, span);
        let used = &self.uses[id.0 as usize];
        Table { id, spec: used.spec.clone(), pattern: used.pattern }
    }
}

/// A table with what a look-up has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its number, for questions.
    pub id: TableId,
    /// `type:name`, for log texts.
    pub spec: Arc<str>,
    /// Is it a pattern table?
    pub pattern: bool,
}

/// Does a specification look like `type:name`?
pub(crate) fn is_table(text: &str) -> bool {
    match text.split_once(':') {
        Some((kind, name)) => {
            !name.is_empty() && !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        }
        None => false,
    }
}

fn is_pattern(spec: &str) -> bool {
    let Some((kind, name)) = spec.split_once(':') else { return false };
    match kind {
        "regexp" | "pcre" | "cidr" | "tcp" | "socketmap" | "randmap" => true,
        "proxy" | "debug" => is_pattern(name),
        "unionmap" | "pipemap" => {
            let inner = name.trim().trim_start_matches('{').trim_end_matches('}');
            // As in Postfix, the first one decides for all.
            crate::settings::elements(inner).first().is_some_and(|member| is_pattern(member))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_specifications_share_a_number() {
        let mut registry = TableRegistry::new();
        let first = registry.intern("hash:/etc/a", Some(Span::new("main.cf", 3)));
        assert_eq!(registry.intern("pcre:/etc/b", None), TableId(1));
        assert_eq!(registry.intern("hash:/etc/a", None), first);
        assert_eq!(registry.intern_for_texts("hash:/etc/a", None), TableId(2), "another reading of the same table");
        assert_eq!(registry.specs().len(), 3);
        assert_eq!(registry.get(first).unwrap().span, Some(Span::new("main.cf", 3)));
    }

    #[test]
    fn pattern_tables_are_known_through_wrappers() {
        for (spec, pattern) in [
            ("hash:/x", false),
            ("inline:{a=b}", false),
            ("static:OK", false),
            ("regexp:/x", true),
            ("pcre:/x", true),
            ("cidr:/x", true),
            ("tcp:localhost:1", true),
            ("socketmap:unix:x:y", true),
            ("proxy:pcre:/x", true),
            ("proxy:unix:passwd.byname", false),
            ("unionmap:{hash:/x, pcre:/y}", false),
            ("unionmap:{pcre:/y, hash:/x}", true),
            ("pipemap:{tcp:localhost:1, hash:/x}", true),
            ("pipemap:{hash:/x, hash:/y}", false),
        ] {
            assert_eq!(is_pattern(spec), pattern, "{spec}");
        }
    }
}
