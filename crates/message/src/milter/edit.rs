//! Changes that a filter wants made at the end of a message.

use super::packet::Fields;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A header more, after the others.
    AddHeader {
        /// Its name.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// A header more, after so many others of the message as it stands, ours included.
    InsertHeader {
        /// How many others.
        index: u32,
        /// Its name.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// The header of that name gets another value, or goes (an empty value).
    ChangeHeader {
        /// Which of those with this name, counted from 1, without our own `Received:`.
        index: u32,
        /// Its name.
        name: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// A piece of the new body.
    ReplaceBody(Vec<u8>),
    /// Another sender.
    ChangeSender {
        /// As written.
        address: String,
        /// ESMTP arguments.
        arguments: String,
    },
    /// One recipient more.
    AddRecipient {
        /// As written.
        address: String,
        /// ESMTP arguments.
        arguments: String,
    },
    /// One recipient less.
    DeleteRecipient(String),
}

impl Edit {
    /// What an answer wants changed. `None`: no change by its letter; `Some(None)`: it makes no sense.
    pub(super) fn parse(command: u8, data: &[u8]) -> Option<Option<Self>> {
        let mut fields = Fields(data);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(match command {
            b'h' => (|| {
                let (name, value) = (fields.string()?.to_vec(), fields.string()?.to_vec());
                Some(Self::AddHeader { name, value })
            })(),
            b'i' | b'm' => (|| {
                let index = fields.number()?;
                let (name, value) = (fields.string()?.to_vec(), fields.string()?.to_vec());
                Some(match command {
                    b'i' => Self::InsertHeader { index, name, value },
                    _ => Self::ChangeHeader { index, name, value },
                })
            })(),
            b'b' => Some(Self::ReplaceBody(data.to_vec())),
            b'e' | b'2' => (|| {
                let address = text(fields.string()?);
                let arguments = if fields.0.is_empty() { String::new() } else { text(fields.string()?) };
                Some(match command {
                    b'e' => Self::ChangeSender { address, arguments },
                    _ => Self::AddRecipient { address, arguments },
                })
            })(),
            b'+' => fields.string().map(|a| Self::AddRecipient { address: text(a), arguments: String::new() }),
            b'-' => fields.string().map(|a| Self::DeleteRecipient(text(a))),
            _ => return None,
        })
    }
}

/// How much a filter may change in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditLimits {
    /// Bytes of headers and addresses left.
    pub text: usize,
    /// Changes left that are no pieces of a body.
    pub count: usize,
}

impl Default for EditLimits {
    fn default() -> Self {
        Self { text: 4 << 20, count: 20_000 }
    }
}

impl EditLimits {
    /// Take one change; false when it is one too many. The size of bodies is limited where they are kept.
    pub fn take(&mut self, edit: &Edit) -> bool {
        let length = match edit {
            Edit::AddHeader { name, value }
            | Edit::InsertHeader { name, value, .. }
            | Edit::ChangeHeader { name, value, .. } => name.len() + value.len(),
            Edit::ChangeSender { address, arguments } | Edit::AddRecipient { address, arguments } => {
                address.len() + arguments.len()
            }
            Edit::DeleteRecipient(address) => address.len(),
            Edit::ReplaceBody(_) => return true,
        };
        let left = (self.text.checked_sub(length), self.count.checked_sub(1));
        let (Some(text), Some(count)) = left else { return false };
        *self = Self { text, count };
        true
    }
}
