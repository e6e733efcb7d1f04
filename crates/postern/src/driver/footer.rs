//! What is added to refusals: `smtpd_reject_footer` and its macros (postconf(5)).

use policy::Facts;
use std::fmt::Write;

/// The macros of a footer, with their values at the moment of the reply.
pub struct Macros<'a> {
    /// What is known of the session.
    pub facts: &'a Facts,
    /// `name[address]`.
    pub client: &'a str,
    /// `myhostname`.
    pub server_name: &'a str,
    /// `Nov 22 12:00:00`.
    pub localtime: &'a str,
    /// `smtpd_expansion_filter`: other characters become `_`.
    pub filter: &'a str,
}

impl Macros<'_> {
    fn value(&self, name: &str) -> String {
        let client = &self.facts.client;
        let names = client.name.as_ref();
        let address_part = |address: &Option<String>, domain: bool| {
            let address = address.as_deref().unwrap_or_default();
            match address.rsplit_once('@') {
                Some((local, host)) => if domain { host } else { local }.to_owned(),
                None => if domain { "" } else { address }.to_owned(),
            }
        };
        let sender = |text: Option<&str>| match text {
            Some("") => "<>".to_owned(),
            other => other.unwrap_or_default().to_owned(),
        };
        match name {
            "client" => self.client.to_owned(),
            "client_address" => client.address.map_or_else(|| "unknown".to_owned(), |a| a.to_string()),
            "client_name" => names.map_or_else(|| "unknown".to_owned(), |n| n.name.to_string()),
            "client_port" => client.port.to_string(),
            "reverse_client_name" => names.map_or_else(|| "unknown".to_owned(), |n| n.reverse.to_string()),
            "helo_name" => self.facts.helo.clone().unwrap_or_default(),
            "sender" => sender(self.facts.sender.as_deref()),
            "sender_name" if self.facts.sender.as_deref() == Some("") => "<>".to_owned(),
            "sender_name" => address_part(&self.facts.sender, false),
            "sender_domain" => address_part(&self.facts.sender, true),
            "recipient" => self.facts.recipient.clone().unwrap_or_default(),
            "recipient_name" => address_part(&self.facts.recipient, false),
            "recipient_domain" => address_part(&self.facts.recipient, true),
            "server_name" => self.server_name.to_owned(),
            "localtime" => self.localtime.to_owned(),
            _ => String::new(),
        }
    }

    fn filtered(&self, name: &str) -> String {
        let value = self.value(name);
        if self.filter.is_empty() {
            return value;
        }
        value.chars().map(|c| if self.filter.contains(c) { c } else { '_' }).collect()
    }

    /// Expand a template; `None` when its syntax is wrong (the footer is dropped then).
    pub fn expand(&self, template: &str) -> Option<String> {
        self.expand_nested(template, 0)
    }

    fn expand_nested(&self, template: &str, depth: usize) -> Option<String> {
        if depth > 20 {
            return None;
        }
        let mut out = String::with_capacity(template.len() + 40);
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            match rest.chars().next()? {
                '$' => {
                    out.push('$');
                    rest = &rest[1..];
                }
                open @ ('{' | '(') => {
                    let close = if open == '{' { '}' } else { ')' };
                    let end = matching(rest, open, close)?;
                    self.conditional(&rest[1..end], depth, &mut out)?;
                    rest = &rest[end + 1..];
                }
                _ => {
                    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    if end == 0 {
                        return None;
                    }
                    out.push_str(&self.filtered(&rest[..end]));
                    rest = &rest[end..];
                }
            }
        }
        out.push_str(rest);
        Some(out)
    }

    /// `name`, `name?text`, `name:text`, `name?{a}:{b}`.
    fn conditional(&self, inner: &str, depth: usize, out: &mut String) -> Option<()> {
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, test) = inner.split_at(end);
        let value = self.filtered(name);
        let group = |text: &str| -> Option<(String, String)> {
            let text = text.trim_start();
            if !text.starts_with('{') {
                return Some((text.to_owned(), String::new()));
            }
            let end = matching(text, '{', '}')?;
            Some((text[1..end].trim().to_owned(), text[end + 1..].trim().to_owned()))
        };
        match test.chars().next() {
            None => out.push_str(&value),
            Some('?') => {
                let (yes, rest) = group(&test[1..])?;
                if !value.is_empty() {
                    out.push_str(&self.expand_nested(&yes, depth + 1)?);
                } else if let Some(no) = rest.strip_prefix(':') {
                    out.push_str(&self.expand_nested(&group(no)?.0, depth + 1)?);
                }
            }
            Some(':') => {
                let (no, _) = group(&test[1..])?;
                if value.is_empty() {
                    out.push_str(&self.expand_nested(&no, depth + 1)?);
                }
            }
            Some(_) => return None,
        }
        Some(())
    }
}

