//! All tables of a configuration, each opened once, kept fresh without ever making a reader wait.

use crate::open::{OpenFailure, OpenOptions, Opened, Unavailable, open_nested};
use crate::watch::WatchedFile;
use crate::{EntryPlaces, LookupError, Table};
use arc_swap::ArcSwap;
use config::{Diagnostic, Severity, Span};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The tables of a configuration, numbered from 0 in the order they were first named.
pub struct TableSet {
    slots: Vec<Slot>,
    index: HashMap<(Arc<str>, bool), u32>,
    options: OpenOptions,
    /// One refresh at a time; readers don't take it.
    refreshing: Mutex<()>,
}

struct Slot {
    spec: Arc<str>,
    fold: bool,
    current: ArcSwap<Current>,
}

/// What is said of a table that a default names.
fn by_default(spec: &str, problem: &Diagnostic) -> Diagnostic {
    let text = format!("{}; its look-ups fail until it is there", problem.message);
    let help =
        format!("nobody has set the parameter that names {spec} by default: create the table, or set the parameter");
    Diagnostic::warning(problem.code, text).help(help)
}

struct Current {
    table: Arc<dyn Table>,
    files: Vec<WatchedFile>,
}

impl TableSet {
    /// Open each table once, with or without folding its keys. A table that can't be opened keeps its number, and its look-ups fail until a refresh
    /// finds it in order; the diagnostics hold its errors and everybody's warnings.
    pub fn open<'s>(specs: impl IntoIterator<Item = (&'s str, bool)>, options: OpenOptions) -> (Self, Vec<Diagnostic>) {
        let mut set = Self::new(options);
        let mut diagnostics = Vec::new();
        for (spec, fold) in specs {
            set.add(spec, fold, &mut diagnostics);
        }
        (set, diagnostics)
    }

    /// The same, with the place where each table is named: that is where problems are that have no place of their own. A
    /// table without a place is named by a default. Nobody has asked for it, so that its absence is worth a warning only.
    pub fn open_at<'s>(
        specs: impl IntoIterator<Item = (&'s str, bool, Option<Span>)>,
        options: OpenOptions,
    ) -> (Self, Vec<Diagnostic>) {
        let mut set = Self::new(options);
        let mut diagnostics = Vec::new();
        for (spec, fold, place) in specs {
            let mut found = Vec::new();
            set.add(spec, fold, &mut found);
            let placed = |problem: Diagnostic| match (&problem.span, &place) {
                (_, None) if problem.is_error() => by_default(spec, &problem),
                (Some(_), _) => problem,
                (None, place) => problem.at(place.clone()),
            };
            diagnostics.extend(found.into_iter().map(placed));
        }
        (set, diagnostics)
    }

    fn new(options: OpenOptions) -> Self {
        Self { slots: Vec::new(), index: HashMap::new(), options, refreshing: Mutex::new(()) }
    }

    /// A set without tables.
    pub fn empty() -> Self {
        Self::open(std::iter::empty(), OpenOptions::new(".")).0
    }

    fn add(&mut self, spec: &str, fold: bool, diagnostics: &mut Vec<Diagnostic>) {
        let spec: Arc<str> = spec.into();
        if self.index.contains_key(&(spec.clone(), fold)) {
            return;
        }
        let current = match open_nested(&spec, &OpenOptions { fold, ..self.options.clone() }, 0) {
            Ok(Opened { table, warnings, files }) => {
                diagnostics.extend(warnings);
                Current { table, files }
            }
            Err(OpenFailure { diagnostics: errors, files }) => {
                let reason = errors.iter().find(|d| d.is_error()).map_or("", |d| d.message.as_str());
                let table = Arc::new(Unavailable::new(&spec, reason));
                diagnostics.extend(errors);
                Current { table, files }
            }
        };
        let id = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.index.insert((spec.clone(), fold), id);
        self.slots.push(Slot { spec, fold, current: ArcSwap::from_pointee(current) });
    }

    /// The number of a table, by its reference as given to [`TableSet::open`].
    pub fn id(&self, spec: &str, fold: bool) -> Option<u32> {
        self.index.get(&(spec.into(), fold)).copied()
    }

    /// The reference of a table.
    pub fn spec(&self, id: u32) -> Option<&Arc<str>> {
        self.slots.get(id as usize).map(|slot| &slot.spec)
    }

    /// Where the entries of a table are written, if it has a text.
    pub fn entry_places(&self, id: u32) -> Option<EntryPlaces> {
        let slot = self.slots.get(id as usize)?;
        EntryPlaces::open(&slot.spec, &OpenOptions { fold: slot.fold, ..self.options.clone() })
    }

    /// How many tables there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The table as it is now; a later refresh doesn't touch it.
    pub fn get(&self, id: u32) -> Option<Arc<dyn Table>> {
        self.slots.get(id as usize).map(|slot| slot.current.load().table.clone())
    }

    /// Ask one table. A number that isn't in the set is a failed look-up.
    pub fn lookup(&self, id: u32, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        match self.slots.get(id as usize) {
            Some(slot) => slot.current.load().table.get(key),
            None => Err(LookupError::new(format!("no table number {id}"))),
        }
    }

    /// Is this a pattern table (no partial keys)?
    pub fn is_pattern(&self, id: u32) -> bool {
        self.slots.get(id as usize).is_some_and(|slot| slot.current.load().table.is_pattern())
    }

    /// Ask one table, unless the look-up may wait.
    pub fn lookup_now(&self, id: u32, key: &str) -> Option<Result<Option<Arc<str>>, LookupError>> {
        let Some(slot) = self.slots.get(id as usize) else { return Some(self.lookup(id, key)) };
        let current = slot.current.load();
        (!current.table.waits()).then(|| current.table.get(key))
    }

    /// May a look-up in any of the tables wait?
    pub fn any_waits(&self) -> bool {
        self.slots.iter().any(|slot| slot.current.load().table.waits())
    }

    /// Stat every table's files and read the changed tables anew. A new version that is broken or unreadable is not
    /// taken: the table stays as it was and a warning says so. Look-ups go on meanwhile. Reading may take a while
    /// for big tables, so this belongs on a background thread.
    pub fn refresh(&self) -> Vec<Diagnostic> {
        let _one = self.refreshing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.slots.iter().flat_map(|slot| slot.refresh(&self.options)).collect()
    }
}

