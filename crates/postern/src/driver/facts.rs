//! What a session knows, as the policy takes it, and how a decision's lines look in the log. The same for a session with
//! a socket and for a rehearsed one.

use policy::{Client, Facts, MessageFacts, Protocol, Sasl, Tls};
use smtp::server::ServerSession;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

/// What the session itself doesn't know.
pub struct Surroundings {
    /// Who talks.
    pub client: Client,
    /// Our end of the connection.
    pub server_address: Option<IpAddr>,
    /// Our port.
    pub server_port: u16,
    /// The message's queue id, once it has one.
    pub queue_id: Option<String>,
    /// What the policy protocol calls an instance.
    pub instance: String,
    /// The message, once it is whole.
    pub message: Option<Arc<MessageFacts>>,
    /// The login.
    pub sasl: Option<Sasl>,
    /// The TLS session.
    pub tls: Option<Tls>,
    /// Seconds since the epoch.
    pub now: u64,
    /// How `$localtime` shows that.
    pub localtime: fn(u64) -> String,
}

/// What is known now.
pub fn facts(session: &ServerSession, around: Surroundings) -> Facts {
    Facts {
        client: around.client,
        server_address: around.server_address,
        server_port: around.server_port,
        helo: session.helo_name().map(str::to_owned),
        protocol: if session.protocol() == "ESMTP" { Protocol::Esmtp } else { Protocol::Smtp },
        sender: session.sender().map(str::to_owned),
        recipient: session.recipient().map(str::to_owned),
        argument: session.argument().map(str::to_owned),
        recipient_count: session.recipients().len(),
        syntax_only: session.judges_syntax_only(),
        etrn_domain: session.etrn_domain().map(str::to_owned),
        size: match session.bytes_received() {
            0 => session.mail_options().size,
            received => received,
        },
        queue_id: around.queue_id,
        instance: around.instance,
        message: around.message,
        sasl: around.sasl,
        tls: around.tls,
        improper_pipelining: session.improper_pipelining(),
        smtputf8: session.smtputf8(),
        now: around.now,
        localtime: around.localtime,
    }
}

/// `QID: WORD: STAGE from NA: TEXT;CTX`.
pub fn event_line(queue_id: Option<&str>, stage: &str, word: &str, text: &str, session: &ServerSession) -> String {
    let mut line = String::with_capacity(200);
    let id = queue_id.unwrap_or("NOQUEUE");
    let _ = write!(line, "{id}: {word}: {stage} from {}: {text};", ServerSession::CLIENT);
    line.push_str(&session.log_context());
    line
}
