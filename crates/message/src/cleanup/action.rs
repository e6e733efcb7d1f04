//! header_checks(5) and body_checks(5): finding the rule and doing what it says.

use super::header::{Known, is_header};
use super::mime::Block;
use super::{Cleanup, Io};
use crate::log::{LogLine, printable};
use std::fmt::Write;
use std::sync::Arc;

/// What becomes of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Keep,
    /// It goes.
    Drop,
    /// Another text takes its place.
    Replace(Arc<str>),
}

/// How much of a line is logged.
const EXCERPT: usize = 200;

/// A line under inspection.
#[derive(Clone, Copy)]
struct Subject<'a> {
    /// `header`, `body` or `content`.
    context: &'static str,
    text: &'a [u8],
    /// The parameter whose table has the rule.
    map: &'a str,
}

impl Subject<'_> {
    fn is_header(&self) -> bool {
        self.context == "header"
    }
}

impl Cleanup {
    pub(super) fn check_header(&mut self, known: Option<Known>, header: &[u8], io: &mut Io<'_>) -> Fate {
        if !self.has_header_checks() {
            return Fate::Keep;
        }
        let config = self.config.clone();
        let maps = match self.mime.block {
            _ if known.is_some_and(Known::is_mime) => &config.mime_header_checks,
            Block::Primary => &config.header_checks,
            Block::Multipart => &config.mime_header_checks,
            Block::Nested | Block::Body => &config.nested_header_checks,
        };
        if maps.is_empty() {
            return Fate::Keep;
        }
        self.check(maps, Subject { context: "header", text: header, map: &maps.title }, io)
    }

    fn has_header_checks(&self) -> bool {
        let config = &self.config;
        [&config.header_checks, &config.mime_header_checks, &config.nested_header_checks].iter().any(|m| !m.is_empty())
    }

    /// `milter_header_checks`.
    pub(super) fn check_milter_header(&mut self, header: &[u8], io: &mut Io<'_>) -> Fate {
        let config = self.config.clone();
        let maps = &config.milter_header_checks;
        self.check(maps, Subject { context: "header", text: header, map: &maps.title }, io)
    }

    pub(super) fn check_body(&mut self, line: &[u8], io: &mut Io<'_>) -> Fate {
        let config = self.config.clone();
        let maps = &config.body_checks;
        self.check(maps, Subject { context: "body", text: line, map: &maps.title }, io)
    }

    /// `message_reject_characters`.
    pub(super) fn reject_content(&mut self, line: &[u8]) {
        self.reject(Subject { context: "content", text: line, map: "character reject" }, "disallowed character");
    }

    fn check(&mut self, maps: &crate::lookup::Maps, subject: Subject<'_>, io: &mut Io<'_>) -> Fate {
        match maps.find_content(io.lookup, subject.text) {
            Ok(Some(value)) => self.act(subject, &value, io),
            Ok(None) => Fate::Keep,
            Err(failed) => {
                if !failed.0.is_empty() {
                    self.warn(failed.0.to_string());
                }
                self.refuse_for_map(subject.map);
                Fate::Keep
            }
        }
    }

    fn act(&mut self, subject: Subject<'_>, value: &str, io: &mut Io<'_>) -> Fate {
        let (word, text) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        let text = text.trim_ascii_start();
        match word.to_ascii_uppercase().as_str() {
            "REJECT" => self.reject(subject, text),
            "WARN" => self.log_action("warning", subject, text),
            "INFO" => self.log_action("info", subject, text),
            "FILTER" => self.filter(subject, text),
            "PASS" => {
                self.log_action("pass", subject, text);
                self.stop_checks();
            }
            "DISCARD" => {
                self.log_action("discard", subject, text);
                self.effects.discard = true;
                self.stop_checks();
            }
            "HOLD" => {
                if !self.effects.hold && !self.effects.discard {
                    self.log_action("hold", subject, text);
                    self.effects.hold = true;
                }
            }
            "PREPEND" => self.prepend(subject, text, io),
            "REPLACE" => return self.replace(subject, text),
            "REDIRECT" => self.redirect(subject, text),
            "BCC" => self.bcc(subject, text),
            "STRIP" => {
                self.log_action("strip", subject, text);
                return Fate::Drop;
            }
            "IGNORE" => return Fate::Drop,
            "DUNNO" | "OK" => {}
            _ => self.warn(format!("unknown command in {} map: {value}", subject.map)),
        }
        Fate::Keep
    }

