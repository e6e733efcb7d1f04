//! Entries of `postern_sasl_password_maps` that nobody can log in with. What they hold is never shown.

use super::texts::Texts;
use crate::sasl::builtin::Stored;
use config::{Diagnostic, Parameters, list};
use policy::TableTexts;

/// So many entries are told, of each table.
const EACH: usize = 3;

/// Of one service.
pub fn lint(p: &Parameters, texts: &Texts) -> Vec<Diagnostic> {
    let name = "postern_sasl_password_maps";
    if !p.bool("smtpd_sasl_auth_enable") || p.get("smtpd_sasl_type") != "postern" {
        return Vec::new();
    }
    let mechanisms = list::words(&p.get("postern_sasl_mechanisms")).unwrap_or_default();
    let scram = mechanisms.iter().any(|word| word.eq_ignore_ascii_case("scram-sha-256"));
    let mut found = Vec::new();
    for table in list::split(&p.get(name)).unwrap_or_default() {
        let Some(entries) = texts.entries(&table.text) else { continue };
        let mut bad = Vec::new();
        for entry in entries.iter() {
            let problem = match Stored::parse(&entry.value) {
                Err(problem) => problem,
                Ok(Stored::Scram(_)) => continue,
                Ok(_) if scram => "a hash that SCRAM-SHA-256 can't use",
                Ok(_) => continue,
            };
            let place = if entry.value_span.line > 0 { format!(" ({})", entry.value_span) } else { String::new() };
            bad.push(format!("{}: {problem}{place}", entry.key));
        }
        if bad.is_empty() {
            continue;
        }
        let more = bad.len().saturating_sub(EACH);
        bad.truncate(EACH);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let text = format!("{}: nobody can log in as {}{more}", table.text, bad.join("; as "));
        // At the setting: the entry's own line is nobody's business.
        found.push(
            Diagnostic::warning("unusable-password", text)
                .at(p.origin(name))
                .help("make hashes with doveadm pw -s ARGON2ID, or with -s SCRAM-SHA-256 if that is offered"),
        );
    }
    found
}
