//! One decision: facts from the session, the evaluation, answers until it is done, then its log lines and effects.

use super::conversation::Conversation;
use super::facts::{self, Surroundings};
use super::warned;
use crate::record::{Code, Made};
use policy::{Ask, Decision, Evaluation, Facts, LogEntry, Question, Suspend};
use smtp::server::{Decide, Moment, Verdict};
use std::sync::Arc;

impl Conversation {
    /// What is known now.
    pub(super) fn facts(&self) -> Facts {
        let around = Surroundings {
            client: policy::Client {
                address: self.client.address,
                port: self.client.port,
                name: self.client.name.clone(),
            },
            server_address: self.server_address,
            server_port: self.server_port,
            queue_id: self.transaction.queue_id().map(|id| id.to_string()),
            instance: self.instance(),
            message: self.transaction.message.clone(),
            sasl: self.sasl(),
            tls: self.tls.as_deref().map(crate::tls::TlsSession::facts),
            now: crate::clock::unix_seconds(),
            localtime: super::replies::localtime,
        };
        facts::facts(&self.session, around)
    }

    /// What the policy protocol calls an instance: constant for a message, if anybody asks.
    fn instance(&self) -> String {
        if self.service.plan.policy_services().is_empty() || self.session.sender().is_none() {
            return String::new();
        }
        self.transaction.instance().to_owned()
    }

