//! The end of a message that came by SMTP: its filters see it, and the client hears what came of that.

use super::conversation::Conversation;
use crate::milter::{Ended, Filtered, Filtering, Milters, Unfiltered};
use message::milter::Event;
use smtp::server::MessageEnd;

impl Conversation {
    /// Show the message to each filter, and make its changes before the next one sees it.
    pub(super) async fn filter_content(
        &mut self,
        mut milters: Box<Milters>,
        message: Unfiltered,
    ) -> (Box<Milters>, Result<Filtered, MessageEnd>) {
        let id = message.id;
        let facts = self.macro_facts(Event::EndOfMessage, &milters, None).await;
        let filtering = Filtering {
            log: &self.worker.log,
            tag: &self.service.cleanup_tag,
            spool: &self.worker.spool,
            tables: &self.site.tables,
            config: &self.service.cleanup,
            limit: self.session.config().message_size_limit,
        };
        let filtered = filtering.run(&mut milters, message, &|name| facts.value(name)).await;
        let filtered = filtered.map_err(|ended| match ended {
            Ended::Refused(reply) => MessageEnd::Refused(reply),
            Ended::Discarded => MessageEnd::Queued,
            Ended::Failed(error) => self.storage_failure(id, &error),
        });
        (milters, filtered)
    }
}