impl Slot {
    fn refresh(&self, options: &OpenOptions) -> Vec<Diagnostic> {
        let current = self.current.load_full();
        if !current.files.iter().any(WatchedFile::has_changed) {
            return Vec::new();
        }
        let before: Vec<_> = current.files.iter().map(|file| WatchedFile::now(file.path())).collect();
        match open_nested(&self.spec, &OpenOptions { fold: self.fold, ..options.clone() }, 0) {
            Ok(Opened { table, warnings, files }) => {
                self.current.store(Arc::new(Current { table, files }));
                let text = format!("table {} has changed -- read again", self.spec);
                let note = Diagnostic { severity: Severity::Note, ..Diagnostic::warning("table-changed", text) };
                std::iter::once(note).chain(warnings).collect()
            }
            Err(OpenFailure { diagnostics, mut files }) => {
                // The old files too: a failure may have come before some of them were looked at.
                for file in before {
                    if !files.iter().any(|known| known.path() == file.path()) {
                        files.push(file);
                    }
                }
                self.current.store(Arc::new(Current { table: current.table.clone(), files }));
                diagnostics.into_iter().map(|d| self.kept(d)).collect()
            }
        }
    }

    /// An error of the new version is only a warning: the old one goes on.
    fn kept(&self, diagnostic: Diagnostic) -> Diagnostic {
        if !diagnostic.is_error() {
            return diagnostic;
        }
        let text = format!("table {}: {} -- the previous contents stay in use", self.spec, diagnostic.message);
        Diagnostic { help: diagnostic.help, ..Diagnostic::warning("table-kept", text).at(diagnostic.span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn messages(diagnostics: &[Diagnostic], dir: &std::path::Path) -> Vec<String> {
        let dir = format!("{}/", dir.display());
        diagnostics.iter().map(|diagnostic| diagnostic.message.replace(&dir, "")).collect()
    }

    fn value(set: &TableSet, id: u32, key: &str) -> Result<Option<String>, String> {
        set.lookup(id, key).map(|value| value.map(|v| v.to_string())).map_err(|error| error.to_string())
    }

    #[test]
    fn one_table_a_reference() {
        let (set, diagnostics) = TableSet::open(
            [("static:a", true), ("inline:{x=y}", true), ("static:a", true), ("inline:{x=y}", false)],
            OpenOptions::new("/"),
        );
        assert_eq!((set.len(), diagnostics), (3, vec![]));
        let id = |spec, fold| set.id(spec, fold);
        assert_eq!((id("static:a", true), id("inline:{x=y}", true), id("static:b", true)), (Some(0), Some(1), None));
        assert_eq!(
            (id("inline:{x=y}", false), value(&set, 2, "X"), value(&set, 2, "x")),
            (Some(2), Ok(None), Ok(Some("y".to_owned())))
        );
        assert_eq!(set.spec(1).map(AsRef::as_ref), Some("inline:{x=y}"));
        assert_eq!(value(&set, 1, "X"), Ok(Some("y".to_owned())));
        assert_eq!(value(&set, 9, "X"), Err("no table number 9".to_owned()));
        assert!(set.get(0).is_some() && !set.is_pattern(0) && TableSet::empty().is_empty());
    }

    #[test]
    fn an_unreadable_table_fails_until_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (set, diagnostics) = TableSet::open([("texthash:t", true)], OpenOptions::new(dir.path()));
        assert_eq!(messages(&diagnostics, dir.path()), ["open database t: No such file or directory"]);
        assert!(diagnostics[0].is_error() && diagnostics[0].help.is_some());
        let text =
            format!("texthash:t is unavailable. open database {}/t: No such file or directory", dir.path().display());
        assert_eq!(value(&set, 0, "a"), Err(text));
        assert_eq!(set.refresh(), []);
        fs::write(dir.path().join("t"), "a b\n").unwrap();
        assert_eq!(messages(&set.refresh(), dir.path()), ["table texthash:t has changed -- read again"]);
        assert_eq!(value(&set, 0, "a"), Ok(Some("b".to_owned())));
    }

    /// A machine without /etc/aliases.
    #[test]
    fn what_a_default_names_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let spec = format!("texthash:{}/aliases", dir.path().display());
        let (set, problems) = TableSet::open_at([(&*spec, true, None)], OpenOptions::new(dir.path()));
        assert_eq!(problems.iter().filter(|problem| problem.is_error()).count(), 0);
        assert!(problems[0].message.ends_with("; its look-ups fail until it is there"), "{}", problems[0].message);
        assert!(set.lookup(0, "postmaster").is_err());
        let place = Some(Span::new("main.cf", 7));
        let (_, problems) = TableSet::open_at([(&*spec, true, place)], OpenOptions::new(dir.path()));
        assert!(problems[0].is_error());
    }

    #[test]
    fn a_broken_version_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        fs::write(&path, "a b\n").unwrap();
        let (set, _) = TableSet::open([("unionmap:{texthash:t, static:s}", true)], OpenOptions::new(dir.path()));
        let before = set.get(0).unwrap();
        for (broken, message) in
            [(Some(vec![0; 100]), "t: this is not a text table"), (None, "open database t: No such file or directory")]
        {
            match broken {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let diagnostics = set.refresh();
            let message =
                format!("table unionmap:{{texthash:t, static:s}}: {message} -- the previous contents stay in use");
            assert_eq!(messages(&diagnostics, dir.path()), [message]);
            assert!(!diagnostics[0].is_error());
            assert_eq!(set.refresh(), [], "said once");
            assert_eq!(value(&set, 0, "a"), Ok(Some("b,s".to_owned())));
        }
        fs::write(&path, "a c\nbad\n").unwrap();
        let diagnostics = messages(&set.refresh(), dir.path());
        assert_eq!(diagnostics.len(), 2);
        assert_eq!(diagnostics[1], "t, line 2: expected format: key whitespace value -- ignoring this line");
        assert_eq!(value(&set, 0, "a"), Ok(Some("c,s".to_owned())));
        assert_eq!(before.get("a"), Ok(Some("b,s".into())), "what a reader holds stays as it was");
    }
}
