//! Random restriction lists.

use policy::Argument;

use super::dice::Dice;
use super::draft::Draft;
use super::known::avoided_in;
use super::tables::table;
use super::words::{self, restrictions_with};

/// What a scenario is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The recipient's local part chooses a small list in every place: many decisions in one session.
    Dispatch,
    /// Ordinary lists, all at RCPT TO.
    Delayed,
    /// Ordinary lists, each at its time (`smtpd_delay_reject = no`).
    Immediate,
}

const PLACES: &[&str] = &["client", "helo", "sender", "relay", "recipient", "data", "end_of_data", "etrn"];

const BLOCKLISTS: &[&str] = &[
    "bl.example",
    "bl.example=127.0.0.2",
    "bl.example=127.0.0.[3..9]",
    "bl.example=127.0.[0;1].[2;4..6;10]",
    "bl.example=[127].0.0.[1..255]",
    "wl.example",
    "wl.example=127.0.1.[1..3;9]",
    "multi.example",
    "softbl.example",
    "refbl.example",
    "nobl.example",
    "BL.example",
];

const DOMAIN_LISTS: &[&str] = &[
    "rhs.example",
    "rhs.example=127.0.0.2",
    "rhs.example=127.0.0.[2;3]",
    "rhs.example=127.0.[0..1].[3..5]",
    "rhswl.example",
    "softbl.example",
    "refbl.example",
    "nobl.example",
];

/// Restrictions that end a list at once hide the others: they are rare.
const ENDS: &[&str] = &["permit", "reject", "defer", "reject_unauth_pipelining", "reject_plaintext_session"];

const SERVICE: &str = "inet:127.0.0.1:10040";
const DEAD_SERVICE: &str = "inet:127.0.0.1:10041";

/// A restriction with an argument of one of these kinds.
fn word(dice: &mut Dice, arguments: &[Argument], place: &str) -> (String, Argument) {
    let all: Vec<_> = arguments.iter().flat_map(|a| restrictions_with(*a).into_iter().map(|name| (name, *a))).collect();
    loop {
        let (name, argument) = all[dice.below(all.len())];
        if avoided_in(place, name) {
            continue;
        }
        if !ENDS.contains(&name) || dice.percent(40) {
            return (name.to_owned(), argument);
        }
    }
}

fn domain_list(dice: &mut Dice, restriction: &str) -> &'static str {
    let by_name = restriction.to_ascii_lowercase().contains("rhs");
    dice.pick(if by_name { DOMAIN_LISTS } else { BLOCKLISTS })
}

fn service(dice: &mut Dice) -> String {
    match dice.below(10) {
        0 => format!("{{ {DEAD_SERVICE}, default_action=DUNNO, try_limit=1, retry_delay=1s }}"),
        1 => format!("{{ {SERVICE}, policy_context=context, {{ default_action = REJECT 5.3.0 dead }} }}"),
        2 => format!("{{{SERVICE}}}"),
        _ => SERVICE.to_owned(),
    }
}

/// One restriction with its argument, for this list.
fn restriction(dice: &mut Dice, draft: &mut Draft, place: &str) -> String {
    use Argument::{CertificateTable, Domain, PolicyService, Seconds, Table};
    let arguments: &[Argument] = match dice.below(100) {
        0..45 => &[Argument::None],
        45..75 => &[Table, CertificateTable],
        75..89 => &[Domain],
        89..93 => &[PolicyService],
        93..94 => &[Seconds],
        94..97 => return dice.pick(&["sub1", "sub2"]).to_owned(),
        _ if matches!(place, "data" | "end_of_data") => &[Argument::None],
        _ => return table(dice, draft, place),
    };
    let (name, argument) = word(dice, arguments, place);
    match argument {
        Argument::None => name,
        Table => format!("{name} {}", table(dice, draft, &name.to_ascii_lowercase())),
        CertificateTable => match (dice.percent(50), table(dice, draft, "check_ccert_access")) {
            (true, table) => format!("{name} {{ {table}, {{ search_order = cert_fingerprint }} }}"),
            (false, table) => format!("{name} {table}"),
        },
        Domain => format!("{name} {}", domain_list(dice, &name)),
        PolicyService => format!("{name} {}", service(dice)),
        Seconds => format!("{name} 0"),
        Argument::Restriction => format!("{name} reject"),
    }
}

/// A list of restrictions, as its elements.
fn list(dice: &mut Dice, draft: &mut Draft, place: &str, most: usize) -> Vec<String> {
    let mut list = Vec::new();
    for _ in 0..dice.range(1, most) {
        let restriction = restriction(dice, draft, place);
        let prefix = if dice.percent(18) { "warn_if_reject " } else { "" };
        list.push(format!("{prefix}{restriction}"));
    }
    list
}

