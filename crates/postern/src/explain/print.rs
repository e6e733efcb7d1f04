//! A story for people, in colour on a terminal.

use super::{Asked, StepStory, Story};
use std::fmt::Write;

/// With or without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Plain text.
    Plain,
    /// With ANSI colours.
    Colour,
}

const RED: &str = Style::RED;
const GREEN: &str = Style::GREEN;
const YELLOW: &str = Style::YELLOW;
const DIM: &str = Style::DIM;
const BOLD: &str = Style::BOLD;

impl Style {
    pub(crate) const RED: &str = "31";
    pub(crate) const GREEN: &str = "32";
    pub(crate) const YELLOW: &str = "33";
    pub(crate) const DIM: &str = "2";
    pub(crate) const BOLD: &str = "1";

    /// Colour when standard output is a terminal and NO_COLOR isn't set.
    pub fn of_stdout() -> Self {
        use std::io::IsTerminal;
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && std::io::stdout().is_terminal() { Self::Colour } else { Self::Plain }
    }

    /// The text in this colour.
    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

impl Story {
    /// The whole story as text.
    pub fn print(&self, style: Style) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{} talks to service {}\n", style.paint(BOLD, &self.client), self.service);
        for exchange in &self.exchanges {
            let _ = writeln!(out, "{}", style.paint(BOLD, &exchange.command));
            for decision in &exchange.decisions {
                let mut list = "";
                for step in &decision.steps {
                    if step.depth == 0 && step.list != list {
                        list = &step.list;
                        if step.restriction != step.list {
                            let _ = writeln!(out, "  {list}");
                        }
                    }
                    print_step(&mut out, step, style);
                }
                for asked in &decision.answers {
                    let _ = write!(out, "  answer {} = {}", asked.question, asked.answer);
                    if let Some(place) = &asked.place {
                        let _ = write!(out, "  {}", style.paint(DIM, &format!("[{place}]")));
                    }
                    out.push('\n');
                }
            }
            if !exchange.checks.is_empty() {
                let _ = writeln!(out, "  cleanup");
            }
            for check in &exchange.checks {
                let colour = if check.action.to_ascii_uppercase().starts_with("REJECT") { RED } else { YELLOW };
                let _ = write!(out, "    {}: {}", check.check, style.paint(colour, &check.action));
                if let Some(place) = &check.place {
                    let _ = write!(out, "  {}", style.paint(DIM, &format!("[{place}]")));
                }
                let _ = writeln!(out, "\n      met by {}", check.text.replace('\n', " "));
            }
            for line in &exchange.fate {
                let _ = writeln!(out, "  {}", style.paint(YELLOW, line));
            }
            for line in &exchange.reply {
                let colour = if line.starts_with(['2', '3']) { GREEN } else { RED };
                let _ = writeln!(out, "  → {}", style.paint(colour, line));
            }
        }
        out.push('\n');
        self.print_end(&mut out, style);
        out
    }

    fn print_end(&self, out: &mut String, style: Style) {
        match (&self.decided_by, self.accepted) {
            (Some(restriction), _) => {
                let _ = writeln!(out, "{} by {restriction}", style.paint(RED, "Refused"));
            }
            (None, true) => {
                let _ = writeln!(out, "{}", style.paint(GREEN, "Accepted"));
            }
            (None, false) => {
                let _ = writeln!(out, "{} by the session itself: {}", style.paint(RED, "Refused"), self.verdict);
            }
        }
        for line in &self.log {
            let _ = writeln!(out, "  log: {line}");
        }
        if !self.unknown.is_empty() {
            let _ = writeln!(out, "\nNot known here:");
        }
        for unknown in &self.unknown {
            let _ = writeln!(out, "  {}: assumed: {}", unknown.question, unknown.assumed);
            for (case, verdict) in &unknown.otherwise {
                let _ = writeln!(out, "    {} {case}: {verdict}", style.paint(YELLOW, "if"));
            }
        }
        if !self.advice.is_empty() {
            let _ = writeln!(out, "\n{}", style.paint(BOLD, "What would change this"));
            self.advice.iter().for_each(|line| {
                let _ = writeln!(out, "  * {line}");
            });
        }
    }
}

fn print_step(out: &mut String, step: &StepStory, style: Style) {
    let indent = 4 + 2 * step.depth;
    let colour = match step.outcome {
        "permit" | "discard" => GREEN,
        "reject" | "hang up" => RED,
        "would reject" | "defer if permit" | "defer if reject" => YELLOW,
        _ => DIM,
    };
    let (name, outcome) = (&step.restriction, style.paint(colour, step.outcome));
    let _ = write!(out, "{:indent$}{name}: {outcome}", "");
    if let Some(detail) = &step.detail {
        let _ = write!(out, " {detail}");
    }
    if let Some(why) = &step.why {
        let _ = write!(out, " ({why})");
    }
    if let Some(place) = &step.place {
        let _ = write!(out, "  {}", style.paint(DIM, &format!("[{place}]")));
    }
    out.push('\n');
    let (found, missing): (Vec<&Asked>, Vec<&Asked>) = step.asked.iter().partition(|asked| asked.found);
    for asked in found {
        let _ = write!(out, "{:indent$}  asked {} = {}", "", asked.question, asked.answer);
        if let Some(place) = &asked.place {
            let _ = write!(out, "  {}", style.paint(DIM, &format!("[{place}]")));
        }
        out.push('\n');
    }
    for asked in missing {
        let _ = writeln!(
            out,
            "{:indent$}  {}",
            "",
            style.paint(DIM, &format!("asked {}: {}", asked.question, asked.answer))
        );
    }
}
