//! What Milters mean for a session as a whole: they are told of connections and greetings whatever
//! `smtpd_delay_reject` says, and what they decided there holds for all that follows.

use super::event::{Event, Moment};
use super::session::{ServerSession, Waiting};
use super::transcript::ErrorClass;
use std::sync::Arc;

/// What a session knows of its Milters.
#[derive(Debug, Default)]
pub(super) struct MilterState {
    /// There are some.
    pub(super) is_on: bool,
    /// The reply that a filter gave once for all.
    pub(super) standing: Option<String>,
    /// ESMTP arguments of the MAIL or RCPT command at hand.
    pub(super) arguments: Vec<String>,
    /// What was said to the unknown command at hand.
    pub(super) unknown: Option<Option<String>>,
}

impl ServerSession {
    /// Are there Milters to be told of connections and greetings?
    pub fn set_milters(&mut self, is_on: bool) {
        self.milter = MilterState { is_on, ..MilterState::default() };
    }

    /// The reply that a Milter gave at connect or HELO, or by failing: it holds for commands to come.
    pub fn set_milter_standing(&mut self, reply: Option<String>) {
        self.milter.standing = reply;
    }

    /// ESMTP arguments of the MAIL or RCPT command being judged (only with Milters).
    pub fn command_arguments(&self) -> &[String] {
        &self.milter.arguments
    }

    /// The answer to [`Event::MilterUnknown`]: the reply that refuses the command, if a filter has one.
    pub fn milter_answered(&mut self, reply: Option<String>) {
        if matches!(self.waiting, Waiting::Milter) {
            self.waiting = Waiting::Nobody;
            self.milter.unknown = Some(reply);
        }
    }

    /// Ask the Milters about an unknown command; `None`: the answer is to come.
    pub(super) fn milter_unknown(&mut self, word: &str) -> Option<Option<String>> {
        if !self.milter.is_on {
            return Some(None);
        }
        let answer = self.milter.unknown.take();
        if answer.is_none() {
            self.waiting = Waiting::Milter;
            self.events.push_back(Event::MilterUnknown(word.to_owned()));
        }
        answer
    }

    /// A filter has refused what is being judged.
    pub(super) fn refused_by_milter(&mut self, moment: Moment, reply: &str) {
        self.blame(ErrorClass::Policy);
        let is_final = reply.starts_with("421");
        match moment {
            Moment::Connect if is_final => {
                let name = &self.config.myhostname;
                let reply = format!("421 {name} Service unavailable - try again later");
                self.refuse(&reply);
            }
            Moment::Connect if reply.starts_with('5') => {
                self.reply(format_args!("554 {} ESMTP not accepting connections", Arc::clone(&self.config).myhostname));
                self.errors = self.errors.saturating_add(1);
            }
            Moment::Connect | Moment::Helo if !is_final => self.permitted(moment),
            _ => self.rejected(moment, reply, true),
        }
    }

    /// VRFY and ETRN after a filter has refused the client: its reply.
    pub(super) fn milter_refuses(&mut self) -> bool {
        let Some(reply) = self.milter.standing.clone() else { return false };
        self.blame(ErrorClass::Policy);
        self.fail(&reply);
        true
    }

    /// STARTTLS and AUTH after a filter has refused the client.
    pub(super) fn milter_refuses_login(&mut self) -> bool {
        let Some(reply) = self.milter.standing.clone() else { return false };
        self.blame(ErrorClass::Policy);
        self.fail(if reply.starts_with('4') { "454 4.3.0 Try again later" } else { &reply });
        true
    }

    /// Was the client refused for good? Then it is shown no extensions.
    pub(super) fn is_refused_by_milter(&self) -> bool {
        self.milter.standing.as_ref().is_some_and(|reply| reply.starts_with('5'))
    }
}