fn joined(dice: &mut Dice, list: &[String]) -> String {
    list.join(dice.pick(&[", ", ", ", " ", ","]))
}

/// The lists of a scenario, its classes, and what they need besides.
pub fn add(dice: &mut Dice, draft: &mut Draft, shape: Shape) {
    let mut classes = vec!["sub1".to_owned(), "sub2".to_owned()];
    for (name, other) in [("sub1", "sub2"), ("sub2", "permit_mynetworks")] {
        // a class that leads to itself is an error that hides the rest, and can end Postfix's process
        let without = |r: &String| !(r.contains(name) || name == "sub2" && r.contains("sub1"));
        let mut elements: Vec<String> = list(dice, draft, "recipient", 2).into_iter().filter(without).collect();
        if elements.is_empty() || dice.percent(15) {
            elements.push(other.to_owned());
        }
        let text = joined(dice, &elements);
        draft.set(name, text);
    }
    match shape {
        Shape::Dispatch => dispatch(dice, draft, &mut classes),
        Shape::Delayed | Shape::Immediate => plain(dice, draft, shape),
    }
    draft.set("smtpd_restriction_classes", classes.join(", "));
    services(dice, draft);
}

fn relay_end(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "reject_unauth_destination",
        "permit_mynetworks, reject_unauth_destination",
        "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
        "permit_mynetworks reject_unauth_destination",
    ])
}

fn dispatch(dice: &mut Dice, draft: &mut Draft, classes: &mut Vec<String>) {
    draft.cases = 20;
    for place in PLACES.iter().filter(|p| **p != "etrn") {
        let often = if matches!(*place, "data" | "end_of_data") { 15 } else { 45 };
        let mut choices = String::new();
        for case in 0..draft.cases {
            if dice.percent(often) {
                let class = format!("{place}_{case}");
                let elements = list(dice, draft, place, 3);
                let text = joined(dice, &elements);
                draft.set(&class, text);
                choices += &format!("{{c{case}@ = {class}}} ");
                classes.push(class);
            }
        }
        let mut text =
            if choices.is_empty() { String::new() } else { format!("check_recipient_access inline:{{ {choices}}}") };
        if *place == "relay" {
            text = format!("{text}, {}", relay_end(dice));
        }
        draft.set(&format!("smtpd_{place}_restrictions"), text.trim_start_matches(", "));
    }
}

fn plain(dice: &mut Dice, draft: &mut Draft, shape: Shape) {
    if shape == Shape::Immediate {
        draft.set("smtpd_delay_reject", "no");
    }
    for place in PLACES {
        if !dice.percent(55) && *place != "relay" {
            continue;
        }
        let most = if matches!(*place, "client" | "helo") { 2 } else { 4 };
        let mut elements = list(dice, draft, place, most);
        if shape == Shape::Immediate || matches!(*place, "relay" | "recipient") || dice.percent(60) {
            elements.retain(|e| !["permit", "reject", "defer"].contains(&e.to_ascii_lowercase().as_str()));
        }
        if elements.is_empty() {
            elements.push("permit_mynetworks".to_owned());
        }
        let mut text = joined(dice, &elements);
        if *place == "relay" {
            text = match dice.below(3) {
                0 => format!("permit_mynetworks, {text}, reject_unauth_destination"),
                _ => format!("{text}, {}", relay_end(dice)),
            };
        }
        draft.set(&format!("smtpd_{place}_restrictions"), text);
    }
}

/// The policy service, which always is there: lists may name it.
fn services(dice: &mut Dice, draft: &mut Draft) {
    let mut rules = String::new();
    for _ in 0..dice.range(1, 4) {
        let condition = match dice.below(8) {
            0 => "sender=".to_owned(),
            1 => "protocol_state=DATA".to_owned(),
            2 => "recipient=*@example.com".to_owned(),
            3 => "client_name=unknown".to_owned(),
            4 => "recipient=c1*".to_owned(),
            5 => "protocol_state=CONNECT".to_owned(),
            6 => "sender=*@ok.example sasl_username=".to_owned(),
            _ => format!("client_address={}", dice.pick(words::CLIENTS)),
        };
        rules += &format!("{condition} => {}\n", words::action(dice));
    }
    let record = if dice.percent(30) { " record" } else { "" };
    draft.block(&format!("policy 127.0.0.1:10040{record}"), &rules);
}
