//! A spell of load on a server, and what it costs: the one way in which the cells measure CPU of sessions.

use std::time::Duration;

use super::cells::{Bench, CLIENTS};
use super::load::{Generator, Kind, Load};
use super::meter::cpu_seconds;
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
        let before = cpu_seconds(peer.pid());
        let took = generator.run_for(length.time).map_err(fail)?;
        let cpu = cpu_seconds(peer.pid()) - before;
        let mut outcome = std::mem::take(&mut generator.outcome);
        let sessions = outcome.sessions as f64;
        generator.wind_down().map_err(fail)?;
        outcome.errors.extend(std::mem::take(&mut generator.outcome.errors));
        self.errors(who, &outcome)?;
        Ok(Spell { cpu: cpu * 1e6 / sessions, rate: sessions / took.as_secs_f64() })
    }
}

/// A load by clients that have names, to the recipient that suits its kind.
pub fn load(kind: Kind, port: u16, at_a_time: usize) -> Load {
    let recipient = if kind == Kind::Accept { "u@relay.test" } else { "u@foreign.test" };
    Load { kind, port, recipient, sources: CLIENTS, first: 0, at_a_time }
}
