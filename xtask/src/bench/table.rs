//! The figures, their targets, and the table of both.

use std::collections::BTreeMap;

use super::corpus::Corpus;
use super::peers::Who;

/// What is measured of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Server CPU of a refused session, µs.
    RejectCpu,
    /// Refused sessions a second.
    RejectRate,
    /// Server CPU of an accepted message, µs.
    AcceptCpu,
    /// Messages a second.
    AcceptRate,
    /// Memory of an idle session, KiB.
    IdleMemory,
    /// How much of it came back afterwards, %.
    IdleFreed,
    /// Reply to RCPT, nothing cached, ms.
    ColdRcpt,
    /// Whole session, nothing cached, ms.
    ColdSession,
    /// Reply to RCPT, all cached, ms.
    WarmRcpt,
    /// Whole session, all cached, ms.
    WarmSession,
    /// DNS questions of a session, nothing cached.
    ColdQuestions,
    /// DNS questions of a session, all cached.
    WarmQuestions,
    /// From the start to the first greeting, s.
    Start,
    /// CPU of a look-up, µs.
    Lookup(Corpus),
    /// CPU of loading a table, ms.
    Load(Corpus),
    /// Server CPU of a message with few header checks, µs.
    HeadersFew,
    /// Server CPU of a message with many header checks, µs.
    HeadersMany,
    /// Server CPU of a refused session with large access tables, µs.
    AccessCpu,
    /// From the start to the first greeting with large access tables, s.
    AccessStart,
    /// Server CPU that a query of a policy service adds, µs.
    PolicyCpu,
    /// Memory of a session that waits for a silent policy service, KiB.
    PolicyMemory,
    /// Threads that such sessions add.
    PolicyThreads,
    /// Server CPU of a session with a handshake of TLS 1.3, ECDSA, µs.
    TlsEcdsaCpu,
    /// The same with RSA.
    TlsRsaCpu,
    /// With TLS 1.2, ECDSA.
    TlsOldEcdsaCpu,
    /// With TLS 1.2, RSA.
    TlsOldRsaCpu,
    /// Sessions with a handshake a second, ECDSA.
    TlsRate,
    /// Memory of an idle session under TLS, KiB.
    TlsIdleMemory,
    /// Server CPU that a login at Dovecot adds, Dovecot's not counted, µs.
    LoginDovecot,
    /// The same at a table with SHA-crypt, the hash included.
    LoginShaCrypt,
    /// The same with Argon2.
    LoginArgon2,
    /// What the decision record adds to the server CPU of a refused session, %.
    RecordReject,
    /// The same of an accepted message.
    RecordAccept,
    /// Decisions that `postern replay` makes again in a second.
    ReplayRate,
    /// Cases that `postern test` plays in a second, its start included.
    CaseRate,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// Postfix's figure is that many times ours.
    BelowPostfix(f64),
    /// Our figure is that many times Postfix's.
    AbovePostfix(f64),
    /// Our figure is no less.
    AtLeast(f64),
    /// Between these.
    Between(f64, f64),
    /// For information.
    None,
}

