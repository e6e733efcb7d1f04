//! SPF: may this client send mail for this domain (RFC 7208)?
//!
//! [`check_host`] is a function of what is asked: DNS answers come from its caller, as for restrictions, and a missing one
//! suspends it. A domain's policy decides what is asked, so all of it is bounded: 10 terms that look something up, 2 of
//! them in vain, 10 mail exchangers or names a term.

mod check;
mod macros;
mod record;
#[cfg(test)]
mod suite_tests;

pub use check::{AskDns, check_host};

use std::net::IpAddr;

/// What a domain says about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpfResult {
    /// Nothing: it has no policy, or is no domain.
    None,
    /// It doesn't say.
    Neutral,
    /// The client may send for it.
    Pass,
    /// It may not.
    Fail,
    /// Probably not.
    SoftFail,
    /// The DNS doesn't answer now.
    TempError,
    /// Its policy makes no sense.
    PermError,
}

impl SpfResult {
    /// The word for it (RFC 8601, section 2.7.2).
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Who wants to send.
#[derive(Clone, Copy, Debug)]
pub struct SpfQuery<'a> {
    /// The client.
    pub client: IpAddr,
    /// The identity that is judged: `local@domain`, or a domain.
    pub sender: &'a str,
    /// What the client calls itself.
    pub helo: &'a str,
    /// Our name, for explanations.
    pub receiver: &'a str,
    /// Seconds since the epoch, for explanations.
    pub now: u64,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpfVerdict {
    /// In a word.
    pub result: SpfResult,
    /// Whose policy it is.
    pub domain: String,
    /// The term that matched, or what is wrong; may be empty.
    pub reason: String,
    /// What the domain's owner has to say about a failure, in printable ASCII.
    pub explanation: Option<String>,
}

/// Not a result: no answer yet, or an error that ends the check.
#[derive(Debug)]
enum Stop {
    Suspend(crate::Suspend),
    Temporary(String),
    Permanent(String),
}

impl From<crate::Suspend> for Stop {
    fn from(suspend: crate::Suspend) -> Self {
        Self::Suspend(suspend)
    }
}
