//! What is known to differ, and therefore is not generated or not compared. Everything else must be the same.
//!
//! The installed Postfix may be 3.7, where postern is 3.12: those differences stand in
//! `tests/conformance/postfix-3.7-differences.txt`, postern's own in `docs/differences.md`.

use std::sync::LazyLock;

use regex_lite::Regex;

use crate::conformance::{Recording, Section};

/// A known difference.
#[derive(Debug)]
pub struct Known {
    /// What is done about it.
    pub treatment: Treatment,
    /// Where it is written: the row's first column or the scenario's name.
    pub documented: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// What is done about a known difference.
#[derive(Debug)]
pub enum Treatment {
    /// The restriction or table type of this name is not generated.
    Avoid(&'static str),
    /// The restriction of this name is not generated in these places.
    AvoidIn(&'static [&'static str], &'static str),
    /// Lines of this section that match are not compared.
    Leave(Section, &'static str),
    /// In lines of this section, what matches is replaced before comparing.
    Replace(Section, &'static str, &'static str),
}

/// Is this restriction or table type not generated?
pub fn avoided(name: &str) -> bool {
    KNOWN.iter().any(|known| matches!(known.treatment, Avoid(avoided) if avoided == name))
}

/// Is this restriction not generated in this place?
pub fn avoided_in(place: &str, name: &str) -> bool {
    KNOWN.iter().any(|known| match known.treatment {
        AvoidIn(places, avoided) => places.contains(&place) && avoided.eq_ignore_ascii_case(name),
        _ => false,
    })
}

use Treatment::{Avoid, AvoidIn, Leave, Replace};

/// All of them.
pub const KNOWN: &[Known] = &[
    Known {
        treatment: Avoid("reject_unverified_sender"),
        documented: "docs/verify.md",
        reason: "probes come to different results at different times",
    },
    Known { treatment: Avoid("reject_spf_fail"), documented: "docs/authentication.md", reason: "it is postern's own" },
    Known {
        treatment: Avoid("reject_dmarc_fail"),
        documented: "docs/authentication.md",
        reason: "it is postern's own",
    },
    Known {
        treatment: Avoid("check_dmarc_access"),
        documented: "docs/authentication.md",
        reason: "it is postern's own",
    },
    Known { treatment: Avoid("check_spf_access"), documented: "docs/authentication.md", reason: "it is postern's own" },
    Known {
        treatment: Avoid("reject_unverified_recipient"),
        documented: "docs/verify.md",
        reason: "probes come to different results at different times",
    },
    Known {
        treatment: AvoidIn(&["client", "helo"], "reject_unlisted_sender"),
        documented: "docs/differences.md: a session knows nothing of the one before",
        reason: "Postfix's process remembers from one session to the next that a sender was looked up",
    },
    Known {
        treatment: Leave(Section::Log, r"^smtpd: warning: restriction `\S+' after `permit' is ignored$"),
        documented: "docs/differences.md: warnings about lists",
        reason: "each process of Postfix says it when it starts, postern once",
    },
    Known {
        treatment: Leave(Section::Log, r#"^smtpd: warning: restriction \S+: ".*" is not a domain name$"#),
        documented: "docs/differences.md: a DNS list without a domain name",
        reason: "Postfix asks DNS for it and finds nothing",
    },
    Known {
        treatment: Replace(
            Section::Log,
            r"^(smtpd: .* proto=\S+(?: helo=<.*>)?) sasl_method=\S+(?: sasl_username=\S+)?(?: sasl_sender=\S+)?$",
            "$1",
        ),
        documented: "postfix-3.7-differences.txt: sasl-auth",
        reason: "log lines of decisions have the login since 3.10",
    },
    Known {
        treatment: Replace(Section::Mail, r"(Message-Id: <)[0-9A-Za-z]{10,20}@", "${1}QID@"),
        documented: "testkit/src/conformance/normal.rs",
        reason: "long queue ids are message ids without a date",
    },
    Known {
        treatment: Leave(Section::Helper, r"^  (compatibility_level|mail_version|tls_sni)="),
        documented: "postfix-3.7-differences.txt: policy-attributes",
        reason: "attributes of policy requests since 3.8 and 3.12",
    },
    Known {
        treatment: Replace(
            Section::Log,
            r"^(smtpd: )(?:QID|NOQUEUE): ((?:lost connection|timeout|too many errors) after )",
            "$1$2",
        ),
        documented: "postfix-3.7-differences.txt: proto-error-limits",
        reason: "abnormal ends are logged with queue id or NOQUEUE since 3.10",
    },
];

/// The lines of mail, of delivery reports only the envelope: their texts carry queue ids and times everywhere.
fn without_reports(lines: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    for message in lines.chunk_by(|_, next| next != "-- message") {
        let report = message.iter().any(|l| l.starts_with("  Content-Type: multipart/report;"));
        out.extend(message.iter().filter(|l| !(report && l.starts_with("  "))).cloned());
    }
    out
}

/// The lines of mail without recipients that a message has twice.
fn without_copies(mut lines: Vec<String>) -> Vec<String> {
    // Postfix delivers to two spellings of an address (`"us\er"@domain`, `User@domain`) separately.
    for line in lines.iter_mut().filter(|line| line.starts_with("RCPT ")) {
        *line = line.to_lowercase();
    }
    lines.dedup_by(|line, before| line == before && line.starts_with("rcpt "));
    lines
}

/// Of warnings about a DNS list that fails, the first of each: a process of Postfix says them once, and how many processes
/// there are depends on the time that things take.
fn warned_once(lines: &mut Vec<String>) {
    let mut said = std::collections::HashSet::new();
    lines.retain(|line| !line.contains(": RBL lookup error: ") || said.insert(line.clone()));
}

/// The recording without what is known to differ.
pub fn without_known(recording: &Recording) -> Recording {
    static PATTERNS: LazyLock<Vec<(Section, Regex, Option<&str>)>> = LazyLock::new(|| {
        let compiled = |known: &Known| match known.treatment {
            Avoid(_) | AvoidIn(..) => None,
            Leave(section, pattern) => Some((section, pattern, None)),
            Replace(section, pattern, with) => Some((section, pattern, Some(with))),
        };
        let regex = |pattern| Regex::new(pattern).expect("a pattern of our own");
        KNOWN.iter().filter_map(compiled).map(|(s, pattern, with)| (s, regex(pattern), with)).collect()
    });
    let mut out = recording.clone();
    warned_once(out.get_mut(Section::Log));
    *out.get_mut(Section::Mail) = without_copies(without_reports(recording.get(Section::Mail)));
    for (section, pattern, with) in PATTERNS.iter() {
        let lines = out.get_mut(*section);
        match with {
            None => lines.retain(|line| !pattern.is_match(line)),
            Some(with) => lines.iter_mut().for_each(|line| *line = pattern.replace(line, *with).into_owned()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_differences_are_taken_out() {
        let text = "%% replies\nS: 250 Ok\n%% log\nsmtpd: NOQUEUE: lost connection after RCPT from x\n\
            smtpd: NOQUEUE: reject: y\n%% mail\n-- message\nMAIL FROM:<>\n  Content-Type: multipart/report; x\n-- message\nMAIL FROM:<a>\n  b\n%% helper\npolicy request\n  mail_version=VERSION\n  sender=a\n";
        let want = "%% replies\nS: 250 Ok\n%% log\nsmtpd: lost connection after RCPT from x\n\
            smtpd: NOQUEUE: reject: y\n%% mail\n-- message\nMAIL FROM:<>\n-- message\nMAIL FROM:<a>\n  b\n%% helper\npolicy request\n  sender=a\n";
        assert_eq!(without_known(&Recording::parse(text)).to_string(), want);
    }
}
