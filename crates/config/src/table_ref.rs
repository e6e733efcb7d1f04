//! `type:name`, a reference to a lookup table.

use std::fmt;

use crate::diagnostic::Diagnostic;
use crate::list;

/// A reference to a lookup table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableRef {
    /// The table type, such as `hash`.
    pub kind: String,
    /// What follows the first colon, as written: a path, another table, or a `{ … }` group.
    pub name: String,
}

impl TableRef {
    /// Reads `type:name`.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        let bad = |why: &str| {
            Diagnostic::error("bad-table", format!("bad lookup table \"{text}\": {why}"))
                .help("write type:name, such as hash:/etc/postfix/access")
        };
        let (kind, name) = text.split_once(':').ok_or_else(|| bad("need type:name"))?;
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(bad("the type is letters and digits"));
        }
        if name.is_empty() {
            return Err(bad("the name is missing"));
        }
        let table = Self { kind: kind.to_owned(), name: name.to_owned() };
        if matches!(kind, "unionmap" | "pipemap") || (table.is_wrapper() && name.contains(':')) {
            table.members()?;
        }
        Ok(table)
    }

    /// Is it a pattern table, to which partial keys are not shown? `unionmap` and `pipemap` are if their first member is;
    /// `proxy` and `debug` are if the table behind them is.
    pub fn is_pattern(&self) -> bool {
        match self.kind.as_str() {
            "regexp" | "pcre" | "cidr" | "tcp" | "socketmap" => true,
            // The first member of a compound decides.
            "unionmap" | "pipemap" | "proxy" | "debug" => {
                self.members().is_ok_and(|members| members.first().is_some_and(Self::is_pattern))
            }
            _ => false,
        }
    }

    /// `proxy:` and `debug:` show another table's results.
    pub fn is_wrapper(&self) -> bool {
        matches!(self.kind.as_str(), "proxy" | "debug")
    }

    /// The tables inside a `unionmap`, `pipemap`, `proxy` or `debug`; none for other types.
    pub fn members(&self) -> Result<Vec<Self>, Diagnostic> {
        match self.kind.as_str() {
            "unionmap" | "pipemap" => {
                let inner = self.group().ok_or_else(|| {
                    Diagnostic::error("bad-table", format!("bad syntax: \"{self}\""))
                        .help(format!("need \"{}:{{type:name, type:name...}}\"", self.kind))
                })?;
                list::split(inner)?.iter().map(|element| Self::parse(&element.text)).collect()
            }
            "proxy" | "debug" => Ok(vec![Self::parse(&self.name)?]),
            _ => Ok(Vec::new()),
        }
    }

    /// The text inside `type:{ … }`, without the braces and the blanks next to them.
    pub fn group(&self) -> Option<&str> {
        list::strip_group(&self.name)
    }

    /// The inner elements of `inline:{…}`, `randmap:{…}`, `cidr:{{rule}, {rule}}` and their like, groups stripped.
    pub fn inline_elements(&self) -> Option<Result<Vec<String>, Diagnostic>> {
        let inner = self.group()?;
        Some(
            list::split(inner)
                .map(|elements| elements.into_iter().map(|e| e.group().map(str::to_owned).unwrap_or(e.text)).collect()),
        )
    }
}

impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_inherited() {
        for (text, pattern) in [
            ("hash:/etc/x", false),
            ("cidr:/etc/x", true),
            ("proxy:pcre:/etc/x", true),
            ("debug:proxy:hash:/etc/x", false),
            ("unionmap:{hash:/a, regexp:/b}", false),
            ("unionmap:{regexp:/b, hash:/a}", true),
            ("pipemap:{hash:/a, inline:{a=b}}", false),
            ("socketmap:inet:h:1:n", true),
        ] {
            assert_eq!(TableRef::parse(text).map(|t| t.is_pattern()), Ok(pattern), "{text}");
        }
    }

    #[test]
    fn bad_references_say_why() {
        for (text, message) in [
            ("hash", "bad lookup table \"hash\": need type:name"),
            (":x", "bad lookup table \":x\": the type is letters and digits"),
            ("hash:", "bad lookup table \"hash:\": the name is missing"),
            ("unionmap:/x", "bad syntax: \"unionmap:/x\""),
            ("pipemap:{hash}", "bad lookup table \"hash\": need type:name"),
        ] {
            assert_eq!(TableRef::parse(text).map_err(|d| d.message), Err(message.to_owned()));
        }
    }

    #[test]
    fn inline_forms() {
        let table = TableRef::parse("inline:{ a=b, { c = d e } }").expect("table");
        assert_eq!(table.inline_elements(), Some(Ok(vec!["a=b".to_owned(), "c = d e".to_owned()])));
        assert_eq!(TableRef::parse("hash:/x").expect("table").inline_elements(), None);
    }
}
