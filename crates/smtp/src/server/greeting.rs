//! The greeting, HELO and EHLO, XCLIENT and XFORWARD.

use super::auth::{Login, without_secrets};
use super::config::EhloKeywords;
use super::event::{Counted, Event, Moment, Rate};
use super::identity::{AttributeError, Forwarded, Handover, neutered, without_unicode};
use super::line::{Printable, Words, escaped};
use super::session::{Phase, ServerSession, Waiting};
use super::statistics::Verb;
use std::io::Write as _;
use std::sync::Arc;

/// How much of early input the log shows.
const SHOWN_INPUT: usize = 100;

const NOT_SYNCHRONISED: &str = "554 5.5.0 Error: SMTP protocol synchronization";

impl ServerSession {
    /// At connect, and again after XCLIENT.
    pub(super) fn greet(&mut self) {
        self.phase = Phase::Command;
        // After XCLIENT that is what log lines name.
        if self.verb != Verb::Xclient {
            self.stage = "CONNECT";
        }
        let input = std::mem::take(&mut self.input);
        let early = !input.is_empty() && self.caught_pipelining(input.bytes());
        self.input = input;
        if early {
            self.reply_text(NOT_SYNCHRONISED);
            self.closing = true;
        } else if self.config.count_connections && !self.authorised.event_limit_exempt {
            self.waiting = Waiting::ConnectionCounted;
            self.events.push_back(Event::Count(Rate::Connection));
        } else {
            self.welcome();
        }
    }

    /// One connection more, or one too many.
    pub(super) fn connection_counted(&mut self, counted: Counted) {
        if counted == Counted::Within {
            return self.welcome();
        }
        let address = self.client_address().map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let reply = format!("421 4.7.0 {} Error: too many connections from {address}", self.config.myhostname);
        self.refuse(&reply);
    }

    fn welcome(&mut self) {
        if self.config.smtpd_delay_reject && !self.milter.is_on {
            self.banner();
        } else {
            self.decide(Moment::Connect);
        }
    }

    pub(super) fn banner(&mut self) {
        self.reply(format_args!("220 {}", Arc::clone(&self.config).smtpd_banner));
    }

    /// There is input where none may be: log it once; true when the session is to end for it.
    pub(super) fn caught_pipelining(&mut self, input: &[u8]) -> bool {
        if self.improper_pipelining {
            return false;
        }
        self.improper_pipelining = true;
        let shown = escaped(without_secrets(&input[..input.len().min(SHOWN_INPUT)]));
        self.log(format!("improper command pipelining after {} from {}: {shown}", self.stage, Self::CLIENT));
        self.config.smtpd_forbid_unauth_pipelining
    }

    /// HELO and EHLO.
    pub(super) fn helo_command(&mut self, mut words: Words<'_>, extended: bool) {
        let Some(first) = words.next() else {
            return self.fail(if extended { "501 Syntax: EHLO hostname" } else { "501 Syntax: HELO hostname" });
        };
        let mut name = first.text.to_owned();
        for word in words {
            name.push(' ');
            name.push_str(word.text);
        }
        self.pending_helo = Some(name);
        if self.config.smtpd_delay_reject && !self.milter.is_on {
            self.accept_helo(extended);
        } else {
            self.decide(Moment::Helo);
        }
    }

    pub(super) fn accept_helo(&mut self, extended: bool) {
        self.abort_message();
        self.reset_transaction();
        self.flush_transcript();
        let utf8 = self.config.smtputf8_enable;
        self.helo = self.pending_helo.take().map(|name| without_unicode(neutered(&name), utf8));
        self.esmtp |= extended;
        if extended {
            self.ehlo_reply();
        } else {
            self.reply(format_args!("250 {}", Arc::clone(&self.config).myhostname));
        }
        self.succeeded();
    }

