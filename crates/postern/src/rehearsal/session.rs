//! One connection without a socket.

use super::content::{Cleaned, Incoming};
use crate::daemon::site::Service;
use crate::driver::facts::{self, Surroundings};
use crate::driver::reply::{self, Finished};
use policy::{
    Answer, Ask, Client, Decision, DkimResult, DkimVerdict, Effect, Evaluation, Facts, Ledger, LogEntry, MatchList,
    Matched, MessageFacts, PeerName, PolicyState, Question, Sasl, Suspend, TableId, Tls, World,
};
use smtp::server::{
    Authorised, Counted, Decide, EhloKeywords, Event, Flush, Handshake, MessageEnd, Moment, ServerSession,
    SessionConfig, Verdict,
};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// Who connects to what, and when.
pub struct Setting {
    /// The service that is connected to.
    pub service: Arc<Service>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Its names.
    pub names: PeerName,
    /// Our end.
    pub server_address: Option<IpAddr>,
    /// Our port.
    pub server_port: u16,
    /// It has logged in.
    pub login: Option<Sasl>,
    /// It talks TLS.
    pub tls: Option<Tls>,
    /// When it connects, in seconds since the epoch.
    pub epoch: u64,
    /// How `$localtime` shows that.
    pub localtime: fn(u64) -> String,
    /// Keep decisions with all questions.
    pub keep: bool,
    /// Messages go through cleanup; otherwise they are all accepted.
    pub cleanup: bool,
    /// Domains whose signatures messages have, as if they were good.
    pub signers: Vec<String>,
}

/// A decision that was kept.
pub struct Decided {
    /// When it was due.
    pub moment: Moment,
    /// The command word.
    pub stage: &'static str,
    /// What was known.
    pub facts: Facts,
    /// What it came to, with its trace.
    pub decision: Decision,
    /// What the trace's steps asked.
    pub asked: Vec<(Question, Answer)>,
}

/// Why a rehearsal can't go on.
#[derive(Debug)]
pub enum Stuck {
    /// Nobody answers this.
    Question(Box<Question>),
    /// The session wants what a rehearsal doesn't have.
    Impossible(String),
}

/// A connection and what came of it.
pub struct Rehearsal<W> {
    setting: Setting,
    world: W,
    session: ServerSession,
    state: PolicyState,
    ledger: Ledger,
    now: u64,
    /// How often the client has begun anew, as far as decisions know.
    resets: u64,
    /// Bytes that the session doesn't want to read yet.
    unread: Vec<u8>,
    /// A `sleep` and when it is over.
    asleep: Option<(u64, Question, Evaluation, Decide)>,
    open: bool,
    content: Vec<u8>,
    /// What is known of it, once it is whole.
    message: Option<Arc<MessageFacts>>,
    /// What held before the decision at the end of a message.
    before: Option<PolicyState>,
    /// What access rules want done with the message, and how many of them came before its content.
    effects: Vec<Effect>,
    early: usize,
    partial: Vec<u8>,
    /// Reply lines that nobody took yet.
    pub replies: VecDeque<String>,
    /// Log lines likewise.
    pub log: VecDeque<String>,
    /// Messages that were accepted, as received.
    pub messages: VecDeque<Vec<u8>>,
    /// The server has closed the connection.
    pub closed: bool,
    /// Decisions, where they are kept.
    pub decided: Vec<Decided>,
    /// What cleanup made of the last message.
    pub cleaned: Option<Cleaned>,
}

impl<W: World> Rehearsal<W> {
    /// A client has connected.
    ///
    /// # Errors
    /// When the greeting already hinges on something that nobody answers.
    pub fn begin(setting: Setting, world: W) -> Result<Self, Stuck> {
        let mut config = Arc::clone(&setting.service.session);
        if config.smtpd_use_tls && !config.tls_available {
            // Nobody needs the keys for this.
            config = Arc::new(SessionConfig { tls_available: true, ..SessionConfig::clone(&config) });
        }
        let (address, port) = (setting.address, setting.port);
        let new = |authorised| ServerSession::new(Arc::clone(&config), address, port, authorised, 0);
        let ledger = if setting.keep { Ledger::with_journal() } else { Ledger::default() };
        let mut this = Self {
            session: new(Authorised::default()),
            setting,
            world,
            state: PolicyState::new(),
            ledger,
            now: 0,
            resets: 0,
            unread: Vec::new(),
            asleep: None,
            open: false,
            content: Vec::new(),
            message: None,
            before: None,
            effects: Vec::new(),
            early: 0,
            partial: Vec::new(),
            replies: VecDeque::new(),
            log: VecDeque::new(),
            messages: VecDeque::new(),
            closed: false,
            decided: Vec::new(),
            cleaned: None,
        };
        this.line(&format!("connect from {}", ServerSession::CLIENT));
        this.session = new(this.authorised());
        this.session.set_client_label(&this.display());
        if this.setting.tls.is_some() {
            this.session.begin_under_tls();
        }
        this.session.start(0);
        this.turn()?;
        Ok(this)
    }

