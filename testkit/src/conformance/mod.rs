//! The conformance runner: one configuration and some SMTP sessions against the program, compared with what Postfix 3.12
//! did (`tests/conformance/scenarios/*.scn`, `*.golden`). It needs neither root nor namespaces: every scenario gets a
//! temporary directory and ports of its own ([`Place`]), DNS comes from a fixture, and the PROXY protocol tells the
//! program which client address to believe. Paths and ports are mapped back before comparing.

mod client;
mod golden;
mod mail;
mod normal;
mod place;
mod postfix;
mod run;
mod scenario;
mod session;

pub use golden::{Recording, Section, compare};
pub use place::Place;
pub use run::{Awaited, Peer, Tools, run, run_then};
pub use scenario::Scenario;
