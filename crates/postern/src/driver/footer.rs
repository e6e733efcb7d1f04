//! What is added to refusals: `smtpd_reject_footer` and its macros (postconf(5)).

use policy::{Facts, PeerName};
use std::fmt::Write;

/// The macros of a footer, with their values at the moment of the reply.
pub struct Macros<'a> {
    /// What is known of the session.
    pub facts: &'a Facts,
    /// `name[address]`.
    pub client: &'a str,
    /// `myhostname`.
    pub server_name: &'a str,
}

impl Macros<'_> {
    /// The value of one.
    pub fn value(&self, name: &str) -> Option<String> {
        let client = &self.facts.client;
        let of_name = |pick: fn(&PeerName) -> &str| client.name.as_ref().map_or("unknown", pick).to_owned();
        Some(match name {
            "client" => self.client.to_owned(),
            "client_address" => client.address.map_or_else(|| "unknown".to_owned(), |a| a.to_string()),
            "client_name" => of_name(|names| &names.name),
            "reverse_client_name" => of_name(|names| &names.reverse),
            "server_name" => self.server_name.to_owned(),
            _ => return policy::template::session_macro(self.facts, name),
        })
    }
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
            argument: None,
            recipient_count: 0,
            syntax_only: false,
            etrn_domain: None,
            size: 0,
            queue_id: None,
            instance: String::new(),
            message: None,
            sasl: None,
            tls: None,
            improper_pipelining: false,
            smtputf8: false,
            now: 0,
            localtime: |_| "now or never".into(),
        }
    }

    #[test]
    fn templates() {
        let facts = facts();
        let macros = Macros { facts: &facts, client: "unknown[192.0.2.1]", server_name: "mail" };
        let filter = "\\40abcdefghijklmnopqrstuvwxyz0123456789.@+<>[]";
        for (template, want) in [
            ("plain", Some("plain")),
            ("$client_address $(server_name) ${helo_name}", Some("192.0.2.1 mail h")),
            ("$sender $sender_name/$sender_domain", Some("<> <>/")),
            ("$recipient", Some("u+__@example.com")),
            ("at $localtime", Some("at now or never")),
            ("${helo_name?yes $server_name}${helo_name:no}", Some("yes mail")),
            ("${nosuch?{a}:{b $client}}", Some("b unknown[192.0.2.1]")),
            ("$$5", Some("$5")),
            ("$ x", None),
            ("${client", None),
        ] {
            let expanded = policy::template::expand(template, filter, &|name| macros.value(name));
            assert_eq!(expanded.as_deref(), want, "{template}");
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
