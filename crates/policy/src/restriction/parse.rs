//! Restriction lists as text to items: names, arguments, prefixes, classes, bare tables. The same parser reads
//! `main.cf` lists and table values; what is wrong becomes an item that refuses with 451 when it is reached.

use super::dnsbl::{BadList, Dnsbl};
use super::tls::{CertificateKey, table_of};
use super::{Argument, Restriction, find_restriction};
use crate::policy_service::{PolicyService, PolicyServices};
use crate::tables::{Table, TableRegistry, is_table};
use config::{Places, Span};
use std::collections::HashMap;
use std::sync::Arc;

/// A restriction's argument.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    None,
    Table(Table),
    /// A table and what is looked up in it.
    Certificates(Table, Vec<CertificateKey>),
    Seconds(u32),
    Domain(Arc<Dnsbl>),
    /// The service, and how it is written: that is the name under which its answers are logged.
    PolicyService(Arc<PolicyService>, Arc<str>),
}

/// What changes how the next restriction counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Log instead of refusing.
    Warn,
    /// A refusal closes the connection (421, 521).
    Disconnect,
    /// A refusal does not count against the error limits.
    NoCount,
}

impl Prefix {
    pub fn find(name: &str) -> Option<Self> {
        [("warn_if_reject", Self::Warn), ("disconnect_if_reject", Self::Disconnect), ("no_error_count", Self::NoCount)]
            .into_iter()
            .find_map(|(word, prefix)| name.eq_ignore_ascii_case(word).then_some(prefix))
    }
}

/// What is wrong with an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Unknown(String),
    Removed { name: &'static str, instead: &'static str },
    NeedsTable { name: &'static str, argument: String },
    NeedsDomain { name: &'static str },
    NotDomain { name: &'static str, argument: String },
    BadFilter { name: &'static str, argument: String, why: String },
    NeedsNumber,
    NeedsServer,
    BadServer(String),
    Braces(String),
    BadMapSpec(String),
}

impl Problem {
    /// Does Postfix go on to the next restriction, with a warning? What else is wrong refuses with 451.
    pub fn is_ignored(&self) -> bool {
        matches!(self, Self::NeedsDomain { .. } | Self::NotDomain { .. })
    }

    /// The text of the warning when it is reached at run time.
    pub fn warning(&self) -> String {
        match self {
            Self::Unknown(name) => format!("unknown smtpd restriction: \"{name}\""),
            Self::Removed { name, instead } => format!(
                "support for restriction \"{name}\" has been removed in Postfix 3.9; instead, specify {instead}"
            ),
            Self::NeedsTable { name, argument } => {
                format!("restriction {name}: bad argument \"{argument}\": need maptype:mapname")
            }
            Self::NeedsDomain { name } => format!("restriction {name} requires domain name argument"),
            Self::NotDomain { name, argument } => format!("restriction {name}: \"{argument}\" is not a domain name"),
            Self::BadFilter { name, argument, why } => format!("restriction {name}: bad filter \"{argument}\": {why}"),
            Self::NeedsNumber => "restriction sleep must be followed by number".into(),
            Self::NeedsServer => "restriction check_policy_service must be followed by transport:server".into(),
            Self::BadServer(why) => format!("restriction check_policy_service: {why}"),
            Self::Braces(why) | Self::BadMapSpec(why) => why.clone(),
        }
    }
}

/// What an element does.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Prefix(Prefix),
    Check(&'static Restriction, Arg),
    /// A restriction class, by number.
    Class(usize),
    /// `type:name` by itself: the access check the list implies.
    Bare(Table),
    Broken(Problem),
}

/// One element of a list.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// As written, with its argument.
    pub text: Arc<str>,
    /// Where it was written; `None` in a table's value.
    pub span: Option<Span>,
    pub kind: Kind,
}

/// A compiled restriction list.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// The parameter, class or table entry it came from.
    pub name: Arc<str>,
    pub items: Vec<Item>,
    pub origin: Origin,
}

/// Where a list was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In main.cf.
    Parameter,
    /// In a table, or in a policy service's answer, as this value.
    Entry(Arc<str>),
    /// In the default action of a policy service that failed.
    DefaultAction(Arc<str>),
}

impl List {
    /// The warning about lists that refer to each other without end.
    pub fn recursion_warning(&self) -> String {
        let name = &self.name;
        match &self.origin {
            Origin::Parameter => format!("restriction class {name} causes unreasonable recursion"),
            Origin::Entry(value) | Origin::DefaultAction(value) => {
                format!("access table {name} entry {value} causes unreasonable recursion")
            }
        }
    }
}

/// What a parser may know of the rest of the configuration.
pub(crate) struct Words<'a> {
    pub classes: &'a HashMap<Arc<str>, usize>,
    /// `None` when parsing a table value: tables cannot be opened any more.
    pub tables: Option<&'a mut TableRegistry>,
    /// `None` likewise.
    pub services: Option<&'a mut PolicyServices>,
    pub places: Places<'a>,
}

pub(super) const REMOVED: [(&str, &str); 3] = [
    ("check_relay_domains", "\"reject_unauth_destination\""),
    ("reject_maps_rbl", "\"reject_rbl_client domain-name\""),
    ("permit_naked_ip_address", "\"permit_mynetworks\" or \"permit_sasl_authenticated\""),
];

