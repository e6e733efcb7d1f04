//! The connection to one filter in one session: every wait on it is bounded, nothing is kept between events.

use super::settings::Milter;
use crate::dns::Resolver;
use crate::policy_service::{self, Stream};
use message::milter::{
    Edit, Event, Failure, Filter, HEADER_LENGTH, Heard, Macros, Packet, Request, Turn, Verdict, packet_length,
};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// A filter that says again and again that it is busy has so many times its time limit in all.
const PATIENCE: u32 = 10;

/// Postfix's word for an end without an error number.
const APPLICATION_ERROR: &str = "Application error";

/// Values of macros: by name, as configured.
pub type Values<'a> = dyn Fn(&str) -> Option<String> + Send + Sync + 'a;

/// Who hears of warnings, and of what goes beyond a verdict.
pub trait Listener: Send {
    /// Something is wrong with the filter.
    fn warn(&mut self, text: String);
    /// A change it wants; false: no more of them.
    fn edit(&mut self, edit: Edit) -> Result<(), String>;
}

/// One filter and the connection to it.
pub struct Link {
    milter: Arc<Milter>,
    filter: Filter,
    stream: Option<Stream>,
}

impl Link {
    /// Not connected yet.
    pub fn new(milter: &Arc<Milter>) -> Self {
        Self { milter: Arc::clone(milter), filter: Filter::new(Arc::clone(&milter.filter)), stream: None }
    }

    /// One that has failed before it was asked.
    pub fn broken(milter: &Arc<Milter>) -> Self {
        let mut link = Self::new(milter);
        link.filter.failed(true);
        link
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    fn name(&self) -> &str {
        &self.milter.filter.name
    }

    /// Connect and negotiate; a filter that can't be reached has its default action from now on.
    pub async fn connect(&mut self, resolver: &Arc<Resolver>, listener: &mut dyn Listener) {
        if self.filter.is_over() {
            return;
        }
        let deadline = Instant::now() + self.milter.connect_timeout;
        let connected = timeout_at(deadline, policy_service::connect(&self.milter.endpoint, resolver)).await;
        let why = match connected {
            Ok(Ok(stream)) => {
                self.stream = Some(stream);
                match self.negotiate(deadline).await {
                    Ok(odd) => odd.iter().for_each(|text| listener.warn(format!("milter {}: {text}", self.name()))),
                    Err(failure) => {
                        self.give_up(failure, listener);
                    }
                }
                return;
            }
            Ok(Err(failure)) => failure.why,
            Err(_) => "Connection timed out".to_owned(),
        };
        listener.warn(format!("connect to Milter service {}: {why}", self.name()));
        self.filter.failed(false);
    }

    async fn negotiate(&mut self, deadline: Instant) -> Result<Vec<String>, Failure> {
        let request = self.filter.negotiate();
        self.send(request.bytes(), "SMFIC_OPTNEG", deadline).await?;
        let packet = self.receive("SMFIC_OPTNEG", deadline).await.map_err(|failure| match failure {
            Failure::Broken(text) => Failure::Handshake(text),
            other => other,
        })?;
        match Packet::new(&packet) {
            Some(packet) => self.filter.negotiated(packet),
            None => Ok(Vec::new()),
        }
    }

    /// Tell the filter of an event, and wait for what it says.
    pub async fn event(
        &mut self,
        event: Event,
        macros: &Macros,
        values: &Values<'_>,
        fill: &(dyn Fn(&mut Request, u32) + Sync),
        listener: &mut dyn Listener,
    ) -> Option<Verdict> {
        let mut request = Request::default();
        match self.prepare(event, macros, values, fill, &mut request) {
            Ok(is_answered) => self.exchange(event, &request, is_answered, listener).await,
            Err(settled) => settled,
        }
    }

    /// Add an event to what is to be sent: is there an answer to it? `Err`: it isn't told; what it has decided before.
    pub fn prepare(
        &mut self,
        event: Event,
        macros: &Macros,
        values: &Values<'_>,
        fill: &(dyn Fn(&mut Request, u32) + Sync),
        request: &mut Request,
    ) -> Result<bool, Option<Verdict>> {
        let turn = self.filter.turn(event);
        let is_answered = match turn {
            Turn::Settled(verdict) => return Err(verdict),
            Turn::MacrosOnly => false,
            Turn::Tell { is_answered } => is_answered,
        };
        let value = |name: &String| {
            let value = values(name).or_else(|| macros.default_of(name).map(str::to_owned))?;
            Some((name.clone(), value))
        };
        let known: Vec<_> = self.filter.macro_names(macros, event).iter().filter_map(value).collect();
        request.macros(event, &known);
        if turn != Turn::MacrosOnly {
            fill(request, self.filter.steps());
        }
        Ok(is_answered)
    }

    /// Send what was prepared, and wait for the answer to `event`, if there is one.
    pub async fn exchange(
        &mut self,
        event: Event,
        request: &Request,
        is_answered: bool,
        listener: &mut dyn Listener,
    ) -> Option<Verdict> {
        match self.try_exchange(event, request, is_answered, listener).await {
            Ok(verdict) => verdict,
            Err(failure) => self.give_up(failure, listener),
        }
    }

    async fn try_exchange(
        &mut self,
        event: Event,
        request: &Request,
        is_answered: bool,
        listener: &mut dyn Listener,
    ) -> Result<Option<Verdict>, Failure> {
        let limit = if event.is_of_content() { self.milter.content_timeout } else { self.milter.command_timeout };
        let end = Instant::now() + limit.saturating_mul(PATIENCE);
        self.send(request.bytes(), event.name(), Instant::now() + limit).await?;
        if !is_answered {
            return Ok(None);
        }
        let mut hold = None;
        loop {
            let deadline = (Instant::now() + limit).min(end);
            let bytes = self.receive(event.name(), deadline).await?;
            let Some(packet) = Packet::new(&bytes) else { continue };
            match self.filter.hear(event, packet)? {
                Heard::More => {}
                Heard::Hold(reason) => hold = Some(Verdict::Hold(reason)),
                Heard::Edit(edit) => listener.edit(edit).map_err(Failure::Broken)?,
                Heard::Warning(text) => {
                    listener.warn(format!("milter {}: {text}", self.name()));
                    return Ok(None);
                }
                Heard::Done(verdict) => return Ok(verdict.or(hold)),
                Heard::Over(verdict) => {
                    self.stream = None;
                    return Ok(verdict.or(hold));
                }
            }
        }
    }

    /// It failed: its default action counts.
    fn give_up(&mut self, failure: Failure, listener: &mut dyn Listener) -> Option<Verdict> {
        self.stream = None;
        let (text, is_misconfigured) = match failure {
            Failure::Broken(text) => (text, false),
            Failure::Handshake(text) => {
                listener.warn(format!("milter {}: {text}", self.name()));
                ("read error in initial handshake".to_owned(), false)
            }
            Failure::Misconfigured(text) => (text, true),
        };
        listener.warn(format!("milter {}: {text}", self.name()));
        self.filter.failed(is_misconfigured)
    }

    async fn send(&mut self, bytes: &[u8], what: &str, deadline: Instant) -> Result<(), Failure> {
        let failed = |why: &str| Failure::Broken(format!("can't write {what} packet: {why}"));
        let sent = match &mut self.stream {
            Some(Stream::Tcp(stream)) => timeout_at(deadline, stream.write_all(bytes)).await,
            Some(Stream::Unix(stream)) => timeout_at(deadline, stream.write_all(bytes)).await,
            None => return Err(failed(APPLICATION_ERROR)),
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(&reason(&error))),
            Err(_) => Err(failed("Connection timed out")),
        }
    }

