//! A case made from a decision of the past: the facts and answers that the decision record has, written as a case that
//! comes out the same with the configuration that decided.

use super::file::{CaseFile, Expected};
use super::run::{Played, Suite, Unplayable};
use super::writing::{Draft, basic};
use crate::daemon::site::Site;
use crate::record::{Ask, Bound, Record, StoredAnswer, TYPES, dns_status, peer_status};
use crate::rehearsal::Stuck;
use policy::{DkimResult, DnsStatus, PeerStatus, Question, TableId};
use smtp::address::quote_local;
use smtp::server::Moment;
use std::net::IpAddr;

/// So many tables that aren't in memory may turn up.
const TABLES: usize = 50;

/// So many recipients are named before one.
const RECIPIENTS: usize = 100;

/// A case, as text for a file of cases.
pub struct RecordedCase {
    /// `[[case]]` and its lines.
    pub text: String,
    /// Why it doesn't come out as it did.
    pub problem: Option<String>,
}

/// The case of a decision; `session` has all decisions of its session, in order.
///
/// # Errors
/// Why there is no case for such a one.
pub fn recorded_case(site: &Site, record: &Record<Bound>, session: &[Record<Bound>]) -> Result<RecordedCase, String> {
    match (&*record.stage, &record.reply) {
        ("VRFY" | "ETRN", _) => return Err(format!("cases have no {}", record.stage)),
        ("CONNECT" | "XCLIENT" | "HELO" | "EHLO" | "MAIL", None) => {
            return Err(format!("{} was accepted, and that says nothing without a recipient", record.stage));
        }
        ("HELO" | "EHLO", _) if record.sender.is_some() => {
            return Err(format!("this {} came within a transaction", record.stage));
        }
        _ => {}
    }
    let told = told(record, session, false);
    if let (None, Some(later)) = (&record.reply, told.iter().find(|later| later.reply.is_some())) {
        // The recipient was accepted, the message was not: that is the case.
        return recorded_case(site, later, session);
    }
    let recipient = told.iter().rfind(|earlier| &*earlier.stage == "RCPT" && earlier.code != record.code);
    if let ("DATA" | "BDAT" | "END-OF-MESSAGE", None, Some(recipient)) = (&*record.stage, &record.reply, recipient) {
        // Of a message that was accepted, the last recipient's is the case.
        return recorded_case(site, recipient, session);
    }
    let is_known = record.recipient.is_some() || told.iter().any(|earlier| &*earlier.stage == "RCPT");
    if matches!(&*record.stage, "DATA" | "BDAT" | "END-OF-MESSAGE") && !is_known {
        return Err("its recipients were accepted without a decision, and aren't known".to_owned());
    }
    let (mut draft, played) = settle(site, record, &told);
    let mut played = played?;
    let mut problem = difference(record, &played);
    if problem.is_some() {
        // What was refused before leaves something behind now and then.
        let (again, other) = settle(site, record, &self::told(record, session, true));
        if let Ok(other) = other
            && difference(record, &other).is_none()
        {
            (draft, played, problem) = (again, other, None);
        }
    }
    let expected = match &problem {
        None => played.verdict,
        Some(_) => verdict(record.reply.as_deref()),
    };
    draft.expected(&match (&problem, &record.reply) {
        (Some(_), Some(reply)) => vec![("reply", reply.clone())],
        (Some(_), None) => Vec::new(),
        (None, _) => {
            let mut lines = Vec::new();
            if expected != Expected::Permit {
                lines.push(("reply", played.reply));
            }
            if !played.restriction.is_empty() {
                lines.push(("restriction", played.restriction));
            }
            lines
        }
    });
    Ok(RecordedCase { text: draft.text(expected.word()), problem })
}

