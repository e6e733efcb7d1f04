//! A message that a before-queue filter takes (`smtpd_proxy_filter`): each command is its to answer, nothing is stored, and
//! the last word is its word.

use super::conversation::Conversation;
use crate::clock;
use crate::proxy_filter::{Dialogue, Kept, ProxyFilter, WRITE_ERROR, Want, Warn};
use policy::Effect;
use smtp::proxy::{ContentEncoder, ForwardedClient, ProxyReply, command_line};
use smtp::server::MessageEnd;
use std::sync::Arc;

/// The message on its way through.
pub struct Proxied {
    filter: Arc<ProxyFilter>,
    hop: Hop,
    encoder: ContentEncoder,
    /// What is still to be sent of the content.
    ready: Vec<u8>,
    /// The next hop made no sense once: the message can't be accepted any more.
    is_spoilt: bool,
}

/// Who takes it, and when.
enum Hop {
    /// The next hop, as it comes.
    Live(Box<Dialogue>),
    /// Kept until it is complete.
    Kept(Kept),
}

impl Proxied {
    async fn content(&mut self, conversation: &Conversation) -> Result<(), String> {
        let bytes = std::mem::take(&mut self.ready);
        match &mut self.hop {
            Hop::Live(dialogue) => dialogue.content(&bytes).await?,
            Hop::Kept(kept) => {
                let worker = &conversation.worker;
                let now = || i64::try_from(clock::unix_micros()).unwrap_or(i64::MAX);
                let id = || worker.ids.next(conversation.service.long_queue_ids, now());
                kept.content(&bytes, &worker.spool, id).map_err(|error| {
                    worker.log.warning(&conversation.service.tag, &format!("write proxy file: {error}"));
                    WRITE_ERROR.to_owned()
                })?;
            }
        }
        self.ready = bytes;
        self.ready.clear();
        Ok(())
    }
}

impl Conversation {
    /// The message begins, at the first accepted recipient or at MAIL.
    pub(super) async fn open_proxied(&mut self, filter: &Arc<ProxyFilter>) {
        // XFORWARD has the client's name.
        self.client.settle().await;
        let mail = command_line(self.session.mail_command(), self.session.mail_options().requiretls);
        let hop = if filter.speed_adjust {
            Ok(Hop::Kept(Kept::new(mail)))
        } else {
            self.connect(filter, &mail).await.map(|dialogue| Hop::Live(Box::new(dialogue)))
        };
        match hop {
            Ok(hop) => {
                self.transaction.proxied = Some(Box::new(Proxied {
                    filter: Arc::clone(filter),
                    hop,
                    encoder: ContentEncoder::new(0),
                    ready: Vec::new(),
                    is_spoilt: false,
                }));
                self.log_client("NOQUEUE");
                self.session.opened(Ok("NOQUEUE".to_owned()));
            }
            Err(reply) => self.session.opened(Err(reply)),
        }
    }

    async fn connect(&self, filter: &Arc<ProxyFilter>, mail: &str) -> Result<Dialogue, String> {
        let client = self.forwarded_client();
        let (log, tag) = (self.worker.log.clone(), Arc::clone(&self.service.tag));
        let warn: Warn = Arc::new(move |text: &str| log.warning(&tag, text));
        Dialogue::open(filter, &self.worker.resolver, &warn, &client, mail).await
    }

    /// Who sent the message: as an XFORWARD client has told us, or the client itself.
    fn forwarded_client(&self) -> ForwardedClient {
        let known = |text: &Option<String>| text.clone().filter(|text| text != "unknown");
        let forwarded = self.session.forwarded();
        let ident = forwarded.and_then(|forwarded| forwarded.ident.clone());
        match forwarded.filter(|forwarded| forwarded.orig_client().is_some()) {
            Some(forwarded) => ForwardedClient {
                name: known(&forwarded.name),
                address: forwarded.address.flatten(),
                port: known(&forwarded.port),
                helo: forwarded.helo.clone(),
                ident,
                protocol: known(&forwarded.protocol),
                is_local: forwarded.local.unwrap_or(false),
            },
            None => ForwardedClient {
                name: known(&self.client.name.as_ref().map(|names| names.name.to_string())),
                address: self.client.address,
                port: Some(self.client.port).filter(|port| *port != 0).map(|port| port.to_string()),
                helo: self.session.helo_name().map(str::to_owned),
                ident,
                protocol: Some(self.session.protocol().to_owned()),
                is_local: self.transaction.local_rewrite,
            },
        }
    }

