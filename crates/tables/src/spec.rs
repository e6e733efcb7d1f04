//! The `type:name` of a table, and the `{ … }` groups inside such names.

use crate::open::OpenOptions;
use config::Diagnostic;

/// A table reference, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSpec<'a> {
    /// The whole reference.
    pub spec: &'a str,
    /// The table type, such as `hash`.
    pub kind: &'a str,
    /// What comes after the colon.
    pub name: &'a str,
}

impl<'a> TableSpec<'a> {
    /// Take a reference apart. The error is Postfix's text.
    pub fn parse(spec: &'a str) -> Result<Self, String> {
        match spec.split_once(':') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(Self { spec, kind, name }),
            _ => Err(format!("open dictionary: expecting \"type:name\" form instead of \"{spec}\"")),
        }
    }
}

/// How far postern goes with a table type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeStatus {
    /// Read as Postfix reads it.
    Honoured,
    /// Read, with a difference.
    Partly(&'static str),
    /// Not there yet.
    NotYet,
    /// Not to come, for this reason.
    Never(&'static str),
}

/// One type of tables, as references name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableType {
    /// The word before the colon.
    pub name: &'static str,
    /// How far postern goes with it.
    pub status: TypeStatus,
    /// One line of documentation.
    pub doc: &'static str,
    /// The cargo feature it needs.
    pub feature: Option<&'static str>,
}

impl TableType {
    /// Can this program read it?
    pub fn is_here(&self) -> bool {
        let built = match self.feature {
            None => true,
            Some("ldap") => cfg!(feature = "ldap"),
            Some("mysql") => cfg!(feature = "mysql"),
            Some("pgsql") => cfg!(feature = "pgsql"),
            Some("redis") => cfg!(feature = "redis"),
            Some("sqlite") => cfg!(feature = "sqlite"),
            Some(_) => false,
        };
        built && matches!(self.status, TypeStatus::Honoured | TypeStatus::Partly(_))
    }

    const fn partly(mut self, how: &'static str) -> Self {
        self.status = TypeStatus::Partly(how);
        self
    }

    const fn feature(mut self, feature: &'static str) -> Self {
        self.feature = Some(feature);
        self
    }
}

const fn honoured(name: &'static str, doc: &'static str) -> TableType {
    TableType { name, status: TypeStatus::Honoured, doc, feature: None }
}

const fn not_yet(name: &'static str, doc: &'static str) -> TableType {
    TableType { name, status: TypeStatus::NotYet, doc, feature: None }
}

const fn never(name: &'static str, doc: &'static str, why: &'static str) -> TableType {
    TableType { name, status: TypeStatus::Never(why), doc, feature: None }
}

/// Why types of old systems are left out.
const LEGACY: &str = "of systems that postern does not run on";

/// Every type of Postfix 3.12, and postern's own, by name.
static TYPES: &[TableType] = &[
    honoured("btree", "Berkeley DB file, or the text it was made of when that is newer"),
    honoured("cdb", "file made by postmap"),
    honoured("cidr", "networks, first match"),
    never("dbm", "ndbm file", LEGACY),
    honoured("debug", "another table, with each look-up in the log"),
    honoured("environ", "the program's environment"),
    honoured("fail", "every look-up fails"),
    honoured("hash", "Berkeley DB file, or the text it was made of when that is newer"),
    honoured("inline", "entries in the reference itself"),
    never("internal", "a process' own memory, empty at start", "nothing could be in it"),
    honoured("ldap", "LDAP server").feature("ldap"),
    honoured("lmdb", "file made by postmap"),
    honoured("memcache", "memcached server").partly("look-ups only, with the backup's results kept in the cache"),
    not_yet("mongodb", "MongoDB server"),
    honoured("mysql", "MySQL or MariaDB server").feature("mysql"),
    never("netinfo", "NetInfo domain", LEGACY),
    never("nis", "NIS map", LEGACY),
    never("nisplus", "NIS+ map", LEGACY),
    honoured("pcre", "Perl-compatible patterns, first match"),
    honoured("pgsql", "PostgreSQL server").feature("pgsql"),
    honoured("pipemap", "the result of one table is the key of the next"),
    honoured("proxy", "another table").partly("the table is read directly; proxy_read_maps is not asked"),
    honoured("randmap", "one of several values"),
    honoured("redis", "Redis or Valkey server; postern's own").feature("redis"),
    honoured("regexp", "POSIX patterns, first match"),
    never("sdbm", "sdbm file", LEGACY),
    honoured("socketmap", "server with sendmail's socketmap protocol"),
    honoured("sqlite", "SQLite file").feature("sqlite"),
    honoured("static", "one value for every key"),
    honoured("tcp", "server with Postfix's tcp_table protocol"),
    honoured("texthash", "text file, read as it is"),
    honoured("unionmap", "the results of several tables, joined"),
    honoured("unix", "passwd.byname and group.byname of the system"),
];

/// Every type of tables there is.
pub fn table_types() -> &'static [TableType] {
    TYPES
}

