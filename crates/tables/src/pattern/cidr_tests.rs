use super::*;
use crate::open;
use std::net::{Ipv4Addr, Ipv6Addr};

fn load(text: &str) -> (Opened, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t"), text).unwrap();
    let opened = open("cidr:t", &OpenOptions::new(dir.path())).unwrap();
    let dir = format!("{}/", dir.path().display());
    let warnings = opened.warnings.iter().map(|w| w.message.replace(&dir, "")).collect();
    (opened, warnings)
}

fn get(opened: &Opened, key: &str) -> Option<String> {
    opened.table.get(key).unwrap().map(|value| value.to_string())
}

#[test]
fn first_rule_decides() {
    let text = "[2001:db8::]/32 six\n2001:db9::1 one\n[::1] loop\n[9.9.0.0/16]  nine  \nif 10.0.0.0/8\n10.1.0.0/16 in\n\
        if !10.2.0.0/16\n10.3.0.0/16 in3\nendif\n10.2.0.0/16 in2\nENDIF\n! 0.0.0.0/1 high\n!!1.2.3.4 four\n\
        1.2.0.0/16 wide\n1.2.3.0/24 never\n::ffff:1.2.3.0/120 mapped\n";
    let (opened, warnings) = load(text);
    assert_eq!(warnings, Vec::<String>::new());
    assert!(opened.table.is_pattern());
    for (key, value) in [
        ("2001:DB8:0:0::5", Some("six")),
        ("2001:db9::1", Some("one")),
        ("2001:dba::1", None),
        ("::ffff:1.2.3.4", Some("mapped")),
        ("::1", Some("loop")),
        ("9.9.1.1", Some("nine")),
        ("10.1.1.1", Some("in")),
        ("10.3.1.1", Some("in3")),
        ("10.2.1.1", Some("in2")),
        ("10.9.1.1", None),
        ("200.1.1.1", Some("high")),
        ("1.2.3.4", Some("four")),
        ("1.2.3.5", Some("wide")),
        ("foo", None),
        ("[1.2.3.4]", None),
        (" 1.2.3.4", None),
    ] {
        assert_eq!(get(&opened, key).as_deref(), value, "{key}");
    }
}

#[test]
fn bad_rules_are_skipped_in_postfix_words() {
    for (line, text) in [
        (
            "1.2.3.5/24 x",
            "non-null host address bits in \"1.2.3.5/24\", perhaps you should use \"1.2.3.0/24\" instead: \
             skipping this rule",
        ),
        (
            "[1.2.3.5]/24 x",
            "non-null host address bits in \"1.2.3.5/24\", perhaps you should use \"1.2.3.0/24\" instead: \
             skipping this rule",
        ),
        (
            "2001:DB8::1/127 x",
            "non-null host address bits in \"2001:DB8::1/127\", perhaps you should use \"2001:db8::/127\" instead: \
             skipping this rule",
        ),
        ("1.2.3 x", "bad address pattern: \"1.2.3\": skipping this rule"),
        ("01.2.3.4 x", "bad address pattern: \"01.2.3.4\": skipping this rule"),
        ("[] z", "bad address pattern: \"\": skipping this rule"),
        ("1.2.3.4/33 x", "bad mask length in \"1.2.3.4/33\": skipping this rule"),
        ("1.2.3.0/99999999999 x", "bad mask length in \"1.2.3.0/99999999999\": skipping this rule"),
        ("10.0.0.1/ y", "bad mask value in \"10.0.0.1/\": skipping this rule"),
        ("1.2.3.0/24/5 z", "bad mask value in \"1.2.3.0/24/5\": skipping this rule"),
        ("[1.2.3.0/24]/24 y", "bad network value in \"1.2.3.0/24/24\": skipping this rule"),
        ("[::1 loop", "missing ']' character after \"[::1\": skipping this rule"),
        ("[::1]x y", "garbage after \"[::1]\": skipping this rule"),
        ("1.2.3.4", "no lookup result: skipping this rule"),
        ("!", "no address pattern: skipping this rule"),
        ("if", "no address pattern: skipping this rule"),
        ("if 11.0.0.0/8 extra", "bad mask value in \"11.0.0.0/8 extra\": skipping this rule"),
        ("endif", "ENDIF without IF: skipping this rule"),
        ("endif x", "garbage after ENDIF: skipping this rule"),
        ("if!1.1.1.1", "IF has no matching ENDIF"),
    ] {
        assert_eq!(load(line).1, [format!("cidr map t, line 1: {text}")], "{line}");
    }
}

