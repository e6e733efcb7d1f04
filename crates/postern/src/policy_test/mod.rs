//! Policy tests: cases that a postmaster writes down (docs/test.md), played with the real session and policy engine.

mod coverage;
mod file;
mod recording;
mod report;
mod run;
mod world;
mod writing;

pub use coverage::Coverage;
pub use file::{Case, CaseFile, Expected};
pub use recording::{RecordedCase, recorded_case};
pub use report::{Report, junit, tap};
pub use run::{Failure, Outcome, Suite};
