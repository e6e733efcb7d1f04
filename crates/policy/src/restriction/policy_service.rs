//! `check_policy_service` (SMTPD_POLICY_README): what is told to a policy service, and what its answer means.

use super::{Arg, Argument, Restriction, entry};
use crate::action::{Entry, interpret};
use crate::context::Context;
use crate::facts::{Certificate, Protocol};
use crate::ledger::Suspend;
use crate::policy_service::{DEFAULT_ACTION, PolicyService};
use crate::question::{Answer, Question};
use crate::step::{Guard, Step};
use smtp::server::Moment;
use std::fmt::Write as _;
use std::net::IpAddr;

pub(super) const ENTRIES: &[Restriction] =
    &[entry("check_policy_service", Argument::PolicyService, &[], "Ask a policy service what to do", check)];

/// What stands for the key in warnings about an answer.
const KEY: &str = "policy query";

fn check(context: &mut Context<'_, '_>, arg: &Arg) -> Result<Step, Suspend> {
    let Arg::PolicyService(service, written) = arg else { return Ok(Step::Dunno) };
    if context.eager {
        // Services count and greylist: they are only asked about what really happens.
        return Ok(Step::Dunno);
    }
    let request = request(context, service)?.into();
    let question = Question::PolicyService { service: service.clone(), request, ordinal: context.policy_requests };
    let answer = match context.ask.get(question)? {
        Answer::PolicyService(answer) => answer,
        _ => Err("the policy request was answered with something else".into()),
    };
    let (value, is_default) = match answer {
        Ok(value) => (value, false),
        Err(why) => {
            if *why != *PolicyService::PASSED_OVER {
                why.lines().for_each(|line| context.warning(line));
            }
            // A default action that asks a failing service itself must not begin again.
            let value = if context.in_default_action { DEFAULT_ACTION.into() } else { service.default_action.clone() };
            (value, true)
        }
    };
    let entry = Entry { source: written.clone(), key: KEY.into(), value, is_default };
    interpret(context, &entry, context.subject, Guard::None)
}

/// The attributes in Postfix's order, then an empty line. It is made for each session, and again when the answer is
/// there: no text is copied twice.
fn request(context: &mut Context<'_, '_>, service: &PolicyService) -> Result<String, Suspend> {
    let names = context.peer_name()?;
    let (facts, plan) = (context.facts, context.plan);
    let late = matches!(context.moment, Moment::Data | Moment::EndOfData);
    let state = if context.stage == "BDAT" { "DATA" } else { context.stage };
    let tls = facts.tls.as_ref();
    let mut request = Request(String::with_capacity(800));
    request.add("request", "smtpd_access_policy");
    request.add("protocol_state", state);
    request.add("protocol_name", if facts.protocol == Protocol::Esmtp { "ESMTP" } else { "SMTP" });
    request.add_address("client_address", facts.client.address);
    request.add("client_name", &names.name);
    request.add_port("client_port", facts.client.port);
    request.add("reverse_client_name", &names.reverse);
    request.add_address("server_address", facts.server_address);
    request.add_port("server_port", facts.server_port);
    request.add_given("helo_name", &facts.helo);
    request.add_given("sender", &facts.sender);
    request.add_given("recipient", &facts.recipient);
    request.add_number("recipient_count", if late { facts.recipient_count as u64 } else { 0 });
    request.add_given("queue_id", &facts.queue_id);
    // it begins with the answer to MAIL, and lasts until the next one, RSET or the answer to HELO
    request.add("instance", if context.moment == Moment::Mail { "" } else { &facts.instance });
    request.add_number("size", facts.size);
    request.add_given("etrn_domain", &facts.etrn_domain);
    request.add("stress", &plan.stress);
    let sasl = facts.sasl.as_ref();
    request.add("sasl_method", sasl.map_or("", |sasl| &sasl.method));
    request.add("sasl_username", sasl.map_or("", |sasl| &sasl.username));
    request.add("sasl_sender", sasl.map_or("", |sasl| &sasl.sender));
    request.add_certificate(tls.and_then(|tls| tls.certificate.as_ref()));
    request.add("encryption_protocol", tls.map_or("", |tls| &tls.protocol));
    request.add("encryption_cipher", tls.map_or("", |tls| &tls.cipher));
    request.add_number("encryption_keysize", tls.map_or(0, |tls| u64::from(tls.bits)));
    request.add("tls_sni", tls.map_or("", |tls| &tls.sni));
    request.add("policy_context", &service.policy_context);
    request.add("compatibility_level", &plan.compatibility_level);
    request.add("mail_version", &plan.mail_version);
    request.0.push('\n');
    Ok(request.0)
}

/// A request in the making.
struct Request(String);

impl Request {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push_str(name);
        self.0.push('=');
        // A line end within a value would be another attribute.
        match value.contains(['\n', '\0']) {
            false => self.0.push_str(value),
            true => self.0.extend(value.chars().map(|c| if matches!(c, '\n' | '\0') { '?' } else { c })),
        }
        self.0.push('\n');
    }

    fn add_given(&mut self, name: &str, value: &Option<String>) {
        self.add(name, value.as_deref().unwrap_or_default());
    }

    fn add_number(&mut self, name: &str, number: u64) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name}={number}");
    }

    fn add_port(&mut self, name: &str, port: u16) {
        match port {
            0 => self.add(name, "unknown"),
            port => self.add_number(name, u64::from(port)),
        }
    }

    fn add_address(&mut self, name: &str, address: Option<IpAddr>) {
        match address {
            None => self.add(name, "unknown"),
            Some(address) => {
                let _ = writeln!(self.0, "{name}={address}");
            }
        }
    }

    fn add_certificate(&mut self, certificate: Option<&Certificate>) {
        // Anybody can write names into a certificate of their own.
        let trusted = certificate.filter(|it| it.is_trusted);
        self.add("ccert_subject", &trusted.map(|it| xtext(&it.subject_cn)).unwrap_or_default());
        self.add("ccert_issuer", &trusted.map(|it| xtext(&it.issuer_cn)).unwrap_or_default());
        self.add("ccert_fingerprint", certificate.map_or("", |it| &it.fingerprint));
        self.add("ccert_pubkey_fingerprint", certificate.map_or("", |it| &it.public_key_fingerprint));
    }
}

/// RFC 3461 xtext.
fn xtext(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' | 0..=32 | 127.. => coded.push_str(&format!("+{byte:02X}")),
            _ => coded.push(char::from(byte)),
        }
    }
    coded
}

#[cfg(test)]
#[path = "policy_service_tests.rs"]
mod tests;
