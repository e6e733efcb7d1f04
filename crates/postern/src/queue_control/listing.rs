//! How the queue is shown: `postqueue -p` and `postqueue -j`.

use super::Queue;
use queue::{Envelope, RecipientState};
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;
use smtp::address::quote_local;
use std::fmt::Write as _;
use std::io::{self, Write};

/// A message in the queue, as `postqueue -j` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// `active`, `incoming`, `deferred` or `hold`.
    pub queue_name: String,
    /// Its id.
    pub queue_id: String,
    /// When it came, Unix seconds.
    pub arrival_time: i64,
    /// Bytes.
    pub message_size: u64,
    /// Postfix's `postsuper -e`.
    pub forced_expire: bool,
    /// `MAILER-DAEMON` for the empty address.
    pub sender: String,
    /// Those that still have to be delivered.
    pub recipients: Vec<ListedRecipient>,
}

/// One of its recipients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRecipient {
    /// The address.
    pub address: String,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_reason: Option<String>,
}

impl Listed {
    /// What an envelope says.
    pub fn of(envelope: &Envelope, queue: Queue) -> Self {
        let left = envelope.recipients.iter().filter(|r| r.state != RecipientState::Done);
        let recipients = left.map(|recipient| ListedRecipient {
            address: quote_local(&recipient.address).into_owned(),
            delay_reason: recipient.status.as_ref().map(|status| status.reason.clone()),
        });
        Self {
            queue_name: queue.name().to_owned(),
            queue_id: envelope.queue_id.to_string(),
            arrival_time: envelope.arrival.div_euclid(1_000_000),
            message_size: envelope.size,
            forced_expire: false,
            sender: match envelope.sender.as_str() {
                "" => "MAILER-DAEMON".to_owned(),
                sender => quote_local(sender).into_owned(),
            },
            recipients: recipients.collect(),
        }
    }
}

/// The listing as sendmail's; `date` writes a time of arrival as `Mon Nov 23 01:02:23`.
pub fn pretty(messages: &[Listed], is_long: bool, date: impl Fn(i64) -> String) -> String {
    if messages.is_empty() {
        return "Mail queue is empty\n".to_owned();
    }
    let (head, indent) = match is_long {
        true => ("----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n", 47),
        false => ("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n", 41),
    };
    let mut text = head.to_owned();
    for (number, message) in messages.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let mark = match message.queue_name.as_str() {
            "hold" => "!",
            "active" => "*",
            _ => "",
        };
        let id = format!("{}{mark}", printable(&message.queue_id));
        let (size, date, sender) = (message.message_size, date(message.arrival_time), printable(&message.sender));
        // Writing to a string can't fail.
        let _ = match is_long {
            true => writeln!(text, "{id:<17} {size:>8} {date:>19} {sender}"),
            false => writeln!(text, "{id:<11} {size:>7} {date:<20} {sender}"),
        };
        recipients(&mut text, message, indent);
    }
    let size: u64 = messages.iter().map(|message| message.message_size).sum();
    let plural = if messages.len() == 1 { "" } else { "s" };
    let _ = writeln!(text, "\n-- {} Kbytes in {} Request{plural}.", size / 1024, messages.len());
    text
}

/// Those with a reason first, each reason once.
fn recipients(text: &mut String, message: &Listed, indent: usize) {
    let mut last = None;
    let (late, new): (Vec<_>, Vec<_>) = message.recipients.iter().partition(|r| r.delay_reason.is_some());
    for recipient in late.into_iter().chain(new) {
        if let Some(reason) = &recipient.delay_reason
            && last != Some(reason)
        {
            let room = 76_usize.saturating_sub(reason.len());
            let _ = writeln!(text, "{:room$}({})", "", printable(reason));
            last = Some(reason);
        }
        let _ = writeln!(text, "{:indent$}{}", "", printable(&recipient.address));
    }
}

/// What a client sent must not move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A message as a line of JSON, with a blank behind each comma and colon.
///
/// # Errors
/// None that can come up with these types.
pub fn json(message: &Listed) -> io::Result<String> {
    let mut out = Vec::new();
    message.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced))?;
    String::from_utf8(out).map_err(io::Error::other)
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
