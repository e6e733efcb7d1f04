//! Settings and tables for tests.

use crate::cleanup::{MessageContext, RewriteContext};
use crate::date::Timestamp;
use crate::lookup::{Lookup, LookupFailed};
use policy::{Settings, TableId};
use std::sync::Arc;

/// Parameters with the defaults that matter here.
pub(crate) struct Values<'a>(pub &'a [(&'a str, &'a str)]);

const DEFAULTS: [(&str, &str); 12] = [
    ("myhostname", "mail.example.com"),
    ("mydomain", "example.com"),
    ("myorigin", "example.com"),
    ("mydestination", "mail.example.com, localhost.example.com, localhost, example.com"),
    ("append_at_myorigin", "yes"),
    ("swap_bangpath", "yes"),
    ("allow_percent_hack", "yes"),
    ("canonical_classes", "envelope_sender, envelope_recipient, header_sender, header_recipient"),
    ("sender_canonical_classes", "envelope_sender, header_sender"),
    ("recipient_canonical_classes", "envelope_recipient, header_recipient"),
    ("masquerade_classes", "envelope_sender, header_sender, header_recipient"),
    ("propagate_unmatched_extensions", "canonical, virtual"),
];

impl Settings for Values<'_> {
    fn get(&self, name: &str) -> String {
        let given = self.0.iter().chain(&DEFAULTS).find(|(known, _)| *known == name);
        match name {
            "enable_original_recipient" if given.is_none() => "yes".to_owned(),
            "empty_address_recipient" => "MAILER-DAEMON".to_owned(),
            _ => given.map_or_else(String::new, |(_, value)| (*value).to_owned()),
        }
    }

    fn origin(&self, _: &str) -> Option<config::Span> {
        None
    }

    fn read_list_file(&self, path: &str) -> Result<String, String> {
        Err(format!("open {path}: No such file or directory"))
    }
}

/// Key and value of each table, by number; a value of `!` is a failure.
pub(crate) struct Entries<'a>(pub &'a [(u32, &'a str, &'a str)]);

impl Lookup for Entries<'_> {
    fn find(&mut self, table: TableId, key: &str) -> Result<Option<Arc<str>>, LookupFailed> {
        match self.0.iter().find(|(id, known, _)| TableId(*id) == table && *known == key) {
            Some((.., "!")) => Err(LookupFailed("out of order".into())),
            Some((.., value)) => Ok(Some((*value).into())),
            None => Ok(None),
        }
    }
}

/// A message from a stranger to a user of ours.
pub(crate) fn context() -> MessageContext {
    MessageContext {
        queue_id: "QID".into(),
        now: Timestamp::utc(1_795_350_328),
        origin: "client.example.net[192.0.2.10]".into(),
        sender: "s@example.org".into(),
        last_recipient: Some("u@example.com".into()),
        protocol: Some("ESMTP".into()),
        helo: Some("client.example.net".into()),
        rewrite: RewriteContext::Remote,
        prepended: Vec::new(),
        received: None,
        checks: true,
        mappings: true,
        effects: Vec::new(),
        refusal: None,
    }
}