    fn ehlo_reply(&mut self) {
        use EhloKeywords as K;
        let config = Arc::clone(&self.config);
        let discarded = self.authorised.discard_ehlo_keywords;
        if !discarded.is_empty() && !discarded.contains(K::SILENT_DISCARD) {
            self.log(format!("discarding EHLO keywords: {discarded}"));
        }
        let start = self.output.len();
        let mut last = start;
        let (authorised, encrypted) = (self.authorised, self.encrypted);
        let mechanisms = self.announced_mechanisms();
        let is_refused = self.is_refused_by_milter();
        let out = &mut self.output;
        // Writing to a Vec cannot fail.
        let _ = write!(out, "250-{}\r\n", config.myhostname);
        let mut announce = |keyword: K, offered: bool, text: std::fmt::Arguments<'_>| {
            let is_shown = !is_refused || keyword == K::ENHANCEDSTATUSCODES;
            if offered && is_shown && !discarded.contains(keyword) {
                last = out.len();
                let _ = write!(out, "250-{text}\r\n");
            }
        };
        announce(K::PIPELINING, true, format_args!("PIPELINING"));
        match config.message_size_limit {
            0 => announce(K::SIZE, true, format_args!("SIZE")),
            limit => announce(K::SIZE, true, format_args!("SIZE {limit}")),
        }
        announce(K::VRFY, !config.disable_vrfy_command, format_args!("VRFY"));
        announce(K::ETRN, true, format_args!("ETRN"));
        announce(K::STARTTLS, config.smtpd_use_tls && !encrypted, format_args!("STARTTLS"));
        if let Some(mechanisms) = &mechanisms {
            announce(K::AUTH, true, format_args!("AUTH {mechanisms}"));
            announce(K::AUTH, config.broken_sasl_auth_clients, format_args!("AUTH={mechanisms}"));
        }
        announce(K::VERP, authorised.verp, format_args!("XVERP"));
        let xclient = "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT";
        announce(K::XCLIENT, authorised.xclient, format_args!("{xclient}"));
        announce(K::XFORWARD, authorised.xforward, format_args!("XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"));
        announce(K::ENHANCEDSTATUSCODES, true, format_args!("ENHANCEDSTATUSCODES"));
        announce(K::EIGHTBITMIME, true, format_args!("8BITMIME"));
        announce(K::DSN, true, format_args!("DSN"));
        announce(K::SMTPUTF8, config.smtputf8_enable, format_args!("SMTPUTF8"));
        announce(K::CHUNKING, true, format_args!("CHUNKING"));
        announce(K::REQUIRETLS, config.requiretls_enable && encrypted, format_args!("REQUIRETLS"));
        self.output[last + 3] = b' ';
        self.dispatch(start);
    }

    /// Checks that XCLIENT and XFORWARD share; true when something is wrong.
    fn handover_refused(&mut self, words: Words<'_>, name: &str, authorised: bool) -> bool {
        if self.transaction.sender.is_some() {
            self.fail("503 5.5.1 Error: MAIL transaction in progress");
        } else if words.rest().is_empty() {
            self.fail_with(format_args!("501 5.5.4 Syntax: {name} attribute=value..."));
        } else if !authorised {
            self.fail("550 5.7.0 Error: insufficient authorization");
        } else {
            return false;
        }
        true
    }

    fn bad_attribute(&mut self, command: &str, error: &AttributeError) {
        match error {
            AttributeError::Reply(text) => self.fail(text),
            AttributeError::Syntax(name, value) => {
                self.fail_with(format_args!("501 5.5.4 Bad {name} syntax: {}", Printable(value)));
            }
            AttributeError::Name(name) => {
                self.fail_with(format_args!("501 5.5.4 Bad {command} attribute name: {}", Printable(name)));
            }
        }
    }

    pub(super) fn xclient_command(&mut self, words: Words<'_>) {
        if self.handover_refused(words, "XCLIENT", self.authorised.xclient) {
            return;
        }
        let mut handover = Handover::default();
        for word in words {
            if let Err(error) = handover.attribute(word, self.config.inet_ipv6) {
                return self.bad_attribute("XCLIENT", &error);
            }
        }
        // The session starts anew: for the statistics the command never ends (`xclient=0/1`).
        self.abort_message();
        self.reset_transaction();
        self.helo = handover.helo.unwrap_or_default();
        self.esmtp = handover.esmtp.unwrap_or_default();
        let mut identity = handover.identity;
        let login = identity.login.take().flatten();
        if login.is_some() || self.login.is_some() {
            identity.login = Some(login.clone());
        }
        self.login = login.map(|username| Login { method: "XCLIENT".to_owned(), username });
        self.access_denied = None;
        self.set_client(identity.address, identity.port);
        self.waiting = Waiting::ClientChanged;
        self.events.push_back(Event::ClientChanged(identity));
    }

    pub(super) fn xforward_command(&mut self, words: Words<'_>) {
        if self.handover_refused(words, "XFORWARD", self.authorised.xforward) {
            return;
        }
        let mut forwarded: Forwarded = self.forwarded.as_deref().cloned().unwrap_or_default();
        for word in words {
            if let Err(error) = forwarded.attribute(word) {
                return self.bad_attribute("XFORWARD", &error);
            }
        }
        self.forwarded = Some(Box::new(forwarded));
        self.succeed("250 2.0.0 Ok");
    }
}
