//! DNS block and allow lists, by address and by domain, and their replies.

use super::client::permit_as;
use super::destination::is_authorized;
use super::dnsbl_guardian as guardian;
use super::{Arg, Argument, Input, Restriction, entry};
use crate::action::fit;
use crate::address::syntax::{ascii_name, is_hostname, split_at_domain};
use crate::address::{AddressMaps, Lookup};
use crate::context::Context;
use crate::decision::LogEntry;
use crate::dns_filter;
use crate::facts::{Facts, PeerName, PeerStatus};
use crate::ledger::Suspend;
use crate::question::{DnsAnswer, DnsRecord, DnsStatus, RecordType};
use crate::refusal::{Refusal, Status};
use crate::step::Step;
use crate::subject::Subject;
use crate::template;
use smtp::server::Moment;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// All texts of one list together may be this long.
const TEXT_LIMIT: usize = 500;

macro_rules! list {
    ($name:literal, $input:ident, $summary:literal, $run:ident, $subject:ident, $kind:ident) => {
        entry($name, Argument::Domain, &[Input::$input], $summary, |context, arg| {
            $run(context, arg, Subject::$subject, Kind::$kind, $name)
        })
        .dns()
    };
}

pub(super) const ENTRIES: &[Restriction] = &[
    list!("reject_rbl_client", Client, "Refuse clients whose address is on the list", reject, Client, Address)
        .alias(&["reject_rbl"]),
    list!("reject_rhsbl_client", Client, "Refuse clients whose name is on the list", reject, Client, Name),
    list!(
        "reject_rhsbl_reverse_client",
        Client,
        "Refuse clients whose unverified name is on the list",
        reject,
        ReverseClient,
        Name
    ),
    list!("reject_rhsbl_helo", Helo, "Refuse HELO names on the list", reject, Helo, Name),
    list!("reject_rhsbl_sender", Sender, "Refuse senders in domains on the list", reject, Sender, Name),
    list!("reject_rhsbl_recipient", Recipient, "Refuse recipients in domains on the list", reject, Recipient, Name),
    list!("permit_dnswl_client", Client, "Permit clients whose address is on the list", permit, Client, Address),
    list!("permit_rhswl_client", Client, "Permit clients whose name is on the list", permit, Client, Name),
];

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    Name,
}

/// `domain` or `domain=filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dnsbl {
    /// As written.
    text: Arc<str>,
    domain: Arc<str>,
    filter: Option<[Vec<(u8, u8)>; 4]>,
}

/// What is wrong with the name of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadList {
    /// It is no domain, so that nothing can be found in it.
    Domain,
    /// The filter makes no sense.
    Filter(String),
}

impl Dnsbl {
    pub fn parse(text: &str) -> Result<Self, BadList> {
        let (domain, filter) = match text.split_once('=') {
            Some((domain, filter)) => (domain, Some(parse_filter(filter).map_err(BadList::Filter)?)),
            None => (text, None),
        };
        if !is_hostname(&ascii_name(domain).unwrap_or_default()) {
            return Err(BadList::Domain);
        }
        Ok(Self { text: text.into(), domain: domain.into(), filter })
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The list's domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Does it say which answers count?
    pub fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Does this answer count?
    pub fn counts(&self, answer: Ipv4Addr) -> bool {
        self.filter.as_ref().is_none_or(|filter| matches_filter(filter, answer))
    }

    /// Does one of the answers count?
    pub fn matches(&self, answer: &DnsAnswer) -> bool {
        if self.filter.is_none() {
            return true;
        }
        answer.addresses().any(|address| match address {
            IpAddr::V4(address) => self.counts(address),
            IpAddr::V6(_) => false,
        })
    }
}

fn matches_filter(filter: &[Vec<(u8, u8)>; 4], address: Ipv4Addr) -> bool {
    let fits = |(octet, ranges): (u8, &Vec<(u8, u8)>)| ranges.iter().any(|(from, to)| (*from..=*to).contains(&octet));
    address.octets().into_iter().zip(filter).all(fits)
}

/// `d.d.d.d`, where each `d` is a number or `[n;n;n..m]`.
fn parse_filter(text: &str) -> Result<[Vec<(u8, u8)>; 4], String> {
    let mut octets: [Vec<(u8, u8)>; 4] = Default::default();
    let mut rest = text;
    for (at, octet) in octets.iter_mut().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('.').ok_or_else(|| format!("need four octets, got {at}"))?;
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (ranges, after) = inner.split_once(']').ok_or("no \"]\" after \"[\"")?;
            for range in ranges.split(';') {
                let (from, to) = range.split_once("..").unwrap_or((range, range));
                let (from, to) = (parse_octet(from)?, parse_octet(to)?);
                if from > to {
                    return Err(format!("bad range \"{range}\""));
                }
                octet.push((from, to));
            }
            rest = after;
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let number = parse_octet(&rest[..end])?;
            octet.push((number, number));
            rest = &rest[end..];
        }
    }
    if rest.is_empty() { Ok(octets) } else { Err(format!("\"{rest}\" after the fourth octet")) }
}

