//! What a session asks of its driver and what the driver answers.

use super::auth::AuthStep;
use super::transcript::{ErrorClass, Notice};
use std::net::IpAddr;

/// The command whose access lists are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// A connection, before the greeting (also after XCLIENT).
    Connect,
    /// HELO or EHLO.
    Helo,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// VRFY.
    Vrfy,
    /// ETRN.
    Etrn,
    /// DATA or the first BDAT.
    Data,
    /// The end of the message, before it is committed.
    EndOfData,
}

/// A decision is due: answer with `resolve`. What is judged is read from the session's accessors
/// (`helo_name()`, `pending_sender()`, `pending_recipient()`, `etrn_domain()`, …).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decide {
    /// Which command.
    pub moment: Moment,
    /// The command word as log lines have it after `reject: `: CONNECT, HELO, EHLO, MAIL, RCPT, VRFY, ETRN, DATA,
    /// BDAT, END-OF-MESSAGE.
    pub stage: &'static str,
}

/// The driver's answer to [`Decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Permit,
    /// Refuse the command with this reply (`CODE ENH TEXT`, already soft-bounced).
    Reject {
        /// The reply, without line end.
        reply: String,
        /// Does it count against the error limits? (`no_error_count` says no.)
        counts: bool,
        /// Whom it concerns (`notify_classes`).
        class: ErrorClass,
    },
    /// Close the connection without a reply (access(5) HANGUP).
    HangUp,
    /// A Milter refuses with this reply.
    Milter(String),
}

/// How the message ended in the driver's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageEnd {
    /// On stable storage.
    Queued,
    /// The next hop has it: its whole reply, which is passed on (`smtpd_proxy_filter`).
    Relayed(String),
    /// Refused or failed: the whole reply (`550 5.7.1 …`, `451 4.3.0 Error: queue file write error`).
    Refused(String),
}

/// Something whose rate is limited per client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    /// A connection, or the client that XCLIENT names (`smtpd_client_connection_count_limit` and `…_rate_limit`).
    Connection,
    /// A MAIL command (`smtpd_client_message_rate_limit`).
    Message,
    /// A RCPT or VRFY command (`smtpd_client_recipient_rate_limit`).
    Recipient,
    /// STARTTLS (`smtpd_client_new_tls_session_rate_limit`): were there too many new TLS sessions before? They are
    /// counted when the handshake is over.
    NewTlsSession,
    /// An AUTH command (`smtpd_client_auth_rate_limit`).
    Auth,
}

/// What counting came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// Nobody is over a limit.
    #[default]
    Within,
    /// The client is over its limit.
    ClientOver,
    /// The login is over its own limit, wherever its clients are.
    LoginOver,
}

/// How an ETRN request went with the flush service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// `250 Queuing started`
    Started,
    /// The domain is not in `fast_flush_domains`: `459 <domain>: service unavailable`.
    Unavailable,
    /// It did not work: `458 Unable to queue messages`.
    Failed,
}

/// An identity that XCLIENT or XFORWARD handed over; `None` fields were not mentioned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientIdentity {
    /// NAME: a name, or `Err(true)` for a temporary and `Err(false)` for a permanent "unavailable".
    pub name: Option<Result<String, bool>>,
    /// REVERSE_NAME, likewise.
    pub reverse_name: Option<Result<String, bool>>,
    /// ADDR; `Some(None)` is `[UNAVAILABLE]`.
    pub address: Option<Option<IpAddr>>,
    /// PORT; `Some(None)` is `[UNAVAILABLE]`.
    pub port: Option<Option<u16>>,
    /// DESTADDR.
    pub server_address: Option<Option<IpAddr>>,
    /// DESTPORT.
    pub server_port: Option<Option<u16>>,
    /// LOGIN; `Some(None)` logs out.
    pub login: Option<Option<String>>,
}

/// What the session wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A decision is due; answer with `resolve`.
    Decide(Decide),
    /// The first recipient (or MAIL) was accepted: give the message a queue id; answer with `opened`.
    Open,
    /// One recipient was accepted (after its decision, and after `Open` where that was due): the last of
    /// `recipients()`. With `smtpd_proxy_filter` answer with `recipient_answered`.
    Recipient,
    /// The data lists permit, and there is a `smtpd_proxy_filter`: answer with `data_answered`.
    Data,
    /// Content is ready: take it with `take_content`. Lines end in LF, dots are unstuffed.
    Content,
    /// The whole content was handed over and the end-of-data lists permit: store it; answer with `committed`.
    Commit,
    /// The open message is dropped (RSET, EHLO, QUIT, lost connection, refused content).
    Abort,
    /// `smtpd_command_filter` is set: answer with `filtered(Ok(new line or None))`, `Err(())` for a failed look-up.
    FilterCommand(Vec<u8>),
    /// A 4xx/5xx reply is about to leave and `smtpd_reject_filter_maps` or a footer is set: answer with
    /// `finish_reply(text)`; the text may have several lines, separated by LF.
    FinishReply(String),
    /// A client logs in: answer with `auth_answered`, but for [`AuthStep::Cancel`].
    Auth(AuthStep),
    /// Send what is to be sent, then do the TLS handshake; answer with `tls_started`. What comes after it is to be
    /// received decrypted.
    StartTls,
    /// A connection, or a MAIL, RCPT, VRFY or AUTH command is to be counted; answer with `counted`. Only where the
    /// configuration asks for it, and the client is not exempt or has logged in.
    Count(Rate),
    /// Is this unknown command word in the tables of `smtpd_forbidden_commands`? Answer with `forbidden`.
    MatchForbidden(String),
    /// A command that is none: what do the Milters say? Answer with `milter_answered`.
    MilterUnknown(String),
    /// ETRN was permitted: ask the flush service for `etrn_domain()`; answer with `flushed`.
    Flush,
    /// XCLIENT changed who the client is. Answer with `client_changed_done`; then the session is back at its greeting,
    /// and with `smtpd_delay_reject = no` a Connect decision follows.
    ClientChanged(ClientIdentity),
    /// A log line of the session itself, without prefix, such as `improper command pipelining after …`.
    /// The text holds [`super::ServerSession::CLIENT`] where `name[address]` belongs.
    Log(String),
    /// As `Log`, with `warning: ` before it.
    Warning(String),
    /// The postmaster wants to know what went wrong: send the transcript.
    Notify(Notice),
    /// The session is over: flush what is left to send, log the statistics line, close. It comes once, as the last one.
    Close,
}
