//! AUTH (RFC 4954): the command and the exchange after it. Who may log in is the driver's business.
//!
//! What clients send here is secret: it reaches the driver, and nothing else.

use super::config::{EhloKeywords, ForbidBareNewline};
use super::event::{Counted, Event, Rate};
use super::line::{Printable, Words};
use super::session::{Phase, ServerSession, Waiting};
use memchr::memchr;
use std::fmt;
use std::sync::Arc;

/// What a client is offered, and whether it is told. Without one, AUTH is "not enabled".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthOffer {
    /// Names of mechanisms, separated by one blank each: `PLAIN LOGIN`.
    pub mechanisms: Arc<str>,
    /// Are they announced? Not to `smtpd_sasl_exceptions_networks`; AUTH works there all the same.
    pub is_announced: bool,
}

/// Who is logged in, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The mechanism as the client wrote it, or `XCLIENT`.
    pub method: String,
    /// The login name.
    pub username: String,
}

/// One step of an exchange, for [`Event::Auth`]. All base64 is well-formed, but not decoded.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthStep {
    /// It begins; answer with `auth_answered`.
    Start {
        /// One of the offered mechanisms, in upper or lower case as the client wrote it.
        mechanism: String,
        /// The initial response in base64.
        response: Option<String>,
    },
    /// The client's line, in base64; answer with `auth_answered`.
    Continue(String),
    /// The client has given up, or is gone: there is no answer.
    Cancel,
}

/// Without the secrets.
impl fmt::Debug for AuthStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { mechanism, .. } => write!(f, "Start({mechanism})"),
            Self::Continue(_) => f.write_str("Continue"),
            Self::Cancel => f.write_str("Cancel"),
        }
    }
}

/// The driver's answer to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthAnswer {
    /// The server's next words, in base64, for `334`.
    Challenge(String),
    /// Logged in.
    Success {
        /// As whom.
        username: String,
    },
    /// Refused.
    Failure {
        /// Who tried, when known.
        username: Option<String>,
        /// Why, perhaps empty: for the reply and for the log.
        reason: String,
    },
    /// Not looked at for now, right or wrong (`454`).
    Postponed {
        /// Who tried, when known.
        username: Option<String>,
        /// Why: for the reply and for the log.
        reason: String,
    },
    /// Nobody can tell (`454`).
    Unavailable {
        /// Why: for the reply and for the log.
        reason: String,
    },
}

/// An exchange that waits for the client's line.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    mechanism: String,
    /// Bytes of an overlong line that were thrown away.
    skipped: Option<usize>,
}

/// Is it made of base64 digits alone? Whether they add up is for the authentication server to see.
fn is_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

/// A command line or several, as a log may show them: cut off where an AUTH command shows a secret.
pub fn without_secrets(text: &[u8]) -> &[u8] {
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH")) {
            // Lines after it may belong to the exchange.
            let shown = words.next().map_or(line.len(), |mechanism| {
                let after = |word: &[u8]| word.as_ptr() as usize - line.as_ptr() as usize + word.len();
                after(mechanism)
            });
            return &text[..start + shown];
        }
        start += line.len();
    }
    text
}

impl ServerSession {
    /// What the client is offered from now on; `None` is nothing.
    pub fn set_auth_offer(&mut self, offer: Option<AuthOffer>) {
        self.auth_offer = offer.filter(|offer| !offer.mechanisms.is_empty());
    }

    /// The client has changed: is it told of the offer?
    pub fn announce_auth(&mut self, is_announced: bool) {
        if let Some(offer) = &mut self.auth_offer {
            offer.is_announced = is_announced;
        }
    }

    /// Who is logged in: by AUTH, or by XCLIENT's word.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Mechanisms for the EHLO reply.
    pub(super) fn announced_mechanisms(&self) -> Option<Arc<str>> {
        self.auth_offer.as_ref().filter(|offer| offer.is_announced).map(|offer| Arc::clone(&offer.mechanisms))
    }

