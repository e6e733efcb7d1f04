//! The cell of the decision record: what it adds to a session. Two servers, one that keeps it and one that doesn't, take
//! turns; the median of many turns counts.

use super::cells::Bench;
use super::load::Kind;
use super::peers::{Peer, Who, policy};
use super::spell::median;
use super::table::Figure;

impl Bench {
    /// Refused and accepted sessions, with and without the record.
    pub fn record(&mut self, who: Who) -> Result<(), String> {
        for (kind, figure) in [(Kind::Reject, Figure::RecordReject), (Kind::Accept, Figure::RecordAccept)] {
            let (with, without) = (self.recording(who, true)?, self.recording(who, false)?);
            let turns = self.in_turn(who, [(&with, kind), (&without, kind)])?;
            let share = median(turns.iter().map(|[kept, not]| (kept / not - 1.0) * 100.0));
            self.table.add(figure, who, share);
        }
        Ok(())
    }

    fn recording(&self, who: Who, record: bool) -> Result<Peer, String> {
        let word = if record { "yes" } else { "no" };
        let settings = format!("postern_decision_record = {word}\n");
        self.site.start_with(who, &(policy(self.site.table()) + &settings), false)
    }
}
