//! One command line: reading it, the checks that every command passes, and whose turn it is then.

use super::auth::without_secrets;
use super::config::ForbidBareNewline;
use super::event::{Event, Moment};
use super::input::Input;
use super::line::{Printable, Words, escaped, is_header};
use super::session::{ServerSession, Waiting};
use super::statistics::Verb;
use memchr::memchr;
use std::sync::Arc;

/// How much of an overlong line the log shows.
const SHOWN_LINE: usize = 30;
/// How much of a command that is none the log shows.
const SHOWN_COMMAND: usize = 100;

/// Did a line get through, or is an answer needed before it can go on?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    Again,
}

impl ServerSession {
    /// Read and execute one command; false when there is none yet.
    pub(super) fn command(&mut self) -> bool {
        if self.draining {
            self.reply(format_args!("421 4.3.2 {} Service shutting down", Arc::clone(&self.config).myhostname));
            self.closing = true;
            return true;
        }
        if self.errors >= self.config.smtpd_hard_error_limit {
            self.log_end("too many errors");
            self.reply(format_args!("421 4.7.0 {} Error: too many errors", Arc::clone(&self.config).myhostname));
            self.closing = true;
            return true;
        }
        if let Some(skipped) = self.skipping {
            return self.skip_line(skipped);
        }
        let limit = self.config.line_length_limit.max(1);
        match memchr(b'\n', &self.input.bytes()[..self.input.len().min(limit)]) {
            Some(end) => self.take_line(end),
            None if self.input.len() >= limit => self.line_too_long(limit),
            None => return self.no_line(),
        }
        true
    }

    /// No whole line: wait, or notice that none will come.
    pub(super) fn no_line(&mut self) -> bool {
        if !self.eof {
            return false;
        }
        if self.stage != "END-OF-MESSAGE" {
            self.log_end("lost connection");
        }
        self.closing = true;
        true
    }

    fn take_line(&mut self, end: usize) {
        // The line is used in place while the session changes.
        let input = std::mem::take(&mut self.input);
        let bytes = input.bytes();
        if !self.line_filtered && !self.line_tried {
            self.heard(bytes[..end].trim_ascii_end());
        }
        let progress = self.raw_line(&bytes[..end], &bytes[end + 1..]);
        self.input = if self.input_off { Input::default() } else { input };
        if progress == Progress::Done {
            self.input.consume(end + 1);
            self.line_filtered = false;
            self.line_tried = false;
            self.replaced_line = None;
            self.restart_clock();
        }
    }

    fn line_too_long(&mut self, limit: usize) {
        let shown = without_secrets(&self.input.bytes()[..limit.min(SHOWN_LINE)]);
        let text = String::from_utf8_lossy(shown);
        let warning = format!("{}: request longer than {limit}: {}...", Self::CLIENT, Printable(&text));
        self.warn(warning);
        self.input.consume(limit);
        self.skipping = Some(0);
    }

    /// Throw the rest of an overlong line away, but not more than another line's worth.
    fn skip_line(&mut self, skipped: usize) -> bool {
        let limit = self.config.line_length_limit.max(1);
        let room = (limit - skipped).min(self.input.len());
        let end = memchr(b'\n', &self.input.bytes()[..room]);
        let used = end.map_or(room, |end| end + 1);
        self.input.consume(used);
        if end.is_none() && skipped + used < limit {
            self.skipping = Some(skipped + used);
            return self.no_line();
        }
        self.skipping = None;
        self.restart_clock();
        self.reply(format_args!("500 5.5.2 {} Error: command too long", Arc::clone(&self.config).myhostname));
        if end.is_none() {
            self.disable_input();
        }
        true
    }

    /// The client talks too much: behave as if it had gone.
    pub(super) fn disable_input(&mut self) {
        self.eof = true;
        self.input_off = true;
        self.input = Input::default();
    }

    /// Is a bare LF noticed in this session?
    pub(super) fn detects_bare_lf(&self) -> bool {
        self.config.smtpd_forbid_bare_newline != ForbidBareNewline::No && !self.authorised.bare_newline_exempt
    }

