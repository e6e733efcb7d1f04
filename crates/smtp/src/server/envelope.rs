//! MAIL, RCPT and VRFY.

use super::config::EhloKeywords;
use super::event::{Counted, Event, Moment, Rate};
use super::identity::without_unicode;
use super::line::{Printable, Word, Words};
use super::session::{ServerSession, Waiting};
use super::transaction::{Bdat, OptionError, Recipient};
use super::transcript::ErrorClass;
use crate::address::{PathRules, SyntaxError, parse_path};
use std::sync::Arc;

const TOO_LARGE: &str = "Message size exceeds fixed limit";
const UNICODE_ADDRESS: &str = "553 5.6.7 Must declare SMTPUTF8 to send unicode address";

impl ServerSession {
    /// Count MAIL, RCPT, VRFY, STARTTLS or AUTH; `None` when the driver has to be asked first.
    pub(super) fn count(&mut self, rate: Rate) -> Option<Counted> {
        let (of_client, of_login) = match rate {
            Rate::Connection => (self.config.count_connections, false),
            Rate::Message => (self.config.count_messages, self.config.count_login_messages),
            Rate::Recipient => (self.config.count_recipients, self.config.count_login_recipients),
            Rate::NewTlsSession => (self.config.count_new_tls_sessions, false),
            Rate::Auth => (self.config.count_auths, false),
        };
        let of_client = of_client && !self.authorised.event_limit_exempt;
        if !(of_client || of_login && self.login.is_some()) {
            return Some(Counted::Within);
        }
        let answer = self.over_limit.take();
        if answer.is_none() {
            self.waiting = Waiting::Counted;
            self.events.push_back(Event::Count(rate));
        }
        answer
    }

    /// `too much mail from …`: the address as log lines have it, or the login.
    pub(super) fn over_rate(&mut self, what: &str, counted: Counted) {
        let login = self.login.as_ref().filter(|_| counted == Counted::LoginOver).map(|login| login.username.clone());
        let whose = match (login, self.client_address()) {
            (Some(login), _) => super::transaction::printable(login),
            (None, Some(address)) => address.to_string(),
            (None, None) => "unknown".to_owned(),
        };
        self.blame(ErrorClass::Policy);
        self.fail_with(format_args!("450 4.7.1 Error: too {what} from {whose}"));
    }

    /// The address of a MAIL, RCPT or VRFY argument, with the log's word about bad ones.
    fn path(&mut self, text: &str, rules: PathRules) -> Result<String, SyntaxError> {
        let rules = PathRules {
            smtputf8_enable: self.config.smtputf8_enable,
            allow_min_user: self.config.allow_min_user,
            resolve_numeric_domain: self.config.resolve_numeric_domain,
            resolve_null_domain: self.config.resolve_null_domain,
            ..rules
        };
        let path = parse_path(text, rules);
        self.argument = None;
        if let Ok(address) = &path {
            let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
            // log lines show VRFY's without brackets, unless it has them
            if self.stage == "VRFY" || bare != Some(address.as_str()) {
                self.argument = Some(self.shown_argument(text));
            }
        } else {
            let (place, shown) = (self.stage, self.shown_argument(text));
            self.warn(format!("Illegal address syntax from {} in {place} command: {shown}", Self::CLIENT));
        }
        path
    }

    /// An argument in log lines: without SMTPUTF8 support nothing but printable ASCII.
    fn shown_argument(&self, text: &str) -> String {
        without_unicode(Printable(text).to_string(), self.config.smtputf8_enable)
    }

    /// What a bad option is answered, unless the address is bad, too.
    fn bad_option(&mut self, error: OptionError, word: Word<'_>) {
        self.pending_refusal = Some(match error {
            OptionError::Reply(text) => text.to_owned(),
            OptionError::Unsupported => format!("555 5.5.4 Unsupported option: {}", Printable(word.text)),
        });
    }

    /// Is the command refused in any case, once the syntax of its address is judged?
    pub fn judges_syntax_only(&self) -> bool {
        self.pending_refusal.is_some() || self.is_over_recipient_limit()
    }

    /// The address is well formed: the refusal that waited for that.
    pub(super) fn refuse_address(&mut self) {
        let Some(reply) = self.pending_refusal.take() else { return };
        if self.pending_recipient.take().is_none() {
            if reply.contains(TOO_LARGE) {
                self.log_reject(&reply);
            }
            self.pending_sender = None;
        }
        self.fail(&reply);
    }

