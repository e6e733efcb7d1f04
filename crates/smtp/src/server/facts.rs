//! What policy, log and queue may want to know of a session.

use super::config::{Authorised, ForbidBareNewline, SessionConfig};
use super::identity::Forwarded;
use super::session::ServerSession;
use super::transaction::{MailOptions, Recipient};
use std::net::IpAddr;

impl ServerSession {
    /// The configuration.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// The client's address, as it was connected or as XCLIENT has changed it.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.client_address
    }

    /// The client's port, 0 when not known.
    pub fn client_port(&self) -> u16 {
        self.client_port
    }

    pub(super) fn set_client(&mut self, address: Option<Option<IpAddr>>, port: Option<Option<u16>>) {
        self.client_label = None;
        self.client_address = address.unwrap_or(self.client_address);
        self.client_port = port.map_or(self.client_port, Option::unwrap_or_default);
    }

    /// Tell the session the `name[address]` of its client, as soon as it is known; the reply
    /// `503 5.7.0 Error: access denied for …` has it. Until then the name is `unknown`.
    pub fn set_client_label(&mut self, label: &str) {
        self.client_label = Some(label.into());
    }

    pub(super) fn client_label(&self) -> String {
        match (&self.client_label, self.client_address) {
            (Some(label), _) => label.to_string(),
            (None, Some(address)) => format!("unknown[{address}]"),
            (None, None) => "unknown[unknown]".to_owned(),
        }
    }

    /// What this client may do.
    pub fn authorised(&self) -> Authorised {
        self.authorised
    }

    /// The HELO or EHLO name: the one being judged, else the accepted one.
    pub fn helo_name(&self) -> Option<&str> {
        self.pending_helo.as_deref().or(self.helo.as_deref())
    }

    /// `SMTP` or `ESMTP`.
    pub fn protocol(&self) -> &'static str {
        if self.esmtp { "ESMTP" } else { "SMTP" }
    }

    /// The sender being judged at MAIL (internal form).
    pub fn pending_sender(&self) -> Option<&str> {
        self.pending_sender.as_deref()
    }

    /// The sender, judged or accepted.
    pub fn sender(&self) -> Option<&str> {
        self.pending_sender.as_deref().or(self.transaction.sender.as_deref())
    }

    /// Does the sender, or VRFY for itself, ask for SMTPUTF8?
    pub fn smtputf8(&self) -> bool {
        self.transaction.options.smtputf8 || self.pending_recipient.as_ref().is_some_and(|r| r.smtputf8)
    }

    /// How often a transaction was taken back: what was decided before the last time is forgotten.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// The recipient being judged at RCPT or VRFY (internal form).
    pub fn pending_recipient(&self) -> Option<&str> {
        self.pending_recipient.as_ref().map(|r| r.address.as_str())
    }

    /// The recipient that log lines and lists see: the one being judged, or at DATA and later the only one.
    pub fn recipient(&self) -> Option<&str> {
        if self.pending_recipient.is_some() {
            return self.pending_recipient();
        }
        let late = matches!(self.stage, "DATA" | "BDAT" | "END-OF-MESSAGE");
        match self.transaction.recipients.as_slice() {
            [only] if late => Some(&only.address),
            // HELO or ETRN within a transaction
            [first, ..] if !late => Some(&first.address),
            _ => None,
        }
    }

    /// The argument of MAIL, RCPT or VRFY being judged, as the client wrote it, where that isn't the address in
    /// brackets.
    pub fn argument(&self) -> Option<&str> {
        self.argument.as_deref()
    }

    /// The accepted recipients.
    pub fn recipients(&self) -> &[Recipient] {
        &self.transaction.recipients
    }

    /// What MAIL FROM asked for.
    pub fn mail_options(&self) -> &MailOptions {
        &self.transaction.options
    }

    /// The MAIL command as received (only with `smtpd_proxy_filter`).
    pub fn mail_command(&self) -> &str {
        &self.transaction.mail_command
    }

    /// The ETRN argument.
    pub fn etrn_domain(&self) -> Option<&str> {
        self.etrn_domain.as_deref()
    }

    /// The queue id that `opened` gave.
    pub fn queue_id(&self) -> Option<&str> {
        self.queue_id.as_deref()
    }

    /// Was the session caught at improper pipelining?
    pub fn improper_pipelining(&self) -> bool {
        self.improper_pipelining
    }

    /// The command word for log lines and `protocol_state`: CONNECT, EHLO, …, END-OF-MESSAGE, UNKNOWN.
    pub fn stage(&self) -> &'static str {
        self.stage
    }

    /// Size of the content so far, line ends counted as two bytes (the policy protocol's `size` at end of data).
    pub fn bytes_received(&self) -> u64 {
        self.content.as_ref().map_or(0, |content| content.bytes)
    }

    /// XFORWARD attributes for the message at hand.
    pub fn forwarded(&self) -> Option<&Forwarded> {
        self.forwarded.as_deref()
    }

    /// The end of the `disconnect from` line: `ehlo=1 mail=1 rcpt=1/2 data=1 quit=1 commands=5/6[ notes=bare_lf]`.
    pub fn statistics(&self) -> String {
        let mut text = self.statistics.text();
        if self.bare_lf && self.config.smtpd_forbid_bare_newline == ForbidBareNewline::Note {
            text.push_str(" notes=bare_lf");
        }
        text
    }
}