/// Parse a list.
pub(crate) fn parse(text: &str, words: &mut Words<'_>) -> Vec<Item> {
    let tokens = match config::list::split(text) {
        Ok(tokens) => tokens,
        Err(problem) => {
            let kind = Kind::Broken(Problem::Braces(problem.message));
            return vec![Item { text: text.into(), span: words.places.parameter(), kind }];
        }
    };
    let mut items = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let span = words.places.word(&tokens[at].text);
        let next = tokens.get(at + 1).map(|next| next.text.as_str());
        let (mut item, used) = parse_one(&tokens[at].text, next, span, words);
        for argument in tokens.iter().skip(at + 1).take(used - 1) {
            let last = words.places.word(&argument.text);
            item.span = item.span.map(|first| up_to(first, last));
        }
        items.push(item);
        at += used;
    }
    items
}

/// The place of a restriction with its argument, if both are on one line.
fn up_to(first: Span, last: Option<Span>) -> Span {
    match last {
        Some(last) if last.line == first.line && last.column > first.column && first.column > 0 => {
            Span { width: last.column + last.width - first.column, ..first }
        }
        _ => first,
    }
}

fn parse_one(name: &str, next: Option<&str>, span: Option<Span>, words: &mut Words<'_>) -> (Item, usize) {
    let place = span.clone();
    let alone = |kind| (Item { text: name.into(), span: place, kind }, 1);
    if let Some(prefix) = Prefix::find(name) {
        return alone(Kind::Prefix(prefix));
    }
    if let Some(entry) = find_restriction(name) {
        return with_argument(name, entry, next, span, words);
    }
    if is_table(name) {
        return match words.tables.as_mut() {
            Some(tables) => alone(Kind::Bare(tables.handle(name, span))),
            None => alone(Kind::Broken(Problem::Unknown(name.into()))),
        };
    }
    if let Some(class) = words.classes.get(name) {
        return alone(Kind::Class(*class));
    }
    if let Some((name, instead)) = REMOVED.into_iter().find(|(old, _)| name.eq_ignore_ascii_case(old)) {
        return alone(Kind::Broken(Problem::Removed { name, instead }));
    }
    alone(Kind::Broken(Problem::Unknown(name.into())))
}

fn with_argument(
    name: &str,
    entry: &'static Restriction,
    next: Option<&str>,
    span: Option<Span>,
    words: &mut Words<'_>,
) -> (Item, usize) {
    let place = span.clone();
    let broken = |problem, used| (Item { text: name.into(), span: place, kind: Kind::Broken(problem) }, used);
    let arg = match entry.argument {
        Argument::None | Argument::Restriction => {
            return (Item { text: name.into(), span, kind: Kind::Check(entry, Arg::None) }, 1);
        }
        Argument::Table | Argument::CertificateTable => {
            let spec = match (next, entry.argument) {
                (Some(next), Argument::CertificateTable) => table_of(next),
                (next, _) => Ok(next.filter(|spec| is_table(spec)).map(|spec| (spec, Vec::new()))),
            };
            match (spec, words.tables.as_mut()) {
                (Ok(Some((spec, keys))), Some(tables)) => {
                    let table = tables.handle(spec, span.clone());
                    if entry.argument == Argument::CertificateTable {
                        Arg::Certificates(table, keys)
                    } else {
                        Arg::Table(table)
                    }
                }
                (Err(why), _) => return broken(Problem::BadMapSpec(why), 2),
                _ => {
                    let argument = next.unwrap_or(name).to_owned();
                    return broken(Problem::NeedsTable { name: entry.name, argument }, 1 + usize::from(next.is_some()));
                }
            }
        }
        Argument::Domain => match next.map(|next| (next, Dnsbl::parse(next))) {
            Some((_, Ok(list))) => Arg::Domain(Arc::new(list)),
            Some((argument, Err(BadList::Domain))) => {
                return broken(Problem::NotDomain { name: entry.name, argument: argument.into() }, 2);
            }
            Some((argument, Err(BadList::Filter(why)))) => {
                return broken(Problem::BadFilter { name: entry.name, argument: argument.into(), why }, 2);
            }
            None => return broken(Problem::NeedsDomain { name: entry.name }, 1),
        },
        Argument::PolicyService => match (next.filter(|next| next.contains(':')), words.services.as_mut()) {
            (Some(next), Some(services)) => match services.service(next) {
                Ok(service) => Arg::PolicyService(service, next.into()),
                Err(why) => return broken(Problem::BadServer(why), 2),
            },
            // Without a colon the next word is a restriction that was meant to stand here.
            _ => return broken(Problem::NeedsServer, 1),
        },
        Argument::Seconds => match next.and_then(|next| next.parse().ok()) {
            Some(seconds) => Arg::Seconds(seconds),
            None => return broken(Problem::NeedsNumber, 1 + usize::from(next.is_some())),
        },
    };
    let text = format!("{name} {}", next.unwrap_or_default()).into();
    (Item { text, span, kind: Kind::Check(entry, arg) }, 2)
}
