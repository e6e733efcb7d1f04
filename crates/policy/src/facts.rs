//! What is known of a transaction when a list is evaluated.

use crate::authentication::MessageFacts;
use std::net::IpAddr;
use std::sync::Arc;

/// SMTP or ESMTP, as the client greeted us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HELO, or nothing yet.
    #[default]
    Smtp,
    /// EHLO.
    Esmtp,
}

/// What a look-up of the client's name came to (smtpd's peer status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerStatus {
    /// Found (and, for the verified name, confirmed by a forward look-up).
    Ok,
    /// Temporary failure at either step.
    Temporary,
    /// No name.
    Permanent,
    /// The name does not resolve to the client's address.
    Forged,
}

/// The client's names: the verified one and the plain PTR name; `unknown` where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerName {
    /// Verified name.
    pub name: Arc<str>,
    /// PTR name.
    pub reverse: Arc<str>,
    /// Status of the verified name.
    pub name_status: PeerStatus,
    /// Status of the PTR name.
    pub reverse_status: PeerStatus,
}

impl PeerName {
    /// `unknown`, for the given reason.
    pub fn unknown(status: PeerStatus) -> Self {
        Self { name: "unknown".into(), reverse: "unknown".into(), name_status: status, reverse_status: status }
    }
}

/// Who connected.
#[derive(Clone, Debug)]
pub struct Client {
    /// Address; `None` prints as `unknown` (XCLIENT `ADDR=[UNAVAILABLE]`). IPv4-mapped addresses arrive as IPv4.
    pub address: Option<IpAddr>,
    /// Port; 0 when unknown.
    pub port: u16,
    /// The names, when already known (XCLIENT, or the look-up has ended); else they are a [`crate::Question`].
    pub name: Option<PeerName>,
}

/// A SASL login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sasl {
    /// Mechanism, `XCLIENT` when handed over.
    pub method: String,
    /// Login name.
    pub username: String,
    /// AUTH= of MAIL FROM.
    pub sender: String,
}

/// A TLS session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Protocol version, as in `TLSv1.3`.
    pub protocol: String,
    /// Cipher name.
    pub cipher: String,
    /// Key bits in use.
    pub bits: u32,
    /// The name that the client asked for (SNI), where `tls_server_sni_maps` has it.
    pub sni: String,
    /// The client's certificate.
    pub certificate: Option<Certificate>,
}

/// The certificate that a client has shown. It has its key; what the names are worth, `is_trusted` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Common name of the subject.
    pub subject_cn: String,
    /// Common name of the issuer.
    pub issuer_cn: String,
    /// Fingerprint (`12:AB:…`) by `smtpd_tls_fingerprint_digest`.
    pub fingerprint: String,
    /// Fingerprint of its public key.
    pub public_key_fingerprint: String,
    /// Somebody in `smtpd_tls_CAfile` has issued it.
    pub is_trusted: bool,
}

/// Everything a restriction may look at without asking.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The client.
    pub client: Client,
    /// Our own end.
    pub server_address: Option<IpAddr>,
    /// Our own port.
    pub server_port: u16,
    /// HELO or EHLO argument as stored by the session.
    pub helo: Option<String>,
    /// SMTP or ESMTP.
    pub protocol: Protocol,
    /// Envelope sender in internal (unquoted) form; `Some("")` is `<>`.
    pub sender: Option<String>,
    /// The recipient being judged (RCPT, VRFY), or the only one (DATA, end of data); internal form.
    pub recipient: Option<String>,
    /// The argument of MAIL, RCPT or VRFY as the client wrote it, where that isn't the address in brackets.
    pub argument: Option<String>,
    /// Recipients accepted so far.
    pub recipient_count: usize,
    /// MAIL or RCPT is refused in any case (a bad option, `smtpd_recipient_limit`): only the address' syntax is judged.
    pub syntax_only: bool,
    /// ETRN argument.
    pub etrn_domain: Option<String>,
    /// SIZE= of MAIL FROM, or the real size at end of data.
    pub size: u64,
    /// Queue id, once there is one.
    pub queue_id: Option<String>,
    /// Policy protocol's `instance`.
    pub instance: String,
    /// The message, once it is whole, and if anybody asks.
    pub message: Option<Arc<MessageFacts>>,
    /// The login, if any.
    pub sasl: Option<Sasl>,
    /// The TLS session, if any.
    pub tls: Option<Tls>,
    /// The session was caught at improper pipelining.
    pub improper_pipelining: bool,
    /// SMTPUTF8 was requested in MAIL FROM.
    pub smtputf8: bool,
    /// Seconds since the epoch.
    pub now: u64,
    /// How `$localtime` shows such a moment: `Nov 22 12:00:00` in the local time zone.
    pub localtime: fn(u64) -> String,
}
