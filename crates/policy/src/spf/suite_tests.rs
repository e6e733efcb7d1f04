//! The published test suite of RFC 7208 (tests/rfc7208, with its licence): every case, answered at once and one at a time.

use super::{SpfQuery, SpfVerdict, check_host};
use crate::ledger::Suspend;
use crate::question::{DnsAnswer, DnsRecord, DnsStatus, RecordType};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const SUITE: &str = include_str!("../../tests/rfc7208/rfc7208-tests.yml");

#[derive(Default)]
struct Scenario {
    cases: BTreeMap<String, HashMap<String, String>>,
    zone: HashMap<String, Vec<(String, String)>>,
}

/// The few forms of YAML that the suite uses.
fn scenarios() -> Vec<Scenario> {
    let mut all = vec![Scenario::default()];
    let (mut section, mut name) = (String::new(), String::new());
    for line in SUITE.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let text = line.trim_start();
        let scenario = all.last_mut().unwrap();
        match line.len() - text.len() {
            _ if line == "---" => all.push(Scenario::default()),
            0 => section = text.trim_end_matches(':').to_owned(),
            2 if text.ends_with(':') && (section == "tests" || section == "zonedata") => {
                name = scalar(text.trim_end_matches(':'));
                if section == "tests" {
                    scenario.cases.insert(name.clone(), HashMap::new());
                } else {
                    name = name.to_lowercase();
                }
            }
            4 if section == "tests" => {
                if let Some((key, value)) = text.split_once(':') {
                    let case = scenario.cases.get_mut(&name).unwrap();
                    case.insert(key.to_owned(), scalar(value.trim()));
                }
            }
            4 if section == "zonedata" => {
                let entry = text.strip_prefix("- ").unwrap();
                let (rtype, value) = entry.split_once(':').unwrap_or((entry, ""));
                scenario.zone.entry(name.clone()).or_default().push((rtype.to_owned(), value.trim().to_owned()));
            }
            _ => {}
        }
    }
    all
}

/// A plain or quoted scalar.
fn scalar(text: &str) -> String {
    if let Some(inner) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.replace("''", "'");
    }
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return text.to_owned() };
    let mut out = String::new();
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (kind, after) = after.split_at(1);
        rest = match kind {
            "x" => {
                out.push(char::from(u8::from_str_radix(&after[..2], 16).unwrap()));
                &after[2..]
            }
            "0" => {
                out.push('\0');
                after
            }
            other => panic!("escape {other}"),
        };
    }
    out + rest
}

/// The elements of `[a, "b"]`, or the one value.
fn elements(text: &str) -> Vec<String> {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.split(',').map(|part| scalar(part.trim())).collect(),
        None => vec![scalar(text)],
    }
}

fn record(rtype: &str, value: &str) -> Option<(RecordType, DnsRecord)> {
    let host = |text: &str| Arc::<str>::from(text.trim_end_matches('.'));
    Some(match rtype {
        "A" => (RecordType::A, DnsRecord::Address(value.parse().unwrap())),
        "AAAA" => (RecordType::Aaaa, DnsRecord::Address(value.parse().unwrap())),
        "MX" => {
            let [preference, exchange] = &elements(value)[..] else { panic!("{value}") };
            (RecordType::Mx, DnsRecord::Mx(preference.parse().unwrap(), host(exchange)))
        }
        "PTR" => (RecordType::Ptr, DnsRecord::Name(host(&scalar(value)))),
        "TXT" if value == "NONE" => return None,
        "TXT" => (RecordType::Txt, DnsRecord::Txt(elements(value).concat().into())),
        _ => return None,
    })
}

impl Scenario {
    fn answer(&self, rtype: RecordType, name: &str, depth: usize) -> DnsAnswer {
        let failed = |status| DnsAnswer::failed(status, "");
        let Some(entries) = self.zone.get(name) else { return failed(DnsStatus::NotFound) };
        if let Some((_, target)) = entries.iter().find(|(kind, _)| kind == "CNAME") {
            let target = scalar(target).trim_end_matches('.').to_lowercase();
            return if depth > 8 { failed(DnsStatus::Retry) } else { self.answer(rtype, &target, depth + 1) };
        }
        // records of type SPF stand for TXT where there are none
        let has_text = entries.iter().any(|(kind, _)| kind == "TXT");
        let as_text = |kind: &str| if kind == "SPF" && !has_text { "TXT".to_owned() } else { kind.to_owned() };
        let records = entries.iter().filter_map(|(kind, value)| record(&as_text(kind), value));
        let records: Vec<_> = records.filter(|(kind, _)| *kind == rtype).map(|(_, record)| record).collect();
        let is_null = |record: &DnsRecord| matches!(record, DnsRecord::Mx(_, host) if host.is_empty());
        if records.iter().any(is_null) {
            failed(DnsStatus::NullMx)
        } else if !records.is_empty() {
            DnsAnswer::found(records, Vec::new())
        } else if entries.iter().any(|(kind, _)| kind == "TIMEOUT") {
            failed(DnsStatus::Retry)
        } else {
            failed(DnsStatus::NotFound)
        }
    }

