//! Texts of reports, and their layout.

use std::borrow::Cow;

/// What a sender is told of mail that came back.
pub(super) const FAILURE: &str = "\
I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
";

/// What a sender is told who asked for a success notification.
pub(super) const SUCCESS: &str = "\
Your message was successfully delivered to the destination(s)
listed below. If the message was delivered to mailbox you will
receive no further notifications. Otherwise you may still receive
notifications of mail delivery errors from other systems.

                   The mail system
";

/// What a sender is told of mail that is late. Both times are in microseconds.
pub(super) fn delay(warning_time: i64, lifetime: i64) -> String {
    // Postfix cuts off, too.
    let (hours, days) = (warning_time / 3_600_000_000, lifetime / 86_400_000_000);
    format!(
        "\
####################################################################
# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #
####################################################################

Your message could not be delivered for more than {hours} hour(s).
It will be retried until it is {days} day(s) old.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
"
    )
}

/// Lines are broken so that they have at most this many characters.
const WIDTH: usize = 79;
const INDENT: &str = "    ";

/// A line, broken at spaces; what follows the first one is indented.
pub(super) fn wrap(out: &mut String, line: &str) {
    let mut rest = line;
    let mut indent = "";
    loop {
        let room = WIDTH - indent.len();
        out.push_str(indent);
        // A space right behind the last character that fits is as good as one before it.
        let fits = rest.char_indices().nth(room + 1).map_or(rest, |(end, _)| &rest[..end]);
        if fits.len() == rest.len() && rest.chars().count() <= room {
            out.push_str(rest);
            out.push('\n');
            return;
        }
        let end = match fits.rfind(' ').filter(|at| *at > 0) {
            Some(at) => at,
            None => rest.find(' ').unwrap_or(rest.len()),
        };
        out.push_str(&rest[..end]);
        out.push('\n');
        rest = rest[end..].trim_start_matches(' ');
        if rest.is_empty() {
            return;
        }
        indent = INDENT;
    }
}

/// A header field, broken likewise.
pub(super) fn wrap_field(out: &mut String, name: &str, value: &str) {
    wrap(out, &format!("{name}{value}"));
}

/// Text that stays on its line: control characters become `?`.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Year, month, day, hour, minute, second of a time in UTC (Unix seconds), and days since 1 January 1970.
fn civil(seconds: i64) -> (i64, u32, u32, u32, u32, u32, i64) {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) as u32);
    // Days to date, with years that begin in March (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60, days)
}

/// A time (Unix seconds) as a `Date:` header has it, in UTC.
pub fn utc_date(unix: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second, days) = civil(unix);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} +0000 (UTC)")
}

/// A time (Unix microseconds) as Message-Ids have it.
pub(super) fn stamp(micros: i64) -> String {
    let (year, month, day, hour, minute, second, _) = civil(micros.div_euclid(1_000_000));
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_where_postfix_breaks_them() {
        for (line, want) in [
            ("short", "short\n"),
            (
                "<ok@bad.example>: delivery via 127.0.0.1[127.0.0.1]:2526: 250 2.0.0 Ok: queued as ABCDEF",
                "<ok@bad.example>: delivery via 127.0.0.1[127.0.0.1]:2526: 250 2.0.0 Ok: queued\n    as ABCDEF\n",
            ),
            (
                "Diagnostic-Code: X-Postfix; Host or domain name not found. Name service error for name=nx2.example",
                "Diagnostic-Code: X-Postfix; Host or domain name not found. Name service error\n    for name=nx2.example\n",
            ),
        ] {
            let mut out = String::new();
            wrap(&mut out, line);
            assert_eq!(out, want);
        }
        let mut out = String::new();
        wrap(&mut out, &format!("{} é", "é".repeat(200)));
        assert_eq!(out, format!("{}\n    é\n", "é".repeat(200)));
    }

    #[test]
    fn dates() {
        for (seconds, want) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000 (UTC)"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000 (UTC)"),
            (1_795_351_586, "Sun, 22 Nov 2026 12:46:26 +0000 (UTC)"),
            (-1, "Wed, 31 Dec 1969 23:59:59 +0000 (UTC)"),
        ] {
            assert_eq!(utc_date(seconds), want);
        }
        assert_eq!(stamp(1_795_351_586_999_999), "20261122124626");
    }
}
