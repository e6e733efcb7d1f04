//! The end of a message: its Milters see it, and may change it, before it is stored.

use super::conversation::Conversation;
use super::transaction::Taken;
use crate::lookup;
use crate::milter::{Changes, Draft, Milters, Unreadable};
use message::cleanup::{Effects, MessageContext, MilterHeaderChecks, Verdict};
use message::milter::{Edit, Event, HeaderSection, Message, SenderOptions, Verdict as Said};
use message::recipients::Expansion;
use queue::{Content, QueueId};
use smtp::server::MessageEnd;
use std::sync::Arc;

const WRITE_ERROR: &str = "451 4.3.0 Error: queue file write error";
/// Coming again would not help.
const HEADER_TOO_LONG: &str = "552 5.3.4 Error: message header too big";

/// A message that no filter has seen.
pub(super) struct Unfiltered {
    pub(super) id: QueueId,
    pub(super) content: Content,
    pub(super) expansion: Expansion,
    pub(super) taken: Taken,
    pub(super) effects: Effects,
    pub(super) context: MessageContext,
}

/// A message that all of them let pass.
pub(super) struct Filtered {
    pub(super) content: Content,
    pub(super) expansion: Expansion,
    pub(super) effects: Effects,
    pub(super) options: SenderOptions,
}

/// What changes to header and envelope need; it travels to where tables may be asked.
struct State {
    expansion: Expansion,
    taken: Taken,
    checks: MilterHeaderChecks,
    options: SenderOptions,
}

impl Conversation {
    /// Show the message to each filter, and make its changes before the next one sees it.
    pub(super) async fn filter_content(
        &mut self,
        mut milters: Box<Milters>,
        message: Unfiltered,
    ) -> (Box<Milters>, Result<Filtered, MessageEnd>) {
        let Unfiltered { id, content, expansion, taken, effects, context } = message;
        let checks = MilterHeaderChecks::new(Arc::clone(&self.service.cleanup), context, effects);
        let mut state = State { expansion, taken, checks, options: SenderOptions::default() };
        let mut draft = match Draft::open(&self.worker.spool, id, content) {
            Ok(draft) => draft,
            Err(Unreadable::HeaderTooLong) => {
                return (milters, Err(MessageEnd::Refused(HEADER_TOO_LONG.to_owned())));
            }
            Err(Unreadable::Spool(error)) => return (milters, Err(self.storage_failure(id, &error))),
        };
        let facts = self.macro_facts(Event::EndOfMessage, &milters, None).await;
        let values = |name: &str| facts.value(name);
        let limit = self.session.config().message_size_limit;
        for number in 0..milters.len() {
            let mut changes = Changes::new(draft.begin_body(limit));
            let said = milters.message(number, &values, &draft, &mut changes).await;
            for text in &changes.warnings {
                self.worker.log.warning(&self.service.cleanup_tag, text);
            }
            let failed = changes.failed.take();
            let (end, hold) = match said {
                Err(error) => (Some(self.storage_failure(id, &error)), None),
                Ok(_) if failed.is_some() => (failed.map(|error| self.storage_failure(id, &error)), None),
                // It comes with changes, and the log shows the sender that it has afterwards.
                Ok(Some(hold @ Said::Hold(_))) if !milters.has_failed(number) => (None, Some(hold)),
                Ok(said) => (self.said(said, &mut state), None),
            };
            if let Some(end) = end {
                return (milters, Err(end));
            }
            if milters.has_failed(number) {
                // What it began to change is not to be trusted.
                continue;
            }
            let Changes { edits, body, .. } = changes;
            let has_leading_space = milters.has_leading_space(number);
            state = match self.apply(edits, has_leading_space, &mut draft, state).await {
                Some(state) => state,
                None => return (milters, Err(MessageEnd::Refused(WRITE_ERROR.to_owned()))),
            };
            if let Err(error) = draft.set_body(body) {
                return (milters, Err(self.storage_failure(id, &error)));
            }
            let end = self.after_changes(&mut state).or_else(|| self.said(hold, &mut state));
            if let Some(end) = end {
                return (milters, Err(end));
            }
            if state.checks.effects().skip_milters {
                break;
            }
        }
        let filtered = match draft.finish() {
            Ok(content) => {
                let State { expansion, mut checks, options, .. } = state;
                let effects = std::mem::take(checks.effects());
                Ok(Filtered { content, expansion, effects, options })
            }
            Err(error) => Err(self.storage_failure(id, &error)),
        };
        (milters, filtered)
    }

    /// Log what a filter decided; how the message ends, if that ends it.
    fn said(&self, said: Option<Said>, state: &mut State) -> Option<MessageEnd> {
        let said = said?;
        if matches!(said, Said::Hold(_)) && std::mem::replace(&mut state.checks.effects().hold, true) {
            return None;
        }
        // The reply's code is for the client only.
        let text = said.text();
        let text = match &said {
            Said::Refuse(_) => text.get(4..).unwrap_or_default(),
            _ => &text,
        };
        let line = state.checks.event_line(said.word(), text, &state.expansion.sender);
        self.worker.log.line(&self.service.cleanup_tag, &line.text);
        let end = match said {
            Said::Hold(_) => return None,
            Said::Discard => MessageEnd::Queued,
            Said::Shutdown => MessageEnd::Refused(Said::SHUTDOWN.to_owned()),
            Said::Refuse(reply) => MessageEnd::Refused(reply),
        };
        Some(self.removed(state, end))
    }

    /// The message goes no further.
    fn removed(&self, state: &State, end: MessageEnd) -> MessageEnd {
        let why = if end == MessageEnd::Queued { "discarded" } else { "canceled" };
        let id = state.checks.queue_id();
        self.worker.log.line(&self.service.cleanup_tag, &format!("{id}: removed ({why})"));
        end
    }

    async fn apply(&self, edits: Vec<Edit>, has_leading_space: bool, draft: &mut Draft, state: State) -> Option<State> {
        if edits.is_empty() {
            return Some(state);
        }
        let config = Arc::clone(&self.service.cleanup);
        let mut headers = std::mem::take(&mut draft.headers);
        let work = move |tables: &mut dyn message::Lookup| -> (State, HeaderSection) {
            let State { mut expansion, taken, mut checks, mut options } = state;
            Message {
                config: &config,
                envelope: &taken.envelope(),
                expansion: &mut expansion,
                headers: &mut headers,
                checks: &mut checks,
                options: &mut options,
                has_leading_space,
            }
            .apply(edits, tables);
            (State { expansion, taken, checks, options }, headers)
        };
        let (state, headers) = lookup::with_tables(&self.site.tables, work).await?;
        draft.headers = headers;
        Some(state)
    }

    /// What the checks of new headers, and look-ups for new addresses, have come to.
    fn after_changes(&self, state: &mut State) -> Option<MessageEnd> {
        for line in state.expansion.log.drain(..).chain(state.checks.take_log()) {
            self.worker.log.line(&self.service.cleanup_tag, &line.text);
        }
        let end = match (state.checks.verdict(), state.expansion.refusal.take()) {
            (Verdict::Refuse(reply), _) | (_, Some(reply)) => MessageEnd::Refused(reply),
            _ if state.checks.effects().discard => MessageEnd::Queued,
            _ => return None,
        };
        Some(self.removed(state, end))
    }
}
