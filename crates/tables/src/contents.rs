//! What a table could answer: every right-hand side with what is known of its keys, for programs that reason about a
//! configuration instead of asking it.

use crate::Table;
use std::net::IpAddr;
use std::sync::Arc;

/// Which keys find a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// This one.
    Text(Arc<str>),
    /// Every key that nothing before it in the table has found.
    Every,
    /// Addresses from the first to the last.
    Addresses(IpAddr, IpAddr),
    /// Keys that a regular expression matches, perhaps not all of them: rules before it and conditions around it count
    /// too.
    Pattern {
        /// As written.
        expression: Arc<str>,
        /// What doesn't match is found.
        negated: bool,
    },
}

/// One right-hand side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its keys.
    pub key: KeyForm,
    /// The value; of a value that depends on the key, what stands before the first part that does.
    pub value: Arc<str>,
    /// The value depends on the key (`$1`): this stands behind the last part that does.
    pub end: Option<Arc<str>>,
}

impl Content {
    /// A value that doesn't depend on the key.
    pub fn new(key: KeyForm, value: Arc<str>) -> Self {
        Self { key, value, end: None }
    }
}

/// All that a table could answer; `None`: that can't be listed.
pub type Contents = Option<Vec<Content>>;

/// The contents of tables that have a list of pairs.
pub(crate) fn of_pairs(table: &(impl Table + ?Sized)) -> Contents {
    let pairs = table.pairs()?.into_iter();
    Some(pairs.map(|(key, value)| Content::new(KeyForm::Text(key), value)).collect())
}

/// A key that no table has by accident.
const NOBODYS: &str = "\u{1}nobody's key\u{1}";

/// The contents of a compound whose members have fixed keys: what the compound itself answers for each of them, and for
/// all others. With a member of another kind they can't be listed.
pub(crate) fn of_fixed(table: &dyn Table, members: &[Arc<dyn Table>]) -> Contents {
    let mut keys: Vec<Arc<str>> = Vec::new();
    for member in members {
        let contents = member.contents()?;
        if contents.iter().filter(|content| content.key == KeyForm::Every).count() > 1 {
            return None;
        }
        for content in contents {
            match content.key {
                KeyForm::Text(key) => keys.push(key),
                KeyForm::Every => {}
                _ => return None,
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    let answer = |key: &str| table.get(key).ok();
    let mut found = Vec::new();
    for key in keys {
        if let Some(value) = answer(&key)? {
            found.push(Content::new(KeyForm::Text(key), value));
        }
    }
    if let Some(value) = answer(NOBODYS)? {
        found.push(Content::new(KeyForm::Every, value));
    }
    Some(found)
}

/// Does an expression match every key that is ever asked for (none of them is empty)?
pub(crate) fn matches_all(expression: &str) -> bool {
    matches!(
        expression,
        "." | ".*" | "^" | "$" | "^.*" | ".*$" | "^.*$" | "^." | ".+" | "^.+$" | "^.+" | "(.*)" | "^(.*)$"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpenOptions, open};

    fn contents(spec: &str) -> Option<Vec<String>> {
        let opened = open(spec, &OpenOptions::new("/nonexistent")).unwrap_or_else(|errors| panic!("{errors:?}"));
        let shown = |content: Content| {
            let key = match content.key {
                KeyForm::Text(key) => key.to_string(),
                KeyForm::Every => "*".to_owned(),
                KeyForm::Addresses(first, last) => format!("{first}-{last}"),
                KeyForm::Pattern { expression, negated } => format!("{}/{expression}/", if negated { "!" } else { "" }),
            };
            let end = content.end.map_or_else(String::new, |end| format!("…{end}"));
            format!("{key} = {}{end}", content.value)
        };
        opened.table.contents().map(|found| found.into_iter().map(shown).collect())
    }

    #[test]
    fn what_tables_could_answer() {
        for (spec, expected) in [
            ("inline:{a=1, B=2}", &["a = 1", "b = 2"][..]),
            ("static:OK", &["* = OK"]),
            ("randmap:{OK,REJECT}", &["* = OK", "* = REJECT"]),
            ("fail:x", &[]),
            ("unionmap:{inline:{a=1,b=2},inline:{a=3}}", &["a = 1,3", "b = 2"]),
            ("unionmap:{inline:{a=1},static:s}", &["a = 1,s", "* = s"]),
            ("pipemap:{inline:{a=x,b=y},inline:{x=1}}", &["a = 1"]),
            ("pipemap:{static:x,inline:{x=1}}", &["x = 1", "* = 1"]),
            ("pipemap:{inline:{a=x},inline:{y=1}}", &[]),
            ("proxy:debug:inline:{a=1}", &["a = 1"]),
            (
                "cidr:{ {192.0.2.7 REJECT}, {192.0.2.0/28 OK} }",
                &["192.0.2.0-192.0.2.6 = OK", "192.0.2.7-192.0.2.7 = REJECT", "192.0.2.8-192.0.2.15 = OK"],
            ),
            (
                "regexp:{ {/^a(.*)/ OK}, {!/b/ 550 no}, {/^(x)/ FOUND $1-$1@a} }",
                &["/^a(.*)/ = OK", "!/b/ = 550 no", "/^(x)/ = FOUND …@a"],
            ),
            ("pcre:{ {/a/ 1}, {if /b/}, {/./ 2}, {endif}, {/./ 3}, {/c/ 4} }", &["/a/ = 1", "/./ = 2", "* = 3"]),
        ] {
            assert_eq!(contents(spec).unwrap(), expected, "{spec}");
        }
        for spec in ["unionmap:{cidr:{ {::/0 OK} },static:x}", "pipemap:{randmap:{a,b},static:x}"] {
            assert_eq!(contents(spec), None, "{spec}");
        }
    }
}
