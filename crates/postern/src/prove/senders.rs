//! Who can use a domain's senders: strangers, trusted networks, logins; each tried in a rehearsed session, to a recipient of
//! ours and to one elsewhere.

use super::{Listed, Stage, names};
use crate::daemon::site::{Service, Site};
use crate::explain::{Inquiry, Style, tell};
use crate::rehearsal::Zone;
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

/// More owned senders than this are not tried.
const TRIED: usize = 5;

/// What was found for a service.
#[derive(Clone, Debug, Serialize)]
pub struct Senders {
    /// Its name in master.cf.
    pub service: String,
    /// Who tried what, and what came of it.
    pub tries: Vec<SenderTry>,
    /// Tables with owners that can't be listed.
    pub unlisted: Vec<String>,
    /// How many senders of the domain have owners.
    pub owned: usize,
}

/// One client with one sender.
#[derive(Clone, Debug, Serialize)]
pub struct SenderTry {
    /// The client, in words.
    pub who: String,
    /// MAIL FROM.
    pub sender: String,
    /// To a recipient of ours: `accepted`, or who refused it.
    pub here: String,
    /// To a recipient elsewhere.
    pub elsewhere: String,
}

/// Try them all.
pub fn who_can_send_as(site: &Site, service: &Arc<Service>, domain: &str) -> Senders {
    let owners = service.plan.owners(domain, &mut Listed::new(&site.tables));
    let trial = Trial { site, service, names: names(site, service), here: own_recipient(site, service) };
    let mut tries = Vec::new();
    let plain = format!("someone@{domain}");
    let senders: Vec<(String, Option<String>)> = std::iter::once((plain, None))
        .chain(owners.owned.iter().take(TRIED).map(|owned| {
            let sender =
                if owned.sender.starts_with('@') { format!("anyone{}", owned.sender) } else { owned.sender.clone() };
            (sender, owned.logins.first().cloned())
        }))
        .collect();
    for (sender, owner) in senders {
        tries.push(trial.run("anybody", trial.names.client, None, &sender));
        if let Some(client) = service.plan.trusted_client() {
            tries.push(trial.run(&format!("a client in mynetworks ({client})"), client, None, &sender));
        }
        if service.sasl.is_none() {
            continue;
        }
        if let Some(owner) = &owner {
            tries.push(trial.run(
                &format!("{owner}, logged in, who owns it"),
                trial.names.client,
                Some(owner),
                &sender,
            ));
        }
        let who = if owner.is_some() { "any other login" } else { "any login" };
        tries.push(trial.run(who, trial.names.client, Some("somebody-else"), &sender));
    }
    Senders { service: service.name.to_string(), tries, unlisted: owners.unlisted, owned: owners.owned.len() }
}

/// A recipient of ours that anybody reaches, or the first that comes to mind.
fn own_recipient(site: &Site, service: &Arc<Service>) -> Option<String> {
    let known = service.plan.own_recipients(&mut Listed::new(&site.tables));
    let names = names(site, service);
    let trial = Trial { site, service, names, here: None };
    let reached = known.iter().find(|recipient| {
        let sender = format!("someone@{}", trial.names.domain);
        trial.outcome(trial.names.client, None, &sender, recipient) == "accepted"
    });
    reached.or(known.first()).cloned()
}

struct Trial<'a> {
    site: &'a Site,
    service: &'a Arc<Service>,
    names: policy::prove::Names,
    here: Option<String>,
}

impl Trial<'_> {
    fn run(&self, who: &str, client: IpAddr, login: Option<&str>, sender: &str) -> SenderTry {
        let elsewhere = format!("victim@{}", self.names.elsewhere);
        let here = self.here.as_deref();
        SenderTry {
            who: who.to_owned(),
            sender: sender.to_owned(),
            here: here.map_or_else(|| "not known".into(), |recipient| self.outcome(client, login, sender, recipient)),
            elsewhere: self.outcome(client, login, sender, &elsewhere),
        }
    }

    fn outcome(&self, client: IpAddr, login: Option<&str>, sender: &str, recipient: &str) -> String {
        let mut session = self.names.session();
        (session.client, session.sender, session.recipient) = (client, sender.to_owned(), recipient.to_owned());
        let lines: Vec<(usize, String)> = (1..).zip(session.zone()).collect();
        let zone = Zone::empty("session", &lines).unwrap_or_default();
        let mut stage = Stage::new(&self.site.tables, Some(&zone));
        // Who sends here does so under TLS, where there is no other way.
        let settings = &self.service.session;
        let tls = settings.smtpd_enforce_tls || settings.smtpd_tls_wrappermode || login.is_some();
        let inquiry = Inquiry { login: login.map(str::to_owned), tls, ..super::inquiry(&session) };
        let mut text = match tell(self.site, self.service, &inquiry, &mut stage) {
            Ok(story) if story.accepted => "accepted".to_owned(),
            Ok(story) => format!("refused by {}", story.decided_by.unwrap_or(story.verdict)),
            Err(_) => "not known".to_owned(),
        };
        if !stage.services.is_empty() {
            let names: Vec<&str> = stage.services.iter().map(AsRef::as_ref).collect();
            let _ = write!(text, ", unless {} says otherwise", names.join(", "));
        }
        text
    }
}

impl Senders {
    /// As text.
    pub fn print(&self, style: Style) -> String {
        let mut out = format!("service {}\n", self.service);
        let mut sender = "";
        for one in &self.tries {
            if one.sender != sender {
                sender = &one.sender;
                let _ = writeln!(out, "  as {sender}");
            }
            let paint = |text: &str| style.paint(if text.starts_with("accepted") { "32" } else { "31" }, text);
            let _ = writeln!(out, "    {}", one.who);
            let _ = writeln!(out, "      to our own recipients: {}", paint(&one.here));
            let _ = writeln!(out, "      to others: {}", paint(&one.elsewhere));
        }
        if self.owned > TRIED {
            let _ = writeln!(out, "  {} more senders of the domain have owners", self.owned - TRIED);
        }
        for table in &self.unlisted {
            let _ = writeln!(out, "  {table} may have more owners: its contents can't be listed");
        }
        out
    }
}
