//! A proof for people.

use super::{Proof, Verdict, Witness};
use crate::explain::Style;
use std::fmt::Write;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// So many addresses of a table are shown.
const SHOWN: usize = 5;

impl Proof {
    /// The proof as text; `again` is how the command line of `explain` begins, `file` the file with the witness's DNS.
    pub fn print(&self, style: Style, again: &str, file: &str) -> String {
        let mut out = String::new();
        let (word, colour) = match self.verdict {
            Verdict::Closed => ("closed", GREEN),
            Verdict::Open => ("OPEN", RED),
            Verdict::Unknown => ("unknown", YELLOW),
        };
        let _ = writeln!(out, "service {}: {}", self.service, style.paint(colour, word));
        match (&self.verdict, &self.closed_by, &self.witness) {
            (Verdict::Closed, by, _) => {
                let _ = writeln!(out, "  No stranger can relay: {}", by.as_deref().unwrap_or_default());
            }
            (Verdict::Open, _, Some(witness)) => print_witness(&mut out, witness, again, file),
            _ => {
                let _ = writeln!(out, "  Whether strangers can relay hinges on");
                for hinge in &self.hinges {
                    let _ = writeln!(out, "    * {hinge}");
                }
            }
        }
        for trusted in &self.trusted {
            let shown = trusted.addresses.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
            let more = trusted.count.saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = writeln!(out, "  Trusted by {}: {shown}{more}", trusted.table);
        }
        for assumption in &self.assumptions {
            let _ = writeln!(out, "  Taken on trust: {assumption}");
        }
        out
    }
}

fn print_witness(out: &mut String, witness: &Witness, again: &str, file: &str) {
    if let Some(why) = &witness.why {
        let _ = writeln!(out, "  Strangers can relay: {why}");
    } else {
        let _ = writeln!(out, "  Strangers can relay.");
    }
    for permit in &witness.permitted_by {
        let _ = writeln!(out, "  Let through by {permit}");
    }
    let _ = writeln!(out, "  A session that does, from {}[{}]:", witness.name, witness.client);
    for line in &witness.dialog {
        let _ = writeln!(out, "    {line}");
    }
    if !witness.dns.is_empty() {
        let _ = writeln!(out, "  with this DNS:");
        for line in &witness.dns {
            let _ = writeln!(out, "    {line}");
        }
    }
    let _ = writeln!(out, "  See why: {}", witness.command(again, file));
}

impl Witness {
    /// The command line that replays it.
    pub fn command(&self, again: &str, file: &str) -> String {
        let mut line = again.to_owned();
        match self.dns.is_empty() {
            true => line += " --offline",
            false => line += &format!(" --dns {}", quoted(file)),
        }
        line += &format!(" --client {} --name {}", self.client, quoted(&self.name));
        line += &format!(" --helo {} -f {} -t {}", quoted(&self.helo), quoted(&self.sender), quoted(&self.recipient));
        line
    }
}

/// A word for the shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%_-+=:,./[]".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
