//! The cell of the decision record: what it adds to a session. Two servers, one that keeps it and one that doesn't, take
//! turns in short spells, since the difference is smaller than what a machine varies from minute to minute.

use std::time::Duration;

use super::cells::{Bench, CLIENTS};
use super::load::{Generator, Kind, Load};
use super::meter::cpu_seconds;
use super::peers::{Peer, Who, policy};
use super::table::Figure;

impl Bench {
    /// Refused and accepted sessions, with and without the record.
    pub fn record(&mut self, who: Who) -> Result<(), String> {
        for (kind, recipient, figure) in [
            (Kind::Reject, "u@foreign.test", Figure::RecordReject),
            (Kind::Accept, "u@relay.test", Figure::RecordAccept),
        ] {
            let (with, without) = (self.recording(who, true)?, self.recording(who, false)?);
            let (mut kept, mut not) = (Spells::default(), Spells::default());
            for spell in 0..if self.quick { 2 } else { 8 } {
                // who comes first changes, so that a machine that warms up or slows down favours neither
                for with_record in [spell % 2 == 0, spell % 2 == 1] {
                    let (peer, spells) = if with_record { (&with, &mut kept) } else { (&without, &mut not) };
                    self.spell(who, peer, (kind, recipient), spells)?;
                }
            }
            self.table.add(figure, who, (kept.each() / not.each() - 1.0) * 100.0);
        }
        Ok(())
    }

    fn recording(&self, who: Who, record: bool) -> Result<Peer, String> {
        let word = if record { "yes" } else { "no" };
        let settings = format!("postern_decision_record = {word}\n");
        self.site.start_with(who, &(policy(self.site.table()) + &settings), false)
    }

    fn spell(&mut self, who: Who, peer: &Peer, load: (Kind, &'static str), spells: &mut Spells) -> Result<(), String> {
        let (kind, recipient) = load;
        let load = Load { kind, port: peer.port, recipient, sources: CLIENTS, first: 0, at_a_time: 50 };
        let mut generator = Generator::new(load).map_err(|e| e.to_string())?;
        generator.run_for(Duration::from_millis(300)).map_err(|e| e.to_string())?;
        let (sessions, cpu) = (generator.outcome.sessions, cpu_seconds(peer.pid()));
        generator.run_for(Duration::from_millis(1000)).map_err(|e| e.to_string())?;
        spells.cpu += cpu_seconds(peer.pid()) - cpu;
        spells.sessions += generator.outcome.sessions - sessions;
        generator.wind_down().map_err(|e| e.to_string())?;
        self.errors(who, &generator.outcome.clone())
    }
}

/// What one server did in all its spells.
#[derive(Default)]
struct Spells {
    cpu: f64,
    sessions: u64,
}

impl Spells {
    /// CPU seconds a session.
    fn each(&self) -> f64 {
        self.cpu / self.sessions.max(1) as f64
    }
}