    fn raw_line(&mut self, raw: &[u8], rest: &[u8]) -> Progress {
        if self.refuse_under_tls() {
            return Progress::Done;
        }
        let mut line = raw;
        if self.detects_bare_lf() {
            match raw.split_last() {
                Some((b'\r', text)) => line = text,
                _ => {
                    self.bare_lf = true;
                    if self.config.smtpd_forbid_bare_newline == ForbidBareNewline::Reject {
                        return self.bare_lf_refused();
                    }
                }
            }
        } else {
            while let Some((b'\r', text)) = line.split_last() {
                line = text;
            }
        }
        if let Some(nul) = memchr(0, line) {
            line = &line[..nul];
        }
        match std::str::from_utf8(line) {
            Ok(text) => self.filter_line(text, rest),
            Err(_) if self.config.smtputf8_enable => {
                self.verb = Verb::Unknown;
                self.fail("500 5.5.2 Error: bad UTF-8 syntax");
                Progress::Done
            }
            Err(_) => self.filter_line(&String::from_utf8_lossy(line), rest),
        }
    }

    fn bare_lf_refused(&mut self) -> Progress {
        self.refuse_bare_lf();
        Progress::Done
    }

    pub(super) fn refuse_bare_lf(&mut self) {
        self.log_reject("bare <LF> received");
        let config = Arc::clone(&self.config);
        let code = config.smtpd_forbid_bare_newline_reject_code;
        self.reply(format_args!("{code} 5.5.2 {} Error: bare <LF> received", config.myhostname));
        self.closing = true;
    }

    /// `smtpd_command_filter` sees the line first.
    fn filter_line(&mut self, line: &str, rest: &[u8]) -> Progress {
        if !self.config.smtpd_command_filter {
            return self.line(line, rest);
        }
        if !self.line_filtered {
            self.waiting = Waiting::Filtered;
            self.events.push_back(Event::FilterCommand(line.as_bytes().to_vec()));
            return Progress::Again;
        }
        match self.replaced_line.take() {
            None => self.line(line, rest),
            Some(new) => {
                let text = String::from_utf8_lossy(&new).into_owned();
                if !self.line_tried {
                    let shown = String::from_utf8_lossy(without_secrets(line.as_bytes()));
                    let becomes = String::from_utf8_lossy(without_secrets(text.as_bytes()));
                    let (old, new) = (Printable(&shown), Printable(&becomes));
                    let entry = format!("{}: replacing command \"{old}\" with \"{new}\"", Self::CLIENT);
                    self.log(entry);
                }
                let progress = self.line(&text, rest);
                self.replaced_line = Some(new);
                progress
            }
        }
    }

    fn line(&mut self, line: &str, rest: &[u8]) -> Progress {
        let mut words = Words::new(line);
        let Some(word) = words.next() else {
            // No command, so the place in log lines and the statistics stay as they are.
            self.verb = Verb::Unknown;
            self.fail("500 5.5.2 Error: bad syntax");
            return Progress::Done;
        };
        if self.config.smtpd_noop_commands.iter().any(|noop| noop.eq_ignore_ascii_case(word.text)) {
            self.reply_text("250 2.0.0 Ok");
            self.junk_command();
            return Progress::Done;
        }
        let verb = Verb::parse(word.text);
        self.verb = verb;
        self.stage = verb.name();
        if !self.line_tried {
            self.statistics.tried(verb);
            self.line_tried = true;
            if verb != Verb::Unknown && self.pipelining_refused(verb, rest) {
                return Progress::Done;
            }
        }
        if verb == Verb::Unknown {
            return self.unknown_command(line, word.text);
        }
        if self.denied_at_connect(verb) {
            return Progress::Done;
        }
        let plain = [Verb::Helo, Verb::Ehlo, Verb::Xclient, Verb::Starttls, Verb::Noop, Verb::Quit, Verb::Help];
        if self.config.smtpd_enforce_tls && !self.encrypted && !plain.contains(&verb) {
            self.fail("530 5.7.0 Must issue a STARTTLS command first");
            return Progress::Done;
        }
        self.execute(verb, words, line)
    }

    /// Something waits behind a command where nothing may.
    fn pipelining_refused(&mut self, verb: Verb, rest: &[u8]) -> bool {
        let improper = !rest.is_empty() && (!self.esmtp || verb.is_last());
        // A client that was denied at connect hears just that.
        if !improper || (self.access_denied.is_some() && verb != Verb::Quit) || !self.caught_pipelining(rest) {
            return false;
        }
        self.reply_text("554 5.5.0 Error: SMTP protocol synchronization");
        self.closing = true;
        true
    }

