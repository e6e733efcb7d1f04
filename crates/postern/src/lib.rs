//! The program: sockets, tasks, clocks, DNS, privileges, logs and the command line around the pure crates.

mod answer;
pub mod anvil;
mod base64;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod deliver;
pub mod dns;
pub mod dns_lists;
pub mod driver;
pub mod explain;
pub mod lint;
mod lookup;
pub mod maillog;
mod memory;
mod milter;
pub mod notice;
mod policy_service;
pub mod policy_test;
pub mod prove;
mod proxy_filter;
pub mod record;
pub mod rehearsal;
pub mod replay;
pub mod sasl;
mod tls;
mod verify;
