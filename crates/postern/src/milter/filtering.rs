//! The end of a message: filters see it, and may change it, before it is stored. Who has brought it, a client or the
//! program itself, makes no difference here.

use super::{Changes, Draft, Milters, Unreadable, Values};
use crate::lookup;
use crate::maillog::Log;
use message::CleanupConfig;
use message::cleanup::{Effects, MessageContext, MilterHeaderChecks, Verdict};
use message::milter::{Edit, HeaderSection, Message, SenderOptions, Verdict as Said};
use message::recipients::{self, Expansion, InRecipient};
use queue::{Content, QueueId, Spool, SpoolError};
use std::sync::Arc;
use tables::TableSet;

const WRITE_ERROR: &str = "451 4.3.0 Error: queue file write error";
/// Coming again would not help.
const HEADER_TOO_LONG: &str = "552 5.3.4 Error: message header too big";

/// What the work needs besides filters and message.
pub struct Filtering<'a> {
    /// The log.
    pub log: &'a Log,
    /// `postfix/cleanup`.
    pub tag: &'a str,
    /// Where what is large is written.
    pub spool: &'a Spool,
    /// Tables for new headers and addresses.
    pub tables: &'a Arc<TableSet>,
    /// What cleanup needs.
    pub config: &'a Arc<CleanupConfig>,
    /// `message_size_limit`, for new bodies.
    pub limit: u64,
}

/// The envelope as it came.
pub struct Taken {
    /// Queue id.
    pub id: QueueId,
    /// Sender, internal form.
    pub sender: String,
    /// Recipients in order.
    pub recipients: Vec<InRecipient>,
    /// Addresses of BCC actions in access tables.
    pub bcc: Vec<String>,
    /// Not with `receive_override_options = no_address_mappings`.
    pub mappings: bool,
    /// The program has made it.
    pub is_ours: bool,
}

impl Taken {
    /// As cleanup wants it.
    pub fn envelope(&self) -> recipients::Envelope<'_> {
        let Self { id, sender, recipients, bcc, mappings, is_ours } = self;
        let (queue_id, mappings, is_ours) = (id.as_str(), *mappings, *is_ours);
        recipients::Envelope { queue_id, sender, recipients, bcc, mappings, is_ours }
    }
}

/// A message that no filter has seen.
pub struct Unfiltered {
    /// Its queue id.
    pub id: QueueId,
    /// Header and body.
    pub content: Content,
    /// The envelope as it stands.
    pub expansion: Expansion,
    /// The envelope as it came.
    pub taken: Taken,
    /// What checks want done with it.
    pub effects: Effects,
    /// What log lines show.
    pub context: MessageContext,
}

/// A message that all of them let pass.
pub struct Filtered {
    /// Header and body.
    pub content: Content,
    /// The envelope as it stands.
    pub expansion: Expansion,
    /// What checks and filters want done with it.
    pub effects: Effects,
    /// RET= and ENVID= of a new sender.
    pub options: SenderOptions,
}

/// A message that goes no further.
#[derive(Debug)]
pub enum Ended {
    /// With this reply.
    Refused(String),
    /// It was accepted to be thrown away.
    Discarded,
    /// The spool failed.
    Failed(SpoolError),
}

impl From<SpoolError> for Ended {
    fn from(error: SpoolError) -> Self {
        Self::Failed(error)
    }
}

/// What changes to header and envelope need; it travels to where tables may be asked.
struct State {
    expansion: Expansion,
    taken: Taken,
    checks: MilterHeaderChecks,
    options: SenderOptions,
}