    pub(super) fn auth_command(&mut self, mut words: Words<'_>) {
        if self.config.smtpd_helo_required && self.helo.is_none() {
            return self.fail("503 5.5.1 Error: send HELO/EHLO first");
        }
        if self.auth_offer.is_none() || self.authorised.discard_ehlo_keywords.contains(EhloKeywords::AUTH) {
            return self.fail("503 5.5.1 Error: authentication not enabled");
        }
        if self.milter_refuses_login() {
            return;
        }
        if self.transaction.sender.is_some() {
            return self.fail("503 5.5.1 Error: MAIL transaction in progress");
        }
        if self.login.is_some() {
            return self.fail("503 5.5.1 Error: already authenticated");
        }
        let (Some(mechanism), response, None) = (words.next(), words.next(), words.next()) else {
            return self.fail("501 5.5.4 Syntax: AUTH mechanism");
        };
        match self.count(Rate::Auth) {
            None => return,
            Some(Counted::Within) => {}
            Some(over) => return self.over_rate("many AUTH commands", over),
        }
        let mechanism = super::transaction::printable(mechanism.text.to_owned());
        let is_offered = self
            .auth_offer
            .as_ref()
            .is_some_and(|offer| offer.mechanisms.split(' ').any(|known| known.eq_ignore_ascii_case(&mechanism)));
        self.exchange.mechanism.clone_from(&mechanism);
        if !is_offered {
            return self.auth_failed(&format!("Invalid authentication mechanism: '{mechanism}'"));
        }
        let response = response.map(|word| word.text.to_owned());
        if response.as_deref().is_some_and(|text| !is_base64(text)) {
            return self.auth_failed("Invalid base64 data in initial response");
        }
        self.auth_step(AuthStep::Start { mechanism, response });
    }

    fn auth_step(&mut self, step: AuthStep) {
        self.phase = Phase::Command;
        self.waiting = Waiting::Authenticated;
        self.events.push_back(Event::Auth(step));
    }

    /// The answer to [`Event::Auth`], but for [`AuthStep::Cancel`].
    pub fn auth_answered(&mut self, answer: AuthAnswer) {
        if !matches!(self.waiting, Waiting::Authenticated) {
            return;
        }
        self.waiting = Waiting::Nobody;
        match answer {
            AuthAnswer::Challenge(text) => {
                self.reply(format_args!("334 {text}"));
                self.exchange.skipped = None;
                self.phase = Phase::Auth;
            }
            AuthAnswer::Success { username } => {
                let username = super::transaction::printable(username);
                self.auth_username = Some(username.clone());
                self.login = Some(Login { method: std::mem::take(&mut self.exchange.mechanism), username });
                self.succeed("235 2.7.0 Authentication successful");
            }
            AuthAnswer::Failure { username, reason } => {
                if let Some(username) = username {
                    self.auth_username = Some(super::transaction::printable(username));
                }
                self.auth_failed(&super::transaction::printable(reason));
            }
            AuthAnswer::Postponed { username, reason } => {
                if let Some(username) = username {
                    self.auth_username = Some(super::transaction::printable(username));
                }
                self.auth_refused("454 4.7.0 Temporary authentication failure", &reason);
            }
            AuthAnswer::Unavailable { reason } => {
                self.auth_refused("454 4.7.0 Temporary authentication failure", &reason)
            }
        }
    }

    fn auth_failed(&mut self, reason: &str) {
        self.auth_refused("535 5.7.8 Error: authentication failed", reason);
    }

    fn auth_refused(&mut self, reply: &str, reason: &str) {
        let reason = if reason.is_empty() { "(reason unavailable)" } else { reason };
        let warning = format!(
            "{}: SASL {} authentication failed: {}, sasl_username={}",
            Self::CLIENT,
            Printable(&self.exchange.mechanism),
            Printable(reason),
            Printable(self.auth_username.as_deref().unwrap_or("(unavailable)")),
        );
        self.warn(warning);
        self.fail_with(format_args!("{reply}: {reason}"));
    }

