//! Logins: who decides whether a client is who it says, Dovecot (`smtpd_sasl_type = dovecot`) or our own tables
//! (`smtpd_sasl_type = postern`). Nothing that passes here is ever logged, but names.

pub mod builtin;
pub mod claim;
pub mod dovecot;
pub mod failures;
pub mod known;
pub mod secret;
pub mod takeover;

pub use dovecot::{Attempt, AuthService, SecurityOptions};

use crate::answer::Answerer;
use builtin::{Accounts, Login};
use smtp::server::AuthAnswer;
use std::sync::Arc;

/// Who decides.
#[derive(Clone)]
pub enum Backend {
    /// A Dovecot.
    Dovecot(Arc<AuthService>),
    /// Our own tables.
    Builtin(Arc<Accounts>),
}

impl Backend {
    /// What the log calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Dovecot(service) => &service.path,
            Self::Builtin(_) => "postern_sasl_password_maps",
        }
    }

    /// Names of the mechanisms that the options admit.
    ///
    /// # Errors
    /// Why the server can't be asked.
    pub async fn mechanisms(&self, world: &Answerer, options: SecurityOptions) -> Result<Vec<String>, String> {
        match self {
            Self::Dovecot(service) => dovecot::mechanisms(service, &world.resolver, options).await,
            Self::Builtin(accounts) => {
                let admitted = accounts.mechanisms.iter().filter(|mechanism| options.admits(mechanism.properties));
                Ok(admitted.map(|mechanism| mechanism.name.clone()).collect())
            }
        }
    }

    /// Begin. With a challenge comes the exchange that goes on.
    pub async fn start(&self, world: &Answerer, attempt: Attempt<'_>) -> (AuthAnswer, Option<Exchange>) {
        match self {
            Self::Dovecot(service) => {
                let (answer, exchange) = dovecot::Exchange::start(service, &world.resolver, attempt).await;
                (answer, exchange.map(Exchange::Dovecot))
            }
            Self::Builtin(accounts) => {
                let (answer, login) = Login::start(accounts, world, attempt.mechanism, attempt.response).await;
                (answer, login.map(|login| Exchange::Builtin(Arc::clone(accounts), Box::new(login))))
            }
        }
    }
}

/// A login under way.
pub enum Exchange {
    /// At a Dovecot.
    Dovecot(dovecot::Exchange),
    /// Here.
    Builtin(Arc<Accounts>, Box<Login>),
}

impl Exchange {
    /// The client's next line; with a challenge comes the exchange again.
    pub async fn go_on(self, world: &Answerer, response: &str) -> (AuthAnswer, Option<Self>) {
        match self {
            Self::Dovecot(exchange) => {
                let answer = exchange.go_on(response).await;
                let goes_on = matches!(answer, AuthAnswer::Challenge(_));
                (answer, goes_on.then_some(Self::Dovecot(exchange)))
            }
            Self::Builtin(accounts, login) => {
                let (answer, login) = login.go_on(&accounts, world, response).await;
                (answer, login.map(|login| Self::Builtin(accounts, Box::new(login))))
            }
        }
    }
}
