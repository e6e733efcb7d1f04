//! `main.cf` and `master.cf` as a language: what was written, where, and what it means.
//!
//! The crate reads no file by itself in its core types: [`Source`] texts come in, typed parameters and
//! [`Diagnostic`]s come out. See postconf(5) and master(5).

mod diagnostic;

pub use diagnostic::{Diagnostic, Severity, Span};
