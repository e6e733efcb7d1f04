//! Tables without a file of their own: inline, static, randmap, fail, environ, and the compounds unionmap, pipemap,
//! proxy and debug.

use crate::contents::{self, Content, Contents, KeyForm};
use crate::fold::{fold, fold_if};
use crate::open::{OpenFailure, OpenOptions, Opened, Unavailable, open_nested};
use crate::spec::{TableSpec, braced_members, group};
use crate::{Log, LookupError, Pairs, Table};
use config::Diagnostic;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Found = Result<Option<Arc<str>>, LookupError>;

fn syntax(options: &OpenOptions, message: String) -> OpenFailure {
    let help = "balance the braces, and separate the members by commas or blanks";
    options.error("table-syntax", message).help(help).into()
}

/// `inline:{ key=value, { key = value with spaces } }`.
struct Inline {
    entries: HashMap<Box<str>, Arc<str>>,
    fold: bool,
}

impl Table for Inline {
    fn get(&self, key: &str) -> Found {
        Ok(self.entries.get(fold_if(self.fold, key).as_ref()).cloned())
    }

    fn pairs(&self) -> Option<Pairs> {
        let mut pairs: Pairs = self.entries.iter().map(|(key, value)| (key.as_ref().into(), value.clone())).collect();
        pairs.sort_unstable();
        Some(pairs)
    }
}

pub(crate) fn inline(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let members = braced_members(spec, "name=value").map_err(|text| syntax(options, text))?;
    let mut entries = HashMap::new();
    for member in members {
        let (name, value) = match name_value(member) {
            Ok(pair) => pair,
            Err(text) => return Ok(broken_inline(spec, options, &text)),
        };
        // Of two entries with the same name Postfix uses the last one here, unlike in text files.
        entries.insert(fold_if(options.fold, &name).into(), value.into());
    }
    Ok(Opened::plain(Inline { entries, fold: options.fold }))
}

/// The entries are the table's contents, and broken contents don't keep a server from starting: look-ups fail, and
/// a warning says why.
fn broken_inline(spec: &TableSpec<'_>, options: &OpenOptions, text: &str) -> Opened {
    let text = format!("{text}: \"{}\"; need \"inline:{{name=value...}}\"", spec.spec);
    let warning = Diagnostic::warning("table-contents", format!("{text}; every look-up in this table fails"))
        .at(options.span.clone())
        .help("write inline:{ {name = value with blanks}, {name = value} }");
    let table = Arc::new(Unavailable::new(spec.spec, &text));
    Opened { table, warnings: vec![warning], files: Vec::new() }
}

/// `name=value` or `{ name = value }`. A name may have blanks and `=` within quotes, which are part of it; a backslash
/// takes the next character as it is.
fn name_value(member: &str) -> Result<(String, &str), String> {
    let text = if member.starts_with('{') { group(member)? } else { member }.trim_ascii_start();
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, next)| next)),
            _ if !quoted && (c == '=' || c.is_ascii_whitespace()) => {
                end = at;
                break;
            }
            _ => {
                quoted ^= c == '"';
                name.push(c);
            }
        }
    }
    if quoted {
        return Err("unbalanced '\"'".to_owned());
    }
    match text[end..].trim_ascii_start().strip_prefix('=') {
        Some(value) => Ok((name, value.trim_ascii())),
        None => Err("missing '=' after attribute name".to_owned()),
    }
}

/// `static:value`: every key has it.
struct Constant(Arc<str>);

impl Table for Constant {
    fn get(&self, _key: &str) -> Found {
        Ok(Some(self.0.clone()))
    }

    fn get_bytes(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        Ok(Some(self.0.as_bytes().to_vec()))
    }

    fn contents(&self) -> Contents {
        Some(vec![Content::new(KeyForm::Every, self.0.clone())])
    }
}

pub(crate) fn constant(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let value = if spec.name.starts_with('{') {
        group(spec.name).map_err(|text| syntax(options, format!("bad static:name syntax: {text}")))?
    } else {
        spec.name
    };
    Ok(Opened::plain(Constant(value.into())))
}

/// `randmap:{v1, v2}`: any of them, for every key.
struct Random {
    values: Vec<Arc<str>>,
    seed: RandomState,
    turn: AtomicU64,
}

impl Table for Random {
    fn get(&self, _key: &str) -> Found {
        // A keyed hash of a counter: unpredictable enough for sharing load, which is all this table is for.
        let number = self.seed.hash_one(self.turn.fetch_add(1, Ordering::Relaxed));
        let at = number % self.values.len().max(1) as u64;
        Ok(self.values.get(at as usize).cloned())
    }