    /// A recipient passed our own lists: the next hop may still refuse it.
    pub(super) async fn proxy_recipient(&mut self) {
        let command = self.session.recipients().last().map(|recipient| command_line(&recipient.command, false));
        let (Some(proxied), Some(command)) = (&mut self.transaction.proxied, command) else {
            return self.session.recipient_answered(Err(WRITE_ERROR.to_owned()));
        };
        let answer = match &mut proxied.hop {
            Hop::Live(dialogue) => dialogue.command(&command, Want::Ok).await.map(drop),
            Hop::Kept(kept) => {
                kept.recipient(command);
                Ok(())
            }
        };
        proxied.is_spoilt |= answer.as_ref().is_err_and(|reply| reply == WRITE_ERROR);
        self.watch_recipient(answer.is_ok()).await;
        self.session.recipient_answered(answer);
    }

    /// DATA or the first BDAT passed our own lists.
    pub(super) async fn proxy_data(&mut self) {
        if let Some(reply) = self.refuse_after_takeover().await {
            return self.session.data_answered(Err(reply));
        }
        let header = self.proxied_header();
        let Some(proxied) = &mut self.transaction.proxied else {
            return self.session.data_answered(Err(WRITE_ERROR.to_owned()));
        };
        let answer = match &mut proxied.hop {
            Hop::Live(_) if proxied.is_spoilt => Ok(()),
            Hop::Live(dialogue) => dialogue.data().await,
            Hop::Kept(_) => Ok(()),
        };
        if answer.is_ok() {
            proxied.encoder.push(header.as_bytes(), &mut proxied.ready);
        }
        let is_spoilt = proxied.is_spoilt;
        self.session.data_answered(answer);
        if is_spoilt {
            self.session.refuse_content(WRITE_ERROR);
        }
    }

    /// What stands above the client's own headers. There is no Received header of ours when the client is a filter's second
    /// half: then it is part of one hop.
    fn proxied_header(&self) -> String {
        let mut header = String::new();
        for effect in &self.transaction.effects {
            if let Effect::Prepend(line) = effect {
                header.push_str(line);
                header.push('\n');
            }
        }
        if self.session.mail_options().requiretls {
            header.push_str("Require-TLS-ESMTP: yes\n");
        }
        if self.session.forwarded().is_none() {
            header.push_str(&self.received(None, &clock::timestamp(clock::unix_seconds())));
        }
        header
    }

    /// Content goes on as it comes.
    pub(super) async fn proxy_content(&mut self) {
        let Some(mut proxied) = self.transaction.proxied.take() else {
            return self.session.refuse_content(WRITE_ERROR);
        };
        let mut raw = Vec::new();
        self.session.take_content(&mut raw);
        self.see_content(&raw);
        let Proxied { encoder, ready, .. } = &mut *proxied;
        encoder.push(&raw, ready);
        if let Err(reply) = proxied.content(self).await {
            self.session.refuse_content(&reply);
        }
        self.transaction.proxied = Some(proxied);
    }

    /// The end of the message: the next hop's reply is the client's.
    pub(super) async fn proxy_commit(&mut self) -> MessageEnd {
        let answer = match self.transaction.proxied.take() {
            Some(proxied) => self.finish_proxied(*proxied).await,
            None => Err(WRITE_ERROR.to_owned()),
        };
        let (end, word, shown) = match answer {
            Ok(reply) if reply.class() == Some(2) => {
                (MessageEnd::Relayed(reply.for_client()), "proxy-accept", reply.for_log())
            }
            Ok(reply) => (MessageEnd::Refused(reply.for_client()), "proxy-reject", reply.for_log()),
            Err(reply) => (MessageEnd::Refused(reply.clone()), "proxy-reject", reply.replace('\n', "??")),
        };
        self.client.line(format!("{word}: END-OF-MESSAGE: {shown};{}", self.session.message_context()));
        self.forget_transaction();
        end
    }

    async fn finish_proxied(&self, proxied: Proxied) -> Result<ProxyReply, String> {
        let Proxied { filter, hop, mut encoder, mut ready, .. } = proxied;
        encoder.end(&mut ready);
        match hop {
            Hop::Live(mut dialogue) => dialogue.end(&ready).await,
            Hop::Kept(mut kept) => {
                kept.finish(&ready);
                let mut dialogue = self.connect(&filter, kept.mail()).await?;
                kept.tell(&mut dialogue).await
            }
        }
    }
}
