//! `$name` expansion in reply templates: `$x`, `${x}`, `${x?text}`, `${x:text}`, nested; values are filtered.

use crate::facts::Facts;

/// How deep expressions may nest.
const DEPTH: usize = 20;

/// Expand a template; `None` for a syntax error. Characters of values that the filter does not have become `_`.
pub(crate) fn expand(template: &str, filter: &str, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let expander = Expander { filter: unescaped(filter), value };
    let mut out = String::with_capacity(template.len() + 64);
    expander.run(template, &mut out, 0)?;
    Some(out)
}

struct Expander<'a> {
    filter: String,
    value: &'a dyn Fn(&str) -> Option<String>,
}

impl Expander<'_> {
    fn run(&self, template: &str, out: &mut String, depth: usize) -> Option<()> {
        if depth > DEPTH {
            return None;
        }
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            match rest.chars().next() {
                Some('$') => {
                    out.push('$');
                    rest = &rest[1..];
                }
                Some(open @ ('{' | '(')) => {
                    let end = closing(rest, open)?;
                    self.expression(&rest[1..end], out, depth)?;
                    rest = &rest[end + 1..];
                }
                _ => {
                    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    if end == 0 {
                        return None;
                    }
                    self.push((self.value)(&rest[..end]), out);
                    rest = &rest[end..];
                }
            }
        }
        out.push_str(rest);
        Some(())
    }

    fn expression(&self, text: &str, out: &mut String, depth: usize) -> Option<()> {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let value = (self.value)(name).filter(|value| !value.is_empty());
        match (rest.chars().next(), value) {
            (None, value) => self.push(value, out),
            (Some('?'), Some(_)) | (Some(':'), None) => self.run(&rest[1..], out, depth + 1)?,
            (Some('?' | ':'), _) => {}
            _ => return None,
        }
        Some(())
    }

    fn push(&self, value: Option<String>, out: &mut String) {
        for c in value.unwrap_or_default().chars() {
            if self.filter.is_empty() || self.filter.contains(c) {
                out.push(c);
            } else {
                // One for each byte.
                out.extend(std::iter::repeat_n('_', c.len_utf8()));
            }
        }
    }
}

/// Where the bracket at the beginning closes.
fn closing(text: &str, open: char) -> Option<usize> {
    let close = if open == '{' { '}' } else { ')' };
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// The filter parameter holds `\t`, `\40` and the like.
fn unescaped(filter: &str) -> String {
    let mut out = String::with_capacity(filter.len());
    let mut chars = filter.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some(digit @ '0'..='7') => {
                let mut number = digit as u32 - '0' as u32;
                for _ in 0..2 {
                    match chars.peek() {
                        Some(next @ '0'..='7') => {
                            number = number * 8 + (*next as u32 - '0' as u32);
                            chars.next();
                        }
                        _ => break,
                    }
                }
                out.extend(char::from_u32(number));
            }
            other => out.extend(other),
        }
    }
    out
}

/// Macros that only need facts (`$sender_domain`, `$helo_name`, …).
pub(crate) fn session_macro(facts: &Facts, name: &str) -> Option<String> {
    let part = |address: &Option<String>, which: &str| -> Option<String> {
        let address = address.as_deref()?;
        let (local, domain) = smtp::address::split_domain(address);
        Some(match which {
            "domain" => domain.unwrap_or_default().to_owned(),
            _ if address.is_empty() => "<>".to_owned(),
            "name" => local.to_owned(),
            _ => address.to_owned(),
        })
    };
    match name {
        "helo_name" => facts.helo.clone(),
        "client_port" => Some(facts.client.port.to_string()),
        "sender" => part(&facts.sender, ""),
        "sender_name" => part(&facts.sender, "name"),
        "sender_domain" => part(&facts.sender, "domain"),
        "recipient" => part(&facts.recipient, ""),
        "recipient_name" => part(&facts.recipient, "name"),
        "recipient_domain" => part(&facts.recipient, "domain"),
        "localtime" => Some(utc(facts.now)),
        _ => None,
    }
}

/// Month, day, time and year as `date` prints them, in UTC.
fn utc(seconds: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = seconds / 86_400;
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    // Days since 0000-03-01, after Howard Hinnant's civil_from_days.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 2 } else { month - 10 };
    let year = year_of_era + era * 400 + u64::from(month < 2);
    let name = MONTHS.get(usize::try_from(month).unwrap_or(0)).unwrap_or(&"Jan");
    format!("{name} {day:02} {hour:02}:{minute:02}:{second:02} {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_expanded_and_values_filtered() {
        let value = |name: &str| match name {
            "a" => Some("one two<".to_owned()),
            "empty" => Some(String::new()),
            _ => None,
        };
        let filter = "abcdefghijklmnopqrstuvwxyz\\40";
        for (template, expected) in [
            ("x $a y", Some("x one two_ y")),
            ("${a}b$(a)", Some("one two_bone two_")),
            ("${a?; $a}|${empty?no}|${empty:yes}|${none:$a}", Some("; one two_||yes|one two_")),
            ("$$5", Some("$5")),
            ("${a", None),
            ("$ x", None),
        ] {
            assert_eq!(expand(template, filter, &value).as_deref(), expected, "{template}");
        }
    }

    #[test]
    fn times_are_told() {
        assert_eq!(utc(0), "Jan 01 00:00:00 1970");
        assert_eq!(utc(951_827_696), "Feb 29 12:34:56 2000");
        assert_eq!(utc(1_767_225_599), "Dec 31 23:59:59 2025");
    }
}
