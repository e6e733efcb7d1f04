//! Dialogs with a scripted client and a small policy.
//!
//! `C: line` is sent with CRLF; `C| line` goes out together with the lines after it; `R: "raw"` are exact bytes;
//! `T: 1000` lets that many milliseconds pass; `X:` closes the client's side. `S: line` is a reply line, in order,
//! `S: <closed>` the end. `L: line` is a log line (`W: ` a warning), `E: word` an event of the message's life, `M: "…"`
//! the content that was committed, `D: …` the statistics: each kind in its own order over the whole script.

mod auth;
mod chunking;
mod limits;
mod mail;
mod milter;
mod protocol;
mod proxy;
mod tls;

use super::*;
use std::collections::VecDeque;
use std::sync::Arc;

pub(super) fn config() -> SessionConfig {
    SessionConfig {
        myhostname: "mail.example.com".to_owned(),
        smtpd_banner: "mail.example.com ESMTP Postfix".to_owned(),
        ..SessionConfig::default()
    }
}

/// Without delays.
pub(super) fn patient() -> SessionConfig {
    SessionConfig { smtpd_soft_error_limit: 1000, smtpd_hard_error_limit: 1000, ..config() }
}

/// Refuses what is called bad.
pub(super) fn policy(session: &ServerSession, decide: &Decide) -> Verdict {
    let reject = |reply: String| Verdict::Reject { reply, counts: true, class: ErrorClass::Policy };
    let sender = session.sender().unwrap_or_default();
    match decide.moment {
        Moment::Connect => match session.client_address().map(|a| a.to_string()).as_deref() {
            Some("203.0.113.1") => {
                reject("554 5.7.1 <unknown[203.0.113.1]>: Client host rejected: no client".to_owned())
            }
            Some("203.0.113.2") => reject("421 4.7.1 <unknown[203.0.113.2]>: Client host rejected: go away".to_owned()),
            Some("203.0.113.4") => Verdict::HangUp,
            Some("203.0.113.11") => Verdict::Milter("550 5.7.1 Command rejected".to_owned()),
            Some("203.0.113.12") => Verdict::Milter("421 4.7.1 go".to_owned()),
            Some("203.0.113.13") => Verdict::Milter("451 4.7.1 not now".to_owned()),
            _ => Verdict::Permit,
        },
        Moment::Helo if session.helo_name() == Some("bad.example") => {
            reject("554 5.7.1 <bad.example>: Helo command rejected: bad".to_owned())
        }
        Moment::Helo if session.helo_name() == Some("hang.example") => Verdict::HangUp,
        Moment::Helo if session.helo_name() == Some("milter") => Verdict::Milter("550 5.7.1 no".to_owned()),
        Moment::Helo if session.helo_name() == Some("shut") => Verdict::Milter("421 4.7.0 bye".to_owned()),
        Moment::Mail if sender == "bad@example.org" => {
            reject("554 5.7.1 <bad@example.org>: Sender address rejected: Access denied".to_owned())
        }
        Moment::Rcpt | Moment::Vrfy => {
            let recipient = session.pending_recipient().unwrap_or_default();
            match recipient.split('@').next() {
                Some("bad") => reject(format!("554 5.7.1 <{recipient}>: Recipient address rejected: Access denied")),
                Some("drop") => reject(format!("421 4.7.0 <{recipient}>: Recipient address rejected: closing now")),
                Some("free") => Verdict::Reject {
                    reply: format!("450 4.7.1 <{recipient}>: later"),
                    counts: false,
                    class: ErrorClass::Policy,
                },
                Some("hang") => Verdict::HangUp,
                _ => Verdict::Permit,
            }
        }
        Moment::Etrn if session.etrn_domain() == Some("bad.example") => {
            reject("554 5.7.1 <bad.example>: Etrn command rejected: Access denied".to_owned())
        }
        Moment::Data if sender == "milter@example.org" => Verdict::Milter("554-5.7.1 a\r\n554 5.7.1 b".to_owned()),
        Moment::Data if sender == "data@example.org" => {
            reject(format!("554 5.7.1 <{}>: Data command rejected: Access denied", decide.stage))
        }
        Moment::EndOfData if sender == "end@example.org" => {
            reject("554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: quota exceeded".to_owned())
        }
        Moment::EndOfData if sender == "e521@example.org" => {
            reject("521 5.7.0 <e521@example.org>: Sender address rejected: closing at end".to_owned())
        }
        _ => Verdict::Permit,
    }
}

