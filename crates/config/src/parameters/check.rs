//! Finds everything that is wrong with the values at once.

use std::collections::{HashMap, HashSet};

use super::{MacroError, Parameters, expansion_error, meaning};
use crate::diagnostic::{Diagnostic, Span};
use crate::expand;
use crate::master_cf::MasterCf;
use crate::names;
use crate::registry::{self, Honour, Kind};
use crate::usage::Usage;
use crate::value;

impl Parameters {
    /// Every value that cannot be used (errors), every name that nothing uses and every parameter that is not acted
    /// on yet (warnings), in the order of the file. After a check without errors no getter falls back. Names made of
    /// any service name are accepted; see [`Parameters::check_with`].
    pub fn check(&self) -> Vec<Diagnostic> {
        self.check_all(None)
    }

    /// Like [`Parameters::check`], with what `master.cf` says: its `-o` values are checked too, and
    /// `SERVICE_suffix` names are known only if there is such a service.
    pub fn check_with(&self, master: &MasterCf) -> Vec<Diagnostic> {
        self.check_all(Some(master))
    }

    fn check_all(&self, master: Option<&MasterCf>) -> Vec<Diagnostic> {
        let used = Usage::collect(self, master);
        let mut problems = Vec::new();
        let mut bad: HashSet<&str> = HashSet::new();
        for definition in self.inner.main.effective() {
            let (name, span) = (definition.name.as_str(), &definition.span);
            let good = self.check_setting(name, &definition.value, span, &mut problems);
            if !good {
                bad.insert(name);
            }
            if registry::is_read_only(name) {
                let problem = Diagnostic::warning("read-only", format!("read-only parameter assignment: {name}"));
                problems.push(problem.at(Some(span.clone())).help("remove it; the program sets this one itself"));
            } else if used.class(name).is_none() {
                problems.push(unknown_name(name, span, &used));
            } else if good {
                self.check_honour(name, &definition.value, span, &mut problems);
            }
        }
        for (name, (value, span)) in &self.inner.overrides {
            if !self.check_setting(name, value, span, &mut problems) {
                bad.insert(name);
            }
        }
        self.check_defaults(&bad, &mut problems);
        self.check_classes(&mut problems);
        for (index, service) in master.map(MasterCf::services).unwrap_or_default().iter().enumerate() {
            let as_seen = self.with_overrides(&service.parameter_overrides());
            if service.overrides.iter().any(|setting| setting.name == "smtpd_restriction_classes") {
                as_seen.check_classes(&mut problems);
            }
            for setting in &service.overrides {
                let good = as_seen.check_setting(&setting.name, &setting.value, &setting.span, &mut problems);
                if !used.knows_local(index, &setting.name) {
                    problems.push(unknown_name(&setting.name, &setting.span, &used));
                } else if good {
                    as_seen.check_honour(&setting.name, &setting.value, &setting.span, &mut problems);
                }
            }
        }
        problems
    }

    /// A default can fail through a parameter that it names. Told at the setting that it names, unless that one
    /// has been told already.
    fn check_defaults(&self, bad: &HashSet<&str>, problems: &mut Vec<Diagnostic>) {
        for parameter in registry::all() {
            let raw = parameter.kind == Kind::RawString || !parameter.default.contains('$');
            if raw || parameter.kind == Kind::String || self.is_set(parameter.name) {
                continue;
            }
            let named = self.names_behind(parameter.default);
            if named.iter().any(|name| bad.contains(name.as_str())) {
                continue;
            }
            let Ok(value) = self.expand_raw(parameter.default) else { continue };
            let unit = value::default_unit(parameter.default);
            if let Some(problem) = check_type(parameter.name, &value, parameter.kind, unit) {
                let remedy = format!("the default is {}: look at the parameters it names", parameter.default);
                problems.push(problem.at(named.iter().find_map(|name| self.origin(name))).help(remedy));
            }
        }
    }