/// A case, and what it comes to. It ends where the session ended.
fn settle(site: &Site, record: &Record<Bound>, told: &[&Record<Bound>]) -> (Draft, Result<Played, String>) {
    let mut draft = draft(site, record, told);
    let played = rehearse(site, &mut draft);
    if record.reply.is_some() {
        return (draft, played);
    }
    // What the client left out, nobody decided then.
    let has = |stages: &[&str]| told.iter().any(|later| stages.contains(&&*later.stage));
    let until = match &played {
        Ok(played) if !has(&["DATA", "BDAT"]) && decides(played, Moment::Data) => "\"RCPT\"",
        Ok(played) if !has(&["END-OF-MESSAGE"]) && decides(played, Moment::EndOfData) => "\"DATA\"",
        Err(_) if has(&["DATA", "BDAT"]) => "\"DATA\"",
        Err(_) => "\"RCPT\"",
        Ok(_) => return (draft, played),
    };
    draft.line("until", until);
    let played = rehearse(site, &mut draft);
    (draft, played)
}

/// Play a draft, with whatever tables it turns out to need.
fn rehearse(site: &Site, draft: &mut Draft) -> Result<Played, String> {
    loop {
        match play(site, &draft.text("permit")) {
            Ok(played) => return Ok(played),
            // A table of a database: it had nothing, or the record would know.
            Err(Unplayable::Stuck(Stuck::Question(question))) if draft.tables.len() < TABLES => {
                let Question::Table { table: TableId(id), key } = *question else {
                    return Err(Unplayable::Stuck(Stuck::Question(question)).to_string());
                };
                let spec = site.tables.spec(id).ok_or_else(|| format!("no table for \"{key}\""))?;
                if draft.tables.contains_key(&**spec) {
                    return Err(format!("nobody answers {spec} \"{key}\""));
                }
                draft.tables.insert(spec.to_string(), Vec::new());
            }
            Err(why) => return Err(why.to_string()),
        }
    }
}

/// Did any restriction run at this moment?
fn decides(played: &Played, moment: Moment) -> bool {
    played.decided.iter().any(|decided| decided.moment == moment && !decided.decision.trace.steps.is_empty())
}

fn verdict(reply: Option<&str>) -> Expected {
    match reply.map(|reply| reply.starts_with('5')) {
        None => Expected::Permit,
        Some(true) => Expected::Reject,
        Some(false) => Expected::Defer,
    }
}

/// The reply that the policy gave, before footers.
fn decided(played: &Played) -> Option<&str> {
    let rejections = played.decided.iter().rev().filter_map(|decided| decided.decision.rejection.as_ref());
    rejections.map(|rejection| rejection.reply.as_str()).next()
}

/// What comes out otherwise than it did.
fn difference(record: &Record<Bound>, played: &Played) -> Option<String> {
    let now = match played.verdict {
        Expected::Permit => None,
        _ => decided(played).or(Some(&played.reply)),
    };
    let then = record.reply.as_deref();
    (then != now).then(|| format!("was: {}; here: {}", then.unwrap_or("accepted"), now.unwrap_or("accepted")))
}

fn play(site: &Site, text: &str) -> Result<Played, Unplayable> {
    let broken = |problem: String| Unplayable::Case(problem);
    let file = CaseFile::parse("case", text).map_err(broken)?;
    let suite = Suite::new(site, &file, "case", text).map_err(broken)?;
    let case = file.cases.first().ok_or_else(|| broken("no case".to_owned()))?;
    Ok(suite.converse(case.get_ref())?.1)
}

/// The decisions that belong to the same transaction, in order: what came before the first recipient, the recipients that
/// had been accepted before it, the decision itself, and what followed it. With `refused`, recipients that had been refused, too.
fn told<'a>(record: &'a Record<Bound>, session: &'a [Record<Bound>], refused: bool) -> Vec<&'a Record<Bound>> {
    let Some(at) = session.iter().position(|known| known.code == record.code) else { return vec![record] };
    let (before, after) = (&session[..at], &session[at + 1..]);
    // What was refused, or said by somebody else (XCLIENT), is no part of it.
    let same = |earlier: &&Record<Bound>, stages: &[&str]| {
        stages.contains(&&*earlier.stage) && earlier.reply.is_none() && earlier.address == record.address
    };
    let last = |stages: &[&str]| before.iter().rfind(|earlier| same(earlier, stages));
    let within = |other: &&Record<Bound>| other.transaction == record.transaction;
    let helo = last(&["HELO", "EHLO"]).filter(|helo| helo.helo == record.helo);
    let mut told: Vec<&Record<Bound>> =
        [last(&["CONNECT", "XCLIENT"]), helo, last(&["MAIL"]).filter(within)].into_iter().flatten().collect();
    let recipients = before.iter().rev().filter(|r| &*r.stage == "RCPT" && (refused || r.reply.is_none()));
    let mut recipients: Vec<_> = recipients.filter(within).take(RECIPIENTS).collect();
    recipients.reverse();
    told.extend(recipients);
    if &*record.stage == "END-OF-MESSAGE" {
        told.extend(last(&["DATA", "BDAT"]).filter(within));
    }
    told.push(record);
    if record.reply.is_none() {
        // Refused recipients may stand between. With more that were accepted, the message is another case.
        let rest = after.iter().skip_while(|later| &*later.stage == "RCPT" && later.reply.is_some());
        let follows = |later: &&Record<Bound>| matches!(&*later.stage, "DATA" | "BDAT" | "END-OF-MESSAGE");
        told.extend(rest.take_while(follows).filter(within));
    }
    told
}

