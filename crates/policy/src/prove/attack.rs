//! Sessions that try the ways to a permit.

use super::sample::samples;
use super::{Condition, Findings, Keys, Role, Way};
use crate::plan::Plan;
use std::net::IpAddr;

/// Names and addresses of a stranger, in nobody's tables.
#[derive(Clone, Debug)]
pub struct Names {
    /// The client's address.
    pub client: IpAddr,
    /// Its domain.
    pub domain: String,
    /// Where the mail is to go.
    pub elsewhere: String,
}

impl Names {
    /// The stranger who connects from this address.
    pub fn new(client: IpAddr) -> Self {
        Self { client, domain: "stranger.example".into(), elsewhere: "elsewhere.example".into() }
    }

    /// The session of a stranger who behaves as well as he can.
    pub fn session(&self) -> Attack {
        let name = format!("client.{}", self.domain);
        Attack {
            client: self.client,
            name: Some(name.clone()),
            helo: name,
            sender: format!("someone@{}", self.domain),
            recipient: format!("victim@{}", self.elsewhere),
            dns: Vec::new(),
        }
    }
}

/// A session of a stranger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attack {
    /// The client's address.
    pub client: IpAddr,
    /// Its name, which leads back to the address; `None`: it has none.
    pub name: Option<String>,
    /// EHLO.
    pub helo: String,
    /// MAIL FROM.
    pub sender: String,
    /// RCPT TO.
    pub recipient: String,
    /// DNS records besides those that make the names above exist.
    pub dns: Vec<String>,
}

/// Is it a name of host or domain that can have records?
fn is_name(text: &str) -> bool {
    crate::address::syntax::is_hostname(text) && text.parse::<IpAddr>().is_err()
}

impl Attack {
    /// The DNS in which client, sender and recipient are what they say, a record a line.
    pub fn zone(&self) -> Vec<String> {
        let rtype = if self.client.is_ipv4() { "A" } else { "AAAA" };
        let mut lines = Vec::new();
        let mut add = |line: String| {
            if !lines.contains(&line) {
                lines.push(line);
            }
        };
        if let Some(name) = &self.name {
            add(format!("@rev {} PTR {name}", self.client));
            add(format!("{name} {rtype} {}", self.client));
        }
        if is_name(&self.helo) {
            add(format!("{} {rtype} {}", self.helo, self.client));
        }
        for address in [&self.sender, &self.recipient] {
            let domain = address.rsplit('@').next().unwrap_or_default();
            let has_own = self.dns.iter().any(|line| line.starts_with(&format!("{domain} ")));
            if address.contains('@') && is_name(domain) && !has_own {
                add(format!("{domain} MX 10 mx.{domain}"));
                add(format!("mx.{domain} A 203.0.113.25"));
            }
        }
        self.dns.iter().for_each(|line| add(line.clone()));
        lines
    }
}

/// What one condition asks of a session.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wish {
    client: Option<IpAddr>,
    name: Option<String>,
    helo: Option<String>,
    sender: Option<String>,
    recipient: Option<String>,
    dns: Vec<String>,
}

fn merged<T: Clone + PartialEq>(a: &Option<T>, b: &Option<T>) -> Option<Option<T>> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => None,
        (Some(a), _) => Some(Some(a.clone())),
        (None, b) => Some(b.clone()),
    }
}

impl Wish {
    /// Both at once, if that can be.
    fn and(&self, other: &Self) -> Option<Self> {
        Some(Self {
            client: merged(&self.client, &other.client)?,
            name: merged(&self.name, &other.name)?,
            helo: merged(&self.helo, &other.helo)?,
            sender: merged(&self.sender, &other.sender)?,
            recipient: merged(&self.recipient, &other.recipient)?,
            dns: self.dns.iter().chain(&other.dns).cloned().collect(),
        })
    }

    fn session(self, names: &Names) -> Attack {
        let base = names.session();
        Attack {
            client: self.client.unwrap_or(base.client),
            name: self.name.or(base.name),
            helo: self.helo.unwrap_or(base.helo),
            sender: self.sender.unwrap_or(base.sender),
            recipient: self.recipient.unwrap_or(base.recipient),
            dns: self.dns,
        }
    }
}

/// More sessions than this are not tried.
const SESSIONS: usize = 400;
/// More wishes for one way are not made.
const WISHES: usize = 60;

/// Sessions for all combinations of ways through the lists, the simplest first.
pub fn attacks(plan: &Plan, findings: &Findings, names: &Names) -> Vec<Attack> {
    let mut wishes = vec![Wish::default()];
    for list in &findings.lists {
        let mut ways: Vec<&Way> = list.ways.iter().collect();
        ways.sort_by_key(|way| way.conditions.len());
        let options: Vec<Wish> = ways.iter().flat_map(|way| wishes_of(plan, way, names)).take(SESSIONS).collect();
        // Short ways first, but every way has its turn.
        let pairs = wishes.iter().flat_map(|a| options.iter().filter_map(move |b| a.and(b)));
        let mut found: Vec<Wish> = Vec::new();
        for wish in pairs {
            if !found.contains(&wish) {
                found.push(wish);
            }
            if found.len() >= SESSIONS {
                break;
            }
        }
        wishes = found;
    }
    let mut sessions = Vec::new();
    for wish in wishes {
        let plain = wish.sender.is_none();
        let session = wish.session(names);
        // Null senders pass checks of senders.
        let null = plain.then(|| Attack { sender: String::new(), ..session.clone() });
        for session in std::iter::once(session).chain(null) {
            if !sessions.contains(&session) {
                sessions.push(session);
            }
        }
    }
    sessions
}

