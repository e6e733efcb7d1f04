//! AUTH: what a client is offered, and each step of its login at the authentication server.

use super::conversation::Conversation;
use crate::clock::now_ms;
use crate::daemon::logins::today;
use crate::sasl::claim::Claim;
use crate::sasl::failures::Who;
use crate::sasl::{Attempt, Exchange};
use policy::{Ask, Matched, Sasl, Suspend};
use smtp::server::{AuthAnswer, AuthOffer, AuthStep, ServerSession};
use std::sync::Arc;

/// A login between two lines of the client.
pub struct UnderWay {
    exchange: Exchange,
    claim: Claim,
}

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
        let (claim, exchange, mechanism, message) = match (step, self.exchange.take()) {
            (AuthStep::Cancel, _) => return,
            (AuthStep::Start { mechanism, response }, _) => (Claim::new(&mechanism), None, mechanism, response),
            (AuthStep::Continue(message), Some(under_way)) => {
                let UnderWay { claim, exchange } = *under_way;
                (claim, Some(exchange), String::new(), Some(message))
            }
            (AuthStep::Continue(_), None) => {
                return self.session.auth_answered(AuthAnswer::Unavailable { reason: String::new() });
            }
        };
        let mut claim = claim;
        if let Some(message) = &message {
            claim.hear(message);
        }
        if let Some(answer) = self.postpone_login(&claim) {
            return self.session.auth_answered(answer);
        }
        let (answer, exchange) = match exchange {
            Some(exchange) => exchange.go_on(&self.answerer, message.as_deref().unwrap_or_default()).await,
            None => self.begin_auth(&mechanism, message.as_deref()).await,
        };
        self.count_login(&answer, &claim).await;
        self.exchange = exchange.map(|exchange| Box::new(UnderWay { exchange, claim }));
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

    /// Who tries to log in. The address of somebody who stands for others doesn't count: of a proxy that has not said
    /// for whom it speaks, of who may use XCLIENT, and of `smtpd_client_event_limit_exceptions`.
    fn who<'n>(&self, account: Option<&'n str>) -> Who<'n> {
        let is_proxy = self.service.proxy_protocol && self.client.address == Some(self.peer);
        let network = self.client.address.map(|address| self.service.limits.prefixes.network(address));
        Who { account, network, is_counted: !is_proxy && !self.is_limit_exempt }
    }

    /// The answer, if there were too many failures.
    fn postpone_login(&self, claim: &Claim) -> Option<AuthAnswer> {
        let limits = self.service.sasl.as_ref()?.failure_limits;
        let who = self.who(claim.name.as_deref());
        self.worker.failures.refuses(who, limits, (now_ms(), today())).then(|| AuthAnswer::Postponed {
            username: claim.name.clone(),
            reason: "too many failed logins".to_owned(),
        })
    }

    /// What the answer to a login means for the next ones; a failure may have to wait.
    async fn count_login(&mut self, answer: &AuthAnswer, claim: &Claim) {
        let Some(limits) = self.service.sasl.as_ref().map(|settings| settings.failure_limits) else { return };
        match answer {
            AuthAnswer::Success { username } => {
                let network = self.who(None).network;
                // Asked for by the name that was said, and known by the other one.
                let username = username.to_lowercase();
                self.worker.failures.succeeded(&username, network, today());
                if let Some(name) = claim.name.as_ref().filter(|name| **name != username) {
                    self.worker.failures.succeeded(name, network, today());
                }
            }
            AuthAnswer::Failure { username, .. } => {
                let username = claim.name.clone().or_else(|| username.as_ref().map(|name| name.to_lowercase()));
                let who = self.who(username.as_deref());
                let consequences = self.worker.failures.failed(who, limits, (now_ms(), today()));
                for notice in consequences.notices {
                    self.client.line(format!("warning: {notice}"));
                }
                if !consequences.delay.is_zero() {
                    tokio::time::sleep(consequences.delay).await;
                }
            }
            _ => {}
        }
    }
}
