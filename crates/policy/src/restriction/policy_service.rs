//! `check_policy_service` (SMTPD_POLICY_README): what is told to a policy service, and what its answer means.

use super::{Arg, Argument, Restriction, entry};
use crate::action::{Entry, interpret};
use crate::context::Context;
use crate::facts::{Certificate, Protocol};
use crate::policy_service::{DEFAULT_ACTION, PolicyService};
use crate::question::{Answer, Question, Suspend};
use crate::step::{Guard, Step};
use smtp::server::Moment;
use std::net::IpAddr;

pub(super) const ENTRIES: &[Restriction] =
    &[entry("check_policy_service", Argument::PolicyService, &[], "Ask a policy service what to do", check)];

/// What stands for the key in warnings about an answer.
const KEY: &str = "policy query";

fn check(context: &mut Context<'_, '_>, arg: &Arg) -> Result<Step, Suspend> {
    let Arg::PolicyService(service) = arg else { return Ok(Step::Dunno) };
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
    let entry = Entry { source: service.name.clone(), key: KEY.into(), value, is_default };
    interpret(context, &entry, context.subject, Guard::None)
}

/// The attributes in Postfix's order, then an empty line.
fn request(context: &mut Context<'_, '_>, service: &PolicyService) -> Result<String, Suspend> {
    let names = context.peer_name()?;
    let (facts, plan) = (context.facts, context.plan);
    let late = matches!(context.moment, Moment::Data | Moment::EndOfData);
    // it begins with the answer to MAIL, and lasts until the next one, RSET or the answer to HELO
    let instance = if context.moment == Moment::Mail { String::new() } else { facts.instance.clone() };
    let state = if context.stage == "BDAT" { "DATA" } else { context.stage };
    let protocol = if facts.protocol == Protocol::Esmtp { "ESMTP" } else { "SMTP" };
    let recipient_count = if late { facts.recipient_count } else { 0 };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let sasl = facts.sasl.as_ref();
    let tls = facts.tls.as_ref();
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    // Anybody can write names into a certificate of their own.
    let trusted = |name: fn(&Certificate) -> &String| {
        certificate.filter(|it| it.is_trusted).map(|it| xtext(name(it))).unwrap_or_default()
    };
    let attributes: [(&str, String); 32] = [
        ("request", "smtpd_access_policy".into()),
        ("protocol_state", state.into()),
        ("protocol_name", protocol.into()),
        ("client_address", address(facts.client.address)),
        ("client_name", names.name.as_ref().into()),
        ("client_port", port(facts.client.port)),
        ("reverse_client_name", names.reverse.as_ref().into()),
        ("server_address", address(facts.server_address)),
        ("server_port", port(facts.server_port)),
        ("helo_name", text(&facts.helo)),
        ("sender", text(&facts.sender)),
        ("recipient", text(&facts.recipient)),
        ("recipient_count", recipient_count.to_string()),
        ("queue_id", text(&facts.queue_id)),
        ("instance", instance),
        ("size", facts.size.to_string()),
        ("etrn_domain", text(&facts.etrn_domain)),
        ("stress", plan.stress.clone()),
        ("sasl_method", sasl.map(|sasl| sasl.method.clone()).unwrap_or_default()),
        ("sasl_username", sasl.map(|sasl| sasl.username.clone()).unwrap_or_default()),
        ("sasl_sender", sasl.map(|sasl| sasl.sender.clone()).unwrap_or_default()),
        ("ccert_subject", trusted(|certificate| &certificate.subject_cn)),
        ("ccert_issuer", trusted(|certificate| &certificate.issuer_cn)),
        ("ccert_fingerprint", certificate.map(|it| it.fingerprint.clone()).unwrap_or_default()),
        ("ccert_pubkey_fingerprint", certificate.map(|it| it.public_key_fingerprint.clone()).unwrap_or_default()),
        ("encryption_protocol", tls.map(|tls| tls.protocol.clone()).unwrap_or_default()),
        ("encryption_cipher", tls.map(|tls| tls.cipher.clone()).unwrap_or_default()),
        ("encryption_keysize", tls.map_or(0, |tls| tls.bits).to_string()),
        ("tls_sni", tls.map(|tls| tls.sni.clone()).unwrap_or_default()),
        ("policy_context", service.policy_context.as_ref().into()),
        ("compatibility_level", plan.compatibility_level.clone()),
        ("mail_version", plan.mail_version.clone()),
    ];
    let mut request = String::with_capacity(800);
    for (name, value) in attributes {
        request.push_str(name);
        request.push('=');
        // A line end within a value would be another attribute.
        request.extend(value.chars().map(|c| if matches!(c, '\n' | '\0') { '?' } else { c }));
        request.push('\n');
    }
    request.push('\n');
    Ok(request)
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

fn address(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".into(), |address| address.to_string())
}

fn port(port: u16) -> String {
    if port == 0 { "unknown".into() } else { port.to_string() }
}

#[cfg(test)]
#[path = "policy_service_tests.rs"]
mod tests;
