//! The envelope on its way in: canonical mapping, masquerading, virtual aliases, automatic BCC and redirection.

use crate::cleanup::Effects;
use crate::config::CleanupConfig;
use crate::log::LogLine;
use crate::lookup::Lookup;

/// `NOTIFY=` of RCPT TO (RFC 3461); all false: none was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notify {
    /// `NEVER`.
    pub never: bool,
    /// `SUCCESS`.
    pub success: bool,
    /// `FAILURE`.
    pub failure: bool,
    /// `DELAY`.
    pub delay: bool,
}

impl Notify {
    /// `NOTIFY=NEVER`.
    pub const NEVER: Self = Self { never: true, success: false, failure: false, delay: false };
}

/// A recipient as the session took it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InRecipient {
    /// Address in internal (unquoted) form.
    pub address: String,
    /// `NOTIFY=`.
    pub notify: Notify,
    /// `ORCPT=`, as in `rfc822;user@example.com`; empty when not given.
    pub orcpt: String,
}

/// A recipient to deliver to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutRecipient {
    /// Address in internal form.
    pub address: String,
    /// The address as the client gave it (`orig_to=`).
    pub orig_to: String,
    /// `NOTIFY=`.
    pub notify: Notify,
    /// `ORCPT=`.
    pub orcpt: String,
}

/// The envelope as the session took it.
#[derive(Clone, Debug, Default)]
pub struct Envelope<'a> {
    /// Queue id, for log lines.
    pub queue_id: &'a str,
    /// Sender in internal form; empty: `<>`.
    pub sender: &'a str,
    /// Recipients in order.
    pub recipients: &'a [InRecipient],
    /// Addresses of BCC actions in access tables and policy answers, in order.
    pub bcc: &'a [String],
    /// False with `receive_override_options = no_address_mappings`.
    pub mappings: bool,
}

/// The envelope as it goes to the queue.
#[derive(Clone, Debug, Default)]
pub struct Expansion {
    /// Sender in internal form.
    pub sender: String,
    /// Recipients in order.
    pub recipients: Vec<OutRecipient>,
    /// The last recipient after canonical mapping, for content log lines.
    pub last_recipient: Option<String>,
    /// Log lines in order.
    pub log: Vec<LogLine>,
    /// The reply at end of data, when the envelope can't be queued.
    pub refusal: Option<String>,
}

/// Map and expand the envelope, before the content is looked at.
pub fn expand(_config: &CleanupConfig, _envelope: &Envelope<'_>, _lookup: &mut dyn Lookup) -> Expansion {
    todo!()
}

impl Expansion {
    /// Add what is known only after the content: `always_bcc`, BCC and REDIRECT actions.
    pub fn complete(
        &mut self,
        _config: &CleanupConfig,
        _envelope: &Envelope<'_>,
        _effects: &Effects,
        _lookup: &mut dyn Lookup,
    ) {
        todo!()
    }
}
