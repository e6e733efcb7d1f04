//! The milter protocol (that of Sendmail 8, versions 2 to 6), without sockets: what is written to a filter, what its
//! answers mean, and how a message is changed at its end.
//!
//! Who connects, waits and gives up is the program's business; every packet and every collection here is bounded.

mod application;
mod edit;
mod filter;
mod headers;
mod macros;
mod packet;
mod protocol;
mod verdict;

pub use application::{Message, SenderOptions};
pub use edit::{Edit, EditLimits};
pub use filter::{Failure, Filter, Heard, Settings, Turn};
pub use headers::{HEADERS_LIMIT, HeaderSection};
pub use macros::{Macros, Stage};
pub use packet::{Client, HEADER_LENGTH, PACKET_LIMIT, Packet, Request, packet_length};
pub use protocol::{BODY_CHUNK, Event, Offer};
pub use verdict::{DefaultAction, Verdict};

#[cfg(test)]
mod tests;