    fn stop_checks(&mut self) {
        self.checks = false;
        self.effects.skip_milters = true;
    }

    fn reject(&mut self, subject: Subject<'_>, text: &str) {
        let mut reason = match split_status(text) {
            _ if text.is_empty() => "5.7.1 message content rejected".to_owned(),
            Some((status, rest)) => format!("{status} {rest}"),
            None => format!("5.7.1 {text}"),
        };
        if !reason.starts_with(['4', '5']) {
            self.warn(format!("bad DSN action in {text} -- need 4.x.x or 5.x.x"));
            reason.replace_range(..1, "4");
        }
        let code = if reason.starts_with('4') { "451" } else { "550" };
        self.stop_checks();
        self.log_action("reject", subject, &reason);
        self.refuse(format!("{code} {reason}"));
    }

    fn filter(&mut self, subject: Subject<'_>, text: &str) {
        if text.is_empty() {
            self.warn(format!("missing FILTER command argument in {} map", subject.map));
        } else if !text.contains(':') {
            self.warn(format!("bad FILTER command {text} in {} -- need transport:destination", subject.map));
        } else {
            self.effects.filter = Some(text.to_owned());
            self.log_action("filter", subject, text);
        }
    }

    fn redirect(&mut self, subject: Subject<'_>, text: &str) {
        if !text.contains('@') {
            self.warn(format!("bad REDIRECT target \"{text}\" in {} map -- need user@domain", subject.map));
            return;
        }
        self.effects.redirect = Some(text.to_owned());
        self.log_action("redirect", subject, text);
        self.stop_checks();
    }

    fn bcc(&mut self, subject: Subject<'_>, text: &str) {
        if !text.contains('@') {
            self.warn(format!("bad BCC address \"{text}\" in {} map -- need user@domain", subject.map));
            return;
        }
        self.log_action("bcc", subject, text);
        self.effects.bcc.push(text.to_owned());
    }

    fn prepend(&mut self, subject: Subject<'_>, text: &str, io: &mut Io<'_>) {
        if text.is_empty() {
            self.warn(format!("PREPEND action without text in {} map", subject.map));
        } else if subject.is_header() && is_header(text.as_bytes()).is_none() {
            self.warn_not_a_header("PREPEND", subject, text);
        } else {
            self.log_action("prepend", subject, text);
            if self.is_milter {
                self.warn("the milter_header/body_checks prepend action is not implemented".to_owned());
            } else if subject.is_header() {
                self.write_header(text.as_bytes(), io);
            } else {
                io.out.extend_from_slice(text.as_bytes());
                io.out.push(b'\n');
            }
        }
    }

    fn replace(&mut self, subject: Subject<'_>, text: &str) -> Fate {
        if text.is_empty() {
            self.warn(format!("REPLACE action without text in {} map", subject.map));
        } else if subject.is_header() && is_header(text.as_bytes()).is_none() {
            self.warn_not_a_header("REPLACE", subject, text);
        } else {
            self.log_action("replace", subject, text);
            return Fate::Replace(text.into());
        }
        Fate::Keep
    }

    fn warn_not_a_header(&mut self, action: &str, subject: Subject<'_>, text: &str) {
        let map = subject.map;
        self.warn(format!("bad {action} header text \"{text}\" in {map} map -- need \"headername: headervalue\""));
    }

    fn log_action(&mut self, word: &str, subject: Subject<'_>, text: &str) {
        let context = &self.context;
        let excerpt = printable(&subject.text[..subject.text.len().min(EXCERPT)]);
        let kind = subject.context;
        let prefix = if self.is_milter { "milter-header-" } else { "" };
        let mut line = format!("{}: {prefix}{word}: {kind} {excerpt} from {};", context.queue_id, context.origin);
        line.push_str(&context.tail(&context.sender));
        if !text.is_empty() {
            let _ = write!(line, ": {}", printable(text.as_bytes()));
        }
        self.log.push(LogLine::cleanup(line));
    }
}

/// An enhanced status code at the start of a text, and the rest.
fn split_status(text: &str) -> Option<(&str, &str)> {
    let (status, rest) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
    let mut parts = status.split('.');
    let class = parts.next().is_some_and(|part| part.len() == 1 && matches!(part, "2" | "4" | "5"));
    let mut number =
        || parts.next().is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    (class && number() && number() && parts.next().is_none()).then(|| (status, rest.trim_ascii_start()))
}
