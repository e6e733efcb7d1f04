//! TLS towards clients: keys, what a handshake may agree on, client certificates, and how a session is told of.
//!
//! The library is rustls: TLS 1.2 and 1.3, with forward secrecy and authenticated encryption only. Settings that ask
//! for more than that are named when the configuration is read.

mod certificate;
mod ciphers;
mod keys;
mod protocols;
mod server;
mod settings;
mod summary;

pub use server::{Offer, TlsServer};
pub use settings::{Level, server, smtpd_level};
pub use summary::TlsSession;
