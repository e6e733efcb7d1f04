//! What the two files say that their author hardly meant, apart from values that can't be used at all.

mod deprecated;
mod overrides;

use crate::diagnostic::{Diagnostic, Span};
use crate::master_cf::MasterCf;
use crate::parameters::Parameters;

/// All that is odd about the settings.
pub fn lint(parameters: &Parameters, master: &MasterCf) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    level(parameters, &mut found);
    deprecated::lint(parameters, master, &mut found);
    overrides::lint(parameters, master, &mut found);
    leftovers(parameters, &mut found);
    found
}

/// What else depends on the level, as far as it makes a difference to most sites.
const BY_LEVEL: [&str; 5] =
    ["smtpd_relay_restrictions", "append_dot_mydomain", "mynetworks_style", "relay_domains", "smtputf8_enable"];

/// Without a level the defaults are those of Postfix 2.x.
fn level(parameters: &Parameters, found: &mut Vec<Diagnostic>) {
    if parameters.is_set("compatibility_level") {
        return;
    }
    let is_open = |name: &&str| {
        let by_another = *name == "mynetworks_style" && parameters.is_set("mynetworks");
        !parameters.is_set(name) && !by_another
    };
    let open: Vec<&str> = BY_LEVEL.into_iter().filter(is_open).collect();
    let defaults = if open.is_empty() { String::new() } else { format!(" of {}", open.join(", ")) };
    let message = format!("compatibility_level isn't set: the defaults{defaults} are those of Postfix 2");
    found.push(
        Diagnostic::warning("no-compatibility-level", message)
            .at(Some(Span::new(parameters.main().file(), 0)))
            .help("write compatibility_level = 3.12, and set what should stay as it was"),
    );
}

/// What is right while something is tested, or could be had for nothing.
fn leftovers(parameters: &Parameters, found: &mut Vec<Diagnostic>) {
    if parameters.bool("soft_bounce") {
        found.push(
            Diagnostic::note(
                "soft-bounce",
                "soft_bounce = yes: nothing is refused for good, clients try again for days",
            )
            .at(parameters.origin("soft_bounce"))
            .help("remove it when testing is over"),
        );
    }
    let name = "smtpd_helo_restrictions";
    let checks = parameters.text(name);
    if checks.contains("reject") && !parameters.bool("smtpd_helo_required") {
        found.push(
            Diagnostic::note("helo-not-required", format!("{name}: a client that doesn't say HELO gets around it"))
                .at(parameters.origin(name))
                .help("write smtpd_helo_required = yes"),
        );
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::{HostFacts, MainCf};
    use std::sync::Arc;

    /// The findings as texts, but for the missing level.
    pub fn told(main: &str, master: &str) -> Vec<String> {
        let parameters =
            Parameters::new(Arc::new(MainCf::parse("main.cf", main).0), HostFacts::named("mx.example.com"));
        let (master, _) = MasterCf::parse("master.cf", master);
        let found = lint(&parameters, &master);
        let found = found.into_iter().filter(|f| f.code != "no-compatibility-level");
        found.map(|f| f.to_string().split("\n    help").next().unwrap_or_default().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::told;
    use super::*;
    use crate::{HostFacts, MainCf};
    use std::sync::Arc;

    #[test]
    fn a_level_is_missed() {
        for (text, missed) in [("", true), ("compatibility_level = 2\n", false)] {
            let parameters = Parameters::new(Arc::new(MainCf::parse("main.cf", text).0), HostFacts::default());
            let found = lint(&parameters, &MasterCf::default());
            assert_eq!(found.iter().any(|f| f.code == "no-compatibility-level"), missed, "{text}");
        }
        let text = "mynetworks = 127.0.0.1\nrelay_domains =\nappend_dot_mydomain = no\n";
        let parameters = Parameters::new(Arc::new(MainCf::parse("main.cf", text).0), HostFacts::default());
        assert_eq!(
            lint(&parameters, &MasterCf::default())[0].message,
            "compatibility_level isn't set: the defaults of smtpd_relay_restrictions, smtputf8_enable are those of Postfix 2"
        );
    }

    #[test]
    fn leftovers_are_notes() {
        assert_eq!(
            told("soft_bounce = yes\nsmtpd_helo_restrictions = reject_invalid_helo_hostname\n", ""),
            [
                "main.cf:1: note: soft_bounce = yes: nothing is refused for good, clients try again for days [soft-bounce]",
                "main.cf:2: note: smtpd_helo_restrictions: a client that doesn't say HELO gets around it [helo-not-required]",
            ]
        );
        assert_eq!(
            told("smtpd_helo_required = yes\nsmtpd_helo_restrictions = reject_invalid_helo_hostname\n", ""),
            [""; 0]
        );
    }
}