/// Whose message it was, as far as it was looked at: the record has domains of authors and signers only.
fn message(draft: &mut Draft, record: &Record<Bound>) {
    let Some(found) = record.message().filter(|found| found.author_problem.is_none()) else { return };
    let authors: Vec<String> = found.authors.iter().map(|domain| format!("author@{domain}")).collect();
    draft.line("message", &basic(&format!("From: {}\n\n", authors.join(", "))));
    let good = found.dkim.iter().filter(|signature| signature.result == DkimResult::Pass);
    let signers: Vec<String> = good.map(|signature| basic(&signature.domain)).collect();
    if !signers.is_empty() {
        draft.line("signed_by", &super::writing::list(signers.into_iter()));
    }
}

fn draft(site: &Site, record: &Record<Bound>, told: &[&Record<Bound>]) -> Draft {
    let mut draft = Draft::default();
    let of = |address: &Option<String>| quote_local(address.as_deref().unwrap_or_default()).into_owned();
    let recipients: Vec<String> =
        told.iter().filter(|r| &*r.stage == "RCPT" && r.code != record.code).map(|r| of(&r.recipient)).collect();
    let (earlier, recipient) = match (&*record.stage, &record.recipient) {
        ("RCPT", recipient) => (recipients.as_slice(), of(recipient)),
        (_, recipient @ Some(_)) => (&recipients[..recipients.len().saturating_sub(1)], of(recipient)),
        (_, None) => match recipients.split_last() {
            Some((last, earlier)) => (earlier, last.clone()),
            None => (recipients.as_slice(), String::new()),
        },
    };
    let at = jiff::Timestamp::from_millisecond(i64::try_from(record.at).unwrap_or(0)).unwrap_or_default();
    let at = jiff::Timestamp::from_second(at.as_second()).unwrap_or_default();
    let outcome = verdict(record.reply.as_deref()).word();
    let ports = site.service(&record.service).is_some_and(|service| service.client_port_logging);
    let name = format!("{} of {}: {outcome} {}", record.code, at.strftime("%Y-%m-%d"), record.summary());
    draft.line("name", &basic(&name));
    if site.services.first().is_some_and(|first| first.name != record.service) {
        draft.line("service", &basic(&record.service));
    }
    if let Some(address) = record.address {
        draft.line("client", &basic(&address.to_string()));
        if ports {
            draft.line("client_port", &record.port.to_string());
        }
        client_name(&mut draft, record, address);
    }
    draft.line("helo", &basic(record.helo.as_deref().unwrap_or_default()));
    if !record.esmtp && record.helo.is_some() {
        draft.line("protocol", "\"SMTP\"");
    }
    draft.line("sender", &basic(&of(&record.sender)));
    draft.line("recipient", &basic(&recipient));
    if !earlier.is_empty() {
        draft.line("earlier", &super::writing::list(earlier.iter().map(|address| basic(address))));
    }
    if let Some((_, login)) = &record.login {
        draft.line("login", &basic(login));
    }
    if record.tls.is_some() {
        draft.line("tls", "true");
    }
    if record.size > 0 && &*record.stage != "END-OF-MESSAGE" {
        draft.line("size", &record.size.to_string());
    }
    message(&mut draft, record);
    let plain = [&record.sender, &record.recipient].into_iter().flatten().chain(earlier).all(|a| a.is_ascii());
    if plain == record.smtputf8 {
        draft.line("smtputf8", &record.smtputf8.to_string());
    }
    draft.line("clock", &at.to_string());
    // The decision's own answers come first: they count where others differ.
    let others = told.iter().filter(|other| other.code != record.code);
    for ask in [record].into_iter().chain(others.copied()).flat_map(|r| &r.asked) {
        match ask {
            Ask::Table(spec, key, Ok(Some(value))) => draft.entry(spec, key, Some(value)),
            Ask::Table(spec, key, Err(_)) => draft.entry(spec, key, None),
            Ask::Table(spec, _, Ok(None)) => draft.table(spec),
            Ask::Dns(rtype, name, answer) => dns(&mut draft, record.address, *rtype, name, answer),
            Ask::Verify(address, told) => draft.verified(address, told),
            Ask::Policy(..) | Ask::Message(_) => {}
        }
    }
    for ask in told.iter().flat_map(|r| &r.asked) {
        if let Ask::Policy(service, action) = ask {
            draft.says(service, action.as_ref().ok());
        }
    }
    draft
}

