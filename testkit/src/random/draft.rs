//! A scenario in the making.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What will be a scenario.
#[derive(Default)]
pub struct Draft {
    settings: BTreeMap<String, String>,
    blocks: String,
    tables: usize,
    /// Local parts `c0`, `c1`, … choose among so many classes of restrictions.
    pub cases: usize,
    /// IPv6 clients can come.
    pub ipv6: bool,
    /// Clients can log in.
    pub login: bool,
}

impl Draft {
    /// Sets a parameter; the last value counts.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// The value of a parameter that was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Adds a section.
    pub fn block(&mut self, heading: &str, text: &str) {
        let _ = write!(self.blocks, "[{heading}]\n{}\n", text.trim_end_matches('\n'));
    }

    /// A file name for a table, and whether there may be more: indexed ones take time to make.
    pub fn table_name(&mut self) -> Option<String> {
        self.tables += 1;
        (self.tables <= 4).then(|| format!("table{}", self.tables))
    }

    /// The scenario's text.
    pub fn text(&self, title: &str, zone: &str) -> String {
        let mut text = format!("{title}\n[main.cf]\n");
        for (name, value) in &self.settings {
            let _ = writeln!(text, "{name} = {value}");
        }
        if self.ipv6 {
            text += "[master.cf]\n[::1]:2500 inet n - n - - smtpd\n";
        }
        text + "[dns]\n" + zone + &self.blocks
    }
}
