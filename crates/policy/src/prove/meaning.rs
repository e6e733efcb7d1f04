//! What a value of an access table comes to: access(5) without a mail at hand. Says what `action::interpret` would do.

use crate::plan::Plan;
use crate::restriction::{Item, Words, parse};
use config::Places;

/// What an entry comes to.
pub(super) enum Meaning {
    Permit,
    /// The list goes on, whatever else happens to the mail.
    Continue,
    /// Refused, or the connection is closed.
    Stop,
    /// Refused in the end.
    Defer,
    /// Restrictions.
    List(Vec<Item>),
    /// That depends on the key.
    Unknown,
}

/// What an entry comes to; of a value that varies, its beginning is given.
pub(super) fn meaning(plan: &Plan, value: &str, varies: bool) -> Meaning {
    if varies {
        return beginning(value.trim_start());
    }
    let value = value.trim();
    if value.is_empty() {
        return Meaning::Stop;
    }
    let word = value[..value.find([' ', '\t']).unwrap_or(value.len())].to_ascii_uppercase();
    if value.bytes().all(|b| b.is_ascii_digit()) {
        return Meaning::Permit;
    }
    if let Some(meaning) = of_word(&word) {
        return meaning;
    }
    // A look-up in a table named by a table is refused.
    if value.contains(':') {
        return Meaning::Stop;
    }
    let mut words = Words { classes: &plan.class_names, tables: None, services: None, places: Places::default() };
    let items = parse(value, &mut words);
    if items.is_empty() { Meaning::Permit } else { Meaning::List(items) }
}

fn of_word(word: &str) -> Option<Meaning> {
    Some(match word {
        "REJECT" | "DEFER" | "HANGUP" => Meaning::Stop,
        "DEFER_IF_PERMIT" => Meaning::Defer,
        "OK" | "RELAY" => Meaning::Permit,
        // DISCARD ends the lists too, but nothing is relayed; where it isn't possible, they go on.
        "DEFER_IF_REJECT" | "DUNNO" | "FILTER" | "HOLD" | "DISCARD" | "REDIRECT" | "BCC" | "PREPEND" | "INFO"
        | "WARN" => Meaning::Continue,
        _ if is_code(word) => Meaning::Stop,
        _ => return None,
    })
}

fn is_code(word: &str) -> bool {
    word.len() == 3 && word.starts_with(['4', '5']) && word.bytes().all(|b| b.is_ascii_digit())
}

/// Of a value only its beginning is known.
fn beginning(text: &str) -> Meaning {
    let Some(end) = text.find([' ', '\t']) else { return Meaning::Unknown };
    let (word, rest) = (text[..end].to_ascii_uppercase(), text[end..].trim());
    // A number alone permits.
    if word.bytes().all(|b| b.is_ascii_digit()) && rest.is_empty() {
        return Meaning::Unknown;
    }
    of_word(&word).unwrap_or(Meaning::Unknown)
}
