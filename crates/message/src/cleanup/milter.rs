//! `milter_header_checks`: headers that Milters add or change.

use super::action::Fate;
use super::{Cleanup, Effects, Io, MessageContext, Verdict};
use crate::config::CleanupConfig;
use crate::log::LogLine;
use crate::lookup::Lookup;
use std::sync::Arc;

/// What becomes of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It stays.
    Keep,
    /// It goes.
    Drop,
    /// Another one takes its place, without line end.
    Replace(Arc<str>),
}

/// The checks for one message whose content is complete.
#[derive(Debug)]
pub struct MilterHeaderChecks(Cleanup);

impl MilterHeaderChecks {
    /// Go on where the content ended.
    pub fn new(config: Arc<CleanupConfig>, context: MessageContext, effects: Effects) -> Self {
        let mut cleanup = Cleanup::new(config, MessageContext { effects: Vec::new(), refusal: None, ..context });
        // Those of the content have their copies by now.
        cleanup.effects = Effects { bcc: Vec::new(), ..effects };
        cleanup.checks = true;
        cleanup.is_milter = true;
        Self(cleanup)
    }

    /// Look at one header, without its line end.
    pub fn check(&mut self, header: &[u8], lookup: &mut dyn Lookup) -> Checked {
        let cleanup = &mut self.0;
        if !cleanup.checks || cleanup.is_stopped() || cleanup.config.milter_header_checks.is_empty() {
            return Checked::Keep;
        }
        let mut out = Vec::new();
        match cleanup.check_milter_header(header, &mut Io { lookup, out: &mut out }) {
            Fate::Keep => Checked::Keep,
            Fate::Drop => Checked::Drop,
            Fate::Replace(text) => Checked::Replace(text),
        }
    }

    /// A warning of cleanup(8).
    pub fn warn(&mut self, text: String) {
        self.0.warn(text);
    }

    /// The queue id, for warnings.
    pub fn queue_id(&self) -> &str {
        &self.0.context.queue_id
    }

    /// What is to be done with the message, so far.
    pub fn effects(&mut self) -> &mut Effects {
        &mut self.0.effects
    }

    /// May it still be queued?
    pub fn verdict(&self) -> Verdict {
        self.0.refusal.clone().map_or(Verdict::Accept, Verdict::Refuse)
    }

    /// Log lines since the last time.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        self.0.take_log()
    }

    /// `QID: WORD: END-OF-MESSAGE from ORIGIN: TEXT;CTX`, with this sender.
    pub fn event_line(&self, word: &str, text: &str, sender: &str) -> LogLine {
        self.0.context.event_line(word, "END-OF-MESSAGE", text, sender)
    }
}
