//! The end of the primary header: what is missing is added for local clients (`always_add_missing_headers`).

use super::header::Kind;
use super::{Cleanup, Io, RewriteContext};
use crate::date::{mail_date, utc_digits};
use std::io::Write;

impl Cleanup {
    /// Are the headers of this client rewritten and completed?
    pub(super) fn is_rewritten(&self) -> bool {
        self.context.rewrite == RewriteContext::Local || !self.config.remote_header_rewrite_domain.is_empty()
    }

    pub(super) fn complete_header(&mut self, io: &mut Io<'_>) {
        let adds = self.is_rewritten() || self.config.always_add_missing_headers;
        let prefix = if self.resent { "Resent-" } else { "" };
        let [id, date, from] = match self.resent {
            true => [Kind::ResentMessageId, Kind::ResentDate, Kind::ResentFrom],
            false => [Kind::MessageId, Kind::Date, Kind::From],
        };
        if adds && !self.has_seen(id) {
            self.add_message_id(prefix, io);
        }
        if self.message_id.is_empty() && !self.has_seen(Kind::MessageId) {
            self.log_id("message-id", "<>");
        }
        if adds && !self.has_seen(date) {
            let _ = writeln!(io.out, "{prefix}Date: {}", mail_date(&self.context.now));
        }
        // Mail from the network has no full name, so that `header_from_format` makes no difference.
        if adds && !self.has_seen(from) {
            let sender = if self.context.sender.is_empty() { "MAILER-DAEMON" } else { self.context.sender.as_str() };
            let _ = writeln!(io.out, "{prefix}From: {}", smtp::address::quote_local(sender));
        }
        let visible = [Kind::To, Kind::ResentTo, Kind::Cc, Kind::ResentCc].into_iter().any(|kind| self.has_seen(kind));
        if adds && !visible && !self.config.undisclosed_recipients_header.is_empty() {
            self.add_undisclosed(io);
        }
    }

    fn add_message_id(&mut self, prefix: &str, io: &mut Io<'_>) {
        let (queue_id, host) = (&self.context.queue_id, &self.config.myhostname);
        let id = match self.config.enable_long_queue_ids {
            true => format!("<{queue_id}@{host}>"),
            false => format!("<{}.{queue_id}@{host}>", utc_digits(self.context.now.unix)),
        };
        let _ = writeln!(io.out, "{prefix}Message-Id: {id}");
        match self.resent {
            true => self.log_id("resent-message-id", &id),
            false => {
                self.log_id("message-id", &id);
                self.message_id = id;
            }
        }
    }

    fn add_undisclosed(&mut self, io: &mut Io<'_>) {
        let header = &self.config.undisclosed_recipients_header;
        if super::header::is_header(header.as_bytes()).is_some() {
            let _ = writeln!(io.out, "{header}");
        } else {
            let name = "undisclosed_recipients_header";
            self.warn(format!("bad {name} header text \"{header}\" -- need \"headername: headervalue\""));
        }
    }
}