fn parse_octet(text: &str) -> Result<u8, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(format!("\"{text}\" is not a number from 0 to 255")),
    }
}

/// How refusals by a list are worded.
#[derive(Clone, Debug)]
pub(crate) struct DnsblReplies {
    /// `default_rbl_reply`, not expanded.
    pub default: String,
    /// `rbl_reply_maps`.
    pub maps: AddressMaps,
    /// `smtpd_expansion_filter`.
    pub filter: String,
    /// `maps_rbl_reject_code`.
    pub code: u16,
    /// `postern_dnsbl_guardian`.
    pub guardian: bool,
}

/// Does a template begin with a reply code?
pub(crate) fn is_reply_template(text: &str) -> bool {
    let text = text.trim_start();
    if text.starts_with("$rbl_code") || text.starts_with("${rbl_code}") {
        return true;
    }
    split_code(text).is_some()
}

fn split_code(text: &str) -> Option<(u16, &str)> {
    let (code, rest) = text.split_at_checked(3)?;
    let code: u16 = code.parse().ok().filter(|code| (400..600).contains(code))?;
    rest.starts_with([' ', '\t']).then(|| (code, rest.trim_start()))
}

/// The listed value and the query for it; `None`: nothing to look up.
fn query(
    context: &mut Context<'_, '_>,
    list: &Dnsbl,
    subject: Subject,
    kind: Kind,
) -> Result<Option<(String, String)>, Suspend> {
    let facts = context.facts;
    if kind == Kind::Address {
        let Some(address) = facts.client.address else { return Ok(None) };
        return Ok(Some((address.to_string(), format!("{}.{}", reversed(address), list.domain))));
    }
    let value = match subject {
        Subject::Client => context.peer_name()?.name.to_string(),
        Subject::ReverseClient => context.peer_name()?.reverse.to_string(),
        Subject::Helo => facts.helo.clone().unwrap_or_default(),
        Subject::Sender => facts.sender.clone().unwrap_or_default(),
        _ => facts.recipient.clone().unwrap_or_default(),
    };
    let is_client = matches!(subject, Subject::Client | Subject::ReverseClient);
    if value.is_empty() || (is_client && value == "unknown") {
        return Ok(None);
    }
    if value.ends_with('.') {
        return Ok(None);
    }
    let (local, domain) = split_at_domain(&value);
    let domain = domain.unwrap_or(local);
    // log lines show the name as it was written
    let ascii = if domain.is_ascii() { Some(domain.into()) } else { ascii_name(domain) };
    let Some(domain) = ascii else { return Ok(None) };
    let numeric = domain.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if numeric || !is_hostname(&domain) {
        return Ok(None);
    }
    let query = format!("{domain}.{}", list.domain);
    Ok(Some((value, query)))
}

pub(super) fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(v6) => {
            let mut text = String::with_capacity(64);
            for octet in v6.octets().iter().rev() {
                for nibble in [octet & 15, octet >> 4] {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
                }
            }
            text
        }
    }
}

