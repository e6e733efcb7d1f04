//! What a filter's changes do to header and envelope.

use super::edit::Edit;
use super::headers::HeaderSection;
use crate::cleanup::{Checked, MilterHeaderChecks};
use crate::config::CleanupConfig;
use crate::lookup::Lookup;
use crate::recipients::{Envelope, Expansion, InRecipient};
use smtp::address::unquote_local;
use smtp::server::{Notify, Ret, parse_orcpt};

/// What is changed.
pub struct Message<'a> {
    /// Rules for addresses and headers.
    pub config: &'a CleanupConfig,
    /// The envelope as the session took it.
    pub envelope: &'a Envelope<'a>,
    /// The envelope as it stands.
    pub expansion: &'a mut Expansion,
    /// The header as it stands.
    pub headers: &'a mut HeaderSection,
    /// `milter_header_checks`, the log, and what is to be done with the message.
    pub checks: &'a mut MilterHeaderChecks,
    /// RET= and ENVID= of a new sender.
    pub options: &'a mut SenderOptions,
    /// The filter writes header values with the blank after the colon.
    pub has_leading_space: bool,
}

/// What a new sender asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderOptions {
    /// RET=
    pub ret: Option<Ret>,
    /// ENVID=
    pub envid: Option<String>,
}

impl Message<'_> {
    /// Make these changes, in order; pieces of a body are somebody else's.
    pub fn apply(&mut self, edits: Vec<Edit>, lookup: &mut dyn Lookup) {
        for edit in edits {
            match edit {
                Edit::AddHeader { name, value } => self.add(usize::MAX, &name, &value, lookup),
                Edit::InsertHeader { index, name, value } => {
                    self.add(usize::try_from(index).unwrap_or(usize::MAX), &name, &value, lookup);
                }
                Edit::ChangeHeader { index, name, value } => self.change(index, &name, &value, lookup),
                Edit::ReplaceBody(_) => {}
                Edit::ChangeSender { address, arguments } => self.change_sender(&address, &arguments, lookup),
                Edit::AddRecipient { address, arguments } => self.add_recipient(&address, &arguments, lookup),
                Edit::DeleteRecipient(address) => self.expansion.remove_recipient(&internal(&address)),
            }
        }
        self.follow_checks(lookup);
    }

    /// The text of a header that is to be there; `None`: it is not to be.
    fn checked(&mut self, name: &[u8], value: &[u8], lookup: &mut dyn Lookup) -> Option<Vec<u8>> {
        let Some(text) = HeaderSection::compose(name, value, self.has_leading_space) else {
            let shown = crate::log::printable(name);
            let queue_id = self.checks.queue_id().to_owned();
            self.checks.warn(format!("{queue_id}: ignoring header from Milter with bad name: \"{shown}\""));
            return None;
        };
        match self.checks.check(&text[..text.len() - 1], lookup) {
            Checked::Keep => Some(text),
            Checked::Drop => None,
            Checked::Replace(other) => {
                let (name, value) = other.split_once(':')?;
                HeaderSection::compose(name.trim_end().as_bytes(), value.as_bytes(), true)
            }
        }
    }

    fn add(&mut self, index: usize, name: &[u8], value: &[u8], lookup: &mut dyn Lookup) {
        if let Some(text) = self.checked(name, value, lookup) {
            self.headers.insert(index, text);
        }
    }

    fn change(&mut self, index: u32, name: &[u8], value: &[u8], lookup: &mut dyn Lookup) {
        match self.headers.find(index, name) {
            Some(number) if value.is_empty() => self.headers.replace(number, None),
            Some(number) => {
                if let Some(text) = self.checked(name, value, lookup) {
                    self.headers.replace(number, Some(text));
                }
            }
            None if value.is_empty() => {}
            None => self.add(usize::MAX, name, value, lookup),
        }
    }

    fn change_sender(&mut self, address: &str, arguments: &str, lookup: &mut dyn Lookup) {
        for word in arguments.split_ascii_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match (name.to_ascii_uppercase().as_str(), value.to_ascii_uppercase().as_str()) {
                ("RET", "FULL") => self.options.ret = Some(Ret::Full),
                ("RET", "HDRS") => self.options.ret = Some(Ret::Headers),
                ("ENVID", _) if parse_orcpt(&format!("x;{value}")).is_some() => {
                    self.options.envid = parse_orcpt(&format!("x;{value}")).map(|text| text[2..].to_owned());
                }
                _ => {
                    self.checks.warn(format!("Ignoring bad ESMTP parameter \"{word}\" in SMFI_CHGFROM request"));
                }
            }
        }
        self.expansion.change_sender(self.config, self.envelope, &internal(address), lookup);
    }

    fn add_recipient(&mut self, address: &str, arguments: &str, lookup: &mut dyn Lookup) {
        let queue_id = self.checks.queue_id().to_owned();
        let mut recipient = InRecipient { address: internal(address), ..InRecipient::default() };
        if recipient.address.is_empty() {
            return self.checks.warn(format!("{queue_id}: ignoring attempt from Milter to add null recipient"));
        }
        for word in arguments.split_ascii_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let (notify, orcpt) = match name.to_ascii_uppercase().as_str() {
                "NOTIFY" => (Notify::parse(value), None),
                "ORCPT" => (None, parse_orcpt(value)),
                _ => (None, None),
            };
            if let Some(notify) = notify {
                recipient.notify = notify;
            } else if let Some(orcpt) = orcpt {
                recipient.orcpt = orcpt;
            } else {
                let text = "ignoring ESMTP argument from Milter or header/body_checks";
                self.checks.warn(format!("{queue_id}: {text}: \"{word}\""));
            }
        }
        self.expansion.add_recipient(self.config, self.envelope, &recipient, lookup);
    }

    /// What the checks of new headers want done to the envelope.
    fn follow_checks(&mut self, lookup: &mut dyn Lookup) {
        let bcc = std::mem::take(&mut self.checks.effects().bcc);
        self.expansion.add_bcc(self.config, self.envelope, &bcc, lookup);
        if let Some(target) = self.checks.effects().redirect.take() {
            self.expansion.redirect(self.config, &target);
        }
    }
}

/// An address as filters write it, in internal form.
fn internal(address: &str) -> String {
    let address = address.trim();
    let bare = address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(address);
    unquote_local(bare)
}

#[cfg(test)]
#[path = "application_tests.rs"]
mod tests;
