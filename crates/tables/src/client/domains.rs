//! `domain`: which keys are worth a query. Names, files of names, and tables in files, as in other lists of Postfix.

use super::attributes::Attributes;
use crate::open::{OpenFailure, OpenOptions, io_text, open_nested};
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use crate::{LookupError, Table};
use config::{Diagnostic, MatchList, Pattern};
use std::sync::Arc;

/// Tables that may stand here: those that are in memory and have no `domain` of their own.
const TYPES: [&str; 10] = ["btree", "cdb", "cidr", "hash", "inline", "lmdb", "pcre", "regexp", "static", "texthash"];

/// The members of `domain`; none of them: every key is asked.
#[derive(Default)]
pub(super) struct Domains {
    members: Vec<(bool, Member)>,
    files: Vec<WatchedFile>,
}

enum Member {
    Name(String),
    Table(Arc<dyn Table>),
    /// As long as it can't be read, who knows whether it has a domain.
    Broken(LookupError),
}

impl Domains {
    /// Those of a table.
    pub(super) fn read(
        attributes: &Attributes,
        options: &OpenOptions,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Self, Diagnostic> {
        let mut domains = Self::default();
        let text = attributes.get("domain").unwrap_or_default();
        let mut read = |path: &str| {
            domains.files.push(WatchedFile::now(options.path(path)));
            std::fs::read_to_string(options.path(path)).map_err(|error| io_text(&error))
        };
        let (list, problems) = MatchList::parse(&text, &mut read);
        if let Some(problem) = problems.into_iter().next() {
            let help = problem.help.clone().unwrap_or_default();
            return Err(attributes.error(format!("domain: {}", problem.message), &help));
        }
        for element in list.elements {
            let member = match element.pattern {
                Pattern::Name(name) | Pattern::Subdomains(name) => Member::Name(name),
                Pattern::Address(address) => Member::Name(address.to_string()),
                Pattern::Network(address, length) => Member::Name(format!("{address}/{length}")),
                Pattern::Table(table) => {
                    domains.table(&format!("{}:{}", table.kind, table.name), attributes, options, warnings)?
                }
                Pattern::Unreadable(path, why) => {
                    let text = format!("domain: open file {path}: {why}");
                    warnings.push(attributes.warning(&text, "create the file, or let postern read it"));
                    Member::Broken(LookupError::new(text))
                }
            };
            domains.members.push((element.negated, member));
        }
        Ok(domains)
    }

    fn table(
        &mut self,
        spec: &str,
        attributes: &Attributes,
        options: &OpenOptions,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Member, Diagnostic> {
        if !TableSpec::parse(spec).is_ok_and(|spec| TYPES.contains(&spec.kind)) {
            let help = format!("use a table of another type here: {}", TYPES.join(", "));
            return Err(attributes.error(format!("domain: unsupported table {spec}"), &help));
        }
        match open_nested(spec, options, 1) {
            Ok(opened) => {
                warnings.extend(opened.warnings);
                self.files.extend(opened.files);
                Ok(Member::Table(opened.table))
            }
            Err(OpenFailure { diagnostics, .. }) => Err(diagnostics
                .into_iter()
                .find(Diagnostic::is_error)
                .unwrap_or_else(|| attributes.error(format!("domain: {spec}"), "correct the table"))),
        }
    }

    /// Is this domain among them? The first member that matches decides.
    pub(super) fn have(&self, domain: Option<&str>) -> Result<bool, LookupError> {
        if self.members.is_empty() {
            return Ok(true);
        }
        let Some(domain) = domain else { return Ok(false) };
        let domain = crate::fold::fold(domain);
        for (negated, member) in &self.members {
            let found = match member {
                Member::Name(name) => *name == domain,
                Member::Table(table) => table.get(&domain)?.is_some(),
                Member::Broken(error) => return Err(error.clone()),
            };
            if found {
                return Ok(!negated);
            }
        }
        Ok(false)
    }

    /// Files whose change means that the table is read again.
    pub(super) fn files(&self) -> &[WatchedFile] {
        &self.files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(dir: &Path, domain: &'static str) -> Result<Domains, String> {
        let mut options = OpenOptions::new(dir);
        options.parameter = Some(Arc::new(move |name: &str| (name == "t_domain").then(|| domain.to_owned())));
        let read = Attributes::read(&TableSpec::parse("sqlite:t").unwrap(), &options).ok().unwrap();
        Domains::read(&read.attributes, &options, &mut Vec::new()).map_err(|error| error.message)
    }

    #[test]
    fn members_match_in_order() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("list"), "c.example, !d.example\n").unwrap();
        std::fs::write(dir.path().join("map"), "e.example yes\n").unwrap();
        std::fs::write(dir.path().join("both"), format!("{}/list", dir.path().display())).unwrap();
        let list: &'static str = Box::leak(
            format!("A.example, {0}/list texthash:map !inline:{{f.example=x}} static:all", dir.path().display())
                .into_boxed_str(),
        );
        for (domain, key, found) in [
            ("", None, true),
            ("", Some("x.example"), true),
            ("a.example", None, false),
            (list, Some("a.EXAMPLE"), true),
            (list, Some("c.example"), true),
            (list, Some("d.example"), false),
            (list, Some("e.example"), true),
            (list, Some("f.example"), false),
            (list, Some("g.example"), true),
            ("b.example", Some("a.b.example"), false),
        ] {
            assert_eq!(read(dir.path(), domain).unwrap().have(key), Ok(found), "{domain} {key:?}");
        }
        assert_eq!(read(dir.path(), list).unwrap().files().len(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let broken = read(dir.path(), "a.example, /none").unwrap();
        assert_eq!(broken.have(Some("a.example")), Ok(true));
        let text = "domain: open file /none: No such file or directory";
        assert_eq!(broken.have(Some("b.example")), Err(LookupError::new(text)));
        for (domain, error) in [
            ("mysql:x", "t: domain: unsupported table mysql:x"),
            ("hash:none", "open database none.db: No such file or directory"),
            ("a.example, !", "t: domain: no pattern after '!'"),
        ] {
            let found = read(dir.path(), domain).err().unwrap();
            assert_eq!(found.replace(&format!("{}/", dir.path().display()), ""), error, "{domain}");
        }
    }
}