/// Is the value listed? `None`: that cannot be told now.
fn is_listed(context: &mut Context<'_, '_>, list: &Dnsbl, kind: Kind, query: &str) -> Result<Option<bool>, Suspend> {
    let answer = match context.dns(RecordType::A, query) {
        Ok(answer) => answer,
        Err(suspend) => {
            guardian::ask_ahead(context, list, kind);
            return Err(suspend);
        }
    };
    match answer.status {
        DnsStatus::Ok if !list.matches(&answer) => Ok(Some(false)),
        DnsStatus::Ok => Ok(Some(!guardian::is_false(context, list, kind, query, &answer)?)),
        DnsStatus::NotFound | DnsStatus::NullMx => Ok(Some(false)),
        _ => {
            // questions are asked in lower case
            let reason = answer.reason.replace(&query.to_ascii_lowercase(), query);
            let text = format!("{query}: RBL lookup error: {reason}");
            context.log.push(LogEntry::WarningOnce(text));
            Ok(None)
        }
    }
}

fn reject(
    context: &mut Context<'_, '_>,
    arg: &Arg,
    subject: Subject,
    kind: Kind,
    _: &'static str,
) -> Result<Step, Suspend> {
    let Arg::Domain(list) = arg else { return Ok(Step::Dunno) };
    let Some((value, query)) = query(context, list, subject, kind)? else { return Ok(Step::Dunno) };
    if context.eager && context.dns(RecordType::A, &query).is_err() {
        // The text is asked for beside the address: a listed client waits for one round of answers, not for two.
        context.ahead(&[RecordType::Txt], &query);
    }
    if is_listed(context, list, kind, &query)? != Some(true) {
        return Ok(Step::Dunno);
    }
    let text = listing_text(context, &query)?;
    reply(context, list, subject, &value, &text)
}

fn permit(
    context: &mut Context<'_, '_>,
    arg: &Arg,
    subject: Subject,
    kind: Kind,
    name: &'static str,
) -> Result<Step, Suspend> {
    let Arg::Domain(list) = arg else { return Ok(Step::Dunno) };
    let facts = context.facts;
    let Some((value, query)) = query(context, list, subject, kind)? else { return Ok(Step::Dunno) };
    if let (Moment::Rcpt, Some(recipient)) = (context.moment, facts.recipient.as_deref()) {
        // A list must not be able to open the relay.
        match is_authorized(context, recipient)? {
            Ok(true) => {}
            Ok(false) => return Ok(Step::Dunno),
            Err(step) => return Ok(step),
        }
    }
    Ok(match is_listed(context, list, kind, &query)? {
        Some(true) => permit_as(name, subject),
        Some(false) => Step::Dunno,
        None => {
            let text = format!("<{value}>: {} rejected: Service unavailable", subject.class());
            Step::DeferIfReject(Refusal::new(450, (7, 1), text))
        }
    })
}

