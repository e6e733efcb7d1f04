//! AUTH: what a client is offered, and each step of its login at the authentication server.

use super::conversation::Conversation;
use crate::sasl::{Attempt, Exchange};
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
        let found = settings.backend.mechanisms(&self.answerer, options).await;
        let names = match found {
            Ok(names) => names,
            Err(why) => {
                self.client.line(format!("warning: SASL: Connect to {} failed: {why}", settings.backend.name()));
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
        let exchange = self.exchange.take();
        let (answer, exchange) = match (step, exchange) {
            (AuthStep::Cancel, _) => return,
            (AuthStep::Start { mechanism, response }, _) => self.begin_auth(&mechanism, response.as_deref()).await,
            (AuthStep::Continue(response), Some(exchange)) => exchange.go_on(&self.answerer, &response).await,
            (AuthStep::Continue(_), None) => (AuthAnswer::Unavailable { reason: String::new() }, None),
        };
        self.exchange = exchange;
        self.session.auth_answered(answer);
    }

    async fn begin_auth(&mut self, mechanism: &str, response: Option<&str>) -> (AuthAnswer, Option<Exchange>) {
        let service = Arc::clone(&self.service);
        let Some(settings) = &service.sasl else { return (AuthAnswer::Unavailable { reason: String::new() }, None) };
        let attempt = Attempt {
            mechanism,
            response,
            local: self.server_address,
            remote: self.client.address,
            is_secured: self.tls.is_some(),
        };
        settings.backend.start(&self.answerer, attempt).await
    }
}