/// A session with its driver.
pub(super) struct Dialog {
    pub(super) session: ServerSession,
    pub(super) now: u64,
    pub(super) replies: VecDeque<String>,
    partial: Vec<u8>,
    pub(super) logs: Vec<String>,
    pub(super) events: Vec<String>,
    pub(super) messages: Vec<String>,
    pub(super) notices: Vec<Notice>,
    content: Vec<u8>,
    ids: u32,
    pub(super) closed: bool,
    /// What becomes of a message.
    pub(super) end: fn(&str) -> MessageEnd,
    /// What becomes of STARTTLS.
    pub(super) handshake: Handshake,
}

impl Dialog {
    pub(super) fn new(config: SessionConfig, client: &str, authorised: Authorised) -> Self {
        let session = ServerSession::new(Arc::new(config), client.parse().ok(), 4321, authorised, 0);
        Self {
            session,
            now: 0,
            replies: VecDeque::new(),
            partial: Vec::new(),
            logs: Vec::new(),
            events: Vec::new(),
            messages: Vec::new(),
            notices: Vec::new(),
            content: Vec::new(),
            ids: 0,
            closed: false,
            end: |_| MessageEnd::Queued,
            handshake: Handshake::Established,
        }
    }

    pub(super) fn start(&mut self) {
        self.session.start(self.now);
        self.turn();
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.session.receive(self.now, bytes);
        self.turn();
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            self.turn();
        }
        self.now = until;
    }

    pub(super) fn turn(&mut self) {
        while let Some(event) = self.session.poll(self.now) {
            assert!(!self.closed, "{event:?} after the end");
            self.answer(event);
        }
        let mut out = std::mem::take(&mut self.partial);
        self.session.take_output(&mut out);
        let text = String::from_utf8(out).unwrap();
        self.replies.extend(text.split_terminator("\r\n").map(str::to_owned));
    }

    fn answer(&mut self, event: Event) {
        match event {
            Event::Decide(decide) => {
                let verdict = policy(&self.session, &decide);
                self.session.resolve(verdict);
            }
            Event::Open => {
                self.ids += 1;
                self.events.push(format!("Open Q{}", self.ids));
                self.content.clear();
                self.session.opened(match self.session.sender() {
                    Some("noqueue@example.org") => Err("451 4.3.0 Error: queue file write error".to_owned()),
                    _ => Ok(format!("Q{}", self.ids)),
                });
            }
            Event::Recipient => {
                let recipient = self.session.recipients().last().unwrap().address.clone();
                self.session.recipient_answered(match recipient.as_str() {
                    "proxy@example.com" => Err("550 5.1.1 <proxy@example.com>: no".to_owned()),
                    _ => Ok(()),
                });
            }
            Event::Data => {
                let sender = self.session.sender().unwrap_or_default();
                let refuses = sender.starts_with("nodata");
                let answer = if refuses { Err("554 5.7.1 no content".to_owned()) } else { Ok(()) };
                self.session.data_answered(answer);
            }
            Event::Content => self.session.take_content(&mut self.content),
            Event::Commit => {
                self.events.push("Commit".to_owned());
                let message = String::from_utf8_lossy(&std::mem::take(&mut self.content)).into_owned();
                self.session.committed((self.end)(&message));
                self.messages.push(message);
            }
            Event::Abort => self.events.push("Abort".to_owned()),
            Event::FilterCommand(line) => self.session.filtered(match line.as_slice() {
                b"FAIL" => Err(()),
                b"PING" => Ok(Some(b"NOOP".to_vec())),
                _ => Ok(None),
            }),
            Event::FinishReply(text) => {
                let sender = self.session.sender().unwrap_or("-").to_owned();
                self.session.finish_reply(&format!("{}-{}\n{} sender {sender}", &text[..3], &text[4..], &text[..3]));
            }
            Event::Auth(step) => self.auth(step),
            Event::StartTls => {
                let mut sent = std::mem::take(&mut self.partial);
                self.session.take_output(&mut sent);
                self.replies.extend(String::from_utf8(sent).unwrap().split_terminator("\r\n").map(str::to_owned));
                self.events.push("StartTls".to_owned());
                self.session.tls_started(self.now, self.handshake);
            }
            Event::Count(rate) => {
                let client = match rate {
                    Rate::Connection => self.session.client_address() == Some("192.0.2.99".parse().unwrap()),
                    _ => {
                        self.session.stage() == "VRFY"
                            || (rate != Rate::Recipient && self.session.helo_name() == Some("many"))
                    }
                };
                let login = self.session.login().is_some() && self.session.helo_name() == Some("busy");
                self.session.counted(match (client, login) {
                    (true, _) => Counted::ClientOver,
                    (_, true) => Counted::LoginOver,
                    _ => Counted::Within,
                });
            }
            Event::MilterUnknown(word) => {
                self.session.milter_answered((word == "XTEMP").then(|| "451 4.7.1 later".to_owned()));
            }
            Event::MatchForbidden(word) => self.session.forbidden(word.starts_with("FORBID")),
            Event::Flush => self.session.flushed(match self.session.etrn_domain() {
                Some("relay.example") => Flush::Started,
                Some("broken.example") => Flush::Failed,
                _ => Flush::Unavailable,
            }),
            Event::ClientChanged(identity) => {
                self.events.push(format!("ClientChanged {:?}", identity.name));
                self.session.client_changed_done(Authorised::default());
            }
            Event::Notify(notice) => self.notices.push(notice),
            Event::Log(text) => self.logs.push(text.replace(ServerSession::CLIENT, "NA")),
            Event::Warning(text) => self.logs.push(format!("warning: {}", text.replace(ServerSession::CLIENT, "NA"))),
            Event::Close => self.closed = true,
        }
    }

    fn auth(&mut self, step: AuthStep) {
        let response = match &step {
            AuthStep::Start { response, .. } => response.as_deref().unwrap_or("-"),
            AuthStep::Continue(response) => response,
            AuthStep::Cancel => "",
        };
        self.events.push(format!("Auth {step:?} {response}").trim_end().to_owned());
        let user = |name: &str| Some(name.to_owned());
        self.session.auth_answered(match response {
            "Z29vZA==" => AuthAnswer::Success { username: "user".to_owned() },
            "YmFk" => AuthAnswer::Failure { username: user("bad"), reason: "no such user".to_owned() },
            "NOOP" => AuthAnswer::Failure { username: user("user"), reason: String::new() },
            "ZG93bg==" => AuthAnswer::Unavailable { reason: "Connection lost to authentication server".to_owned() },
            _ if step == AuthStep::Cancel => return,
            _ => AuthAnswer::Challenge("VXNlcm5hbWU6".to_owned()),
        });
    }

    /// Play a script that begins with `start`.
    pub(super) fn play(mut self, script: &str) {
        let mut group = Vec::new();
        let (mut logs, mut events, mut messages, mut statistics) = (vec![], vec![], vec![], None);
        if self.session.stage() == "CONNECT" {
            self.start();
        }
        for line in script.lines().map(str::trim_start).filter(|l| !l.is_empty()) {
            let (kind, text) = line.split_at(2);
            let text = text.strip_prefix(' ').unwrap_or(text);
            match kind {
                "C|" => group.extend_from_slice(format!("{text}\r\n").as_bytes()),
                "C:" => {
                    group.extend_from_slice(format!("{text}\r\n").as_bytes());
                    self.send(&std::mem::take(&mut group));
                }
                "R:" => self.send(&unescape(text)),
                "T:" => self.pass(text.parse().unwrap()),
                "X:" => {
                    self.session.end_of_input(self.now);
                    self.turn();
                }
                "S:" if text == "<closed>" => {
                    assert!(self.closed && self.replies.is_empty(), "{line}: {:?}", self.replies)
                }
                "S:" => assert_eq!(self.replies.pop_front().as_deref(), Some(text), "in {script}"),
                "L:" => logs.push(text.to_owned()),
                "W:" => logs.push(format!("warning: {text}")),
                "E:" => events.push(text.to_owned()),
                "M:" => messages.push(String::from_utf8(unescape(text)).unwrap()),
                "D:" => statistics = Some(text.to_owned()),
                _ => panic!("{line}"),
            }
        }
        assert_eq!(self.replies, VecDeque::<String>::new(), "left over in {script}");
        assert_eq!(self.logs, logs, "in {script}");
        if !events.is_empty() {
            assert_eq!(self.events, events, "in {script}");
        }
        if !messages.is_empty() {
            assert_eq!(self.messages, messages, "in {script}");
        }
        if let Some(statistics) = statistics {
            assert_eq!(self.session.statistics(), statistics, "in {script}");
        }
    }
}

/// `"a\r\n\x00"` as bytes.
fn unescape(text: &str) -> Vec<u8> {
    let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap();
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next().unwrap() {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            other => bytes.push(other),
        }
    }
    bytes
}

pub(super) fn play(config: SessionConfig, script: &str) {
    Dialog::new(config, "192.0.2.10", Authorised::default()).play(script);
}
