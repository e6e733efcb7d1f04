//! One connection without a socket: the real session and the real policy engine, and a clock that is a number.

use crate::script::{Session, Step};
use crate::world::{Scripted, Zone};
use policy::{
    Ask, Client, Decision, Evaluation, Facts, Ledger, LogEntry, MatchList, Matched, PeerName, PeerStatus, PolicyState,
    Protocol, Question, Suspend,
};
use postern::daemon::site::{Service, Site};
use smtp::server::{Authorised, Decide, EhloKeywords, Event, Flush, MessageEnd, Moment, ServerSession, Verdict};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// The moment when a dialog begins, in seconds since the epoch.
const BEGINNING: u64 = 1_700_000_000;

/// A connection and what came of it that no line of the dialog has mentioned yet.
pub struct Conversation<'a> {
    site: &'a Site,
    service: Arc<Service>,
    zone: &'a Zone,
    session: ServerSession,
    state: PolicyState,
    ledger: Ledger,
    address: IpAddr,
    peer: PeerName,
    now: u64,
    /// Bytes that the session doesn't want to read yet.
    unread: Vec<u8>,
    /// A `sleep` and when it is over.
    asleep: Option<(u64, Question, Evaluation, Decide)>,
    open: bool,
    content: Vec<u8>,
    partial: Vec<u8>,
    replies: VecDeque<String>,
    log: VecDeque<String>,
    messages: VecDeque<Vec<u8>>,
    closed: bool,
}

impl<'a> Conversation<'a> {
    /// A client has connected.
    pub fn begin(site: &'a Site, zone: &'a Zone, script: &Session) -> Result<Self, String> {
        let service = Arc::clone(&site.services[0]);
        let named = |name: &String| PeerName {
            name: name.as_str().into(),
            reverse: name.as_str().into(),
            name_status: PeerStatus::Ok,
            reverse_status: PeerStatus::Ok,
        };
        let peer = script.client_name.as_ref().map_or_else(|| zone.peer(script.from), named);
        let new =
            |authorised| ServerSession::new(Arc::clone(&service.session), Some(script.from), 40_000, authorised, 0);
        let mut this = Self {
            site,
            session: new(Authorised::default()),
            service: Arc::clone(&service),
            zone,
            state: PolicyState::new(),
            ledger: Ledger::default(),
            address: script.from,
            peer,
            now: 0,
            unread: Vec::new(),
            asleep: None,
            open: false,
            content: Vec::new(),
            partial: Vec::new(),
            replies: VecDeque::new(),
            log: VecDeque::new(),
            messages: VecDeque::new(),
            closed: false,
        };
        this.line(&format!("connect from {}", ServerSession::CLIENT));
        this.session = new(this.authorised());
        this.session.set_client_label(&this.display());
        this.session.start(0);
        this.turn()?;
        Ok(this)
    }

