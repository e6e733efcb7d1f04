//! What the server's reply to each command means for the transaction.

use super::{ClientEvent, ClientSession, Expected};
use crate::client::ProbeTarget;
use crate::client::capabilities::Capabilities;
use crate::client::content::ContentEncoder;
use crate::client::failure::Failure;
use crate::client::reply::ServerReply;

impl ClientSession {
    pub(super) fn greeted(&mut self, reply: &ServerReply) {
        if reply.class() != 2 {
            self.blame(reply);
            let soft = reply.class() == 5 && self.settings.skip_5xx_greeting;
            return self.fail(Failure::refused(&self.peer, reply, soft));
        }
        let name = &self.settings.helo_name;
        if self.settings.lmtp {
            let command = format!("LHLO {name}");
            return self.send(Expected::Lhlo, command);
        }
        let says_esmtp = reply.lines.iter().any(|l| l.split(' ').any(|w| w.eq_ignore_ascii_case("ESMTP")));
        if !self.settings.never_send_ehlo && (self.settings.always_send_ehlo || says_esmtp) {
            let command = format!("EHLO {name}");
            self.send(Expected::Ehlo, command);
        } else {
            let command = format!("HELO {name}");
            self.send(Expected::Helo, command);
        }
    }

    pub(super) fn helo_answered(&mut self, expected: Expected, reply: &ServerReply) {
        if reply.class() != 2 {
            if expected == Expected::Ehlo && reply.code != 421 {
                let command = format!("HELO {}", self.settings.helo_name);
                return self.send(Expected::Helo, command);
            }
            self.blame(reply);
            return self.fail(Failure::refused(&self.peer, reply, false));
        }
        let first = reply.lines.first().and_then(|l| l.get(4..)).unwrap_or("");
        self.server_name = first.split(' ').next().unwrap_or("").to_owned();
        if expected != Expected::Helo {
            self.capabilities = Capabilities::parse(reply, &self.settings.discard_keywords);
        }
        self.established = true;
        self.events.push_back(ClientEvent::Ready);
    }

    pub(super) fn mail_refused(&mut self, reply: &ServerReply) {
        self.blame(reply);
        let failure = Failure::said(&self.peer, reply, "MAIL FROM");
        self.held.clear();
        if let Some(current) = &mut self.current {
            current.refused = true;
            for result in &mut current.results {
                *result = Some(Err(failure.clone()));
            }
        }
    }

    pub(super) fn recipient_answered(&mut self, index: usize, reply: &ServerReply) {
        let Some(current) = &mut self.current else { return };
        if current.refused {
            return;
        }
        if reply.class() == 2 {
            current.accepted.push(index);
            if let (Some(ProbeTarget::Rcpt), Some(result)) = (current.probe, current.results.get_mut(index)) {
                *result = Some(Ok(reply.text()));
            }
        } else if let Some(result) = current.results.get_mut(index) {
            *result = Some(Err(Failure::said(&self.peer, reply, "RCPT TO")));
            self.blame(reply);
        }
    }

    pub(super) fn data_answered(&mut self, reply: &ServerReply) {
        let Some(current) = &mut self.current else { return };
        let wanted = !current.refused && !current.accepted.is_empty();
        if current.probe.is_some() && wanted {
            self.probe_answered(reply);
            return self.go_on();
        }
        if reply.class() == 3 && wanted {
            current.sending_content = true;
            self.encoder = ContentEncoder::new(self.settings.line_length_limit);
            return self.events.push_back(ClientEvent::SendContent);
        }
        if reply.class() == 3 {
            // RFC 2920 section 3.1: nobody is to get it, but the server waits for content.
            self.note("Out: ", ".");
            self.output.extend_from_slice(b".\r\n");
            self.expected.push_back(Expected::EmptyDot);
            return;
        }
        // After a reply that is neither go nor error, who knows what the server waits for.
        self.spent |= reply.class() < 4;
        if wanted {
            let failure = Failure::said(&self.peer, reply, "DATA");
            for index in &current.accepted {
                current.results[*index] = Some(Err(failure.clone()));
            }
            self.blame(reply);
        }
        self.finish(&Failure::temporary("4.5.0", "no result"));
    }

    /// The reply to the DATA of a probe.
    fn probe_answered(&mut self, reply: &ServerReply) {
        let Some(current) = &mut self.current else { return };
        let result = match reply.class() {
            3 => Ok(reply.text()),
            _ => Err(Failure::said(&self.peer, reply, "DATA")),
        };
        for index in &current.accepted {
            current.results[*index] = Some(result.clone());
        }
        if reply.class() < 4 {
            // There is no way back from content but to hang up.
            self.spent = true;
            self.finish(&Failure::temporary("4.5.0", "no result"));
        }
    }

    pub(super) fn content_answered(&mut self, index: Option<usize>, reply: &ServerReply) {
        let Some(current) = &mut self.current else { return };
        let result = match reply.class() {
            2 => Ok(reply.text()),
            _ => Err(Failure::said(&self.peer, reply, "end of DATA")),
        };
        match index {
            Some(index) => current.results[index] = Some(result),
            None => {
                for index in &current.accepted {
                    current.results[*index] = Some(result.clone());
                }
            }
        }
        self.dirty = false;
        if reply.class() != 2 {
            self.blame(reply);
        }
    }
}