impl Figure {
    fn describe(self) -> (String, Target) {
        let (text, target) = match self {
            Self::Lookup(corpus) | Self::Load(corpus) => return self.describe_corpus(corpus),
            Self::RejectCpu => ("reject: server CPU, µs a session", Target::BelowPostfix(8.0)),
            Self::RejectRate => ("reject: sessions/s", Target::None),
            Self::AcceptCpu => ("accept 1 KiB: server CPU, µs a message", Target::BelowPostfix(8.0)),
            Self::AcceptRate => ("accept 1 KiB: messages/s", Target::AbovePostfix(4.0)),
            Self::IdleMemory => ("idle: own memory, KiB a session", Target::Between(0.0, 8.0)),
            Self::IdleFreed => ("idle: given back afterwards, %", Target::None),
            Self::ColdRcpt => ("dns30 cold: RCPT reply, ms", Target::Between(30.0, 40.0)),
            Self::ColdSession => ("dns30 cold: session, ms", Target::Between(30.0, 65.0)),
            Self::WarmRcpt => ("dns30 warm: RCPT reply, ms", Target::None),
            Self::WarmSession => ("dns30 warm: session, ms", Target::Between(0.0, 1.0)),
            Self::ColdQuestions => ("dns30 cold: DNS questions a session", Target::None),
            Self::WarmQuestions => ("dns30 warm: DNS questions a session", Target::None),
            Self::Start => ("start with a text table of 100,000 lines, s", Target::Between(0.0, 0.5)),
            Self::HeadersFew => ("10 header_checks: server CPU, µs a message", Target::BelowPostfix(1.0)),
            Self::HeadersMany => ("10000 header_checks: server CPU, µs a message", Target::BelowPostfix(50.0)),
            Self::AccessCpu => ("large access maps: server CPU, µs a session", Target::BelowPostfix(50.0)),
            Self::AccessStart => ("large access maps: start, s", Target::None),
            Self::PolicyCpu => ("policy query: server CPU it adds, µs", Target::Between(0.0, 60.0)),
            Self::PolicyMemory => ("silent policy service: KiB a waiting session", Target::Between(0.0, 20.0)),
            Self::PolicyThreads => ("silent policy service: threads for all", Target::Between(0.0, 0.0)),
            Self::TlsEcdsaCpu => ("tls 1.3, ECDSA P-256: CPU, µs a session", Target::BelowPostfix(1.5)),
            Self::TlsRsaCpu => ("tls 1.3, RSA 2048: CPU, µs a session", Target::BelowPostfix(1.5)),
            Self::TlsOldEcdsaCpu => ("tls 1.2, ECDSA P-256: CPU, µs a session", Target::BelowPostfix(1.5)),
            Self::TlsOldRsaCpu => ("tls 1.2, RSA 2048: CPU, µs a session", Target::BelowPostfix(1.5)),
            Self::TlsRate => ("tls 1.3, ECDSA P-256: sessions/s", Target::None),
            Self::LoginDovecot => ("login at Dovecot: server CPU it adds, µs", Target::BelowPostfix(1.0)),
            Self::LoginShaCrypt => ("login, SHA512-crypt 1000: CPU it adds, µs", Target::None),
            Self::LoginArgon2 => ("login, Argon2id 64 KiB: CPU it adds, µs", Target::None),
            Self::TlsIdleMemory => ("tls idle: own memory, KiB a session", Target::None),
            Self::RecordReject => ("decision record, reject: CPU it adds, %", Target::Between(0.0, 5.0)),
            Self::ReplayRate => ("postern replay: decisions a CPU second", Target::AtLeast(50_000.0)),
            Self::CaseRate => ("postern test: cases a CPU second", Target::AtLeast(5_000.0)),
            Self::RecordAccept => ("decision record, accept: CPU it adds, %", Target::Between(0.0, 5.0)),
        };
        (text.to_owned(), target)
    }

    fn describe_corpus(self, corpus: Corpus) -> (String, Target) {
        let (kind, count) = corpus.describe();
        if matches!(self, Self::Load(_)) {
            return (format!("load {kind}, {count} entries: CPU, ms"), Target::None);
        }
        let target = if count >= 10_000 && kind != "texthash" { 50.0 } else { 1.0 };
        (format!("look-up {kind}, {count} entries: CPU, µs"), Target::BelowPostfix(target))
    }
}

/// All figures, of all rounds.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<(Figure, Who), Vec<f64>>);

impl Table {
    /// Adds a figure of one round.
    pub fn add(&mut self, figure: Figure, who: Who, value: f64) {
        self.0.entry((figure, who)).or_default().push(value);
    }

    fn median(&self, figure: Figure, who: Who) -> Option<f64> {
        let mut values = self.0.get(&(figure, who))?.clone();
        values.sort_by(f64::total_cmp);
        Some(values[values.len() / 2])
    }