    /// The client sends bytes.
    ///
    /// # Errors
    /// When the session can't go on.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Stuck> {
        self.unread.extend_from_slice(bytes);
        self.turn()
    }

    /// The client closes the connection.
    ///
    /// # Errors
    /// When the session can't go on.
    pub fn hang_up(&mut self) -> Result<(), Stuck> {
        self.session.end_of_input(self.now);
        self.turn()
    }

    /// Time passes.
    ///
    /// # Errors
    /// When the session can't go on.
    pub fn pass(&mut self, milliseconds: u64) -> Result<(), Stuck> {
        let until = self.now + milliseconds;
        loop {
            let asleep = self.asleep.as_ref().map(|(at, ..)| *at);
            let Some(at) = asleep.into_iter().chain(self.session.poll_timeout()).min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            if let Some((_, question, evaluation, decide)) = self.asleep.take_if(|(at, ..)| *at <= self.now) {
                self.ledger.put(question, Answer::Done);
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
    fn turn(&mut self) -> Result<(), Stuck> {
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

    fn handle(&mut self, event: Event) -> Result<(), Stuck> {
        let maps = Arc::clone(&self.setting.service);
        let maps = &maps.session_maps;
        match event {
            Event::Decide(decide) => {
                if decide.moment == Moment::Mail {
                    self.forget_transaction();
                }
                // RSET ends what VRFY began without a message, too.
                if self.resets != self.session.resets() {
                    self.resets = self.session.resets();
                    self.state.reset_transaction();
                }
                self.before = (decide.moment == Moment::EndOfData).then(|| self.state.clone());
                let evaluation = Evaluation::start(decide.moment, decide.stage);
                self.decide(decide, evaluation)?;
            }
            Event::Open => {
                let id = if self.setting.service.proxy_filter.is_some() { "NOQUEUE" } else { "QID" };
                self.open = id == "QID";
                self.line(&format!("{id}: client={}", ServerSession::CLIENT));
                self.session.opened(Ok(id.to_owned()));
            }
            // The next hop of a rehearsal takes everything.
            Event::Recipient => self.session.recipient_answered(Ok(())),
            Event::Data => self.session.data_answered(Ok(())),
            Event::Content => self.session.take_content(&mut self.content),
            Event::Commit => {
                let content = std::mem::take(&mut self.content);
                let end = match self.setting.cleanup {
                    _ if self.setting.service.proxy_filter.is_some() => MessageEnd::Relayed("250 2.0.0 Ok".to_owned()),
                    true => self.clean(&content),
                    false => MessageEnd::Queued,
                };
                self.messages.push_back(content);
                self.session.committed(end);
                self.forget_transaction();
            }
            Event::Abort => self.forget_transaction(),
            Event::Count(_) => self.session.counted(Counted::Within),
            Event::MatchForbidden(word) => {
                let found = self.first_value(&maps.forbidden_commands, &word);
                self.session.forbidden(matches!(found, Ok(Some(_))));
            }
            Event::FilterCommand(line) => {
                let found = self.first_value(&maps.command_filter, &String::from_utf8_lossy(&line));
                if let Ok(Some(new)) = &found {
                    self.line(&reply::replaced_command(&line, new));
                }
                self.session.filtered(found.map(|new| new.map(|new| new.as_bytes().to_vec())));
            }
            Event::FinishReply(text) => {
                let finished = self.finish(text);
                self.session.finish_reply(&finished);
            }
            // No filters are asked in a rehearsal.
            Event::MilterUnknown(_) => self.session.milter_answered(None),
            Event::Flush => self.session.flushed(Flush::Unavailable),
            // Nobody is written to in a rehearsal.
            Event::Notify(_) => {}
            Event::Log(text) => self.line(&text),
            Event::Warning(text) => self.line(&format!("warning: {text}")),
            Event::Close => {
                self.closed = true;
                self.line(&format!("disconnect from {} {}", ServerSession::CLIENT, self.session.statistics()));
            }
            Event::StartTls => {
                self.setting.tls = Some(Tls {
                    protocol: "TLSv1.3".to_owned(),
                    cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
                    bits: 256,
                    ..Tls::default()
                });
                self.session.tls_started(self.now, Handshake::Established);
            }
            Event::Auth(_) => return Err(Stuck::Impossible("AUTH is not possible here".to_owned())),
            Event::ClientChanged(_) => return Err(Stuck::Impossible("XCLIENT is not possible here".to_owned())),
        }
        Ok(())
    }

    /// Let cleanup see the message.
    fn clean(&mut self, content: &[u8]) -> MessageEnd {
        let (service, facts, origin) = (Arc::clone(&self.setting.service), self.facts(), self.display());
        let recipients = self.session.recipients().iter().map(|recipient| recipient.address.clone()).collect();
        let (effects, early) = (&self.effects, self.early);
        let incoming = Incoming { service: &service, facts: &facts, origin, recipients, effects, early };
        let cleaned = incoming.clean(content, &mut self.world);
        for line in &cleaned.log {
            self.log.push_back(line.text.clone());
        }
        let end = match &cleaned.refusal {
            Some(reply) => MessageEnd::Refused(reply.clone()),
            None => MessageEnd::Queued,
        };
        self.cleaned = Some(cleaned);
        end
    }

    fn finish(&mut self, text: String) -> String {
        let service = Arc::clone(&self.setting.service);
        let maps = &service.session_maps;
        let mut finished = Finished::new(text);
        if let Ok(Some(new)) = self.first_value(&maps.reject_filter, &finished.reply) {
            finished.filter(&new, self.open.then_some("QID"));
        }
        let found = self.first_value(&maps.reject_footer, &finished.reply);
        let template = found.ok().flatten().unwrap_or_else(|| maps.footer.as_str().into());
        if !template.is_empty() {
            let mut facts = self.facts();
            facts.recipient = self.session.recipients().last().map(|r| r.address.clone());
            finished.add_footer(&template, &facts, &self.display(), &service);
        }
        finished.log.iter().for_each(|line| self.line(line));
        finished.reply
    }

    /// The first value of a key in a list of tables.
    fn first_value(&mut self, tables: &[u32], key: &str) -> Result<Option<Arc<str>>, ()> {
        for table in tables {
            match self.world.answer(&Question::Table { table: TableId(*table), key: key.into() }) {
                Some(Answer::Table(Ok(None))) => {}
                Some(Answer::Table(Ok(found))) => return Ok(found),
                _ => return Err(()),
            }
        }
        Ok(None)
    }

    fn forget_transaction(&mut self) {
        self.open = false;
        self.content.clear();
        self.message = None;
        self.effects.clear();
        self.state.reset_transaction();
        self.ledger.clear();
    }

    /// What restrictions at the end of data may know of the message.
    fn look_at_message(&mut self) -> Result<(), Stuck> {
        if self.content.is_empty() || self.message.is_some() {
            return Ok(());
        }
        let mut intake = message::dkim::Intake::new();
        intake.feed(&self.content);
        let now = self.setting.epoch + self.now / 1000;
        let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.world };
        let (mut facts, _) = crate::authentication::judge(&intake.finish(), now, &mut ask);
        if let Some(question) = self.ledger.take_pending().pop() {
            return Err(Stuck::Question(Box::new(question)));
        }
        facts.dkim.extend(self.setting.signers.iter().map(|domain| DkimVerdict {
            result: DkimResult::Pass,
            domain: domain.to_lowercase(),
            ..DkimVerdict::default()
        }));
        self.message = Some(Arc::new(facts));
        Ok(())
    }

    fn decide(&mut self, decide: Decide, mut evaluation: Evaluation) -> Result<(), Stuck> {
        let plan_asks = decide.moment == Moment::EndOfData && self.setting.service.plan.asks_about_messages();
        if plan_asks {
            self.look_at_message()?;
        }
        let facts = self.facts();
        let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.world };
        match evaluation.run(&self.setting.service.plan, &facts, &mut self.state, &mut ask) {
            // As in a session with a socket: once more, with the message.
            Ok(decision) if decision.wants_message && facts.message.is_none() && !self.content.is_empty() => {
                self.ledger.drop_journal();
                self.look_at_message()?;
                self.state = self.before.take().unwrap_or_default();
                self.decide(decide.clone(), Evaluation::start(decide.moment, decide.stage))
            }
            Ok(decision) => {
                let verdict = self.act(&decide, &decision);
                if self.setting.keep {
                    let asked = self.ledger.take_journal();
                    let (moment, stage) = (decide.moment, decide.stage);
                    self.decided.push(Decided { moment, stage, facts, decision, asked });
                }
                self.session.resolve(verdict);
                Ok(())
            }
            Err(Suspend) => match self.ledger.take_pending().pop() {
                Some(question @ Question::Sleep { seconds, .. }) => {
                    let until = self.now + u64::from(seconds) * 1000;
                    self.asleep = Some((until, question, evaluation, decide));
                    Ok(())
                }
                Some(question) => Err(Stuck::Question(Box::new(question))),
                None => Err(Stuck::Impossible("the policy waits for nothing".to_owned())),
            },
        }
    }

    fn act(&mut self, decide: &Decide, decision: &Decision) -> Verdict {
        for entry in &decision.log {
            match entry {
                LogEntry::Warning(text) | LogEntry::WarningOnce(text) => self.line(&format!("warning: {text}")),
                LogEntry::Plain(text) => self.line(text),
                LogEntry::Event { word, text } => {
                    let id = self.open.then_some("QID");
                    self.line(&facts::event_line(id, decide.stage, word, text, &self.session));
                }
            }
        }
        self.effects.extend(decision.effects.iter().cloned());
        if decide.moment != Moment::EndOfData {
            self.early = self.effects.len();
        }
        match &decision.rejection {
            _ if decision.hang_up => Verdict::HangUp,
            Some(rejection) => {
                let counts = !rejection.no_error_count;
                Verdict::Reject { reply: rejection.reply.clone(), counts, class: rejection.class }
            }
            None => Verdict::Permit,
        }
    }

    fn facts(&self) -> Facts {
        let setting = &self.setting;
        let client = Client { address: setting.address, port: setting.port, name: Some(setting.names.clone()) };
        let around = Surroundings {
            client,
            server_address: setting.server_address,
            server_port: setting.server_port,
            queue_id: self.open.then(|| "QID".to_owned()),
            instance: String::new(),
            message: self.message.clone(),
            sasl: setting.login.clone(),
            tls: setting.tls.clone(),
            now: setting.epoch + self.now / 1000,
            localtime: setting.localtime,
        };
        facts::facts(&self.session, around)
    }

    fn authorised(&mut self) -> Authorised {
        let service = Arc::clone(&self.setting.service);
        let lists = &service.authorisation;
        let mut matches = |list: &MatchList| {
            let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.world };
            list.matches_host(&self.setting.names.name, self.setting.address, &mut ask) == Ok(Matched::Yes)
        };
        let (xclient, xforward) = (matches(&lists.xclient), matches(&lists.xforward));
        let (verp, bare_newline_exempt) = (matches(&lists.verp), matches(&lists.bare_newline));
        let address = self.setting.address.map_or_else(|| "unknown".to_owned(), |a| a.to_string());
        let keywords = match self.first_value(&service.session_maps.discard_keywords, &address) {
            Ok(Some(text)) => text.to_string(),
            Ok(None) => service.parameters.get("smtpd_discard_ehlo_keywords"),
            Err(()) => String::new(),
        };
        Authorised {
            xclient,
            xforward,
            verp,
            bare_newline_exempt,
            event_limit_exempt: true,
            discard_ehlo_keywords: EhloKeywords::parse(&keywords).0,
        }
    }

    fn display(&self) -> String {
        let name = &self.setting.names.name;
        match self.setting.address {
            Some(address) => format!("{name}[{address}]"),
            None => format!("{name}[unknown]"),
        }
    }

    fn line(&mut self, text: &str) {
        let line = text.replace(ServerSession::CLIENT, &self.display());
        self.log.push_back(line);
    }
}
