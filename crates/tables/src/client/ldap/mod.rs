//! `ldap:` tables (ldap_table(5)).

mod results;
mod session;
mod text;

use super::attributes::{Attributes, Read};
use super::expansion::Template;
use super::pool::{Failure, Limits, Pool, Ranked, Rest};
use super::query::{self, Query};
use super::tls::{Check, Files};
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::TableSpec;
use crate::{LookupError, Table};
use config::{Diagnostic, table_attributes};
use ldap3::{DerefAliases, Scope};
use results::{ResultAttributes, Walk};
use session::{Found, Search, Server, Session};
use std::sync::Arc;
use std::time::{Duration, Instant};
use text::{quote_filter, quote_name, tidy_filter};

/// No more connections than this for one table.
const CONNECTIONS: usize = 8;

/// A connection isn't used for longer, or after being idle for so long.
const LIFETIME: Duration = Duration::from_secs(600);
const IDLE: Duration = Duration::from_secs(300);

/// A server that took long to fail is left alone for as long as it took, but not for longer.
const REST: Duration = Duration::from_secs(60);

/// A table of a directory.
struct Directory {
    query: Query,
    search_base: Template,
    scope: Scope,
    attributes: ResultAttributes,
    recursion_limit: usize,
    size_limit: usize,
    pool: Pool<Session>,
}

impl Table for Directory {
    fn get(&self, key: &str) -> Result<Option<Arc<str>>, LookupError> {
        let Some(base) = self.query.expand(&self.search_base, key, quote_name)? else { return Ok(None) };
        let Some(filter) = self.query.text(key, quote_filter)? else { return Ok(None) };
        let found = self.pool.ask(|session, deadline| self.find(session, deadline, key, (&base, &filter)));
        found.map_err(LookupError::new)
    }

    fn waits(&self) -> bool {
        true
    }
}

impl Directory {
    fn find(
        &self,
        session: &mut Session,
        deadline: Instant,
        key: &str,
        (base, filter): (&str, &str),
    ) -> Result<Option<Arc<str>>, Failure> {
        let search = Search { base, scope: self.scope, filter, attributes: self.attributes.names() };
        let entries = match session.search(&search, deadline)? {
            Found::Entries(entries) => entries,
            // A base that depends on the key need not exist for every key.
            Found::NoBase if self.search_base.is_dynamic() => return Ok(None),
            Found::NoBase => {
                let text = format!("Search base '{base}' not found: 32: No such object");
                return Err(Failure::Refused(self.query.failure(text).text().to_string()));
            }
        };
        let walk = Walk {
            session,
            query: &self.query,
            attributes: &self.attributes,
            recursion_limit: self.recursion_limit,
            size_limit: self.size_limit,
            deadline,
        };
        Ok(walk.results(entries, self.query.results(key))?.finish())
    }
}

/// Open a table from its file of attributes, or from `NAME_server_host` and so on in main.cf.
pub(super) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let Read { attributes, mut files, mut warnings } = Attributes::read(spec, options)?;
    warnings.extend(attributes.unknown(table_attributes("ldap")));
    let tls = tls_files(&attributes, options);
    files.extend(tls.watched());
    match build(spec, options, &attributes, &tls, &mut warnings) {
        Ok(table) => {
            files.extend_from_slice(table.query.files());
            Ok(Opened { table: Arc::new(table), warnings, files })
        }
        Err(diagnostic) => Err(OpenFailure { diagnostics: vec![diagnostic], files }),
    }
}

