use super::*;
use crate::open;

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

/// With and without the index every address gets the same answer.
#[test]
fn the_index_agrees_with_the_rules() {
    let mut text = String::new();
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state
    };
    for number in 0..400 {
        match number {
            150 => text.push_str("if 10.0.0.0/9\n"),
            250 => text.push_str("endif\n!8.0.0.0/6 outside\n"),
            _ => {}
        }
        let prefix = 8 + next() % 25;
        let bits = (0x0a00_0000 | (next() >> 9)) & (u32::MAX << (32 - prefix));
        text.push_str(&format!("{}/{prefix} r{number}\n", std::net::Ipv4Addr::from_bits(bits)));
    }
    let rules = || {
        let mut compiler = Compiler { rules: Vec::new(), open: Vec::new() };
        text.lines().for_each(|line| compiler.line(1, line).unwrap());
        compiler.rules
    };
    let (indexed, linear) = (Cidr::new(rules(), 20), Cidr::new(rules(), usize::MAX));
    assert_eq!((indexed.runs.len(), linear.runs.len()), (3, 0));
    let mut hits = 0;
    for _ in 0..20_000 {
        let address = Number::new(std::net::Ipv4Addr::from_bits(0x0a00_0000 | (next() >> 7)).into());
        assert_eq!(indexed.find(address), linear.find(address), "{:?}", address.address());
        hits += usize::from(linear.find(address).is_some());
    }
    assert!(hits > 1000, "{hits}");
}
