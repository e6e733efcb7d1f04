//! Signatures and authors of a message that arrives, and the header that tells of them.

use super::conversation::Conversation;
use crate::authentication::{authentication_results, judge};
use crate::clock;
use message::dkim;
use policy::Ask;
use std::sync::Arc;

/// More rounds of questions than this are no honest mail: SPF with all its limits needs fewer.
const ROUNDS: usize = 100;

impl Conversation {
    /// A piece of content as the client sent it.
    pub(super) fn see_content(&mut self, raw: &[u8]) {
        if self.service.looks_at_messages {
            self.transaction.dkim.get_or_insert_default().feed(raw);
        }
    }

    /// The message is whole: who are its authors, and which signatures are true?
    pub(super) async fn look_at_message(&mut self) {
        if !self.service.looks_at_messages || self.transaction.message.is_some() {
            return;
        }
        let collected = self.transaction.dkim.take().map_or_else(dkim::Collected::default, |intake| intake.finish());
        let now = clock::unix_seconds();
        for _ in 0..ROUNDS {
            let (facts, whole) = {
                let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.answerer };
                judge(&collected, now, &mut ask)
            };
            if whole {
                self.transaction.message = Some(Arc::new(facts));
                return;
            }
            self.answer_pending().await;
        }
        // what has no answer by now counts as a temporary error
        let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.answerer };
        self.transaction.message = Some(Arc::new(judge(&collected, now, &mut ask).0));
    }

    /// The header that tells what was found, if it is wanted.
    pub(super) async fn results_header(&mut self) -> Option<String> {
        let server = self.service.results_of.clone()?;
        self.look_at_message().await;
        let facts = self.facts();
        for _ in 0..ROUNDS {
            let found = {
                let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.answerer };
                policy::authenticate(&self.service.plan, &facts, &mut ask)
            };
            if let Ok(found) = found {
                return Some(authentication_results(&server, &found));
            }
            self.answer_pending().await;
        }
        None
    }
}