/// What the list says about the entry.
fn listing_text(context: &mut Context<'_, '_>, query: &str) -> Result<String, Suspend> {
    let answer = context.dns(RecordType::Txt, query)?;
    if answer.status != DnsStatus::Ok {
        // A list that can't say why is no trouble; a filter that lets nothing through may be a mistake.
        if answer.status == DnsStatus::Policy {
            context.warning(format!("{query}: TXT lookup error: {}", dns_filter::DROPS_ALL));
        }
        return Ok(String::new());
    }
    let mut text = String::new();
    for record in &answer.records {
        let DnsRecord::Txt(found) = record else { continue };
        if text.len() + found.len() + 3 > TEXT_LIMIT {
            let left = TEXT_LIMIT.saturating_sub(text.len() + 3);
            let cut = (0..=left.min(found.len())).rev().find(|at| found.is_char_boundary(*at)).unwrap_or(0);
            if !text.is_empty() && cut > 0 {
                text.push_str(" / ");
            }
            text.push_str(&found[..cut]);
            break;
        }
        if !text.is_empty() {
            text.push_str(" / ");
        }
        text.push_str(found);
    }
    Ok(text.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}

/// The template for a list, if it has one of its own.
fn own_template(context: &mut Context<'_, '_>, list: &Dnsbl) -> Result<Result<Option<Arc<str>>, Step>, Suspend> {
    // The key is what the restriction says, filter and all.
    Ok(match context.plan.dnsbl.maps.get(&list.text, false, context.ask)? {
        Lookup::Found { value, .. } => Ok(Some(value)),
        Lookup::NotFound => Ok(None),
        Lookup::Failed(why) | Lookup::Broken(why) => {
            context.warning(why.as_ref());
            Err(Step::Abort(Refusal::server_error()))
        }
    })
}

fn reply(
    context: &mut Context<'_, '_>,
    list: &Dnsbl,
    subject: Subject,
    value: &str,
    listing: &str,
) -> Result<Step, Suspend> {
    let own = match own_template(context, list)? {
        Ok(own) => own,
        Err(step) => return Ok(step),
    };
    let plan = context.plan;
    let named = [own.as_deref(), Some(plan.dnsbl.default.as_str())].into_iter().flatten().any(names_client);
    let macros = Macros::new(context, list, subject, value, listing, named)?;
    let mut text = None;
    if let Some(own) = own {
        match template::expand_defined(&own, &plan.dnsbl.filter, &|name| macros.value(name)) {
            Some(expanded) => text = Some(expanded),
            None => {
                let domain = &list.domain;
                context.warning(format!("rbl_reply_maps: bad rbl reply template for domain {domain}: {own}"));
            }
        }
    }
    let text = text.or_else(|| template::expand(&plan.dnsbl.default, &plan.dnsbl.filter, &|name| macros.value(name)));
    let text = text.unwrap_or_default();
    let Some((code, rest)) = split_code(&text) else {
        context.warning(format!("bad SMTP reply code in rbl reply \"{text}\""));
        return Ok(Step::Reject(Refusal::new(450, (7, 1), "Service unavailable")));
    };
    let (status, rest) = Status::split(rest);
    let status = fit(context, status.unwrap_or(Status::new(7, 1)), code, subject);
    Ok(Step::Reject(Refusal::new(code, (status.subject, status.detail), rest)))
}

/// Does a template show the client's name? Only then the refusal has to wait for it.
fn names_client(template: &str) -> bool {
    ["client_address", "client_port"].iter().fold(template.to_owned(), |text, m| text.replace(m, "")).contains("client")
}

/// Values of the macros of a reply template.
struct Macros<'a> {
    facts: &'a Facts,
    code: String,
    domain: String,
    listing: String,
    value: String,
    class: &'static str,
    client: String,
    client_name: String,
    reverse_name: String,
    address: String,
    server: &'a str,
}

impl<'a> Macros<'a> {
    fn new(
        context: &mut Context<'a, '_>,
        list: &Dnsbl,
        subject: Subject,
        value: &str,
        listing: &str,
        named: bool,
    ) -> Result<Self, Suspend> {
        let (client, names) = match named {
            true => (context.client_text()?, context.peer_name()?),
            false => (String::new(), PeerName::unknown(PeerStatus::Permanent)),
        };
        Ok(Self {
            facts: context.facts,
            code: context.plan.dnsbl.code.to_string(),
            domain: list.domain.to_string(),
            listing: listing.to_owned(),
            value: value.to_owned(),
            class: subject.class(),
            client,
            client_name: names.name.to_string(),
            reverse_name: names.reverse.to_string(),
            address: context.client_address(),
            server: &context.plan.server_name,
        })
    }

    fn value(&self, name: &str) -> Option<String> {
        Some(match name {
            "rbl_code" => self.code.clone(),
            "rbl_domain" => self.domain.clone(),
            "rbl_reason" | "rbl_txt" => self.listing.clone(),
            "rbl_what" => self.value.clone(),
            "rbl_class" => self.class.into(),
            "client" => self.client.clone(),
            "client_name" => self.client_name.clone(),
            "reverse_client_name" => self.reverse_name.clone(),
            "client_address" => self.address.clone(),
            "server_name" => self.server.into(),
            _ => return template::session_macro(self.facts, name),
        })
    }
}

#[cfg(test)]
#[path = "dnsbl_tests.rs"]
mod tests;
