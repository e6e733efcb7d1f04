//! What a message goes through on its way in: our `Received:` header, and the work of cleanup(8) on content and
//! envelope (header and body checks, header completion and rewriting, recipient expansion).
//!
//! Everything here is a pure stream transformation: no file, clock or table is touched. Time and queue id are
//! arguments, and tables are asked through [`Lookup`], which the program answers at once.

mod addresses;
pub mod cleanup;
mod config;
mod date;
pub mod dkim;
mod log;
mod lookup;
pub mod milter;
pub mod received;
pub mod recipients;

pub use addresses::{AddressRules, Classes, Masquerade};
pub use config::{CleanupConfig, EndOfHeaderAction};
pub use date::{Timestamp, mail_date, utc_digits};
pub use log::LogLine;
pub use lookup::{Lookup, LookupFailed, MapTable, Maps, NoTables};

#[cfg(test)]
mod testing;