    /// One line of the dialog; the error says what was there instead.
    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        if matches!(step, Step::Send(_) | Step::HangUp | Step::Pass(_) | Step::Closed)
            && let Some(reply) = self.replies.front()
        {
            return Err(format!("before this line comes the reply\n       S: {reply}"));
        }
        match step {
            Step::Send(_) | Step::HangUp if self.closed => Err("the session is over".to_owned()),
            Step::Send(bytes) => {
                self.unread.extend_from_slice(bytes);
                self.turn()
            }
            Step::HangUp => {
                self.session.end_of_input(self.now);
                self.turn()
            }
            Step::Pass(milliseconds) => self.pass(*milliseconds),
            Step::Closed if self.closed => Ok(()),
            Step::Closed => Err("the session is still open".to_owned()),
            Step::Reply(text) => same("S: ", text, self.replies.pop_front()),
            Step::Log(text) => same("L: ", text, self.log.pop_front()),
            Step::Content(bytes) => {
                let found = self.messages.pop_front();
                let show = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
                same("M: ", &show(bytes), found.as_deref().map(show))
            }
        }
    }

    /// The dialog is over: no reply may be left that it doesn't mention, nor log lines or messages if it shows any.
    pub fn end(&mut self, log: bool, messages: bool) -> Result<(), String> {
        let reply = self.replies.pop_front().map(|text| format!("S: {text}"));
        let line = self.log.pop_front().filter(|_| log).map(|text| format!("L: {text}"));
        let message = self.messages.pop_front().filter(|_| messages);
        let message = message.map(|bytes| format!("M: \"{}\"", bytes.escape_ascii()));
        match reply.or(line).or(message) {
            Some(left) => Err(format!("after the last line of this session comes\n       {left}")),
            None => Ok(()),
        }
    }

    fn pass(&mut self, milliseconds: u64) -> Result<(), String> {
        let until = self.now + milliseconds;
        loop {
            let asleep = self.asleep.as_ref().map(|(at, ..)| *at);
            let Some(at) = asleep.into_iter().chain(self.session.poll_timeout()).min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            if let Some((_, question, evaluation, decide)) = self.asleep.take_if(|(at, ..)| *at <= self.now) {
                self.ledger.put(question, policy::Answer::Done);
                self.decide(decide, evaluation)?;
            } else {
                self.session.handle_timeout(self.now);
            }
            self.turn()?;
        }
        self.now = until;
        Ok(())
    }

    /// Act on events, reading on as soon as the session wants to.
    fn turn(&mut self) -> Result<(), String> {
        loop {
            while let Some(event) = self.session.poll(self.now) {
                self.handle(event)?;
            }
            if self.unread.is_empty() || !self.session.wants_input() {
                break;
            }
            self.session.receive(self.now, &std::mem::take(&mut self.unread));
        }
        self.session.take_output(&mut self.partial);
        while let Some(end) = self.partial.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = self.partial.drain(..end + 2).collect();
            self.replies.push_back(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Decide(decide) => {
                if decide.moment == Moment::Mail {
                    self.forget_transaction();
                }
                let evaluation = Evaluation::start(decide.moment, decide.stage);
                self.decide(decide, evaluation)?;
            }
            Event::Open => {
                self.open = true;
                self.line(&format!("QID: client={}", ServerSession::CLIENT));
                self.session.opened(Ok("QID".to_owned()));
            }
            Event::Recipient => {}
            Event::Content => self.session.take_content(&mut self.content),
            Event::Commit => {
                self.messages.push_back(std::mem::take(&mut self.content));
                self.session.committed(MessageEnd::Queued);
                self.forget_transaction();
            }
            Event::Abort => self.forget_transaction(),
            Event::Count(_) => self.session.counted(false),
            Event::MatchForbidden(word) => {
                let tables = &self.service.session_maps.forbidden_commands;
                let found = tables.iter().any(|id| matches!(self.site.tables.lookup(*id, &word), Ok(Some(_))));
                self.session.forbidden(found);
            }
            Event::Flush => self.session.flushed(Flush::Unavailable),
            Event::Log(text) => self.line(&text),
            Event::Warning(text) => self.line(&format!("warning: {text}")),
            Event::Close => {
                self.closed = true;
                self.line(&format!("disconnect from {} {}", ServerSession::CLIENT, self.session.statistics()));
            }
            Event::Auth(_) | Event::FilterCommand(_) | Event::FinishReply(_) | Event::ClientChanged(_) => {
                return Err(format!("not possible in a dialog: {event:?}"));
            }
        }
        Ok(())
    }

    fn forget_transaction(&mut self) {
        self.open = false;
        self.content.clear();
        self.state.reset_transaction();
        self.ledger.clear();
    }

    fn decide(&mut self, decide: Decide, mut evaluation: Evaluation) -> Result<(), String> {
        let facts = self.facts();
        let mut world = Scripted { zone: self.zone, tables: &self.site.tables };
        let mut ask = Ask { ledger: &mut self.ledger, world: &mut world };
        match evaluation.run(&self.service.plan, &facts, &mut self.state, &mut ask) {
            Ok(decision) => {
                let verdict = self.act(&decide, decision);
                self.session.resolve(verdict);
            }
            Err(Suspend) => match self.ledger.take_pending().pop() {
                Some(question @ Question::Sleep { seconds, .. }) => {
                    let until = self.now + u64::from(seconds) * 1000;
                    self.asleep = Some((until, question, evaluation, decide));
                }
                question => return Err(format!("nobody answers {question:?}")),
            },
        }
        Ok(())
    }

    fn act(&mut self, decide: &Decide, decision: Decision) -> Verdict {
        for entry in decision.log {
            match entry {
                LogEntry::Warning(text) | LogEntry::WarningOnce(text) => self.line(&format!("warning: {text}")),
                LogEntry::Plain(text) => self.line(&text),
                LogEntry::Event { word, text } => {
                    let id = if self.open { "QID" } else { "NOQUEUE" };
                    let (client, context) = (self.display(), self.session.log_context());
                    self.line(&format!("{id}: {word}: {} from {client}: {text};{context}", decide.stage));
                }
            }
        }
        match decision.rejection {
            _ if decision.hang_up => Verdict::HangUp,
            Some(rejection) => Verdict::Reject { reply: rejection.reply, counts: !rejection.no_error_count },
            None => Verdict::Permit,
        }
    }

    fn facts(&self) -> Facts {
        let session = &self.session;
        Facts {
            client: Client { address: Some(self.address), port: 40_000, name: Some(self.peer.clone()) },
            server_address: Some([127, 0, 0, 1].into()),
            server_port: 25,
            helo: session.helo_name().map(str::to_owned),
            protocol: if session.protocol() == "ESMTP" { Protocol::Esmtp } else { Protocol::Smtp },
            sender: session.sender().map(str::to_owned),
            recipient: session.recipient().map(str::to_owned),
            argument: session.argument().map(str::to_owned),
            recipient_count: session.recipients().len(),
            etrn_domain: session.etrn_domain().map(str::to_owned),
            size: match session.bytes_received() {
                0 => session.mail_options().size,
                received => received,
            },
            queue_id: self.open.then(|| "QID".to_owned()),
            instance: String::new(),
            sasl: None,
            tls: None,
            improper_pipelining: session.improper_pipelining(),
            smtputf8: session.mail_options().smtputf8,
            now: BEGINNING + self.now / 1000,
            localtime: |_| "Nov 14 22:13:20".to_owned(),
        }
    }

    fn authorised(&mut self) -> Authorised {
        let service = Arc::clone(&self.service);
        let lists = &service.authorisation;
        let mut matches = |list: &MatchList| {
            let mut world = Scripted { zone: self.zone, tables: &self.site.tables };
            let mut ask = Ask { ledger: &mut self.ledger, world: &mut world };
            list.matches_host(&self.peer.name, Some(self.address), &mut ask) == Ok(Matched::Yes)
        };
        Authorised {
            xclient: matches(&lists.xclient),
            xforward: matches(&lists.xforward),
            verp: matches(&lists.verp),
            bare_newline_exempt: matches(&lists.bare_newline),
            event_limit_exempt: true,
            discard_ehlo_keywords: EhloKeywords::parse(&service.parameters.get("smtpd_discard_ehlo_keywords")).0,
        }
    }

    fn display(&self) -> String {
        format!("{}[{}]", self.peer.name, self.address)
    }

    fn line(&mut self, text: &str) {
        self.log.push_back(text.replace(ServerSession::CLIENT, &self.display()));
    }
}

fn same(kind: &str, expected: &str, found: Option<String>) -> Result<(), String> {
    match found {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(format!("not as expected\nexpected {kind}{expected}\n   found {kind}{found}")),
        None => Err(format!("not as expected\nexpected {kind}{expected}\n   found nothing yet")),
    }
}
