//! End-to-end checks with the real program. They need its path in the environment variable POSTERN, so they are ignored
//! by a plain `cargo test`; `cargo xtask test` builds the program and runs them.

mod authentication;
mod clients;
mod content;
mod databases;
mod dnsbl;
mod durability;
mod gateways;
mod haproxy;
mod hostile;
mod limits;
mod milters;
mod next_hop;
mod operation;
mod own_mail;
mod policy;
mod privileges;
mod proxy_filter;
mod queue;
mod record;
mod sasl;
mod sasl_abuse;
mod senders;
mod server;
mod sites;
mod tables;
mod tls;
mod verify;
mod words;