    fn contents(&self) -> Contents {
        Some(self.values.iter().map(|value| Content::new(KeyForm::Every, value.clone())).collect())
    }

    fn get_bytes(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        Ok(self.get("")?.map(|value| value.as_bytes().to_vec()))
    }
}

pub(crate) fn randmap(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let members = braced_members(spec, "value").map_err(|text| syntax(options, text))?;
    let values = members.into_iter().map(Arc::from).collect();
    Ok(Opened::plain(Random { values, seed: RandomState::new(), turn: AtomicU64::new(0) }))
}

/// `fail:name`: every look-up fails.
pub(crate) struct Fail(LookupError);

impl Fail {
    pub(crate) fn new(spec: &str) -> Self {
        Self(LookupError::new(format!("table {spec}: query error")))
    }
}

impl Table for Fail {
    fn get(&self, _key: &str) -> Found {
        Err(self.0.clone())
    }

    fn contents(&self) -> Contents {
        Some(Vec::new())
    }
}

/// `environ:name`: the process environment. Keys are folded as everywhere, so only lower-case names are found.
pub(crate) struct Environ {
    pub(crate) fold: bool,
}

impl Table for Environ {
    fn get(&self, key: &str) -> Found {
        let key = fold_if(self.fold, key);
        if key.is_empty() || key.contains(['=', '\0']) {
            return Ok(None);
        }
        Ok(std::env::var(key.as_ref()).ok().map(Arc::from))
    }
}

/// Open the members of a compound; all their problems are reported at once.
fn open_members(spec: &TableSpec<'_>, options: &OpenOptions, depth: usize) -> Result<(Vec<Opened>, Bag), OpenFailure> {
    let members = braced_members(spec, "type:name").map_err(|text| syntax(options, text))?;
    let (mut opened, mut bag) = (Vec::new(), Bag::default());
    for member in members {
        if !member.contains(':') {
            let text = format!("bad syntax: \"{}\"; need \"{}:{{type:name...}}\"", spec.spec, spec.kind);
            let help = format!("write type:name instead of \"{member}\"");
            bag.diagnostics.push(options.error("table-syntax", text).help(help));
            continue;
        }
        match open_nested(member, options, depth + 1) {
            Ok(mut member) => {
                bag.diagnostics.append(&mut member.warnings);
                bag.files.append(&mut member.files);
                opened.push(member);
            }
            Err(mut failure) => {
                bag.diagnostics.append(&mut failure.diagnostics);
                bag.files.append(&mut failure.files);
            }
        }
    }
    if bag.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(OpenFailure { diagnostics: bag.diagnostics, files: bag.files });
    }
    Ok((opened, bag))
}

/// What the members of a compound leave behind.
#[derive(Default)]
struct Bag {
    diagnostics: Vec<Diagnostic>,
    files: Vec<crate::WatchedFile>,
}

/// The tables of a compound.
struct Members {
    tables: Vec<Arc<dyn Table>>,
    /// A first member with fixed keys has the case of keys folded, for patterns beside it too.
    fold: bool,
}

impl Members {
    fn any(&self, is: fn(&dyn Table) -> bool) -> bool {
        self.tables.iter().any(|table| is(table.as_ref()))
    }
}

fn compound(
    members: Vec<Opened>,
    bag: Bag,
    options: &OpenOptions,
    build: impl FnOnce(Members) -> Arc<dyn Table>,
) -> Opened {
    let tables: Vec<_> = members.into_iter().map(|member| member.table).collect();
    let fold = options.fold && tables.first().is_some_and(|table| !table.is_pattern());
    Opened { table: build(Members { tables, fold }), warnings: bag.diagnostics, files: bag.files }
}

/// `unionmap:{t1:n1, t2:n2}`: all results found, joined by commas.
struct Union(Members);

impl Table for Union {
    fn get(&self, key: &str) -> Found {
        let key = fold_if(self.0.fold, key);
        let mut joined: Option<Arc<str>> = None;
        for table in &self.0.tables {
            let Some(value) = table.get(&key)? else { continue };
            joined = Some(match joined {
                Some(before) if !before.is_empty() => format!("{before},{value}").into(),
                _ => value,
            });
        }
        Ok(joined.filter(|value| !value.is_empty()))
    }

