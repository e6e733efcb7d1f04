//! A DNS server for tests, UDP and TCP on one loopback port, that answers from zone text.
//!
//! One record a line, `name type rdata... [ttl=N] [delay_ms=N]`; types A AAAA PTR MX NS SOA TXT CNAME, or `*` for any
//! type with a special rdata: NXDOMAIN, NODATA, SERVFAIL, REFUSED, TIMEOUT (no answer). Names may start with `*.`;
//! `@rev ADDR` and `@bl ADDR ZONE` stand for reverse and blocklist names. Unknown names give NXDOMAIN, names above a
//! known one NODATA.

mod server;
mod wire;
mod zone;

pub use server::FixtureDns;
pub use zone::{Outcome, Rcode, Record, Zone};
