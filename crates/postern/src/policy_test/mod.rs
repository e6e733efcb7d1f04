//! Policy tests: cases that a postmaster writes down (docs/test.md), played with the real session and policy engine.

mod coverage;
mod file;
mod report;
mod run;

pub use coverage::Coverage;
pub use file::{Case, CaseFile, Expected};
pub use report::{Report, junit, tap};
pub use run::{Failure, Outcome, Suite};
