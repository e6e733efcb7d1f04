//! The SMTP and LMTP client session as a state machine: bytes in, bytes and results out (RFC 5321, RFC 2033).
//!
//! The driver owns the socket and the clock. It connects, then calls [`ClientSession::receive`] with what arrives,
//! sends what [`ClientSession::output`] holds, and calls [`ClientSession::poll`] until that returns `None`. Status texts
//! are those of Postfix's smtp(8).

mod capabilities;
mod content;
mod envelope;
mod failure;
mod reply;
mod session;
mod transcript;

use crate::Body;
pub use capabilities::Capabilities;
pub use content::ContentEncoder;
pub use failure::Failure;
pub use reply::ServerReply;
pub use session::{ClientEvent, ClientSession};

use std::time::Duration;

/// How to talk to servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// LMTP instead of SMTP.
    pub lmtp: bool,
    /// `smtp_helo_name`, `lmtp_lhlo_name`.
    pub helo_name: String,
    /// `smtp_always_send_ehlo`: EHLO also to servers that don't say ESMTP in their greeting.
    pub always_send_ehlo: bool,
    /// `smtp_never_send_ehlo`.
    pub never_send_ehlo: bool,
    /// `smtp_skip_5xx_greeting`: a 5xx greeting is temporary.
    pub skip_5xx_greeting: bool,
    /// `smtp_discard_ehlo_keywords`, upper case.
    pub discard_keywords: Vec<String>,
    /// `smtp_line_length_limit`: longer lines are broken; 0 is no limit.
    pub line_length_limit: usize,
    /// `smtp_helo_timeout`, also for the greeting.
    pub helo_timeout: Duration,
    /// `smtp_mail_timeout`.
    pub mail_timeout: Duration,
    /// `smtp_rcpt_timeout`.
    pub rcpt_timeout: Duration,
    /// `smtp_data_init_timeout`.
    pub data_init_timeout: Duration,
    /// `smtp_data_xfer_timeout`.
    pub data_xfer_timeout: Duration,
    /// `smtp_data_done_timeout`.
    pub data_done_timeout: Duration,
    /// `smtp_rset_timeout`.
    pub rset_timeout: Duration,
    /// `smtp_quit_timeout`.
    pub quit_timeout: Duration,
    /// Keep what is said, in case the server turns out not to follow the protocol (`notify_classes`).
    pub keep_history: bool,
}

impl ClientSettings {
    /// Postfix's defaults.
    pub fn new(helo_name: impl Into<String>, lmtp: bool) -> Self {
        let seconds = Duration::from_secs;
        ClientSettings {
            lmtp,
            helo_name: helo_name.into(),
            always_send_ehlo: true,
            never_send_ehlo: false,
            skip_5xx_greeting: true,
            discard_keywords: Vec::new(),
            line_length_limit: 998,
            helo_timeout: seconds(300),
            mail_timeout: seconds(300),
            rcpt_timeout: seconds(300),
            data_init_timeout: seconds(120),
            data_xfer_timeout: seconds(180),
            data_done_timeout: seconds(600),
            rset_timeout: seconds(20),
            quit_timeout: seconds(300),
            keep_history: false,
        }
    }
}

/// One message for one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Envelope sender, internal form.
    pub sender: String,
    /// Envelope recipients.
    pub recipients: Vec<TransactionRecipient>,
    /// Size for the SIZE option, 0 if unknown.
    pub size: u64,
    /// The content has 8-bit characters.
    pub body: Body,
    /// SMTPUTF8 was asked for: what is not ASCII in addresses and headers needs a server that knows it.
    pub smtputf8: bool,
    /// There is something in the headers that is not ASCII.
    pub utf8_header: bool,
    /// RET of the DSN extension: `FULL` or `HDRS`.
    pub ret: Option<&'static str>,
    /// ENVID of the DSN extension, not xtext-encoded.
    pub envid: Option<String>,
    /// Nothing is to be delivered: what the server says up to there is all that is wanted.
    pub probe: Option<ProbeTarget>,
}

/// How far an address probe goes (`smtp_address_verify_target`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeTarget {
    /// To the reply to RCPT TO.
    Rcpt,
    /// To the reply to DATA.
    Data,
}

/// One recipient of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionRecipient {
    /// Address, internal form.
    pub address: String,
    /// NOTIFY of the DSN extension, ready to send; empty for none.
    pub notify: String,
    /// ORCPT of the DSN extension, `type;address`, not xtext-encoded.
    pub orcpt: Option<String>,
}
