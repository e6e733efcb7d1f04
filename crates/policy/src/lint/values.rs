//! Values of access tables that don't do what they seem to say. See access(5).

use super::relay::permits;
use crate::plan::Plan;
use crate::restriction::{Item, Kind, Problem, Words, parse};
use config::{Diagnostic, Places};

/// Actions that stand alone or with a text.
const ACTIONS: [&str; 15] = [
    "OK",
    "RELAY",
    "DUNNO",
    "REJECT",
    "DEFER",
    "DEFER_IF_PERMIT",
    "DEFER_IF_REJECT",
    "HANGUP",
    "HOLD",
    "DISCARD",
    "INFO",
    "WARN",
    "FILTER",
    "REDIRECT",
    "BCC",
];

/// What is wrong with a value that `restriction` may find.
pub(super) fn judge(plan: &Plan, restriction: &str, value: &str) -> Option<Diagnostic> {
    let value = value.trim();
    let (word, text) = value.split_once([' ', '\t']).map_or((value, ""), |(word, text)| (word, text.trim_start()));
    let told = |code: &'static str, message: String, help: &str| Some(Diagnostic::warning(code, message).help(help));
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && value.len() == 3 && value.starts_with(['4', '5']) {
        let help = format!("write \"{value} 5.7.1 why\", or REJECT; write OK if you mean it");
        return told("number-permits", format!("\"{value}\" alone permits: a number without a text means OK"), &help);
    }
    if permits(value) && is_ok_forbidden(restriction) {
        let message =
            format!("{restriction} must not permit: \"{value}\" answers 451 4.3.5 Server configuration error");
        return told("ok-forbidden", message, "write DUNNO to make an exception");
    }
    let upper = word.to_ascii_uppercase();
    // Texts from patterns are only known when they match.
    let is_template = value.contains('$');
    let bad = match upper.as_str() {
        _ if value.is_empty() || is_number || is_template => return None,
        "FILTER" if !text.contains(':') => Some("transport:destination"),
        "REDIRECT" | "BCC" if !text.contains('@') => Some("user@domain"),
        "PREPEND" if !text.contains(':') => Some("Header: text"),
        "PREPEND" => return None,
        _ if ACTIONS.contains(&upper.as_str()) || is_code(word) => return None,
        _ => None,
    };
    if let Some(wanted) = bad {
        let message = format!("{upper} has no effect: it needs {wanted}");
        return told("bad-action", message, &format!("write {upper} {wanted}"));
    }
    judge_list(plan, value)
}

/// The value is a list of restrictions.
fn judge_list(plan: &Plan, value: &str) -> Option<Diagnostic> {
    if value.contains(':') {
        let message = format!("\"{value}\" names a table: that answers 451 4.3.5 Server configuration error");
        return Some(
            Diagnostic::warning("table-in-action", message)
                .help("define a restriction class in main.cf that looks into the table, and write its name"),
        );
    }
    let mut words = Words { classes: &plan.class_names, tables: None, services: None, places: Places::default() };
    let items = parse(value, &mut words);
    let problem = items.iter().find_map(|item: &Item| match &item.kind {
        Kind::Broken(problem) => Some(problem),
        _ => None,
    })?;
    let message = match problem {
        Problem::Unknown(name) => format!("\"{name}\" is neither an action nor a restriction"),
        _ => problem.warning(),
    };
    let near = match problem {
        Problem::Unknown(name) => plan.nearest_action(name),
        _ => None,
    };
    let help = match near {
        Some(near) => format!("did you mean {near}? As it is, it answers 451 4.3.5 Server configuration error"),
        None => "as it is, it answers 451 4.3.5 Server configuration error; access(5) has the actions".to_owned(),
    };
    Some(Diagnostic::warning("unknown-action", message).help(help))
}

impl Plan {
    /// The action or restriction that is most like this word.
    fn nearest_action(&self, name: &str) -> Option<String> {
        let upper = name.to_ascii_uppercase();
        let best = ACTIONS.iter().map(|action| (crate::plan::distance(&upper, action), *action)).min()?;
        if best.0 <= 1 + upper.len() / 6 {
            return Some(best.1.to_owned());
        }
        crate::plan::nearest_restriction(name, self.class_names.keys().map(AsRef::as_ref))
    }
}

/// `4NN` or `5NN`, with a text behind it.
fn is_code(word: &str) -> bool {
    word.len() == 3 && word.starts_with(['4', '5']) && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Names that the client's provider or the sender's DNS makes up must not permit anything.
fn is_ok_forbidden(restriction: &str) -> bool {
    restriction == "check_reverse_client_hostname_access"
        || ["_mx_access", "_ns_access", "_a_access"].iter().any(|tail| restriction.ends_with(tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableRegistry;
    use crate::testing::Config;

    #[test]
    fn values_that_say_something_else() {
        let values = [("smtpd_restriction_classes", "strict"), ("strict", "reject")];
        let (plan, _) = Plan::compile(&Config::new(&values), &mut TableRegistry::new());
        for (value, want) in [
            ("OK", None),
            ("ok since 2019", None),
            ("1", None),
            ("1234567", None),
            ("550", Some("number-permits: \"550\" alone permits: a number without a text means OK")),
            ("550 5.7.1 go away", None),
            ("550 no", None),
            ("REJECT", None),
            ("reject no thanks", None),
            ("dunno", None),
            ("strict", None),
            ("reject_non_fqdn_sender, permit", None),
            ("PREPEND X-Spam: yes", None),
            ("PREPEND X-Spam", Some("bad-action: PREPEND has no effect: it needs Header: text")),
            ("FILTER smtp-amavis", Some("bad-action: FILTER has no effect: it needs transport:destination")),
            ("FILTER smtp-amavis:[127.0.0.1]:10024", None),
            ("REDIRECT joe", Some("bad-action: REDIRECT has no effect: it needs user@domain")),
            ("$1", None),
            ("RJECT", Some("unknown-action: \"RJECT\" is neither an action nor a restriction")),
            ("250 fine", Some("unknown-action: \"250\" is neither an action nor a restriction")),
            (
                "check_sender_access hash:/x",
                Some(
                    "table-in-action: \"check_sender_access hash:/x\" names a table: that answers 451 4.3.5 Server configuration error",
                ),
            ),
        ] {
            let found = judge(&plan, "check_client_access", value).map(|f| format!("{}: {}", f.code, f.message));
            assert_eq!(found.as_deref(), want, "{value}");
        }
        let near = judge(&plan, "check_client_access", "RJECT").and_then(|f| f.help);
        assert!(near.is_some_and(|help| help.starts_with("did you mean REJECT?")));
        let near = judge(&plan, "check_client_access", "reject_non_fqn_sender").and_then(|f| f.help);
        assert!(near.is_some_and(|help| help.starts_with("did you mean reject_non_fqdn_sender?")));
        for (restriction, is_told) in [
            ("check_sender_mx_access", true),
            ("check_reverse_client_hostname_access", true),
            ("check_sender_access", false),
        ] {
            assert_eq!(judge(&plan, restriction, "OK").is_some(), is_told, "{restriction}");
        }
    }
}
