//! One client connection: bytes between socket and session, and an answer to each event of the session.

use super::Worker;
use super::auth::UnderWay;
use super::client::ClientIdentity;
use super::stream::Stream;
use super::transaction::Transaction;
use crate::answer::Answerer;
use crate::anvil;
use crate::clock::now_ms;
use crate::daemon::site::{Service, Site};
use crate::milter::Milters;
use crate::record::Made;
use crate::tls::TlsSession;
use policy::{Answer, Input, Ledger, PolicyState, Question};
use smtp::server::{Authorised, Event, Moment, ServerSession, Verdict};
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

thread_local! {
    /// Where bytes are read into: no session owns a buffer while it waits.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// How long the greeting waits at most for the client's name; clients that speak before it are noticed meanwhile.
const NAME_WAIT: Duration = Duration::from_millis(25);

/// Sessions are numbered in the record, from the moment the program was started: others than those before it.
static NUMBER: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(crate::clock::unix_seconds() << 20));

/// One connection and all that belongs to it.
pub struct Conversation {
    pub(super) worker: Arc<Worker>,
    /// Kept so that what the session began with stays valid through reloads.
    pub(super) site: Arc<Site>,
    pub(super) service: Arc<Service>,
    pub(super) stream: Stream,
    /// The session under TLS, once there is one.
    pub(super) tls: Option<Box<TlsSession>>,
    pub(super) session: Box<ServerSession>,
    pub(super) client: ClientIdentity,
    pub(super) server_address: Option<IpAddr>,
    pub(super) server_port: u16,
    /// A login that waits for the client's next line.
    pub(super) exchange: Option<Box<UnderWay>>,
    /// The address that is at the other end of the socket: a proxy's, perhaps.
    pub(super) peer: IpAddr,
    pub(super) answerer: Answerer,
    pub(super) policy_state: PolicyState,
    /// How often the session had taken a transaction back when a decision was last made.
    pub(super) resets: u64,
    pub(super) ledger: Ledger,
    /// The last decision, until it is known whether a queue id belongs to it.
    pub(super) decided: Option<Box<Made>>,
    /// The session's number in the record.
    pub(super) number: u64,
    /// How many transactions were begun.
    pub(super) mails: u32,
    pub(super) ahead: Vec<(Question, JoinHandle<Answer>)>,
    pub(super) transaction: Transaction,
    /// Not counted: `smtpd_client_event_limit_exceptions`, or one who may use XCLIENT.
    pub(super) is_limit_exempt: bool,
    /// Counts as a connection of this client as long as it is here.
    pub(super) connection: Option<anvil::Connection>,
    /// So many connections the client has, if they are counted.
    pub(super) connections: Option<u32>,
    /// The filters that look at the session.
    pub(super) milters: Option<Box<Milters>>,
}

/// Why the loop ends before the session says so.
enum Ended {
    /// The session is over.
    Closed,
    /// The socket failed; the session was told.
    Broken,
}

impl Conversation {
    /// A fresh connection.
    pub fn new(
        worker: Arc<Worker>,
        site: Arc<Site>,
        service: Arc<Service>,
        stream: TcpStream,
        peer: SocketAddr,
        server: SocketAddr,
    ) -> Self {
        let answerer = Answerer {
            tables: Arc::clone(&site.tables),
            resolver: Arc::clone(&worker.resolver),
            peername_lookup: service.peername_lookup,
            log: Some((worker.log.clone(), Arc::clone(&service.tag))),
            verifier: Some(Arc::clone(&worker.verifier)),
            gateways: service.plan.distrusted().map(|table| (table, Arc::clone(&worker.gateways))),
        };
        let ledger = if worker.recorder.is_some() { Ledger::with_findings() } else { Ledger::default() };
        let address = peer.ip().to_canonical();
        let client = ClientIdentity::new(
            Some(address),
            peer.port(),
            worker.log.clone(),
            Arc::clone(&service.tag),
            service.client_port_logging,
        );
        let session = Box::new(ServerSession::new(
            Arc::clone(&service.session),
            Some(address),
            peer.port(),
            Authorised::default(),
            now_ms(),
        ));
        Self {
            worker,
            site,
            service,
            stream: Stream::new(stream),
            tls: None,
            session,
            client,
            server_address: Some(server.ip().to_canonical()),
            server_port: server.port(),
            exchange: None,
            peer: address,
            answerer,
            policy_state: PolicyState::default(),
            resets: 0,
            ledger,
            decided: None,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            mails: 0,
            ahead: Vec::new(),
            transaction: Transaction::default(),
            is_limit_exempt: false,
            connection: None,
            connections: None,
            milters: None,
        }
    }

