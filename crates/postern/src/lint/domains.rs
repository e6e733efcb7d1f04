//! Domains that are listed in two address classes: only one of them can count.

use config::{Diagnostic, Parameters};
use std::collections::HashMap;

/// The lists, in the order in which a domain is looked for.
const CLASSES: [&str; 3] = ["mydestination", "virtual_alias_domains", "virtual_mailbox_domains"];

/// Domains in more than one list. Tables and files aren't looked into.
pub fn lint(parameters: &Parameters) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut seen: HashMap<String, &str> = HashMap::new();
    let is_name = |word: &str| !word.contains(['/', ':', '!', '{']);
    for class in CLASSES {
        let mut places = parameters.places(class);
        for word in config::list::words(&parameters.text(class)).unwrap_or_default() {
            let span = places.word(&word);
            let first = seen.entry(word.to_ascii_lowercase()).or_insert(class);
            if *first != class && is_name(&word) {
                let message = format!("{word} is listed in {first} and in {class}");
                let problem = Diagnostic::warning("domain-in-two-classes", message).at(span);
                found.push(problem.help(format!("remove it from one of them; now {first} counts")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{HostFacts, MainCf};
    use std::sync::Arc;

    #[test]
    fn a_domain_has_one_class() {
        for (main, want) in [
            ("mydestination = a.example\nvirtual_mailbox_domains = b.example\n", &[][..]),
            (
                "mydestination = $myhostname\nvirtual_mailbox_domains = MX.example.com\n",
                &["MX.example.com is listed in mydestination and in virtual_mailbox_domains"],
            ),
            ("virtual_alias_domains = hash:/x\nvirtual_mailbox_domains = hash:/x\n", &[]),
            ("mydestination = a.example, a.example\n", &[]),
        ] {
            let parameters =
                Parameters::new(Arc::new(MainCf::parse("main.cf", main).0), HostFacts::named("mx.example.com"));
            let found: Vec<_> = lint(&parameters).into_iter().map(|found| found.message).collect();
            assert_eq!(found, want, "{main}");
        }
    }
}
