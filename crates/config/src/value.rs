//! Typed values: booleans, integers, times.

use std::time::Duration;

/// `yes` or `no`, in any case.
pub fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("yes") {
        Some(true)
    } else if text.eq_ignore_ascii_case("no") {
        Some(false)
    } else {
        None
    }
}

/// A decimal integer, with a sign if need be. The range is that of C's `int`.
pub fn parse_int(text: &str) -> Option<i64> {
    text.parse::<i32>().ok().map(i64::from)
}

/// As [`parse_int`], with the range of C's `long`: sizes in bytes.
pub fn parse_long(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A number with one of the units `s m h d w`; without one the default unit counts.
pub fn parse_time(text: &str, default_unit: char) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.len() {
        0 => default_unit,
        1 => unit.chars().next()?,
        _ => return None,
    };
    let seconds: u64 = match unit.to_ascii_lowercase() {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let total = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    i32::try_from(total).is_ok().then(|| Duration::from_secs(total))
}

/// The unit that a time without one has: the one its parameter's default ends with.
pub fn default_unit(default: &str) -> char {
    match default.chars().last() {
        Some(unit @ ('s' | 'm' | 'h' | 'd' | 'w'))
            if default.chars().rev().nth(1).is_some_and(|c| c.is_ascii_digit() || c == '}') =>
        {
            unit
        }
        _ => 's',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_and_integers() {
        assert_eq!(
            ["yes", "No", "YES", "1", "", "true"].map(parse_bool),
            [Some(true), Some(false), Some(true), None, None, None]
        );
        assert_eq!(
            ["2147483648", "-1", "9223372036854775808", "1k"].map(parse_long),
            [Some(2_147_483_648), Some(-1), None, None]
        );
        assert_eq!(
            ["0", "-3", "12x", "", "2147483647", "2147483648"].map(parse_int),
            [Some(0), Some(-3), None, None, Some(2_147_483_647), None]
        );
    }

    #[test]
    fn times_have_units() {
        for (text, unit, seconds) in [
            ("5", 'h', Some(18_000)),
            ("5s", 'h', Some(5)),
            ("2M", 's', Some(120)),
            ("1w", 's', Some(604_800)),
            ("0", 's', Some(0)),
            ("-1", 's', None),
            ("5x", 's', None),
            ("5ss", 's', None),
            ("h", 's', None),
            ("", 's', None),
            ("99999999999999999999d", 's', None),
            ("100000d", 's', None),
        ] {
            assert_eq!(parse_time(text, unit), seconds.map(Duration::from_secs), "{text}");
        }
        for (default, unit) in [
            ("12h", 'h'),
            ("${stress?{10}:{300}}s", 's'),
            ("${a?{b}:{1}}h", 'h'),
            ("$default_transport_rate_delays", 's'),
            ("", 's'),
        ] {
            assert_eq!(default_unit(default), unit);
        }
    }
}
