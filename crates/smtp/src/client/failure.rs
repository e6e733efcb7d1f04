//! Why a delivery failed, in smtp(8)'s words.

use super::reply::ServerReply;

/// Why a session or a recipient failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// No use trying again.
    pub permanent: bool,
    /// Enhanced status code.
    pub dsn: String,
    /// Text for log line and report.
    pub reason: String,
    /// The server's reply, if it was one.
    pub reply: Option<String>,
    /// It's about the server or the connection, not about this message or recipient.
    pub site: bool,
}

impl Failure {
    /// A temporary failure that no reply goes with.
    pub fn temporary(dsn: &str, reason: impl Into<String>) -> Self {
        Failure { permanent: false, dsn: dsn.to_owned(), reason: reason.into(), reply: None, site: false }
    }

    /// A permanent failure that no reply goes with.
    pub fn permanent(dsn: &str, reason: impl Into<String>) -> Self {
        Failure { permanent: true, ..Self::temporary(dsn, reason) }
    }

    /// The same, about the whole server.
    #[must_use]
    pub fn of_site(mut self) -> Self {
        self.site = true;
        self
    }

    pub(super) fn said(peer: &str, reply: &ServerReply, command: &str) -> Self {
        let text = reply.text();
        Failure {
            permanent: reply.class() == 5,
            dsn: failure_dsn(reply),
            reason: format!("host {peer} said: {text} (in reply to {command} command)"),
            reply: Some(text),
            site: false,
        }
    }

    pub(super) fn refused(peer: &str, reply: &ServerReply, soft: bool) -> Self {
        let text = reply.text();
        let mut dsn = failure_dsn(reply);
        if soft {
            dsn.replace_range(..1, "4");
        }
        Failure {
            permanent: reply.class() == 5 && !soft,
            dsn,
            reason: format!("host {peer} refused to talk to me: {text}"),
            reply: Some(text),
            site: true,
        }
    }
}

/// A reply that isn't an error where one isn't wanted is a temporary failure.
fn failure_dsn(reply: &ServerReply) -> String {
    match reply.class() {
        4 | 5 => reply.dsn(),
        _ => "4.5.0".to_owned(),
    }
}
