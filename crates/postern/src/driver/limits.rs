//! Counting what clients and logins do, and what the log says when it is too much.

use super::conversation::Conversation;
use crate::anvil::Ident;
use crate::clock::now_ms;
use smtp::server::{Counted, Rate, ServerSession};
use std::sync::Arc;

impl Conversation {
    /// One more of these: is it too much?
    pub(super) async fn count(&mut self, rate: Rate) -> Counted {
        let service = Arc::clone(&self.service);
        if !self.is_limit_exempt {
            let ident = Ident::client(&service.name, self.client.address, service.limits.prefixes);
            let excess = match rate {
                Rate::Connection => self.count_connection(&ident),
                Rate::NewTlsSession if self.has_too_many_tls_sessions() => {
                    self.client.settle().await;
                    self.session.set_client_label(self.client.display());
                    let text = format!("warning: Refusing STARTTLS request from {}", ServerSession::CLIENT);
                    self.client.line(format!("{text} for service {}", service.name));
                    return Counted::ClientOver;
                }
                Rate::NewTlsSession => None,
                _ => service.limits.of_client(rate).and_then(|limit| {
                    let count = self.worker.anvil.count(&ident, rate, now_ms());
                    (count > limit).then_some((what(rate), count))
                }),
            };
            if let Some((what, count)) = excess {
                let name = &service.name;
                self.client.line(format!(
                    "warning: {what} limit exceeded: {count} from {} for service {name}",
                    ServerSession::CLIENT
                ));
                return Counted::ClientOver;
            }
        }
        let limit = service.limits.of_login(rate);
        if let (Some(limit), Some(login)) = (limit, self.session.login()) {
            // An authentication server that knows its users in any case makes them one.
            let ident = Ident::Login(login.username.to_lowercase().into());
            let name = login.username.clone();
            let count = self.worker.anvil.count(&ident, rate, now_ms());
            if count > limit {
                self.client.line(format!(
                    "warning: {} limit exceeded: {count} from {} for login {name}",
                    what(rate),
                    ServerSession::CLIENT
                ));
                return Counted::LoginOver;
            }
        }
        Counted::Within
    }

    /// Is no more TLS session allowed to begin?
    pub(super) fn has_too_many_tls_sessions(&self) -> bool {
        let Some(limit) = self.service.limits.of_client(Rate::NewTlsSession) else { return false };
        let ident = Ident::client(&self.service.name, self.client.address, self.service.limits.prefixes);
        !self.is_limit_exempt && self.worker.anvil.rate(&ident, Rate::NewTlsSession, now_ms()) > limit
    }

    /// A TLS session that is new, not one resumed, has begun: is it one too many?
    pub(super) async fn count_tls_session(&mut self) -> bool {
        let Some(limit) = self.service.limits.of_client(Rate::NewTlsSession).filter(|_| !self.is_limit_exempt) else {
            return false;
        };
        let ident = Ident::client(&self.service.name, self.client.address, self.service.limits.prefixes);
        let count = self.worker.anvil.count(&ident, Rate::NewTlsSession, now_ms());
        if count <= limit {
            return false;
        }
        self.client.settle().await;
        self.session.set_client_label(self.client.display());
        let (what, name) = (what(Rate::NewTlsSession), &self.service.name);
        let client = ServerSession::CLIENT;
        self.client.line(format!("warning: {what} limit exceeded: {count} from {client} for service {name}"));
        true
    }

    fn count_connection(&mut self, ident: &Ident) -> Option<(&'static str, u32)> {
        let limits = &self.service.limits;
        // XCLIENT may have changed who it is: the one before has left then.
        self.connection = None;
        let (connections, rate, counted) = self.worker.anvil.connect(ident, now_ms())?;
        self.connection = Some(counted);
        self.connections = Some(connections);
        if limits.connection_count > 0 && connections > limits.connection_count {
            return Some(("Connection concurrency", connections));
        }
        let limit = limits.of_client(Rate::Connection)?;
        (rate > limit).then_some((what(Rate::Connection), rate))
    }
}

fn what(rate: Rate) -> &'static str {
    match rate {
        Rate::Connection => "Connection rate",
        Rate::Message => "Message delivery request rate",
        Rate::Recipient => "Recipient address rate",
        Rate::NewTlsSession => "New TLS session rate",
        Rate::Auth => "AUTH command rate",
    }
}
