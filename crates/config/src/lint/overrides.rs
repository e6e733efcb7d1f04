//! `-o name=value` in master.cf against main.cf: what counts for which service.

use crate::diagnostic::Diagnostic;
use crate::master_cf::{MasterCf, Service};
use crate::parameters::Parameters;
use crate::registry;
use std::collections::HashSet;

pub(super) fn lint(parameters: &Parameters, master: &MasterCf, found: &mut Vec<Diagnostic>) {
    let services: Vec<&Service> = master.effective().collect();
    for service in &services {
        repeated(service, found);
    }
    for definition in parameters.main().effective() {
        let name = definition.name.as_str();
        let Some(parameter) = registry::find(name) else { continue };
        let components: Vec<&str> = parameter.component.split(',').map(str::trim).collect();
        // Only smtpd has settings that no other program reads and that services often have of their own.
        if components != ["smtpd"] {
            continue;
        }
        let readers: Vec<&&Service> = services.iter().filter(|service| service.command == "smtpd").collect();
        let own: Vec<_> =
            readers.iter().filter_map(|service| service.overrides.iter().rev().find(|o| o.name == name)).collect();
        if readers.is_empty() || own.len() < readers.len() {
            continue;
        }
        // An override may be made of the value.
        let is_used = own.iter().any(|setting| mentions(&setting.value, name))
            || parameters.main().effective().any(|other| mentions(&other.value, name));
        if !is_used {
            let message =
                format!("{name} has no effect: every smtpd service of master.cf has its own ({})", own[0].span);
            found.push(
                Diagnostic::warning("overridden-everywhere", message)
                    .at(Some(definition.span.clone()))
                    .help("remove it here, or remove the -o settings that hide it"),
            );
        }
    }
    for service in &services {
        summary(parameters, service, found);
    }
}

fn mentions(text: &str, name: &str) -> bool {
    text.split('$').skip(1).any(|rest| {
        let rest = rest.trim_start_matches(['{', '(']);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end] == name
    })
}

/// The same name twice in one service.
fn repeated(service: &Service, found: &mut Vec<Diagnostic>) {
    let mut seen = HashSet::new();
    for setting in service.overrides.iter().rev() {
        if seen.insert(setting.name.as_str()) {
            continue;
        }
        let message = format!(
            "service {}: -o {}={} has no effect: another one follows",
            service.name, setting.name, setting.value
        );
        found.push(
            Diagnostic::warning("repeated-override", message)
                .at(Some(setting.span.clone()))
                .help("remove one of the two; the last one counts"),
        );
    }
}

/// What main.cf sets and this service doesn't listen to.
fn summary(parameters: &Parameters, service: &Service, found: &mut Vec<Diagnostic>) {
    if service.command != "smtpd" {
        return;
    }
    let names: Vec<&str> = service
        .overrides
        .iter()
        .filter(|setting| {
            // Every submission service has its own of these.
            let is_usual = ["smtpd_tls_", "smtpd_sasl_"].iter().any(|start| setting.name.starts_with(start));
            let here = parameters.main().get(&setting.name).filter(|_| !is_usual);
            here.is_some_and(|definition| definition.value != setting.value)
        })
        .map(|setting| setting.name.as_str())
        .collect();
    if names.is_empty() {
        return;
    }
    let message = format!("service {} doesn't follow main.cf in: {}", service.name, names.join(", "));
    found.push(
        Diagnostic::note("overridden-parameter", message)
            .at(Some(service.span.clone()))
            .help("postern explain --policy shows what each service does"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::testing::told;

    #[test]
    fn settings_that_nobody_reads() {
        let main = "smtpd_client_restrictions = permit\nsmtpd_banner = $myhostname\n";
        let both = "smtp inet n - n - - smtpd -o smtpd_client_restrictions=\nsubmission inet n - n - - smtpd -o smtpd_client_restrictions=reject\n";
        let one = "smtp inet n - n - - smtpd\nsubmission inet n - n - - smtpd -o smtpd_client_restrictions=reject\n";
        let note = |line: u32, name: &str| {
            format!(
                "master.cf:{line}: note: service {name} doesn't follow main.cf in: smtpd_client_restrictions [overridden-parameter]"
            )
        };
        assert_eq!(
            told(main, both),
            [
                "main.cf:1: warning: smtpd_client_restrictions has no effect: every smtpd service of master.cf has its own \
                 (master.cf:1) [overridden-everywhere]"
                    .to_owned(),
                note(1, "smtp"),
                note(2, "submission"),
            ]
        );
        assert_eq!(told(main, one), [note(2, "submission")]);
        let used = both.replace("=reject", "=$smtpd_client_restrictions,reject");
        assert!(!told(main, &used).iter().any(|text| text.contains("overridden-everywhere")));
    }

    #[test]
    fn the_last_of_two_counts() {
        let found = told("", "smtp inet n - n - - smtpd -o smtpd_banner=a -o smtpd_banner=b\n");
        assert_eq!(
            found,
            [
                "master.cf:1: warning: service smtp: -o smtpd_banner=a has no effect: another one follows [repeated-override]"
            ]
        );
    }

    #[test]
    fn names_are_found_in_values() {
        for (text, want) in
            [("$a", true), ("x ${a}", true), ("${a?b}", true), ("$ab", false), ("a", false), ("$(a)", true)]
        {
            assert_eq!(mentions(text, "a"), want, "{text}");
        }
    }
}
