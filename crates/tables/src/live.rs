//! `unix:passwd.byname` and `unix:group.byname`: the system's user database.
//!
//! The texts of /etc/passwd and /etc/group are read, so that a look-up doesn't wait. Only where nsswitch.conf(5) names
//! further sources (LDAP, SSSD, winbind), names that the texts don't have are asked for through the C library.

use crate::contents::{Content, Contents, KeyForm};
use crate::fold::fold_if;
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use crate::{LookupError, Table};
use nix::unistd::{Group, User};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Lines by their first field.
struct Accounts {
    lines: HashMap<Box<str>, Arc<str>>,
    /// Who knows the names that have no line.
    others: Option<Ask>,
    fold: bool,
}

/// Ask the C library for a name.
type Ask = fn(&str) -> nix::Result<Option<String>>;

impl Table for Accounts {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        let key = fold_if(self.fold, key);
        match (self.lines.get(key.as_ref()), self.others) {
            (Some(line), _) => Ok(Some(line.clone())),
            (None, Some(ask)) if !key.is_empty() && !key.contains('\0') => match ask(&key) {
                Ok(line) => Ok(line.map(Arc::from)),
                Err(error) => Err(LookupError::new(format!("cannot access UNIX accounts: {}", error.desc()))),
            },
            (None, _) => Ok(None),
        }
    }

    fn contents(&self) -> Contents {
        if self.others.is_some() {
            return None;
        }
        let mut lines: Vec<(&str, &Arc<str>)> = self.lines.iter().map(|(name, line)| (&**name, line)).collect();
        lines.sort_unstable();
        let content = |(name, line): (&str, &Arc<str>)| Content::new(KeyForm::Text(name.into()), line.clone());
        Some(lines.into_iter().map(content).collect())
    }

    fn waits(&self) -> bool {
        self.others.is_some()
    }
}

/// A user as passwd(5) would show it.
fn user(name: &str) -> nix::Result<Option<String>> {
    Ok(User::from_name(name)?.map(|user| {
        let (gecos, home) = (user.gecos.to_string_lossy(), user.dir.to_string_lossy());
        let shell = user.shell.to_string_lossy();
        format!("{}:x:{}:{}:{gecos}:{home}:{shell}", user.name, user.uid, user.gid)
    }))
}

/// A group as group(5) would show it.
fn group(name: &str) -> nix::Result<Option<String>> {
    Ok(Group::from_name(name)?.map(|group| format!("{}:x:{}:{}", group.name, group.gid, group.mem.join(","))))
}

/// Does nsswitch.conf(5) name sources for `database` whose names aren't in its text? systemd's are made up for services,
/// which get no mail.
fn has_other_sources(nsswitch: &str, database: &str) -> bool {
    let lines = nsswitch.lines().map(|line| line.split('#').next().unwrap_or_default());
    let listed = lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == database);
    listed.is_some_and(|(_, sources)| {
        let words = sources.split_ascii_whitespace().filter(|word| !word.starts_with('['));
        words.into_iter().any(|word| !matches!(word, "files" | "systemd"))
    })
}

pub(crate) fn unix(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let (path, fields, database, ask): (_, _, _, Ask) = match spec.name {
        "passwd.byname" => ("/etc/passwd", 7, "passwd", user),
        "group.byname" => ("/etc/group", 4, "group", group),
        _ => {
            let help = "write unix:passwd.byname or unix:group.byname";
            return Err(options.error("table-syntax", format!("unknown table: {}", spec.spec)).help(help).into());
        }
    };
    let file = WatchedFile::now(Path::new(path));
    let bytes = crate::file::slurp(&file, "", false)?;
    let lines = accounts(&String::from_utf8_lossy(&bytes), fields);
    let switch = WatchedFile::now(Path::new("/etc/nsswitch.conf"));
    // Without that file there are no other sources.
    let text = std::fs::read_to_string(switch.path()).unwrap_or_default();
    let others = has_other_sources(&text, database).then_some(ask);
    let table = Arc::new(Accounts { lines, others, fold: options.fold });
    Ok(Opened { table, warnings: Vec::new(), files: vec![file, switch] })
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
        let accounts = Accounts { lines: accounts(text, 7), others: None, fold: true };
        let get = |key| accounts.get(key).unwrap().map(|line| line.to_string());
        assert_eq!(get("ROOT"), Some("root:x:0:0:root:/root:/bin/bash".to_owned()));
        for missing in ["bad", "+", "#c", "Up", ""] {
            assert_eq!(get(missing), None, "{missing}");
        }
    }

    #[test]
    fn other_sources_are_asked_for_what_the_text_lacks() {
        for (text, others) in [
            ("passwd: files systemd", false),
            ("# passwd: ldap\npasswd:\tfiles [NOTFOUND=return] # sss", false),
            ("group: sss\npasswd: files sss", true),
            ("passwd: compat", true),
            ("", false),
        ] {
            assert_eq!(has_other_sources(text, "passwd"), others, "{text}");
        }
        let table = Accounts { lines: accounts("a:x:1:1::/:\n", 7), others: Some(user), fold: true };
        assert!(table.waits());
        assert_eq!(table.get("a"), Ok(Some("a:x:1:1::/:".into())));
        assert_eq!(table.get("no-such-user"), Ok(None));
        let root = table.get("ROOT").unwrap().unwrap();
        assert!(root.starts_with("root:x:0:0:"), "{root}");
        let table = Accounts { lines: HashMap::new(), others: Some(group), fold: true };
        assert_eq!(table.get("root").unwrap().unwrap().split(':').take(3).collect::<Vec<_>>(), ["root", "x", "0"]);
    }

    #[test]
    fn other_names_are_errors() {
        let errors = crate::open("unix:foo", &OpenOptions::new("/")).err().unwrap();
        assert_eq!(errors[0].message, "unknown table: unix:foo");
    }
}
