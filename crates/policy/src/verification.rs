//! What is known of an address that somebody was asked about (verify(8), ADDRESS_VERIFICATION_README).

use std::sync::Arc;
use std::time::Duration;

/// How an address does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressStatus {
    /// Mail for it is taken.
    Deliverable,
    /// Nothing can be said for now: the probe met a temporary error.
    Deferred,
    /// Mail for it is refused.
    Undeliverable,
    /// The probe is under way.
    InProgress,
    /// Nobody is there to say anything.
    Unavailable,
}

/// What is said while a probe is under way.
const IN_PROGRESS: &str = "Address verification in progress";

const WORDS: [(AddressStatus, &str); 5] = [
    (AddressStatus::Deliverable, "deliverable"),
    (AddressStatus::Deferred, "deferred"),
    (AddressStatus::Undeliverable, "undeliverable"),
    (AddressStatus::InProgress, "in progress"),
    (AddressStatus::Unavailable, "unavailable"),
];

impl AddressStatus {
    /// The word for it.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(status, _)| *status == self).map_or("", |(_, word)| word)
    }
}

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// How it does.
    pub status: AddressStatus,
    /// Why, in the words of whoever was asked.
    pub text: Arc<str>,
}

impl Verification {
    /// With a reason.
    pub fn new(status: AddressStatus, text: impl Into<Arc<str>>) -> Self {
        Self { status, text: text.into() }
    }

    /// A probe is under way.
    pub fn in_progress() -> Self {
        Self::new(AddressStatus::InProgress, IN_PROGRESS)
    }

    /// Nobody can be asked.
    pub fn unavailable() -> Self {
        Self::new(AddressStatus::Unavailable, "")
    }

    /// `deliverable`, `undeliverable: why`, `deferred: why`, `in progress`, `unavailable`: as files have it.
    pub fn told(&self) -> String {
        match self.status {
            AddressStatus::Deferred | AddressStatus::Undeliverable => format!("{}: {}", self.status.word(), self.text),
            status => status.word().to_owned(),
        }
    }

    /// The other way round; `None` for what is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let (word, why) = text.split_once(':').unwrap_or((text, ""));
        let (status, _) = WORDS.iter().find(|(_, known)| *known == word.trim())?;
        match status {
            AddressStatus::InProgress => Some(Self::in_progress()),
            status => Some(Self::new(*status, why.trim())),
        }
    }
}

/// How long a client is let wait for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patience {
    /// `address_verify_poll_count`: how often to look.
    pub polls: u32,
    /// `address_verify_poll_delay`: how long in between.
    pub delay: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        for (told, status, text) in [
            ("deliverable", AddressStatus::Deliverable, ""),
            ("deferred: host a[1] said: 450 x", AddressStatus::Deferred, "host a[1] said: 450 x"),
            ("undeliverable: unknown user: \"u\"", AddressStatus::Undeliverable, "unknown user: \"u\""),
            ("in progress", AddressStatus::InProgress, IN_PROGRESS),
            ("unavailable", AddressStatus::Unavailable, ""),
        ] {
            let found = Verification::parse(told).unwrap();
            assert_eq!((found.status, &*found.text), (status, text), "{told}");
            assert_eq!(found.told(), told);
        }
        for text in ["", "bounced", "true", ": x"] {
            assert_eq!(Verification::parse(text), None, "{text}");
        }
    }
}
