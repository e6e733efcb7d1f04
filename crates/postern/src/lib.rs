//! The program: sockets, tasks, clocks, DNS, privileges, logs and the command line around the pure crates.

pub mod clock;
pub mod deliver;
pub mod dns;
pub mod maillog;