    fn get_bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let mut joined: Option<Vec<u8>> = None;
        for table in &self.0.tables {
            let Some(mut value) = table.get_bytes(key)? else { continue };
            match &mut joined {
                Some(before) if !before.is_empty() => {
                    before.push(b',');
                    before.append(&mut value);
                }
                _ => joined = Some(value),
            }
        }
        Ok(joined.filter(|value| !value.is_empty()))
    }

    fn is_pattern(&self) -> bool {
        self.0.tables.first().is_some_and(|table| table.is_pattern())
    }

    fn waits(&self) -> bool {
        self.0.any(|table| table.waits())
    }

    fn contents(&self) -> Contents {
        contents::of_fixed(self, &self.0.tables)
    }
}

pub(crate) fn unionmap(spec: &TableSpec<'_>, options: &OpenOptions, depth: usize) -> Result<Opened, OpenFailure> {
    let (members, bag) = open_members(spec, options, depth)?;
    Ok(compound(members, bag, options, |members| Arc::new(Union(members))))
}

/// `pipemap:{t1:n1, t2:n2}`: the result of one is the key of the next.
struct Pipe(Members);

impl Table for Pipe {
    fn get(&self, key: &str) -> Found {
        let mut value: Arc<str> = fold_if(self.0.fold, key).into();
        for table in &self.0.tables {
            match table.get(&value)? {
                Some(next) => value = next,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }

    fn get_bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let mut value = key.to_vec();
        for table in &self.0.tables {
            match table.get_bytes(&value)? {
                Some(next) => value = next,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }

    fn is_pattern(&self) -> bool {
        self.0.tables.first().is_some_and(|table| table.is_pattern())
    }

    fn waits(&self) -> bool {
        self.0.any(|table| table.waits())
    }

    fn contents(&self) -> Contents {
        contents::of_fixed(self, &self.0.tables)
    }
}

pub(crate) fn pipemap(spec: &TableSpec<'_>, options: &OpenOptions, depth: usize) -> Result<Opened, OpenFailure> {
    let (members, bag) = open_members(spec, options, depth)?;
    Ok(compound(members, bag, options, |members| Arc::new(Pipe(members))))
}

/// `proxy:type:name`: the table itself, since no other process is needed to read it.
pub(crate) fn proxy(name: &str, options: &OpenOptions, depth: usize) -> Result<Opened, OpenFailure> {
    if let Some(allowed) = &options.proxy_read_maps {
        let listed = |map: &String| map == name || map.strip_prefix("proxy:") == Some(name);
        if !allowed.iter().any(listed) {
            let text = format!("proxymap service is not configured for table \"{name}\"");
            return Err(options
                .error("proxy-not-allowed", text)
                .help(format!("add proxy:{name} to proxy_read_maps, or drop the prefix \"proxy:\""))
                .into());
        }
    }
    open_nested(name, options, depth + 1)
}

/// `debug:type:name`: the table itself, with every look-up in the log.
struct Debug {
    table: Arc<dyn Table>,
    name: Box<str>,
    log: Log,
}

impl Table for Debug {
    fn get(&self, key: &str) -> Found {
        let result = self.table.get(key);
        let (name, key) = (&self.name, fold(key));
        match &result {
            Ok(Some(value)) => (self.log)(&format!("{name} lookup: \"{key}\" = \"{value}\"")),
            Ok(None) => (self.log)(&format!("{name} lookup: \"{key}\" not found")),
            Err(error) => (self.log)(&format!("{name} lookup: \"{key}\" error: {error}")),
        }
        result
    }

    fn is_pattern(&self) -> bool {
        self.table.is_pattern()
    }

    fn waits(&self) -> bool {
        self.table.waits()
    }

    fn contents(&self) -> Contents {
        self.table.contents()
    }
}

pub(crate) fn debug(name: &str, options: &OpenOptions, depth: usize) -> Result<Opened, OpenFailure> {
    let mut opened = open_nested(name, options, depth + 1)?;
    if let Some(log) = &options.log {
        opened.table = Arc::new(Debug { table: opened.table, name: name.into(), log: log.clone() });
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use crate::{OpenOptions, open};

    fn get(spec: &str, key: &str) -> Result<Option<String>, String> {
        let opened = open(spec, &OpenOptions::new("/nonexistent")).map_err(|errors| errors[0].message.clone())?;
        opened.table.get(key).map(|value| value.map(|v| v.to_string())).map_err(|e| e.to_string())
    }

    #[test]
    fn values() {
        for (spec, key, value) in [
            ("inline:{x=y,x=z,{ b = c d } , {e=}}", "X", Some("z")),
            ("inline:{x=y,x=z,{ b = c d } , {e=}}", "b", Some("c d")),
            ("inline:{x=y,x=z,{ b = c d } , {e=}}", "e", Some("")),
            ("inline:{x=y}", "y", None),
            ("inline:{{\"a b\" = x}, { \"a=b\"=y}}", "\"a b\"", Some("x")),
            ("inline:{{\"a b\" = x}, { \"a=b\"=y}}", "\"a=b\"", Some("y")),
            ("inline:{{a\\ b=x}}", "a b", Some("x")),
            ("inline:{{=x}}", "", Some("x")),
            ("static:x y", "k", Some("x y")),
            ("static:{ x y }", "k", Some("x y")),
            ("randmap:{a}", "k", Some("a")),
            ("randmap:{ {a b}, {a b} }", "k", Some("{a b}")),
            ("unionmap:{static:a,static:b}", "k", Some("a,b")),
            ("unionmap:{inline:{x=},static:r}", "x", Some("r")),
            ("unionmap:{inline:{zz=1},inline:{x=1}}", "x", Some("1")),
            ("unionmap:{inline:{x=},inline:{x=}}", "x", None),
            ("unionmap:{pcre:{{/A/i pattern}}}", "A", Some("pattern")),
            ("unionmap:{pcre:{{/A/i pattern}},inline:{a=fixed}}", "A", Some("pattern,fixed")),
            ("unionmap:{inline:{a=fixed},pcre:{{/A/i pattern}}}", "A", Some("fixed")),
            ("pipemap:{regexp:{{/A/i pattern}},static:x}", "A", Some("x")),
            ("pipemap:{pcre:{{/(.*)/ $1}},inline:{a=x}}", "A", Some("x")),
            ("unionmap:{inline:{zz=1},inline:{x=1}}", "y", None),
            ("pipemap:{inline:{x=b},inline:{{B=q r}}}", "x", Some("q r")),
            ("pipemap:{inline:{x=b},inline:{c=d}}", "x", None),
            ("proxy:debug:static:q", "x", Some("q")),
            ("environ:x", "no-such-variable", None),
        ] {
            assert_eq!(get(spec, key), Ok(value.map(str::to_owned)), "{spec} {key}");
        }
    }

    #[test]
    fn errors() {
        for (spec, text) in [
            (
                "inline:{a}",
                "inline:{a} is unavailable. missing '=' after attribute name: \"inline:{a}\"; need \"inline:{name=value...}\"",
            ),
            (
                "inline:{{\"a b=x}}",
                "inline:{{\"a b=x}} is unavailable. unbalanced '\"': \"inline:{{\"a b=x}}\"; need \"inline:{name=value...}\"",
            ),
            ("inline:a=b", "bad syntax: \"inline:a=b\"; need \"inline:{name=value...}\""),
            ("inline:{}", "bad syntax: \"inline:{}\"; need \"inline:{name=value...}\""),
            (
                "inline:{ {a=b}x }",
                "inline:{ {a=b}x } is unavailable. syntax error after '}' in \"{a=b}x\": \"inline:{ {a=b}x }\"; need \"inline:{name=value...}\"",
            ),
            ("unionmap:{foo}", "bad syntax: \"unionmap:{foo}\"; need \"unionmap:{type:name...}\""),
            (
                "pipemap:{static:a,static:b",
                "bad syntax: \"pipemap:{static:a,static:b\"; need \"pipemap:{type:name...}\"",
            ),
            ("randmap:{}", "bad syntax: \"randmap:{}\"; need \"randmap:{value...}\""),
            ("static:{ x", "bad static:name syntax: missing '}' in \"{ x\""),
            ("static:{x}y", "bad static:name syntax: syntax error after '}' in \"{x}y\""),
            ("fail:x", "table fail:x: query error"),
            ("unionmap:{static:a,fail:x}", "table fail:x: query error"),
            ("static:", "open dictionary: expecting \"type:name\" form instead of \"static:\""),
        ] {
            assert_eq!(get(spec, "k"), Err(text.to_owned()), "{spec}");
        }
        let deep = format!("{}static:x", "proxy:".repeat(20));
        assert!(get(&deep, "k").unwrap_err().ends_with("is nested too deeply"));
    }

    #[test]
    fn proxy_tables_must_be_listed() {
        let mut options = OpenOptions::new("/");
        options.proxy_read_maps = Some(["proxy:static:a".to_owned()].into());
        assert!(open("proxy:static:a", &options).is_ok());
        let errors = open("proxy:static:b", &options).err().unwrap();
        assert_eq!(errors[0].message, "proxymap service is not configured for table \"static:b\"");
    }
}
