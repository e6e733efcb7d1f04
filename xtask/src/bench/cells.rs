//! What is measured.

use std::net::Ipv4Addr;
use std::time::Duration;

use testkit::FixtureDns;

use super::load::{Generator, Kind, Load, Outcome, addresses};
use super::meter::memory_kib;
use super::peers::{Peer, Site, Who};
use super::spell::{Length, load, median};
use super::table::{Figure, Table};

/// The cells, in the order of the table.
pub const CELLS: [&str; 13] = [
    "reject", "accept", "idle", "dns30", "start", "lookups", "headers", "access", "policy", "tls", "login", "record",
    "tools",
];

/// Client addresses of the load cells.
pub const CLIENTS: (Ipv4Addr, u32) = (Ipv4Addr::new(127, 1, 0, 1), 16);
/// Listed client addresses: every round of dns30 takes new ones for each server.
const LISTED: (Ipv4Addr, u32) = (Ipv4Addr::new(127, 128, 0, 0), 4096);
/// The delay of each DNS answer in dns30.
const DELAY: Duration = Duration::from_millis(30);

/// Clients that have a name.
pub fn named() -> impl Iterator<Item = Ipv4Addr> {
    addresses(CLIENTS)
}

/// Clients that have a name and are on a blocklist.
pub fn listed() -> impl Iterator<Item = Ipv4Addr> {
    addresses(LISTED)
}

/// A bench under way.
pub struct Bench {
    pub(super) site: Site,
    dns: FixtureDns,
    pub(super) who: Vec<Who>,
    pub(super) quick: bool,
    pub(super) table: Table,
    next_listed: u64,
}

impl Bench {
    /// One that has measured nothing.
    pub fn new(site: Site, dns: FixtureDns, who: Vec<Who>, quick: bool) -> Self {
        Self { site, dns, who, quick, table: Table::default(), next_listed: 0 }
    }

    /// One round of one cell, all servers in turn.
    pub fn cell(&mut self, cell: &str, _round: usize) -> Result<(), String> {
        if cell == "lookups" {
            return self.lookups();
        }
        for who in self.who.clone() {
            let result = match cell {
                "reject" => self.load(who, Kind::Reject),
                "accept" => self.load(who, Kind::Accept),
                "idle" => self.idle(who),
                "dns30" if who != Who::Sink => self.dns30(who),
                "start" if who != Who::Sink => self.start(who),
                "headers" if who != Who::Sink => self.headers(who),
                "access" if who != Who::Sink => self.access(who),
                "policy" if who != Who::Sink => self.policy(who),
                "tls" if who != Who::Sink => self.tls(who),
                "login" if who != Who::Sink => self.login(who),
                "tools" if who == Who::Postern => self.tools(who),
                "record" if who == Who::Postern => self.record(who),
                _ => Ok(()),
            };
            result.map_err(|e| format!("{cell}, {}: {e}", who.name()))?;
        }
        Ok(())
    }

    /// Prints the table; did all targets hold?
    pub fn report(&self) -> bool {
        self.table.print(&self.who)
    }

    /// Says what went wrong; of our sessions none may.
    pub(super) fn errors(&mut self, who: Who, outcome: &Outcome) -> Result<(), String> {
        let count: u64 = outcome.errors.values().sum();
        for (what, times) in &outcome.errors {
            eprintln!("  {}: {times} times {what}", who.name());
        }
        match outcome.sessions {
            0 => Err("no session went through".to_owned()),
            _ if who == Who::Postern && count > 0 => Err(format!("{count} sessions failed")),
            _ => Ok(()),
        }
    }

    fn load(&mut self, who: Who, kind: Kind) -> Result<(), String> {
        let peer = self.site.start(who, false, kind == Kind::Reject)?;
        let at_a_time = if kind == Kind::Reject { 100 } else { 50 };
        let spell = self.under_load(who, &peer, (kind, at_a_time), Length::usual(self.quick))?;
        let (cpu_figure, rate_figure) = match kind {
            Kind::Reject => (Figure::RejectCpu, Figure::RejectRate),
            _ => (Figure::AcceptCpu, Figure::AcceptRate),
        };
        self.table.add(cpu_figure, who, spell.cpu);
        self.table.add(rate_figure, who, spell.rate);
        Ok(())
    }

