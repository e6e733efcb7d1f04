//! Signs that a login was taken over: what it sends is held then, or refused for a while where a before-queue filter takes
//! it and nothing is stored, and the postmaster told.

use super::conversation::Conversation;
use super::facts;
use crate::clock::{self, now_ms};
use crate::sasl::takeover::{Deed, TakeoverLimits};
use policy::{Ask, Effect, Matched, Suspend};
use std::sync::Arc;

impl Conversation {
    /// The login whose doings are watched, in lower case.
    fn watched(&self) -> Option<(String, TakeoverLimits)> {
        let limits = self.service.sasl.as_ref()?.takeover.limits;
        let login = self.session.login().filter(|_| limits.any())?;
        Some((login.username.to_lowercase(), limits))
    }

    /// A recipient was accepted, or refused.
    pub(super) async fn watch_recipient(&mut self, is_accepted: bool) {
        let Some((login, limits)) = self.watched() else { return };
        // Somebody who stands for others has no network of its own.
        let address = self.client.address.filter(|_| !self.is_limit_exempt);
        let deed = match is_accepted {
            true => Deed::Recipient(address.map(|address| self.service.limits.prefixes.network(address))),
            false => Deed::Refused,
        };
        let Some(sign) = self.worker.takeover.note(&login, deed, limits, now_ms()) else { return };
        if self.is_takeover_exception(&login).await || !self.worker.takeover.hold(&login, &sign, limits, now_ms()) {
            return;
        }
        let until = clock::unix_seconds() + limits.hold / 1000;
        let fate = if self.service.proxy_filter.is_some() { "refused" } else { "held" };
        self.client
            .line(format!("warning: login {login}: {sign}: its mail is {fate} until {}", clock::local_stamp(until)));
        self.notify_of_takeover(&login, &sign, until).await;
    }

    /// At the end of a message: is it held?
    pub(super) async fn hold_after_takeover(&mut self) {
        let Some((login, sign)) = self.taken_over().await else { return };
        let id = self.transaction.queue_id().map(|id| id.to_string());
        let text = format!("<{login}>: SASL login name looks taken over: {sign}");
        self.client.line(facts::event_line(id.as_deref(), "END-OF-MESSAGE", "hold", &text, &self.session));
        self.transaction.effects.push(Effect::Hold);
    }

    /// Before the content of a message that nobody could hold: is it refused?
    pub(super) async fn refuse_after_takeover(&mut self) -> Option<String> {
        let (login, sign) = self.taken_over().await?;
        let reply = format!("450 4.7.1 <{login}>: SASL login name looks taken over: its mail is refused for now");
        self.client.line(facts::event_line(None, "DATA", "reject", &format!("{reply}: {sign}"), &self.session));
        Some(reply)
    }

    /// The login that looks so now, and the sign.
    async fn taken_over(&mut self) -> Option<(String, String)> {
        let (login, _) = self.watched()?;
        let sign = self.worker.takeover.held(&login, now_ms())?;
        (!self.is_takeover_exception(&login).await).then_some((login, sign))
    }

    /// `postern_sasl_takeover_exceptions`; a look-up that fails makes no exception.
    async fn is_takeover_exception(&mut self, login: &str) -> bool {
        let service = Arc::clone(&self.service);
        let Some(settings) = &service.sasl else { return false };
        loop {
            let matched = {
                let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.answerer };
                settings.takeover.exceptions.matches(login, &mut ask)
            };
            match matched {
                Ok(Matched::Yes) => return true,
                Ok(Matched::No) => return false,
                Ok(Matched::Failed(reason)) => {
                    self.client.line(format!("warning: {reason}"));
                    return false;
                }
                Err(Suspend) => self.answer_pending().await,
            }
        }
    }
}