    fn check(&self, case: &HashMap<String, String>) -> SpfVerdict {
        let sender = match case["mailfrom"].as_str() {
            "" => format!("postmaster@{}", case["helo"]),
            sender => sender.to_owned(),
        };
        let client = case["host"].parse().unwrap();
        let query = SpfQuery { client, sender: &sender, helo: &case["helo"], receiver: "mail.example.net", now: 0 };
        let at_once = check_host(&query, &mut |rtype, name| Ok(Arc::new(self.answer(rtype, name, 0)))).unwrap();
        let mut known = HashMap::new();
        for _ in 0..300 {
            let mut missing = Vec::new();
            let slow = check_host(&query, &mut |rtype, name| {
                let key = (rtype, name.to_owned());
                known.get(&key).cloned().ok_or_else(|| {
                    missing.push(key);
                    Suspend
                })
            });
            if let Ok(verdict) = slow {
                assert_eq!(verdict, at_once);
                return verdict;
            }
            assert!(!missing.is_empty());
            for (rtype, name) in missing {
                let answer = Arc::new(self.answer(rtype, &name, 0));
                known.insert((rtype, name), answer);
            }
        }
        panic!("no end");
    }
}

#[test]
fn the_suite_of_rfc_7208_passes() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for scenario in scenarios() {
        for (name, case) in &scenario.cases {
            count += 1;
            let verdict = scenario.check(case);
            if !elements(&case["result"]).iter().any(|word| word == verdict.result.word()) {
                wrong.push(format!("{name}: {} expected, but {verdict:?}", case["result"]));
            }
            let expected = case.get("explanation").map(|text| (text != "DEFAULT").then(|| text.clone()));
            if expected.is_some_and(|expected| expected != verdict.explanation) {
                wrong.push(format!("{name}: {} expected, but {verdict:?}", case["explanation"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(count, 203);
}

/// Whatever somebody publishes: no panic, and an end within the limits.
#[test]
fn nothing_that_is_published_does_harm() {
    let words: Vec<String> = scenarios()
        .iter()
        .flat_map(|scenario| scenario.zone.values().flatten().cloned().collect::<Vec<_>>())
        .filter(|(kind, _)| kind == "SPF" || kind == "TXT")
        .flat_map(|(_, text)| elements(&text).concat().split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let mut seed = 7_u64;
    let mut dice = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..5_000 {
        let mut text = String::from("v=spf1");
        for _ in 0..dice(6) {
            let mut word = words[dice(words.len())].clone();
            if dice(3) == 0 && !word.is_empty() {
                let at = dice(word.len());
                let odd = ['%', '{', '}', '/', ':', '=', '\u{e9}', '.', '0'][dice(9)];
                if word.is_char_boundary(at) {
                    word.insert(at, odd);
                }
            }
            text.push(' ');
            text.push_str(&word);
        }
        let asked = std::cell::Cell::new(0);
        let query = SpfQuery {
            client: "192.0.2.1".parse().unwrap(),
            sender: "a%b{c@x.example",
            helo: "%{h}",
            receiver: "mail.example.net",
            now: 0,
        };
        let verdict = check_host(&query, &mut |rtype, name| {
            assert!(name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len())), "{name}");
            asked.set(asked.get() + 1);
            let text: Arc<str> = text.as_str().into();
            Ok(Arc::new(match rtype {
                RecordType::Txt => DnsAnswer::found(vec![DnsRecord::Txt(text)], Vec::new()),
                RecordType::Mx => DnsAnswer::found(vec![DnsRecord::Mx(0, "mx.example".into()); 10], Vec::new()),
                RecordType::Ptr => DnsAnswer::found(vec![DnsRecord::Name("p.example".into()); 50], Vec::new()),
                _ => DnsAnswer::found(vec![DnsRecord::Address("192.0.2.9".parse().unwrap())], Vec::new()),
            }))
        });
        assert!(verdict.is_ok() && asked.get() <= 250, "{} questions: {text}", asked.get());
    }
}
