//! Who has sent a message: its signatures are judged with their keys, and what is known is told in a header.

mod header;

pub use header::authentication_results;

use message::dkim::Collected;
use policy::{Answer, Ask, DnsAnswer, MessageFacts, Question, RecordType};
use std::sync::Arc;

/// What is known of a message, and whether all keys were to be had at once; if not, they are pending in the ledger.
pub fn judge(collected: &Collected, now: u64, ask: &mut Ask<'_>) -> (MessageFacts, bool) {
    let mut whole = true;
    let dkim = collected.signatures.iter().map(|signature| {
        let answer = signature.key_name().and_then(|name| {
            let found = key(&name, ask);
            whole &= found.is_some();
            found
        });
        signature.verify(answer.as_deref(), now)
    });
    let dkim = dkim.collect();
    let author_problem = collected.author_problem.map(str::to_owned);
    (MessageFacts { authors: collected.authors.clone(), author_problem, dkim }, whole)
}

fn key(name: &str, ask: &mut Ask<'_>) -> Option<Arc<DnsAnswer>> {
    match ask.get(Question::Dns { rtype: RecordType::Txt, name: name.into() }) {
        Ok(Answer::Dns(answer)) => Some(answer),
        Ok(_) => Some(Arc::new(DnsAnswer::failed(policy::DnsStatus::Retry, "answered with something else"))),
        Err(_) => None,
    }
}
