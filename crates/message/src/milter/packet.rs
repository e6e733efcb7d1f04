//! Packets: four bytes of length, a letter, and what belongs to it.

use super::protocol::{ACTIONS, Event, LEADING_SPACE, Offer};
use std::net::IpAddr;

/// The longest packet that is taken from a filter.
pub const PACKET_LIMIT: usize = 1024 * 1024;
/// The bytes before a packet.
pub const HEADER_LENGTH: usize = 4;

/// A packet of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its letter.
    pub command: u8,
    /// The rest.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// What follows the length.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (&command, data) = bytes.split_first()?;
        Some(Self { command, data })
    }
}

/// How long a packet is, by its first bytes.
pub fn packet_length(header: [u8; HEADER_LENGTH]) -> Result<usize, String> {
    let length = u32::from_be_bytes(header);
    match usize::try_from(length) {
        Ok(0) => Err("bad packet length: 0".to_owned()),
        Ok(length) if length <= PACKET_LIMIT => Ok(length),
        _ => Err(format!("unreasonable packet length: {length} > {PACKET_LIMIT}")),
    }
}

/// The parts of packets from filters.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// A string up to its NUL.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.0)?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    /// A number of four bytes.
    pub fn number(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }
}

/// Who has connected, as the connect event tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// Verified name; `unknown` is told as the address in brackets.
    pub name: &'a str,
    /// Address.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: u16,
}

/// What goes to a filter, packet by packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// What is to be written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Nothing to write?
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn packet(&mut self, command: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend([0, 0, 0, 0, command]);
        fill(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start - HEADER_LENGTH).unwrap_or(u32::MAX);
        self.bytes[start..start + HEADER_LENGTH].copy_from_slice(&length.to_be_bytes());
    }

    /// The offer.
    pub fn negotiate(&mut self, offer: Offer) {
        self.packet(b'O', |out| {
            for number in [offer.version, ACTIONS, offer.steps()] {
                out.extend(number.to_be_bytes());
            }
        });
    }

    /// The macros of an event, in front of it.
    pub fn macros(&mut self, event: Event, values: &[(String, String)]) {
        self.packet(b'D', |out| {
            out.push(event.command());
            for (name, value) in values {
                string(out, name.as_bytes());
                string(out, value.as_bytes());
            }
        });
    }

    /// A client has connected.
    pub fn connect(&mut self, client: &Client<'_>) {
        self.packet(Event::Connect.command(), |out| {
            let Some(address) = client.address else {
                string(out, client.name.as_bytes());
                out.push(b'U');
                return;
            };
            match client.name {
                "unknown" => string(out, format!("[{address}]").as_bytes()),
                name => string(out, name.as_bytes()),
            }
            out.push(if address.is_ipv4() { b'4' } else { b'6' });
            out.extend(client.port.to_be_bytes());
            string(out, address.to_string().as_bytes());
        });
    }

    /// A command that comes with strings.
    pub fn strings<'a>(&mut self, event: Event, strings: impl IntoIterator<Item = &'a str>) {
        self.packet(event.command(), |out| strings.into_iter().for_each(|text| string(out, text.as_bytes())));
    }

    /// A header, as the filter wants it: with or without the blank after the colon.
    pub fn header(&mut self, name: &[u8], value: &[u8], steps: u32) {
        let value = if steps & LEADING_SPACE == 0 { value.strip_prefix(b" ").unwrap_or(value) } else { value };
        self.packet(Event::Header.command(), |out| {
            string(out, name);
            string(out, value);
        });
    }

    /// A piece of the body.
    pub fn body(&mut self, piece: &[u8]) {
        self.packet(Event::Body.command(), |out| out.extend_from_slice(piece));
    }

    /// The message is taken back.
    pub fn abort(&mut self) {
        self.packet(b'A', |_| {});
    }

    /// The session is over.
    pub fn quit(&mut self) {
        self.packet(b'Q', |_| {});
    }
}

/// A string with its NUL; one inside would be its end.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().map(|&byte| if byte == 0 { b'?' } else { byte }));
    out.push(0);
}