fn build(
    spec: &TableSpec<'_>,
    options: &OpenOptions,
    attributes: &Attributes,
    tls: &Files,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Directory, Diagnostic> {
    refuse(attributes)?;
    let filter =
        tidy_filter(&attributes.text("query_filter").unwrap_or_else(|| "(mailacceptinggeneralid=%s)".to_owned()));
    let query = Query::read(spec, options, attributes, &filter, warnings)?;
    let tried = query.text_for_any_key();
    if ldap3::parse_filter(&tried).is_err() {
        let help = "write a filter of RFC 4515, such as (mail=%s) or (&(mail=%s)(active=TRUE))";
        return Err(attributes.error(format!("bad query_filter: {filter}"), help));
    }
    if !query.is_dynamic() {
        let text = format!("Fixed query_filter {filter} is probably useless");
        warnings.push(attributes.warning(text, "write %s where the key belongs"));
    }
    let base = attributes.get("search_base").unwrap_or_default();
    let scope = match attributes.text("scope").unwrap_or_else(|| "sub".to_owned()).to_ascii_lowercase().as_str() {
        "sub" => Scope::Subtree,
        "one" => Scope::OneLevel,
        "base" => Scope::Base,
        other => return Err(attributes.error(format!("bad scope: {other}"), "write sub, one or base")),
    };
    let expansion_limit: usize = attributes.number("expansion_limit", 0)?;
    let recursion_limit = attributes.number_from("recursion_limit", 1000, 1)?;
    let size_limit: usize = attributes.number("size_limit", expansion_limit)?;
    Ok(Directory {
        search_base: query::template(attributes, &base)?,
        query,
        scope,
        attributes: ResultAttributes::read(attributes),
        recursion_limit,
        size_limit,
        pool: pool(attributes, tls, size_limit, warnings)?,
    })
}

/// What can't be honoured.
fn refuse(attributes: &Attributes) -> Result<(), Diagnostic> {
    let unsupported =
        |name: &str, value: &str, help: &str| Err(attributes.error(format!("unsupported: {name} = {value}"), help));
    let version: u32 = attributes.number("version", 3)?;
    if version != 3 {
        return unsupported("version", &version.to_string(), "write version = 3: version 2 is historic (RFC 3494)");
    }
    if attributes.switch("chase_referrals", false)? {
        return unsupported("chase_referrals", "yes", "name the servers that have the data in server_host");
    }
    if let Some(suite) = attributes.text("tls_cipher_suite") {
        let help = "drop this line: connections have TLS 1.2 or 1.3 with the ciphers of rustls, all of them strong";
        return unsupported("tls_cipher_suite", &suite, help);
    }
    Ok(())
}

/// Name and password to log in with.
fn bind(attributes: &Attributes) -> Result<Option<(String, String)>, Diagnostic> {
    match attributes.text("bind").unwrap_or_else(|| "yes".to_owned()).to_ascii_lowercase().as_str() {
        "no" | "none" => Ok(None),
        "yes" | "simple" => {
            let get = |name: &str| attributes.get(name).unwrap_or_default();
            Ok(Some((get("bind_dn"), get("bind_pw"))))
        }
        "sasl" => {
            let help = "write bind = simple with bind_dn and bind_pw, over ldaps:// or with start_tls = yes";
            Err(attributes.error("unsupported: bind = sasl", help))
        }
        other => Err(attributes.error(format!("unsupported parameter value: bind = {other}"), "write none or simple")),
    }
}

fn tls_files(attributes: &Attributes, options: &OpenOptions) -> Files {
    let path = |name: &str| attributes.text(name).map(|path| options.path(&path));
    Files {
        ca_file: path("tls_ca_cert_file"),
        ca_directory: path("tls_ca_cert_dir"),
        certificate: path("tls_cert"),
        key: path("tls_key"),
    }
}

fn pool(
    attributes: &Attributes,
    tls: &Files,
    size_limit: usize,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Pool<Session>, Diagnostic> {
    let urls = urls(attributes)?;
    let start_tls = attributes.switch("start_tls", false)?;
    let check = if attributes.switch("tls_require_cert", false)? { Check::IssuerAndName } else { Check::Nothing };
    let encrypted = start_tls || urls.iter().any(|url| url.starts_with("ldaps:"));
    let tls =
        if encrypted { tls.config(check, attributes)? } else { Files::default().config(Check::Nothing, attributes)? };
    let dereference = match attributes.number("dereference", 0)? {
        0 => DerefAliases::Never,
        1 => DerefAliases::Searching,
        2 => DerefAliases::Finding,
        3 => DerefAliases::Always,
        other => return Err(attributes.error(format!("bad dereference: {other}"), "write 0, 1, 2 or 3")),
    };
    for name in ["cache", "cache_expiry", "cache_size", "debuglevel", "tls_random_file"] {
        if attributes.text(name).is_some_and(|value| !matches!(value.as_str(), "no" | "0" | "-1")) {
            warnings.push(attributes.warning(format!("ignoring {name}"), "remove the line: it has no effect"));
        }
    }
    let timeout = Duration::from_secs(attributes.number_from("timeout", 10, 1)?);
    let bind = bind(attributes)?;
    let size_limit = i32::try_from(size_limit).unwrap_or(i32::MAX);
    let server =
        |url| Server { url, start_tls, tls: tls.clone(), bind: bind.clone(), dereference, size_limit, timeout };
    // In the order in which they are written, as OpenLDAP's library does.
    let servers = urls.into_iter().enumerate().map(|(rank, url)| Ranked { rank, server: server(url) }).collect();
    let limits = Limits {
        connections: CONNECTIONS,
        // Each step has its time; some more for what entries lead to, and for other servers.
        timeout: timeout * 2,
        idle: IDLE,
        lifetime: LIFETIME,
        rest: Rest::AsLongAsItTook(REST),
    };
    Ok(Pool::new(servers, limits))
}

/// The servers as URLs that can be connected to.
fn urls(attributes: &Attributes) -> Result<Vec<String>, Diagnostic> {
    let port: u16 = attributes.number("server_port", 389)?;
    let hosts = attributes.text("server_host").unwrap_or_else(|| "localhost".to_owned());
    crate::spec::members(&hosts).into_iter().map(|host| url(host, port, attributes)).collect()
}

fn url(text: &str, default: u16, attributes: &Attributes) -> Result<String, Diagnostic> {
    let bad = || {
        let help = "write host, host:port, ldap://host:port, ldaps://host:port or ldapi://%2Fpath";
        attributes.error(format!("bad server_host: {text}"), help)
    };
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => ("ldap".to_owned(), text),
    };
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    if scheme == "ldapi" {
        // The place where OpenLDAP's library looks, on Debian.
        return Ok(format!("ldapi://{}", if place.is_empty() { "%2Fvar%2Frun%2Fslapd%2Fldapi" } else { place }));
    }
    let default = match scheme.as_str() {
        "ldap" if text.contains("://") => 389,
        "ldap" => default,
        "ldaps" => 636,
        _ => return Err(bad()),
    };
    let bracketed = place.starts_with('[');
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !bracketed || host.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (place, default),
    };
    let host = if host.is_empty() && text.contains("://") { "localhost" } else { host };
    let allowed = |letter: char| {
        letter.is_ascii_alphanumeric() || ".-_".contains(letter) || (bracketed && "[]:%".contains(letter))
    };
    if host.is_empty() || !host.chars().all(allowed) {
        return Err(bad());
    }
    Ok(format!("{scheme}://{host}:{port}"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
