//! AUTH: what a client is offered, and each step of its login at the authentication server.

use super::conversation::Conversation;
use crate::sasl::{self, Attempt, Exchange};
use policy::{Ask, Matched, Sasl, Suspend};
use smtp::server::{AuthAnswer, AuthOffer, AuthStep, ServerSession};
use std::sync::Arc;

impl Conversation {
    /// The login as policy sees it.
    pub(super) fn sasl(&self) -> Option<Sasl> {
        let login = self.session.login()?;
        Some(Sasl {
            method: login.method.clone(),
            username: login.username.clone(),
            sender: self.session.mail_options().auth.clone().unwrap_or_default(),
        })
    }

    /// At connect: tell the session what to offer. False when there should be something and is not: as in Postfix,
    /// the client is not served then, and may find a server that can let it in.
    pub(super) async fn offer_auth(&mut self) -> bool {
        let service = Arc::clone(&self.service);
        let Some(settings) = &service.sasl else { return true };
        let is_secured = self.tls.is_some();
        if settings.tls_first && !is_secured {
            return true;
        }
        let options = if is_secured { settings.tls_security_options } else { settings.security_options };
        let found = sasl::mechanisms(&settings.service, &self.worker.resolver, options).await;
        let names = match found {
            Ok(names) => names,
            Err(why) => {
                self.client.line(format!("warning: SASL: Connect to {} failed: {why}", settings.service.path));
                Vec::new()
            }
        };
        let mut mechanisms = String::new();
        for name in names {
            if self.passes_filter(&name).await {
                if !mechanisms.is_empty() {
                    mechanisms.push(' ');
                }
                mechanisms.push_str(&name);
            }
        }
        if mechanisms.is_empty() {
            self.client.line("fatal: no SASL authentication mechanisms".to_owned());
            self.client.settle().await;
            return false;
        }
        let is_announced = !self.is_auth_exception().await;
        self.session.set_auth_offer(Some(AuthOffer { mechanisms: mechanisms.into(), is_announced }));
        true
    }

    /// XCLIENT has changed the client: the mechanisms stay, `smtpd_sasl_exceptions_networks` may say something else.
    pub(super) async fn offer_auth_again(&mut self) {
        self.exchange = None;
        if self.service.sasl.is_some() {
            let is_announced = !self.is_auth_exception().await;
            self.session.announce_auth(is_announced);
        }
    }

    async fn is_auth_exception(&mut self) -> bool {
        let service = Arc::clone(&self.service);
        let Some(settings) = service.sasl.as_ref().filter(|settings| !settings.exceptions.is_empty()) else {
            return false;
        };
        if settings.exceptions.needs_name() {
            self.client.settle().await;
        }
        self.matches(&settings.exceptions).await
    }

    /// `smtpd_sasl_mechanism_filter`; a look-up that fails lets nothing pass.
    async fn passes_filter(&mut self, mechanism: &str) -> bool {
        let service = Arc::clone(&self.service);
        let Some(settings) = &service.sasl else { return false };
        loop {
            let matched = {
                let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.answerer };
                settings.mechanism_filter.matches(mechanism, &mut ask)
            };
            match matched {
                Ok(Matched::Yes) => return true,
                Ok(Matched::No) => return false,
                Ok(Matched::Failed(reason)) => {
                    self.client.line(format!("warning: {}: {reason}", ServerSession::CLIENT));
                    return false;
                }
                Err(Suspend) => self.answer_pending().await,
            }
        }
    }

    /// One step of a login.
    pub(super) async fn auth_step(&mut self, step: AuthStep) {
        let answer = match step {
            AuthStep::Cancel => {
                self.exchange = None;
                return;
            }
            AuthStep::Start { mechanism, response } => self.begin_auth(&mechanism, response.as_deref()).await,
            AuthStep::Continue(response) => match &self.exchange {
                Some(exchange) => exchange.go_on(&response).await,
                None => AuthAnswer::Unavailable { reason: String::new() },
            },
        };
        if !matches!(answer, AuthAnswer::Challenge(_)) {
            self.exchange = None;
        }
        self.session.auth_answered(answer);
    }

    async fn begin_auth(&mut self, mechanism: &str, response: Option<&str>) -> AuthAnswer {
        let service = Arc::clone(&self.service);
        let Some(settings) = &service.sasl else { return AuthAnswer::Unavailable { reason: String::new() } };
        let attempt = Attempt {
            mechanism,
            response,
            local: self.server_address,
            remote: self.client.address,
            is_secured: self.tls.is_some(),
        };
        let (answer, exchange) = Exchange::start(&settings.service, &self.worker.resolver, attempt).await;
        self.exchange = exchange;
        answer
    }
}