    /// Is the target held? `None` when there is none or it can't be told.
    fn verdict(&self, figure: Figure) -> (Option<bool>, String) {
        let (ours, postfix) = (self.median(figure, Who::Postern), self.median(figure, Who::Postfix));
        let (Some(ours), (_, target)) = (ours, figure.describe()) else { return (None, String::new()) };
        match target {
            Target::BelowPostfix(times) => {
                // a difference of two measurements that noise has made negative tells nothing
                let held = postfix.filter(|_| ours > 0.0).map(|p| p >= ours * times);
                (held, format!("≤ 1/{times} of Postfix"))
            }
            Target::AbovePostfix(times) => (postfix.map(|p| ours >= p * times), format!("≥ {times} × Postfix")),
            Target::AtLeast(low) => (Some(ours >= low), format!("≥ {low}")),
            Target::Between(low, high) if low > 0.0 => (Some((low..=high).contains(&ours)), format!("{low}–{high}")),
            Target::Between(_, high) => (Some(ours <= high), format!("≤ {high}")),
            Target::None => (None, String::new()),
        }
    }

    /// Prints medians, ratios and targets; did all targets hold?
    pub fn print(&self, who: &[Who]) -> bool {
        let mut all = true;
        let names: String = who.iter().map(|w| format!("{:>22}", w.name())).collect();
        println!("\n{:44}{names}{:>9}  target", "median (smallest–largest)", "ratio");
        let figures: std::collections::BTreeSet<Figure> = self.0.keys().map(|(figure, _)| *figure).collect();
        for figure in figures {
            let columns: String = who.iter().map(|w| format!("{:>22}", self.column(figure, *w))).collect();
            let ratio = match (self.median(figure, Who::Postern), self.median(figure, Who::Postfix)) {
                (Some(ours), Some(theirs)) if ours.min(theirs) > 0.0 => {
                    format!("{:.1}", (theirs / ours).max(ours / theirs))
                }
                _ => "–".to_owned(),
            };
            let (held, target) = self.verdict(figure);
            let word = held.map_or("", |h| if h { ": held" } else { ": MISSED" });
            all &= held != Some(false);
            println!("{:44}{columns}{ratio:>9}  {target}{word}", figure.describe().0);
        }
        println!("{}", if all { "all targets that could be measured are held" } else { "some targets are missed" });
        all
    }

    fn column(&self, figure: Figure, who: Who) -> String {
        let Some(values) = self.0.get(&(figure, who)) else { return "–".to_owned() };
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        let middle = self.median(figure, who).unwrap_or(f64::NAN);
        if values.len() > 1 { format!("{} ({}–{})", short(middle), short(low), short(high)) } else { short(middle) }
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let mut table = Table::default();
        for (ours, theirs) in [(60.0, 700.0), (100.0, 799.0), (70.0, 800.0)] {
            table.add(Figure::RejectCpu, Who::Postern, ours);
            table.add(Figure::RejectCpu, Who::Postfix, theirs);
        }
        assert_eq!(table.verdict(Figure::RejectCpu), (Some(true), "≤ 1/8 of Postfix".to_owned()));
        assert_eq!(table.column(Figure::RejectCpu, Who::Postern), "70.0 (60.0–100)");
        table.add(Figure::AcceptRate, Who::Postern, 3999.0);
        assert_eq!(table.verdict(Figure::AcceptRate).0, None);
        table.add(Figure::AcceptRate, Who::Postfix, 1000.0);
        assert_eq!(table.verdict(Figure::AcceptRate).0, Some(false));
        table.add(Figure::HeadersMany, Who::Postern, -1.0);
        table.add(Figure::HeadersMany, Who::Postfix, 1.0);
        assert_eq!(table.verdict(Figure::HeadersMany).0, None);
        table.add(Figure::ColdRcpt, Who::Postern, 29.0);
        assert_eq!(table.verdict(Figure::ColdRcpt), (Some(false), "30–40".to_owned()));
    }
}
