//! What was asked and answered in a transaction: cache, explanation and record in one.

use crate::question::{Answer, Question};
use std::collections::HashMap;

/// The world's quick answers: what needs no waiting (tables in memory, cached DNS).
pub trait World {
    /// The answer, or `None` when the driver has to go and fetch it.
    fn answer(&mut self, question: &Question) -> Option<Answer>;
}

/// The evaluation cannot go on before the ledger's pending question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspend;

/// All questions and answers of a session or transaction: explanation, recording and cache in one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// Where each question is, once there are too many to go through.
    index: HashMap<Question, usize>,
    pending: Vec<Question>,
    /// The entries that were asked for, in order.
    journal: Journal,
    /// There are entries that answer no more.
    has_forgotten: bool,
}

/// Places of entries, in the order in which they were asked for.
#[derive(Clone, Debug, Default)]
enum Journal {
    /// Nobody wants to know.
    #[default]
    None,
    /// All of them, also again.
    Everything(Vec<usize>),
    /// Those whose answer says something, once.
    Findings(Vec<usize>),
}

impl Journal {
    fn entries(&self) -> &[usize] {
        match self {
            Self::None => &[],
            Self::Everything(entries) | Self::Findings(entries) => entries,
        }
    }

    fn clear(&mut self) {
        if let Self::Everything(entries) | Self::Findings(entries) = self {
            // Their room is for the next ones.
            entries.clear();
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    question: Question,
    answer: Answer,
    /// The world knew it at once.
    came_at_once: bool,
    /// It answers no more; the journal may still name it.
    forgotten: bool,
}

impl Entry {
    /// Does the answer say something? A key that isn't in a table doesn't, unless that is one that waits for somebody.
    fn is_finding(&self) -> bool {
        match self.answer {
            Answer::Table(Ok(None)) => !self.came_at_once,
            Answer::Done => false,
            _ => true,
        }
    }
}

impl Ledger {
    /// More questions than this in one transaction are refused (a loop in somebody's DNS or tables).
    pub const CEILING: usize = 20_000;

    /// Up to here a walk is quicker than a hash.
    const WALK: usize = 24;

    /// The answer, if it is here.
    pub fn get(&self, question: &Question) -> Option<&Answer> {
        self.place(question).map(|at| &self.entries[at].answer)
    }

    fn place(&self, question: &Question) -> Option<usize> {
        if self.entries.len() > Self::WALK {
            return self.index.get(question).copied();
        }
        self.entries.iter().rposition(|entry| entry.question == *question && !entry.forgotten)
    }

    /// Enter an answer; it replaces an older one to the same question.
    pub fn put(&mut self, question: Question, answer: Answer) {
        self.pending.retain(|q| *q != question);
        self.enter(question, answer, false);
    }

    fn enter(&mut self, question: Question, answer: Answer, came_at_once: bool) {
        self.entries.push(Entry { question, answer, came_at_once, forgotten: false });
        if self.entries.len() > Self::WALK {
            let from = if self.index.is_empty() { 0 } else { self.entries.len() - 1 };
            self.reindex(from);
        }
    }

    fn reindex(&mut self, from: usize) {
        for (at, entry) in self.entries.iter().enumerate().skip(from).filter(|(_, entry)| !entry.forgotten) {
            self.index.insert(entry.question.clone(), at);
        }
    }

    /// Forget one answer.
    pub fn forget(&mut self, question: &Question) {
        for entry in self.entries.iter_mut().filter(|entry| entry.question == *question) {
            entry.forgotten = true;
            self.has_forgotten = true;
        }
        self.index.remove(question);
        if self.journal.entries().is_empty() {
            self.sweep();
        }
    }

    /// Nobody names entries by their places: those that were forgotten can go.
    fn sweep(&mut self) {
        if !std::mem::take(&mut self.has_forgotten) {
            return;
        }
        self.entries.retain(|entry| !entry.forgotten);
        self.index.clear();
        if self.entries.len() > Self::WALK {
            self.reindex(0);
        }
    }

    /// Have there been too many questions?
    pub fn is_full(&self) -> bool {
        self.entries.len() >= Self::CEILING
    }

    /// What waits for an answer.
    pub fn pending(&self) -> &[Question] {
        &self.pending
    }

    /// Take what waits for an answer.
    pub fn take_pending(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.pending)
    }

    /// A ledger that also notes every question in the order of asking, for explanations.
    pub fn with_journal() -> Self {
        Self { journal: Journal::Everything(Vec::new()), ..Self::default() }
    }

    /// A ledger that notes those questions whose answers say something, each once, for the record of decisions.
    pub fn with_findings() -> Self {
        Self { journal: Journal::Findings(Vec::new()), ..Self::default() }
    }

    /// How many questions the journal has.
    pub fn asked(&self) -> usize {
        self.journal.entries().len()
    }

    /// Take the journal, in order, with answers.
    pub fn take_journal(&mut self) -> Vec<(Question, Answer)> {
        if self.journal.entries().is_empty() {
            return Vec::new();
        }
        let entries = self.journal.entries().iter().filter_map(|&at| self.entries.get(at));
        let taken = entries.map(|entry| (entry.question.clone(), entry.answer.clone())).collect();
        self.drop_journal();
        taken
    }

    /// Begin the journal anew.
    pub fn drop_journal(&mut self) {
        self.journal.clear();
        self.sweep();
    }

    fn note(&mut self, at: usize) {
        match &mut self.journal {
            Journal::None => {}
            Journal::Everything(entries) => entries.push(at),
            Journal::Findings(entries) => {
                if self.entries[at].is_finding() && !entries.contains(&at) {
                    entries.push(at);
                }
            }
        }
    }

    /// Forget all answers (a new transaction).
    pub fn clear(&mut self) {
        self.entries.clear();
        self.index.clear();
        self.pending.clear();
        self.journal.clear();
    }
}

/// A restriction's way to ask: ledger first, then the world's quick answer, else suspend.
pub struct Ask<'a> {
    /// What is known.
    pub ledger: &'a mut Ledger,
    /// What can be known at once.
    pub world: &'a mut dyn World,
}

