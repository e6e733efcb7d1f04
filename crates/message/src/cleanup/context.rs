//! What goes into a message's clean-up and what comes out of it.

use crate::date::Timestamp;
use crate::log::LogLine;
use std::fmt::Write;

/// Whose headers these are (`local_header_rewrite_clients`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RewriteContext {
    /// A local client: headers are completed and rewritten.
    Local,
    /// Any other client: headers stay as they are, unless `remote_header_rewrite_domain` is set.
    #[default]
    Remote,
}

/// What the session knows of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageContext {
    /// Queue id.
    pub queue_id: String,
    /// When the message arrived.
    pub now: Timestamp,
    /// `name[address]` of the client.
    pub origin: String,
    /// Sender after mapping, internal form ([`crate::recipients::Expansion::sender`]).
    pub sender: String,
    /// Last recipient after mapping ([`crate::recipients::Expansion::last_recipient`]).
    pub last_recipient: Option<String>,
    /// `SMTP` or `ESMTP`, for log lines.
    pub protocol: Option<String>,
    /// HELO argument, for log lines.
    pub helo: Option<String>,
    /// Whose headers these are.
    pub rewrite: RewriteContext,
    /// Headers of PREPEND actions, in order of firing, without line end.
    pub prepended: Vec<String>,
    /// Our own Received header ([`crate::received::received_header`]); `None` when the client is a proxy filter.
    pub received: Option<String>,
    /// False with `receive_override_options = no_header_body_checks`.
    pub checks: bool,
    /// False with `receive_override_options = no_address_mappings`.
    pub mappings: bool,
    /// Effects of access tables and policy answers, in order; PREPEND goes by `prepended`, BCC by the envelope.
    pub effects: Vec<policy::Effect>,
    /// The envelope's refusal ([`crate::recipients::Expansion::refusal`]): the content is read and dropped.
    pub refusal: Option<String>,
}

impl MessageContext {
    /// `QID: WORD: EVENT from ORIGIN: TEXT;CTX`, with this sender: what a Milter decided.
    pub fn event_line(&self, word: &str, event: &str, text: &str, sender: &str) -> LogLine {
        let (queue_id, origin) = (&self.queue_id, &self.origin);
        LogLine::cleanup(format!("{queue_id}: {word}: {event} from {origin}: {text};{}", self.tail(sender)))
    }

    /// ` from=<S> to=<R> proto=P helo=<H>`, as log lines of content end.
    pub(crate) fn tail(&self, sender: &str) -> String {
        let mut tail = format!(" from=<{}>", smtp::address::quote_local(sender));
        // Writing to a String cannot fail.
        if let Some(recipient) = &self.last_recipient {
            let _ = write!(tail, " to=<{}>", smtp::address::quote_local(recipient));
        }
        if let Some(protocol) = &self.protocol {
            let _ = write!(tail, " proto={protocol}");
        }
        if let Some(helo) = &self.helo {
            let _ = write!(tail, " helo=<{helo}>");
        }
        tail
    }
}

/// What is to be done with the message, access and content actions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Put it on hold.
    pub hold: bool,
    /// Accept and drop it.
    pub discard: bool,
    /// `transport:destination` in place of `content_filter`.
    pub filter: Option<String>,
    /// One recipient in place of all.
    pub redirect: Option<String>,
    /// Recipients to add (BCC of header and body checks), as often as they were named.
    pub bcc: Vec<String>,
    /// Milters are to be skipped (PASS, DISCARD, REDIRECT, REJECT).
    pub skip_milters: bool,
    /// A header says that the content is 8bit or binary.
    pub eight_bit: bool,
    /// A header is not plain ASCII.
    pub utf8_header: bool,
}

impl Effects {
    /// Add what access rules want done; the last word counts. PREPEND is a matter of the content.
    pub fn add<'a>(&mut self, effects: impl IntoIterator<Item = &'a policy::Effect>) {
        for effect in effects {
            match effect {
                policy::Effect::Hold => self.hold = true,
                policy::Effect::Discard => self.discard = true,
                policy::Effect::Filter(target) => self.filter = Some(target.clone()),
                policy::Effect::Redirect(target) => self.redirect = Some(target.clone()),
                policy::Effect::Bcc(address) => self.bcc.push(address.clone()),
                policy::Effect::Prepend(_) => {}
            }
        }
    }
}

/// Whether the message may be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Queue it.
    Accept,
    /// Refuse it with this reply, `CODE ENH TEXT`.
    Refuse(String),
}

/// The end of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// May it be queued?
    pub verdict: Verdict,
    /// Log lines, in order, that were not taken before ([`crate::cleanup::Cleanup::take_log`]).
    pub log: Vec<LogLine>,
    /// The message id with its angle brackets, as logged; empty when there is none.
    pub message_id: String,
    /// What is to be done with it.
    pub effects: Effects,
    /// What the session knew of it.
    pub context: MessageContext,
}