    pub(super) fn mail_command_line(&mut self, mut words: Words<'_>, line: &str) {
        if self.config.smtpd_helo_required && self.helo.is_none() {
            return self.fail("503 5.5.1 Error: send HELO/EHLO first");
        }
        if self.transaction.sender.is_some() {
            return self.fail("503 5.5.1 Error: nested MAIL command");
        }
        if self.transaction.bdat != Bdat::No {
            return self.fail("503 5.5.1 Error: MAIL after BDAT");
        }
        let from = words.next().filter(|word| word.text.eq_ignore_ascii_case("from:"));
        let (Some(_), Some(path)) = (from, words.next()) else {
            return self.fail("501 5.5.4 Syntax: MAIL FROM:<address>");
        };
        match self.count(Rate::Message) {
            None => return,
            Some(Counted::Within) => {}
            Some(over) => return self.over_rate("much mail", over),
        }
        if path.unclosed {
            return self.fail("501 5.1.7 Bad sender address syntax");
        }
        let discarded = self.authorised.discard_ehlo_keywords.contains(EhloKeywords::SMTPUTF8);
        let smtputf8 = !discarded && words.any(|word| word.text.eq_ignore_ascii_case("SMTPUTF8"));
        let rules = PathRules {
            strict_rfc821_envelopes: self.config.strict_rfc821_envelopes,
            allow_empty: true,
            smtputf8: smtputf8 && self.config.smtputf8_enable,
            ..PathRules::default()
        };
        let Ok(sender) = self.path(path.text, rules) else {
            // a VRFY that follows has it, too
            self.transaction.options.smtputf8 = rules.smtputf8;
            return self.fail("501 5.1.7 Bad sender address syntax");
        };
        self.mail_options_line(sender, line);
    }

    fn mail_options_line(&mut self, sender: String, line: &str) {
        let config = Arc::clone(&self.config);
        self.transaction.options.renew();
        for word in Words::new(line).skip(3) {
            if let Err(error) = self.transaction.options.option(word, &config, &self.authorised, self.encrypted) {
                self.bad_option(error, word);
                break;
            }
        }
        self.keep_arguments(Words::new(line).skip(3));
        let limit = config.message_size_limit;
        if self.pending_refusal.is_some() {
            // it comes first
        } else if limit > 0 && self.transaction.options.size > limit {
            let code = if config.soft_bounce { "452 4.3.4" } else { "552 5.3.4" };
            self.pending_refusal = Some(format!("{code} {TOO_LARGE}"));
        } else if sender.is_empty() && self.transaction.options.verp.is_some() {
            self.pending_refusal = Some("503 5.5.4 Error: XVERP requires non-null sender".to_owned());
        }
        self.pending_sender = Some(sender);
        if config.smtpd_proxy_filter {
            line.clone_into(&mut self.transaction.mail_command);
        }
        // Also with smtpd_delay_reject: the address may make no sense to the resolver, and the driver may ask ahead.
        self.decide(Moment::Mail);
    }

    /// The sender lists permit, or wait for RCPT.
    pub(super) fn accept_sender(&mut self) {
        let Some(sender) = self.pending_sender.take() else { return };
        if self.config.strict_smtputf8 && !self.transaction.options.smtputf8 && !sender.is_ascii() {
            return self.fail(UNICODE_ADDRESS);
        }
        if self.queue_space_low {
            // The sender is not known to this line.
            let reply = "452 4.3.1 Insufficient system storage";
            self.log_reject(reply);
            return self.fail(reply);
        }
        self.transaction.sender = Some(sender);
        if self.config.smtpd_delay_open_until_valid_rcpt {
            self.succeed("250 2.1.0 Ok");
        } else {
            self.waiting = Waiting::Opened;
            self.events.push_back(Event::Open);
        }
    }