    /// All that is set: overrides over `main.cf`.
    pub(crate) fn settings(&self) -> HashMap<&str, &str> {
        let main = self.inner.main.effective().map(|d| (d.name.as_str(), d.value.as_str()));
        let overrides = self.inner.overrides.iter().map(|(name, (value, _))| (name.as_str(), &**value));
        main.chain(overrides).collect()
    }

    /// Every name that the expansion of a text may look at.
    fn names_behind(&self, text: &str) -> Vec<String> {
        let mut todo = Vec::new();
        note_names(text, &mut todo);
        let mut all: Vec<String> = Vec::new();
        while let Some(name) = todo.pop() {
            if !all.contains(&name) {
                note_names(&self.raw(&name), &mut todo);
                all.push(name);
            }
        }
        all
    }

    /// The value of one parameter: does it expand, and is it of the right type?
    fn check_setting(&self, name: &str, text: &str, span: &Span, problems: &mut Vec<Diagnostic>) -> bool {
        let meaning = meaning(name);
        if meaning.as_ref().is_some_and(|m| m.kind == Kind::RawString) {
            return true;
        }
        let problem = match (self.expand_raw(text), meaning) {
            (Err(MacroError(message)), _) => Some(expansion_error(format!("parameter {name}: {message}"))),
            (Ok(_), None) => None,
            (Ok(value), Some(meaning)) => check_type(name, &value, meaning.kind, value::default_unit(meaning.default))
                .or_else(|| check_level(name, &value))
                .or_else(|| check_word(name, &value)),
        };
        let good = problem.is_none();
        problems.extend(problem.map(|problem| problem.at(Some(span.clone()))));
        good
    }

    /// Every restriction class needs a definition.
    fn check_classes(&self, problems: &mut Vec<Diagnostic>) {
        let classes = self.text("smtpd_restriction_classes");
        for class in classes.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|class| !class.is_empty()) {
            if self.text(class).trim().is_empty() {
                problems.push(
                    Diagnostic::error("undefined-class", format!("restriction class `{class}' needs a definition"))
                        .at(self.origin("smtpd_restriction_classes"))
                        .help(format!("write {class} = restriction, restriction ... or take it off the list")),
                );
            }
        }
    }

    /// Set to something else than the default, but of no effect?
    fn check_honour(&self, name: &str, text: &str, span: &Span, problems: &mut Vec<Diagnostic>) {
        let Honour::NotYet(feature) = registry::honoured(name) else { return };
        let default = self.expanded_default(name);
        let idle =
            |value: &str| same(name, value, &default) || name.ends_with("_tls_security_level") && value == "none";
        if self.expand_raw(text).is_ok_and(|value| !idle(&value)) {
            problems.push(
                Diagnostic::warning("not-acted-on", format!("parameter {name} is not acted on yet"))
                    .at(Some(span.clone()))
                    .help(format!("postern does not have {feature} yet; the setting has no effect")),
            );
        }
    }
}

/// Sizes in bytes that may be larger than an `int`.
const LONG: [&str; 4] = ["mailbox_size_limit", "message_size_limit", "queue_minfree", "virtual_mailbox_limit"];

fn check_type(name: &str, text: &str, kind: Kind, unit: char) -> Option<Diagnostic> {
    let (code, message, help) = match kind {
        Kind::Integer if LONG.contains(&name) && value::parse_long(text).is_some() => return None,
        Kind::Integer if value::parse_int(text).is_none() => (
            "bad-integer",
            format!("bad numerical configuration: {name} = {text}"),
            "write a decimal number without unit".to_owned(),
        ),
        Kind::Boolean if value::parse_bool(text).is_none() => {
            ("bad-boolean", format!("bad boolean configuration: {name} = {text}"), "write yes or no".to_owned())
        }
        Kind::Time if value::parse_time(text, unit).is_none() => (
            "bad-time",
            format!("parameter {name}: bad time value or unit: {text}"),
            format!("write a number and one of s, m, h, d, w (without a unit: {unit})"),
        ),
        _ => return None,
    };
    Some(Diagnostic::error(code, message).help(help))
}

