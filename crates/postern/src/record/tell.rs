//! A kept decision, told as explanations are.

use super::stored::{Bound, dns_status, outcome_word};
use super::{Ask, Record, StoredAnswer};
use crate::explain::{Asked, DecisionStory, Exchange, StepStory, Story, entry_place};
use policy::{DnsStatus, MessageFacts};

impl Record<Bound> {
    /// What the client said at that moment.
    pub fn command(&self) -> String {
        let of = |address: &Option<String>| address.clone().unwrap_or_default();
        match &*self.stage {
            "RCPT" => format!("RCPT TO:<{}>", of(&self.recipient)),
            "MAIL" => format!("MAIL FROM:<{}>", of(&self.sender)),
            "VRFY" | "ETRN" => format!("{} {}", self.stage, of(&self.recipient)),
            "HELO" | "EHLO" => format!("{} {}", self.stage, of(&self.helo)),
            stage => stage.to_owned(),
        }
    }

    /// `name[address]`.
    pub fn client(&self) -> String {
        let address = self.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        format!("{}[{address}]", self.name)
    }

    /// Who wrote to whom.
    pub fn summary(&self) -> String {
        let of = |address: &Option<String>| address.clone().unwrap_or_default();
        format!("{} from=<{}> to=<{}>", self.client(), of(&self.sender), of(&self.recipient))
    }

    /// The step that refused, or permitted last.
    pub fn deciding(&self) -> Option<&super::Step<Bound>> {
        let wanted: &[u8] = if self.reply.is_some() { &[3, 8] } else { &[1, 2] };
        let found = self.steps.iter().rfind(|step| wanted.contains(&step.outcome))?;
        // A deferral that nothing else overtook: who asked for it had the last word.
        let settled = found.outcome == 3 && found.list() == "defer_if_permit" && found.restriction() == found.list();
        if settled { self.steps.iter().find(|step| step.outcome == 5) } else { Some(found) }
    }

    /// The whole story.
    pub fn story(&self) -> Story {
        let reply = self.reply.clone();
        let decided_by = self.deciding().filter(|_| reply.is_some()).map(|step| step.shown());
        let facts = [
            self.helo.as_ref().map(|helo| format!("{} {helo}", if self.esmtp { "EHLO" } else { "HELO" })),
            self.sender.as_ref().map(|sender| format!("MAIL FROM:<{sender}>")),
            self.login.as_ref().map(|(method, name)| format!("(logged in as {name}, {method})")),
            self.tls.as_ref().map(|(protocol, cipher)| format!("({protocol}, {cipher})")),
        ];
        let exchange =
            |command, reply, decisions| Exchange { command, reply, decisions, checks: Vec::new(), fate: Vec::new() };
        let quiet = |command| exchange(command, Vec::new(), Vec::new());
        let said = self.command();
        let mut exchanges: Vec<_> = facts.into_iter().flatten().filter(|command| *command != said).map(quiet).collect();
        let steps = self.steps.iter().map(|step| StepStory {
            list: step.list().to_owned(),
            restriction: step.restriction().to_owned(),
            place: step.place().map(str::to_owned),
            depth: usize::from(step.depth),
            outcome: outcome_word(step.outcome),
            detail: step.detail.clone().or_else(|| reply.clone().filter(|_| matches!(step.outcome, 3..=6))),
            why: None,
            asked: Vec::new(),
        });
        let decision = DecisionStory { steps: steps.collect(), answers: self.asked.iter().map(told).collect() };
        exchanges.push(exchange(said, reply.iter().cloned().collect(), vec![decision]));
        Story {
            service: self.service.to_string(),
            client: self.client(),
            exchanges,
            log: Vec::new(),
            verdict: reply.clone().unwrap_or_else(|| "accepted".to_owned()),
            accepted: reply.is_none(),
            decided_by,
            advice: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

fn told(ask: &Ask<Bound>) -> Asked {
    let of = |found: &Result<Option<String>, String>| match found {
        Ok(Some(value)) => format!("\"{value}\""),
        Ok(None) => "not found".to_owned(),
        Err(reason) => format!("failed: {reason}"),
    };
    match ask {
        Ask::Table(table, key, found) => Asked {
            question: format!("{table} \"{key}\""),
            answer: of(found),
            found: *found != Ok(None),
            place: found.as_ref().ok().and_then(|found| found.as_ref()).and_then(|_| entry_place(table, key)),
        },
        Ask::Dns(rtype, name, answer) => {
            let word = super::stored::TYPES.get(usize::from(*rtype)).map_or("?", |rtype| rtype.word());
            let (answer, found) = dns(answer);
            Asked { question: format!("DNS {word} {name}"), answer, found, place: None }
        }
        Ask::Message(found) => {
            let found = MessageFacts::from(found);
            let authors = match &found.author_problem {
                Some(problem) => problem.clone(),
                None => format!("author {}", found.authors.join(", ")),
            };
            let signers = found.dkim.iter().map(|it| format!(", DKIM {} of {}", it.result.word(), it.domain));
            let answer = authors + &signers.collect::<String>();
            Asked { question: "the message".to_owned(), answer, found: true, place: None }
        }
        Ask::Policy(service, action) => {
            let answer = action.as_ref().map_or_else(|reason| format!("failed: {reason}"), |a| format!("action={a}"));
            Asked { question: format!("policy service {service}"), answer, found: true, place: None }
        }
        Ask::Verify(address, told) => {
            Asked { question: format!("verify <{address}>"), answer: told.clone(), found: true, place: None }
        }
    }
}

fn dns(answer: &StoredAnswer) -> (String, bool) {
    let list = |texts: Vec<String>| (texts.join(", "), true);
    match answer {
        StoredAnswer::Missing(false) => ("no such name".to_owned(), false),
        StoredAnswer::Missing(true) => ("no such record".to_owned(), false),
        StoredAnswer::Failed(status, reason) => (reason.clone(), dns_status(*status) != DnsStatus::NotFound),
        StoredAnswer::Addresses(all) => list(all.iter().map(ToString::to_string).collect()),
        StoredAnswer::Mx(all) => list(all.iter().map(|(preference, host)| format!("{preference} {host}")).collect()),
        StoredAnswer::Names(all) => list(all.clone()),
        StoredAnswer::Texts(all) => list(all.iter().map(|text| format!("\"{text}\"")).collect()),
    }
}
