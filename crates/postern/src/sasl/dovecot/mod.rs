//! The client of Dovecot's authentication service (SASL_README): `smtpd_sasl_type = dovecot`.
//!
//! Each event loop keeps one connection to each server, and all its sessions share it. Nothing that passes here is
//! ever logged.

mod link;
mod protocol;
#[cfg(test)]
mod tests;

pub use protocol::{Attempt, Mechanism, Properties, SecurityOptions};

use crate::dns::Resolver;
use crate::policy_service::connect;
use link::Link;
use policy::ServiceEndpoint;
use protocol::Reply;
use smtp::server::AuthAnswer;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// For connecting and shaking hands.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(100);
/// Sessions that come so soon after a failure share it.
const FAILURE_LIFE: Duration = Duration::from_secs(1);

const LOST: &str = "Connection lost to authentication server";
const NOT_CONNECTED: &str = "Can't connect to authentication server";

/// An authentication server. Equal ones share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthService {
    /// `smtpd_sasl_path` as written.
    pub path: Arc<str>,
    /// Where that is.
    pub endpoint: ServiceEndpoint,
    /// `smtpd_sasl_service`.
    pub service: Arc<str>,
}

impl AuthService {
    /// From `smtpd_sasl_path`, `smtpd_sasl_service` and `queue_directory`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(path: &str, service: &str, queue_directory: &str) -> Result<Self, String> {
        if service.contains(|c: char| c.is_ascii_control()) {
            return Err(format!("smtpd_sasl_service = {service:?}: not a word"));
        }
        let endpoint = match path.strip_prefix("inet:") {
            Some(place) => {
                let (host, port) = place.rsplit_once(':').unwrap_or(("", place));
                let host = host.trim_matches(['[', ']']);
                if port.is_empty() {
                    return Err(format!("smtpd_sasl_path = {path}: no port"));
                }
                let host = if host.is_empty() { "localhost" } else { host };
                ServiceEndpoint::Inet { host: host.into(), port: port.into() }
            }
            None => match path.strip_prefix("unix:").unwrap_or(path) {
                "" => return Err("smtpd_sasl_path is empty".to_owned()),
                absolute if absolute.starts_with('/') => ServiceEndpoint::Unix(absolute.into()),
                relative => ServiceEndpoint::Unix(format!("{queue_directory}/{relative}").into()),
            },
        };
        Ok(Self { path: path.into(), endpoint, service: service.into() })
    }
}

thread_local! {
    /// An event loop is a thread; connections stay through reloads.
    static SERVERS: RefCell<HashMap<Arc<AuthService>, Arc<Server>>> = RefCell::default();
}

#[derive(Default)]
struct Server {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    failure: Option<(Instant, String)>,
}

fn server(service: &Arc<AuthService>) -> Arc<Server> {
    SERVERS.with_borrow_mut(|servers| {
        if let Some(server) = servers.get(service) {
            return Arc::clone(server);
        }
        // Servers that a reload has removed; whoever still uses one has a share of its connection.
        servers.retain(|known, _| Arc::strong_count(known) > 1);
        let server = Arc::new(Server::default());
        servers.insert(Arc::clone(service), Arc::clone(&server));
        server
    })
}

/// The connection, fresh if need be.
async fn link(service: &Arc<AuthService>, resolver: &Arc<Resolver>) -> Result<Arc<Link>, String> {
    let server = server(service);
    let mut state = server.state.lock().await;
    if let Some(link) = state.link.as_ref().filter(|link| link.is_alive()) {
        return Ok(Arc::clone(link));
    }
    state.link = None;
    if let Some((at, why)) = &state.failure
        && at.elapsed() < FAILURE_LIFE
    {
        return Err(why.clone());
    }
    let opened = timeout(CONNECT_LIMIT, async {
        let stream = connect(&service.endpoint, resolver).await.map_err(|failure| failure.why)?;
        Link::open(stream).await
    });
    match opened.await.unwrap_or_else(|_| Err("Connection timed out".to_owned())) {
        Ok(link) => {
            let link = Arc::new(link);
            state.link = Some(Arc::clone(&link));
            state.failure = None;
            Ok(link)
        }
        Err(why) => {
            state.failure = Some((Instant::now(), why.clone()));
            Err(why)
        }
    }
}

/// Names of the server's mechanisms that the options admit.
///
/// # Errors
/// Why the server can't be asked.
pub async fn mechanisms(
    service: &Arc<AuthService>,
    resolver: &Arc<Resolver>,
    options: SecurityOptions,
) -> Result<Vec<String>, String> {
    let link = link(service, resolver).await?;
    let admitted = link.mechanisms.iter().filter(|mechanism| options.admits(mechanism.properties));
    Ok(admitted.map(|Mechanism { name, .. }| name.clone()).collect())
}

/// A login under way.
pub struct Exchange {
    link: Arc<Link>,
    number: u32,
}

impl Exchange {
    /// Begin. What the server says; with a challenge comes the exchange that goes on.
    pub async fn start(
        service: &Arc<AuthService>,
        resolver: &Arc<Resolver>,
        attempt: Attempt<'_>,
    ) -> (AuthAnswer, Option<Self>) {
        // A connection may turn out to be dead only when it is used: then there is a second try.
        for _ in 0..2 {
            let Ok(link) = link(service, resolver).await else {
                return (AuthAnswer::Unavailable { reason: NOT_CONNECTED.to_owned() }, None);
            };
            let exchange = Self { number: link.number(), link };
            let request = attempt.request(exchange.number, &service.service);
            if let Some(reply) = exchange.ask(request).await {
                let answer = answer(reply);
                let goes_on = matches!(answer, AuthAnswer::Challenge(_));
                return (answer, goes_on.then_some(exchange));
            }
        }
        (AuthAnswer::Unavailable { reason: LOST.to_owned() }, None)
    }

    /// The client's next line.
    pub async fn go_on(&self, response: &str) -> AuthAnswer {
        match self.ask(protocol::continuation(self.number, response)).await {
            Some(reply) => answer(reply),
            None => AuthAnswer::Unavailable { reason: LOST.to_owned() },
        }
    }

    async fn ask(&self, line: String) -> Option<Reply> {
        let reply = timeout(ANSWER_LIMIT, self.link.ask(self.number, line)).await;
        if reply.is_err() {
            // A server that does not answer may be stuck: the next login finds out with a new connection.
            self.link.close();
        }
        reply.ok().flatten()
    }
}

fn answer(reply: Reply) -> AuthAnswer {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    match reply {
        Reply::Continue(text) if text.bytes().all(is_base64) => AuthAnswer::Challenge(text),
        Reply::Continue(_) => AuthAnswer::Unavailable { reason: "Invalid challenge from authentication server".into() },
        Reply::Success { username: Some(username) } if !username.is_empty() => AuthAnswer::Success { username },
        // Nobody is not somebody.
        Reply::Success { username } => AuthAnswer::Failure { username, reason: "No user name".to_owned() },
        Reply::Failure { username, reason } => AuthAnswer::Failure { username, reason },
    }
}
