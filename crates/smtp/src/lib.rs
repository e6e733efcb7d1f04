//! SMTP wire format and sessions, without sockets, clocks or files (RFC 5321, RFC 3030, RFC 3461, RFC 6531).

pub mod address;
mod body;
pub mod client;
mod history;
pub mod proxy;
pub mod server;

pub use body::Body;
