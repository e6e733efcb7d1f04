//! What was said in a session, for the copy that the postmaster gets when it went wrong (`notify_classes`).
//!
//! What is said is kept only where somebody wants to be told. Credentials are never in it.

use super::auth::without_secrets;
use super::event::Event;
use super::session::ServerSession;
use crate::history::History;

/// Kinds of trouble, as in `notify_classes`; they drive what `warn_if_reject` may soften, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Access rules.
    Policy,
    /// The client does not follow the protocol.
    Protocol,
    /// Mail that has to be returned: unknown recipients, messages that are too large.
    Bounce,
    /// A table could not be read.
    Data,
    /// A configuration error.
    Software,
    /// No space.
    Resource,
    /// Mail that has to be returned, and can't be.
    DoubleBounce,
    /// Mail that is late.
    Delay,
}

/// Some classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorClasses(u8);

impl ErrorClasses {
    /// The value of `notify_classes`, and the words in it that mean nothing.
    pub fn parse(list: &str) -> (Self, Vec<String>) {
        let (mut classes, mut unknown) = (Self::default(), Vec::new());
        for word in list.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
            match word {
                "policy" => classes.add(ErrorClass::Policy),
                "protocol" => classes.add(ErrorClass::Protocol),
                "bounce" => classes.add(ErrorClass::Bounce),
                "data" => classes.add(ErrorClass::Data),
                "software" => classes.add(ErrorClass::Software),
                "resource" => classes.add(ErrorClass::Resource),
                "2bounce" => classes.add(ErrorClass::DoubleBounce),
                "delay" => classes.add(ErrorClass::Delay),
                _ => unknown.push(word.to_owned()),
            }
        }
        (classes, unknown)
    }

    fn add(&mut self, class: ErrorClass) {
        self.0 |= 1 << class as u8;
    }

    /// Is this one of them?
    pub fn contains(self, class: ErrorClass) -> bool {
        self.0 & (1 << class as u8) != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What the postmaster is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `In:  …` and `Out: …`, line by line.
    pub transcript: String,
    /// It is for `bounce_notice_recipient`, not for `error_notice_recipient`.
    pub bounce: bool,
    /// Why the session ended before its time (`lost connection`, `timeout`, `too many errors`).
    pub reason: Option<&'static str>,
}

/// The record of a session.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    history: History,
    faults: ErrorClasses,
    /// Whose fault the error at hand is, where that is not the protocol's.
    next: Option<ErrorClass>,
    reason: Option<&'static str>,
}

impl Transcript {
    fn take(&mut self) -> Notice {
        let transcript = self.history.take();
        let notice = Notice { transcript, bounce: self.faults.contains(ErrorClass::Bounce), reason: self.reason };
        *self = Self { reason: self.reason, ..Self::default() };
        notice
    }
}

impl ServerSession {
    /// A line from the client.
    pub(super) fn heard(&mut self, line: &[u8]) {
        if !self.config.notify_classes.is_empty() {
            let shown = without_secrets(line);
            self.transcript.history.add("In:  ", shown, self.config.smtputf8_enable);
            if shown.len() < line.len() {
                self.transcript.history.append(" (not shown)");
            }
        }
    }

    /// A line from the client that nobody else may read.
    pub(super) fn heard_secret(&mut self) {
        self.heard(b"(not shown)");
    }

    /// A reply, as it is sent. An error is somebody's fault.
    pub(super) fn said(&mut self, start: usize) {
        if self.config.notify_classes.is_empty() {
            return;
        }
        let utf8 = self.config.smtputf8_enable;
        let text = self.output.get(start..).unwrap_or_default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.transcript.history.add("Out: ", line.trim_ascii_end(), utf8);
        }
        let class = class_of(&String::from_utf8_lossy(text));
        let class = class.and(self.transcript.next.take().or(class));
        if let Some(class) = class {
            self.transcript.faults.add(class);
        }
    }

    /// The next error is of this class.
    pub(super) fn blame(&mut self, class: ErrorClass) {
        self.transcript.next = Some(class);
    }

    /// The session ends before its time.
    pub(super) fn note_end(&mut self, reason: &'static str) {
        self.transcript.reason.get_or_insert(reason);
    }

    /// A message was taken: whatever went wrong before is mended.
    pub(super) fn forgive(&mut self) {
        self.transcript.faults = ErrorClasses::default();
    }

    /// The record has become long: report it, if there is something to report, and begin another one.
    pub(super) fn flush_transcript(&mut self) {
        if self.transcript.history.lines() > self.config.smtpd_history_flush_threshold {
            let notice = self.end_transcript();
            self.events.extend(notice.map(Event::Notify));
        }
    }

    /// The record with something to report in it.
    pub(super) fn end_transcript(&mut self) -> Option<Notice> {
        let due = self.transcript.faults.0 & self.config.notify_classes.0 != 0 && self.transcript.history.lines() > 0;
        let notice = self.transcript.take();
        due.then_some(notice)
    }
}

/// Whose fault the session's own errors are.
fn class_of(reply: &str) -> Option<ErrorClass> {
    match reply.as_bytes() {
        // Wrong passwords are no reason to write to anybody.
        [b'2' | b'3', ..] | [b'5', b'3', b'5', ..] => None,
        _ if reply.starts_with("421 4.4.2") || reply.starts_with("421 4.3.2") => None,
        // As in Postfix: nothing was said yet that would be worth a letter.
        _ if reply.starts_with("421") && reply.contains("4.7.0") && reply.contains(" Error: too many connections") => {
            None
        }
        _ if reply.starts_with("452 4.3.1") || reply.contains("queue file write error") => Some(ErrorClass::Resource),
        _ if reply.starts_with("552 5.3.4 Error") || reply.starts_with("554 5.4.0") => Some(ErrorClass::Bounce),
        _ if reply.starts_with("552 5.3.4") => Some(ErrorClass::Policy),
        _ if reply.contains(" Server local data error") => Some(ErrorClass::Data),
        _ => Some(ErrorClass::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_read() {
        let (classes, unknown) = ErrorClasses::parse("policy, 2bounce delay,nonsense");
        assert!(classes.contains(ErrorClass::Policy) && !classes.contains(ErrorClass::Bounce));
        assert!(classes.contains(ErrorClass::DoubleBounce) && classes.contains(ErrorClass::Delay));
        assert_eq!(unknown, ["nonsense"]);
        assert!(ErrorClasses::parse(" ").0.is_empty());
    }

    #[test]
    fn errors_have_their_class() {
        for (reply, class) in [
            ("500 5.5.2 Error: command not recognized", Some(ErrorClass::Protocol)),
            ("452 4.3.1 Insufficient system storage", Some(ErrorClass::Resource)),
            ("552 5.3.4 Message size exceeds fixed limit", Some(ErrorClass::Policy)),
            ("552 5.3.4 Error: message file too big", Some(ErrorClass::Bounce)),
            ("421 4.3.0 mail.example.com Server local data error", Some(ErrorClass::Data)),
            ("535 5.7.8 Error: authentication failed: x", None),
            ("421 4.4.2 mail.example.com Error: timeout exceeded", None),
            ("421 4.7.0 mail.example.com Error: too many connections from 192.0.2.1", None),
            ("421 4.7.0 mail.example.com Error: too many errors", Some(ErrorClass::Protocol)),
            ("250 2.0.0 Ok", None),
        ] {
            assert_eq!(class_of(reply), class, "{reply}");
        }
    }
}