impl Ask<'_> {
    /// The answer, or [`Suspend`] with the question left pending in the ledger.
    pub fn get(&mut self, question: Question) -> Result<Answer, Suspend> {
        if let Some(at) = self.ledger.place(&question) {
            self.ledger.note(at);
            return Ok(self.ledger.entries[at].answer.clone());
        }
        if self.ledger.is_full() {
            return Err(Suspend);
        }
        if let Some(answer) = self.world.answer(&question) {
            self.ledger.pending.retain(|q| *q != question);
            self.ledger.enter(question, answer.clone(), true);
            self.ledger.note(self.ledger.entries.len() - 1);
            return Ok(answer);
        }
        if !self.ledger.pending.contains(&question) {
            self.ledger.pending.push(question);
        }
        Err(Suspend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::TableId;
    use std::sync::Arc;

    #[test]
    fn a_ledger_finds_few_and_many_entries() {
        let question = |ordinal| Question::Sleep { seconds: 1, ordinal };
        let answer = |text: String| Answer::Table(Ok(Some(text.into())));
        let mut ledger = Ledger::with_journal();
        for ordinal in 0..100 {
            assert_eq!(ledger.get(&question(ordinal)), None);
            ledger.put(question(ordinal), answer(ordinal.to_string()));
            for earlier in 0..=ordinal {
                assert_eq!(ledger.get(&question(earlier)), Some(&answer(earlier.to_string())));
            }
        }
        ledger.put(question(7), answer("again".into()));
        assert_eq!(ledger.get(&question(7)), Some(&answer("again".into())));
        ledger.forget(&question(7));
        assert_eq!(ledger.get(&question(7)), None);
        assert_eq!(ledger.get(&question(99)), Some(&answer("99".into())));
        assert_eq!(ledger.entries.len(), 99);
        ledger.clear();
        assert_eq!(ledger.get(&question(99)), None);
    }

    /// Answers questions about tables with their keys, but for the empty one, others not.
    struct Echo;

    impl World for Echo {
        fn answer(&mut self, question: &Question) -> Option<Answer> {
            match question {
                Question::Table { key, .. } => {
                    Some(Answer::Table(Ok(Some(key.as_str().into()).filter(|key: &Arc<str>| !key.is_empty()))))
                }
                _ => None,
            }
        }
    }

    fn table(key: &str) -> Question {
        Question::Table { table: TableId(0), key: key.to_owned() }
    }

    fn told(asked: Vec<(Question, Answer)>) -> Vec<String> {
        let words = asked.into_iter().map(|(question, _)| match question {
            Question::Table { key, .. } => key,
            other => format!("{other:?}"),
        });
        words.collect()
    }

    #[test]
    fn findings_are_what_says_something() {
        let wait = Question::Sleep { seconds: 1, ordinal: 0 };
        let mut ledger = Ledger::with_findings();
        ledger.put(wait.clone(), Answer::Done);
        // From a table that waits for somebody: that it has nothing isn't known otherwise.
        ledger.put(table("c"), Answer::Table(Ok(None)));
        let mut ask = Ask { ledger: &mut ledger, world: &mut Echo };
        for question in [table("a"), wait, table(""), table("b"), table("a"), table("c"), table("")] {
            assert!(ask.get(question).is_ok());
        }
        ledger.forget(&table("b"));
        assert_eq!(told(ledger.take_journal()), ["a", "b", "c"]);
        assert_eq!((ledger.asked(), ledger.entries.len()), (0, 4));
        assert_eq!(told(ledger.take_journal()), [""; 0]);
    }

    #[test]
    fn a_journal_has_what_was_forgotten_since() {
        let wait = Question::Sleep { seconds: 1, ordinal: 0 };
        let mut ledger = Ledger::with_journal();
        for _ in 0..2 {
            ledger.put(wait.clone(), Answer::Done);
            let mut ask = Ask { ledger: &mut ledger, world: &mut Echo };
            for question in [table("a"), wait.clone(), table("b"), table("a")] {
                assert!(ask.get(question).is_ok());
            }
            ask.ledger.forget(&wait);
            assert_eq!(ask.get(wait.clone()), Err(Suspend));
            assert_eq!((ledger.asked(), ledger.entries.len()), (4, 3));
            assert_eq!(told(ledger.take_journal()), ["a", "Sleep { seconds: 1, ordinal: 0 }", "b", "a"]);
            assert_eq!((ledger.asked(), ledger.entries.len()), (0, 2));
        }
    }
}
