//! A spell of load on a server, and what it costs; and two loads that take turns, for differences that are smaller than
//! what a machine varies from minute to minute.

use std::time::Duration;

use super::cells::{Bench, CLIENTS};
use super::load::{Generator, Kind, Load};
use super::meter::{cpu_seconds, thread_seconds};
use super::peers::{Peer, Who};

/// How long a load goes on.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Before anything is counted: processes are made, caches filled.
    pub warm_up: Duration,
    /// What is measured.
    pub time: Duration,
}

impl Length {
    /// In milliseconds.
    pub const fn ms(warm_up: u64, time: u64) -> Self {
        Self { warm_up: Duration::from_millis(warm_up), time: Duration::from_millis(time) }
    }

    /// That of most cells.
    pub const fn usual(quick: bool) -> Self {
        if quick { Self::ms(700, 1500) } else { Self::ms(1500, 4000) }
    }
}

/// A spell has so many sessions, or takes ten times as long as it was to take.
const ENOUGH: u64 = 10;

/// What a spell came to.
#[derive(Clone, Copy, Debug)]
pub struct Spell {
    /// Server CPU of a session, µs.
    pub cpu: f64,
    /// Sessions a second.
    pub rate: f64,
}

impl Bench {
    /// Sessions of a kind, so many at a time, for a while.
    pub fn under_load(
        &mut self,
        who: Who,
        peer: &Peer,
        (kind, at_a_time): (Kind, usize),
        length: Length,
    ) -> Result<Spell, String> {
        let fail = |e: std::io::Error| e.to_string();
        let mut generator = Generator::new(load(kind, peer.port, at_a_time)).map_err(fail)?;
        generator.run_for(length.warm_up).map_err(fail)?;
        let before = spent(who, peer);
        let mut took = generator.run_for(length.time).map_err(fail)?;
        // A disk that is busy with others may hold messages up for longer than that.
        while generator.outcome.sessions < ENOUGH && took < length.time * 10 {
            took += generator.run_for(length.time).map_err(fail)?;
        }
        let cpu = spent(who, peer) - before;
        let mut outcome = std::mem::take(&mut generator.outcome);
        let sessions = outcome.sessions as f64;
        generator.wind_down().map_err(fail)?;
        outcome.errors.extend(std::mem::take(&mut generator.outcome.errors));
        self.errors(who, &outcome)?;
        Ok(Spell { cpu: cpu * 1e6 / sessions, rate: sessions / took.as_secs_f64() })
    }

    /// Two loads in turn, many times; CPU of a session, µs, of both in each turn. Who comes first changes, so that a machine
    /// that warms up or slows down favours neither.
    pub fn in_turn(&mut self, who: Who, loads: [(&Peer, Kind); 2]) -> Result<Vec<[f64; 2]>, String> {
        // Postfix is many processes that come and go: the clock for these is coarse.
        let (turns, length) = match (who, self.quick) {
            (Who::Postfix, false) => (5, Length::ms(500, 2000)),
            (Who::Postfix, true) => (3, Length::ms(300, 1000)),
            (_, false) => (25, Length::ms(60, 340)),
            (_, true) => (9, Length::ms(60, 340)),
        };
        let mut both = Vec::with_capacity(turns);
        for turn in 0..turns {
            let mut cpu = [0.0; 2];
            for which in [turn % 2, 1 - turn % 2] {
                let (peer, kind) = loads[which];
                cpu[which] = self.under_load(who, peer, (kind, 50), length)?.cpu;
            }
            both.push(cpu);
        }
        Ok(both)
    }
}

/// CPU seconds that a server has used so far.
fn spent(who: Who, peer: &Peer) -> f64 {
    if who == Who::Postfix { cpu_seconds(peer.pid()) } else { thread_seconds(peer.pid()) }
}

/// The value in the middle.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A load by clients that have names, to the recipient that suits its kind.
pub fn load(kind: Kind, port: u16, at_a_time: usize) -> Load {
    let recipient = if kind == Kind::Accept { "u@relay.test" } else { "u@foreign.test" };
    Load { kind, port, recipient, sources: CLIENTS, first: 0, at_a_time }
}
