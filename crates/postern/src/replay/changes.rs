//! What changed, by kind and by the restriction that decides: counts and some examples.

use super::Verdict;
use crate::record::{Bound, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// So many examples are kept of a group.
const EXAMPLES: usize = 3;
/// So many groups of a kind, and gaps, are kept apart; the rest is counted together.
const GROUPS: usize = 500;

/// Everything that was compared.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Changes {
    /// Decisions.
    pub decisions: u64,
    /// Decisions with the same outcome.
    pub same: u64,
    /// Refused then, not now; by the restriction that refused then.
    pub now_accepted: BTreeMap<String, Group>,
    /// Refused now, not then; by the restriction that refuses now.
    pub now_refused: BTreeMap<String, Group>,
    /// Refused both times, with other words; by the restriction that refuses now.
    pub other_reply: BTreeMap<String, Group>,
    /// Questions that nobody asked then, and in how many decisions they came up.
    pub gaps: BTreeMap<String, u64>,
    /// First and last moment, in milliseconds since the epoch.
    pub span: Option<(u64, u64)>,
}

/// Decisions that changed for the same reason.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<String>,
}

impl Changes {
    /// Compare a decision with what it comes to now; the line that tells the difference.
    pub fn compare(&mut self, record: &Record<Bound>, now: &Verdict) -> Option<String> {
        self.decisions += 1;
        let (first, last) = self.span.unwrap_or((record.at, record.at));
        self.span = Some((first.min(record.at), last.max(record.at)));
        for gap in &now.gaps {
            let gap = if self.gaps.len() < GROUPS || self.gaps.contains_key(gap) { gap.as_str() } else { "others" };
            *self.gaps.entry(gap.to_owned()).or_default() += 1;
        }
        let before = record.reply.as_deref().map(without_code);
        let (kind, by) = match (before, now.reply.as_deref()) {
            (None, None) => {
                self.same += 1;
                return None;
            }
            (Some(before), Some(now)) if before == now => {
                self.same += 1;
                return None;
            }
            (Some(_), None) => {
                let by = record.deciding().map(|step| step.shown());
                (&mut self.now_accepted, by)
            }
            (None, Some(_)) => (&mut self.now_refused, now.by.clone()),
            (Some(_), Some(_)) => (&mut self.other_reply, now.by.clone()),
        };
        let by = by.unwrap_or_else(|| "the session".to_owned());
        let by = if kind.len() < GROUPS || kind.contains_key(&by) { by } else { "others".to_owned() };
        let text = |reply: Option<&str>| reply.unwrap_or("accepted").to_owned();
        let line = format!("{}: was: {}; now: {}", record.summary(), text(before), text(now.reply.as_deref()));
        let group = kind.entry(by).or_default();
        group.count += 1;
        if group.examples.len() < EXAMPLES {
            group.examples.push(line.clone());
        }
        Some(line)
    }

    /// Did anything change?
    pub fn any(&self) -> bool {
        self.same < self.decisions
    }

    /// The table for people.
    pub fn print(&self) -> String {
        let mut out = String::new();
        let time = |milliseconds: u64| {
            let at = i64::try_from(milliseconds).unwrap_or(0);
            jiff::Timestamp::from_millisecond(at).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        let span = self.span.map_or_else(String::new, |(a, b)| format!(", {} to {} UTC", time(a), time(b)));
        let _ = writeln!(out, "{} decisions{span}: {} as before", self.decisions, self.same);
        let kinds = [
            ("now refused", &self.now_refused),
            ("now accepted", &self.now_accepted),
            ("other reply", &self.other_reply),
        ];
        for (title, groups) in kinds {
            let count: u64 = groups.values().map(|group| group.count).sum();
            if count == 0 {
                continue;
            }
            let _ = writeln!(out, "\n{title}: {count}");
            let mut sorted: Vec<_> = groups.iter().collect();
            sorted.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
            for (by, group) in sorted {
                let _ = writeln!(out, "  {} by {by}", group.count);
                for example in &group.examples {
                    let _ = writeln!(out, "    {example}");
                }
            }
        }
        if !self.gaps.is_empty() {
            let _ = writeln!(out, "\nnot asked then, assumed to be quiet now:");
            let mut sorted: Vec<_> = self.gaps.iter().collect();
            sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            for (gap, count) in sorted.iter().take(20) {
                let _ = writeln!(out, "  {count} × {gap}");
            }
            if sorted.len() > 20 {
                let _ = writeln!(out, "  and {} more", sorted.len() - 20);
            }
        }
        out
    }
}

/// A reply without the code that the record may have put behind it.
fn without_code(reply: &str) -> &str {
    match reply.strip_suffix(']').and_then(|rest| rest.rsplit_once(" [")) {
        Some((bare, code)) if code.parse::<crate::record::Code>().is_ok() => bare,
        _ => reply,
    }
}
