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

/// Types that are read here.
const SUPPORTED: [&str; 18] = [
    "btree", "cdb", "cidr", "debug", "environ", "fail", "hash", "inline", "lmdb", "pcre", "pipemap", "proxy",
    "randmap", "regexp", "sqlite", "static", "texthash", "unionmap",
];

/// Types that Postfix has and postern does not (yet).
const MISSING: [&str; 12] = [
    "dbm",
    "internal",
    "ldap",
    "memcache",
    "mongodb",
    "mysql",
    "netinfo",
    "nis",
    "nisplus",
    "pgsql",
    "sdbm",
    "socketmap",
];

/// The error for a type that isn't known or can't be read.
pub(crate) fn unsupported(kind: &str, options: &OpenOptions) -> Diagnostic {
    if MISSING.contains(&kind) || kind == "tcp" {
        return options
            .error("table-type-unsupported", format!("table type \"{kind}\" is not supported yet"))
            .help("copy the data into a hash, lmdb, cdb or sqlite table");
    }
    let diagnostic = options.error("table-type-unknown", format!("unsupported dictionary type: {kind}"));
    let known = SUPPORTED.iter().chain(&MISSING).chain(&["tcp", "unix"]);
    match known.map(|name| (distance(kind, name), name)).min() {
        Some((distance, name)) if distance <= 2 && distance < kind.len() => {
            diagnostic.help(format!("did you mean \"{name}\"?"))
        }
        _ => diagnostic.help(format!("known table types: {}, unix", SUPPORTED.join(", "))),
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
    fn names_the_nearest_type() {
        let options = OpenOptions::new("/");
        for (kind, message, help) in [
            ("hahs", "unsupported dictionary type: hahs", "did you mean \"hash\"?"),
            (
                "mysql",
                "table type \"mysql\" is not supported yet",
                "copy the data into a hash, lmdb, cdb or sqlite table",
            ),
        ] {
            let diagnostic = unsupported(kind, &options);
            assert_eq!((diagnostic.message.as_str(), diagnostic.help.as_deref()), (message, Some(help)));
        }
        assert!(unsupported("zzzzzzz", &options).help.unwrap().starts_with("known table types: btree, cdb"));
    }
}
