//! The few lines that the default configuration starts with.

use super::site::Site;
use std::fmt::Write;

/// What is served, what is refused, where mail goes, and a line to paste.
pub fn text(site: &Site) -> String {
    let host = site.parameters.get("myhostname");
    let maildir = site.parameters.get("mail_spool_directory");
    let maildir = maildir.trim_end_matches('/');
    let user = std::env::var("USER").ok().filter(|u| !u.is_empty()).unwrap_or_else(|| "you".into());
    let mut out = String::new();
    let _ = writeln!(out, "postern is running its default configuration (print it: postern default-config)");
    let _ = writeln!(out, "  serves    SMTP on 127.0.0.1:2525 and [::1]:2525");
    let _ = writeln!(out, "  accepts   mail for anybody @localhost and @{host}");
    let _ = writeln!(
        out,
        "  refuses   mail for any other domain (\"Relay access denied\"): mynetworks is empty, nobody is trusted"
    );
    let _ = writeln!(out, "  keeps     mail in {maildir}/USER/new");
    if nix::unistd::geteuid().is_root() {
        let _ = writeln!(out, "  runs      as root, able to write only below {}", site.path("postern_data").display());
    }
    let _ = writeln!(out, "Send a message (in another terminal):");
    let _ = writeln!(
        out,
        "  printf 'Subject: hello\\n\\nhello\\n' | curl -s smtp://localhost:2525 --mail-from me@example.com --mail-rcpt {user}@localhost -T -"
    );
    let _ = writeln!(out, "Ctrl-C ends it.");
    out
}
