//! Rewriting to standard form, as for mail from local programs: source routes, `!`, `%`, missing domains.

use super::Routing;
use super::syntax::{bare_positions, quoted, unquoted};

impl Routing {
    /// Rewrite an address (internal form, before and after) in the local context.
    pub fn rewrite(&self, address: &str) -> String {
        if address.is_empty() {
            return String::new();
        }
        unquoted(&self.rewrite_external(quoted(address).into_owned()))
    }

    /// The same on the external form.
    pub(super) fn rewrite_external(&self, mut text: String) -> String {
        if text.starts_with('@') {
            let colon = bare_positions(&text, ':').next();
            if let Some(colon) = colon {
                text.drain(..=colon);
            }
        }
        if bare_positions(&text, '@').next().is_none() {
            self.give_domain(&mut text);
        }
        let at = bare_positions(&text, '@').last();
        if let Some(at) = at {
            let domain = &text[at + 1..];
            if self.append_dot_mydomain && !domain.is_empty() && !domain.contains('.') && !domain.starts_with('[') {
                text.push('.');
                text.push_str(&self.mydomain);
            }
        }
        trim_final_dot(&mut text);
        text
    }

    fn give_domain(&self, text: &mut String) {
        if self.swap_bangpath {
            let bang = bare_positions(text, '!').next();
            if let Some(bang) = bang {
                *text = format!("{}@{}", &text[bang + 1..], &text[..bang]);
                return;
            }
        }
        if self.percent_hack {
            let percent = bare_positions(text, '%').last();
            if let Some(percent) = percent {
                text.replace_range(percent..=percent, "@");
                return;
            }
        }
        if self.append_at_myorigin && !text.is_empty() {
            text.push('@');
            text.push_str(&self.myorigin);
        }
    }
}

/// `user@domain.` loses its dot; `user@domain..` and `user@.` keep theirs.
pub(super) fn trim_final_dot(text: &mut String) {
    if text.ends_with('.') && !text.ends_with("..") && !text.ends_with("@.") {
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::routing;

    #[test]
    fn addresses_get_their_standard_form() {
        let routing = routing(&[]);
        for (given, expected) in [
            ("", ""),
            ("user", "user@example.com"),
            ("user@host", "user@host"),
            ("user@host.", "user@host"),
            ("user@host..", "user@host.."),
            ("user@", "user@"),
            ("site!user", "user@site"),
            ("a!b!user", "b!user@a"),
            ("user%site", "user@site"),
            ("user%a%b", "user%a@b"),
            ("user%site@example.com", "user%site@example.com"),
            ("a b", "a b@example.com"),
        ] {
            assert_eq!(routing.rewrite(given), expected, "{given}");
        }
    }

    #[test]
    fn rewriting_obeys_its_parameters() {
        let dotted = routing(&[("append_dot_mydomain", "yes")]);
        assert_eq!(dotted.rewrite("user@host"), "user@host.example.com");
        assert_eq!(dotted.rewrite("user@[192.0.2.1]"), "user@[192.0.2.1]");
        let plain = routing(&[("swap_bangpath", "no"), ("allow_percent_hack", "no")]);
        assert_eq!(plain.rewrite("site!user"), "site!user@example.com");
        assert_eq!(plain.rewrite("user%site"), "user%site@example.com");
        let bare = routing(&[("append_at_myorigin", "no")]);
        assert_eq!(bare.rewrite("user"), "user");
    }
}