/// Where the bracket that opens `text` closes.
fn matching(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0;
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

/// The enhanced status code of a reply line, with the blank after it.
fn enhanced(line: &str) -> &str {
    let rest = line.get(4..).unwrap_or_default();
    let word = rest.split(' ').next().unwrap_or_default();
    let mut parts = word.split('.');
    let digits = |part: Option<&str>| {
        part.is_some_and(|p| !p.is_empty() && p.len() <= 3 && p.bytes().all(|b| b.is_ascii_digit()))
    };
    let good = matches!(parts.next(), Some("2" | "4" | "5")) && digits(parts.next()) && digits(parts.next());
    if good && parts.next().is_none() && rest.len() > word.len() { &rest[..=word.len()] } else { "" }
}

/// Put an expanded footer behind a reply. `\c` at its start continues the last line; `\n` starts another.
pub fn append(reply: &str, footer: &str) -> String {
    let (joined, footer) = match footer.strip_prefix("\\c") {
        Some(rest) => (true, rest),
        None => (false, footer),
    };
    let last = reply.rsplit('\n').next().unwrap_or(reply);
    let (code, status) = (last.get(..3).unwrap_or("450"), enhanced(last));
    let mut lines: Vec<String> = reply.lines().map(str::to_owned).collect();
    let mut parts = footer.split("\\n");
    if joined && let Some(last) = lines.last_mut() {
        last.push_str(parts.next().unwrap_or_default());
    }
    for part in parts {
        let mut line = String::with_capacity(part.len() + 12);
        let _ = write!(line, "{code} {status}{part}");
        lines.push(line);
    }
    let count = lines.len();
    for line in &mut lines[..count.saturating_sub(1)] {
        if line.len() > 3 && line.is_char_boundary(4) {
            line.replace_range(3..4, "-");
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{Client, Protocol};

    fn facts() -> Facts {
        Facts {
            client: Client { address: Some([192, 0, 2, 1].into()), port: 25, name: None },
            server_address: None,
            server_port: 0,
            helo: Some("h".into()),
            protocol: Protocol::Esmtp,
            sender: Some(String::new()),
            recipient: Some("u+é@example.com".into()),
            recipient_count: 0,
            etrn_domain: None,
            size: 0,
            queue_id: None,
            instance: String::new(),
            sasl: None,
            tls: None,
            improper_pipelining: false,
            smtputf8: false,
            now: 0,
        }
    }

    #[test]
    fn templates() {
        let facts = facts();
        let macros = Macros {
            facts: &facts,
            client: "unknown[192.0.2.1]",
            server_name: "mail",
            localtime: "now",
            filter: "abcdefghijklmnopqrstuvwxyz0123456789.@+<>[]",
        };
        for (template, want) in [
            ("plain", Some("plain")),
            ("$client_address $(server_name) ${helo_name}", Some("192.0.2.1 mail h")),
            ("$sender $sender_name/$sender_domain", Some("<> <>/")),
            ("$recipient", Some("u+_@example.com")),
            ("${helo_name?yes $server_name}${helo_name:no}", Some("yes mail")),
            ("${nosuch?{a}:{b $client}}", Some("b unknown[192.0.2.1]")),
            ("$$5", Some("$5")),
            ("$ x", None),
            ("${client", None),
        ] {
            assert_eq!(macros.expand(template).as_deref(), want, "{template}");
        }
    }

    #[test]
    fn footers() {
        for (reply, footer, want) in [
            ("554 5.7.1 <u>: no", "See x", "554-5.7.1 <u>: no\n554 5.7.1 See x"),
            ("501 Syntax: HELO hostname", "See x", "501-Syntax: HELO hostname\n501 See x"),
            ("450 4.7.1 no", "\\c. Call", "450 4.7.1 no. Call"),
            ("450 4.7.1 no", "\\c. Call\\nAgain", "450-4.7.1 no. Call\n450 4.7.1 Again"),
            ("450 4.7.1 no", "\\nTry", "450-4.7.1 no\n450-4.7.1 \n450 4.7.1 Try"),
            ("450-4.7.1 a\n450 4.7.1 b", "c", "450-4.7.1 a\n450-4.7.1 b\n450 4.7.1 c"),
        ] {
            assert_eq!(append(reply, footer), want);
        }
    }
}
