//! Finding programs that tests use when they are installed: Postfix's own tools and mail clients.

use std::path::{Path, PathBuf};

/// Where the installed Postfix keeps its daemons.
pub const POSTFIX_DAEMONS: &str = "/usr/lib/postfix/sbin";

/// The Debian packages whose programs the tests use, with one program of each to look for.
pub const PACKAGES: &[(&str, &str, &str)] = &[
    ("postfix", "postmap", "indexed maps, smtp-source and smtp-sink, the second opinion of the bench"),
    ("postfix-lmdb", "/usr/lib/postfix/postfix-lmdb.so", "lmdb maps"),
    ("postfix-cdb", "/usr/lib/postfix/postfix-cdb.so", "cdb maps"),
    ("postfix-pcre", "/usr/lib/postfix/postfix-pcre.so", "pcre tables of the second opinion"),
    ("postfix-mysql", "/usr/lib/postfix/postfix-mysql.so", "mysql tables of the second opinion"),
    ("postfix-pgsql", "/usr/lib/postfix/postfix-pgsql.so", "pgsql tables of the second opinion"),
    ("postfix-ldap", "/usr/lib/postfix/postfix-ldap.so", "ldap tables of the second opinion"),
    ("mariadb-server", "mariadbd", "mysql tables"),
    ("postgresql", "pg_ctlcluster", "pgsql tables"),
    ("slapd", "slapd", "ldap tables"),
    ("memcached", "memcached", "memcache tables"),
    ("redis-server", "redis-server", "redis tables"),
    ("sqlite3", "sqlite3", "sqlite tables"),
    ("postgrey", "postgrey", "greylisting, end to end"),
    ("postfix-policyd-spf-python", "policyd-spf", "SPF by a policy service, end to end"),
    ("haproxy", "haproxy", "the PROXY protocol, end to end"),
    ("dovecot-lmtpd", "/usr/lib/dovecot/lmtp", "an LMTP server behind smtpd_proxy_filter, end to end"),
    ("dovecot-core", "dovecot", "logins at Dovecot, end to end"),
    ("gsasl", "gsasl", "logins with GNU SASL, end to end"),
    ("fail2ban", "fail2ban-regex", "end-to-end check of what fail2ban's filters match"),
    ("opendkim", "opendkim", "DKIM signatures by opendkim, end to end"),
    ("rspamd", "rspamd", "a spam filter as Milter, end to end"),
    ("opendkim-tools", "opendkim-genkey", "DKIM keys and signatures, end to end"),
    ("python3-dkim", "/usr/bin/dkimsign", "DKIM signatures by dkimpy, end to end"),
    ("swaks", "swaks", "end-to-end check of sending with swaks"),
    ("curl", "curl", "end-to-end check of sending with curl"),
    ("python3", "python3", "end-to-end check of sending with smtplib"),
    ("pflogsumm", "pflogsumm", "end-to-end check of log reports"),
];

/// The path of a program, from PATH or the usual system directories; an absolute name is only looked at.
pub fn find(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name)).filter(|p| p.exists());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|p| is_program(p))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Are we root?
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The unprivileged user that a server started by root becomes: Postfix's, if there is one. `None` when not root.
pub fn mail_owner() -> Option<&'static str> {
    let exists = |name: &str| nix::unistd::User::from_name(name).is_ok_and(|user| user.is_some());
    is_root().then(|| if exists("postfix") { "postfix" } else { "nobody" })
}

/// Makes the mail owner the owner of these directories, when root.
pub fn give_to_mail_owner<'p>(paths: impl IntoIterator<Item = &'p Path>) -> std::io::Result<()> {
    let user = mail_owner().and_then(|name| nix::unistd::User::from_name(name).ok().flatten());
    let Some(user) = user else { return Ok(()) };
    for path in paths {
        nix::unistd::chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// Says loudly that a check was skipped. The line goes to standard error and, when `POSTERN_SKIPS` names a file (as
/// `cargo xtask test` does for the tests that it starts), also there, to be repeated at the end of the run.
pub fn skipped(what: &str, why: &str) {
    skipped_into(std::env::var_os("POSTERN_SKIPS").map(PathBuf::from).as_deref(), what, why);
}

/// The same with a given file.
pub fn skipped_into(file: Option<&Path>, what: &str, why: &str) {
    use std::io::Write;
    let line = format!("SKIPPED {what}: {why}");
    eprintln!("{line}");
    if let Some(path) = file
        && let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(path)
    {
        let _ = writeln!(file, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs() {
        assert!(find("sh").is_some());
        assert_eq!(find("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find("no-such-program-anywhere"), None);
        assert_eq!(find("/no/such/file"), None);
    }
}