    async fn receive(&mut self, what: &str, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let mut header = [0; HEADER_LENGTH];
        self.read(&mut header, &format!("can't read {what} reply packet header"), deadline).await?;
        let length = packet_length(header).map_err(Failure::Broken)?;
        let mut packet = vec![0; length];
        self.read(&mut packet, "EOF while reading data", deadline).await?;
        Ok(packet)
    }

    async fn read(&mut self, buffer: &mut [u8], what: &str, deadline: Instant) -> Result<(), Failure> {
        let failed = |why: &str| Failure::Broken(format!("{what}: {why}"));
        let read = match &mut self.stream {
            Some(Stream::Tcp(stream)) => timeout_at(deadline, stream.read_exact(buffer)).await,
            Some(Stream::Unix(stream)) => timeout_at(deadline, stream.read_exact(buffer)).await,
            None => return Err(failed(APPLICATION_ERROR)),
        };
        match read {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(&reason(&error))),
            Err(_) => Err(failed("Connection timed out")),
        }
    }

    /// The message is over: the filter is told, as far as that needs no waiting.
    pub fn abort(&mut self) {
        if self.filter.abort() {
            let mut request = Request::default();
            request.abort();
            self.say(&request);
        }
    }

    /// The end of the message was told and answered.
    pub fn finished(&mut self) {
        self.filter.finished();
    }

    /// Would it be told of such an event?
    pub fn hears(&self, event: Event) -> bool {
        matches!(self.filter.clone().turn(event), Turn::Tell { .. })
    }

    /// The session is over.
    pub fn quit(&mut self) {
        self.abort();
        let mut request = Request::default();
        request.quit();
        self.say(&request);
        self.stream = None;
    }

    /// A few bytes always fit; where they don't, the filter has long stopped reading.
    fn say(&mut self, request: &Request) {
        let said = match &self.stream {
            Some(Stream::Tcp(stream)) => stream.try_write(request.bytes()),
            Some(Stream::Unix(stream)) => stream.try_write(request.bytes()),
            None => return,
        };
        if !said.is_ok_and(|sent| sent == request.bytes().len()) {
            // The next event notices.
            self.stream = None;
        }
    }
}

/// As Postfix names errors.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => APPLICATION_ERROR.to_owned(),
    }
}
