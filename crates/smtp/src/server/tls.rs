//! STARTTLS (RFC 3207), and sessions that begin with TLS. The handshake itself is the driver's.
//!
//! What has come in the clear is forgotten when the handshake is over, however it ended: a command that somebody put
//! behind STARTTLS is never executed as if it had come under TLS.

use super::config::EhloKeywords;
use super::event::{Counted, Event, Rate};
use super::input::Input;
use super::line::Words;
use super::session::{Phase, ServerSession, Waiting};
use super::statistics::Verb;
use super::transcript::ErrorClass;
use std::sync::Arc;

/// How a handshake ended, for [`ServerSession::tls_started`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// All that follows is encrypted.
    Established,
    /// It is, but the client's certificate is not as `smtpd_tls_req_ccert` wants it: why, for the reply and the log
    /// (`No client certificate presented`). The session ends at the next command.
    Unwanted(&'static str),
    /// It is, but the client has made too many new TLS sessions lately: a reply says so, and the session ends.
    TooMany,
    /// There is no connection any more.
    Failed,
    /// There are no usable keys: the connection is dropped. For `smtpd_tls_wrappermode` only; STARTTLS is answered
    /// with `454` then.
    Unavailable,
}

impl ServerSession {
    /// Is the session under TLS?
    pub fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// The handshake was before all that is to be played here. To be called before `start`.
    pub fn begin_under_tls(&mut self) {
        self.encrypted = true;
    }

    pub(super) fn starttls_command(&mut self, words: Words<'_>) {
        if !words.rest().is_empty() {
            return self.fail("501 5.5.4 Syntax: STARTTLS");
        }
        if self.encrypted {
            return self.fail("554 5.5.1 Error: TLS already active");
        }
        let is_discarded = self.authorised.discard_ehlo_keywords.contains(EhloKeywords::STARTTLS);
        if !self.config.smtpd_use_tls || is_discarded {
            return self.fail("502 5.5.1 Error: command not implemented");
        }
        if !self.config.tls_available {
            return self.fail("454 4.7.0 TLS not available due to local problem");
        }
        if self.milter_refuses_login() {
            return;
        }
        match self.count(Rate::NewTlsSession) {
            None => return,
            Some(Counted::Within) => {}
            Some(_) => {
                self.blame(ErrorClass::Policy);
                let label = self.client_label();
                return self.fail_with(format_args!("454 4.7.0 Error: too many new TLS sessions from {label}"));
            }
        }
        self.reply_text("220 2.0.0 Ready to start TLS");
        self.phase = Phase::Handshake;
    }

    /// The reply is out, or there was none to wait for: ask for the handshake.
    pub(super) fn begin_handshake(&mut self) {
        self.waiting = Waiting::Handshake;
        self.events.push_back(Event::StartTls);
    }

    /// The answer to [`Event::StartTls`].
    pub fn tls_started(&mut self, now: u64, handshake: Handshake) {
        if !matches!(self.waiting, Waiting::Handshake) {
            return;
        }
        self.now = now;
        self.waiting = Waiting::Nobody;
        self.phase = Phase::Command;
        self.input = Input::default();
        self.restart_clock();
        match handshake {
            Handshake::Failed => {
                self.log_end("lost connection");
                self.eof = true;
                self.closing = true;
            }
            Handshake::Unavailable => self.closing = true,
            Handshake::TooMany => {
                self.encrypted = true;
                self.blame(ErrorClass::Policy);
                let (host, label) = (&self.config.myhostname, self.client_label());
                let reply = format!("421 4.7.0 {host} Error: too many new TLS sessions from {label}");
                self.refuse(&reply);
            }
            Handshake::Established => self.established(),
            Handshake::Unwanted(why) => {
                self.log(format!("NOQUEUE: abort: TLS from {}: {why}", Self::CLIENT));
                self.tls_refusal = Some(why);
                self.established();
            }
        }
    }

    /// Back to before HELO, but for what the client has done wrong so far.
    fn established(&mut self) {
        self.encrypted = true;
        if self.verb == Verb::Starttls {
            self.statistics.good(self.verb);
            self.abort_message();
            self.reset_transaction();
            self.helo = None;
            self.esmtp = false;
            self.login = None;
        } else if self.tls_refusal.is_some() {
            // The client waits for our word first.
            self.refuse_under_tls();
        } else {
            self.greet();
        }
    }

    /// The last word to a client without the certificate that it needs; false for any other.
    pub(super) fn refuse_under_tls(&mut self) -> bool {
        let Some(why) = self.tls_refusal else { return false };
        self.reply(format_args!("421 4.7.1 {} Error: {why}", Arc::clone(&self.config).myhostname));
        self.closing = true;
        true
    }
}
