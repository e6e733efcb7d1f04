//! `main.cf` and `master.cf` as a language: what was written, where, and what it means.
//!
//! The crate does no I/O: texts come in, typed parameters and [`Diagnostic`]s come out. [`MainCf`] and
//! [`MasterCf`] are what was written; [`Parameters`] is what it means; [`registry`] knows every parameter;
//! [`postconf`] prints and edits it all as postconf(1) does. See postconf(5) and master(5).

mod diagnostic;
mod expand;
mod host;
mod lint;
pub mod list;
mod logical;
mod main_cf;
mod master_cf;
mod match_list;
mod names;
mod parameters;
mod places;
pub mod postconf;
pub mod registry;
mod table_attributes;
mod table_ref;
mod usage;
pub mod value;

pub use diagnostic::{Diagnostic, Severity, Span};
pub use host::HostFacts;
pub use lint::lint;
pub use main_cf::{Definition, Joint, MainCf};
pub use master_cf::{MasterCf, Override, Service, ServiceType, Wakeup};
pub use match_list::{MatchElement, MatchList, Pattern};
pub use parameters::Parameters;
pub use places::Places;
pub use table_attributes::table_attributes;
pub use table_ref::TableRef;
