//! `unix:passwd.byname` and `unix:group.byname`: the system's user database.
//!
//! The texts of /etc/passwd and /etc/group are read, not the C library asked: users of other sources (LDAP, SSSD) are
//! not found here, which Postfix's getpwnam(3) would. In exchange nothing blocks.

use crate::fold::fold_if;
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use crate::{LookupError, Table};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Lines by their first field.
struct Accounts {
    lines: HashMap<Box<str>, Arc<str>>,
    fold: bool,
}

impl Table for Accounts {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        Ok(self.lines.get(fold_if(self.fold, key).as_ref()).cloned())
    }
}

pub(crate) fn unix(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let (path, fields) = match spec.name {
        "passwd.byname" => ("/etc/passwd", 7),
        "group.byname" => ("/etc/group", 4),
        _ => {
            let help = "write unix:passwd.byname or unix:group.byname";
            return Err(options.error("table-syntax", format!("unknown table: {}", spec.spec)).help(help).into());
        }
    };
    let file = WatchedFile::now(Path::new(path));
    let bytes = crate::file::slurp(&file, "", false)?;
    let lines = accounts(&String::from_utf8_lossy(&bytes), fields);
    Ok(Opened { table: Arc::new(Accounts { lines, fold: options.fold }), warnings: Vec::new(), files: vec![file] })
}

/// The lines with so many fields. Names are looked up as they are: with folding, `Root` is not found by `root`.
fn accounts(text: &str, fields: usize) -> HashMap<Box<str>, Arc<str>> {
    let mut lines = HashMap::new();
    for line in text.lines().map(str::trim_end) {
        let name = line.split(':').next().unwrap_or_default();
        // Lines with + and - are for NIS.
        if line.split(':').count() == fields && !name.is_empty() && !name.starts_with(['#', '+', '-']) {
            lines.entry(name.into()).or_insert_with(|| line.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_whole_line_of_a_name() {
        let text = "root:x:0:0:root:/root:/bin/bash\n#c:x:0:0:::\nbad:x\nroot:x:1:1:::\n+::::::\nUp:x:2:2::/:\n";
        let accounts = Accounts { lines: accounts(text, 7), fold: true };
        let get = |key| accounts.get(key).unwrap().map(|line| line.to_string());
        assert_eq!(get("ROOT"), Some("root:x:0:0:root:/root:/bin/bash".to_owned()));
        for missing in ["bad", "+", "#c", "Up", ""] {
            assert_eq!(get(missing), None, "{missing}");
        }
    }

    #[test]
    fn other_names_are_errors() {
        let errors = crate::open("unix:foo", &OpenOptions::new("/")).err().unwrap();
        assert_eq!(errors[0].message, "unknown table: unix:foo");
    }
}
