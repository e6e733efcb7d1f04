//! Writing cases: TOML by hand, in the order in which people read a case.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Values longer than this stand on a line each.
const WIDE: usize = 100;

/// A case in the making.
#[derive(Default)]
pub struct Draft {
    lines: Vec<(&'static str, String)>,
    expected: Vec<(&'static str, String)>,
    dns: Vec<String>,
    /// A name and type whose look-up fails, unless there is an answer.
    pub fails: Option<(String, &'static str)>,
    /// Names and types that have their answer.
    answered: Vec<String>,
    /// Entries by table: key and value, `None` for a look-up that fails.
    pub tables: BTreeMap<String, Vec<(String, Option<String>)>>,
    policy: BTreeMap<String, Vec<Option<String>>>,
    verify: BTreeMap<String, String>,
}

impl Draft {
    /// `key = value`, the value as TOML.
    pub fn line(&mut self, key: &'static str, value: &str) {
        self.lines.push((key, value.to_owned()));
    }

    /// What must come out besides the verdict.
    pub fn expected(&mut self, lines: &[(&'static str, String)]) {
        self.expected = lines.iter().map(|(key, text)| (*key, basic(text))).collect();
    }

    /// A DNS record.
    pub fn dns(&mut self, record: String) {
        if !self.dns.contains(&record) {
            self.dns.push(record);
        }
    }

    /// The answer to a question; the first one stays.
    pub fn answer(&mut self, owner: &str, word: &str, records: &[String]) {
        let question = format!("{owner} {word}");
        if !self.answered.contains(&question) {
            records.iter().for_each(|record| self.dns(format!("{question} {record}")));
            self.answered.push(question);
        }
    }

    /// A table that has what it has.
    pub fn table(&mut self, table: &str) {
        self.tables.entry(table.to_owned()).or_default();
    }

    /// An entry; the first one of a key stays.
    pub fn entry(&mut self, table: &str, key: &str, value: Option<&String>) {
        let entries = self.tables.entry(table.to_owned()).or_default();
        if !entries.iter().any(|(known, _)| known == key) {
            entries.push((key.to_owned(), value.cloned()));
        }
    }

    /// What a policy service says next.
    pub fn says(&mut self, service: &str, action: Option<&String>) {
        self.policy.entry(service.to_owned()).or_default().push(action.cloned());
    }

    /// What was known of an address; the first result stays.
    pub fn verified(&mut self, address: &str, told: &str) {
        self.verify.entry(address.to_owned()).or_insert_with(|| told.to_owned());
    }

    /// The whole case.
    pub fn text(&self, verdict: &str) -> String {
        let mut out = String::from("[[case]]\n");
        for (key, value) in &self.lines {
            let _ = writeln!(out, "{key} = {value}");
        }
        let fails = self.fails.iter().map(|(name, word)| format!("{name} {word}"));
        let fails = fails.filter(|question| !self.answered.contains(question)).map(|question| question + " SERVFAIL");
        let dns: Vec<String> = self.dns.iter().cloned().chain(fails).collect();
        if !dns.is_empty() {
            let _ = writeln!(out, "dns = {}", list(dns.iter().map(|record| basic(record))));
        }
        let given = |value: &Option<String>| value.as_ref().map_or_else(|| "false".to_owned(), |text| basic(text));
        let tables = self.tables.iter().map(|(table, entries)| {
            let entries = entries.iter().map(|(key, value)| format!("{} = {}", basic(key), given(value)));
            format!("{} = {}", basic(table), braces(entries))
        });
        // Above the sub-tables of TOML, which end the case's own lines.
        let policy = self.policy.iter().map(|(service, actions)| {
            let same = actions.windows(2).all(|pair| pair[0] == pair[1]);
            let actions = match (same, actions.first()) {
                (true, Some(action)) => given(action),
                _ => list(actions.iter().map(given)),
            };
            format!("{} = {actions}", basic(service))
        });
        let _ = writeln!(out, "expect = \"{verdict}\"");
        for (key, value) in &self.expected {
            let _ = writeln!(out, "{key} = {value}");
        }
        section(&mut out, "tables", tables);
        section(&mut out, "policy", policy);
        let verify = self.verify.iter().map(|(address, told)| format!("{} = {}", basic(address), basic(told)));
        section(&mut out, "verify", verify);
        out
    }
}

/// `[case.NAME]` with a line each.
fn section(out: &mut String, name: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "[case.{name}]");
    lines.for_each(|line| {
        let _ = writeln!(out, "{line}");
    });
}

fn braces(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = entries.collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// An array, on several lines when it is long.
pub fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let line = format!("[{}]", items.join(", "));
    if line.len() <= WIDE { line } else { format!("[\n    {},\n]", items.join(",\n    ")) }
}

/// A text in quotes.
pub fn basic(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_back() {
        for text in ["", "a \"b\" \\c", "two\nlines\t", "\u{1}\u{7f}\u{85}é"] {
            let read: BTreeMap<String, String> = toml::from_str(&format!("x = {}", basic(text))).unwrap();
            assert_eq!(read["x"], text);
        }
    }

    #[test]
    fn a_case_is_written_in_order() {
        let mut draft = Draft::default();
        draft.line("name", &basic("a"));
        draft.answer("b.example", "A", &["192.0.2.1".into(), "192.0.2.2".into()]);
        draft.answer("b.example", "A", &["192.0.2.9".into()]);
        draft.entry("hash:/t", "k", Some(&"OK".to_owned()));
        draft.entry("hash:/t", "k", Some(&"REJECT".to_owned()));
        draft.entry("hash:/t", "l", None);
        draft.tables.insert("mysql:/u".into(), Vec::new());
        for action in ["DUNNO", "DUNNO"] {
            draft.says("inet:a:1", Some(&action.to_owned()));
        }
        draft.says("inet:b:2", Some(&"DUNNO".to_owned()));
        draft.says("inet:b:2", None);
        draft.expected(&[("reply", "554 no".to_owned())]);
        let expected = r#"[[case]]
name = "a"
dns = ["b.example A 192.0.2.1", "b.example A 192.0.2.2"]
expect = "reject"
reply = "554 no"
[case.tables]
"hash:/t" = { "k" = "OK", "l" = false }
"mysql:/u" = {}
[case.policy]
"inet:a:1" = "DUNNO"
"inet:b:2" = ["DUNNO", false]
"#;
        assert_eq!(draft.text("reject"), expected);
    }
}