/// The client's name, or the records that lead to what was known of it.
fn client_name(draft: &mut Draft, record: &Record<Bound>, address: IpAddr) {
    let reverse = record.reverse.as_deref().unwrap_or(&record.name);
    match (peer_status(record.statuses.0), peer_status(record.statuses.1)) {
        (PeerStatus::Ok, _) => {
            draft.line("client_name", &basic(&record.name));
            // Not by itself, but XCLIENT can say so.
            if let Some(reverse) = &record.reverse {
                draft.line("reverse_name", &basic(reverse));
            }
        }
        (PeerStatus::Temporary, PeerStatus::Ok) => {
            draft.dns(format!("@rev {address} PTR {reverse}"));
            draft.fails = Some((reverse.to_owned(), if address.is_ipv4() { "A" } else { "AAAA" }));
        }
        (PeerStatus::Temporary, _) => draft.dns(format!("@rev {address} SERVFAIL")),
        (_, PeerStatus::Ok) => draft.dns(format!("@rev {address} PTR {reverse}")),
        _ => draft.line("client_name", "\"unknown\""),
    }
}

fn dns(draft: &mut Draft, client: Option<IpAddr>, rtype: u8, name: &str, answer: &StoredAnswer) {
    let word = TYPES.get(usize::from(rtype)).map_or("A", |rtype| rtype.word());
    let owner = client.and_then(|client| Some(format!("@bl {client} {}", below(client, name)?)));
    let owner = owner.unwrap_or_else(|| name.to_owned());
    let records: Vec<String> = match answer {
        StoredAnswer::Missing(false) => vec!["NXDOMAIN".to_owned()],
        StoredAnswer::Missing(true) => vec!["NODATA".to_owned()],
        StoredAnswer::Failed(status, _) if dns_status(*status) == DnsStatus::NullMx => vec!["0 .".to_owned()],
        StoredAnswer::Failed(..) => vec!["SERVFAIL".to_owned()],
        StoredAnswer::Addresses(all) => all.iter().map(ToString::to_string).collect(),
        StoredAnswer::Mx(all) => all.iter().map(|(preference, host)| format!("{preference} {host}.")).collect(),
        StoredAnswer::Names(all) => all.iter().map(|name| format!("{name}.")).collect(),
        StoredAnswer::Texts(all) => all.iter().map(|text| format!("\"{text}\"")).collect(),
    };
    draft.answer(&owner, word, &records);
}

/// The list below which an address' name stands.
fn below(client: IpAddr, name: &str) -> Option<String> {
    let reverse = crate::dns::reverse_name(client);
    let labels = reverse.strip_suffix("in-addr.arpa").or_else(|| reverse.strip_suffix("ip6.arpa"))?;
    name.strip_prefix(labels).map(ToOwned::to_owned).filter(|list| !list.is_empty() && !list.ends_with(".arpa"))
}
