//! The TLS handshake with a client, and what log and policy hear of it.

use super::conversation::Conversation;
use super::stream::Socket;
use crate::lookup;
use crate::tls::{Offer, TlsServer};
use rustls::server::{Accepted, Acceptor};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ServerConnection};
use smtp::server::{Handshake, ServerSession};
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// Why there is no session under TLS.
enum Failure {
    /// The client is gone.
    Lost,
    /// It took too long.
    TimedOut,
    /// They didn't agree.
    Refused(String),
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

impl Conversation {
    /// STARTTLS was answered, or the service begins with TLS.
    pub(super) async fn start_tls(&mut self) -> Handshake {
        let service = Arc::clone(&self.service);
        let Some(server) = &service.tls else {
            self.client.line(format!(
                "warning: Wrapper-mode request dropped from {} for service {}. TLS context initialization failed. For \
                 details see earlier warnings in your logs.",
                ServerSession::CLIENT,
                service.name
            ));
            return Handshake::Unavailable;
        };
        if self.session.config().smtpd_tls_wrappermode && self.has_too_many_tls_sessions() {
            self.client.line(format!(
                "warning: Refusing TLS service request from {} for service {}",
                ServerSession::CLIENT,
                service.name
            ));
            return Handshake::Unavailable;
        }
        if server.log_level >= 2 {
            self.client.line(format!("setting up TLS connection from {}", ServerSession::CLIENT));
        }
        // What is to be said before goes in the clear.
        if self.flush().await.is_err() {
            return Handshake::Failed;
        }
        // Session tickets leave right before the first reply: it must not wait until they are acknowledged. If it can't be
        // set, it's only slower.
        let _ = self.stream.tcp().set_nodelay(true);
        let mut stopping = self.worker.stopping.clone();
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(server.timeout, self.shake_hands(server)) => {
                shaken.unwrap_or(Err(Failure::TimedOut))
            }
            _ = stopping.wait_for(|stop| *stop) => Err(Failure::Lost),
        };
        match shaken {
            Ok((connection, offer)) => self.under_tls(server, connection, &offer).await,
            Err(failure) => {
                self.log_failure(failure);
                Handshake::Failed
            }
        }
    }

    async fn shake_hands(&mut self, server: &TlsServer) -> Result<(ServerConnection, Offer), Failure> {
        let accepted = self.hear_hello().await?;
        let named = self.named_keys(server, &accepted).await;
        let (mut connection, offer) = match server.connect(accepted, named) {
            Ok(connected) => connected,
            Err((error, mut alert)) => {
                // The client may read why, if it can be said at once.
                let _ = alert.write_all(&mut Socket(self.stream.tcp()));
                return Err(Failure::Refused(error.to_string()));
            }
        };
        loop {
            self.send_records(&mut connection).await?;
            if !connection.is_handshaking() {
                return Ok((connection, offer));
            }
            self.stream.tcp().readable().await?;
            match connection.read_tls(&mut Socket(self.stream.tcp())) {
                Ok(0) => return Err(Failure::Lost),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if let Err(error) = connection.process_new_packets() {
                let _ = connection.write_tls(&mut Socket(self.stream.tcp()));
                return Err(Failure::Refused(error.to_string()));
            }
        }
    }

    async fn hear_hello(&mut self) -> Result<Accepted, Failure> {
        let mut acceptor = Acceptor::default();
        loop {
            self.stream.tcp().readable().await?;
            match acceptor.read_tls(&mut Socket(self.stream.tcp())) {
                Ok(0) => return Err(Failure::Lost),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let _ = alert.write_all(&mut Socket(self.stream.tcp()));
                    return Err(Failure::Refused(error.to_string()));
                }
            }
        }
    }

    async fn send_records(&mut self, connection: &mut ServerConnection) -> Result<(), Failure> {
        while connection.wants_write() {
            match connection.write_tls(&mut Socket(self.stream.tcp())) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.tcp().writable().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The keys for the name that the client asks for, where `tls_server_sni_maps` has them: by the name, or by a
    /// domain above it with a dot before.
    async fn named_keys(
        &mut self,
        server: &TlsServer,
        accepted: &Accepted,
    ) -> Option<(String, Vec<Arc<CertifiedKey>>)> {
        if server.sni_maps.is_empty() {
            return None;
        }
        let name = accepted.client_hello().server_name()?.to_ascii_lowercase();
        let mut keys = vec![name.as_str()];
        keys.extend(name.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| &name[at..]));
        for key in keys {
            for (table, is_files) in &server.sni_maps {
                let value = match lookup::find(&self.site.tables, *table, key).await {
                    Ok(None) => continue,
                    Ok(Some(value)) => value,
                    Err(error) => {
                        self.client.line(format!("warning: {error}"));
                        return None;
                    }
                };
                return match server.chain(&value, *is_files) {
                    Ok(chain) => Some((name, chain)),
                    Err(why) => {
                        self.client.line(format!("warning: tls_server_sni_maps: {key}: {why}"));
                        None
                    }
                };
            }
        }
        self.client.line(format!("TLS SNI {name} from {} not matched, using default chain", ServerSession::CLIENT));
        None
    }

    async fn under_tls(&mut self, server: &TlsServer, connection: ServerConnection, offer: &Offer) -> Handshake {
        let (session, handshake) = server.established(&connection, offer);
        if server.log_level >= 1 {
            if let Some(certificate) = session.certificate.as_ref().filter(|_| server.log_level >= 2) {
                self.client.line(format!(
                    "{}: subject_CN={}, issuer={}, fingerprint={}, pkey_fingerprint={}",
                    ServerSession::CLIENT,
                    certificate.subject_cn,
                    certificate.issuer_cn,
                    certificate.fingerprint,
                    certificate.public_key_fingerprint
                ));
            }
            self.client.line(session.log_line(ServerSession::CLIENT));
        }
        let is_new = !matches!(connection.handshake_kind(), Some(HandshakeKind::Resumed));
        self.stream.secure(connection);
        self.tls = Some(Box::new(session));
        self.exchange = None;
        if is_new && self.count_tls_session().await {
            return Handshake::TooMany;
        }
        // What is offered under TLS may be something else.
        self.session.set_auth_offer(None);
        if self.offer_auth().await { handshake } else { Handshake::Unavailable }
    }

    /// Is the client's certificate in `relay_clientcerts`, or, if that is enough, trusted?
    pub(super) async fn has_known_certificate(&mut self, trusted_will_do: bool) -> bool {
        let Some(certificate) = self.tls.as_ref().and_then(|tls| tls.certificate.clone()) else { return false };
        if trusted_will_do && certificate.is_trusted {
            return true;
        }
        let service = Arc::clone(&self.service);
        for fingerprint in [&certificate.public_key_fingerprint, &certificate.fingerprint] {
            if matches!(self.first_value(&service.session_maps.relay_clientcerts, fingerprint).await, Ok(Some(_))) {
                return true;
            }
        }
        false
    }

    fn log_failure(&mut self, failure: Failure) {
        let client = ServerSession::CLIENT;
        match failure {
            Failure::Lost => self.client.line(format!("SSL_accept error from {client}: lost connection")),
            Failure::TimedOut => self.client.line(format!("SSL_accept error from {client}: Connection timed out")),
            Failure::Refused(why) => {
                self.client.line(format!("SSL_accept error from {client}: -1"));
                self.client.line(format!("warning: TLS library problem: {why}"));
            }
        }
    }
}
