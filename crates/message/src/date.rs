//! Dates as Postfix writes them in headers. The caller brings the time and its zone.

use std::fmt::{self, Write};
use std::sync::Arc;

/// A moment with the local zone's offset and name at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub unix: u64,
    /// Local time minus UTC, in seconds.
    pub utc_offset: i32,
    /// Name of the zone, as in `UTC` or `CEST`; none is printed when empty.
    pub zone: Arc<str>,
}

impl Timestamp {
    /// A moment in UTC.
    pub fn utc(unix: u64) -> Self {
        Self { unix, utc_offset: 0, zone: "UTC".into() }
    }
}

/// A broken-down time of the proleptic Gregorian calendar.
struct Civil {
    year: i64,
    month: usize,
    day: u32,
    weekday: usize,
    seconds: u32,
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The end of the year 9999; later times are printed as this one.
const LATEST: i64 = 253_402_300_799;

impl Civil {
    fn new(unix: i64) -> Self {
        let unix = unix.clamp(0, LATEST);
        let days = unix / 86_400;
        // Days to civil date, by eras of 400 years that start on March 1st.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = (march_month + 2) % 12;
        Self {
            year: era * 400 + year_of_era + i64::from(month < 2),
            month: usize::try_from(month).unwrap_or(0),
            day: u32::try_from(day_of_year - (153 * march_month + 2) / 5 + 1).unwrap_or(1),
            weekday: usize::try_from(days % 7).unwrap_or(0),
            seconds: u32::try_from(unix % 86_400).unwrap_or(0),
        }
    }
}

fn signed(unix: u64) -> i64 {
    i64::try_from(unix).unwrap_or(LATEST)
}

/// Append `Sun, 22 Nov 2026 12:00:00 +0000 (UTC)`.
pub(crate) fn write_date(out: &mut impl Write, time: &Timestamp) -> fmt::Result {
    let local = Civil::new(signed(time.unix).saturating_add(i64::from(time.utc_offset)));
    let (hour, minute, second) = (local.seconds / 3600, local.seconds / 60 % 60, local.seconds % 60);
    let (day, month) = (DAYS[local.weekday], MONTHS[local.month]);
    let sign = if time.utc_offset < 0 { '-' } else { '+' };
    let offset = time.utc_offset.unsigned_abs() / 60;
    write!(out, "{day}, {:02} {month} {:04} {hour:02}:{minute:02}:{second:02} ", local.day, local.year)?;
    write!(out, "{sign}{:02}{:02}", offset / 60, offset % 60)?;
    if !time.zone.is_empty() {
        write!(out, " ({})", time.zone)?;
    }
    Ok(())
}

/// The date of a `Date:` or `Received:` header.
pub fn mail_date(time: &Timestamp) -> String {
    let mut text = String::with_capacity(40);
    let _ = write_date(&mut text, time);
    text
}

/// `YYYYMMDDhhmmss` in UTC, for message ids.
pub fn utc_digits(unix: u64) -> String {
    let utc = Civil::new(signed(unix));
    let (hour, minute, second) = (utc.seconds / 3600, utc.seconds / 60 % 60, utc.seconds % 60);
    format!("{:04}{:02}{:02}{hour:02}{minute:02}{second:02}", utc.year, utc.month + 1, utc.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_with_offset_and_zone() {
        for (unix, offset, zone, text) in [
            (0, 0, "UTC", "Thu, 01 Jan 1970 00:00:00 +0000 (UTC)"),
            (951_826_394, 3600, "CET", "Tue, 29 Feb 2000 13:13:14 +0100 (CET)"),
            (1_795_350_328, -12_600, "NST", "Sun, 22 Nov 2026 08:55:28 -0330 (NST)"),
            (1_735_689_599, 0, "", "Tue, 31 Dec 2024 23:59:59 +0000"),
            (u64::MAX, 0, "UTC", "Fri, 31 Dec 9999 23:59:59 +0000 (UTC)"),
        ] {
            let time = Timestamp { unix, utc_offset: offset, zone: zone.into() };
            assert_eq!(mail_date(&time), text);
        }
    }

    #[test]
    fn digits_are_in_utc() {
        assert_eq!(utc_digits(1_795_350_328), "20261122122528");
        assert_eq!(utc_digits(951_826_394), "20000229121314");
    }
}