    fn idle(&mut self, who: Who) -> Result<(), String> {
        let peer = self.site.start(who, false, false)?;
        // Postfix serves as many as it has processes; smtp-sink takes a quarter MB each
        let wanted = match who {
            Who::Postern => 10_000,
            Who::Postfix => 90,
            Who::Sink => 1000,
        };
        let load = Load { kind: Kind::Idle, port: peer.port, recipient: "", sources: CLIENTS, first: 0, at_a_time: 50 };
        // a first few, so that what is made once is not counted to the sessions
        let warm = Generator::new(load.clone()).and_then(|mut g| g.run_count(20).map(|()| g.outcome.clone()));
        let warm = warm.map_err(|e| e.to_string())?;
        self.errors(who, &warm)?;
        std::thread::sleep(Duration::from_millis(500));
        let before = memory_kib(peer.pid());
        let mut generator = Generator::new(load).map_err(|e| e.to_string())?;
        generator.run_count(wanted).map_err(|e| e.to_string())?;
        self.errors(who, &generator.outcome.clone())?;
        let held = generator.held();
        std::thread::sleep(Duration::from_secs(1));
        let during = memory_kib(peer.pid());
        drop(generator);
        std::thread::sleep(Duration::from_secs(2));
        let after = memory_kib(peer.pid());
        let grown = during.saturating_sub(before) as f64;
        self.table.add(Figure::IdleMemory, who, grown / held as f64);
        if grown > 0.0 && who == Who::Postern {
            self.table.add(Figure::IdleFreed, who, 100.0 * during.saturating_sub(after) as f64 / grown);
        }
        Ok(())
    }

    fn dns30(&mut self, who: Who) -> Result<(), String> {
        let peer = self.site.start(who, false, false)?;
        self.warm_up(&peer)?;
        let count: u64 = if self.quick { 20 } else { 60 };
        let first = self.next_listed;
        self.next_listed += count;
        self.dns.set_delay(DELAY);
        let runs = [
            (Figure::ColdRcpt, Figure::ColdSession, Figure::ColdQuestions),
            (Figure::WarmRcpt, Figure::WarmSession, Figure::WarmQuestions),
        ];
        for (rcpt, session, questions) in runs {
            if rcpt == Figure::WarmRcpt {
                // every part of a server that has a cache of its own gets to see each client
                self.dns.set_delay(Duration::ZERO);
                for _ in 0..6 {
                    self.one_by_one(&peer, first, count)?;
                }
                self.dns.set_delay(DELAY);
            }
            let before = self.dns.queries();
            let outcome = self.one_by_one(&peer, first, count)?;
            self.errors(who, &outcome)?;
            self.table.add(rcpt, who, in_ms(&outcome.rcpt_us));
            self.table.add(session, who, in_ms(&outcome.session_us));
            self.table.add(questions, who, (self.dns.queries() - before) as f64 / count as f64);
        }
        self.dns.set_delay(Duration::ZERO);
        Ok(())
    }

    /// Sessions of clients that play no part later: processes are made, tables read.
    fn warm_up(&self, peer: &Peer) -> Result<(), String> {
        let load = load(Kind::Reject, peer.port, 1);
        Generator::new(load).and_then(|mut g| g.run_count(20)).map_err(|e| e.to_string())
    }

    fn one_by_one(&self, peer: &Peer, first: u64, count: u64) -> Result<Outcome, String> {
        let load = Load {
            kind: Kind::Reject,
            port: peer.port,
            recipient: "u@relay.test",
            sources: LISTED,
            first,
            at_a_time: 1,
        };
        let run = Generator::new(load).and_then(|mut g| g.run_count(count).map(|()| g.outcome.clone()));
        run.map_err(|e| e.to_string())
    }

    fn start(&mut self, who: Who) -> Result<(), String> {
        let peer = self.site.start(who, true, false)?;
        self.table.add(Figure::Start, who, peer.start.as_secs_f64());
        Ok(())
    }
}

/// The median of microseconds, in milliseconds.
fn in_ms(values: &[u32]) -> f64 {
    median(values.iter().map(|us| f64::from(*us))) / 1000.0
}