    /// The whole connection, from greeting to the statistics line.
    ///
    /// What few sessions do, and what takes much room, is boxed: a session that waits for somebody is as large as the
    /// largest of all it could be doing.
    pub async fn run(mut self: Box<Self>) {
        let proxied = if self.service.proxy_protocol { Box::pin(self.read_proxy_header()).await } else { Ok(()) };
        if let Err(problem) = &proxied {
            self.worker.log.warning(&self.service.tag, &format!("haproxy read: {problem}"));
        }
        self.client.look_up(&self.worker.resolver, self.service.peername_lookup);
        self.client.line(format!("connect from {}", ServerSession::CLIENT));
        let authorised = self.authorise().await;
        *self.session = ServerSession::new(
            Arc::clone(&self.service.session),
            self.client.address,
            self.client.port,
            authorised,
            now_ms(),
        );
        if proxied.is_ok() && !self.offer_auth().await {
            return;
        }
        if proxied.is_ok() {
            self.begin_milters().await;
            self.ask_ahead(&[Input::Client], Moment::Connect);
            // A client that begins with TLS is right to speak first.
            if !self.session.config().smtpd_tls_wrappermode {
                self.await_early_talkers().await;
                self.read_early();
            }
            self.session.start(now_ms());
        } else {
            self.session.refuse(&format!("421 4.3.0 {} Server local error", self.service.my_hostname));
        }
        let mut timer: Pin<Box<Sleep>> = Box::pin(tokio::time::sleep(Duration::from_secs(3600)));
        loop {
            if let Err(ended) = self.turn().await {
                if matches!(ended, Ended::Broken) {
                    self.session.end_of_input(now_ms());
                    // What is left to log and to drop.
                    let _ = self.turn().await;
                }
                break;
            }
            if self.wait(&mut timer).await.is_err() {
                self.session.end_of_input(now_ms());
            }
        }
        // Who sees the end may come back at once, and must not be counted twice.
        self.connection = None;
        self.stream.close();
        self.end_milters();
        self.hand_over();
        self.transaction.abandon();
        self.client.settle().await;
        let statistics = self.session.statistics();
        self.client.line(format!("disconnect from {} {statistics}", ServerSession::CLIENT));
    }

