//! The cell of the decision record: what it adds to a session. Two servers, one that keeps it and one that doesn't, take
//! turns in short spells, since the difference is smaller than what a machine varies from minute to minute; the median of
//! many pairs of neighbours counts.

use std::time::Duration;

use super::cells::{Bench, CLIENTS};
use super::load::{Generator, Kind, Load};
use super::meter::thread_seconds;
use super::peers::{Peer, Who, policy};
use super::table::Figure;

/// So many pairs of spells.
const PAIRS: usize = 25;
/// Until a spell runs evenly.
const WARM_UP: Duration = Duration::from_millis(60);
/// What is measured of it.
const SPELL: Duration = Duration::from_millis(340);

impl Bench {
    /// Refused and accepted sessions, with and without the record.
    pub fn record(&mut self, who: Who) -> Result<(), String> {
        for (kind, recipient, figure) in [
            (Kind::Reject, "u@foreign.test", Figure::RecordReject),
            (Kind::Accept, "u@relay.test", Figure::RecordAccept),
        ] {
            let (with, without) = (self.recording(who, true)?, self.recording(who, false)?);
            let mut shares = Vec::new();
            for pair in 0..if self.quick { 2 } else { PAIRS } {
                // Who comes first changes, so that a machine that warms up or slows down favours neither.
                let (kept, not);
                if pair % 2 == 0 {
                    kept = self.spell(who, &with, (kind, recipient))?;
                    not = self.spell(who, &without, (kind, recipient))?;
                } else {
                    not = self.spell(who, &without, (kind, recipient))?;
                    kept = self.spell(who, &with, (kind, recipient))?;
                }
                shares.push((kept / not - 1.0) * 100.0);
            }
            shares.sort_by(f64::total_cmp);
            self.table.add(figure, who, shares[shares.len() / 2]);
        }
        Ok(())
    }

    fn recording(&self, who: Who, record: bool) -> Result<Peer, String> {
        let word = if record { "yes" } else { "no" };
        let settings = format!("postern_decision_record = {word}\n");
        self.site.start_with(who, &(policy(self.site.table()) + &settings), false)
    }

    /// CPU seconds a session.
    fn spell(&mut self, who: Who, peer: &Peer, load: (Kind, &'static str)) -> Result<f64, String> {
        let (kind, recipient) = load;
        let load = Load { kind, port: peer.port, recipient, sources: CLIENTS, first: 0, at_a_time: 50 };
        let mut generator = Generator::new(load).map_err(|e| e.to_string())?;
        generator.run_for(WARM_UP).map_err(|e| e.to_string())?;
        let (sessions, cpu) = (generator.outcome.sessions, thread_seconds(peer.pid()));
        generator.run_for(SPELL).map_err(|e| e.to_string())?;
        let (sessions, cpu) = (generator.outcome.sessions - sessions, thread_seconds(peer.pid()) - cpu);
        generator.wind_down().map_err(|e| e.to_string())?;
        self.errors(who, &generator.outcome.clone())?;
        Ok(cpu / sessions.max(1) as f64)
    }
}
