//! The most of everything since the last statistics lines.

use super::Ident;
use crate::clock;
use smtp::server::Rate;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// What has a peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peak {
    /// So many in a time unit.
    Rate(Rate),
    /// So many connections at once.
    Connections,
    /// So many clients known.
    Size,
}

/// In the order of the log.
const PEAKS: [Peak; 7] = [
    Peak::Rate(Rate::Connection),
    Peak::Connections,
    Peak::Rate(Rate::Message),
    Peak::Rate(Rate::Recipient),
    Peak::Rate(Rate::NewTlsSession),
    Peak::Rate(Rate::Auth),
    Peak::Size,
];

/// Whose, and when (Unix seconds).
#[derive(Clone, Debug, Default)]
struct Record {
    ident: String,
    when: u64,
}

/// All peaks.
#[derive(Debug, Default)]
pub struct Peaks {
    /// Readable without the lock: nearly no event is a record.
    most: [AtomicU32; PEAKS.len()],
    records: Mutex<[Record; PEAKS.len()]>,
}

impl Peaks {
    pub(super) fn note(&self, peak: Peak, value: u32, ident: &Ident) {
        let Some(index) = PEAKS.iter().position(|known| *known == peak) else { return };
        if value <= self.most[index].load(Ordering::Relaxed) {
            return;
        }
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        // Another loop may have been faster.
        if value > self.most[index].fetch_max(value, Ordering::Relaxed) {
            records[index] = Record { ident: ident.to_string(), when: clock::unix_seconds() };
        }
    }

    /// The lines, and a fresh start. `unit` is in seconds.
    pub(super) fn take(&self, unit: u64) -> Vec<String> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for (index, peak) in PEAKS.iter().enumerate() {
            let value = self.most[index].swap(0, Ordering::Relaxed);
            if value == 0 {
                continue;
            }
            let Record { ident, when } = &records[index];
            let when = clock::local_stamp(*when);
            lines.push(match peak {
                Peak::Rate(rate) => {
                    format!("statistics: max {} rate {value}/{unit}s for ({ident}) at {when}", name(*rate))
                }
                Peak::Connections => format!("statistics: max connection count {value} for ({ident}) at {when}"),
                Peak::Size => format!("statistics: max cache size {value} at {when}"),
            });
        }
        lines
    }
}

fn name(rate: Rate) -> &'static str {
    match rate {
        Rate::Connection => "connection",
        Rate::Message => "message",
        Rate::Recipient => "recipient",
        Rate::NewTlsSession => "newtls",
        Rate::Auth => "auth",
    }
}
