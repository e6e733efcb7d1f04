//! The file of cases: TOML, with what all cases share at the top.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use toml::Spanned;
use toml::value::Datetime;

/// A file of cases.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Directory with main.cf and master.cf, from this file's directory.
    pub config: Option<PathBuf>,
    /// What cases have that don't say otherwise.
    #[serde(default)]
    pub defaults: Facts,
    /// DNS records of all cases, one an element.
    #[serde(default)]
    pub dns: Vec<Spanned<String>>,
    /// Entries that stand in for a table's: reference, key, value.
    #[serde(default)]
    pub tables: BTreeMap<String, Entries>,
    /// What policy services answer: endpoint, action.
    #[serde(default)]
    pub policy: BTreeMap<String, Says>,
    /// What is known of addresses that are verified: `deliverable`, `undeliverable: why`, `deferred: why`, `in progress`.
    #[serde(default)]
    pub verify: BTreeMap<String, Given>,
    /// The cases.
    #[serde(default, rename = "case")]
    pub cases: Vec<Spanned<Case>>,
}

/// What a table or a policy service says: a text, or `false` where it fails.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a text, or false for what fails")]
pub enum Given {
    /// A table's value, a service's action.
    Text(String),
    /// The look-up fails, the service gives no answer.
    Works(bool),
}

/// What a policy service says, always or in turn.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected an action, false for a service that gives none, or a list of these")]
pub enum Says {
    /// Whenever it is asked.
    Always(Given),
    /// One after the other; the last again and again.
    InTurn(Vec<Given>),
}

/// Entries of a table: key and value.
pub type Entries = BTreeMap<String, Given>;

/// What a client is and says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The service in master.cf.
    pub service: Option<String>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Its port.
    pub client_port: Option<u16>,
    /// Its verified name; without it DNS is asked.
    pub client_name: Option<String>,
    /// Its PTR name, where that is another.
    pub reverse_name: Option<String>,
    /// EHLO argument; empty: it doesn't say who it is.
    pub helo: Option<String>,
    /// SMTP: it says HELO.
    pub protocol: Option<Protocol>,
    /// Envelope sender.
    pub sender: Option<String>,
    /// Envelope recipient.
    pub recipient: Option<String>,
    /// Recipients before it, whatever becomes of them.
    #[serde(default)]
    pub earlier: Vec<String>,
    /// Login name.
    pub login: Option<String>,
    /// It talks TLS.
    pub tls: Option<bool>,
    /// `SIZE=`.
    pub size: Option<u64>,
    /// It says SMTPUTF8; usually, when an address needs it.
    pub smtputf8: Option<bool>,
    /// The message it sends: header, an empty line, body. Without one there is nothing in it.
    pub message: Option<String>,
    /// The same in a file, from the directory of the file of cases.
    pub message_file: Option<PathBuf>,
    /// Domains whose signatures it has, as if they were good.
    #[serde(default)]
    pub signed_by: Vec<String>,
    /// When.
    pub clock: Option<Datetime>,
}

/// HELO or EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// HELO.
    Smtp,
    /// EHLO.
    Esmtp,
}

/// Where a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Until {
    /// After the recipient.
    Rcpt,
    /// After DATA.
    Data,
}

/// What a case has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// The recipient is accepted, and DATA too.
    Permit,
    /// Refused for good (5xx).
    Reject,
    /// Refused for now (4xx).
    Defer,
}

impl Expected {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Reject => "reject",
            Self::Defer => "defer",
        }
    }
}

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The service in master.cf.
    pub service: Option<String>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Its port.
    pub client_port: Option<u16>,
    /// Its verified name.
    pub client_name: Option<String>,
    /// Its PTR name, where that is another.
    pub reverse_name: Option<String>,
    /// EHLO argument; empty: it doesn't say who it is.
    pub helo: Option<String>,
    /// SMTP or ESMTP.
    pub protocol: Option<Protocol>,
    /// Envelope sender.
    pub sender: Option<String>,
    /// Envelope recipient.
    pub recipient: Option<String>,
    /// Recipients before it, whatever becomes of them.
    #[serde(default)]
    pub earlier: Vec<String>,
    /// Login name.
    pub login: Option<String>,
    /// It talks TLS.
    pub tls: Option<bool>,
    /// `SIZE=`.
    pub size: Option<u64>,
    /// It says SMTPUTF8; usually, when an address needs it.
    pub smtputf8: Option<bool>,
    /// The message it sends: header, an empty line, body. Without one there is nothing in it.
    pub message: Option<String>,
    /// The same in a file, from the directory of the file of cases.
    pub message_file: Option<PathBuf>,
    /// Domains whose signatures it has, as if they were good.
    #[serde(default)]
    pub signed_by: Vec<String>,
    /// When.
    pub clock: Option<Datetime>,
    /// More DNS records.
    #[serde(default)]
    pub dns: Vec<Spanned<String>>,
    /// More entries.
    #[serde(default)]
    pub tables: BTreeMap<String, Entries>,
    /// More answers of policy services.
    #[serde(default)]
    pub policy: BTreeMap<String, Says>,
    /// What is known of more addresses.
    #[serde(default)]
    pub verify: BTreeMap<String, Given>,
    /// The verdict.
    pub expect: Expected,
    /// The whole reply that decided.
    pub reply: Option<String>,
    /// The last command, when the session doesn't go on to the end of a message.
    pub until: Option<Until>,
    /// The restriction that decided, with or without its argument.
    pub restriction: Option<String>,
    /// A line that the log has, without date and program.
    pub log: Option<String>,
}

impl Case {
    /// The facts, with the file's where the case has none.
    pub fn facts(&self, defaults: &Facts) -> Facts {
        let of = |own: &Option<String>, shared: &Option<String>| own.clone().or_else(|| shared.clone());
        let has_message = self.message.is_some() || self.message_file.is_some();
        Facts {
            service: of(&self.service, &defaults.service),
            client: self.client.or(defaults.client),
            client_port: self.client_port.or(defaults.client_port),
            client_name: of(&self.client_name, &defaults.client_name),
            reverse_name: of(&self.reverse_name, &defaults.reverse_name),
            helo: of(&self.helo, &defaults.helo),
            protocol: self.protocol.or(defaults.protocol),
            sender: of(&self.sender, &defaults.sender),
            recipient: of(&self.recipient, &defaults.recipient),
            earlier: if self.earlier.is_empty() { defaults.earlier.clone() } else { self.earlier.clone() },
            login: of(&self.login, &defaults.login),
            tls: self.tls.or(defaults.tls),
            size: self.size.or(defaults.size),
            smtputf8: self.smtputf8.or(defaults.smtputf8),
            message: if has_message { self.message.clone() } else { defaults.message.clone() },
            message_file: if has_message { self.message_file.clone() } else { defaults.message_file.clone() },
            signed_by: if self.signed_by.is_empty() { defaults.signed_by.clone() } else { self.signed_by.clone() },
            clock: self.clock.or(defaults.clock),
        }
    }
}

impl CaseFile {
    /// Read a file's text; the error shows the place.
    ///
    /// # Errors
    /// What is wrong with it, in the words of the TOML reader.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| format!("{name}: {error}"))
    }
}

/// Where the lines of a text end.
pub struct Lines(Vec<usize>);

impl Lines {
    /// Those of a text.
    pub fn of(text: &str) -> Self {
        Self(memchr::memchr_iter(b'\n', text.as_bytes()).collect())
    }

    /// The number of the line in which a byte stands.
    pub fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}
