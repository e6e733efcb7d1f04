//! Sessions reconstructed from a mail log, Postfix's or postern's: refused recipients from `reject:` lines, accepted ones from
//! what became of their messages.

use crate::explain::from_log_line;
use crate::record::{Bound, Code, Record};
use std::collections::HashMap;
use std::sync::Arc;

/// So many messages are followed at once.
const MESSAGES: usize = 200_000;

/// Takes log lines, gives decisions.
#[derive(Default)]
pub struct LogReader {
    /// Clients of messages, by queue id.
    clients: HashMap<String, Record<Bound>>,
    senders: HashMap<String, String>,
    session: u64,
    rcpt: Option<Arc<str>>,
}

impl LogReader {
    /// What a line adds.
    pub fn line(&mut self, line: &str) -> Option<Record<Bound>> {
        let (head, text) = line.split_once("]: ")?;
        let (program, _) = head.rsplit_once('[')?;
        let program = program.rsplit([' ', '/']).next().unwrap_or_default();
        if text.contains(": reject: RCPT from ") {
            return self.refused(text);
        }
        let (id, rest) = text.split_once(": ")?;
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        if let Some(client) = rest.strip_prefix("client=") {
            if self.clients.len() > MESSAGES {
                (self.clients, self.senders) = Default::default();
            }
            let record = self.record(&format!("client={client}"))?;
            self.clients.insert(id.to_owned(), record);
            return None;
        }
        if let Some(from) = rest.strip_prefix("from=<") {
            if self.clients.contains_key(id) {
                self.senders.insert(id.to_owned(), from.split_once('>')?.0.to_owned());
            }
            return None;
        }
        if rest == "removed" {
            self.clients.remove(id);
            self.senders.remove(id);
            return None;
        }
        if matches!(program, "cleanup" | "qmgr") {
            return None;
        }
        let to = rest.strip_prefix("to=<")?.split_once('>')?.0;
        // The address as the client gave it.
        let to = rest.split_once("orig_to=<").and_then(|(_, rest)| Some(rest.split_once('>')?.0)).unwrap_or(to);
        let mut record = self.clients.get(id)?.clone();
        record.sender = Some(self.senders.get(id).cloned().unwrap_or_default());
        record.recipient = Some(to.to_owned());
        record.queue_id = None;
        Some(record)
    }

    fn refused(&mut self, text: &str) -> Option<Record<Bound>> {
        let mut record = self.record(text)?;
        let (_, reply) = text.split_once("]: ").or_else(|| text.split_once(" from ")?.1.split_once(": "))?;
        let (reply, _) = reply.rsplit_once("; from=<").or_else(|| reply.rsplit_once("; to=<"))?;
        record.reply = Some(reply.to_owned());
        Some(record)
    }

    fn record(&mut self, text: &str) -> Option<Record<Bound>> {
        let inquiry = from_log_line(text).ok()?;
        self.session += 1;
        let stage = self.rcpt.get_or_insert_with(|| "RCPT".into()).clone();
        let name = inquiry.name.unwrap_or_else(|| "unknown".to_owned());
        // The log doesn't tell why a client has no name.
        let status = if name == "unknown" { 2 } else { 0 };
        Some(Record {
            code: Code::next(0),
            at: 0,
            session: self.session,
            transaction: 0,
            service: "".into(),
            stage,
            address: inquiry.address,
            port: 0,
            name,
            reverse: None,
            statuses: (status, status),
            helo: inquiry.helo,
            esmtp: !inquiry.plain_smtp,
            sender: Some(inquiry.sender),
            recipient: inquiry.recipients.into_iter().next(),
            recipients: 0,
            size: 0,
            queue_id: None,
            login: inquiry.login.map(|name| ("PLAIN".into(), name)),
            tls: None,
            certificate: None,
            smtputf8: false,
            pipelining: false,
            reply: None,
            steps: Vec::new(),
            asked: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_put_together() {
        let lines = "\
Nov 22 12:00:00 mx postfix/smtpd[7]: connect from c.example[192.0.2.1]
Nov 22 12:00:00 mx postfix/smtpd[7]: NOQUEUE: reject: RCPT from c.example[192.0.2.1]: 554 5.7.1 <x@y.example>: Relay access denied; from=<a@b.example> to=<x@y.example> proto=ESMTP helo=<c.example>
Nov 22 12:00:01 mx postfix/smtpd[7]: 4F1: client=c.example[192.0.2.1], sasl_method=PLAIN, sasl_username=joe
Nov 22 12:00:01 mx postfix/cleanup[8]: 4F1: message-id=<1@c.example>
Nov 22 12:00:01 mx postfix/qmgr[9]: 4F1: from=<a@b.example>, size=300, nrcpt=2 (queue active)
Nov 22 12:00:02 mx postfix/smtp[10]: 4F1: to=<one@d.example>, orig_to=<list@e.example>, relay=none, delay=1, status=sent (250)
Nov 22 12:00:02 mx postfix/local[11]: 4F1: to=<two@d.example>, relay=local, status=sent (delivered)
Nov 22 12:00:02 mx postfix/qmgr[9]: 4F1: removed
Nov 22 12:00:03 mx postfix/smtp[10]: 4F1: to=<late@d.example>, relay=none, status=sent (250)
nonsense
";
        let mut reader = LogReader::default();
        let found: Vec<_> = lines.lines().filter_map(|line| reader.line(line)).collect();
        let shown: Vec<_> = found.iter().map(|record| (record.summary(), record.reply.clone())).collect();
        let refused = "554 5.7.1 <x@y.example>: Relay access denied".to_owned();
        assert_eq!(
            shown,
            [
                ("c.example[192.0.2.1] from=<a@b.example> to=<x@y.example>".to_owned(), Some(refused)),
                ("c.example[192.0.2.1] from=<a@b.example> to=<list@e.example>".to_owned(), None),
                ("c.example[192.0.2.1] from=<a@b.example> to=<two@d.example>".to_owned(), None),
            ]
        );
        assert_eq!(found[1].login.as_ref().map(|(_, name)| name.as_str()), Some("joe"));
        assert_eq!(found[0].helo.as_deref(), Some("c.example"));
    }
}