/// The error for a type that isn't known or can't be read.
pub(crate) fn unsupported(kind: &str, options: &OpenOptions) -> Diagnostic {
    if let Some(known) = TYPES.iter().find(|known| known.name == kind) {
        let (message, help) = match (known.status, known.feature) {
            (TypeStatus::Never(why), _) => (
                format!("table type \"{kind}\" is not supported: {why}"),
                "copy the data into a hash, lmdb, cdb or sqlite table".to_owned(),
            ),
            (TypeStatus::NotYet, _) | (_, None) => (
                format!("table type \"{kind}\" is not supported yet"),
                "copy the data into a hash, lmdb, cdb or sqlite table".to_owned(),
            ),
            (_, Some(feature)) => (
                format!("table type \"{kind}\" was left out when this program was built"),
                format!("build it with --features {feature}"),
            ),
        };
        return options.error("table-type-unsupported", message).help(help);
    }
    let diagnostic = options.error("table-type-unknown", format!("unsupported dictionary type: {kind}"));
    match TYPES.iter().map(|known| (distance(kind, known.name), known.name)).min() {
        Some((distance, name)) if distance <= 2 && distance < kind.len() => {
            diagnostic.help(format!("did you mean \"{name}\"?"))
        }
        _ => {
            let known: Vec<&str> = TYPES.iter().filter(|known| known.is_here()).map(|known| known.name).collect();
            diagnostic.help(format!("known table types: {}", known.join(", ")))
        }
    }
}

/// How many letters must change (Levenshtein); table types are short, longer texts are cut.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(32).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// Is this byte a separator in lists of tables and values?
fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n')
}

/// The text inside `{ … }`, without blanks at its ends. `text` must start with the brace.
pub(crate) fn group(text: &str) -> Result<&str, String> {
    let Some(length) = group_length(text) else {
        return Err(format!("missing '}}' in \"{text}\""));
    };
    let rest = text[length..].trim_ascii();
    if !rest.is_empty() {
        return Err(format!("syntax error after '}}' in \"{text}\""));
    }
    Ok(text[1..length - 1].trim_ascii())
}

/// The length of a leading balanced `{…}`.
fn group_length(text: &str) -> Option<usize> {
    let mut level = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => level += 1,
            b'}' => {
                level = level.saturating_sub(1);
                if level == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Members of a list separated by commas and blanks; braces protect both.
pub(crate) fn members(text: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let (mut level, mut start) = (0usize, None);
    for (at, byte) in text.bytes().enumerate() {
        if level == 0 && is_separator(byte) {
            if let Some(start) = start.take() {
                members.push(&text[start..at]);
            }
            continue;
        }
        start.get_or_insert(at);
        match byte {
            b'{' => level += 1,
            b'}' => level = level.saturating_sub(1),
            _ => {}
        }
    }
    members.extend(start.map(|start| &text[start..]));
    members
}

/// The members of a name like `{a, b}`; the error is Postfix's `bad syntax` text with what it needs.
pub(crate) fn braced_members<'a>(spec: &TableSpec<'a>, need: &str) -> Result<Vec<&'a str>, String> {
    let bad = || format!("bad syntax: \"{}\"; need \"{}:{{{need}...}}\"", spec.spec, spec.kind);
    if !spec.name.starts_with('{') {
        return Err(bad());
    }
    let members = members(group(spec.name).map_err(|_| bad())?);
    if members.is_empty() { Err(bad()) } else { Ok(members) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_references_apart() {
        let spec = TableSpec::parse("proxy:hash:/etc/x").unwrap();
        assert_eq!((spec.kind, spec.name), ("proxy", "hash:/etc/x"));
        for bad in ["", "hash", "hash:", ":x"] {
            let text = format!("open dictionary: expecting \"type:name\" form instead of \"{bad}\"");
            assert_eq!(TableSpec::parse(bad), Err(text));
        }
    }

    #[test]
    fn splits_groups() {
        assert_eq!(members("a, {b, c} d=e,,f"), ["a", "{b, c}", "d=e", "f"]);
        assert_eq!(members(" "), Vec::<&str>::new());
        assert_eq!(group("{ x {y} }"), Ok("x {y}"));
        assert_eq!(group("{ x"), Err("missing '}' in \"{ x\"".to_owned()));
        assert_eq!(group("{x} y"), Err("syntax error after '}' in \"{x} y\"".to_owned()));
    }

    #[test]
    fn what_the_registry_says_is_true() {
        assert!(TYPES.windows(2).all(|pair| pair[0].name < pair[1].name), "by name");
        let directory = tempfile::tempdir().unwrap();
        let options = OpenOptions::new(directory.path());
        for known in TYPES {
            let refused = match crate::open(&format!("{}:x", known.name), &options) {
                Ok(_) => false,
                Err(found) => found.iter().any(|d| d.code.starts_with("table-type")),
            };
            // The tables inside of these are named by what follows.
            let wraps = matches!(known.name, "proxy" | "debug");
            assert_eq!(refused && !wraps, !known.is_here(), "{}", known.name);
        }
    }

    #[test]
    fn names_the_nearest_type() {
        let options = OpenOptions::new("/");
        for (kind, message, help) in [
            ("hahs", "unsupported dictionary type: hahs", "did you mean \"hash\"?"),
            (
                "mongodb",
                "table type \"mongodb\" is not supported yet",
                "copy the data into a hash, lmdb, cdb or sqlite table",
            ),
        ] {
            let diagnostic = unsupported(kind, &options);
            assert_eq!((diagnostic.message.as_str(), diagnostic.help.as_deref()), (message, Some(help)));
        }
        let message = unsupported("nis", &options).message;
        assert_eq!(message, "table type \"nis\" is not supported: of systems that postern does not run on");
        assert!(unsupported("zzzzzzz", &options).help.unwrap().starts_with("known table types: btree, cdb"));
    }
}