    fn denied_at_connect(&mut self, verb: Verb) -> bool {
        let Some(reply) = self.access_denied.clone().filter(|_| verb != Verb::Quit) else { return false };
        if reply.get(1..3) == Some("21") {
            self.reply_text(&reply);
        } else {
            self.reply(format_args!("503 5.7.0 Error: access denied for {}", self.client_label()));
            self.errors = self.errors.saturating_add(1);
        }
        true
    }

    fn unknown_command(&mut self, line: &str, word: &str) -> Progress {
        let config = Arc::clone(&self.config);
        let list = &config.smtpd_forbidden_commands;
        let mut forbidden = is_header(word)
            || list.words.iter().any(|known| known.eq_ignore_ascii_case(word))
            || (list.not_a_letter && !word.as_bytes()[0].is_ascii_alphabetic());
        if !forbidden && list.tables {
            match self.forbidden.take() {
                Some(answer) => forbidden = answer,
                None => {
                    self.waiting = Waiting::Matched;
                    self.events.push_back(Event::MatchForbidden(word.to_owned()));
                    return Progress::Again;
                }
            }
        }
        if forbidden {
            let mut shown = escaped(line.as_bytes());
            shown.truncate(SHOWN_COMMAND);
            self.warn(format!("non-SMTP command from {}: {shown}", Self::CLIENT));
            self.reply_text("221 2.7.0 Error: I can break rules, too. Goodbye.");
            self.closing = true;
        } else if !self.denied_at_connect(Verb::Unknown) {
            match self.milter_unknown(word) {
                None => return Progress::Again,
                Some(Some(reply)) => self.fail(&reply),
                Some(None) => self.fail("500 5.5.2 Error: command not recognized"),
            }
        }
        Progress::Done
    }

    fn execute(&mut self, verb: Verb, words: Words<'_>, line: &str) -> Progress {
        match verb {
            Verb::Helo => self.helo_command(words, false),
            Verb::Ehlo => self.helo_command(words, true),
            Verb::Xclient => self.xclient_command(words),
            Verb::Xforward => self.xforward_command(words),
            Verb::Mail => self.mail_command_line(words, line),
            Verb::Rcpt => self.rcpt_command(words, line),
            Verb::Vrfy => self.vrfy_command(words),
            Verb::Data => self.data_command(words),
            Verb::Bdat => self.bdat_command(words),
            Verb::Etrn => self.etrn_command(words),
            Verb::Starttls => self.starttls_command(words),
            Verb::Auth => self.auth_command(words),
            Verb::Rset => self.rset_command(words),
            Verb::Noop => self.succeed("250 2.0.0 Ok"),
            Verb::Quit => {
                self.succeed("221 2.0.0 Bye");
                self.closing = true;
            }
            Verb::Help => self.succeed(
                "214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY \
                 XCLIENT XFORWARD",
            ),
            Verb::Unknown => {}
        }
        if matches!(self.waiting, Waiting::Counted) { Progress::Again } else { Progress::Done }
    }

    fn rset_command(&mut self, words: Words<'_>) {
        if !words.rest().is_empty() {
            return self.fail("501 5.5.4 Syntax: RSET");
        }
        self.abort_message();
        self.reset_transaction();
        self.flush_transcript();
        self.succeed("250 2.0.0 Ok");
    }

    fn etrn_command(&mut self, mut words: Words<'_>) {
        if self.config.smtpd_helo_required && self.helo.is_none() {
            return self.fail("503 Error: send HELO/EHLO first");
        }
        if self.transaction.sender.is_some() {
            return self.fail("503 Error: MAIL transaction in progress");
        }
        let (Some(argument), None) = (words.next(), words.next()) else {
            return self.fail("500 Syntax: ETRN domain");
        };
        if self.milter_refuses() {
            return;
        }
        let domain = argument.text.strip_prefix(['@', '#']).unwrap_or(argument.text);
        if !crate::address::valid_hostname(domain) && !crate::address::valid_mailhost_literal(domain) {
            return self.fail("501 Error: invalid parameter syntax");
        }
        self.etrn_domain = Some(domain.to_owned());
        self.decide(Moment::Etrn);
    }
}