impl Filtering<'_> {
    /// Show the message to each filter, and make its changes before the next one sees it.
    pub async fn run(
        &self,
        milters: &mut Milters,
        message: Unfiltered,
        values: &Values<'_>,
    ) -> Result<Filtered, Ended> {
        let Unfiltered { id, content, expansion, taken, effects, context } = message;
        let checks = MilterHeaderChecks::new(Arc::clone(self.config), context, effects);
        let mut state = State { expansion, taken, checks, options: SenderOptions::default() };
        let mut draft = match Draft::open(self.spool, id, content) {
            Ok(draft) => draft,
            Err(Unreadable::HeaderTooLong) => return Err(Ended::Refused(HEADER_TOO_LONG.to_owned())),
            Err(Unreadable::Spool(error)) => return Err(Ended::Failed(error)),
        };
        for number in 0..milters.len() {
            let mut changes = Changes::new(draft.begin_body(self.limit));
            let said = milters.message(number, values, &draft, &mut changes).await;
            for text in &changes.warnings {
                self.log.warning(self.tag, text);
            }
            let said = said?;
            if let Some(error) = changes.failed.take() {
                return Err(Ended::Failed(error));
            }
            let hold = match said {
                // It comes with changes, and the log shows the sender that it has afterwards.
                Some(hold @ Said::Hold(_)) if !milters.has_failed(number) => Some(hold),
                said => {
                    self.said(said, &mut state)?;
                    None
                }
            };
            if milters.has_failed(number) {
                // What it began to change is not to be trusted.
                continue;
            }
            let Changes { edits, body, .. } = changes;
            let has_leading_space = milters.has_leading_space(number);
            state = match self.apply(edits, has_leading_space, &mut draft, state).await {
                Some(state) => state,
                None => return Err(Ended::Refused(WRITE_ERROR.to_owned())),
            };
            draft.set_body(body)?;
            self.after_changes(&mut state)?;
            self.said(hold, &mut state)?;
            if state.checks.effects().skip_milters {
                break;
            }
        }
        let content = draft.finish()?;
        let State { expansion, mut checks, options, .. } = state;
        let effects = std::mem::take(checks.effects());
        Ok(Filtered { content, expansion, effects, options })
    }

    /// Log what a filter decided; how the message ends, if that ends it.
    fn said(&self, said: Option<Said>, state: &mut State) -> Result<(), Ended> {
        let Some(said) = said else { return Ok(()) };
        if matches!(said, Said::Hold(_)) && std::mem::replace(&mut state.checks.effects().hold, true) {
            return Ok(());
        }
        let line = state.checks.event_line(said.word(), &shown(&said), &state.expansion.sender);
        self.log.line(self.tag, &line.text);
        let end = match said {
            Said::Hold(_) => return Ok(()),
            Said::Discard => Ended::Discarded,
            Said::Shutdown => Ended::Refused(Said::SHUTDOWN.to_owned()),
            Said::Refuse(reply) => Ended::Refused(reply),
        };
        Err(self.removed(state.checks.queue_id(), end))
    }

    /// The message goes no further.
    pub fn removed(&self, id: &str, end: Ended) -> Ended {
        let why = if matches!(end, Ended::Discarded) { "discarded" } else { "canceled" };
        self.log.line(self.tag, &format!("{id}: removed ({why})"));
        end
    }

    async fn apply(&self, edits: Vec<Edit>, has_leading_space: bool, draft: &mut Draft, state: State) -> Option<State> {
        if edits.is_empty() {
            return Some(state);
        }
        let config = Arc::clone(self.config);
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
        let (state, headers) = lookup::with_tables(self.tables, work).await?;
        draft.headers = headers;
        Some(state)
    }

    /// What the checks of new headers, and look-ups for new addresses, have come to.
    fn after_changes(&self, state: &mut State) -> Result<(), Ended> {
        for line in state.expansion.log.drain(..).chain(state.checks.take_log()) {
            self.log.line(self.tag, &line.text);
        }
        let end = match (state.checks.verdict(), state.expansion.refusal.take()) {
            (Verdict::Refuse(reply), _) | (_, Some(reply)) => Ended::Refused(reply),
            _ if state.checks.effects().discard => Ended::Discarded,
            _ => return Ok(()),
        };
        Err(self.removed(state.checks.queue_id(), end))
    }
}

/// A verdict as the log has it: the reply's code is for the client only.
pub fn shown(said: &Said) -> String {
    let text = said.text();
    match said {
        Said::Refuse(_) => text.get(4..).unwrap_or_default().to_owned(),
        _ => text,
    }
}
