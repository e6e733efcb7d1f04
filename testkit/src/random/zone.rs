//! The DNS of a scenario.

use super::dice::Dice;

const ZONE: &str = include_str!("zone.txt");

/// Records that are there in some scenarios only.
const SOMETIMES: &[&str] = &[
    "ok.example MX 10 mx.ok.example\nmx.ok.example A 192.0.2.37",
    "@bl 198.51.100.7 bl.example A 127.0.0.3\n@bl 198.51.100.7 bl.example TXT \"$rbl_code <odd> text\"",
    "@bl 192.0.2.15 wl.example SERVFAIL",
    "@bl 2001:db8::b1 bl.example A 127.0.0.2\n@bl 2001:db8::b1 bl.example TXT \"six\"",
    "client.example.net.rhs.example A 127.0.0.2",
    "relay.example A 192.0.2.41",
    "nx.example A 192.0.2.42",
    "nodot A 192.0.2.43",
    "@bl 192.0.2.12 multi.example A 192.0.2.1",
    "example.com NS ns.bad.example",
    "sub.ok.example NS ns.ok.example",
    "v6.example MX 0 v6.example",
    "xn--mnchen-3ya.example.rhs.example A 127.0.0.2",
];

/// The zone text.
pub fn zone(dice: &mut Dice) -> String {
    let extra = dice.some(SOMETIMES, 0, 5);
    ZONE.to_owned() + &extra.iter().map(|r| format!("{r}\n")).collect::<String>()
}
