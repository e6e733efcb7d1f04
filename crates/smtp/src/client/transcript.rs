//! What was said in a session with a server that doesn't follow the protocol, for the postmaster.

use super::reply::ServerReply;
use super::session::ClientSession;

impl ClientSession {
    /// What was said, if somebody didn't follow the protocol and `keep_history` is set. Gives it once.
    pub fn transcript(&mut self) -> Option<String> {
        std::mem::take(&mut self.odd).then(|| self.history.take()).filter(|text| !text.is_empty())
    }

    pub(super) fn note(&mut self, direction: &str, line: &str) {
        if self.settings.keep_history {
            self.history.add(direction, line.as_bytes(), true);
        }
    }

    /// An error reply: is it about the protocol?
    pub(super) fn blame(&mut self, reply: &ServerReply) {
        self.odd |= matches!(reply.code, ..400 | 500..510 | 555 | 600..);
    }
}
