//! One filter in one SMTP session: what it has asked for, what it has decided, and what its answers mean.

use super::edit::Edit;
use super::macros::{Macros, OwnLists, Stage};
use super::packet::{Fields, Packet, Request};
use super::protocol::{ACTIONS, Event, LEADING_SPACE, Offer, UNANSWERED, WANTS_REJECTED_RECIPIENTS, reply_name};
use super::verdict::{DefaultAction, Verdict, reply};
use std::sync::Arc;

/// How a filter is talked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `type:endpoint`: its name in warnings.
    pub name: Arc<str>,
    /// `milter_protocol`.
    pub offer: Offer,
    /// `milter_default_action`.
    pub default_action: DefaultAction,
}

/// What came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection, or what the filter says on it: `milter_default_action` counts. The text is a warning.
    Broken(String),
    /// The answer to the first packet can't be read; it is as broken.
    Handshake(String),
    /// What it says can't be answered to a client.
    Misconfigured(String),
}

/// What an event means for a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It isn't told; this is what it has decided before.
    Settled(Option<Verdict>),
    /// It isn't told, but it gets the macros.
    MacrosOnly,
    /// It is told.
    Tell {
        /// Does it answer?
        is_answered: bool,
    },
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It isn't the last one.
    More,
    /// Put the message on hold; another answer follows.
    Hold(String),
    /// A change; another answer follows.
    Edit(Edit),
    /// That's it, and it was nothing but a reason for a warning.
    Warning(&'static str),
    /// That's it.
    Done(Option<Verdict>),
    /// That's it for the whole session: the connection is closed.
    Over(Option<Verdict>),
}

/// How far a filter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Not connected yet.
    #[default]
    New,
    /// Between messages.
    Ready,
    /// It has been told of a sender.
    Message,
    /// It wants to hear no more of this message.
    MessageDone,
    /// It wants to hear no more of this session, or has failed.
    SessionDone,
}

/// One filter in one SMTP session.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    settings: Arc<Settings>,
    state: State,
    version: u32,
    steps: u32,
    own_lists: OwnLists,
    /// What it said once for all.
    standing: Option<Verdict>,
    /// It wants no more of these.
    skipped: Option<Event>,
}

