//! `$name` expansion in reply templates (`default_rbl_reply`, `smtpd_reject_footer`): `$x`, `${x}`, `${x?text}`,
//! `${x:text}`, `${x?{text}:{text}}`, nested; values are filtered.

use crate::facts::Facts;
use std::cell::Cell;

/// How deep expressions may nest.
const DEPTH: usize = 20;

/// Expand a template; `None` for a syntax error. Bytes of values that the filter (`smtpd_expansion_filter`, as written,
/// with its escapes) does not have become `_`.
pub fn expand(template: &str, filter: &str, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let expander = Expander { filter: unescaped(filter), value, undefined: Cell::new(false) };
    let mut out = String::with_capacity(template.len() + 64);
    expander.run(template, &mut out, 0)?;
    Some(out)
}

/// As [`expand`]; a macro that isn't defined is an error too.
pub fn expand_defined(template: &str, filter: &str, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let expander = Expander { filter: unescaped(filter), value, undefined: Cell::new(false) };
    let mut out = String::with_capacity(template.len() + 64);
    expander.run(template, &mut out, 0)?;
    (!expander.undefined.get()).then_some(out)
}

struct Expander<'a> {
    filter: String,
    undefined: Cell<bool>,
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
        let value = (self.value)(name);
        let Some(test) = rest.chars().next() else {
            self.push(value, out);
            return Some(());
        };
        let value = value.filter(|value| !value.is_empty());
        let (set, unset) = match test {
            '?' => alternatives(&rest[1..])?,
            ':' => (None, Some(alternatives(&rest[1..])?.0?)),
            _ => return None,
        };
        match if value.is_some() { set } else { unset } {
            Some(text) => self.run(text, out, depth + 1),
            None => Some(()),
        }
    }

    fn push(&self, value: Option<String>, out: &mut String) {
        if value.is_none() {
            self.undefined.set(true);
        }
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

/// `text`, `{text}` or `{text}:{text}`: what stands for a value, and for none.
fn alternatives(text: &str) -> Option<(Option<&str>, Option<&str>)> {
    if !text.trim_start().starts_with('{') {
        return Some((Some(text), None));
    }
    let text = text.trim_start();
    let end = closing(text, '{')?;
    let (set, rest) = (text[1..end].trim(), text[end + 1..].trim());
    let Some(rest) = rest.strip_prefix(':') else { return rest.is_empty().then_some((Some(set), None)) };
    let rest = rest.trim_start();
    if !rest.starts_with('{') {
        return Some((Some(set), Some(rest)));
    }
    let end = closing(rest, '{')?;
    rest[end + 1..].trim().is_empty().then_some((Some(set), Some(rest[1..end].trim())))
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
pub fn session_macro(facts: &Facts, name: &str) -> Option<String> {
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
        "localtime" => Some((facts.localtime)(facts.now)),
        _ => None,
    }
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
            ("${a?{set $a}:{unset}}|${none?{set}:{unset}}|${none?{set}}|${none:{x}}", Some("set one two_|unset||x")),
            ("${a?{x} y}", None),
            ("${a+x}", None),
            ("$$5", Some("$5")),
            ("${a", None),
            ("$ x", None),
        ] {
            assert_eq!(expand(template, filter, &value).as_deref(), expected, "{template}");
        }
    }
}
