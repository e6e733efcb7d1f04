//! Refusals on their way out: `smtpd_reject_filter_maps`, then `smtpd_reject_footer` (evaluation.md §11); and commands that
//! `smtpd_command_filter` replaced.

use super::footer::{self, Macros};
use crate::daemon::site::Service;
use policy::Facts;
use smtp::server::{ServerSession, without_secrets};

/// A reply under work, and what the log has to say about it.
pub struct Finished {
    /// The reply.
    pub reply: String,
    /// Log lines.
    pub log: Vec<String>,
}

impl Finished {
    /// As the policy or the session made it.
    pub fn new(reply: String) -> Self {
        Self { reply, log: Vec::new() }
    }

    /// A filter has another one.
    pub fn filter(&mut self, new: &str, queue_id: Option<&str>) {
        if !is_refusal(new) {
            self.log.push(format!("warning: ignoring invalid reject filter result: {new}"));
            return;
        }
        let id = queue_id.unwrap_or("NOQUEUE");
        self.log.push(format!("{id}: reply filter in: {}", self.reply));
        self.log.push(format!("{id}: reply filter out: {new}"));
        self.reply = new.to_owned();
    }

    /// A footer is put behind it.
    pub fn add_footer(&mut self, template: &str, facts: &Facts, client: &str, service: &Service) {
        let macros = Macros { facts, client, server_name: &service.my_hostname };
        let filter = &service.session_maps.expansion_filter;
        match policy::template::expand(template, filter, &|name| macros.value(name)) {
            Some(expanded) => self.reply = footer::append(&self.reply, &expanded),
            None => self.log.push(format!("warning: smtpd_reject_footer: syntax error in \"{template}\"")),
        }
    }
}

/// The line about a command that was replaced.
pub fn replaced_command(old: &[u8], new: &str) -> String {
    let old = String::from_utf8_lossy(without_secrets(old));
    let new = String::from_utf8_lossy(without_secrets(new.as_bytes()));
    format!("{}: replacing command \"{old}\" with \"{new}\"", ServerSession::CLIENT)
}

/// May a filter's result be sent: 4xx or 5xx on each line, and an enhanced code of the same class.
fn is_refusal(text: &str) -> bool {
    !text.is_empty()
        && text.split('\n').all(|line| {
            let bytes = line.as_bytes();
            let code = bytes.len() >= 4
                && matches!(bytes[0], b'4' | b'5')
                && bytes[1..3].iter().all(u8::is_ascii_digit)
                && matches!(bytes[3], b' ' | b'-');
            let class_fits = match bytes.get(4..6) {
                Some([class @ b'0'..=b'9', b'.']) => *class == bytes[0],
                _ => true,
            };
            code && class_fits
        })
}

#[cfg(test)]
mod tests {
    use super::is_refusal;

    #[test]
    fn filter_results() {
        assert!(is_refusal("521 5.7.1 bye"));
        assert!(is_refusal("450 text"));
        assert!(is_refusal("550-5.1.1 a\n550 5.1.1 b"));
        for bad in ["", "250 ok", "55 x", "550x", "550 4.1.1 x", "5500"] {
            assert!(!is_refusal(bad), "{bad}");
        }
    }
}