/// Rules of a random table; `shapes` says what may stand in it.
fn random(next: &mut impl FnMut() -> u32, count: u32, shapes: u32) -> String {
    let (mut text, mut open) = (String::new(), 0);
    for number in 0..count {
        let v6 = next() >> 28 < 5;
        let (prefix, bits) = (next() >> 20, 0x0a00_0000 | (next() >> 9));
        let network = match v6 {
            // Few networks, so that many are one in another, and some at the ends of all addresses.
            true => {
                let prefix = [0, 1, 16, 32, 33, 64, 127, 128][prefix as usize % 8];
                let high = if bits & 3 == 0 { u128::MAX } else { u128::from(bits) << 96 | u128::from(bits & 7) };
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                format!("{}/{prefix}", Ipv6Addr::from_bits(high & mask))
            }
            false => {
                let prefix = if next() >> 27 == 0 { prefix % 9 } else { 8 + prefix % 25 };
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                format!("{}/{prefix}", Ipv4Addr::from_bits(bits & mask))
            }
        };
        let not = if next() >> 28 == 0 { "!" } else { "" };
        match (next() >> 20) % shapes {
            0 if shapes < 100 => {
                text.push_str(&format!("if {not}{network}\n"));
                open += 1;
            }
            1 if open > 0 => {
                text.push_str("endif\n");
                open -= 1;
            }
            _ => text.push_str(&format!("{not}{network} r{}\n", number % 50)),
        }
    }
    text
}

/// As ranges and as rules, every address gets the same answer.
#[test]
fn the_ranges_agree_with_the_rules() {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state
    };
    let (mut hits, mut misses) = (0, 0);
    for table in 0..60 {
        let mut compiler = Compiler::default();
        let text = random(&mut next, 20 + table * 10, [5, 12, 40, 1000][table as usize % 4]);
        text.lines().for_each(|line| compiler.line(1, line).unwrap());
        let edges: Vec<Number> = compiler.rules.iter().map(|rule| rule.network.number).collect();
        let rules = compiler.rules;
        let (Some(v4), Some(v6)) = (Ranges::<u32>::new(&rules), Ranges::<u128>::new(&rules)) else { panic!("{text}") };
        assert!(v4.len() + v6.len() <= 2 * rules.len() + 2);
        let places = Places::Ranges(v4, v6);
        for round in 0..1000 {
            // Around the edges of networks, and anywhere.
            let edge = edges[round % edges.len()];
            let unit = if edge.is_v6 { 1 } else { 1 << 96 };
            let address = match next() >> 30 {
                0 => edge,
                1 => Number { bits: edge.bits.wrapping_sub(unit), ..edge },
                2 => Number { bits: edge.bits.wrapping_add(unit * u128::from(next() >> 22)), ..edge },
                _ => Number::new(Ipv4Addr::from_bits(0x0a00_0000 | (next() >> 7)).into()),
            };
            let expected = first(&rules, address);
            assert_eq!(places.find(address), expected, "{}:\n{text}", address.address());
            if expected.is_some() { hits += 1 } else { misses += 1 }
        }
    }
    assert!(hits > 10_000 && misses > 2_000, "{hits} {misses}");
}

/// Conditions nested without measure are still tried one by one.
#[test]
fn conditions_without_end() {
    let text = |depth: u32| {
        let ifs: String = (0..depth).map(|n| format!("if !10.{}.{}.0/24\n", n / 100, n % 100 * 2)).collect();
        format!("{ifs}10.0.0.0/8 inside\n{}0.0.0.0/0 after\n", "endif\n".repeat(depth as usize))
    };
    for (depth, ranges) in [(90, true), (1000, false)] {
        let mut compiler = Compiler::default();
        text(depth).lines().for_each(|line| compiler.line(1, line).unwrap());
        assert_eq!(matches!(Places::new(compiler.rules), Places::Ranges(..)), ranges);
        let (opened, warnings) = load(&text(depth));
        assert_eq!(warnings, Vec::<String>::new());
        for (key, value) in [("10.0.4.1", "after"), ("10.200.0.1", "inside"), ("11.0.0.1", "after")] {
            assert_eq!(get(&opened, key).as_deref(), Some(value), "{key}");
        }
        assert_eq!(get(&opened, "::1"), None);
    }
}

#[test]
fn values_are_kept_once() {
    let mut values = Values::default();
    let numbers: Vec<u32> = ["a", "b", "a", "", "b"].into_iter().map(|value| values.number(value)).collect();
    assert_eq!(numbers, [0, 1, 0, 2, 1]);
    assert_eq!(values.finish(), ["a", "b", ""].map(Arc::from));
    let mut values = Values::default();
    for number in 0..DIFFERENT as u32 + 10 {
        assert_eq!(values.number(&number.to_string()), number);
    }
    let number = values.number("7");
    assert_eq!((number as usize, &*values.finish()[number as usize]), (DIFFERENT + 10, "7"), "no longer searched for");
}