/// Do two texts mean the same value of a parameter?
fn same(name: &str, a: &str, b: &str) -> bool {
    let Some(meaning) = meaning(name) else { return a == b };
    let unit = value::default_unit(meaning.default);
    match meaning.kind {
        Kind::Integer => value::parse_long(a) == value::parse_long(b),
        Kind::Boolean => value::parse_bool(a) == value::parse_bool(b),
        Kind::Time => value::parse_time(a, unit) == value::parse_time(b, unit),
        _ => a == b,
    }
}

/// Parameters that take one of a few words, or a number in a range.
fn check_word(name: &str, text: &str) -> Option<Diagnostic> {
    let bad =
        |help: String| Some(Diagnostic::error("bad-value", format!("bad configuration: {name} = {text}")).help(help));
    let words: &[&str] = match name {
        _ if name.ends_with("_tempfail_action") => &["defer", "defer_if_permit"],
        "postern_spf_permerror_action" => &["dunno", "defer", "reject"],
        "mynetworks_style" => &["host", "subnet", "class"],
        "smtpd_forbid_bare_newline" => &["yes", "no", "normalize", "reject", "note"],
        "header_from_format" => &["standard", "obsolete"],
        _ => &[],
    };
    if !words.is_empty() {
        let known = words.iter().any(|word| word.eq_ignore_ascii_case(text));
        return if known { None } else { bad(format!("write one of {}", words.join(", "))) };
    }
    let (low, high) = match name {
        "unverified_sender_defer_code" | "unverified_recipient_defer_code" => (200, 499),
        "unverified_sender_reject_code" | "unverified_recipient_reject_code" => (200, 599),
        _ => return None,
    };
    let inside = value::parse_int(text).is_some_and(|code| (low..=high).contains(&code));
    if inside { None } else { bad(format!("write a reply code from {low} to {high}")) }
}

fn check_level(name: &str, text: &str) -> Option<Diagnostic> {
    if name != "compatibility_level" {
        return None;
    }
    let MacroError(message) = expand::parse_level(text).err()?;
    Some(
        Diagnostic::error("bad-level", format!("bad configuration: {name}: {message}"))
            .help("write major.minor, such as 3.12"),
    )
}

/// A name that nothing uses, with the known name that may have been meant.
fn unknown_name(name: &str, span: &Span, used: &Usage) -> Diagnostic {
    let help = match registry::nearest(name).or_else(|| names::nearest(name, used.used())) {
        Some(near) => format!("did you mean {near}?"),
        None => "remove it, or refer to it as $name".to_owned(),
    };
    Diagnostic::warning("unknown-parameter", format!("unused parameter: {name}")).at(Some(span.clone())).help(help)
}