fn wishes_of(plan: &Plan, way: &Way, names: &Names) -> Vec<Wish> {
    let mut wishes = vec![Wish::default()];
    for condition in &way.conditions {
        let options = match condition {
            Condition::Entry { role, keys, .. } => {
                keys.iter().flat_map(|key| wishes_for(plan, *role, key, names)).collect()
            }
            Condition::MxBackup => mx_backup(plan, names),
            // Nothing can be done about it; perhaps the rest is enough.
            _ => return Vec::new(),
        };
        let pairs = wishes.iter().flat_map(|a| options.iter().filter_map(move |b: &Wish| a.and(b)));
        wishes = pairs.take(WISHES).collect();
    }
    wishes
}

/// A domain whose owner names us as his second mail exchanger.
fn mx_backup(plan: &Plan, names: &Names) -> Vec<Wish> {
    let domain = &names.elsewhere;
    let primary = plan.mx_backup_networks.an_address().map_or_else(|| "203.0.113.25".to_owned(), |it| it.to_string());
    let primary_type = if primary.contains(':') { "AAAA" } else { "A" };
    let (loopback, mut own): (Vec<IpAddr>, Vec<IpAddr>) =
        plan.routing.own_addresses.iter().copied().partition(IpAddr::is_loopback);
    own.extend(loopback);
    let us = own.iter().map(|own| {
        let rtype = if own.is_ipv4() { "A" } else { "AAAA" };
        (format!("backup.{domain}"), Some(format!("backup.{domain} {rtype} {own}")))
    });
    let named = plan.routing.mydestination.texts().into_iter().map(|name| (name, None));
    let wish = |(host, address): (String, Option<String>)| Wish {
        dns: [
            format!("{domain} MX 10 mx.{domain}"),
            format!("{domain} MX 20 {host}"),
            format!("mx.{domain} {primary_type} {primary}"),
        ]
        .into_iter()
        .chain(address)
        .collect(),
        ..Wish::default()
    };
    us.chain(named).take(4).map(wish).collect()
}

fn wishes_for(plan: &Plan, role: Role, key: &Keys, names: &Names) -> Vec<Wish> {
    match key {
        Keys::Every => vec![Wish::default()],
        Keys::Pattern { negated: true, .. } => vec![Wish::default()],
        Keys::Addresses(first, _) => match role {
            Role::Client => vec![Wish { client: Some(*first), ..Wish::default() }],
            _ => vec![word(role, first.to_string())],
        },
        Keys::Text(text) => texts(plan, role, text, names).into_iter().map(|text| word(role, text)).collect(),
        Keys::Pattern { expression, .. } => {
            let all = samples(expression).into_iter().flat_map(|sample| around(role, &sample, names));
            std::iter::once(Wish::default()).chain(all.map(|text| word(role, text))).take(WISHES).collect()
        }
    }
}

fn word(role: Role, text: String) -> Wish {
    match role {
        Role::Client => match text.parse() {
            Ok(address) => Wish { client: Some(address), ..Wish::default() },
            Err(_) => Wish { name: Some(text), ..Wish::default() },
        },
        Role::Helo => Wish { helo: Some(text), ..Wish::default() },
        Role::Sender => Wish { sender: Some(text), ..Wish::default() },
        Role::Recipient => Wish { recipient: Some(text), ..Wish::default() },
    }
}

/// Words that find a fixed key.
fn texts(plan: &Plan, role: Role, key: &str, names: &Names) -> Vec<String> {
    let (user, elsewhere) = match role {
        Role::Recipient => ("victim", &names.elsewhere),
        _ => ("someone", &names.domain),
    };
    let bare = key.strip_prefix('.').unwrap_or(key);
    match role {
        Role::Client | Role::Helo if key.starts_with('.') => vec![format!("host{key}")],
        Role::Client | Role::Helo => vec![key.to_owned(), format!("host.{key}")],
        Role::Sender if key == plan.null_access_key => vec![String::new()],
        _ if key.ends_with('@') => vec![format!("{key}{elsewhere}")],
        _ if key.contains('@') => vec![key.to_owned()],
        _ if key.starts_with('.') => vec![format!("{user}@host{key}")],
        _ => vec![format!("{user}@{bare}"), format!("{user}@host.{bare}")],
    }
}

/// Words with a sample in them.
fn around(role: Role, sample: &super::sample::Sample, names: &Names) -> Vec<String> {
    let text = &sample.text;
    let (user, domain) = match role {
        Role::Recipient => ("victim", &names.elsewhere),
        _ => ("someone", &names.domain),
    };
    let mail = matches!(role, Role::Sender | Role::Recipient);
    let before: &[&str] = match (sample.starts, mail) {
        (true, _) => &[""],
        (false, true) => &["", "x", "someone@", "someone@x", "someone@x."],
        (false, false) => &["", "x", "x."],
    };
    let host =
        [String::new(), domain.clone(), format!(".{domain}"), "x".into(), ".example".into(), format!("@{domain}")];
    let behind: &[String] = if sample.ends { &host[..1] } else { &host };
    let mut found = Vec::new();
    for start in before {
        for end in behind {
            let whole = format!("{}{text}{end}", start.replace("someone", user));
            let fits = if mail {
                whole.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
            } else {
                !whole.is_empty() && !whole.contains(['@', ' '])
            };
            if fits && !found.contains(&whole) {
                found.push(whole);
            }
        }
    }
    found
}
