//! Every parameter there is: name, type, default, who reads it, since when, what for.

mod honoured;
mod service;

use std::sync::OnceLock;

use crate::names;

pub use honoured::{Honour, honoured};
pub use service::{SERVICE_SUFFIXES, ServiceParameter, service_parameter};

/// Type of a parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text, `$name` expanded.
    String,
    /// Text that is not expanded when read (templates, filters).
    RawString,
    /// A decimal number.
    Integer,
    /// A time with unit.
    Time,
    /// `yes` or `no`.
    Boolean,
    /// A path, fixed when the program starts.
    Path,
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Type of its value.
    pub kind: Kind,
    /// Default as `postconf -d` prints it; in parentheses when it depends on the machine.
    pub default: &'static str,
    /// Components that read it, separated by commas.
    pub component: &'static str,
    /// Version that introduced it, or `-`.
    pub since: &'static str,
    /// One line of documentation.
    pub purpose: &'static str,
}

impl Parameter {
    /// Does the default come from the machine instead of the registry?
    pub fn is_host_dependent(&self) -> bool {
        matches!(self.name, "myhostname" | "mydomain" | "mynetworks" | "process_id" | "process_name")
    }

    /// Is it set by the program alone, whatever `main.cf` says?
    pub fn is_read_only(&self) -> bool {
        is_read_only(self.name)
    }
}

static POSTFIX: &str = include_str!("../parameters.tsv");
static POSTERN: &str = include_str!("../postern.tsv");

/// All parameters, ordered by name.
pub fn all() -> &'static [Parameter] {
    static ALL: OnceLock<Vec<Parameter>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<Parameter> = Vec::with_capacity(1100);
        all.extend(POSTFIX.lines().skip(1).chain(POSTERN.lines().skip(1)).filter_map(parse_row));
        all.sort_unstable_by_key(|parameter| parameter.name);
        all.dedup_by_key(|parameter| parameter.name);
        all
    })
}

/// The parameter of that name.
pub fn find(name: &str) -> Option<&'static Parameter> {
    all().binary_search_by(|parameter| parameter.name.cmp(name)).ok().map(|index| &all()[index])
}

/// Names that the program alone sets.
pub(crate) fn is_read_only(name: &str) -> bool {
    matches!(name, "process_id" | "process_name" | "service_name")
}

/// The known name nearest to a mistyped one.
pub fn nearest(name: &str) -> Option<&'static str> {
    names::nearest(name, all().iter().map(|parameter| parameter.name))
}

fn parse_row(row: &'static str) -> Option<Parameter> {
    let mut fields = row.split('\t');
    let name = fields.next()?;
    let kind = match fields.next()? {
        "raw-string" => Kind::RawString,
        "integer" => Kind::Integer,
        "time" => Kind::Time,
        "boolean" => Kind::Boolean,
        "path" => Kind::Path,
        _ => Kind::String,
    };
    let mut next = || fields.next().unwrap_or_default();
    Some(Parameter { name, kind, default: next(), component: next(), since: next(), purpose: next() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_there_once() {
        let rows = POSTFIX.lines().count() - 1 + POSTERN.lines().count() - 1;
        assert_eq!(all().len(), rows);
        for row in POSTFIX.lines().chain(POSTERN.lines()) {
            assert_eq!(row.split('\t').count(), 6, "{row}");
        }
    }

    #[test]
    fn rows_are_found() {
        let banner = find("smtpd_banner").expect("smtpd_banner");
        assert_eq!((banner.kind, banner.default), (Kind::String, "$myhostname ESMTP $mail_name"));
        assert_eq!(find("postern_workers").map(|p| p.kind), Some(Kind::Integer));
        assert_eq!(find("nonesuch"), None);
        assert_eq!(nearest("smtpd_banners"), Some("smtpd_banner"));
    }
}
