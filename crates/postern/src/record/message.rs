//! What was found in a message, as it is kept: a decision at its end is made again from that.

use super::stored::{Ask, Record};
use policy::{DkimResult, DkimVerdict, MessageFacts};
use serde::{Deserialize, Serialize};

/// What was found in a message: domains of authors, what is wrong with them, and its signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    authors: Vec<String>,
    author_problem: Option<String>,
    signatures: Vec<Signature>,
}

/// Result, domain, selector, algorithm, signature, reason.
type Signature = (u8, String, String, String, String, String);

impl From<&MessageFacts> for StoredMessage {
    fn from(found: &MessageFacts) -> Self {
        let signature = |it: &DkimVerdict| {
            let DkimVerdict { result, domain, selector, algorithm, signature, reason } = it.clone();
            (
                DkimResult::ALL.iter().position(|known| *known == result).unwrap_or_default() as u8,
                domain,
                selector,
                algorithm,
                signature,
                reason,
            )
        };
        Self {
            authors: found.authors.clone(),
            author_problem: found.author_problem.clone(),
            signatures: found.dkim.iter().map(signature).collect(),
        }
    }
}

impl From<&StoredMessage> for MessageFacts {
    fn from(kept: &StoredMessage) -> Self {
        let verdict = |(result, domain, selector, algorithm, signature, reason): &Signature| DkimVerdict {
            result: DkimResult::ALL.get(usize::from(*result)).copied().unwrap_or_default(),
            domain: domain.clone(),
            selector: selector.clone(),
            algorithm: algorithm.clone(),
            signature: signature.clone(),
            reason: reason.clone(),
        };
        Self {
            authors: kept.authors.clone(),
            author_problem: kept.author_problem.clone(),
            dkim: kept.signatures.iter().map(verdict).collect(),
        }
    }
}

impl<T> Record<T> {
    /// What was found in the message.
    pub fn message(&self) -> Option<MessageFacts> {
        self.asked.iter().find_map(|ask| if let Ask::Message(found) = ask { Some(found.into()) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_comes_back() {
        let verdict = |result: DkimResult| DkimVerdict {
            result,
            domain: "bank.example".into(),
            selector: "s".into(),
            algorithm: "rsa-sha256".into(),
            signature: "abc".into(),
            reason: "why".into(),
        };
        let found = MessageFacts {
            authors: vec!["a.example".into(), "b.example".into()],
            author_problem: Some("no".into()),
            dkim: DkimResult::ALL.map(verdict).into(),
        };
        let bytes = postcard::to_allocvec(&StoredMessage::from(&found)).expect("it can be written");
        let kept: StoredMessage = postcard::from_bytes(&bytes).expect("it can be read");
        assert_eq!(MessageFacts::from(&kept), found);
    }
}