impl Filter {
    /// A filter that nobody has talked to.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, ..Self::default() }
    }

    /// How it is talked to.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The first packet.
    pub fn negotiate(&self) -> Request {
        let mut request = Request::default();
        request.negotiate(self.settings.offer);
        request
    }

    /// The answer to it. `Ok`: what is odd about it, for the log.
    pub fn negotiated(&mut self, packet: Packet<'_>) -> Result<Vec<String>, Failure> {
        let broken = |text: String| Failure::Broken(text);
        if packet.command != b'O' {
            return Err(broken(format!("unexpected reply \"{}\" in initial handshake", packet.command.escape_ascii())));
        }
        let mut fields = Fields(packet.data);
        let numbers = (|| Some((fields.number()?, fields.number()?, fields.number()?)))();
        let Some((version, actions, steps)) = numbers else {
            return Err(Failure::Handshake("input packet too short for network long".to_owned()));
        };
        let ours = self.settings.offer.version;
        let mut warnings = Vec::new();
        if version > ours {
            return Err(broken(format!("protocol version {version} conflict with MTA protocol version {ours}")));
        }
        if actions & ACTIONS != actions {
            return Err(broken(format!("request mask 0x{actions:x} conflict with MTA request mask 0x{ACTIONS:x}")));
        }
        while !fields.0.is_empty() {
            let own = (|| Some((fields.number()?, fields.string()?)))();
            match own {
                Some((stage, names)) if self.own_lists.set(stage, names) => {}
                Some((stage, _)) => warnings.push(format!("ignoring unknown macro type {stage}")),
                None => return Err(broken("bad macro list in initial handshake".to_owned())),
            }
        }
        if !matches!(version, 2 | 3 | 4 | 6) {
            warnings.push(format!("unexpected protocol version {version}"));
        }
        self.version = version;
        self.steps = steps & (self.settings.offer.steps() | UNANSWERED);
        self.state = State::Ready;
        Ok(warnings)
    }

    /// Something happens.
    pub fn turn(&mut self, event: Event) -> Turn {
        match self.state {
            State::New | State::SessionDone => return Turn::Settled(self.standing.clone()),
            State::MessageDone if !event.is_of_session() && event != Event::Unknown => return Turn::Settled(None),
            _ => {}
        }
        let (skip, silent) = event.step_bits();
        if self.version < event.since() || self.skipped == Some(event) {
            return Turn::Settled(None);
        }
        if self.steps & skip != 0 {
            return if event.is_of_content() { Turn::Settled(None) } else { Turn::MacrosOnly };
        }
        if event == Event::Mail {
            self.state = State::Message;
        }
        let is_silent = self.steps & silent != 0 || (event == Event::Header && self.settings.offer.no_header_reply);
        Turn::Tell { is_answered: !is_silent }
    }

    /// An answer to an event.
    pub fn hear(&mut self, event: Event, packet: Packet<'_>) -> Result<Heard, Failure> {
        let refuse = |text: &str| Some(Verdict::Refuse(text.to_owned()));
        let verdict = match packet.command {
            b'c' => return Ok(Heard::Done(None)),
            b'p' => return Ok(Heard::More),
            b'a' => None,
            b's' => {
                if matches!(event, Event::Header | Event::Body | Event::Rcpt) {
                    self.skipped = Some(event);
                }
                return Ok(Heard::Done(None));
            }
            b'd' if event.is_of_session() => {
                return Ok(Heard::Warning("DISCARD action is not allowed for connect or helo"));
            }
            b'd' => Some(Verdict::Discard),
            b'r' => refuse(Verdict::REJECT),
            b't' => refuse(Verdict::TEMPFAIL),
            b'4' => Some(Verdict::Shutdown),
            b'q' => {
                let reason = Fields(packet.data).string().unwrap_or_default();
                return Ok(Heard::Hold(String::from_utf8_lossy(reason).into_owned()));
            }
            b'y' => {
                let text = String::from_utf8_lossy(Fields(packet.data).string().unwrap_or_default()).into_owned();
                match reply(&text) {
                    Some(reply) => Some(Verdict::Refuse(reply)),
                    None => return Err(Failure::Misconfigured(format!("malformed reply: {text}"))),
                }
            }
            command => return self.hear_edit(event, command, packet.data),
        };
        Ok(self.decided(event, verdict))
    }

    fn hear_edit(&self, event: Event, command: u8, data: &[u8]) -> Result<Heard, Failure> {
        match Edit::parse(command, data).filter(|_| event == Event::EndOfMessage) {
            Some(Some(edit)) => Ok(Heard::Edit(edit)),
            Some(None) => {
                Err(Failure::Broken(format!("bad {} packet after event {}", reply_name(command), event.name())))
            }
            None => Err(Failure::Broken(format!(
                "unexpected filter response {} after event {}",
                reply_name(command),
                event.name()
            ))),
        }
    }

    fn decided(&mut self, event: Event, verdict: Option<Verdict>) -> Heard {
        if event.is_of_session() || verdict == Some(Verdict::Shutdown) {
            self.state = State::SessionDone;
            self.standing.clone_from(&verdict);
            return Heard::Over(verdict);
        }
        // A refused recipient, or command, doesn't end the message.
        let refuses_one = matches!(event, Event::Rcpt | Event::Unknown) && verdict != Some(Verdict::Discard);
        if event != Event::Unknown && !(refuses_one && verdict.is_some()) {
            self.state = State::MessageDone;
        }
        Heard::Done(verdict)
    }

    /// It failed: what counts from now on, for the whole session.
    pub fn failed(&mut self, is_misconfigured: bool) -> Option<Verdict> {
        let action = self.settings.default_action;
        self.state = State::SessionDone;
        self.standing = if is_misconfigured { action.misconfigured() } else { action.failed() };
        self.standing.clone()
    }

    /// The message is over. Should the filter be told?
    pub fn abort(&mut self) -> bool {
        self.skipped = None;
        let told = matches!(self.state, State::Message | State::MessageDone);
        if told {
            self.state = State::Ready;
        }
        told
    }

    /// The end of the message was answered: there is nothing to take back.
    pub fn finished(&mut self) {
        if matches!(self.state, State::Message | State::MessageDone) {
            self.state = State::Ready;
        }
        self.skipped = None;
    }

    /// What it said once for all, if it did.
    pub fn standing(&self) -> Option<&Verdict> {
        self.standing.as_ref()
    }

    /// Is there anything to tell it in this session?
    pub fn is_over(&self) -> bool {
        self.state == State::SessionDone
    }

    /// Does it want to know of refused recipients?
    pub fn wants_rejected_recipients(&self) -> bool {
        self.steps & WANTS_REJECTED_RECIPIENTS != 0
    }

    /// Does it see, and send, header values with the blank after the colon?
    pub fn has_leading_space(&self) -> bool {
        self.steps & LEADING_SPACE != 0
    }

    /// The steps that were agreed on.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// The macros that it gets with an event.
    pub fn macro_names<'a>(&'a self, macros: &'a Macros, event: Event) -> &'a [String] {
        let stage = Stage::of(event);
        self.own_lists.get(stage).unwrap_or_else(|| macros.names(stage))
    }
}
