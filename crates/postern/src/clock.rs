//! The program's clocks: monotonic milliseconds for sessions, wall time for logs and mail.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the program started.
pub fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds since the epoch.
pub fn unix_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// Seconds since the epoch.
pub fn unix_seconds() -> u64 {
    unix_micros() / 1_000_000
}

/// `Nov 22 12:00:00` in the local zone.
pub fn local_stamp(seconds: u64) -> String {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%b %e %H:%M:%S").to_string()
}

/// `Mon Nov 23 01:02:23` in the local zone.
pub fn local_date(seconds: u64) -> String {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %b %e %H:%M:%S").to_string()
}

/// The moment with the local zone, as message headers have it.
pub fn timestamp(unix: u64) -> message::Timestamp {
    let moment = jiff::Timestamp::from_second(i64::try_from(unix).unwrap_or(0)).unwrap_or_default();
    let zone = jiff::tz::TimeZone::system();
    let info = zone.to_offset_info(moment);
    message::Timestamp { unix, utc_offset: info.offset().seconds(), zone: info.abbreviation().into() }
}

/// `Sun, 22 Nov 2026 12:00:00 +0000 (UTC)`.
pub fn mail_date(unix: u64) -> String {
    message::mail_date(&timestamp(unix))
}