/// The names a text refers to; a text in error gives those before the error.
fn note_names(text: &str, into: &mut Vec<String>) {
    if text.contains('$') {
        // A text in error is reported where it is expanded.
        let _ = expand::scan(text, &mut |name| into.push(name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parameters;
    use super::*;

    fn told(problems: &[Diagnostic]) -> Vec<String> {
        problems.iter().map(|d| d.to_string().lines().next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn every_mistake_at_once() {
        let p = parameters(
            "message_size_limit = 10737418240\nsmtpd_hard_error_limit = 10737418240\nsmtpd_timeout = 5y\nsmtpd_helo_required = on\nrelayhost = $.x\n\
             smtpd_banners = hi\nmyorigin = ${a\nsmtpd_reject_footer = $.\ncompatibility_level = 3.x\n\
             smtp_tls_cert_file = /x\nsmtp_tls_key_file = $smtp_tls_cert_file\nsmtpd_milters =\n",
        );
        assert_eq!(
            told(&p.check()),
            [
                "main.cf:2: error: bad numerical configuration: smtpd_hard_error_limit = 10737418240 [bad-integer]",
                "main.cf:3: error: parameter smtpd_timeout: bad time value or unit: 5y [bad-time]",
                "main.cf:4: error: bad boolean configuration: smtpd_helo_required = on [bad-boolean]",
                "main.cf:5: error: parameter relayhost: empty macro name: \"$.x\" [bad-expansion]",
                "main.cf:6: warning: unused parameter: smtpd_banners [unknown-parameter]",
                "main.cf:7: error: parameter myorigin: truncated macro reference: \"${a\" [bad-expansion]",
                "main.cf:9: error: bad configuration: compatibility_level: malformed compatibility level syntax: \"3.x\" [bad-level]",
                "main.cf:10: warning: parameter smtp_tls_cert_file is not acted on yet [not-acted-on]",
            ]
        );
        assert_eq!(p.check()[4].help.as_deref(), Some("did you mean smtpd_banner?"));
    }

    #[test]
    fn user_parameters_are_known_when_used() {
        let p = parameters(
            "smtpd_restriction_classes = strict lax\nstrict = check_client_access $maps\nlax = permit\nmaps = hash:/x\n\
             relay_domains = $mine, ldap:corp\nmine = $deep\ndeep = a\ncorp_server_host = x\nslow_destination_rate_delay = 3s\n\
             orphan = $lonely\nlonely = x\n",
        );
        assert_eq!(
            told(&p.check()),
            [
                "main.cf:9: warning: parameter slow_destination_rate_delay is not acted on yet [not-acted-on]",
                "main.cf:10: warning: unused parameter: orphan [unknown-parameter]",
            ]
        );
    }

    #[test]
    fn words_codes_and_classes() {
        let p = parameters(
            "reject_tempfail_action = accept\nunverified_sender_defer_code = 550\nmynetworks_style = Host\n\
             smtpd_restriction_classes = a, b c\nb = permit\nc =\nsmtpd_forbid_bare_newline = maybe\n\
             postern_spf_permerror_action = accept\n",
        );
        assert_eq!(
            told(&p.check()),
            [
                "main.cf:1: error: bad configuration: reject_tempfail_action = accept [bad-value]",
                "main.cf:2: error: bad configuration: unverified_sender_defer_code = 550 [bad-value]",
                "main.cf:7: error: bad configuration: smtpd_forbid_bare_newline = maybe [bad-value]",
                "main.cf:8: error: bad configuration: postern_spf_permerror_action = accept [bad-value]",
                "main.cf:4: error: restriction class `a' needs a definition [undefined-class]",
                "main.cf:4: error: restriction class `c' needs a definition [undefined-class]",
            ]
        );
    }

    #[test]
    fn services_are_checked_as_they_see_it() {
        let p = parameters("slow_time_limit = 3\npol_time_limit = 3600\nmine = 1\n");
        let (master, _) = MasterCf::parse(
            "master.cf",
            "smtp inet n - n - - smtpd -o smtpd_hard_error_limit=$mine -o smtpd_client_restrictions=$own -o own=permit\n\
             slow unix - - n - - smtp -o smtp_connect_timeout=x -o smtp_helo_nam=y\npol unix - n n - 0 spawn argv=/x\n",
        );
        assert_eq!(
            told(&p.check_with(&master)),
            [
                "main.cf:1: warning: unused parameter: slow_time_limit [unknown-parameter]",
                "main.cf:2: warning: parameter pol_time_limit is not acted on yet [not-acted-on]",
                "master.cf:2: error: parameter smtp_connect_timeout: bad time value or unit: x [bad-time]",
                "master.cf:2: warning: unused parameter: smtp_helo_nam [unknown-parameter]",
            ]
        );
    }

    #[test]
    fn a_default_can_break_through_what_it_names() {
        let p = parameters("smtpd_starttls_timeout = 300\ndefault_destination_rate_delay = soon\n");
        let bad = "main.cf:2: error: parameter default_destination_rate_delay: bad time value or unit: soon [bad-time]";
        assert_eq!(told(&p.check()), [bad]);
        let p = parameters("smtpd_per_record_deadline = perhaps\n");
        let want = "main.cf:1: error: bad boolean configuration: smtpd_per_request_deadline = perhaps [bad-boolean]";
        assert_eq!(told(&p.check()), [want]);
    }
}
