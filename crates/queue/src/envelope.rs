//! What the queue knows of a message: its envelope, the state of each recipient, and where its content is.

use crate::id::QueueId;
use crate::spool::LargeFile;
use smtp::Body;
use std::net::IpAddr;
use std::sync::Arc;

/// A message: its envelope and its content. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Message {
    /// Sender, recipients and all else that isn't content.
    pub envelope: Arc<Envelope>,
    /// Headers and body.
    pub content: Content,
}

/// Headers and body, lines ending in LF, dots not stuffed.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory (up to [`crate::INLINE_LIMIT`] bytes).
    Memory(Arc<[u8]>),
    /// In a spool file of its own, written through [`crate::Spool::large_writer`].
    Large(LargeContent),
    /// In the journal: read it with [`crate::Spool::content`].
    Journal,
}

/// Content in a spool file of its own. The file goes away with the last copy unless the message was committed.
#[derive(Clone, Debug)]
pub struct LargeContent(pub(crate) Arc<LargeFile>);

impl LargeContent {
    /// How many bytes.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// No content at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of it, from there on; 0 bytes at its end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, crate::SpoolError> {
        self.0.read_at(buffer, offset)
    }
}

/// The envelope of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Its queue id.
    pub queue_id: QueueId,
    /// When it arrived, Unix microseconds.
    pub arrival: i64,
    /// Envelope sender, internal form; empty for `<>`.
    pub sender: String,
    /// Envelope recipients.
    pub recipients: Vec<Recipient>,
    /// Who handed it in.
    pub client: Client,
    /// On hold: no delivery until released (access(5) HOLD).
    pub hold: bool,
    /// `transport:nexthop` instead of what the recipients resolve to (access(5) FILTER, `content_filter`).
    pub content_filter: Option<String>,
    /// MAIL FROM had SMTPUTF8.
    pub smtputf8: bool,
    /// A header is not plain ASCII: with SMTPUTF8, the next server must know that too.
    pub utf8_header: bool,
    /// MAIL FROM had BODY=8BITMIME, or 8-bit content was seen.
    pub body: Body,
    /// MAIL FROM had REQUIRETLS.
    pub requiretls: bool,
    /// RET of the DSN extension.
    pub ret: Option<Ret>,
    /// ENVID of the DSN extension, xtext-decoded.
    pub envid: Option<String>,
    /// Size in bytes as log lines have it.
    pub size: u64,
    /// VERP delimiters, if the sender asked for variable envelope return paths.
    pub verp: Option<String>,
}

impl Envelope {
    /// A plain envelope; set what else there is to say afterwards.
    pub fn new(queue_id: QueueId, arrival: i64, sender: impl Into<String>) -> Self {
        Envelope {
            queue_id,
            arrival,
            sender: sender.into(),
            recipients: Vec::new(),
            client: Client::default(),
            hold: false,
            content_filter: None,
            smtputf8: false,
            utf8_header: false,
            body: Body::Unspecified,
            requiretls: false,
            ret: None,
            envid: None,
            size: 0,
            verp: None,
        }
    }

    /// Is every recipient dealt with, so that the message can be finished?
    pub fn is_done(&self) -> bool {
        self.recipients.iter().all(|r| r.state == RecipientState::Done)
    }
}

/// Who handed a message in, for log lines, filters and XFORWARD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Host name, `unknown` if unverified; empty for our own mail.
    pub name: String,
    /// Address.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: u16,
    /// HELO or EHLO argument.
    pub helo: String,
    /// `SMTP`, `ESMTP`, …; empty for our own mail.
    pub protocol: String,
    /// SASL mechanism, empty if not authenticated.
    pub sasl_method: String,
    /// SASL login name.
    pub sasl_username: String,
    /// `AUTH=` of MAIL FROM.
    pub sasl_sender: String,
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Address after rewriting, internal form.
    pub address: String,
    /// What the client said, where that differs.
    pub orig_to: Option<String>,
    /// NOTIFY of the DSN extension.
    pub notify: Notify,
    /// ORCPT of the DSN extension, `type;address`, decoded.
    pub orcpt: Option<String>,
    /// How far it is.
    pub state: RecipientState,
    /// Deliveries tried.
    pub attempts: u32,
    /// Not before, Unix microseconds.
    pub next_attempt: i64,
    /// Why it is not delivered yet, or at all.
    pub status: Option<Box<DeliveryStatus>>,
}

impl Recipient {
    /// A recipient nothing is known of but the address.
    pub fn new(address: impl Into<String>) -> Self {
        Recipient {
            address: address.into(),
            orig_to: None,
            notify: Notify::default(),
            orcpt: None,
            state: RecipientState::Pending,
            attempts: 0,
            next_attempt: 0,
            status: None,
        }
    }
}

/// How far a recipient is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RecipientState {
    /// To be delivered.
    #[default]
    Pending,
    /// Undeliverable, and the sender has not been told yet. Kept apart from `Done` so that no bounce gets lost.
    Failed,
    /// Delivered, with a success notification due that has not been queued yet.
    Notify,
    /// Nothing left to do.
    Done,
}

/// Why a recipient is not delivered, in the terms of a delivery report.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeliveryStatus {
    /// Enhanced status code, `4.4.1`.
    pub dsn: String,
    /// Text as in the log line, within the parentheses.
    pub reason: String,
    /// Host that said so.
    pub remote_mta: Option<String>,
    /// What it said, if it was a server's reply (`550 5.1.1 …`).
    pub reply: Option<String>,
    /// Action field: `failed`, `delivered`, `relayed`, `delayed`, `expanded`.
    pub action: String,
}

/// NOTIFY of the DSN extension (RFC 3461 section 4.1). Empty means that the client didn't say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Notify(pub u8);

impl Notify {
    /// NEVER.
    pub const NEVER: Notify = Notify(1);
    /// SUCCESS.
    pub const SUCCESS: Notify = Notify(2);
    /// FAILURE.
    pub const FAILURE: Notify = Notify(4);
    /// DELAY.
    pub const DELAY: Notify = Notify(8);

    /// All of `other` in here?
    pub fn contains(self, other: Notify) -> bool {
        self.0 & other.0 == other.0
    }

    /// Did the client say nothing?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// A failure is to be reported (also when the client said nothing).
    pub fn wants_failure(self) -> bool {
        self.is_empty() || self.contains(Notify::FAILURE)
    }

    /// A delay is to be reported (also when the client said nothing).
    pub fn wants_delay(self) -> bool {
        self.is_empty() || self.contains(Notify::DELAY)
    }

    /// Both.
    #[must_use]
    pub fn with(self, other: Notify) -> Notify {
        Notify(self.0 | other.0)
    }
}

/// RET of the DSN extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// FULL.
    Full,
    /// HDRS.
    Headers,
}
