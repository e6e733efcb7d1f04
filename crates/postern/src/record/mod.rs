//! The decision record: every decision with its facts, its steps and the answers it rests on, kept for a while.
//!
//! Decides what is kept and how it is written. Sessions hand their decisions over, in a form of some hundred bytes; a thread
//! of its own writes them. What can't be kept is counted and lost: the record never holds mail up.

mod code;
mod message;
mod reader;
mod recorder;
mod search;
mod segment;
mod stored;
mod tell;
#[cfg(test)]
mod tests;
mod texts;

pub use code::Code;
pub use reader::Reader;
pub use recorder::{Recorder, Settings, Watcher};
pub use search::Search;
pub use stored::{
    Ask, Bound, Record, Step, StoredAnswer, TYPES, Unbound, dns_status, outcome_word, peer_status, service_name,
};
pub use texts::Dictionary;

use crate::daemon::site::{Service, Site};
use policy::{Answer, Decision, Facts, Question};
use smtp::server::Moment;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the record of a configuration is.
pub fn directory(parameters: &config::Parameters) -> PathBuf {
    let path = PathBuf::from(parameters.get("data_directory")).join("decisions");
    std::path::absolute(&path).unwrap_or(path)
}

/// A decision on its way into the record.
pub struct Made {
    /// Its code.
    pub code: Code,
    /// When, in milliseconds since the epoch.
    pub at: u64,
    /// The session, as a number of its own.
    pub session: u64,
    /// Which MAIL of the session it belongs to, from 1.
    pub transaction: u32,
    /// The configuration.
    pub site: Arc<Site>,
    /// The service.
    pub service: Arc<Service>,
    /// The moment.
    pub moment: Moment,
    /// The command word.
    pub stage: &'static str,
    /// What was known.
    pub facts: Facts,
    /// What it came to.
    pub decision: Decision,
    /// What was asked.
    pub asked: Vec<(Question, Answer)>,
}
