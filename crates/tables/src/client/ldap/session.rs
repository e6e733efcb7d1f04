//! A connection to a directory server: bind once, then search.

use super::super::exchange::Exchange;
use super::super::pool::{Connection, Failure};
use super::text::result_name;
use crate::open::io_text;
use ldap3::asn1::{PL, StructureTag};
use ldap3::{DerefAliases, Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchOptions};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Larger answers to a search are refused, in bytes.
const ANSWER_LIMIT: usize = 8 << 20;

const NO_SUCH_OBJECT: u32 = 32;
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;

/// Where to connect to, and how.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) start_tls: bool,
    pub(super) tls: Arc<ClientConfig>,
    /// Name and password; `None`: nobody logs in.
    pub(super) bind: Option<(String, String)>,
    pub(super) dereference: DerefAliases,
    pub(super) size_limit: i32,
    /// For each step.
    pub(super) timeout: Duration,
}

/// A connection with its login done.
pub(super) struct Session {
    exchange: Exchange,
    ldap: Ldap,
    url: String,
    options: SearchOptions,
    timeout: Duration,
}

/// What is searched for.
pub(super) struct Search<'s> {
    pub(super) base: &'s str,
    pub(super) scope: Scope,
    pub(super) filter: &'s str,
    pub(super) attributes: &'s [String],
}

/// What a search found.
pub(super) enum Found {
    Entries(Vec<Entry>),
    /// The base doesn't exist.
    NoBase,
}

/// An entry's attributes with their values, in the server's order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry(pub(super) Vec<(String, Vec<String>)>);

impl Connection for Session {
    type Server = Server;

    fn connect(server: &Server, deadline: Instant) -> Result<Self, String> {
        let dn = server.bind.as_ref().map(|(dn, _)| dn.as_str()).filter(|dn| !dn.is_empty());
        let failed = |text: String| {
            let dn = dn.unwrap_or("empty or implicit");
            format!("dict_ldap_connect: Unable to bind to server {} with dn {dn}: {text}", server.url)
        };
        let exchange = Exchange::new().map_err(failed)?;
        let deadline = deadline.min(Instant::now() + server.timeout);
        let ldap = match exchange.until(deadline, bound(server)) {
            Some(Ok(ldap)) => ldap,
            Some(Err(error)) => return Err(failed(text_of(&error))),
            None => return Err(failed("-5 (Timed out)".to_owned())),
        };
        let seconds = i32::try_from(server.timeout.as_secs()).unwrap_or(i32::MAX);
        let options = SearchOptions::new().deref(server.dereference).sizelimit(server.size_limit).timelimit(seconds);
        Ok(Self { exchange, ldap, url: server.url.clone(), options, timeout: server.timeout })
    }
}

/// Connect, and log in if that is wanted.
async fn bound(server: &Server) -> Result<Ldap, LdapError> {
    let settings = LdapConnSettings::new()
        .set_starttls(server.start_tls)
        .set_config(server.tls.clone())
        // For servers that have an address only; what is checked is up to the configuration.
        .set_no_tls_verify(true);
    let (connection, mut ldap) = LdapConnAsync::with_settings(settings, &server.url).await?;
    tokio::spawn(connection.drive());
    if let Some((dn, password)) = &server.bind {
        ldap.simple_bind(dn, password).await?.success()?;
    }
    Ok(ldap)
}

impl Session {
    /// Search; the error is in Postfix's words.
    pub(super) fn search(&mut self, search: &Search<'_>, deadline: Instant) -> Result<Found, Failure> {
        let Self { exchange, ldap, url, options, timeout } = self;
        let deadline = deadline.min(Instant::now() + *timeout);
        ldap.with_search_options(options.clone());
        match exchange.until(deadline, entries(ldap, search)) {
            Some(Ok((entries, LdapResult { rc: 0, .. }))) => Ok(Found::Entries(entries)),
            Some(Ok((_, LdapResult { rc: NO_SUCH_OBJECT, .. }))) => Ok(Found::NoBase),
            Some(Ok((_, LdapResult { rc, .. }))) => {
                let text = format!("dict_ldap_lookup: Search error {rc}: {}", result_name(rc));
                Err(if matches!(rc, BUSY | UNAVAILABLE) { Failure::Broken(text) } else { Failure::Refused(text) })
            }
            Some(Err(Trouble::TooLarge)) => {
                Err(Failure::Broken(format!("dict_ldap_lookup: the answer is larger than {ANSWER_LIMIT} bytes")))
            }
            Some(Err(Trouble::Filter)) => Err(Failure::Refused(format!(
                "dict_ldap_lookup: Search error -7: Bad search filter: {}",
                search.filter
            ))),
            Some(Err(Trouble::Ldap(error))) => {
                Err(Failure::Broken(format!("dict_ldap_lookup: {url}: Search error {}", text_of(&error))))
            }
            None => Err(Failure::Broken(format!("dict_ldap_lookup: {url}: Search error -5: Timed out"))),
        }
    }
}

enum Trouble {
    Ldap(LdapError),
    Filter,
    TooLarge,
}

impl From<LdapError> for Trouble {
    fn from(error: LdapError) -> Self {
        match error {
            LdapError::FilterParsing => Self::Filter,
            error => Self::Ldap(error),
        }
    }
}

async fn entries(ldap: &mut Ldap, search: &Search<'_>) -> Result<(Vec<Entry>, LdapResult), Trouble> {
    let attributes: Vec<&str> = search.attributes.iter().map(String::as_str).collect();
    let mut stream = ldap.streaming_search(search.base, search.scope, search.filter, attributes).await?;
    let (mut entries, mut size) = (Vec::new(), 0);
    while let Some(item) = stream.next().await? {
        if item.is_ref() || item.is_intermediate() {
            continue;
        }
        let entry = Entry::of(item.0);
        size += entry.size();
        if size > ANSWER_LIMIT {
            return Err(Trouble::TooLarge);
        }
        entries.push(entry);
    }
    Ok((entries, stream.finish().await))
}

impl Entry {
    /// SearchResultEntry of RFC 4511; parts that aren't as they should be count as missing.
    fn of(tag: StructureTag) -> Self {
        let list = parts(tag).into_iter().nth(1).map(parts).unwrap_or_default();
        let attributes = list.into_iter().filter_map(|attribute| {
            let mut parts = parts(attribute).into_iter();
            let name = octets(parts.next()?)?;
            let values = parts.next().map(self::parts).unwrap_or_default();
            Some((name, values.into_iter().filter_map(octets).collect()))
        });
        Self(attributes.collect())
    }

    fn size(&self) -> usize {
        self.0.iter().map(|(name, values)| name.len() + values.iter().map(|value| value.len() + 8).sum::<usize>()).sum()
    }
}

fn parts(tag: StructureTag) -> Vec<StructureTag> {
    match tag.payload {
        PL::C(parts) => parts,
        PL::P(_) => Vec::new(),
    }
}

fn octets(tag: StructureTag) -> Option<String> {
    match tag.payload {
        PL::P(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        PL::C(_) => None,
    }
}

/// Code and name of an error; what the server has added may quote what we sent, and isn't shown.
fn text_of(error: &LdapError) -> String {
    match error {
        LdapError::LdapResult { result } => format!("{} ({})", result.rc, result_name(result.rc)),
        LdapError::Io { source } => format!("-1 (Can't contact LDAP server: {})", io_text(source)),
        LdapError::Rustls { source } => format!("-11 (Connect error: {source})"),
        _ => "-1 (Can't contact LDAP server)".to_owned(),
    }
}