    pub(super) fn rcpt_command(&mut self, mut words: Words<'_>, line: &str) {
        if self.transaction.sender.is_none() {
            return self.fail("503 5.5.1 Error: need MAIL command");
        }
        if self.transaction.bdat != Bdat::No {
            return self.fail("503 5.5.1 Error: RCPT after BDAT");
        }
        let to = words.next().filter(|word| word.text.eq_ignore_ascii_case("to:"));
        let (Some(_), Some(path)) = (to, words.next()) else {
            return self.fail("501 5.5.4 Syntax: RCPT TO:<address>");
        };
        match self.count(Rate::Recipient) {
            None => return,
            Some(Counted::Within) => {}
            Some(over) => return self.over_rate("many recipients", over),
        }
        if path.unclosed {
            return self.fail("501 5.1.3 Bad recipient address syntax");
        }
        let rules = PathRules {
            strict_rfc821_envelopes: self.config.strict_rfc821_envelopes,
            smtputf8: self.transaction.options.smtputf8,
            ..PathRules::default()
        };
        let Ok(address) = self.path(path.text, rules) else {
            return self.fail("501 5.1.3 Bad recipient address syntax");
        };
        self.keep_arguments(words);
        let mut recipient = Recipient { address, ..Recipient::default() };
        for word in words {
            if let Err(error) = recipient.option(word, self.authorised.discard_ehlo_keywords) {
                self.bad_option(error, word);
                break;
            }
        }
        if self.config.smtpd_proxy_filter {
            line.clone_into(&mut recipient.command);
        }
        self.judge_recipient(recipient);
    }

    /// Milters are told how MAIL and RCPT were said.
    fn keep_arguments<'a>(&mut self, words: impl Iterator<Item = Word<'a>>) {
        if self.milter.is_on {
            self.milter.arguments = words.map(|word| word.text.to_owned()).collect();
        }
    }

    fn judge_recipient(&mut self, recipient: Recipient) {
        let utf8 = self.transaction.options.smtputf8 || recipient.address.is_ascii();
        if self.config.strict_smtputf8 && !utf8 && !self.judges_syntax_only() {
            return self.fail(UNICODE_ADDRESS);
        }
        self.pending_recipient = Some(recipient);
        self.decide(Moment::Rcpt);
    }

    /// Has the message as many recipients as it may have? The next one's syntax is judged all the same.
    pub(super) fn is_over_recipient_limit(&self) -> bool {
        self.transaction.recipients.len() >= self.config.smtpd_recipient_limit
    }

    pub(super) fn too_many_recipients(&mut self) {
        self.pending_recipient = None;
        self.transaction.overshoot = self.transaction.overshoot.saturating_add(1);
        let reply = "452 4.5.3 Error: too many recipients";
        if self.transaction.overshoot > self.config.smtpd_recipient_overshoot_limit {
            self.fail(reply);
        } else {
            self.succeed(reply);
        }
    }

    /// The lists permit a recipient, and the message is open: keep it.
    pub(super) fn accept_recipient(&mut self) {
        let Some(recipient) = self.pending_recipient.take() else { return };
        self.transaction.recipients.push(recipient);
        self.events.push_back(Event::Recipient);
        if self.config.smtpd_proxy_filter {
            self.waiting = Waiting::RecipientAnswer;
        } else {
            self.succeed("250 2.1.5 Ok");
        }
    }

    pub(super) fn vrfy_command(&mut self, words: Words<'_>) {
        if self.config.disable_vrfy_command {
            return self.fail("502 5.5.1 VRFY command is disabled");
        }
        let mut argument: Vec<&str> = words.map(|word| word.text).collect();
        let smtputf8 =
            self.config.smtputf8_enable && argument.last().is_some_and(|last| last.eq_ignore_ascii_case("SMTPUTF8"));
        if smtputf8 {
            argument.pop();
        }
        let text = argument.join(" ");
        if text.is_empty() {
            return self.fail("501 5.5.4 Syntax: VRFY address [SMTPUTF8]");
        }
        if self.milter_refuses() {
            return;
        }
        match self.count(Rate::Recipient) {
            None => return,
            Some(Counted::Within) => {}
            Some(over) => return self.over_rate("many recipients", over),
        }
        let Ok(address) = self.path(&text, PathRules { smtputf8, ..PathRules::default() }) else {
            return self.fail("501 5.1.3 Bad recipient address syntax");
        };
        if self.config.strict_smtputf8 && !smtputf8 && !address.is_ascii() {
            // Postfix's, too, takes the sender back here
            if self.transaction.recipients.is_empty() {
                self.reset_transaction();
            }
            return self.fail(UNICODE_ADDRESS);
        }
        self.pending_recipient = Some(Recipient { address, command: text, smtputf8, ..Recipient::default() });
        self.decide(Moment::Vrfy);
    }
}