    /// Evaluate the lists that are due and act on the outcome.
    pub(super) async fn decide(&mut self, decide: Decide) -> Verdict {
        // RSET ends what VRFY began without a message, too.
        if self.resets != self.session.resets() {
            self.resets = self.session.resets();
            self.policy_state.reset_transaction();
        }
        if decide.moment == Moment::EndOfData && self.service.plan.asks_about_messages() {
            self.look_at_message().await;
        }
        let mut facts = self.facts();
        let before = (decide.moment == Moment::EndOfData).then(|| self.policy_state.clone());
        self.mails += u32::from(decide.moment == Moment::Mail);
        let mut evaluation = Evaluation::start(decide.moment, decide.stage);
        let mut decision = loop {
            let outcome = {
                let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.answerer };
                evaluation.run(&self.service.plan, &facts, &mut self.policy_state, &mut ask)
            };
            match outcome {
                // A table's result has named what judges messages: once more, with the message. Who was asked isn't again.
                Ok(decision) if decision.wants_message && facts.message.is_none() => {
                    self.ledger.drop_journal();
                    self.look_at_message().await;
                    facts = self.facts();
                    if facts.message.is_none() {
                        break decision;
                    }
                    self.policy_state = before.clone().unwrap_or_default();
                    evaluation = Evaluation::start(decide.moment, decide.stage);
                }
                Ok(decision) => break decision,
                Err(Suspend) => self.answer_pending().await,
            }
        };
        self.keep(&decide, facts, &mut decision);
        self.act(&decide, decision)
    }

    /// Hand a decision to the record; its code may go into the reply.
    fn keep(&mut self, decide: &Decide, facts: Facts, decision: &mut Decision) {
        if self.worker.recorder.is_none() {
            return;
        }
        self.hand_over();
        if decision.trace.steps.is_empty() && decision.rejection.is_none() {
            self.ledger.drop_journal();
            return;
        }
        let asked = self.ledger.take_journal();
        let code = Code::next(facts.now);
        if let Some(rejection) = decision.rejection.as_mut().filter(|_| self.service.reject_code_suffix) {
            let bare = rejection.reply.clone();
            rejection.reply.push_str(&code.suffix());
            for entry in &mut decision.log {
                if let LogEntry::Event { word: "reject", text } = entry
                    && *text == bare
                {
                    text.push_str(&code.suffix());
                }
            }
        }
        self.decided = Some(Box::new(Made {
            code,
            at: crate::clock::unix_micros() / 1000,
            session: self.number,
            transaction: self.mails,
            site: Arc::clone(&self.site),
            service: Arc::clone(&self.service),
            moment: decide.moment,
            stage: decide.stage,
            facts,
            decision: Decision {
                rejection: decision.rejection.clone(),
                hang_up: decision.hang_up,
                trace: std::mem::take(&mut decision.trace),
                ..Decision::default()
            },
            asked,
        }));
        // A refusal waits for nothing that may become known, but for the client's name.
        if decision.rejection.is_some() && self.client.name.is_some() {
            self.hand_over();
        }
    }

    /// The last decision goes into the record as it is.
    pub(super) fn hand_over(&mut self) {
        if let (Some(recorder), Some(mut made)) = (&self.worker.recorder, self.decided.take()) {
            if made.facts.client.name.is_none() && made.facts.client.address == self.client.address {
                // It has become known since.
                made.facts.client.name.clone_from(&self.client.name);
            }
            recorder.submit(made);
        }
    }

    /// Fetch what the ledger waits for: first what was asked ahead, the rest now, all at once.
    pub(super) async fn answer_pending(&mut self) {
        let pending = self.ledger.take_pending();
        if pending.iter().any(|q| matches!(q, Question::PeerName(_))) {
            // The look-up that the log waits for is the same.
            self.client.settle().await;
        }
        let mut ahead = Vec::new();
        let mut rest = Vec::new();
        for question in pending {
            match self.ahead.iter().position(|(asked, _)| *asked == question) {
                Some(at) => ahead.push(self.ahead.swap_remove(at)),
                None => rest.push(question),
            }
        }
        let (answers, _) = tokio::join!(self.answerer.fetch_all(rest), async {
            for (question, task) in ahead {
                if let Ok(answer) = task.await {
                    self.ledger.put(question, answer);
                }
            }
        });
        for (question, answer) in answers {
            self.ledger.put(question, answer);
        }
    }

    /// Ask ahead what the lists will want to know, as soon as the facts allow.
    pub(super) fn ask_ahead(&mut self, inputs: &[policy::Input], moment: Moment) {
        if !inputs.iter().any(|input| self.service.plan.asks_about(*input)) {
            return;
        }
        let now = crate::clock::now_ms();
        let key = self.worker.nothing_ahead.key((
            &*self.service.name,
            self.client.address,
            self.session.helo_name(),
            self.session.sender(),
        ));
        if self.worker.nothing_ahead.contains(key, now) {
            return;
        }
        let facts = self.facts();
        policy::speculate(&self.service.plan, moment, &facts, &self.policy_state, &mut self.ledger, &mut self.answerer);
        let mut pending = self.ledger.take_pending();
        // A table that waits is asked when its turn comes: a database isn't for questions that may not arise.
        pending.retain(|question| !matches!(question, Question::Table { .. }));
        if pending.is_empty() {
            self.worker.nothing_ahead.insert(key, now);
        }
        for question in pending {
            let known = matches!(question, Question::PeerName(_) | Question::Sleep { .. })
                || self.ahead.iter().any(|(asked, _)| *asked == question);
            if !known && self.ahead.len() < AHEAD_LIMIT {
                let answerer = self.answerer.clone();
                let asked = question.clone();
                // In a box, which goes when the answer is there: the session may wait long for something else.
                let fetching = Box::pin(async move { answerer.fetch(&asked).await });
                self.ahead.push((question, tokio::spawn(fetching)));
            }
        }
    }

    fn act(&mut self, decide: &Decide, decision: Decision) -> Verdict {
        for entry in decision.log {
            let line = match entry {
                LogEntry::Warning(text) => format!("warning: {text}"),
                LogEntry::WarningOnce(text) if warned::is_repeated(&text, crate::clock::unix_seconds()) => continue,
                LogEntry::WarningOnce(text) => format!("warning: {text}"),
                LogEntry::Plain(text) => text,
                LogEntry::Event { word, text } => self.event_line(decide, word, &text),
            };
            self.client.line(line);
        }
        self.transaction.effects.extend(decision.effects);
        if decision.hang_up {
            return Verdict::HangUp;
        }
        match decision.rejection {
            Some(rejection) => {
                if decide.moment == Moment::Mail {
                    self.transaction.effects.clear();
                }
                let counts = !rejection.no_error_count;
                Verdict::Reject { reply: rejection.reply, counts, class: rejection.class }
            }
            None => Verdict::Permit,
        }
    }

    /// `QID: WORD: STAGE from NA: TEXT;CTX`.
    pub(super) fn event_line(&self, decide: &Decide, word: &str, text: &str) -> String {
        let id = self.transaction.queue_id();
        facts::event_line(id.as_ref().map(|id| id.as_str()), decide.stage, word, text, &self.session)
    }
}

/// Questions asked ahead for one session.
const AHEAD_LIMIT: usize = 100;
