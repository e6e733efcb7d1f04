//! The server as a process: configuration, sockets, privileges, event loops, signals.

mod delivery;
mod host;
pub mod limits;
pub mod listen;
pub mod logins;
pub mod mail_log;
pub mod privileges;
mod probe_settings;
mod reading;
mod sasl;
pub mod server;
mod session_config;
mod signals;
pub mod site;
mod statistics;
mod support;
mod welcome;

pub(crate) use support::mandatory as mandatory_tls;
