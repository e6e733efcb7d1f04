//! Files behind the settings: who may read what is secret, and what is older than what it was made from.

use config::{Diagnostic, MasterCf, Parameters, Span, TableRef};
use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tables::database::Format;

/// Tables whose file holds how to log in somewhere.
const SERVED: [&str; 6] = ["ldap", "memcache", "mongodb", "mysql", "pgsql", "redis"];
/// Larger files aren't looked through for passwords.
const FILE_LIMIT: u64 = 1 << 20;

/// What is odd about the files that the settings name.
pub fn lint(parameters: &Parameters, master: &MasterCf) -> Vec<Diagnostic> {
    let mut judge =
        Judge { directory: parameters.get("config_directory").into(), seen: HashSet::new(), found: Vec::new() };
    for definition in parameters.main().effective() {
        let value = parameters.text(&definition.name);
        let mut places = parameters.places(&definition.name);
        judge.setting(&definition.name, &value, &mut |word| places.word(word));
    }
    for service in master.effective() {
        let own = parameters.with_overrides(&service.parameter_overrides());
        for setting in &service.overrides {
            judge.setting(&setting.name, &own.text(&setting.name), &mut |_| Some(setting.span.clone()));
        }
    }
    judge.found
}

struct Judge {
    directory: PathBuf,
    seen: HashSet<PathBuf>,
    found: Vec<Diagnostic>,
}

impl Judge {
    fn setting(&mut self, name: &str, value: &str, place: &mut dyn FnMut(&str) -> Option<Span>) {
        let is_key = ["_key_file", "_dkey_file", "_eckey_file"].iter().any(|tail| name.ends_with(tail));
        let is_password_map = name.ends_with("_sasl_password_maps");
        for word in config::list::words(value).unwrap_or_default() {
            let span = place(&word);
            if is_key && word.starts_with('/') {
                self.secret(Path::new(&word), "a private key", span);
            } else if name.ends_with("_chain_files") && word.starts_with('/') {
                if holds(Path::new(&word), |line| line.contains("PRIVATE KEY")) {
                    self.secret(Path::new(&word), "a private key", span);
                }
            } else if let Ok(table) = TableRef::parse(&word) {
                self.table(&table, is_password_map, span);
            }
        }
    }

    fn table(&mut self, table: &TableRef, is_password_map: bool, span: Option<Span>) {
        if let Ok(members) = table.members() {
            for member in members {
                self.table(&member, is_password_map, span.clone());
            }
        }
        let path = self.directory.join(&table.name);
        if SERVED.contains(&table.kind.as_str()) && table.name.starts_with('/') {
            if holds(&path, is_password) {
                self.secret(&path, "a password", span);
            }
            return;
        }
        let compiled = Format::of(&table.kind).map(|format| (format, format.path(&path.display().to_string())));
        if is_password_map
            && matches!(table.kind.as_str(), "hash" | "btree" | "texthash" | "lmdb" | "cdb" | "regexp" | "pcre")
        {
            self.secret(&path, "passwords", span.clone());
            if let Some((_, compiled)) = &compiled {
                self.secret(compiled, "passwords", span.clone());
            }
        }
        if let Some((format, compiled)) = compiled {
            self.index(format, &path, &compiled, span);
        }
    }

    /// Everybody on this machine may read it.
    fn secret(&mut self, path: &Path, what: &str, span: Option<Span>) {
        if !self.seen.insert(path.to_owned()) || !is_for_all(path) {
            return;
        }
        let message = format!("{} holds {what}, and every user of this machine can read it", path.display());
        let help = format!("chmod o-r {}; the group may be postfix if somebody else has to read it", path.display());
        self.found.push(Diagnostic::warning("readable-secret", message).at(span).help(help));
    }

    /// The compiled table is older than its text.
    fn index(&mut self, format: Format, text: &Path, compiled: &Path, span: Option<Span>) {
        let modified = |path: &Path| path.metadata().and_then(|about: Metadata| about.modified()).ok();
        let (Some(written), Some(made)) = (modified(text), modified(compiled)) else { return };
        if made >= written || !self.seen.insert(compiled.to_owned()) {
            return;
        }
        let who = match format {
            Format::Hash | Format::Btree => "Postfix still has the old contents, postern has the new ones",
            Format::Lmdb | Format::Cdb => "the old contents count",
        };
        let message = format!("{} is older than {}: {who}", compiled.display(), text.display());
        let kind = match format {
            Format::Hash => "hash",
            Format::Btree => "btree",
            Format::Lmdb => "lmdb",
            Format::Cdb => "cdb",
        };
        let help = format!("run postmap {kind}:{} (postalias for aliases)", text.display());
        self.found.push(Diagnostic::warning("stale-index", message).at(span).help(help));
    }
}

/// May everybody read the file, and get to it?
fn is_for_all(path: &Path) -> bool {
    let mode = |path: &Path| path.metadata().map_or(0, |about| about.permissions().mode());
    // A link's own directory counts, and the target's.
    let Ok(target) = path.canonicalize() else { return false };
    mode(&target) & 0o004 != 0 && target.ancestors().skip(1).all(|directory| mode(directory) & 0o001 != 0)
}

fn holds(path: &Path, wanted: impl Fn(&str) -> bool) -> bool {
    let is_small = path.metadata().is_ok_and(|about| about.is_file() && about.len() <= FILE_LIMIT);
    is_small && std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).lines().any(wanted))
}

/// A setting like `password = x`.
fn is_password(line: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else { return false };
    matches!(name.trim(), "password" | "bind_pw") && !value.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_password_looks_like() {
        for (line, want) in [
            ("password = geheim", true),
            ("bind_pw=x", true),
            ("# password = x", false),
            ("password =", false),
            ("user = x", false),
        ] {
            assert_eq!(is_password(line), want, "{line}");
        }
    }

    #[test]
    fn closed_directories_keep_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.cf");
        std::fs::write(&file, "password = x\n").unwrap();
        let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        set(&file, 0o644);
        set(directory.path(), 0o700);
        assert!(!is_for_all(&file));
        set(directory.path(), 0o755);
        set(&file, 0o640);
        assert!(!is_for_all(&file));
        assert!(!is_for_all(Path::new("/nowhere/at/all")));
    }
}
