//! Sources, keys and rules for random tables.

use super::dice::Dice;

const WORDS: &[&str] = &[
    "a",
    "b",
    "A",
    "Bc",
    "key",
    "KEY",
    "x@example.com",
    "X@Example.COM",
    "example.com",
    ".example.com",
    "@example.com",
    "1.2.3.4",
    "1.2.3",
    "10.0.0.0/8",
    "user+ext",
    "caf\u{e9}",
    "CAF\u{c9}",
    "stra\u{df}e",
    "\u{130}",
    "\u{3a3}",
    "key:",
    "Key:",
    "a=b",
    "#x",
    "/x/",
    "\\",
    "\\\"",
    "\"",
    "\"quo ted\"",
    "\"Q\"x",
    "\"a\\\"b\"",
    "$1",
    "%s",
    "-",
    "root",
    "!x",
    "{",
    "}",
    "\u{a0}",
    "\u{ad}x",
];

const VALUES: &[&str] = &[
    "OK",
    "REJECT go away",
    "DUNNO",
    "v",
    "V w  x",
    "\"quoted\"",
    "a,b",
    "b c",
    "caf\u{e9}",
    "x ",
    "FILTER smtp:[x]",
    "550 5.7.1 No",
    "$1",
    "{x}",
    "#no comment",
];

pub(super) const ODD_LINES: &[&str] = &[
    "",
    " ",
    "# comment",
    "  # comment",
    "alone",
    "\"open x",
    "  continued",
    "\tcontinued",
    "key:",
    "Key: v",
    ": x",
    "\r",
    "a b\r",
    " \r",
    "#",
    "\u{b}",
    "x\u{b}y z\u{c}",
    "a\u{1}b c",
    "k v\u{7f}",
    "\\ x",
    "a\\ b c",
];

/// A source text in the format of postmap(1).
pub(super) fn source(dice: &mut Dice, lines: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 0..dice.range(0, lines) {
        match dice.below(20) {
            0..=10 => {
                text.extend_from_slice(dice.pick(WORDS).as_bytes());
                text.extend_from_slice(dice.pick(&[" ", "\t", "  ", " \t ", "\u{c}"]).as_bytes());
                text.extend_from_slice(dice.pick(VALUES).as_bytes());
            }
            11..=13 => text.extend(format!("user{} value {number}", dice.below(50)).bytes()),
            14 => {
                let key = "k".repeat(dice.range(1, 500));
                let value = "long ".repeat(dice.range(1, 1500));
                text.extend(format!("{key} {value}").bytes());
            }
            15 => {
                text.extend_from_slice(dice.pick(&[&b"b\xe9 2"[..], b"c b\xe9", b"\xff", b"\xc3\x28 x", b"\xe9\xe9"]))
            }
            16 if dice.percent(30) => text.extend_from_slice(b"nul\0x y\0z"),
            _ => text.extend_from_slice(dice.pick(ODD_LINES).as_bytes()),
        }
        if !dice.percent(2) {
            text.extend_from_slice(if dice.percent(8) { b"\r\n" } else { b"\n" });
        }
    }
    text
}

/// Keys to ask for, one a line.
pub(super) fn keys(dice: &mut Dice) -> Vec<u8> {
    some_keys(dice, b"")
}

/// The same with another odd one in place of the empty one.
pub(super) fn some_keys(dice: &mut Dice, odd: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..dice.range(0, 25) {
        match dice.below(12) {
            0..=7 => text.extend_from_slice(dice.pick(WORDS).as_bytes()),
            8 => text.extend(format!("USER{}", dice.below(50)).bytes()),
            9 => text.extend_from_slice(dice.pick(&[&b"b\xe9"[..], odd, b" a ", b"a\r", b"a\tb", b"c\0d"])),
            _ => text.extend(format!("user{}", dice.below(50)).bytes()),
        }
        text.push(b'\n');
    }
    if dice.percent(15) {
        text.extend_from_slice(b"last");
    }
    text
}

/// A key for the command line.
pub(super) fn key(dice: &mut Dice) -> Vec<u8> {
    match dice.below(11) {
        0 => b"b\xe9".to_vec(),
        2 => format!("user{}", dice.below(50)).into_bytes(),
        _ => match dice.pick(WORDS) {
            "-" => b"x".to_vec(),
            word => word.as_bytes().to_vec(),
        },
    }
}

/// Rules of pattern tables.
pub(super) fn rules(dice: &mut Dice, kind: &str) -> String {
    let mut text = String::new();
    let mut open = 0;
    for number in 0..dice.range(1, 8) {
        let pattern = match kind {
            "cidr" => dice
                .pick(&[
                    "1.2.3.4",
                    "10.0.0.0/8",
                    "1.2.3.0/24",
                    "2001:db8::/32",
                    "!1.2.0.0/16",
                    "1.2.3.4/8",
                    "bogus",
                    "0.0.0.0/0",
                    "[::1]",
                ])
                .to_owned(),
            _ => format!(
                "{}/{}/{}",
                dice.pick(&["", "", "", "!"]),
                dice.pick(&[
                    "^a",
                    "(k)(e)y",
                    "^(.*)@example\\.com$",
                    ".",
                    "x$",
                    "[0-9]+",
                    "caf(.)",
                    "(",
                    "^user([0-9])",
                    "A"
                ]),
                dice.pick(&["", "", "", "i", "m", "x", "q"])
            ),
        };
        match dice.below(12) {
            0 => {
                text.push_str(&format!("if {pattern}\n"));
                open += 1;
            }
            1 => text.push_str("endif\n"),
            2 => text.push_str(&format!("{pattern}\n")),
            3 => text.push_str(&format!("  {pattern} indented\n")),
            4 => text.push_str(&format!("# {pattern} comment\n")),
            5 if kind != "cidr" => text.push_str(&format!("{pattern} <$1> {number}\n")),
            _ => text.push_str(&format!("{pattern} r{number}\n")),
        }
    }
    for _ in 0..open {
        if dice.percent(90) {
            text.push_str("endif\n");
        }
    }
    text
}
