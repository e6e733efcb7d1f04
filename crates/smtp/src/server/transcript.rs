//! What was said in a session, for the copy that the postmaster gets when it went wrong (`notify_classes`).
//!
//! What is said is kept only where somebody wants to be told. Credentials are never in it.

use super::auth::without_secrets;
use super::event::Event;
use super::session::ServerSession;

/// Kept text; beyond it the oldest lines go.
const LIMIT: usize = 32 * 1024;

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
}

/// Some classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorClasses(u8);

impl ErrorClasses {
    /// The value of `notify_classes`, and the words in it that mean nothing. Classes that have to do with delivery only
    /// (`2bounce`, `delay`) are known and left out.
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
                "2bounce" | "delay" => {}
                _ => unknown.push(word.to_owned()),
            }
        }
        (classes, unknown)
    }

    fn add(&mut self, class: ErrorClass) {
        self.0 |= 1 << class as u8;
    }

    fn contains(self, class: ErrorClass) -> bool {
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
    text: String,
    lines: usize,
    left_out: usize,
    faults: ErrorClasses,
    /// Whose fault the error at hand is, where that is not the protocol's.
    next: Option<ErrorClass>,
    reason: Option<&'static str>,
}

impl Transcript {
    /// Octets that are not printable become `?`.
    fn add(&mut self, direction: &str, line: &[u8], utf8: bool) {
        self.text.push_str(direction);
        for chunk in line.utf8_chunks() {
            let plain = |c: char| !c.is_ascii_control() && (utf8 || c.is_ascii());
            if chunk.valid().chars().all(plain) {
                self.text.push_str(chunk.valid());
            } else {
                for c in chunk.valid().chars() {
                    let count = if plain(c) { 0 } else { c.len_utf8() };
                    self.text.extend(std::iter::repeat_n('?', count));
                    self.text.extend((count == 0).then_some(c));
                }
            }
            self.text.extend(chunk.invalid().iter().map(|_| '?'));
        }
        self.text.push('\n');
        self.lines += 1;
        if self.text.len() > LIMIT {
            let from = self.text.floor_char_boundary(LIMIT / 4);
            let cut = self.text[from..].find('\n').map_or(self.text.len(), |at| from + at + 1);
            self.left_out += self.text[..cut].lines().count();
            self.text.drain(..cut);
        }
    }

    fn take(&mut self) -> Notice {
        let mut transcript = std::mem::take(&mut self.text);
        if self.left_out > 0 {
            transcript.insert_str(0, &format!("({} lines are left out)\n", self.left_out));
        }
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
            self.transcript.add("In:  ", shown, self.config.smtputf8_enable);
            if shown.len() < line.len() {
                self.transcript.text.pop();
                self.transcript.text.push_str(" (not shown)\n");
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
            self.transcript.add("Out: ", line.trim_ascii_end(), utf8);
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
        if self.transcript.lines > self.config.smtpd_history_flush_threshold {
            let notice = self.end_transcript();
            self.events.extend(notice.map(Event::Notify));
        }
    }

    /// The record with something to report in it.
    pub(super) fn end_transcript(&mut self) -> Option<Notice> {
        let due = self.transcript.faults.0 & self.config.notify_classes.0 != 0 && self.transcript.lines > 0;
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
            ("250 2.0.0 Ok", None),
        ] {
            assert_eq!(class_of(reply), class, "{reply}");
        }
    }

    #[test]
    fn what_cannot_be_shown_is_not_shown() {
        let shown = |utf8| {
            let mut transcript = Transcript::default();
            transcript.add("In:  ", "NOOP é\u{7}".as_bytes(), utf8);
            transcript.add("In:  ", b"NOOP \xff", utf8);
            transcript.text
        };
        assert_eq!(shown(true), "In:  NOOP é?\nIn:  NOOP ?\n");
        assert_eq!(shown(false), "In:  NOOP ???\nIn:  NOOP ?\n");
    }

    #[test]
    fn a_record_does_not_grow_without_end() {
        let mut transcript = Transcript::default();
        for number in 0..10_000 {
            transcript.add("In:  ", format!("NOOP {number}").as_bytes(), true);
        }
        assert!(transcript.text.len() <= LIMIT);
        let notice = transcript.take();
        assert!(notice.transcript.starts_with('(') && notice.transcript.ends_with("In:  NOOP 9999\n"));
        assert!(transcript.text.is_empty() && transcript.lines == 0);
    }
}
