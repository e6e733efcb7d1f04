//! What the session leaves to the site: who is authorised, filters for commands and replies, XCLIENT identities.

use super::conversation::Conversation;
use super::reply::{self, Finished};
use crate::daemon::site::RewriteClients;
use crate::lookup;
use policy::{Ask, MatchList, Matched, PeerName, PeerStatus, Suspend};
use smtp::server::{Authorised, ClientIdentity, EhloKeywords, Flush, ServerSession};
use std::sync::Arc;

impl Conversation {
    /// Does the client match a list? Failed look-ups are "no": nothing is granted on an unreadable table.
    async fn client_matches(&mut self, pick: impl Fn(&crate::daemon::site::Service) -> &MatchList) -> bool {
        let service = Arc::clone(&self.service);
        let list = pick(&service);
        if list.is_empty() {
            return false;
        }
        self.matches(list).await
    }

    pub(super) async fn matches(&mut self, list: &MatchList) -> bool {
        loop {
            let name = self.client.name.as_ref().map_or_else(|| Arc::from("unknown"), |n| Arc::clone(&n.name));
            let matched = {
                let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.answerer };
                list.matches_host(&name, self.client.address, &mut ask)
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

    /// What this client may do (XCLIENT, XFORWARD, bare newlines…) and which EHLO keywords it is not shown.
    pub(super) async fn authorise(&mut self) -> Authorised {
        let site = Arc::clone(&self.service);
        let counts = site.limits.any() || site.sasl.is_some();
        // Lists with host names have to wait for the client's name.
        if [
            &site.authorisation.xclient,
            &site.authorisation.xforward,
            &site.authorisation.verp,
            &site.authorisation.bare_newline,
        ]
        .iter()
        .any(|list| list.needs_name())
            || (counts && site.limits.exceptions.needs_name())
        {
            self.client.settle().await;
        }
        let xclient = self.client_matches(|s| &s.authorisation.xclient).await;
        self.is_limit_exempt = xclient || (counts && self.client_matches(|s| &s.limits.exceptions).await);
        Authorised {
            xclient,
            xforward: self.client_matches(|s| &s.authorisation.xforward).await,
            verp: self.client_matches(|s| &s.authorisation.verp).await,
            bare_newline_exempt: !self.is_distrusted() && self.client_matches(|s| &s.authorisation.bare_newline).await,
            event_limit_exempt: self.is_limit_exempt,
            discard_ehlo_keywords: self.discarded_keywords().await,
        }
    }

    async fn discarded_keywords(&mut self) -> EhloKeywords {
        let service = Arc::clone(&self.service);
        let key = self.client.address.map_or_else(|| "unknown".to_owned(), |a| a.to_string());
        let text = match self.first_value(&service.session_maps.discard_keywords, &key).await {
            Ok(Some(text)) => text.to_string(),
            Ok(None) => service.parameters.get("smtpd_discard_ehlo_keywords"),
            Err(()) => String::new(),
        };
        EhloKeywords::parse(&text).0
    }

    /// The first value of a key in a list of tables.
    pub(super) async fn first_value(&mut self, tables: &[u32], key: &str) -> Result<Option<Arc<str>>, ()> {
        for id in tables {
            match lookup::find(&self.site.tables, *id, key).await {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    self.client.line(format!("warning: {error}"));
                    return Err(());
                }
            }
        }
        Ok(None)
    }

    /// `smtpd_command_filter`: another line in place of this one.
    pub(super) async fn filter_command(&mut self, line: &[u8]) -> Result<Option<Vec<u8>>, ()> {
        let service = Arc::clone(&self.service);
        let found = self.first_value(&service.session_maps.command_filter, &String::from_utf8_lossy(line)).await?;
        if let Some(new) = &found {
            self.client.line(reply::replaced_command(line, new));
        }
        Ok(found.map(|new| new.as_bytes().to_vec()))
    }

    /// `smtpd_forbidden_commands` has tables of its own.
    pub(super) async fn matches_forbidden(&mut self, word: &str) -> bool {
        let service = Arc::clone(&self.service);
        // An unreadable table forbids nothing here: the command is unknown anyway.
        matches!(self.first_value(&service.session_maps.forbidden_commands, word).await, Ok(Some(_)))
    }

    /// A refusal on its way out: filter, then footer.
    pub(super) async fn finish_reply(&mut self, text: String) -> String {
        let service = Arc::clone(&self.service);
        let maps = &service.session_maps;
        let mut finished = Finished::new(text);
        if let Ok(Some(new)) = self.first_value(&maps.reject_filter, &finished.reply).await {
            finished.filter(&new, self.transaction.queue_id().as_ref().map(|id| id.as_str()));
        }
        let found = self.first_value(&maps.reject_footer, &finished.reply).await;
        let template = found.ok().flatten().unwrap_or_else(|| maps.footer.as_str().into());
        if !template.is_empty() {
            if template.contains("client") {
                self.client.settle().await;
            }
            let mut facts = self.facts();
            // as in Postfix: the first that was accepted
            facts.recipient = self.session.recipients().first().map(|r| r.address.clone());
            finished.add_footer(&template, &facts, self.client.display(), &service);
        }
        for line in finished.log {
            self.client.line(line);
        }
        finished.reply
    }

    /// ETRN: deliver what waits for a domain that `fast_flush_domains` has.
    pub(super) async fn flush_queue(&mut self) -> Flush {
        let service = Arc::clone(&self.service);
        let domain = self.session.etrn_domain().unwrap_or_default().to_owned();
        loop {
            let matched = {
                let mut ask = Ask { ledger: &mut self.ledger, world: &mut self.answerer };
                service.fast_flush_domains.matches(&domain, &mut ask)
            };
            match matched {
                // an address is no domain, even if the list has it
                Ok(Matched::Yes) if !domain.starts_with('[') => {
                    self.worker.deliver.flush();
                    return Flush::Started;
                }
                Ok(Matched::Yes | Matched::No) => {
                    self.client.line(format!("warning: reject: ETRN {domain}... from {}", ServerSession::CLIENT));
                    return Flush::Unavailable;
                }
                Ok(Matched::Failed(reason)) => {
                    self.client.line(format!("warning: {reason}"));
                    return Flush::Failed;
                }
                Err(Suspend) => self.answer_pending().await,
            }
        }
    }

    /// XCLIENT: another client, as far as the attributes say.
    pub(super) async fn change_client(&mut self, identity: ClientIdentity) {
        // Lines about the client as it was are still to be written under its own name.
        self.client.settle().await;
        if let Some(address) = identity.address {
            self.client.address = address;
        }
        if let Some(port) = identity.port {
            self.client.port = port.unwrap_or(0);
        }
        let mut name = self.client.name.clone().unwrap_or_else(|| PeerName::unknown(PeerStatus::Permanent));
        let status = |temporary: bool| if temporary { PeerStatus::Temporary } else { PeerStatus::Permanent };
        if let Some(given) = identity.name {
            match given {
                Ok(given) => {
                    name.name = given.as_str().into();
                    name.name_status = PeerStatus::Ok;
                    name.reverse = given.into();
                    name.reverse_status = PeerStatus::Ok;
                }
                Err(temporary) => {
                    // what the reverse name was, it stays
                    name.name = "unknown".into();
                    name.name_status = status(temporary);
                }
            }
        }
        if let Some(given) = identity.reverse_name {
            match given {
                Ok(given) => {
                    name.reverse = given.into();
                    name.reverse_status = PeerStatus::Ok;
                }
                Err(temporary) => {
                    name.reverse = "unknown".into();
                    name.reverse_status = status(temporary);
                }
            }
        }
        self.client.named(name);
        if let Some(address) = identity.server_address {
            self.server_address = address;
        }
        if let Some(port) = identity.server_port {
            self.server_port = port.unwrap_or(0);
        }
        self.policy_state.reset_session();
        self.ledger.clear();
        self.ahead.clear();
    }

    /// Whose headers are ours to complete (`local_header_rewrite_clients`)?
    pub(super) async fn is_local_rewrite(&mut self) -> bool {
        if let Some(local) = self.session.forwarded().and_then(|forwarded| forwarded.local) {
            return local;
        }
        let service = Arc::clone(&self.service);
        for element in &service.rewrite_clients {
            let local = match element {
                RewriteClients::InetInterfaces => {
                    self.client.address.is_some_and(|a| service.routing.is_own_address(a))
                }
                RewriteClients::MyNetworks(list) => {
                    if list.needs_name() {
                        self.client.settle().await;
                    }
                    !self.is_distrusted() && self.matches(list).await
                }
                RewriteClients::SaslAuthenticated => self.session.login().is_some(),
                RewriteClients::Certificates { all } => self.has_known_certificate(*all).await,
                RewriteClients::AddressMap(table) => {
                    let key = self.client.address.map_or_else(|| "unknown".to_owned(), |a| a.to_string());
                    matches!(self.first_value(&[*table], &key).await, Ok(Some(_)))
                }
            };
            if local {
                return true;
            }
        }
        false
    }
}

/// `Nov 22 12:00:00` in the local zone, as `$localtime` has it.
pub(super) fn localtime(seconds: u64) -> String {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%b %d %H:%M:%S").to_string()
}
