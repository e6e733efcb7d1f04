//! The queue in a postmaster's hands (postqueue(1), postsuper(1)): list, hold, release, requeue, delete, flush. And logins
//! that a running server holds something against.
//!
//! Only one process has the spool. While a server runs it is the one, and it does what it is asked over a socket in its
//! own directory ([`socket`]), which only root and `mail_owner` can open. Otherwise the command opens the spool itself
//! ([`client`]). What is done is the same ([`steward`]). A line is a request; the answer is lines up to `end`.

mod client;
mod listing;
mod logins;
mod socket;
mod steward;

pub use client::{Access, Problem};
pub use listing::{Listed, json, pretty};
pub use logins::Logins;
pub use socket::{Control, NAME};
pub use steward::Steward;

use queue::QueueId;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A queue that a message is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// It is being delivered.
    Active = 1,
    /// It waits for room in the active queue.
    Incoming = 2,
    /// It waits for its next try.
    Deferred = 4,
    /// It waits for the postmaster.
    Hold = 8,
}

/// In the order of listings.
pub const QUEUES: [Queue; 4] = [Queue::Active, Queue::Incoming, Queue::Deferred, Queue::Hold];

impl Queue {
    /// Postfix's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Incoming => "incoming",
            Self::Deferred => "deferred",
            Self::Hold => "hold",
        }
    }
}

/// Some of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues(u8);

impl Queues {
    /// All of them.
    pub const ALL: Self = Self(15);

    /// These.
    pub fn of(queues: &[Queue]) -> Self {
        Self(queues.iter().fold(0, |bits, queue| bits | *queue as u8))
    }

    /// Is it one of them?
    pub const fn has(self, queue: Queue) -> bool {
        self.0 & queue as u8 != 0
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// What is to be done to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// `postsuper -d`.
    Delete,
    /// `postsuper -h`.
    Hold,
    /// `postsuper -H`.
    Release,
    /// `postsuper -r`.
    Requeue,
    /// `postqueue -i`.
    Try,
}

const DEEDS: [(Deed, &str); 5] = [
    (Deed::Delete, "delete"),
    (Deed::Hold, "hold"),
    (Deed::Release, "release"),
    (Deed::Requeue, "requeue"),
    (Deed::Try, "try"),
];

impl Deed {
    /// From which queues messages are taken for it.
    pub fn queues(self) -> Queues {
        match self {
            Self::Delete | Self::Requeue => Queues::ALL,
            Self::Hold => Queues::of(&[Queue::Incoming, Queue::Active, Queue::Deferred]),
            Self::Release => Queues::of(&[Queue::Hold]),
            Self::Try => Queues::of(&[Queue::Deferred]),
        }
    }

    /// What is said of a message that it was done to.
    pub const fn done(self) -> &'static str {
        match self {
            Self::Delete => "removed",
            Self::Hold => "placed on hold",
            Self::Release => "released from hold",
            Self::Requeue => "requeued",
            Self::Try => "scheduled for delivery",
        }
    }
}

/// Something that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// All messages.
    List,
    /// Try all that is deferred.
    Flush,
    /// What was done so far has to outlive a crash.
    Commit,
    /// Do this to a message, or to all, in some queues.
    Do(Deed, Option<QueueId>, Queues),
    /// Logins whose mail is held.
    Logins,
    /// Hold nothing against this login any more, nor, if given, against clients from there.
    ReleaseLogin(String, Option<IpAddr>),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => f.write_str("list"),
            Self::Flush => f.write_str("flush"),
            Self::Commit => f.write_str("commit"),
            Self::Logins => f.write_str("logins"),
            Self::ReleaseLogin(name, None) => write!(f, "release-login - {name}"),
            Self::ReleaseLogin(name, Some(address)) => write!(f, "release-login {address} {name}"),
            Self::Do(deed, id, queues) => {
                let word = DEEDS.iter().find(|(known, _)| known == deed).map_or("", |(_, word)| word);
                // No queue id has a star.
                let id = id.as_ref().map_or("*", QueueId::as_str);
                write!(f, "{word} {id} {}", queues.0)
            }
        }
    }
}

impl FromStr for Request {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unknown = || format!("unknown request: {line}");
        // A name may have spaces.
        if let Some((address, name)) = line.strip_prefix("release-login ").and_then(|rest| rest.split_once(' ')) {
            let address = if address == "-" { None } else { Some(address.parse().map_err(|_| unknown())?) };
            return Ok(Self::ReleaseLogin(name.to_owned(), address));
        }
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["list"] => Ok(Self::List),
            ["flush"] => Ok(Self::Flush),
            ["commit"] => Ok(Self::Commit),
            ["logins"] => Ok(Self::Logins),
            [word, id, queues] => {
                let (deed, _) = DEEDS.iter().find(|(_, known)| known == word).ok_or_else(unknown)?;
                let id = if *id == "*" { None } else { Some(id.parse().map_err(|_| unknown())?) };
                let queues = queues.parse().ok().filter(|bits| *bits <= Queues::ALL.0).ok_or_else(unknown)?;
                Ok(Self::Do(*deed, id, Queues(queues)))
            }
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests;
