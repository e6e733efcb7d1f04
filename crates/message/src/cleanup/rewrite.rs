//! Addresses in headers: standard form, canonical maps, masquerading. Only headers with a changed address are laid
//! out anew.

use super::header::{Addresses, Known};
use super::{Cleanup, Io};
use crate::addresses::{Notes, Role};
use smtp::address::header::{fold_header, rewrite_addresses};
use std::borrow::Cow;

impl Cleanup {
    pub(super) fn rewrite_header(&mut self, known: Known, header: &mut Vec<u8>, io: &mut Io<'_>) {
        let Some(rules) = self.config.addresses.clone().filter(|_| self.is_rewritten()) else { return };
        let role = match known.addresses {
            Addresses::Sender => Role::HeaderSender,
            _ => Role::HeaderRecipient,
        };
        let name = known.name.len();
        let Some(value) = header.get(name + 1..) else { return };
        let (text, latin) = decoded(value);
        let mut notes = Notes::new(&self.context.queue_id);
        let rewritten = rewrite_addresses(&text, &mut |address| {
            if address.is_empty() {
                return None;
            }
            let mut new = rules.rewrite(address, self.context.rewrite);
            if self.context.mappings {
                new = rules.canonical(new, role, io.lookup, &mut notes);
            }
            Some(new)
        });
        let Notes { mut log, failed, .. } = notes;
        self.log.append(&mut log);
        if failed {
            self.refuse(super::WRITE_ERROR.to_owned());
        }
        let Some(value) = rewritten else { return };
        let written = String::from_utf8_lossy(&header[..name]);
        let folded = fold_header(&format!("{written}: {value}"));
        header.clear();
        match latin {
            false => header.extend_from_slice(folded.as_bytes()),
            true => folded.chars().for_each(|c| match u8::try_from(c) {
                Ok(byte) => header.push(byte),
                Err(_) => header.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }),
        }
    }
}

/// A header value as text; one that isn't UTF-8 is taken byte for byte (`true`), so that it can be put back.
fn decoded(value: &[u8]) -> (Cow<'_, str>, bool) {
    match std::str::from_utf8(value) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => (Cow::Owned(value.iter().copied().map(char::from).collect()), true),
    }
}
