//! A refusal in the making: code, enhanced status and text, and how they become a reply line.

use crate::decision::ErrorClass;
use crate::subject::Subject;
use std::fmt;

/// The longest reply text, without line end.
const REPLY_LIMIT: usize = 510;

/// An RFC 3463 status without its class digit, which always follows the reply code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The middle number.
    pub subject: u16,
    /// The last number.
    pub detail: u16,
}

impl Status {
    /// `x.SUBJECT.DETAIL`.
    pub const fn new(subject: u16, detail: u16) -> Self {
        Self { subject, detail }
    }

    /// Split `D.S.T text` into status and text; anything else is all text.
    pub fn split(text: &str) -> (Option<Self>, &str) {
        let (word, rest) = match text.find(|c: char| c.is_ascii_whitespace()) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        match Self::parse(word) {
            Some(status) => (Some(status), rest.trim_start()),
            None => (None, text),
        }
    }

    /// Parse `2.S.T`, `4.S.T` or `5.S.T`.
    pub fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split('.');
        let class = parts.next()?;
        if !matches!(class, "2" | "4" | "5") {
            return None;
        }
        let subject = number(parts.next()?)?;
        let detail = number(parts.next()?)?;
        if parts.next().is_some() { None } else { Some(Self { subject, detail }) }
    }

    /// The status as it may be said of this subject (evaluation of `X.1.Y` codes), and whether it changed.
    pub fn fitted(self, subject: Subject) -> Self {
        if self.subject != 1 {
            return self;
        }
        let detail = match (subject, self.detail) {
            (Subject::Sender, 1 | 3 | 4 | 6 | 7) => 7,
            (Subject::Sender, 2 | 8) => 8,
            (Subject::Recipient, 1 | 4 | 5 | 6) => self.detail,
            (Subject::Recipient, 2 | 8) => 2,
            (Subject::Recipient, 3 | 7) => 3,
            (Subject::Sender | Subject::Recipient, _) => 0,
            _ => return Self { subject: 0, detail: 0 },
        };
        Self { subject: 1, detail }
    }
}

fn number(text: &str) -> Option<u16> {
    if text.is_empty() || text.len() > 3 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A refusal before soft_bounce, prefixes and limits are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Reply code.
    pub(crate) code: u16,
    /// Enhanced status.
    pub(crate) status: Status,
    /// The text.
    pub(crate) text: String,
    /// Its class.
    pub(crate) class: ErrorClass,
}

impl Refusal {
    /// A refusal by policy.
    pub(crate) fn new(code: u16, status: (u16, u16), text: impl Into<String>) -> Self {
        Self { code, status: Status::new(status.0, status.1), text: text.into(), class: ErrorClass::Policy }
    }

    /// The same with another class.
    pub(crate) fn class(mut self, class: ErrorClass) -> Self {
        self.class = class;
        self
    }

    /// `451 4.3.5 Server configuration error`.
    pub(crate) fn server_error() -> Self {
        Self::new(451, (3, 5), "Server configuration error").class(ErrorClass::Software)
    }

    /// `451 4.3.0 <name>: Temporary lookup failure`.
    pub(crate) fn lookup_failure(name: &str) -> Self {
        Self::new(451, (3, 0), format!("<{name}>: Temporary lookup failure")).class(ErrorClass::Data)
    }

    /// Is the code one that can be sent?
    pub(crate) fn is_sendable(&self) -> bool {
        (400..600).contains(&self.code)
    }

    /// `CODE ENH TEXT`, printable and within limits; `soft` turns 5xx into 4xx. Without `smtputf8_enable` octets that
    /// are not ASCII are not printable.
    pub(crate) fn reply(&self, soft: bool, utf8: bool) -> String {
        use fmt::Write as _;
        let code = if soft && self.code / 100 == 5 { self.code - 100 } else { self.code };
        let mut reply = String::with_capacity(self.text.len() + 12);
        let _ = write!(reply, "{code} {}.{}.{} ", code / 100, self.status.subject, self.status.detail);
        for c in self.text.chars() {
            match c {
                _ if c.is_control() => reply.push(' '),
                _ if utf8 || c.is_ascii() => reply.push(c),
                _ => reply.extend(std::iter::repeat_n(' ', c.len_utf8())),
            }
        }
        if reply.len() > REPLY_LIMIT {
            let cut = (0..=REPLY_LIMIT).rev().find(|at| reply.is_char_boundary(*at)).unwrap_or(0);
            reply.truncate(cut);
        }
        reply
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_matching_digits_and_bounds() {
        let refusal = Refusal::new(504, (5, 2), "<a>: Helo command rejected: need fully-qualified hostname");
        assert_eq!(refusal.reply(false, true), "504 5.5.2 <a>: Helo command rejected: need fully-qualified hostname");
        assert_eq!(refusal.reply(true, true), "404 4.5.2 <a>: Helo command rejected: need fully-qualified hostname");
        assert_eq!(Refusal::new(450, (7, 1), "a\tb\nc").reply(false, true), "450 4.7.1 a b c");
        assert_eq!(Refusal::new(450, (7, 1), "ä".repeat(600)).reply(false, true).len(), 510);
        assert_eq!(Refusal::new(450, (7, 1), "aéb").reply(false, false), "450 4.7.1 a  b");
    }

    #[test]
    fn a_status_is_split_from_its_text() {
        assert_eq!(Status::split("5.7.99 own status"), (Some(Status::new(7, 99)), "own status"));
        assert_eq!(Status::split("own 5.7.1"), (None, "own 5.7.1"));
        assert_eq!(Status::split("3.7.1 x"), (None, "3.7.1 x"));
        assert_eq!(Status::split("5.7.1"), (Some(Status::new(7, 1)), ""));
        assert_eq!(Status::parse("5.7.1.1"), None);
    }

    #[test]
    fn address_statuses_are_fitted_to_their_subject() {
        for (subject, given, expected) in [
            (Subject::Sender, (1, 1), (1, 7)),
            (Subject::Sender, (1, 2), (1, 8)),
            (Subject::Sender, (1, 5), (1, 0)),
            (Subject::Recipient, (1, 8), (1, 2)),
            (Subject::Recipient, (1, 7), (1, 3)),
            (Subject::Recipient, (1, 6), (1, 6)),
            (Subject::Recipient, (1, 9), (1, 0)),
            (Subject::Client, (1, 1), (0, 0)),
            (Subject::Client, (7, 1), (7, 1)),
        ] {
            let status = Status::new(given.0, given.1).fitted(subject);
            assert_eq!(status, Status::new(expected.0, expected.1), "{subject:?} {given:?}");
        }
    }
}