    /// Act on events until the session has no more, then send what it has to say.
    async fn turn(&mut self) -> Result<(), Ended> {
        while let Some(event) = self.session.poll(now_ms()) {
            if matches!(event, Event::Close) {
                // The peer may be gone already: then there is nobody to say goodbye to.
                let _ = self.flush().await;
                return Err(Ended::Closed);
            }
            self.handle(event).await;
        }
        self.flush().await.map_err(|_| Ended::Broken)
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Decide(decide) => {
                self.before_decision(decide.moment);
                if decide.moment == Moment::Connect {
                    // `503 5.7.0 Error: access denied for NAME` may follow at every later command.
                    self.client.settle().await;
                    self.session.set_client_label(self.client.display());
                }
                let is_early = matches!(decide.moment, Moment::Connect | Moment::Helo);
                // With Milters, these come in any case.
                let verdict = if is_early && self.session.config().smtpd_delay_reject {
                    Verdict::Permit
                } else {
                    self.decide(decide.clone()).await
                };
                let verdict = match self.milters {
                    Some(_) => Box::pin(self.ask_milters(&decide, verdict)).await,
                    None => verdict,
                };
                if decide.moment == Moment::Rcpt {
                    self.watch_strangers().await;
                }
                if decide.moment == Moment::Rcpt && matches!(verdict, Verdict::Reject { .. }) {
                    self.watch_recipient(false).await;
                }
                self.session.resolve(verdict);
            }
            Event::Open => {
                self.transaction.local_rewrite = self.is_local_rewrite().await;
                match self.service.proxy_filter.clone() {
                    Some(filter) => Box::pin(self.open_proxied(&filter)).await,
                    None => self.open_message(),
                }
            }
            Event::Recipient if self.service.proxy_filter.is_some() => Box::pin(self.proxy_recipient()).await,
            Event::Recipient => self.watch_recipient(true).await,
            Event::Data => Box::pin(self.proxy_data()).await,
            Event::Content if self.service.proxy_filter.is_some() => Box::pin(self.proxy_content()).await,
            Event::Content => self.take_content().await,
            Event::Commit => {
                let proxied = self.service.proxy_filter.is_some();
                let end = if proxied { Box::pin(self.proxy_commit()).await } else { Box::pin(self.commit()).await };
                self.session.committed(end);
            }
            Event::Abort => self.forget_transaction(),
            Event::FilterCommand(line) => {
                let filtered = self.filter_command(&line).await;
                self.session.filtered(filtered);
            }
            Event::FinishReply(text) => {
                let reply = self.finish_reply(text).await;
                self.session.finish_reply(&reply);
            }
            Event::ClientChanged(identity) => {
                self.hand_over();
                Box::pin(self.change_client(identity)).await;
                let authorised = self.authorise().await;
                self.offer_auth_again().await;
                self.begin_milters().await;
                self.session.client_changed_done(authorised);
                self.ask_ahead(&[Input::Client], Moment::Connect);
            }
            Event::Auth(step) => Box::pin(self.auth_step(step)).await,
            Event::StartTls => {
                let handshake = Box::pin(self.start_tls()).await;
                self.session.tls_started(now_ms(), handshake);
            }
            Event::Count(rate) => {
                let counted = self.count(rate).await;
                self.session.counted(counted);
            }
            Event::MatchForbidden(word) => {
                let found = self.matches_forbidden(&word).await;
                self.session.forbidden(found);
            }
            Event::MilterUnknown(word) => {
                let reply = Box::pin(self.ask_milters_about(&word)).await;
                self.session.milter_answered(reply);
            }
            Event::Flush => {
                let flush = Box::pin(self.flush_queue()).await;
                self.session.flushed(flush);
            }
            Event::Notify(notice) => self.notify(notice).await,
            Event::Log(text) => self.client.line(text),
            Event::Warning(text) => self.client.line(format!("warning: {text}")),
            Event::Close => {}
        }
        if self.client.is_backlogged() {
            self.client.settle().await;
        }
    }

    /// New facts are known: ask ahead what depends on them.
    fn before_decision(&mut self, moment: Moment) {
        if moment == Moment::Mail {
            // RSET before any recipient was accepted leaves nothing to abort, but effects of refused ones.
            self.forget_transaction();
            let free = self.worker.spool.free_space();
            let low = free < self.service.space_wanted;
            if low {
                self.client.line(format!(
                    "warning: not enough free space in mail queue: {free} bytes < 1.5*message size limit"
                ));
            }
            self.session.set_queue_space_low(low);
            self.ask_ahead(&[Input::Helo, Input::Sender], moment);
        }
    }

    /// Send all replies of this turn.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if !self.session.has_output() && !self.stream.has_unsent() {
            return Ok(());
        }
        let mut output = Vec::new();
        self.session.take_output(&mut output);
        let mut sent = 0;
        while sent < output.len() || self.stream.has_unsent() {
            match self.stream.try_write(&output[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let limit = self.service.write_timeout;
                    tokio::time::timeout(limit, self.stream.writable()).await??;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Wait for input, a time limit, the client's name or the end of the server. `Err`: the peer is gone.
    async fn wait(&mut self, timer: &mut Pin<Box<Sleep>>) -> io::Result<()> {
        let mut stopping = self.worker.stopping.clone();
        loop {
            // The timer is only moved when it would fire too late; firing early costs less than moving it always.
            let deadline = self.session.poll_timeout();
            if let Some(at) = deadline {
                let at = Instant::now() + Duration::from_millis(at.saturating_sub(now_ms()));
                if timer.deadline() > at {
                    timer.as_mut().reset(at);
                }
            }
            let stopped = *stopping.borrow();
            tokio::select! {
                biased;
                ready = self.stream.readable(), if self.session.wants_input() => {
                    ready?;
                    match self.read() {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                        other => return other,
                    }
                }
                () = timer.as_mut() => {
                    timer.as_mut().reset(Instant::now() + Duration::from_secs(3600));
                    if self.session.poll_timeout().is_some_and(|at| at <= now_ms()) {
                        self.session.handle_timeout(now_ms());
                        return Ok(());
                    }
                }
                () = self.client.settle(), if self.client.is_naming() => {}
                _ = stopping.wait_for(|stop| *stop), if !stopped => {
                    self.session.drain();
                    return Ok(());
                }
            }
        }
    }

    /// While the client's name is looked up, somebody who doesn't wait for the greeting has time to show it.
    async fn await_early_talkers(&mut self) {
        let Self { stream, client, .. } = self;
        if !client.is_naming() {
            return;
        }
        tokio::select! {
            // Readiness is looked at again when the session reads.
            _ = stream.readable() => {}
            _ = tokio::time::timeout(NAME_WAIT, client.settle()) => {}
        }
    }

    /// What came before the greeting is improper pipelining, for the session to see.
    fn read_early(&mut self) {
        READ_BUFFER.with_borrow_mut(|buffer| {
            if let Ok(length @ 1..) = self.stream.try_read(buffer) {
                self.session.receive(now_ms(), &buffer[..length]);
            }
        });
    }

    fn read(&mut self) -> io::Result<()> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let length = self.stream.try_read(buffer)?;
            if length == 0 {
                self.session.end_of_input(now_ms());
            } else {
                self.session.receive(now_ms(), &buffer[..length]);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    /// Each KiB is a MiB for a thousand sessions that wait for a dead service.
    #[test]
    fn a_session_that_waits_is_small() {
        let (run, own) = (size(Conversation::run), std::mem::size_of::<Conversation>());
        assert!(run + own <= 4096, "{run} + {own}");
    }
}