    /// Read the client's line of an exchange; false when it is not here yet.
    pub(super) fn read_auth(&mut self) -> bool {
        if self.draining {
            self.reply(format_args!("421 4.3.2 {} Service shutting down", Arc::clone(&self.config).myhostname));
            self.end_exchange();
            self.closing = true;
            return true;
        }
        let limit = self.config.smtpd_sasl_response_limit.clamp(1, super::session::INPUT_LIMIT / 2);
        if let Some(skipped) = self.exchange.skipped {
            return self.skip_auth(limit, skipped);
        }
        // Without its line end.
        let room = self.input.len().min(limit + 2);
        match memchr(b'\n', &self.input.bytes()[..room]) {
            Some(end) => self.take_auth(end, limit),
            None if room == limit + 2 => {
                self.input.consume(room);
                self.exchange.skipped = Some(0);
            }
            None => return self.no_auth(),
        }
        true
    }

    /// No whole line: wait, or notice that none will come.
    fn no_auth(&mut self) -> bool {
        if self.eof {
            self.end_exchange();
        }
        self.no_line()
    }

    fn take_auth(&mut self, end: usize, limit: usize) {
        let line = &self.input.bytes()[..end];
        let has_cr = line.last() == Some(&b'\r');
        let text = line.trim_ascii_end();
        // Two bytes of room were for the line's end.
        let too_long = text.len() > limit;
        let text = if too_long { None } else { std::str::from_utf8(text).ok().filter(|t| is_base64(t) || *t == "*") };
        let text = text.map(str::to_owned);
        self.input.consume(end + 1);
        self.heard_secret();
        self.restart_clock();
        if !has_cr && self.detects_bare_lf() {
            self.bare_lf = true;
            if self.config.smtpd_forbid_bare_newline == ForbidBareNewline::Reject {
                self.end_exchange();
                return self.refuse_bare_lf();
            }
        }
        match text.as_deref() {
            _ if too_long => self.auth_too_long(),
            None => {
                self.end_exchange();
                self.auth_failed("Invalid base64 data in continued response");
            }
            Some("*") => {
                self.end_exchange();
                let warning =
                    format!("{}: SASL {} authentication aborted", Self::CLIENT, Printable(&self.exchange.mechanism));
                self.warn(warning);
                self.fail("501 5.7.0 Authentication aborted");
            }
            Some(text) => {
                let text = text.to_owned();
                self.auth_step(AuthStep::Continue(text));
            }
        }
    }

    /// Throw the rest of an overlong line away, but not more than another line's worth.
    fn skip_auth(&mut self, limit: usize, skipped: usize) -> bool {
        let room = (limit - skipped).min(self.input.len());
        let end = memchr(b'\n', &self.input.bytes()[..room]);
        self.input.consume(end.map_or(room, |end| end + 1));
        if end.is_none() && skipped + room < limit {
            self.exchange.skipped = Some(skipped + room);
            return self.no_auth();
        }
        self.restart_clock();
        self.auth_too_long();
        if end.is_none() {
            self.disable_input();
        }
        true
    }

    fn auth_too_long(&mut self) {
        self.end_exchange();
        self.fail("500 5.5.6 SASL response limit exceeded");
    }

    /// The client's part is over, and not by an answer.
    pub(super) fn end_exchange(&mut self) {
        if matches!(self.phase, Phase::Auth) {
            self.phase = Phase::Command;
            self.exchange.skipped = None;
            self.events.push_back(Event::Auth(AuthStep::Cancel));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_have_no_secrets() {
        for (text, shown) in [
            ("MAIL FROM:<a@b>\r\nRCPT", "MAIL FROM:<a@b>\r\nRCPT"),
            ("NOOP\r\n auth  plain AHVzZXI=\r\nfoo", "NOOP\r\n auth  plain"),
            ("AUTH LOGIN\r\ndXNlcg==\r\n", "AUTH LOGIN"),
            ("AUTH\r\nx", "AUTH\r\n"),
            ("AUTHOR x y", "AUTHOR x y"),
        ] {
            assert_eq!(without_secrets(text.as_bytes()), shown.as_bytes(), "{text}");
        }
        let step = AuthStep::Start { mechanism: "PLAIN".to_owned(), response: Some("c2VjcmV0".to_owned()) };
        assert_eq!(format!("{step:?} {:?}", AuthStep::Continue("c2VjcmV0".to_owned())), "Start(PLAIN) Continue");
    }
}
