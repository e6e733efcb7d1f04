//! The commands, and how often each was tried and went well (the end of the `disconnect from` line).

use std::fmt::Write as _;

/// An SMTP command, in the order of the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Helo,
    Ehlo,
    Xclient,
    Xforward,
    Starttls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Etrn,
    Quit,
    Help,
    Unknown,
}

const COUNT: usize = 17;
const NAMES: [&str; COUNT] = [
    "HELO", "EHLO", "XCLIENT", "XFORWARD", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY",
    "ETRN", "QUIT", "HELP", "UNKNOWN",
];
const VERBS: [Verb; COUNT] = [
    Verb::Helo,
    Verb::Ehlo,
    Verb::Xclient,
    Verb::Xforward,
    Verb::Starttls,
    Verb::Auth,
    Verb::Mail,
    Verb::Rcpt,
    Verb::Data,
    Verb::Bdat,
    Verb::Rset,
    Verb::Noop,
    Verb::Vrfy,
    Verb::Etrn,
    Verb::Quit,
    Verb::Help,
    Verb::Unknown,
];

impl Verb {
    /// The command a word names, in any case.
    pub(super) fn parse(word: &str) -> Self {
        let known = NAMES.iter().take(COUNT - 1).position(|name| word.eq_ignore_ascii_case(name));
        known.map_or(Verb::Unknown, |index| VERBS[index])
    }

    /// The word log lines have for it.
    pub(super) const fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// May nothing follow it in a pipelined group?
    pub(super) const fn is_last(self) -> bool {
        matches!(self, Verb::Helo | Verb::Ehlo | Verb::Data | Verb::Noop | Verb::Vrfy)
    }

    /// Does it count towards `smtpd_junk_command_limit`?
    pub(super) const fn is_junk(self) -> bool {
        matches!(self, Verb::Helo | Verb::Ehlo | Verb::Rset | Verb::Noop | Verb::Vrfy | Verb::Etrn)
    }
}

/// Tries and successes of each command.
#[derive(Clone, Debug, Default)]
pub(super) struct Statistics {
    tried: [u32; COUNT],
    good: [u32; COUNT],
}

impl Statistics {
    pub(super) fn tried(&mut self, verb: Verb) {
        self.tried[verb as usize] = self.tried[verb as usize].saturating_add(1);
    }

    pub(super) fn good(&mut self, verb: Verb) {
        self.good[verb as usize] = self.good[verb as usize].saturating_add(1);
    }

    /// `ehlo=1 mail=1 rcpt=1/2 data=1 quit=1 commands=5/6`
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(64);
        let (mut good, mut tried) = (0u64, 0u64);
        for ((name, &ok), &all) in NAMES.iter().zip(&self.good).zip(&self.tried) {
            good += u64::from(ok);
            tried += u64::from(all);
            if all > 0 {
                text.extend(name.chars().map(|c| c.to_ascii_lowercase()));
                let _ = if ok == all { write!(text, "={ok} ") } else { write!(text, "={ok}/{all} ") };
            }
        }
        let _ = if good == tried && tried > 0 {
            write!(text, "commands={good}")
        } else {
            write!(text, "commands={good}/{tried}")
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_what_they_are_called() {
        for (verb, name) in VERBS.iter().zip(NAMES) {
            assert_eq!(verb.name(), name);
            assert_eq!(Verb::parse(&name.to_ascii_lowercase()), *verb);
        }
        assert_eq!(Verb::parse("EXPN"), Verb::Unknown);
    }

    #[test]
    fn texts() {
        let mut statistics = Statistics::default();
        assert_eq!(statistics.text(), "commands=0/0");
        statistics.tried(Verb::Ehlo);
        statistics.good(Verb::Ehlo);
        assert_eq!(statistics.text(), "ehlo=1 commands=1");
        statistics.tried(Verb::Unknown);
        statistics.tried(Verb::Mail);
        assert_eq!(statistics.text(), "ehlo=1 mail=0/1 unknown=0/1 commands=1/3");
    }
}
